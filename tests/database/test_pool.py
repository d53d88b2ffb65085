"""Connections of the pool: checked where they were idle, replaced where they broke, read by the driver."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, make_url, select, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from app.database import engines as engines_module
from app.database import make_async_engine, make_engine, make_session_factory, transaction
from app.errors import DatabaseUnavailable
from app.testing import Databases

PID = text("SELECT pg_backend_pid()")


@pytest.fixture(scope="module")
def url(crm_databases: Databases) -> Iterator[str]:
    url = crm_databases.clone()
    yield url
    crm_databases.drop(url)


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    engine = make_engine(url)
    yield engine
    engine.dispose()


@pytest.fixture
def pings(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Every connection that was asked whether it still answers."""
    asked_connections: list[object] = []
    ping = engine.dialect.do_ping

    def count(connection: object) -> bool:
        asked_connections.append(connection)
        return ping(connection)

    monkeypatch.setattr(engine.dialect, "do_ping", count)
    return asked_connections


def end_pooled_backends(engine: Engine, count: int) -> list[int]:
    """Put ``count`` connections into the pool, whose server processes are gone."""
    connections = [engine.connect() for _ in range(count)]
    pids = [connection.scalar(PID) for connection in connections]
    for connection in connections:
        connection.close()
    other = make_engine(engine.url)
    with other.connect() as killer:
        for pid in pids:
            killer.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})
    other.dispose()
    return pids


def test_a_connection_that_was_just_used_is_used_again_without_a_check(engine, pings):
    for _ in range(3):
        with engine.connect() as connection:
            connection.execute(PID)
    assert pings == []


def test_a_connection_that_was_idle_is_checked_once_before_it_is_used(engine, pings, monkeypatch):
    with engine.connect() as connection:
        pid = connection.scalar(PID)
    monkeypatch.setattr(engines_module, "IDLE", 0.0)
    with engine.connect() as connection:
        assert connection.scalar(PID) == pid
    assert len(pings) == 1


@pytest.mark.own_connection("server processes are not the client's own")
@pytest.mark.parametrize("count", [1, 4])
def test_idle_connections_that_died_are_replaced_unseen(engine, monkeypatch, count):
    pids = end_pooled_backends(engine, count)
    monkeypatch.setattr(engines_module, "IDLE", 0.0)
    for _ in range(count):
        with engine.connect() as connection:
            assert connection.scalar(PID) not in pids


@pytest.mark.own_connection("server processes are not the client's own")
@pytest.mark.parametrize("count", [1, 4])
def test_fresh_connections_that_died_cost_a_transaction_one_more_try(engine, count):
    pids = end_pooled_backends(engine, count)
    calls = []

    def work(session: Session) -> int | None:
        calls.append(1)
        return session.scalar(PID)

    assert transaction(make_session_factory(engine), work) not in pids
    # The first one that is found dead condemns all that are as old.
    assert len(calls) == 2


@pytest.mark.own_connection("server processes are not the client's own")
def test_outside_of_a_transaction_a_fresh_connection_that_died_is_an_error_once(engine):
    end_pooled_backends(engine, 2)
    with pytest.raises(OperationalError), engine.connect() as connection:
        connection.execute(PID)
    with engine.connect() as connection:
        assert connection.scalar(select(1)) == 1


ODD = {
    "client_encoding": "LATIN1",
    "DateStyle": "German",
    "IntervalStyle": "iso_8601",
    "standard_conforming_strings": "off",
}


@pytest.mark.parametrize("pooler", [False, True])
def test_odd_settings_of_the_database_change_nothing(crm_databases, pooler):
    url = crm_databases.empty()
    name = make_url(url).database
    with make_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT").connect() as connection:
        for setting, value in ODD.items():
            connection.execute(text(f"ALTER DATABASE {name} SET {setting} = '{value}'"))
    engine = make_engine(url, pooler=pooler)
    moment = datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC)
    with engine.connect() as connection:
        row = connection.execute(
            text("SELECT '\\n😀' AS words, CAST(:moment AS timestamptz), interval '1 day 2 hours' AS span"),
            {"moment": moment},
        ).one()
        assert tuple(row) == ("\\n😀", moment, timedelta(days=1, hours=2))
        connection.rollback()
        # They outlive the first transaction, whatever became of it.
        assert connection.scalar(text("SHOW DateStyle")) == "ISO, MDY"
    engine.dispose()
    crm_databases.drop(url)


def in_child(work: Callable[[], None]) -> int:
    """The exit code of a forked process that does this and nothing else."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException:
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.own_connection("server processes are not the client's own")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_process_uses_connections_of_its_own_and_leaves_its_parents_alone(engine):
    def work() -> None:
        with engine.connect() as connection:
            assert connection.scalar(PID) != pid
        engine.dispose()

    with engine.connect() as connection:
        pid = connection.scalar(PID)
    assert in_child(work) == 0
    with engine.connect() as connection:
        assert connection.scalar(PID) == pid


@pytest.mark.own_connection("server processes are not the client's own")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_so_does_one_that_is_forked_between_two_event_loops(url):
    engine = make_async_engine(url)

    async def pid() -> int:
        async with engine.connect() as connection:
            return await connection.scalar(PID)

    def work() -> None:
        assert asyncio.run(pid()) != parents

    parents = asyncio.run(pid())
    assert in_child(work) == 0
    assert asyncio.run(pid()) == parents
    asyncio.run(engine.dispose())


def test_a_pool_without_a_free_connection_is_a_typed_error(url):
    engine = make_engine(url, pool_size=1, max_overflow=0, pool_timeout=0.05)
    with engine.connect(), pytest.raises(DatabaseUnavailable, match="no connection of the pool"):
        transaction(make_session_factory(engine), Session.scalar, PID)
    assert transaction(make_session_factory(engine), Session.scalar, PID)
    engine.dispose()
