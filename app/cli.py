"""The entry point of ``crm``: runs the commands, and turns what goes wrong into one line."""

from __future__ import annotations

import io
import sys
from typing import NoReturn

from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError

from .errors import CRMError, DatabaseUnavailable, SchemaDiffers

_GONE = ("08", "53300", "57P")
"""SQLSTATEs of a connection that failed, of too many of them, and of a server that shuts down."""


def main() -> None:
    """Run ``crm``. Exit code 1 comes with one line on stderr, 2 means wrong usage, 130 Ctrl-C."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that cannot show a customer's emoji is no reason to fail.
            stream.reconfigure(errors="replace")
    try:
        # Their packages are an extra; they add their commands.
        from . import _customers, _knowledge_indexes, _operations, _tickets  # noqa: F401, PLC0415
        from ._commands import crm  # noqa: PLC0415

        crm(prog_name="crm")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in {"rich", "typer"}:
            raise
        _fail("the command line is not installed: pip install 'crm-digital-fte[cli]'")
    except (CRMError, SQLAlchemyError) as error:
        known = explained(error)
        _fail(*(str(known).split("\n") if isinstance(known, SchemaDiffers) else [str(known)]))
    except KeyboardInterrupt:
        sys.exit(130)


def explained(error: CRMError | SQLAlchemyError) -> CRMError:
    """The error in our own words: those of SQLAlchemy and PostgreSQL hold statements and data."""
    if isinstance(error, CRMError):
        return error
    sqlstate = getattr(error.orig, "sqlstate", None) if isinstance(error, DBAPIError) else None
    if isinstance(error, OperationalError) and (sqlstate is None or sqlstate.startswith(_GONE)):
        return DatabaseUnavailable("the database server cannot be reached or refused the connection")
    return CRMError(f"the database refused a statement ({sqlstate or type(error).__name__})")


def _fail(*problem: str) -> NoReturn:
    lines = ["".join(character if character.isprintable() else " " for character in line) for line in problem]
    print("crm:", "\n".join(lines), file=sys.stderr)  # noqa: T201
    sys.exit(1)
