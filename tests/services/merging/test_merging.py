"""Two customers become one: nothing is lost, nothing is overwritten, and the old id keeps working."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session, selectinload

from app.errors import AlreadyAbsorbed, CRMError, CustomerNotFound, InvalidValue, SelfMerge, StalePlan
from app.models import (
    Base,
    Channel,
    Conversation,
    ConversationStatus,
    Customer,
    CustomerMerge,
    CustomerMergeMove,
    CustomerRedirect,
    Message,
)
from app.schemas import Identifier, InboundMessage, OutboundMessage
from app.services import conversations, identity, merging, tickets, timeline
from app.services.merging.rows import MOVED_TABLES
from app.testing import (
    ConversationFactory,
    ConversationRouteFactory,
    CustomerFactory,
    MessageFactory,
    TicketFactory,
)

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
WHY = {"actor": "human:7", "reason": "the same person"}


def person(**values: Any) -> Customer:
    """A customer with one row in every table that belongs to customers."""
    customer = CustomerFactory(with_email=True, **values)
    conversation = ConversationFactory(customer=customer, updated_at=LONG_AGO)
    MessageFactory(conversation=conversation)
    TicketFactory(conversation=conversation, updated_at=LONG_AGO)
    return customer


def rows(session: Session, table: str, customer_id: UUID) -> dict[str, dict[str, Any]]:
    """The customer's rows as the database has them, without the customer's id."""
    key = MOVED_TABLES[table]
    found = text(f"SELECT {key}::text, to_jsonb(t) - 'customer_id' FROM {table} AS t WHERE customer_id = :id")
    return dict(session.execute(found, {"id": customer_id}).all())


def everything(session: Session) -> dict[str, list[str]]:
    tables = [
        "customers",
        "customer_merges",
        "customer_merge_moves",
        "identity_events",
        *MOVED_TABLES,
    ]
    return {
        table: sorted(session.scalars(text(f"SELECT to_jsonb(t)::text FROM {table} AS t")))
        for table in tables
    }


def merge(session: Session, survivor: Customer, absorbed: Customer, **options: Any) -> CustomerMerge:
    return merging.merge(session, survivor.id, absorbed.id, **(WHY | options))


def email(value: str, *, verified: bool = True) -> Identifier:
    return Identifier(type="email", value=value, verified=verified)


def whatsapp(number: str) -> Identifier:
    return Identifier(type="whatsapp", value=f"whatsapp:{number}", verified=True)


def inbound(sender: Identifier, number: int, account: str = "+15550000000") -> InboundMessage:
    return InboundMessage(
        channel=Channel.WHATSAPP,
        account=account,
        provider_message_id=f"SM{number}",
        sender=(sender,),
        content="Hello",
    )


def test_every_foreign_key_to_customers_is_moved_by_a_merge(session):
    found = session.execute(
        text("""
            SELECT con.conrelid::regclass::text, att.attname::text, (
                SELECT string_agg(key.attname::text, ',' ORDER BY key.attnum)
                FROM pg_index JOIN pg_attribute AS key ON key.attrelid = indrelid AND key.attnum = ANY(indkey)
                WHERE indrelid = con.conrelid AND indisprimary
            )
            FROM pg_constraint AS con
            JOIN pg_attribute AS att ON att.attrelid = con.conrelid AND att.attnum = ANY(con.conkey)
            WHERE con.confrelid = 'customers'::regclass AND con.contype = 'f'
        """)
    )
    moved = {(table, "customer_id", key) for table, key in MOVED_TABLES.items()}
    assert {tuple(row) for row in found} == moved


def test_every_table_of_customers_follows_a_redirect(session):
    guarded = session.scalars(
        text("""
            SELECT tgrelid::regclass::text FROM pg_trigger
            WHERE tgfoid = 'follow_customer_redirect'::regproc AND tgenabled = 'A'
        """)
    ).all()
    # Redirects themselves are written by merges alone, under the lock of both customers.
    assert {*guarded, "customer_redirects"} == set(MOVED_TABLES)


def test_no_relationship_can_delete_rows_that_moved_away():
    relationships = [r for mapper in Base.registry.mappers for r in mapper.relationships]
    assert relationships
    assert not [r for r in relationships if r.cascade.delete or r.cascade.delete_orphan]


def test_everything_moves_unchanged_and_the_absorbed_row_is_gone(session):
    ana, other = person(), person()
    former = CustomerFactory()
    merge(session, other, former)
    ours = {table: rows(session, table, ana.id) for table in MOVED_TABLES}
    theirs = {table: rows(session, table, other.id) for table in MOVED_TABLES}
    assert all(theirs.values())

    done = merge(session, ana, other)

    redirect = {str(done.absorbed_id)}
    for table in MOVED_TABLES:
        # updated_at too: moving a row is no change of it.
        kept = {k: row for k, row in rows(session, table, ana.id).items() if k not in redirect}
        assert kept == ours[table] | theirs[table]
        assert rows(session, table, done.absorbed_id) == {}
    assert session.scalar(select(Customer.id).where(Customer.id == done.absorbed_id)) is None
    moved = select(CustomerMergeMove).where(CustomerMergeMove.merge_id == done.id)
    assert {(m.table_name, str(m.row_id)) for m in session.scalars(moved)} == {
        (table, key) for table in theirs for key in theirs[table]
    }


def test_rows_are_touched_as_always_after_the_merge(session):
    ana, other = person(), person()
    merge(session, ana, other)
    conversation = session.scalars(select(Conversation).where(Conversation.customer_id == ana.id)).first()
    conversation.sentiment_score = 0.9
    session.flush()
    session.refresh(conversation)
    assert conversation.updated_at > LONG_AGO


def test_redirects_never_chain(session):
    *ids, last = [CustomerFactory().id for _ in range(5)]
    for absorbed, survivor in pairwise([*ids, last]):
        merging.merge(session, survivor, absorbed, **WHY)
    redirects = session.scalars(select(CustomerRedirect)).all()
    assert {r.absorbed_id: r.customer_id for r in redirects} == dict.fromkeys(ids, last)
    assert [merging.current_customer_id(session, id_) for id_ in (*ids, last)] == [last] * 5


def test_an_id_is_followed_in_one_statement(session, queries):
    ana, other = CustomerFactory(), CustomerFactory()
    other_id = other.id
    merge(session, ana, other)
    for id_ in (other_id, str(other_id), ana.id):
        queries.reset()
        assert merging.current_customer_id(session, id_) == ana.id
        assert queries.count == 1, queries


@pytest.mark.parametrize(
    ("bad", "error"), [(uuid4(), CustomerNotFound), ("42", InvalidValue), (None, InvalidValue)]
)
def test_an_id_that_never_was_a_customers_leads_nowhere(session, bad, error):
    with pytest.raises(error):
        merging.current_customer_id(session, bad)


def test_repeating_a_merge_returns_the_first_one(session):
    ana, other, last = CustomerFactory(), person(), CustomerFactory()
    other_id = other.id
    first = merge(session, ana, other)
    before = everything(session)
    assert merging.merge(session, ana.id, other_id, actor="ai:agent", reason="again").id == first.id
    assert everything(session) == before
    assert (first.actor, first.reason) == ("human:7", "the same person")

    # Also when the survivor lives on as somebody else.
    ana_id = ana.id
    merge(session, last, ana)
    assert merging.merge(session, ana_id, other_id, **WHY).id == first.id


def test_a_customer_is_not_merged_into_itself(session, queries):
    ana = CustomerFactory()
    queries.reset()
    for call in (merging.plan_merge, lambda *a: merging.merge(*a, **WHY)):
        for other in (ana.id, str(ana.id)):
            with pytest.raises(SelfMerge):
                call(session, ana.id, other)
    assert queries.count == 0, queries


def test_who_was_absorbed_is_named_with_whom_it_lives_on_as(session):
    ana, other, third, last = (CustomerFactory() for _ in range(4))
    ids = [c.id for c in (ana, other, third, last)]
    merge(session, ana, other)
    merge(session, last, ana)
    for survivor, absorbed in [(ids[2], ids[1]), (ids[1], ids[2]), (ids[1], ids[0]), (ids[3], ids[1])]:
        for call in (merging.plan_merge, lambda *a: merging.merge(*a, **WHY)):
            with pytest.raises(AlreadyAbsorbed) as caught:
                call(session, survivor, absorbed)
            assert caught.value.current_id == ids[3]


@pytest.mark.parametrize("unknown", [0, 1])
def test_a_plan_needs_two_customers(session, unknown):
    pair = [CustomerFactory().id, CustomerFactory().id]
    pair[unknown] = uuid4()
    with pytest.raises(CustomerNotFound, match=str(pair[unknown])):
        merging.plan_merge(session, *pair)


BAD_CALLS: dict[str, tuple[dict[str, Any], type[CRMError]]] = {
    "unknown survivor": ({"survivor_id": uuid4()}, CustomerNotFound),
    "unknown absorbed": ({"absorbed_id": uuid4()}, CustomerNotFound),
    "both unknown": ({"survivor_id": uuid4(), "absorbed_id": uuid4()}, CustomerNotFound),
    "no id": ({"survivor_id": "42"}, InvalidValue),
    "no actor": ({"actor": ""}, InvalidValue),
    "ill-formed actor": ({"actor": "somebody"}, InvalidValue),
    "no reason": ({"reason": " "}, InvalidValue),
    "a reason with NUL": ({"reason": "a\x00b"}, InvalidValue),
    "a long reason": ({"reason": "a" * 10_001}, InvalidValue),
    "another plan": ({"fingerprint": "0" * 64}, StalePlan),
    "an empty plan": ({"fingerprint": ""}, StalePlan),
}


@pytest.mark.parametrize(("options", "error"), BAD_CALLS.values(), ids=BAD_CALLS)
def test_a_refused_merge_changes_nothing(session, options, error):
    ana, other = person(), person()
    pair = {"survivor_id": ana.id, "absorbed_id": other.id}
    before = everything(session)
    with pytest.raises(error):
        merging.merge(session, **(pair | WHY | options))
    assert everything(session) == before
    assert merging.merge(session, **pair, **WHY).survivor_id == ana.id


def test_both_may_have_an_open_conversation_on_one_channel(session):
    ana, other = (
        conversations.ingest(session, inbound(whatsapp(number), n))
        for n, number in enumerate(["+4915112345678", "+4915187654321"])
    )
    merging.merge(session, ana.customer_id, other.customer_id, **WHY)
    kept = select(Conversation).where(Conversation.customer_id == ana.customer_id)
    assert {c.status for c in session.scalars(kept)} == {ConversationStatus.ACTIVE}
    # The next message of each goes on where it was.
    for n, (number, before) in enumerate([("+4915112345678", ana), ("+4915187654321", other)], start=10):
        again = conversations.ingest(session, inbound(whatsapp(number), n))
        assert (again.conversation_id, again.conversation_opened) == (before.conversation_id, False)
        assert again.customer_id == ana.customer_id


def test_after_merging_two_whatsapp_people_each_answer_goes_to_the_right_number(session):
    numbers = ["+4915112345678", "+4915187654321"]
    first, second = (
        conversations.ingest(session, inbound(whatsapp(number), n)) for n, number in enumerate(numbers)
    )
    done = merging.merge(session, first.customer_id, second.customer_id, **WHY)
    for _ in range(2):
        for ingested, number in zip((first, second), numbers, strict=True):
            conversations.reply(session, ingested.conversation_id, OutboundMessage(content="Hi"))
            target = conversations.reply_target(session, ingested.conversation_id)
            assert target == Identifier(type="whatsapp", value=f"whatsapp:{number}")
        merging.unmerge(session, done.id, **WHY)


def test_loaded_objects_and_collections_lose_nothing(session):
    ana, other = person(), person()
    other_id = other.id
    everybody = select(Customer).options(
        selectinload(Customer.identifiers),
        selectinload(Customer.tickets),
        selectinload(Customer.conversations).selectinload(Conversation.messages),
    )
    loaded = {c.id: c for c in session.scalars(everybody.where(Customer.id.in_([ana.id, other_id])))}
    children = [*loaded[other_id].identifiers, *loaded[other_id].tickets, *loaded[other_id].conversations]
    assert len(children) == 3
    merge(session, ana, other)
    session.commit()
    # In the session too.
    assert {child.customer_id for child in children} == {ana.id}
    ours = session.scalars(everybody.where(Customer.id == ana.id)).one()
    assert (len(ours.identifiers), len(ours.tickets), len(ours.conversations)) == (2, 2, 2)
    assert [len(c.messages) for c in ours.conversations] == [1, 1]


def test_what_the_session_has_not_sent_yet_moves_too(session):
    ana, other = CustomerFactory(), person()
    conversation = session.scalars(select(Conversation).where(Conversation.customer_id == other.id)).one()
    with session.no_autoflush:
        message = Message(
            conversation_id=conversation.id,
            customer_id=other.id,
            channel="email",
            direction="inbound",
            role="customer",
            content="pending",
        )
        session.add(message)
        conversation.sentiment_score = 0.1
        merge(session, ana, other)
    assert (message.customer_id, conversation.customer_id) == (ana.id, ana.id)
    assert conversation.sentiment_score == 0.1


def test_the_absorbed_id_works_wherever_a_customer_is_named(session):
    ana, other = CustomerFactory(), person()
    other_id = other.id
    merge(session, ana, other)
    assert len(timeline.history(session, other_id).items) == 1
    opened = tickets.open_ticket(
        session,
        customer_id=other_id,
        subject="Again",
        category="billing",
        source_channel="email",
        actor="human:7",
    )
    given = identity.attach_identifier(
        session, other_id, email("new@example.com"), channel=Channel.EMAIL, actor="human:7"
    )
    assert {opened.customer_id, given.customer_id} == {ana.id}


def test_a_merge_that_is_rolled_back_never_was(session):
    ana, other = person(), person()
    before = everything(session)
    savepoint = session.begin_nested()
    merge(session, ana, other)
    savepoint.rollback()
    assert everything(session) == before
    # Nor is the setting left on that keeps updated_at.
    session.execute(text("UPDATE tickets SET subject = 'New' WHERE customer_id = :id"), {"id": ana.id})
    touched = session.scalar(text("SELECT updated_at FROM tickets WHERE customer_id = :id"), {"id": ana.id})
    assert touched > LONG_AGO


def test_a_route_without_its_customers_number_stays_as_it_is(session):
    route = ConversationRouteFactory()
    other = session.get_one(Conversation, route.conversation_id).customer_id
    before = (route.identifier_value, route.address, route.thread_id)
    merging.merge(session, CustomerFactory().id, other, **WHY)
    assert (route.identifier_value, route.address, route.thread_id) == before
