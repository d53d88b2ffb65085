"""Alembic from Python: for applications that migrate on start, and for both command lines.

The way of an upgrade: ``upgrade`` -> ``alembic.command.upgrade`` -> ``alembic/env.py`` -> ``job.run`` ->
``Plan``, which Alembic then asks for one step after the other.
"""

from __future__ import annotations

from .backup import Backup, back_up, restore
from .commands import (
    check,
    current,
    differences,
    downgrade,
    first,
    head,
    is_compared,
    is_not_our_name,
    is_not_ours,
    known_revision,
    one_line_errors,
    upgrade,
    wait_until_current,
    wait_until_up,
)
from .job import LOCK_KEY, run, run_offline, turn
from .requirements import require_public, require_session
from .sql_files import own_functions, own_statements, schema_files
from .targets import alembic_config, connect, resolve_url

__all__ = [
    "LOCK_KEY",
    "Backup",
    "alembic_config",
    "back_up",
    "check",
    "connect",
    "current",
    "differences",
    "downgrade",
    "first",
    "head",
    "is_compared",
    "is_not_our_name",
    "is_not_ours",
    "known_revision",
    "one_line_errors",
    "own_functions",
    "own_statements",
    "require_public",
    "require_session",
    "resolve_url",
    "restore",
    "run",
    "run_offline",
    "schema_files",
    "turn",
    "upgrade",
    "wait_until_current",
    "wait_until_up",
]
