"""Whether the database can be used right now, for a health endpoint."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

from ..errors import explain

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

_STATE = text("""
    SELECT current_setting('server_version') AS server_version,
        current_setting('transaction_read_only') = 'on' AS read_only,
        to_regclass(:version_table) IS NOT NULL AS is_migrated
""")


@dataclass(frozen=True, slots=True)
class Health:
    """What ``probe`` found. ``problem`` is for people, and names neither data nor the database's own text."""

    ok: bool
    seconds: float
    """How long the answer took, with the wait for a connection of the pool."""
    problem: str | None = None
    server_version: str | None = None
    read_only: bool | None = None
    """Writes are refused: a standby, or a session that is set so."""
    revision: str | None = None
    """The schema's revision; None in a database without one."""


def probe(
    engine: Engine,
    *,
    revision: str | None = None,
    version_table: str = "alembic_version",
    timeout: float = 2.0,
) -> Health:
    """Ask the database how it is. A server that is down, full or slow is an answer, not an error.

    Goes through the pool, since that is what the application does, and waits for a connection no longer than
    the engine's ``pool_timeout`` and ``connect_timeout``; the statements end after ``timeout`` seconds. With
    ``revision`` (``app.migrations.head()``, read once) a schema of another revision is a problem too.
    """
    started = time.perf_counter()
    try:
        with engine.connect() as connection:
            state = _ask(connection, version_table, timeout)
    except SQLAlchemyError as error:
        return _failed(started, error)
    return _answered(started, state, revision)


async def probe_async(
    engine: AsyncEngine,
    *,
    revision: str | None = None,
    version_table: str = "alembic_version",
    timeout: float = 2.0,
) -> Health:
    """The same for asyncio, without holding up the event loop."""
    started = time.perf_counter()
    try:
        async with engine.connect() as connection:
            state = await connection.run_sync(_ask, version_table, timeout)
    except SQLAlchemyError as error:
        return _failed(started, error)
    return _answered(started, state, revision)


class _State(NamedTuple):
    server_version: str
    read_only: bool
    revision: str | None


def _ask(connection: Connection, version_table: str, timeout: float) -> _State:
    # In autocommit the limit would end with the statement that sets it.
    connection = connection.execution_options(isolation_level="READ COMMITTED")
    limit = {"milliseconds": str(math.ceil(timeout * 1000))}
    connection.execute(text("SELECT set_config('statement_timeout', :milliseconds, true)"), limit)
    quoted = connection.dialect.identifier_preparer.quote(version_table)
    state = connection.execute(_STATE, {"version_table": quoted}).one()
    revision = None
    if state.is_migrated:
        revision = connection.scalar(text(f"SELECT version_num FROM {quoted}"))  # noqa: S608 - quoted
    return _State(state.server_version, state.read_only, revision)


def _failed(started: float, error: SQLAlchemyError) -> Health:
    return Health(False, time.perf_counter() - started, str(explain(error)))


def _answered(started: float, state: _State, expected: str | None) -> Health:
    problem = None
    if expected is not None and state.revision != expected:
        problem = f"the schema is at revision {state.revision or 'none'}, not at {expected}"
    return Health(problem is None, time.perf_counter() - started, problem, *state)
