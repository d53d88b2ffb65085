"""A PostgreSQL server of our own, from programs that a package ships."""

from __future__ import annotations

from .places import default_directory, installed_programs
from .process import Server
from .users import release, start, url

__all__ = ["Server", "default_directory", "installed_programs", "release", "start", "url"]
