"""All that happened to a customer, in one order, in pages that neither arrivals nor a merge disturb."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from app.errors import CustomerNotFound, InvalidValue
from app.models import TicketStatus
from app.schemas import Identifier
from app.services import conversations, identity, merging, tickets, timeline
from app.testing import (
    ConversationFactory,
    CustomerFactory,
    IdentityEventFactory,
    MessageFactory,
    TicketFactory,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def walk(session, customer_id, *, limit, between=lambda: None):
    entries, token = [], None
    while True:
        page = timeline.timeline(session, customer_id, limit=limit, before=token)
        entries += page.items
        token = page.token()
        if token is None:
            return entries
        assert len(page.items) == limit
        between()


def test_everything_that_happened_is_told_in_one_order_and_one_statement(session, queries):
    customer = CustomerFactory()
    conversation = ConversationFactory(customer=customer)
    question = MessageFactory(conversation=conversation, extra={"assurance": "claimed"})
    ticket = tickets.open_ticket(
        session, customer_id=customer.id, conversation_id=conversation.id, subject="Cannot sign in",
        category="technical", source_channel="email", actor="ai:support-agent",
    )  # fmt: skip
    session.execute(
        text("UPDATE tickets SET created_at = clock_timestamp() WHERE id = :id"), {"id": ticket.id}
    )
    tickets.assign(session, ticket.id, "human:7", actor="human:7", comment="mine")
    tickets.change_status(session, ticket.id, TicketStatus.PROCESSING, actor="human:7")
    conversations.note(session, conversation.id, "a VIP", actor="human:7")
    customer_id, other_id = customer.id, CustomerFactory().id
    merging.merge(session, customer_id, other_id, actor="human:7", reason="one person")
    queries.reset()

    page = timeline.timeline(session, customer_id)

    assert queries.count == 1, queries
    merge, note, status, field, opened, asked = page.items
    assert (merge.kind, merge.event, merge.other_customer_id, merge.text) == (
        "merge", "merged", other_id, "one person",
    )  # fmt: skip
    assert (note.kind, note.internal, note.actor, note.text) == ("message", True, "human:7", "a VIP")
    assert (status.kind, status.field, status.old_value, status.new_value) == (
        "status_change", "status", "open", "processing",
    )  # fmt: skip
    assert (field.kind, field.field, field.new_value, field.text) == (
        "field_change", "assigned_to", "human:7", "mine",
    )  # fmt: skip
    assert (opened.kind, opened.id, opened.actor, opened.ticket_number) == (
        "ticket", ticket.id, "ai:support-agent", ticket.ticket_number,
    )  # fmt: skip
    assert (asked.kind, asked.id, asked.assurance, asked.internal) == (
        "message", question.id, "claimed", False,
    )  # fmt: skip


def test_decisions_about_identity_are_told_to_both_whom_they_concern(session):
    one, two = CustomerFactory(), CustomerFactory()
    identity.attach_identifier(
        session, one.id, Identifier(type="email", value="new@example.com"), channel="email", actor="human:7"
    )
    IdentityEventFactory(event="conflict", customer_id=one.id, other_customer_id=two.id)

    assert [e.event for e in timeline.timeline(session, one.id).items] == ["conflict", "attached"]
    assert [e.event for e in timeline.timeline(session, two.id).items] == ["conflict"]


def test_an_absorbed_customer_s_id_leads_to_the_whole_timeline(session):
    survivor, absorbed = CustomerFactory(), CustomerFactory()
    MessageFactory(customer=absorbed)
    identity.attach_identifier(
        session,
        absorbed.id,
        Identifier(type="email", value="a@example.com"),
        channel="email",
        actor="human:7",
    )
    absorbed_id = absorbed.id
    merging.merge(session, survivor.id, absorbed_id, actor="human:7", reason="one person")

    page = timeline.timeline(session, absorbed_id)

    assert page == timeline.timeline(session, survivor.id)
    assert [entry.kind for entry in page.items] == ["merge", "identity_event", "message"]


EVENTS = st.lists(
    st.tuples(st.sampled_from(["message", "ticket", "event"]), st.booleans(), st.integers(0, 3)), max_size=12
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(events=EVENTS, limit=st.integers(1, 4), merge_after=st.integers(0, 4))
def test_pages_neither_skip_nor_repeat_while_rows_arrive_and_a_merge_moves_them(
    session, events, limit, merge_after
):
    """Each of the customer's own comes once, in order; the merge adds older ones of the absorbed one."""
    mine, other = CustomerFactory(), CustomerFactory()
    for kind, is_mine, second in events:
        owner, at = (mine if is_mine else other), NOON + timedelta(seconds=second)
        if kind == "message":
            MessageFactory(customer=owner, created_at=at)
        elif kind == "ticket":
            TicketFactory(customer=owner, created_at=at)
        else:
            IdentityEventFactory(customer_id=owner.id, event="attached", created_at=at)
    expected = [entry.id for entry in timeline.timeline(session, mine.id).items]
    pages = iter(range(100))

    def between():
        if next(pages) == merge_after:
            merging.merge(session, mine.id, other.id, actor="human:7", reason="one person")
        MessageFactory(customer=mine)

    entries = walk(session, mine.id, limit=limit, between=between)

    ids = [entry.id for entry in entries]
    assert len(set(ids)) == len(ids)
    assert [id_ for id_ in ids if id_ in expected] == expected
    assert [(e.created_at, e.id) for e in entries] == sorted(
        ((e.created_at, e.id) for e in entries), reverse=True
    )


