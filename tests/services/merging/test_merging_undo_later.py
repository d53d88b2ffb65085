"""What came after a merge, when it is undone."""

from __future__ import annotations

import pytest
from sqlalchemy import select, text

from app.models import Channel, Conversation, Customer, Message
from app.schemas import Identifier
from app.services import identity, merging
from app.testing import (
    ConversationFactory,
    CustomerFactory,
    CustomerIdentifierFactory,
    MessageFactory,
    TicketFactory,
)

from .undoing import LONG_AGO, NOTHING, UNDO, change, merge, person, snapshot


def test_what_came_since_stays_and_is_counted(session):
    ana, other = person(), person()
    conversation = session.scalars(select(Conversation.id).where(Conversation.customer_id == other)).one()
    done = merge(session, ana, other)
    since = [
        MessageFactory(conversation_id=conversation, content="since").id,
        MessageFactory(conversation_id=conversation, outbound=True).id,
    ]
    ticket, opened = TicketFactory(customer_id=ana).id, ConversationFactory(customer_id=ana).id
    report = merging.unmerge(session, done, **UNDO)
    assert report.messages_since == 2
    assert report.returned["messages"] == 1
    assert {session.get_one(Message, id_).customer_id for id_ in since} == {ana}
    assert session.get_one(Conversation, conversation).customer_id == other
    for table, id_ in (("tickets", ticket), ("conversations", opened)):
        assert session.scalar(text(f"SELECT customer_id FROM {table} WHERE id = :id"), {"id": id_}) == ana


def test_rows_that_were_deleted_or_moved_on_by_hand_stay_where_they_are(session):
    ana, other, third = person(), person(), person()
    session.execute(text("UPDATE tickets SET conversation_id = NULL"))
    done = merge(session, ana, other)
    moved = "IN (SELECT row_id FROM customer_merge_moves WHERE merge_id = :done)"
    change(session, f"DELETE FROM messages WHERE id {moved}", done=done)
    change(session, f"UPDATE tickets SET customer_id = :third WHERE id {moved}", done=done, third=third)
    report = merging.unmerge(session, done, **UNDO)
    assert report.stayed == NOTHING | {"messages": 1, "tickets": 1}
    assert report.returned == NOTHING | {"customer_identifiers": 1, "conversations": 1}
    assert session.scalar(text("SELECT count(*) FROM tickets WHERE customer_id = :id"), {"id": third}) == 2


def test_an_identifier_that_was_detached_or_taken_over_since_stays_away(session):
    ana, other = person(), person()
    claimed = CustomerIdentifierFactory(customer_id=other, channel=Channel.WHATSAPP).identifier_value
    detached = CustomerIdentifierFactory(customer_id=other)
    done = merge(session, ana, other)
    identity.detach_identifier(session, detached.id, actor="human:7")
    number = Identifier(type="whatsapp", value=claimed, verified=True)
    owner = identity.resolve(session, [number], channel=Channel.WHATSAPP).customer_id
    report = merging.unmerge(session, done, **UNDO)
    assert report.stayed == NOTHING | {"customer_identifiers": 2}
    assert identity.find_customer(session, number).id == owner


@pytest.mark.parametrize("absorbed_since", [False, True])
def test_fields_that_somebody_changed_since_are_reported_and_kept(session, absorbed_since):
    ana = CustomerFactory(name=None, company=None, extra={}).id
    other = CustomerFactory(
        name="Ben", phone="+4915112345678", company="Co", extra={"a": 1, "b": 2, "c": 3}
    ).id
    done = merge(session, ana, other)
    change(
        session,
        """
        UPDATE customers SET name = 'Ana', company = NULL, metadata = '{"a": 1, "b": 9, "d": 4}'
        WHERE id = :id
        """,
        id=ana,
    )
    living = ana
    if absorbed_since:
        living = CustomerFactory(name=None, plan=None, extra={}).id
        merge(session, living, ana)
    report = merging.unmerge(session, done, **UNDO)
    assert set(report.undecided_fields) == {"name", "metadata"}
    kept = session.get_one(Customer, living)
    assert (kept.name, kept.phone, kept.company, kept.extra) == ("Ana", None, None, {"b": 9, "d": 4})
    back = session.get_one(Customer, other)
    assert (back.name, back.phone, back.company) == ("Ben", "+4915112345678", "Co")


@pytest.mark.parametrize(
    ("was", "now"),
    [
        ("1", "true"),
        ("0", "false"),
        ("{}", "[]"),
        ("[1]", "[true]"),
        ('{"a": 0}', '{"a": false}'),
        ('"1"', "1"),
    ],
)
def test_a_value_of_another_type_is_a_change_also_where_python_finds_it_equal(session, was, now):
    ana, other = CustomerFactory(extra={}).id, CustomerFactory().id
    change(session, f"UPDATE customers SET metadata = '{{\"k\": {was}}}' WHERE id = :id", id=other)
    done = merge(session, ana, other)
    change(session, f"UPDATE customers SET metadata = '{{\"k\": {now}}}' WHERE id = :id", id=ana)

    assert merging.unmerge(session, done, **UNDO).undecided_fields == ("metadata",)
    assert session.scalar(
        text("SELECT metadata = CAST(:now AS jsonb) FROM customers WHERE id = :id"),
        {"now": f'{{"k": {now}}}', "id": ana},
    )


def test_numbers_in_metadata_are_restored_to_the_last_digit(session):
    ana, other = CustomerFactory().id, CustomerFactory().id
    exact = '{"n": 0.10, "big": 12345678901234567890.123456789, "huge": 1e400}'
    change(
        session, "UPDATE customers SET metadata = CAST(:exact AS jsonb) WHERE id = :id", exact=exact, id=other
    )
    before = snapshot(session, ana)
    merging.unmerge(session, merge(session, ana, other), **UNDO)
    assert snapshot(session, ana) == before


def test_former_customers_of_the_restored_one_are_its_own_again(session):
    former, ana, other = (CustomerFactory().id for _ in range(3))
    merge(session, other, former)
    done = merge(session, ana, other)
    assert merging.current_customer_id(session, former) == ana
    assert merging.unmerge(session, done, **UNDO).returned["customer_redirects"] == 1
    assert merging.current_customer_id(session, former) == other


def test_rows_of_raw_sql_stay_with_the_restored_customer(session):
    ana, other = person(), person()
    merging.unmerge(session, merge(session, ana, other), **UNDO)
    statement = text(
        "INSERT INTO conversations (customer_id, channel) VALUES (:id, 'email') RETURNING customer_id"
    )
    assert session.scalar(statement, {"id": other}) == other


def test_giving_rows_back_is_no_change_of_them(session):
    ana, other = person(), person()
    merging.unmerge(session, merge(session, ana, other), **UNDO)
    for table in ("conversations", "tickets"):
        found = text(f"SELECT DISTINCT updated_at FROM {table} WHERE customer_id IN (:ana, :other)")
        assert session.scalars(found, {"ana": ana, "other": other}).all() == [LONG_AGO]


def test_an_unmerge_that_is_rolled_back_never_was(session):
    ana, other = person(), person()
    done = merge(session, ana, other)
    before = snapshot(session)
    savepoint = session.begin_nested()
    merging.unmerge(session, done, **UNDO)
    savepoint.rollback()
    assert snapshot(session) == before
    assert merging.unmerge(session, done, **UNDO).returned["messages"] == 1
