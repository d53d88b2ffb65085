"""Merges against everything that may happen to the two customers at the same time, on both majors."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import count, pairwise
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session, sessionmaker

from app.database import make_engine, make_session_factory, transaction
from app.errors import AlreadyAbsorbed
from app.models import Channel, Customer, CustomerIdentifier, CustomerMerge, Message
from app.schemas import CustomerProfile, Identifier, InboundMessage, OutboundMessage
from app.services import conversations, identity, merging
from app.testing import (
    ConversationFactory,
    CustomerFactory,
    CustomerIdentifierFactory,
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
numbers = count()


@pytest.fixture(scope="module", params=[16, 18], ids=["pg16", "pg18"])
def sessions(request, pytestconfig) -> Iterator[sessionmaker[Session]]:
    """Sessions on a database that the tests of this module share: each has customers of its own."""
    url = pytestconfig.getoption("--crm-db-url") or os.environ.get("CRM_TEST_DATABASE_URL") or None
    with (
        provision(pytestconfig.getoption("--crm-db"), url=url, major=request.param) as server,
        closing(Databases(server)) as databases,
    ):
        clone = databases.clone()
        engine = make_engine(clone, pool_size=40, connect_args={"options": "-c lock_timeout=30s"})
        with engine.connect() as connection:
            if connection.dialect.server_version_info[0] != request.param:
                pytest.skip(f"the test server is not PostgreSQL {request.param}")
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


def whatsapp(number: str) -> Identifier:
    return Identifier(type="whatsapp", value=number, verified=True)


def a_number() -> str:
    return f"+49151{next(numbers):08}"


def rows_of(session: Session, customer_id: UUID) -> list[int]:
    counted = "SELECT count(*) FROM {} WHERE customer_id = :id"
    return [session.scalar(text(counted.format(table)), {"id": customer_id}) for table in TABLES]


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


def test_a_into_b_against_b_into_a_has_one_winner_and_no_deadlock(people, run, at_once):
    for _ in range(15):
        pair = people(2)

        def attempt(survivor: UUID, absorbed: UUID) -> UUID:
            try:
                run(merge, survivor, absorbed)
            except AlreadyAbsorbed as late:
                return late.current_id
            return survivor

        first, second = at_once([lambda p=p: attempt(*p) for p in (pair, pair[::-1])])
        assert first == second
        assert {run(merging.current_customer_id, id_) for id_ in pair} == {first}
        assert run(rows_of, first) == [2, 2, 2, 2]


def test_one_merge_asked_for_by_eight_callers_happens_once(people, run, at_once):
    ana, other = people(2)
    assert len(set(at_once([lambda: run(merge, ana, other)] * 8))) == 1
    assert run(rows_of, ana) == [2, 2, 2, 2]


def test_a_chain_of_merges_at_once_ends_in_one_customer(people, run, at_once):
    for _ in range(5):
        chain = people(5)

        def attempt(survivor: UUID, absorbed: UUID) -> None:
            while True:
                try:
                    run(merge, survivor, absorbed)
                except AlreadyAbsorbed as late:
                    survivor = late.current_id
                else:
                    return

        at_once([lambda p=p: attempt(p[1], p[0]) for p in pairwise(chain)])
        assert {run(merging.current_customer_id, id_) for id_ in chain} == {chain[-1]}
        assert run(rows_of, chain[-1]) == [5, 5, 5, 5]


def test_a_merge_against_senders_who_tell_and_prove_something_new(sessions, people, run, at_once):
    for _ in range(10):
        ana, other = people(2)
        with sessions.begin() as session, bound_to(session):
            known = session.get_one(Customer, other).email
            unproven = CustomerFactory(name=None, company=None)
            claim = CustomerIdentifierFactory(customer=unproven, identifier_value=f"{uuid4()}@example.com")
            claimed, unproven_id = claim.identifier_value, unproven.id
        told, number = Identifier(type="email", value=f"{uuid4()}@example.com"), a_number()
        profile = CustomerProfile(name="Ana", company="Silva & Co")

        def resolve(*identifiers: Identifier) -> UUID:
            return run(
                identity.resolve,
                identifiers,
                channel=Channel.EMAIL,
                profile=profile,  # noqa: B023
            ).customer_id

        works = [
            lambda: run(merge, ana, other),  # noqa: B023
            lambda: resolve(Identifier(type="email", value=known, verified=True), told),  # noqa: B023
            lambda: run(merge, ana, unproven_id),  # noqa: B023
            lambda: resolve(Identifier(type="email", value=claimed, verified=True)),  # noqa: B023
            lambda: resolve(Identifier(type="email", value=known, verified=True), whatsapp(number)),  # noqa: B023
        ]
        at_once(works)
        with sessions() as session:
            for value in (known, told.value, number):
                rows = session.scalars(
                    select(CustomerIdentifier.customer_id).where(CustomerIdentifier.identifier_value == value)
                ).all()
                assert rows == [ana]
            owner = identity.find_customer(session, Identifier(type="email", value=claimed)).id
            # Proved on the unproven customer, or taken from who had become a proven one.
            assert owner == ana or merging.current_customer_id(session, unproven_id) == ana


def test_a_merge_against_messages_of_both(sessions, run, at_once):
    def write(number: str) -> Any:
        message = InboundMessage(
            channel=Channel.WHATSAPP,
            account="+15550000000",
            provider_message_id=f"SM{next(numbers)}",
            sender=(whatsapp(number),),
            profile=CustomerProfile(name="Ana"),
            content="Hi",
        )
        return run(conversations.ingest, message)

    for _ in range(10):
        pair = [a_number(), a_number()]
        first = [write(number) for number in pair]
        ids = [ingested.customer_id for ingested in first]
        works = [lambda n=n: write(n) for n in pair * 2]
        written = at_once([lambda: run(merge, *ids), *works])[1:]  # noqa: B023
        with sessions() as session:
            for ingested, number in zip(written, pair * 2, strict=True):
                assert session.get_one(Message, ingested.message_id).customer_id == ids[0]
                assert conversations.reply_target(session, ingested.conversation_id).value == number
            # Each number still has one conversation.
            assert {w.conversation_id for w in written} == {f.conversation_id for f in first}


@pytest.mark.parametrize("service", ["reply", "attach", "verify", "detach"])
def test_a_service_that_waits_for_a_merge_works_on_the_survivor(
    sessions, people, run, until_it_waits, service
):
    ana, other = people(2)
    conversation = run(conversation_of, other)
    with sessions() as session:
        own = session.scalar(select(CustomerIdentifier.id).where(CustomerIdentifier.customer_id == other))
        session.rollback()
        added = Identifier(type="email", value=f"{uuid4()}@example.com")
        work = {
            "reply": lambda: run(conversations.reply, conversation, OutboundMessage(content="Hi")),
            "attach": lambda: run(
                identity.attach_identifier, other, added, channel=Channel.EMAIL, actor="human:7"
            ),
            "verify": lambda: run(identity.verify_identifier, own, actor="human:7"),
            "detach": lambda: run(identity.detach_identifier, own, actor="human:7"),
        }[service]
        if service == "verify":
            with sessions.begin() as setup:
                setup.get_one(CustomerIdentifier, own).verified = False
        merge(session, ana, other)
        waiting = until_it_waits(work)
        session.commit()
        result = waiting.result(PATIENCE)
        if service == "detach":
            assert rows_of(session, ana)[0] == 1
        else:
            assert result.customer_id == ana


def test_a_merge_against_the_detaching_of_an_identifier(sessions, people, run, at_once):
    for _ in range(10):
        ana, other = people(2)
        with sessions() as session:
            owned = select(CustomerIdentifier.id).where(CustomerIdentifier.customer_id == other)
            own = session.scalars(owned).one()
        works = [
            lambda: run(merge, ana, other),  # noqa: B023
            lambda: run(identity.detach_identifier, own, actor="human:7"),  # noqa: B023
        ]
        at_once(works)
        assert run(rows_of, ana)[1:] == [2, 2, 2]


def test_a_merge_against_the_undoing_of_another_with_the_same_survivor(sessions, people, run, at_once):
    for _ in range(10):
        former, ana, last = people(3)
        first = run(merge, ana, former)
        report, second = at_once([lambda: run(unmerge, first), lambda: run(merge, last, ana)])  # noqa: B023
        assert set(report.stayed.values()) == {0}
        assert (run(rows_of, former), run(rows_of, last)) == ([1, 1, 1, 1], [2, 2, 2, 2])
        assert set(run(unmerge, second).stayed.values()) == {0}
        assert [run(rows_of, id_) for id_ in (former, ana, last)] == [[1, 1, 1, 1]] * 3


def test_one_undoing_asked_for_by_eight_callers_happens_once(people, run, at_once):
    ana, other = people(2)
    done = run(merge, ana, other)
    reports = at_once([lambda: run(unmerge, done)] * 8)
    assert all(report == reports[0] for report in reports)
    assert (run(rows_of, ana), run(rows_of, other)) == ([1, 1, 1, 1], [1, 1, 1, 1])


def test_the_merges_of_a_chain_are_undone_at_once(people, run, at_once):
    for _ in range(10):
        chain = people(4)
        done = [run(merge, survivor, absorbed) for absorbed, survivor in pairwise(chain)]
        for report in at_once([lambda m=m: run(unmerge, m) for m in done]):
            assert set(report.stayed.values()) == {0}
        assert [run(rows_of, id_) for id_ in chain] == [[1, 1, 1, 1]] * 4


def test_an_undoing_that_waits_for_another_takes_its_rows_from_who_has_them_then(
    sessions, people, run, until_it_waits
):
    former, ana, last = people(3)
    first, second = run(merge, ana, former), run(merge, last, ana)
    with sessions() as undoer:
        unmerge(undoer, second)
        waiting = until_it_waits(lambda: run(unmerge, first))
        undoer.commit()
    report = waiting.result(PATIENCE)
    assert (report.survivor_id, set(report.stayed.values())) == (ana, {0})
    assert [run(rows_of, id_) for id_ in (former, ana, last)] == [[1, 1, 1, 1]] * 3


def test_a_merge_repeated_while_it_is_being_undone_happens_again(sessions, people, run, until_it_waits):
    ana, other = people(2)
    done = run(merge, ana, other)
    with sessions() as undoer:
        unmerge(undoer, done)
        again = until_it_waits(lambda: run(merge, ana, other))
        undoer.commit()
    assert again.result(PATIENCE) != done
    assert run(rows_of, ana) == [2, 2, 2, 2]


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


def test_the_journal_tells_the_truth_after_all_of_this(sessions):
    with sessions() as session:
        merges = session.scalars(select(CustomerMerge)).all()
        assert merges
        stranded = """
            SELECT count(*) FROM customer_redirects AS r
            LEFT JOIN customer_merges AS m ON m.id = r.merge_id
            WHERE m.undone_at IS NOT NULL OR m.absorbed_id <> r.absorbed_id
                OR r.customer_id IN (SELECT absorbed_id FROM customer_redirects)
                OR r.absorbed_id IN (SELECT id FROM customers)
        """
        assert session.scalar(text(stranded)) == 0
        unled = """
            SELECT count(*) FROM customer_merges AS m WHERE undone_at IS NULL
                AND NOT EXISTS (SELECT FROM customer_redirects AS r WHERE r.merge_id = m.id)
        """
        assert session.scalar(text(unled)) == 0


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

    @pytest.mark.parametrize("table", ["customer_identifiers", "messages"])
    def test_a_row_in_flight_is_lost_or_breaks_the_merge_without_the_full_lock(
        self, sessions, people, until_it_waits, monkeypatch, table
    ):
        ana, other = people(2)

        def weakly(session: Session, *ids: UUID) -> bool:
            both = select(Customer.id).where(Customer.id.in_(ids)).order_by(Customer.id)
            return len(session.scalars(both.with_for_update(key_share=True)).all()) == 2

        monkeypatch.setattr(merging, "_lock_both", weakly)
        with sessions() as writer:
            row = insert(writer, table, other, conversation_of(writer, other))
            merged = until_it_waits(lambda: transaction(sessions, merge, ana, other))
            writer.commit()
            if table == "messages":
                with pytest.raises(Exception, match="messages_customer_id_fkey"):
                    merged.result(PATIENCE)
            else:
                merged.result(PATIENCE)
                assert holder(writer, table, row) is None