FILLS = {
    "messages": """
        INSERT INTO messages (conversation_id, customer_id, channel, direction, role, content, created_at)
        SELECT %(conversation_id)s, %(customer_id)s, 'email', 'inbound', 'customer', 'Hello',
            timestamptz '2026-01-01' + n * interval '1 second'
        FROM generate_series(1, 2000) AS n
    """,
    "identity_events": """
        INSERT INTO identity_events (customer_id, other_customer_id, event, actor, created_at)
        SELECT
            CASE WHEN n %% 2 = 0 THEN %(customer_id)s ELSE gen_random_uuid() END,
            CASE WHEN n %% 2 = 1 THEN %(customer_id)s END, 'conflict', 'human:7',
            timestamptz '2026-01-01' + n * interval '1 second'
        FROM generate_series(1, 2000) AS n
    """,
}


@pytest.mark.parametrize("page_cost", [1, 1000])
@pytest.mark.parametrize("customers", [1, -0.5, -0.01], ids=["of one", "of two each", "of a hundred each"])
@pytest.mark.parametrize("table", FILLS)
def test_a_page_reads_as_many_rows_as_it_has_whatever_the_planner_believes(
    session, table, customers, page_cost
):
    """Statistics say how many customers there are. Counted is what the transaction fetched."""
    conversation = ConversationFactory()
    place = {"conversation_id": conversation.id, "customer_id": conversation.customer_id}
    session.connection().exec_driver_sql(FILLS[table], place)
    session.execute(text(f"ALTER TABLE {table} ALTER customer_id SET (n_distinct = {customers})"))
    session.execute(text(f"ANALYZE {table}"))
    session.execute(text(f"SET LOCAL random_page_cost = {page_cost}"))
    deep = timeline.timeline(session, conversation.customer_id, limit=1000).next

    for before in (None, deep):
        fetched = rows_fetched(session, table)
        page = timeline.timeline(session, conversation.customer_id, limit=10, before=before)
        assert len(page.items) == 10
        assert rows_fetched(session, table) - fetched <= 3 * 11


def rows_fetched(session, table):
    statement = text("""
        SELECT seq_tup_read + COALESCE(idx_tup_fetch, 0) FROM pg_stat_xact_user_tables WHERE relname = :table
    """)
    return session.execute(statement, {"table": table}).scalar_one()


def test_nobody_s_timeline_is_an_error_and_a_silent_customer_s_is_empty(session):
    assert timeline.timeline(session, CustomerFactory().id).items == ()
    with pytest.raises(CustomerNotFound):
        timeline.timeline(session, uuid4())


@pytest.mark.parametrize("arguments", [{"limit": 0}, {"before": "x"}, {"before": (NOON, "x")}])
def test_a_bad_limit_or_cursor_is_refused_before_anything_is_sent(session, queries, arguments):
    with pytest.raises(InvalidValue):
        timeline.timeline(session, uuid4(), **arguments)
    assert queries.count == 0, queries


def test_nothing_is_built_for_a_call(session, assert_static):
    customer = MessageFactory().customer_id
    assert_static(lambda _: timeline.timeline(session, customer, limit=5))
