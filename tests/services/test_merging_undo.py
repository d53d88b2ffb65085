"""A merge is taken back: the row as it was and exactly its own rows, in any order, whatever came since."""

from __future__ import annotations

import json
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import permutations
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from app.errors import CRMError, CustomerNotFound, InvalidValue, MergeNotFound
from app.models import Channel, Conversation, Customer, CustomerRedirect, Message
from app.schemas import Identifier
from app.services import identity, merging
from app.testing import (
    ConversationFactory,
    CustomerFactory,
    CustomerIdentifierFactory,
    MessageFactory,
    TicketFactory,
)

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
WHY = {"actor": "human:7", "reason": "the same person"}
UNDO = {"actor": "human:8", "reason": "two people"}
NOTHING = dict.fromkeys(merging.MOVED_TABLES, 0)


def person(**values: Any) -> UUID:
    customer = CustomerFactory(with_email=True, created_at=LONG_AGO, updated_at=LONG_AGO, **values)
    conversation = ConversationFactory(customer=customer, updated_at=LONG_AGO)
    MessageFactory(conversation=conversation)
    TicketFactory(conversation=conversation, updated_at=LONG_AGO)
    return customer.id


def merge(session: Session, survivor_id: UUID, absorbed_id: UUID) -> UUID:
    return merging.merge(session, survivor_id, absorbed_id, **WHY).id


def snapshot(session: Session, *touched: UUID) -> dict[str, set[str]]:
    """All customers and their rows. When blanks of survivors were filled, and blanked again, is left out."""
    found = {}
    for table in ("customers", *merging.MOVED_TABLES):
        row = f"to_jsonb({table})"
        if table == "customers":
            row = f"CASE WHEN id = ANY(:touched) THEN {row} - 'updated_at' ELSE {row} END"
        statement = text(f"SELECT ({row})::text FROM {table}")
        found[table] = set(
            session.scalars(statement, {"touched": list(touched)} if table == "customers" else {})
        )
    return found


def change(session: Session, statement: str, **values: Any) -> None:
    session.execute(text(statement), values)
    session.expire_all()


def test_the_absorbed_customer_is_back_with_an_equal_row_and_equal_children(session):
    ana, other = person(name=None), person(phone="+4915112345678", extra={"vip": True})
    before = snapshot(session, ana)
    done = merge(session, ana, other)
    assert snapshot(session, ana) != before
    report = merging.unmerge(session, done, **UNDO)
    assert snapshot(session, ana) == before
    moved = {"customer_identifiers": 1, "conversations": 1, "messages": 1, "tickets": 1}
    assert report.returned == NOTHING | moved
    assert (report.restored_id, report.survivor_id, report.stayed) == (other, ana, NOTHING)
    assert (report.messages_since, report.undecided_fields) == (0, ())
    assert merging.current_customer_id(session, other) == other


def test_the_absorbed_customer_is_back_also_after_a_further_merge(session):
    ana, other, last = person(name=None), person(phone="+4915112345678"), person(company=None)
    before = snapshot(session, ana, last)
    first = merge(session, ana, other)
    second = merge(session, last, ana)
    report = merging.unmerge(session, first, **UNDO)
    assert (report.restored_id, report.survivor_id) == (other, last)
    assert report.returned["messages"] == 1
    assert [merging.current_customer_id(session, id_) for id_ in (other, ana)] == [other, last]
    merging.unmerge(session, second, **UNDO)
    assert snapshot(session, ana, last) == before


@pytest.mark.parametrize("order", list(permutations(range(3))), ids=str)
@pytest.mark.parametrize(
    "merges", [((1, 0), (2, 1), (3, 2)), ((3, 0), (3, 1), (3, 2)), ((1, 0), (3, 2), (3, 1))], ids=str
)
def test_merges_are_undone_in_any_order(session, merges, order):
    people = [
        person(name=None, extra={"d": None}),
        person(phone="+4915112345678", extra={"a": 1}),
        person(name=None, company="Silva & Co", extra={"b": {"c": [1]}}),
        person(name=None),
    ]
    change(session, "UPDATE customers SET metadata = NULL WHERE id = :id", id=people[3])
    before = snapshot(session, *people)
    done = [merge(session, people[survivor], people[absorbed]) for survivor, absorbed in merges]
    for position in order:
        assert merging.unmerge(session, done[position], **UNDO).stayed == NOTHING
    assert snapshot(session, *people) == before
    assert session.scalars(select(CustomerRedirect)).all() == []


@contextmanager
def undone(session: Session):
    savepoint = session.begin_nested()
    try:
        yield
    finally:
        savepoint.rollback()
        session.expunge_all()


PROFILES = st.fixed_dictionaries({
    "email": st.booleans(),
    "name": st.sampled_from([None, "Ana", "Eve"]),
    "phone": st.sampled_from([None, "+4915112345678", "0151 1", "+1 555 123 4567"]),
    "plan": st.sampled_from([None, "free", "enterprise"]),
    "metadata": st.none()
    | st.just([1])
    | st.dictionaries(st.sampled_from("abc"), st.sampled_from([None, 1, 0.10, {"x": []}]), max_size=3),
    "identifiers": st.integers(0, 2),
    "conversation": st.booleans(),
})  # fmt: skip


