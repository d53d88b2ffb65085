"""Rows that plain SQL inserts for a customer who is just being merged or restored, on both majors."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.orm import Session, sessionmaker

from app.database import make_engine, make_session_factory, transaction
from app.errors import ConcurrentChange, DuplicateValue
from app.models import Customer
from app.services import merging
from app.services.merging import merges
from app.testing import (
    ConversationFactory,
    CustomerFactory,
    Databases,
    MessageFactory,
    TicketFactory,
    bound_to,
    provision,
)

PATIENCE = 120
WHY = {"actor": "human:7", "reason": "race"}
TABLES = ["customer_identifiers", "conversations", "messages", "tickets"]
INSERT = {
    "customer_identifiers": """
        INSERT INTO customer_identifiers (customer_id, identifier_type, identifier_value, channel)
        VALUES (:customer_id, 'email', gen_random_uuid() || '@example.com', 'email') RETURNING id
    """,
    "conversations": """
        INSERT INTO conversations (customer_id, channel) VALUES (:customer_id, 'email') RETURNING id
    """,
    "messages": """
        INSERT INTO messages (customer_id, conversation_id, channel, direction, role, content)
        VALUES (:customer_id, :conversation_id, 'email', 'inbound', 'customer', 'Hi') RETURNING id
    """,
    "tickets": """
        INSERT INTO tickets (customer_id, conversation_id, subject, category, source_channel)
        VALUES (:customer_id, :conversation_id, 'Hi', 'billing', 'email') RETURNING id
    """,
}


@pytest.fixture(scope="module", params=[16, 18], ids=["pg16", "pg18"])
def sessions(request, pytestconfig) -> Iterator[sessionmaker[Session]]:
    """Sessions on a database that the tests of this module share: each has customers of its own."""
    url = pytestconfig.getoption("--crm-db-url") or os.environ.get("CRM_TEST_DATABASE_URL") or None
    if url is not None and request.param != 16:
        pytest.skip("the tests run once on the server that is named")
    with (
        provision(pytestconfig.getoption("--crm-db"), url=url, major=request.param) as server,
        closing(Databases(server)) as databases,
    ):
        clone = databases.clone()
        engine = make_engine(clone, pool_size=40, connect_args={"options": "-c lock_timeout=30s"})
        yield make_session_factory(engine)
        engine.dispose()
        databases.drop(clone)


@pytest.fixture
def people(sessions) -> Callable[[int], list[UUID]]:
    """Customers, each with one row in every table."""

    def make(number: int) -> list[UUID]:
        with sessions.begin() as session, bound_to(session):
            made = [CustomerFactory(with_email=True, email=f"{uuid4()}@example.com") for _ in range(number)]
            for customer in made:
                conversation = ConversationFactory(customer=customer)
                MessageFactory(conversation=conversation)
                TicketFactory(conversation=conversation)
            return [customer.id for customer in made]

    return make


@pytest.fixture
def run(sessions) -> Callable[..., Any]:
    """Run a service in a transaction of its own; nothing is retried unless a test says so."""

    def call(work: Callable[..., Any], *arguments: Any, retries: int = 0, **options: Any) -> Any:
        return transaction(sessions, work, *arguments, retries=retries, **options)

    return call


def insert(session: Session, table: str, customer_id: UUID, conversation_id: UUID) -> UUID:
    values = {"customer_id": customer_id, "conversation_id": conversation_id}
    return session.execute(text(INSERT[table]), values).scalar_one()


def holder(session: Session, table: str, row_id: UUID) -> UUID | None:
    return session.scalar(text(f"SELECT customer_id FROM {table} WHERE id = :id"), {"id": row_id})


def conversation_of(session: Session, customer_id: UUID) -> UUID:
    found = text("SELECT min(id::text)::uuid FROM conversations WHERE customer_id = :id")
    return session.execute(found, {"id": customer_id}).scalar_one()


def merge(session: Session, survivor: UUID, absorbed: UUID) -> UUID:
    return merging.merge(session, survivor, absorbed, **WHY).id


def unmerge(session: Session, merge_id: UUID) -> Any:
    return merging.unmerge(session, merge_id, **WHY)


@pytest.mark.parametrize("table", TABLES)
def test_a_row_in_flight_when_the_merge_begins_moves_with_it(sessions, people, run, until_it_waits, table):
    ana, other = people(2)
    with sessions() as writer:
        row = insert(writer, table, other, conversation_of(writer, other))
        merged = until_it_waits(lambda: run(merge, ana, other))
        writer.commit()
        merged.result(PATIENCE)
        assert holder(writer, table, row) == ana


@pytest.mark.parametrize("table", TABLES)
def test_a_row_inserted_while_the_merge_is_under_way_lands_on_the_survivor(
    sessions, people, run, until_it_waits, table
):
    ana, other = people(2)
    conversation = run(conversation_of, other)
    with sessions() as merger:
        merge(merger, ana, other)
        inserted = until_it_waits(lambda: run(insert, table, other, conversation))
        merger.commit()
        assert holder(merger, table, inserted.result(PATIENCE)) == ana


@pytest.mark.parametrize("table", TABLES)
def test_a_row_inserted_before_or_after_the_merge_lands_on_the_survivor(people, run, table):
    ana, other = people(2)
    conversation = run(conversation_of, other)
    before = run(insert, table, other, conversation)
    run(merge, ana, other)
    after = run(insert, table, other, conversation)
    assert [run(holder, table, row) for row in (before, after)] == [ana, ana]


@pytest.mark.parametrize("table", TABLES)
def test_a_row_that_waited_for_a_merge_that_is_rolled_back_stays(
    sessions, people, run, until_it_waits, table
):
    ana, other = people(2)
    conversation = run(conversation_of, other)
    with sessions() as merger:
        merge(merger, ana, other)
        inserted = until_it_waits(lambda: run(insert, table, other, conversation))
        merger.rollback()
        assert holder(merger, table, inserted.result(PATIENCE)) == other


@pytest.mark.parametrize("table", TABLES)
def test_a_row_inserted_while_a_second_merge_is_under_way_follows_both(
    sessions, people, run, until_it_waits, table
):
    ana, other, last = people(3)
    conversation = run(conversation_of, other)
    run(merge, ana, other)
    with sessions() as merger:
        merge(merger, last, ana)
        inserted = until_it_waits(lambda: run(insert, table, other, conversation))
        merger.commit()
        assert holder(merger, table, inserted.result(PATIENCE)) == last


@pytest.mark.parametrize("table", TABLES)
def test_a_row_inserted_while_the_merge_is_being_undone_lands_on_the_restored_customer(
    sessions, people, run, until_it_waits, table
):
    ana, other = people(2)
    conversation = run(conversation_of, other)
    done = run(merge, ana, other)
    with sessions() as undoer:
        unmerge(undoer, done)
        inserted = until_it_waits(lambda: run(insert, table, other, conversation))
        undoer.commit()
        assert holder(undoer, table, inserted.result(PATIENCE)) == other


def test_a_message_in_flight_when_the_undoing_begins_is_counted(sessions, people, run, until_it_waits):
    ana, other = people(2)
    conversation = run(conversation_of, other)
    done = run(merge, ana, other)
    with sessions() as writer:
        row = insert(writer, "messages", other, conversation)
        undone = until_it_waits(lambda: run(unmerge, done))
        writer.commit()
        assert undone.result(PATIENCE).messages_since == 1
        assert holder(writer, "messages", row) == ana


def test_a_repeatable_read_caller_is_refused_and_succeeds_when_it_tries_again(sessions, people, run):
    ana, other = people(2)
    conversation = run(conversation_of, other)
    engine = sessions.kw["bind"].execution_options(isolation_level="REPEATABLE READ")
    with Session(engine) as old:
        old.execute(text("SELECT 1"))
        run(merge, ana, other)
        with pytest.raises(OperationalError) as refused:
            insert(old, "messages", other, conversation)
        assert refused.value.orig.sqlstate == "40001"
        old.rollback()
        row = insert(old, "messages", other, conversation)
        old.commit()
    assert run(holder, "messages", row) == ana


def store_again(session: Session, customer_id: UUID) -> None:
    """As another backend does that still knows the customer."""
    values = {"id": customer_id, "email": f"{uuid4()}@example.com"}
    session.execute(text("INSERT INTO customers (id, email) VALUES (:id, :email)"), values)


def exists(session: Session, customer_id: UUID) -> bool:
    return session.scalar(select(Customer.id).where(Customer.id == customer_id)) is not None


@pytest.mark.parametrize("committed", [True, False])
def test_the_absorbed_customer_inserted_again_waits_for_the_merge_and_is_there_once_or_not_at_all(
    sessions, people, run, until_it_waits, committed
):
    ana, other = people(2)
    with sessions() as merger:
        merge(merger, ana, other)
        stored = until_it_waits(lambda: run(store_again, other))
        merger.commit() if committed else merger.rollback()
        with pytest.raises(DuplicateValue):
            stored.result(PATIENCE)
    assert run(exists, other) is not committed


def test_the_absorbed_customer_inserted_again_before_the_merge_keeps_it_waiting(
    sessions, people, run, until_it_waits
):
    ana, other = people(2)
    with sessions() as writer:
        with pytest.raises(IntegrityError), writer.begin_nested():
            store_again(writer, other)
        writer.execute(text("SELECT 1 FROM customers WHERE id = :id FOR KEY SHARE"), {"id": other})
        merged = until_it_waits(lambda: run(merge, ana, other))
        writer.rollback()
        merged.result(PATIENCE)
    assert not run(exists, other)


def test_the_absorbed_customer_inserted_again_while_the_merge_is_undone_is_there_once(sessions, people, run):
    ana, other = people(2)
    done = run(merge, ana, other)
    with sessions() as undoer:
        unmerge(undoer, done)
        with pytest.raises(DuplicateValue):
            run(store_again, other)
        undoer.commit()
    assert run(exists, other)
    with pytest.raises(DuplicateValue):
        run(store_again, other)


class TestWithoutAGuard:
    """What each guard is there for: the same races on a database, or with a service, that lacks it."""

    @pytest.fixture
    def sessions(self, crm_clone) -> sessionmaker[Session]:
        return make_session_factory(crm_clone)

    @pytest.mark.parametrize("table", TABLES)
    def test_an_insert_that_waited_fails_without_the_trigger(
        self, sessions, people, run, until_it_waits, table
    ):
        ana, other = people(2)
        conversation = run(conversation_of, other)
        with sessions.begin() as session:
            session.execute(text(f"DROP TRIGGER trg_{table}_follow_redirect ON {table}"))
        with sessions() as merger:
            merge(merger, ana, other)
            inserted = until_it_waits(lambda: run(insert, table, other, conversation))
            merger.commit()
        with pytest.raises(Exception, match=f"{table}_customer_id_fkey"):
            inserted.result(PATIENCE)

    def test_the_absorbed_customer_is_there_beside_its_redirect_without_the_trigger(
        self, sessions, people, run, until_it_waits
    ):
        ana, other = people(2)
        with sessions.begin() as session:
            session.execute(text("DROP TRIGGER trg_customers_refuse_absorbed ON customers"))
        with sessions() as merger:
            merge(merger, ana, other)
            stored = until_it_waits(lambda: run(store_again, other))
            merger.commit()
            stored.result(PATIENCE)
        assert run(exists, other)

    @pytest.mark.parametrize("table", ["customer_identifiers", "messages"])
    def test_a_row_in_flight_is_lost_or_breaks_the_merge_without_the_full_lock(
        self, sessions, people, until_it_waits, monkeypatch, table
    ):
        ana, other = people(2)

        def weakly(session: Session, *ids: UUID) -> bool:
            both = select(Customer.id).where(Customer.id.in_(ids)).order_by(Customer.id)
            return len(session.scalars(both.with_for_update(key_share=True)).all()) == 2

        monkeypatch.setattr(merges, "_lock_both", weakly)
        with sessions() as writer:
            row = insert(writer, table, other, conversation_of(writer, other))
            merged = until_it_waits(lambda: transaction(sessions, merge, ana, other, retries=0))
            writer.commit()
            if table == "messages":
                with pytest.raises(ConcurrentChange):
                    merged.result(PATIENCE)
            else:
                merged.result(PATIENCE)
                assert holder(writer, table, row) is None
