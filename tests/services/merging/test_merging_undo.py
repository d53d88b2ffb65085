"""A merge is taken back: the row as it was and exactly its own rows, in any order, whatever came since."""

from __future__ import annotations

import json
from contextlib import contextmanager
from itertools import permutations
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.errors import (
    CRMError,
    CustomerNotFound,
    DuplicateValue,
    InvalidValue,
    MergeNotFound,
    from_database,
)
from app.models import Conversation, CustomerRedirect
from app.services import merging
from app.testing import (
    CustomerFactory,
    MessageFactory,
)

from .undoing import LONG_AGO, NOTHING, UNDO, change, merge, person, snapshot


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
    # Past the database's guards.
    change(session, "ALTER TABLE customer_redirects DISABLE TRIGGER USER")
    change(session, "DELETE FROM customer_redirects")
    change(session, "DELETE FROM customers WHERE id = :id", id=ana)
    with pytest.raises(CustomerNotFound):
        merging.unmerge(session, done, **UNDO)


AGAIN = {
    "insert": "INSERT INTO customers (id, email) VALUES (:id, 'again@example.com')",
    "upsert": "INSERT INTO customers (id, email) VALUES (:id, 'again@example.com') ON CONFLICT DO NOTHING",
    "update": "UPDATE customers SET id = :id WHERE email = 'third@example.com'",
}


@pytest.mark.parametrize("statement", AGAIN.values(), ids=AGAIN)
@pytest.mark.parametrize("role", ["origin", "replica"])
def test_the_id_of_an_absorbed_customer_is_refused_until_it_is_restored(session, statement, role):
    ana, other = person(), person()
    CustomerFactory(email="third@example.com")
    done = merge(session, ana, other)
    session.execute(text(f"SET LOCAL session_replication_role = {role}"))
    with pytest.raises(IntegrityError) as refused, session.begin_nested():
        change(session, statement, id=other)
    assert isinstance(from_database(refused.value), DuplicateValue)
    session.execute(text("SET LOCAL session_replication_role = origin"))
    assert merging.unmerge(session, done, **UNDO).restored_id == other


@pytest.mark.parametrize("role", ["origin", "replica"])
def test_a_row_for_an_absorbed_customer_lands_at_the_living_one(session, role):
    ana, other = person(), person()
    merge(session, ana, other)
    session.execute(text(f"SET LOCAL session_replication_role = {role}"))
    stored = "INSERT INTO conversations (customer_id, channel) VALUES (:id, 'email') RETURNING customer_id"
    assert session.scalar(text(stored), {"id": other}) == ana


def test_an_id_that_was_stored_again_past_the_guard_is_told_and_nothing_is_undone(session):
    ana, other = person(), person()
    done = merge(session, ana, other)
    change(session, "ALTER TABLE customers DISABLE TRIGGER trg_customers_refuse_absorbed")
    change(session, AGAIN["insert"], id=other)
    before = snapshot(session)
    for _ in range(2):
        with pytest.raises(DuplicateValue, match=str(other)):
            merging.unmerge(session, done, **UNDO)
    assert snapshot(session) == before
    change(session, "DELETE FROM customers WHERE id = :id", id=other)
    assert merging.unmerge(session, done, **UNDO).restored_id == other