def stored(session: Session, number: int, drawn: dict[str, Any]) -> UUID:
    id_ = UUID(int=1000 + number)
    session.execute(
        text("""
            INSERT INTO customers (id, email, name, phone, plan, metadata, created_at, updated_at)
            VALUES (:id, :email, :name, :phone, :plan, CAST(:metadata AS jsonb), :then, :then)
        """),
        {
            "id": id_,
            "email": f"Person{number}@example.com" if drawn["email"] else f"{id_}@placeholder.invalid",
            "name": drawn["name"],
            "phone": drawn["phone"],
            "plan": drawn["plan"],
            "metadata": None if drawn["metadata"] is None else json.dumps(drawn["metadata"]),
            "then": LONG_AGO,
        },
    )
    children = text("""
        WITH identifiers AS (
            INSERT INTO customer_identifiers
                (customer_id, identifier_type, identifier_value, channel, verified)
            SELECT :id, 'email', :id || '-' || n, 'email', n > 1 FROM generate_series(1, :identifiers) AS n
        ), conversation AS (
            INSERT INTO conversations (customer_id, channel)
            SELECT :id, 'email' FROM generate_series(1, :conversations) RETURNING id
        ), ticket AS (
            INSERT INTO tickets (customer_id, conversation_id, subject, category, source_channel)
            SELECT :id, id, 'Hi', 'billing', 'email' FROM conversation
        )
        INSERT INTO messages (customer_id, conversation_id, channel, direction, role, content)
        SELECT :id, id, 'email', 'inbound', 'customer', 'Hi' FROM conversation
    """)
    counts = {"identifiers": drawn["identifiers"], "conversations": int(drawn["conversation"])}
    session.execute(children, {"id": id_} | counts)
    return id_


@pytest.mark.parametrize("examples", [25, pytest.param(300, marks=pytest.mark.soak)])
def test_whatever_was_merged_and_undone_in_whatever_order_all_is_as_it_was(session, examples):
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )
    @given(drawn=st.lists(PROFILES, min_size=2, max_size=6), data=st.data())
    def check(drawn, data):
        with undone(session):
            people = [stored(session, n, profile) for n, profile in enumerate(drawn)]
            before = snapshot(session, *people)
            living, open_ = set(people), []
            for _ in range(data.draw(st.integers(1, 8), label="steps")):
                if len(living) > 1 and (not open_ or data.draw(st.booleans(), label="merge")):
                    survivor, absorbed = data.draw(
                        st.permutations(sorted(living)).map(lambda ids: ids[:2]), label="pair"
                    )
                    open_.append((merge(session, survivor, absorbed), absorbed))
                    living.discard(absorbed)
                else:
                    done, absorbed = open_.pop(data.draw(st.integers(0, len(open_) - 1), label="undo"))
                    report = merging.unmerge(session, done, **UNDO)
                    assert (report.stayed, report.undecided_fields) == (NOTHING, ())
                    living.add(absorbed)
            for done, _ in data.draw(st.permutations(open_), label="rest"):
                assert merging.unmerge(session, done, **UNDO).stayed == NOTHING
            assert snapshot(session, *people) == before

    check()


def test_what_the_session_has_not_sent_yet_goes_back_too(session):
    ana, other = person(), person()
    conversation = session.scalars(select(Conversation).where(Conversation.customer_id == other)).one()
    done = merge(session, ana, other)
    with session.no_autoflush:
        conversation.sentiment_score = 0.1
        merging.unmerge(session, done, **UNDO)
    assert (conversation.customer_id, conversation.sentiment_score) == (other, 0.1)


def test_repeating_an_unmerge_returns_the_first_report(session):
    ana, other = person(), person()
    done = merge(session, ana, other)
    first = merging.unmerge(session, done, **UNDO)
    before = snapshot(session)
    MessageFactory(customer_id=other)
    assert merging.unmerge(session, str(done), actor="human:9", reason="again") == first
    again = merge(session, ana, other)
    assert again != done
    assert merging.unmerge(session, done, **UNDO) == first
    assert merging.current_customer_id(session, other) == ana
    merging.unmerge(session, again, **UNDO)
    assert snapshot(session)["customers"] == before["customers"]


BAD_CALLS: dict[str, tuple[dict[str, Any], type[CRMError]]] = {
    "unknown": ({"merge_id": uuid4()}, MergeNotFound),
    "no id": ({"merge_id": "42"}, InvalidValue),
    "no actor": ({"actor": ""}, InvalidValue),
    "no reason": ({"reason": ""}, InvalidValue),
}


@pytest.mark.parametrize(("options", "error"), BAD_CALLS.values(), ids=BAD_CALLS)
def test_a_refused_unmerge_changes_nothing(session, options, error):
    ana, other = person(), person()
    done = merge(session, ana, other)
    before = snapshot(session)
    with pytest.raises(error):
        merging.unmerge(session, **({"merge_id": done} | UNDO | options))
    assert snapshot(session) == before


def test_an_unmerge_needs_the_survivor(session):
    ana, other = CustomerFactory().id, CustomerFactory(email=f"{uuid4()}@placeholder.invalid").id
    done = merge(session, ana, other)
    change(session, "DELETE FROM customer_redirects")
    change(session, "DELETE FROM customers WHERE id = :id", id=ana)
    with pytest.raises(CustomerNotFound):
        merging.unmerge(session, done, **UNDO)


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
