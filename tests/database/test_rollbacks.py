"""What a connection has prepared outlives a session that is closed, and no rollback does less than before."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from app.database import make_async_engine, make_engine

NUMBER = text("SELECT CAST(:number AS integer)")
PREPARED = text("SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE 'SELECT CAST(%'")
OFTEN = 8
"""More often than psycopg waits with preparing."""


@pytest.fixture
def engine(crm_database_url: str):
    engine = make_engine(crm_database_url, pool_size=1, max_overflow=0)
    yield engine
    engine.dispose()


def read(engine, times: int = OFTEN) -> None:
    for number in range(times):
        with Session(engine) as session:
            assert session.scalar(NUMBER, {"number": number}) == number


def test_a_session_that_is_only_closed_leaves_its_statement_prepared(engine):
    read(engine)
    with Session(engine) as session:
        assert session.scalar(PREPARED) == 1


def test_so_does_one_of_asyncio(crm_database_url):
    async def prepared() -> int:
        engine = make_async_engine(crm_database_url, pool_size=1, max_overflow=0)
        for number in range(OFTEN):
            async with AsyncSession(engine) as session:
                await session.scalar(NUMBER, {"number": number})
        async with AsyncSession(engine) as session:
            count = await session.scalar(PREPARED)
        await engine.dispose()
        return count

    assert asyncio.run(prepared()) == 1


def test_what_was_written_is_rolled_back(engine):
    with Session(engine) as session:
        session.execute(text("CREATE TEMP TABLE gone (n integer)"))
        for number in range(OFTEN):
            session.execute(text("INSERT INTO gone VALUES (:n)"), {"n": number})
        assert session.scalar(text("SELECT count(*) FROM gone")) == OFTEN
    with Session(engine) as session:
        assert session.scalar(text("SELECT to_regclass('pg_temp.gone')")) is None


def test_a_statement_of_a_table_that_is_gone_finds_the_next_one_of_its_name(engine):
    for _ in range(2):
        with Session(engine) as session:
            session.execute(text("CREATE TEMP TABLE passing (n integer)"))
            for number in range(1, OFTEN):
                session.execute(text("INSERT INTO passing VALUES (:n)"), {"n": number})
                assert session.scalar(text("SELECT count(*) FROM passing")) == number


@pytest.mark.parametrize("afterwards", [NUMBER, text("SELECT 1")])
def test_after_a_failed_statement_the_connection_is_as_good_as_new(engine, afterwards):
    read(engine)
    with Session(engine) as session, pytest.raises(DBAPIError):
        session.scalar(text("SELECT 1 / 0"))
    with Session(engine) as session:
        assert session.scalar(afterwards, {"number": 1}) == 1


def test_a_connection_that_is_lost_is_told_at_the_rollback(engine):
    with engine.connect() as connection:
        pid = connection.scalar(text("SELECT pg_backend_pid()"))
        other = make_engine(engine.url)
        with other.connect() as killer:
            killer.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})
        other.dispose()
        with pytest.raises(DBAPIError):
            connection.rollback()
    read(engine, 1)


def test_a_listener_of_the_caller_s_still_says_how_to_connect(engine):
    @event.listens_for(engine, "do_connect")
    def name(_dialect, _record, _arguments, options) -> None:
        options["application_name"] = "named at the last moment"

    with Session(engine) as session:
        assert session.scalar(text("SHOW application_name")) == "named at the last moment"
