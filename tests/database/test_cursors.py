"""A result's columns are described when somebody looks, and then as psycopg does it."""

from __future__ import annotations

import asyncio

import psycopg
import pytest
from sqlalchemy import select, text

from app.database import cursors, make_async_engine, make_engine, make_session_factory
from app.models import ChannelConfig

TWO_COLUMNS = "SELECT 1 AS number, 'one'::varchar(10) AS word"


@pytest.fixture
def engine(crm_database_url: str):
    engine = make_engine(crm_database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def looks(monkeypatch):
    """The indexes of columns that were described."""
    seen = []

    def described(cursor, index):
        seen.append(index)
        return psycopg.Column(cursor, index)

    monkeypatch.setattr(cursors, "Column", described)
    return seen


def test_it_is_what_psycopg_says(engine):
    connection = engine.raw_connection()
    cursor = connection.cursor()
    plain = psycopg.Cursor(connection.driver_connection)
    for statement in (TWO_COLUMNS, "SELECT", "SET LOCAL jit TO off", "SELECT 1 WHERE false"):
        of_ours, of_plain = (one.execute(statement).description for one in (cursor, plain))
        assert repr(of_ours) == repr(of_plain)
        assert (of_ours is None) == (of_plain is None)
    cursor.execute(TWO_COLUMNS)
    assert len(cursor.description) == 2
    assert [column.name for column in cursor.description] == ["number", "word"]
    assert cursor.description[1].display_size == cursor.description[-1:][0].display_size == 10
    connection.close()


def test_a_statement_that_tells_its_columns_describes_none_again(engine, looks):
    with make_session_factory(engine).begin() as session:
        for _ in range(3):
            session.scalars(select(ChannelConfig)).all()
            session.expunge_all()
    first = len(looks)
    with make_session_factory(engine).begin() as session:
        assert session.scalars(select(ChannelConfig)).all()
    assert len(looks) == first

    with engine.connect() as connection:
        assert connection.execute(text(TWO_COLUMNS)).one()._asdict() == {"number": 1, "word": "one"}
    assert looks[first:] == [0, 1]


def test_asyncio_has_the_same(crm_database_url, looks):
    async def rows():
        engine = make_async_engine(crm_database_url)
        async with engine.connect() as connection:
            typed = (await connection.execute(select(ChannelConfig.channel))).all()
            before = len(looks)
            again = (await connection.execute(select(ChannelConfig.channel))).all()
            assert typed == again
            assert len(looks) == before
            row = (await connection.execute(text(TWO_COLUMNS))).one()
        await engine.dispose()
        return row._asdict()

    assert asyncio.run(rows()) == {"number": 1, "word": "one"}
    assert looks[-2:] == [0, 1]
