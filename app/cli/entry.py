"""The entry point of ``crm``: runs the commands, and turns what goes wrong into one line."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from typing import NoReturn

from sqlalchemy.exc import SQLAlchemyError

from ..errors import CRMError, SchemaDiffers, explain, file_problem

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
        # Their packages are an extra; they add their commands.
        from . import (  # noqa: PLC0415
            calibration,  # noqa: F401
            channels,  # noqa: F401
            conversations,  # noqa: F401
            customers,  # noqa: F401
            imports,  # noqa: F401
            indexes,  # noqa: F401
            messages,  # noqa: F401
            operations,  # noqa: F401
            privacy,  # noqa: F401
            reports,  # noqa: F401
            tickets,  # noqa: F401
        )
        from .desk import crm  # noqa: PLC0415

        layout = {}
        if not (sys.stdout.isatty() or "COLUMNS" in os.environ):
            # Help in plain lines, without boxes, and none of it cut.
            crm.rich_markup_mode = None
            layout = dict.fromkeys(("terminal_width", "max_content_width"), _PIPE_WIDTH)
        crm(prog_name="crm", **layout)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in {"rich", "typer"}:
            raise
        _fail("the command line is not installed: pip install 'crm-digital-fte[cli]'")
    except (CRMError, SQLAlchemyError) as error:
        if _is_of_ctrl_c(error):
            sys.exit(_CTRL_C)
        failure = explain(error)
        _fail(*(str(failure).split("\n") if isinstance(failure, SchemaDiffers) else [str(failure)]))
    except OSError as error:
        # Files that a command is given have errors of their own.
        _discard_output()
        _fail(f"the input cannot be read or the output not be written: {file_problem(error)}")
    except KeyboardInterrupt:
        sys.exit(_CTRL_C)


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
