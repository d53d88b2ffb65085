"""A log of statements that took long, without the values in them."""

from __future__ import annotations

import logging
import re
import time
from typing import Any

from sqlalchemy import Connection, Engine, ExceptionContext, event

from ..errors import sqlstate

LOGGER = logging.getLogger("crm.slow_statements")
_LONGEST = 2000
_PARTS = re.compile(
    r"""
      (?P<name>"(?:[^"]|"")*")
    | (?P<comment>--[^\n]*|/\*.*?\*/)
    | (?P<value>
          [eE]'(?:[^'\\]|''|\\.)*' | '(?:[^']|'')*(?:'|\Z) | \$(?P<tag>\w*)\$.*?\$(?P=tag)\$
        | \b\d+(?:\.\d+)?\b
      )
    | (?P<space>\s+)
    """,
    re.VERBOSE | re.DOTALL,
)


def log_slow_statements(engine: Engine, *, seconds: float = 0.5, logger: logging.Logger = LOGGER) -> None:
    """Log a warning for every statement of ``engine`` that takes ``seconds`` or longer, failed ones too.

    The record carries ``statement``, ``seconds``, ``rows``, ``many`` (sent with several sets of values) and
    ``sqlstate`` as attributes. The statement has placeholders where the values were, also where they were
    written into it. For an AsyncEngine pass its ``sync_engine``.
    """

    @event.listens_for(engine, "before_cursor_execute")
    def start(
        _connection: Connection, _cursor: Any, _statement: str, _values: Any, context: Any, _many: bool
    ) -> None:
        context.crm_started = time.perf_counter()

    @event.listens_for(engine, "after_cursor_execute")
    def end(
        _connection: Connection, cursor: Any, statement: str, _values: Any, context: Any, many: bool
    ) -> None:
        _log(context, statement, rows=cursor.rowcount, many=many)

    @event.listens_for(engine, "handle_error")
    def fail(failure: ExceptionContext) -> None:
        context = failure.execution_context
        if failure.statement is not None and hasattr(context, "crm_started"):
            _log(context, failure.statement, sqlstate=sqlstate(failure.original_exception))

    def _log(context: Any, statement: str, **facts: Any) -> None:
        took = time.perf_counter() - context.crm_started
        if took >= seconds:
            shown = without_values(statement)
            record = {"statement": shown, "seconds": took, "rows": None, "many": False, "sqlstate": None}
            logger.warning("slow statement, %.3f s: %s", took, shown, extra=record | facts)


def without_values(statement: str) -> str:
    """The statement on one line, without comments, and with ``?`` for every text and number in it."""
    return _PARTS.sub(_replaced, statement).strip()[:_LONGEST]


def _replaced(part: re.Match[str]) -> str:
    if part["name"]:
        return part["name"]
    return "?" if part["value"] else " "
