"""The entry point of ``crm``: runs the commands, and turns what goes wrong into one line.

Help, ``--version`` and completion import neither SQLAlchemy nor a command's module.
"""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from typing import NoReturn

_CTRL_C = 130
_PIPE_WIDTH = 200


def main() -> None:
    """Run ``crm``. Exit code 1 comes with one line on stderr, 2 means wrong usage, 130 Ctrl-C."""
    _open_what_is_closed()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that cannot show a customer's emoji is no reason to fail.
            stream.reconfigure(errors="replace")
    try:
        _run()
    except KeyboardInterrupt:
        sys.exit(_CTRL_C)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in {"rich", "typer"}:
            raise
        _fail("the command line is not installed: pip install 'crm-digital-fte[cli]'")
    except Exception as error:
        _explain(error)


def _run() -> None:
    from .program import crm, program  # noqa: PLC0415 - typer is an extra

    layout = {}
    if not (sys.stdout.isatty() or "COLUMNS" in os.environ):
        # Help in plain lines, without boxes, and none of it cut.
        crm.rich_markup_mode = None
        layout = dict.fromkeys(("terminal_width", "max_content_width"), _PIPE_WIDTH)
    program()(prog_name="crm", **layout)


def _explain(error: Exception) -> NoReturn:
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415 - slow to import

    from ..errors import CRMError, SchemaDiffers, explain, file_problem  # noqa: PLC0415 - slow to import

    if isinstance(error, OSError):
        # Files that a command is given have errors of their own.
        _discard_output()
        _fail(f"the input cannot be read or the output not be written: {file_problem(error)}")
    if not isinstance(error, CRMError | SQLAlchemyError):
        raise error
    if _is_of_ctrl_c(error):
        sys.exit(_CTRL_C)
    failure = explain(error)
    _fail(*(str(failure).split("\n") if isinstance(failure, SchemaDiffers) else [str(failure)]))


def _open_what_is_closed() -> None:
    """Who starts us may have closed a stream (``2>&-``): nothing is read there, and nobody reads there."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 - until the process ends


def _discard_output() -> None:
    """What could not be written would be tried again when the process ends, and fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _is_of_ctrl_c(error: BaseException | None) -> bool:
    """Whether it came of Ctrl-C: a statement that ends so takes its connection along, which then fails."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def _fail(*problem: str) -> NoReturn:
    lines = ["".join(character if character.isprintable() else " " for character in line) for line in problem]
    with suppress(OSError):
        print("crm:", "\n".join(lines), file=sys.stderr)  # noqa: T201
    sys.exit(1)
