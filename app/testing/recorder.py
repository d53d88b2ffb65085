"""Count the statements that a piece of code sends and compiles, so that a test can say how many it may."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Self

from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine.interfaces import CacheStats
from sqlalchemy.orm import Session

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

_TRANSACTION_CONTROL = re.compile(
    r"\s*(SAVEPOINT|RELEASE|ROLLBACK|BEGIN|START TRANSACTION|COMMIT)\b", re.IGNORECASE
)


class QueryRecorder:
    """The statements that reached the database inside the block, savepoints and the like left out.

    Each flight counts once: an ``executemany`` is one statement. Values are not kept.
    ``assert queries.count == 2, queries`` lists the statements where it fails.

    ``compiled`` are those whose SQL was compiled for this execution: the first of their kind, and each one
    that SQLAlchemy cannot cache. ``constructs`` are the objects that were executed, in order: a statement
    that is built once, and not for each call, is the same object each time.
    """

    def __init__(self, target: Engine | Connection | Session | AsyncEngine) -> None:
        bind = target.get_bind() if isinstance(target, Session) else target
        self._target: Any = getattr(bind, "sync_engine", bind)
        self.statements: list[str] = []
        self.compiled: list[str] = []
        self.constructs: list[object] = []

    @property
    def count(self) -> int:
        return len(self.statements)

    def reset(self) -> None:
        """Forget what was recorded so far."""
        for record in (self.statements, self.compiled, self.constructs):
            record.clear()

    def __enter__(self) -> Self:
        event.listen(self._target, "before_cursor_execute", self._record)
        return self

    def __exit__(self, *_: object) -> None:
        event.remove(self._target, "before_cursor_execute", self._record)

    def __repr__(self) -> str:
        return f"<QueryRecorder: {self.count} statements>"

    def __str__(self) -> str:
        lines = (f"{number:>3}. {' '.join(text.split())}" for number, text in enumerate(self.statements, 1))
        return "\n".join([f"{self.count} statements", *lines])

    def _record(
        self, _connection: object, _cursor: object, statement: str, _values: object, context: Any, _many: bool
    ) -> None:
        if _TRANSACTION_CONTROL.match(statement):
            return
        self.statements.append(statement)
        self.constructs.append(statement if context.compiled is None else context.invoked_statement)
        if context.compiled is not None and context.cache_hit is not CacheStats.CACHE_HIT:
            self.compiled.append(statement)
