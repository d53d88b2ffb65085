"""What a merge would do, what it costs, and which fields of the survivor it fills."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from app.errors import StalePlan
from app.models import Channel, Customer, CustomerMerge
from app.services import merging
from app.services.merging.rows import MOVED_TABLES
from app.testing import (
    ConversationFactory,
    CustomerFactory,
    CustomerIdentifierFactory,
    MessageFactory,
    TicketFactory,
)

WHY = {"actor": "human:7", "reason": "the same person"}


def person(**values: Any) -> Customer:
    """A customer with one row in every table that belongs to customers."""
    customer = CustomerFactory(with_email=True, **values)
    conversation = ConversationFactory(customer=customer)
    MessageFactory(conversation=conversation)
    TicketFactory(conversation=conversation)
    return customer


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


CHANGES = {
    "a message": lambda customer: MessageFactory(customer=customer),
    "a conversation": lambda customer: ConversationFactory(customer=customer),
    "a ticket": lambda customer: TicketFactory(customer=customer),
    "an identifier": lambda customer: CustomerIdentifierFactory(customer=customer),
    "a proof": "UPDATE customer_identifiers SET verified = NOT verified WHERE customer_id = :id",
    "the profile": "UPDATE customers SET company = 'Other' WHERE id = :id",
    "metadata": """UPDATE customers SET metadata = '{"a": [1]}' WHERE id = :id""",
    "a closed conversation": "UPDATE conversations SET status = 'closed' WHERE customer_id = :id",
    "a former customer": """
        WITH merge AS (
            INSERT INTO customer_merges (survivor_id, absorbed_id, actor, reason, absorbed)
            VALUES (:id, gen_random_uuid(), 'human:7', '-', '{}') RETURNING id, absorbed_id
        )
        INSERT INTO customer_redirects (absorbed_id, customer_id, merge_id)
        SELECT absorbed_id, :id, id FROM merge
    """,
}


@pytest.mark.parametrize("side", [0, 1], ids=["of the survivor", "of the absorbed"])
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_plan_is_stale_after_any_change(session, change, side):
    pair = person(), person()
    planned = merging.plan_merge(session, pair[0].id, pair[1].id)
    if callable(change):
        change(pair[side])
    else:
        session.execute(text(change), {"id": pair[side].id})
    with pytest.raises(StalePlan):
        merge(session, *pair, fingerprint=planned.fingerprint)
    again = merging.plan_merge(session, pair[0].id, pair[1].id)
    assert again.fingerprint != planned.fingerprint
    merge(session, *pair, fingerprint=again.fingerprint)


def test_a_plan_tells_what_the_merge_then_does_and_writes_nothing(session, queries):
    ana = CustomerFactory(name=None, company="Silva & Co", plan="free", extra={"a": 1})
    other = person(
        name="Ana", company="Other", phone="+4915112345678", plan="enterprise", extra={"a": 2, "b": 3}
    )
    ConversationFactory(customer=ana, channel=Channel.EMAIL)
    ConversationFactory(customer=ana, channel=Channel.WHATSAPP)
    ConversationFactory(customer=other, channel=Channel.WHATSAPP, closed=True)
    session.flush()
    before = everything(session)
    queries.reset()
    plan = merging.plan_merge(session, ana.id, other.id)
    assert queries.count == 1, queries
    assert everything(session) == before

    assert set(plan.fills) == {"name", "phone", "metadata"}
    assert set(plan.keeps) == {"email", "company", "plan"}
    assert plan.both_open == (Channel.EMAIL,)
    assert plan.rows == {
        "customer_identifiers": 1,
        "conversations": 2,
        "messages": 1,
        "tickets": 1,
        "customer_redirects": 0,
    }
    assert plan == merging.plan_merge(session, str(ana.id), str(other.id))
    assert plan.fingerprint != merging.plan_merge(session, other.id, ana.id).fingerprint
    done = merge(session, ana, other, fingerprint=plan.fingerprint)
    assert set(done.filled) - {"identifiers"} == set(plan.fills)


def test_a_merge_takes_as_many_statements_for_ten_messages_as_for_ten_thousand(session, queries):
    counted = []
    for size in (10, 10_000):
        ana, other = CustomerFactory(name=None), CustomerFactory(phone="+4915112345678", extra={"a": 1})
        conversation = ConversationFactory(customer=other)
        session.execute(
            text("""
                INSERT INTO messages (conversation_id, customer_id, channel, direction, role, content)
                SELECT :conversation_id, :customer_id, 'email', 'inbound', 'customer', 'Hello ' || n
                FROM generate_series(1, :size) AS n
            """),
            {"conversation_id": conversation.id, "customer_id": other.id, "size": size},
        )
        queries.reset()
        done = merge(session, ana, other)
        counted.append(queries.count)
        of_ana = text("SELECT count(*) FROM messages WHERE customer_id = :id")
        assert session.scalar(of_ana, {"id": ana.id}) == size
        queries.reset()
        report = merging.unmerge(session, done.id, **WHY)
        counted.append(queries.count)
        assert report.returned["messages"] == size
        session.execute(text("DELETE FROM customer_identifiers"))
    assert counted[:2] == counted[2:]
    assert counted[0] <= 8, queries


BLANKS = [
    ("name", None, "Ana", "Ana"),
    ("name", "Ana", "Eve", "Ana"),
    ("name", "", "Eve", ""),
    ("phone", None, "+4915112345678", "+4915112345678"),
    ("phone", "+4915100000000", "+4915112345678", "+4915100000000"),
    ("company", None, "Silva & Co", "Silva & Co"),
    ("company", "Silva & Co", None, "Silva & Co"),
    ("plan", None, "enterprise", "enterprise"),
    ("plan", "free", "enterprise", "free"),
    ("metadata", {}, {"a": 1}, {"a": 1}),
    ("metadata", None, {"a": 1}, {"a": 1}),
    ("metadata", {"a": 1}, {"a": 2, "b": None}, {"a": 1, "b": None}),
    ("metadata", {"a": None}, {"a": 2}, {"a": None}),
    ("metadata", {"a": 1}, None, {"a": 1}),
    ("metadata", {"a": 1}, [1], {"a": 1}),
    ("metadata", None, [1], None),
    ("metadata", [1], {"a": 1}, [1]),
    ("email", "x@placeholder.invalid", "ana@example.com", "ana@example.com"),
    ("email", "ana@example.com", "eve@example.com", "ana@example.com"),
    ("email", "ana@example.com", "x@placeholder.invalid", "ana@example.com"),
    ("email", "x@placeholder.invalid", "y@placeholder.invalid", "x@placeholder.invalid"),
]


@pytest.mark.parametrize(("field", "ours", "theirs", "expected"), BLANKS)
def test_blanks_are_filled_and_nothing_is_overwritten(session, field, ours, theirs, expected):
    pair = CustomerFactory().id, CustomerFactory().id
    for id_, value in zip(pair, (ours, theirs), strict=True):
        stored = json.dumps(value) if field == "metadata" and value is not None else value
        change = text(f"UPDATE customers SET {field} = :value WHERE id = :id")
        session.execute(change, {"value": stored, "id": id_})
    plan = merging.plan_merge(session, *pair)
    assert (field in plan.fills) is (expected != ours)
    merging.merge(session, *pair, **WHY)
    found = text(f"SELECT to_jsonb({field}) FROM customers WHERE id = :id")
    assert session.scalar(found, {"id": pair[0]}) == expected


def test_the_before_image_is_the_row_as_it_was(session):
    other = CustomerFactory(extra={"vip": True, "tags": ["a"]}, company="Silva & Co")
    exact = '{"n": 0.10, "big": 12345678901234567890.123456789, "huge": 1e400}'
    session.execute(
        text("UPDATE customers SET metadata = :exact WHERE id = :id"), {"exact": exact, "id": other.id}
    )
    before = session.scalar(
        text("SELECT to_jsonb(c)::text FROM customers AS c WHERE id = :id"), {"id": other.id}
    )
    done = merge(session, CustomerFactory(), other)
    image = text("SELECT absorbed::text FROM customer_merges WHERE id = :id")
    assert session.scalar(image, {"id": done.id}) == before
    kept = session.scalar(
        text("SELECT metadata = :exact FROM customers WHERE id = :id"),
        {"exact": exact, "id": done.survivor_id},
    )
    assert kept is True
