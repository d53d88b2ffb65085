"""Which server a session reads from: a replica that answers, does not lag and has come far enough."""

from __future__ import annotations

import asyncio
import itertools
import math
import re
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto
from threading import Lock
from typing import Any

from sqlalchemy import Engine, ExceptionContext, Row, TextClause, event, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session
from sqlalchemy.util import await_only

from ..errors import InvalidValue, explain

_POSITION = re.compile(r"[0-9A-Fa-f]{1,8}/[0-9A-Fa-f]{1,8}")
_NO_ANSWER = (DBAPIError, PoolTimeout)
_POLL = 0.01
_GRACE = 0.1
# Whoever receives and has replayed all of it is up to date, however long ago the last write was.
_REPLICA = text("""
    SELECT pg_is_in_recovery() AS follows,
        CAST(:at_least AS pg_lsn) IS NULL
            OR pg_last_wal_replay_lsn() >= CAST(:at_least AS pg_lsn) AS has_reached,
        COALESCE(
            EXISTS (SELECT FROM pg_stat_wal_receiver)
                AND pg_last_wal_receive_lsn() <= pg_last_wal_replay_lsn()
            OR EXTRACT(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())
                <= CAST(:max_lag AS double precision),
            false
        ) AS is_fresh
""")
_PRIMARY = text("SELECT 1")
# Where the next record will go: the commit of whoever asks stands before it, written to disk or not.
_WRITE_POSITION = text("SELECT pg_current_wal_insert_lsn()")


@dataclass(frozen=True)
class Rules:
    """When a replica is good enough, in seconds: see ``make_engines``."""

    max_lag: float
    wait: float
    retry_after: float

    def __post_init__(self) -> None:
        for name in ("max_lag", "wait", "retry_after"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or not 0 <= value < math.inf:
                raise InvalidValue(name, "is not a number of seconds")


class _Standing(Enum):
    READY = auto()
    BEHIND = auto()
    """It has not come to the position yet."""
    LAGGING = auto()
    """What it shows is too old, or for a moment may be: the first write after a pause looks the same."""
    UNFIT = auto()
    """It does not answer, has no connection left for us, or follows nobody."""


class _Replica:
    """A replica, and from when on it may be asked again; 0 while nothing speaks against it."""

    def __init__(self, engine: Engine, retry_after: float) -> None:
        self.engine = engine
        self._retry_after = retry_after
        self._rests_until = 0.0
        self._lock = Lock()
        event.listen(engine, "handle_error", self._note_error)

    def may_be_asked(self) -> bool:
        """Whether it is in use; one that was left out for long enough is tried by the first who asks."""
        with self._lock:
            if self._rests_until > time.monotonic():
                return False
            if self._rests_until:
                self._rests_until = time.monotonic() + self._retry_after
            return True

    def leave_out(self) -> None:
        self._rests_until = time.monotonic() + self._retry_after

    def take_back(self) -> None:
        self._rests_until = 0.0

    def _note_error(self, failure: ExceptionContext) -> None:
        if failure.is_disconnect:
            self.leave_out()


class Routing:
    """Which server a session reads from. Runs in a greenlet for asyncio: only ``sleep`` differs."""

    def __init__(self, reader: Engine, replicas: Sequence[Engine], rules: Rules) -> None:
        self._reader = reader
        self._replicas = [_Replica(engine, rules.retry_after) for engine in replicas]
        self._rules = rules
        self._turns = itertools.count()

    def bind(self, session: Session, at_least: str | None, sleep: Callable[[float], None]) -> None:
        """Bind the session to a server that has just answered, and leave it connected."""
        if at_least is not None and not (isinstance(at_least, str) and _POSITION.fullmatch(at_least)):
            raise InvalidValue("at_least", "is not a position as write_position() gives it")
        patience = self._rules.wait if at_least is not None else min(self._rules.wait, _GRACE)
        deadline = time.monotonic() + patience
        candidates = [replica for replica in self._in_turn() if replica.may_be_asked()]
        while candidates:
            standings = {}
            for replica in candidates:
                standings[replica] = self._try(session, replica, at_least)
                if standings[replica] is _Standing.READY:
                    return
            candidates = [replica for replica in candidates if standings[replica] is not _Standing.UNFIT]
            if time.monotonic() >= deadline:
                for replica in candidates:
                    if standings[replica] is _Standing.LAGGING:
                        replica.leave_out()
                break
            if candidates:
                sleep(_POLL)
        self._bind_to_primary(session, at_least)

    def write_position(self, session: Session) -> str:
        try:
            return str(_ask(session, self._reader, _WRITE_POSITION)[0])
        except _NO_ANSWER as error:
            raise explain(error) from None

    def _in_turn(self) -> list[_Replica]:
        if not self._replicas:
            return []
        first = next(self._turns) % len(self._replicas)
        return self._replicas[first:] + self._replicas[:first]

    def _try(self, session: Session, replica: _Replica, at_least: str | None) -> _Standing:
        try:
            state = _ask(session, replica.engine, _REPLICA, at_least=at_least, max_lag=self._rules.max_lag)
        except _NO_ANSWER:
            replica.leave_out()
            return _Standing.UNFIT
        if not state.follows:
            # It was promoted under a connection that the pool kept.
            session.invalidate()
            replica.leave_out()
            return _Standing.UNFIT
        if state.is_fresh:
            replica.take_back()
            if state.has_reached:
                return _Standing.READY
        session.close()
        return _Standing.BEHIND if state.is_fresh else _Standing.LAGGING

    def _bind_to_primary(self, session: Session, at_least: str | None) -> None:
        try:
            _ask(session, self._reader, _PRIMARY)
        except _NO_ANSWER as error:
            if at_least is not None or not self._bind_to_any(session):
                raise explain(error) from None

    def _bind_to_any(self, session: Session) -> bool:
        for replica in self._in_turn():
            with suppress(*_NO_ANSWER):
                _ask(session, replica.engine, _PRIMARY)
                return True
        return False


def _ask(session: Session, engine: Engine, question: TextClause, **values: object) -> Row[Any]:
    """The server's answer; the session stays connected to it. What the pool kept may be dead, once."""
    session.bind = engine
    try:
        return session.execute(question, values).one()
    except DBAPIError as error:
        session.close()
        if not error.connection_invalidated:
            raise
    try:
        return session.execute(question, values).one()
    except DBAPIError:
        session.close()
        raise


def sleep_async(seconds: float) -> None:
    await_only(asyncio.sleep(seconds))
