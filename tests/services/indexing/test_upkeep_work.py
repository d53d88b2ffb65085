"""Upkeep works in proportion to what there is to do: a limit limits, an idle worker reads next to nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from uuid import UUID

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session, sessionmaker

from app.schemas import ObjectType
from app.services import indexing
from app.testing import CustomerFactory, bound_to

READ = text("""
    SELECT sum(pg_stat_get_xact_tuples_returned(oid) + pg_stat_get_xact_tuples_fetched(oid)) FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'i')
""")
MESSAGES = text("""
    WITH threads AS (
        INSERT INTO conversations (customer_id, channel)
        SELECT :customer_id, 'email' FROM generate_series(1, :count / 2) RETURNING id
    )
    INSERT INTO messages (conversation_id, customer_id, channel, direction, role, content)
    SELECT threads.id, :customer_id, 'email', 'inbound', 'customer', 'Message ' || n || threads.id
    FROM threads, generate_series(1, 2) AS n
""")
TICKETS = text("""
    INSERT INTO tickets (customer_id, subject, category, source_channel)
    SELECT :customer_id, 'Ticket ' || n, 'account_access', 'email' FROM generate_series(1, :count) AS n
""")
ARTICLES = text("""
    INSERT INTO knowledge_base (title, content, category)
    SELECT 'Article ' || n, 'Text ' || n, 'faq' FROM generate_series(1, :count) AS n
""")
TYPES = list(ObjectType)


class Constant:
    """The same vector for every text: the database's work is what is measured."""

    model = "constant-1"
    dimensions = 2

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        return [[1.0, 0.0] for _ in texts]


def add(session: Session, customer_id: UUID, count: int) -> None:
    for statement in (MESSAGES, TICKETS, ARTICLES):
        session.execute(statement, {"customer_id": customer_id, "count": count})


def rows_read(session: Session, object_type: ObjectType, limit: int) -> int:
    before = session.scalar(READ) or 0
    indexing.embed_missing(session, Constant(), object_types=[object_type], limit=limit)
    return int((session.scalar(READ) or 0) - before)


@pytest.fixture
def base(crm_clone: Engine) -> Callable[[int], sessionmaker[Session]]:
    """A base of as many objects of each type, committed, and cleaned as autovacuum does it."""

    def grow(count: int) -> sessionmaker[Session]:
        with Session(crm_clone) as session, bound_to(session):
            session.execute(text("DELETE FROM knowledge_base"))
            add(session, CustomerFactory().id, count)
            session.commit()
        clean(crm_clone)
        return sessionmaker(crm_clone)

    return grow


def clean(engine: Engine) -> None:
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))


@pytest.mark.parametrize("object_type", TYPES)
def test_a_limit_limits_the_rows_that_are_read(base, object_type):
    with base(2_000)() as session:
        assert rows_read(session, object_type, 10) < 1_000


@pytest.mark.parametrize("object_type", TYPES)
def test_an_idle_worker_reads_no_more_of_a_large_base(base, crm_clone, object_type):
    sessions = base(1_000)
    with sessions.begin() as session:
        indexing.embed_missing(session, Constant(), object_types=[object_type])
    clean(crm_clone)
    with sessions() as session:
        assert rows_read(session, object_type, 100) < 50


def test_an_idle_poll_of_all_types_is_a_few_statements(session, queries):
    add(session, CustomerFactory().id, 4)
    indexing.embed_missing(session, Constant())
    queries.reset()
    assert indexing.embed_missing(session, Constant(), limit=100) == 0
    assert queries.count <= 5, queries
