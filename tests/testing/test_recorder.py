"""The query recorder counts flights, and nothing else."""

from __future__ import annotations

import pytest
from sqlalchemy import insert, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from app.database import make_async_engine
from app.models import Customer
from app.testing import CustomerFactory, QueryRecorder


def test_statements_are_counted_in_order(session, queries):
    session.execute(text("SELECT 1"))
    session.execute(text("SELECT 2"))
    assert queries.count == 2
    assert queries.statements == ["SELECT 1", "SELECT 2"]


def test_savepoints_and_commits_do_not_count(session, queries):
    with session.begin_nested():
        session.execute(text("SELECT 1"))
    savepoint = session.begin_nested()
    savepoint.rollback()
    session.commit()
    session.execute(text("SELECT 2"))
    session.rollback()
    assert queries.statements == ["SELECT 1", "SELECT 2"]


def test_a_statement_that_only_begins_like_a_savepoint_counts(session, queries):
    session.execute(text("SELECT 1 AS savepoint"))
    session.execute(text("WITH released AS (SELECT 1) SELECT * FROM released"))
    assert queries.count == 2


def test_a_statement_that_fails_counts(crm_engine):
    with QueryRecorder(crm_engine) as queries, crm_engine.connect() as connection:
        with pytest.raises(Exception, match="no_such_table"):
            connection.execute(text("SELECT * FROM no_such_table"))
        assert queries.count == 1


def test_many_rows_in_one_flight_are_one_statement(session, queries):
    rows = [{"email": f"many{n}@example.com"} for n in range(20)]
    session.execute(insert(Customer), rows)
    assert queries.count == 1, queries


def test_reset_starts_anew(session, queries):
    CustomerFactory()
    queries.reset()
    session.scalar(select(Customer.id))
    assert queries.count == 1


def test_nothing_is_recorded_outside_of_the_block(crm_engine):
    with crm_engine.connect() as connection:
        connection.execute(text("SELECT 'before'"))
        with QueryRecorder(crm_engine) as queries:
            connection.execute(text("SELECT 'inside'"))
        connection.execute(text("SELECT 'after'"))
    assert queries.statements == ["SELECT 'inside'"]


def test_one_connection_is_recorded_without_the_others(crm_engine):
    with crm_engine.connect() as mine, crm_engine.connect() as other, QueryRecorder(mine) as queries:
        mine.execute(text("SELECT 'mine'"))
        other.execute(text("SELECT 'other'"))
    assert queries.statements == ["SELECT 'mine'"]


def test_a_session_is_recorded_through_its_engine(crm_engine):
    with Session(crm_engine) as session, QueryRecorder(session) as queries:
        session.execute(text("SELECT 1"))
    assert queries.count == 1


def test_an_async_engine_is_recorded_too(crm_database_url):
    import asyncio

    async def work() -> int:
        engine = make_async_engine(crm_database_url)
        with QueryRecorder(engine) as queries:
            async with AsyncSession(engine) as session:
                await session.execute(text("SELECT 1"))
        await engine.dispose()
        return queries.count

    assert asyncio.run(work()) == 1


def test_its_text_lists_the_statements_without_values(session, queries):
    session.execute(select(Customer.id).where(Customer.email == "ada@example.com"))
    assert str(queries).splitlines()[0] == "1 statements"
    assert str(queries).splitlines()[1].startswith("  1. SELECT customers.id FROM customers WHERE")
    assert "ada@example.com" not in str(queries)
    assert repr(queries) == "<QueryRecorder: 1 statements>"
