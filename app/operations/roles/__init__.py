"""Who may do what in the database: the roles of the application, of readers and of auditors."""

from __future__ import annotations

from .repairs import apply, check_prefix, differences, script
from .rights import FUNCTIONS, ROLES, SEQUENCES, TABLES

__all__ = [
    "FUNCTIONS",
    "ROLES",
    "SEQUENCES",
    "TABLES",
    "apply",
    "check_prefix",
    "differences",
    "script",
]
