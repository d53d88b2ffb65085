"""What people do with tickets: reopen, escalate and take back; and what they may not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from sqlalchemy import func, select, text

from app.errors import ConversationNotFound, IllegalTransition, InvalidValue, TicketNotFound
from app.models import (
    FINISHED,
    ConversationStatus,
    Ticket,
    TicketFieldChange,
    TicketLink,
    TicketStatus,
    TicketStatusChange,
)
from app.services import conversations, metrics, tickets, timeline
from app.testing import ConversationFactory, MessageFactory, TicketFactory

OPEN, PROCESSING, WAITING, RESOLVED, ESCALATED, CLOSED = (
    TicketStatus.OPEN,
    TicketStatus.PROCESSING,
    TicketStatus.WAITING,
    TicketStatus.RESOLVED,
    TicketStatus.ESCALATED,
    TicketStatus.CLOSED,
)
AT_ONCE = timedelta(0)


def counted(session) -> tuple[int, ...]:
    """How much is stored about tickets: what a refused call must not change."""
    tables = Ticket, TicketStatusChange, TicketFieldChange, TicketLink
    return tuple(session.scalar(select(func.count()).select_from(table)) for table in tables)


@pytest.mark.parametrize("status", [RESOLVED, CLOSED])
def test_a_ticket_is_reopened_within_the_grace_and_the_record_says_by_whom(session, queries, status):
    ticket = TicketFactory(status=status, resolution_notes="sent the steps", assigned_to="human:9")
    assert tickets.reopen(session, ticket.id, actor="human:7", comment="it did not help") is ticket
    assert (ticket.status, ticket.resolved_at) == (OPEN, None)
    assert (ticket.resolution_notes, ticket.assigned_to) == ("sent the steps", "human:9")
    entry = tickets.status_history(session, ticket.id)[-1]
    assert (entry.old_status, entry.new_status, entry.forced) == (status, OPEN, False)
    assert (entry.changed_by, entry.comment) == ("human:7", "it did not help")
    assert tickets.lifecycle(session, ticket.id).first_resolution is not None


@pytest.mark.parametrize("status", sorted(set(TicketStatus) - FINISHED))
def test_a_ticket_that_is_not_finished_is_left_as_it_is(session, status):
    ticket = TicketFactory(status=status)
    before = counted(session)
    assert tickets.reopen(session, ticket.id, actor="human:7") is ticket
    assert (ticket.status, counted(session)) == (status, before)


def test_after_the_grace_a_closed_ticket_gets_a_follow_up_and_stays_as_it_was(session):
    conversation = ConversationFactory()
    ticket = TicketFactory(closed=True, conversation=conversation, priority="high", subject="Cannot pay")
    life = tickets.lifecycle(session, ticket.id)
    follow_up = tickets.reopen(session, ticket.id, actor="human:7", comment="again", grace=AT_ONCE)
    assert follow_up.id != ticket.id
    copied = "customer_id", "conversation_id", "subject", "category", "priority", "source_channel"
    assert all(getattr(follow_up, name) == getattr(ticket, name) for name in copied)
    assert (follow_up.status, follow_up.assigned_to) == (OPEN, None)
    assert (follow_up.resolution_notes, follow_up.resolved_at) == (None, None)
    (entry,) = tickets.status_history(session, follow_up.id)
    assert (entry.changed_by, entry.comment) == ("human:7", "again")
    (link,) = session.scalars(select(TicketLink))
    assert (link.ticket_id, link.follows_ticket_id, link.created_by) == (follow_up.id, ticket.id, "human:7")
    assert ticket.status is CLOSED
    later = tickets.lifecycle(session, ticket.id)
    assert (later.reopens, later.resolved_at) == (0, life.resolved_at)


def test_the_grace_runs_from_the_closing(session):
    ticket = TicketFactory(closed=True)
    session.execute(text("ALTER TABLE ticket_status_changes DISABLE TRIGGER USER"))
    for days, stays in [(13.9, True), (14.1, False)]:
        session.execute(
            text("UPDATE ticket_status_changes SET changed_at = now() - :days * interval '1 day'"),
            {"days": days},
        )
        savepoint = session.begin_nested()
        assert (tickets.reopen(session, ticket.id, actor="human:7") is ticket) is stays
        savepoint.rollback()
    assert tickets.reopen(session, ticket.id, actor="human:7", grace=timedelta(days=15)) is ticket


def test_a_resolved_ticket_can_be_reopened_as_long_as_it_is_not_closed(session):
    ticket = TicketFactory(status=RESOLVED)
    assert tickets.reopen(session, ticket.id, actor="human:7", grace=AT_ONCE) is ticket
    for status in (CLOSED, OPEN, RESOLVED):
        tickets.change_status(session, ticket.id, status, actor="human:7")
    # That it was closed once before is no reason for a follow-up.
    assert tickets.reopen(session, ticket.id, actor="human:7", grace=AT_ONCE) is ticket


def test_asked_again_the_follow_up_is_what_counts(session):
    ticket = TicketFactory(closed=True)
    ask = {"actor": "human:7", "grace": AT_ONCE}
    first = tickets.reopen(session, ticket.id, **ask)
    assert tickets.reopen(session, ticket.id, **ask) is first
    tickets.change_status(session, first.id, RESOLVED, actor="human:7")
    assert tickets.reopen(session, ticket.id, **ask) is first
    assert first.status is OPEN
    tickets.change_status(session, first.id, CLOSED, actor="human:7")
    second = tickets.reopen(session, ticket.id, **ask)
    assert tickets.reopen(session, first.id, **ask) is second
    pairs = select(TicketLink.follows_ticket_id, TicketLink.ticket_id).order_by(TicketLink.created_at)
    assert session.execute(pairs).all() == [(ticket.id, first.id), (first.id, second.id)]


def test_a_raw_ticket_without_a_priority_can_be_followed_up(session):
    ticket = TicketFactory(closed=True)
    session.execute(text("UPDATE tickets SET priority = NULL"))
    assert tickets.reopen(session, ticket.id, actor="human:7", grace=AT_ONCE).priority == "medium"


def test_an_escalation_needs_a_reason(session):
    ticket = TicketFactory()
    before = counted(session)
    with pytest.raises(InvalidValue, match=r"^escalation_reason: must say why"):
        tickets.change_status(session, ticket.id, ESCALATED, actor="ai:agent")
    assert (ticket.status, counted(session)) == (OPEN, before)
    tickets.change_status(session, ticket.id, ESCALATED, actor="ai:agent", escalation_reason="wants a refund")
    tickets.change_status(session, ticket.id, PROCESSING, actor="human:7", comment="mine")
    tickets.change_status(session, ticket.id, ESCALATED, actor="human:7")
    assert ticket.escalation_reason == "wants a refund"


@pytest.mark.parametrize("back_to", [PROCESSING, WAITING, RESOLVED, CLOSED])
def test_an_escalation_can_be_taken_back(session, back_to):
    ticket = TicketFactory(escalated=True)
    tickets.change_status(session, ticket.id, back_to, actor="human:7")
    assert (ticket.status, ticket.escalation_reason) == (back_to, "asks for a refund")


def test_a_conversation_is_escalated_and_taken_back_with_its_ticket(session, queries):
    conversation = ConversationFactory()
    ticket = TicketFactory(conversation=conversation)
    tickets.change_status(
        session, ticket.id, ESCALATED, actor="ai:agent", escalation_reason="angry", with_conversation=True
    )
    assert (conversation.status, conversation.escalation_reason) == (ConversationStatus.ESCALATED, "angry")
    tickets.change_status(session, ticket.id, PROCESSING, actor="human:7", with_conversation=True)
    assert conversation.status is ConversationStatus.ACTIVE
    tickets.change_status(session, ticket.id, ESCALATED, actor="human:7")
    assert conversation.status is ConversationStatus.ACTIVE


def test_a_conversation_stays_escalated_while_one_of_its_tickets_is(session):
    conversation = ConversationFactory()
    one, two = (TicketFactory(conversation=conversation) for _ in range(2))
    for ticket in (one, two):
        tickets.change_status(
            session, ticket.id, ESCALATED, actor="ai:agent", escalation_reason="angry", with_conversation=True
        )
    tickets.change_status(session, one.id, RESOLVED, actor="human:7", with_conversation=True)
    assert conversation.status is ConversationStatus.ESCALATED
    tickets.change_status(session, two.id, RESOLVED, actor="human:7", with_conversation=True)
    assert conversation.status is ConversationStatus.ACTIVE


def test_a_closed_conversation_is_not_woken_by_its_ticket(session):
    conversation = ConversationFactory(closed=True)
    ticket = TicketFactory(conversation=conversation)
    tickets.change_status(session, ticket.id, RESOLVED, actor="human:7", with_conversation=True)
    assert conversation.status is ConversationStatus.CLOSED
    assert (
        tickets.change_status(
            session, TicketFactory().id, RESOLVED, actor="human:7", with_conversation=True
        ).conversation_id
        is None
    )


def test_a_ticket_is_escalated_and_taken_back_with_its_conversation(session):
    conversation = ConversationFactory()
    older, ticket = (TicketFactory(conversation=conversation) for _ in range(2))
    act = {"actor": "human:7", "with_ticket": True}
    escalated = conversations.change_status(
        session, conversation.id, ConversationStatus.ESCALATED, escalation_reason="angry", **act
    )
    assert escalated is conversation
    assert (conversation.status, conversation.escalation_reason) == (ConversationStatus.ESCALATED, "angry")
    assert (ticket.status, ticket.escalation_reason, older.status) == (ESCALATED, "angry", OPEN)
    assert tickets.status_history(session, ticket.id)[-1].changed_by == "human:7"
    conversations.change_status(session, conversation.id, ConversationStatus.ACTIVE, **act)
    assert (conversation.status, ticket.status) == (ConversationStatus.ACTIVE, PROCESSING)
    assert (conversation.escalation_reason, ticket.escalation_reason) == ("angry", "angry")


def test_a_conversation_is_closed_once_and_can_be_taken_up_again(session):
    conversation = ConversationFactory()
    change = {"actor": "human:7"}
    conversations.change_status(session, conversation.id, "closed", resolution_type="abandoned", **change)
    closed_at = conversation.closed_at
    assert closed_at is not None
    conversations.change_status(session, conversation.id, "closed", **change)
    assert (conversation.closed_at, conversation.resolution_type) == (closed_at, "abandoned")
    conversations.change_status(session, conversation.id, "active", with_ticket=True, **change)
    assert (conversation.closed_at, conversation.resolution_type) == (None, None)


def test_a_finished_ticket_is_not_escalated_with_its_conversation(session):
    conversation = ConversationFactory()
    ticket = TicketFactory(conversation=conversation, status=RESOLVED)
    with pytest.raises(IllegalTransition):
        conversations.change_status(
            session,
            conversation.id,
            "escalated",
            actor="human:7",
            escalation_reason="angry",
            with_ticket=True,
        )
    session.expire_all()
    assert (conversation.status, ticket.status) == (ConversationStatus.ACTIVE, RESOLVED)


BAD_CONVERSATIONS = [
    ({"status": "reopened"}, "status"),
    ({"status": "escalated"}, "escalation_reason"),
    ({"status": "escalated", "escalation_reason": "x" * 256}, "escalation_reason"),
    ({"status": "closed", "resolution_type": "done"}, "resolution_type"),
    ({"actor": "Bob"}, "actor"),
    ({"conversation_id": "c1"}, "conversation_id"),
]


@pytest.mark.parametrize(("given", "field"), BAD_CONVERSATIONS)
def test_a_bad_change_of_a_conversation_is_refused(session, given, field):
    conversation = ConversationFactory()
    values = {"conversation_id": conversation.id, "status": "active", "actor": "human:7"} | given
    with pytest.raises(InvalidValue) as caught:
        conversations.change_status(session, values.pop("conversation_id"), values.pop("status"), **values)
    assert caught.value.field == field
    with pytest.raises(ConversationNotFound):
        conversations.change_status(session, uuid4(), "active", actor="human:7")
    assert conversation.status is ConversationStatus.ACTIVE


NOBODY = {"ticket_id": uuid4()}
BAD = [
    ("reopen", NOBODY, TicketNotFound, None),
    ("assign", NOBODY | {"assignee": None}, TicketNotFound, None),
    ("change_priority", NOBODY | {"priority": "low"}, TicketNotFound, None),
    ("change_category", NOBODY | {"category": "billing"}, TicketNotFound, None),
    ("change_metadata", NOBODY | {"changes": {"a": 1}}, TicketNotFound, None),
    ("change_metadata", {"changes": [1]}, InvalidValue, "changes"),
    ("change_metadata", {"changes": {"a": float("inf")}}, InvalidValue, "changes"),
    ("change_status", NOBODY | {"new_status": CLOSED, "with_conversation": True}, TicketNotFound, None),
    ("change_status", {"new_status": ESCALATED, "escalation_reason": "x"}, IllegalTransition, None),
    (
        "change_status",
        {"new_status": OPEN, "escalation_reason": "x" * 256},
        InvalidValue,
        "escalation_reason",
    ),
    ("reopen", {"ticket_id": "TKT-1"}, InvalidValue, "ticket_id"),
    ("reopen", {"actor": ""}, InvalidValue, "actor"),
    ("reopen", {"actor": "robot:1"}, InvalidValue, "actor"),
    ("reopen", {"actor": "human:7\n"}, InvalidValue, "actor"),
    ("reopen", {"comment": "x" * 1_000_001}, InvalidValue, "comment"),
    ("reopen", {"comment": " "}, InvalidValue, "comment"),
    ("reopen", {"grace": -timedelta(1)}, InvalidValue, "grace"),
    ("reopen", {"grace": 14}, InvalidValue, "grace"),
    ("change_priority", {"priority": "urgent"}, InvalidValue, "priority"),
    ("change_priority", {"priority": None}, InvalidValue, "priority"),
    ("change_category", {"category": "other"}, InvalidValue, "category"),
    ("assign", {"assignee": "Bob"}, InvalidValue, "assignee"),
    ("assign", {"assignee": "human:9", "comment": 7}, InvalidValue, "comment"),
]


@pytest.mark.parametrize(("service", "given", "error", "field"), BAD)
def test_what_is_refused_is_typed_writes_nothing_and_leaves_the_session_usable(
    session, service, given, error, field
):
    ticket = TicketFactory(status=RESOLVED)
    before = counted(session)
    with pytest.raises(error) as caught:
        getattr(tickets, service)(session, **({"ticket_id": ticket.id, "actor": "human:7"} | given))
    assert getattr(caught.value, "field", None) == field
    assert counted(session) == before
    assert tickets.reopen(session, ticket.id, actor="human:7").status is OPEN


def test_only_a_ticket_has_a_history_of_its_fields(session):
    with pytest.raises(TicketNotFound):
        tickets.field_history(session, uuid4())
    with pytest.raises(InvalidValue, match=r"^ticket_id: "):
        tickets.field_history(session, "TKT-1")


def test_an_illegal_transition_names_both_states_and_what_would_be_legal(session):
    ticket = TicketFactory(status=RESOLVED)
    with pytest.raises(IllegalTransition) as caught:
        tickets.change_status(session, ticket.id, WAITING, actor="human:7")
    assert str(caught.value) == (
        "a ticket cannot go from resolved to waiting; from resolved it may go to closed, open"
    )


def test_what_is_pending_on_an_object_is_read(session):
    conversation = ConversationFactory()
    ticket = TicketFactory(conversation=conversation)
    ticket.priority = "critical"
    assert tickets.list_tickets(session, priority="critical").items[0].id == ticket.id
    ticket.status = CLOSED
    assert tickets.lifecycle(session, ticket.id).status is CLOSED
    ticket.status = OPEN
    ticket.created_at -= timedelta(days=1)
    (report,) = metrics.ticket_report(
        session, since=ticket.created_at, until=ticket.created_at + timedelta(hours=1), group_by="channel"
    ).rows
    assert report.reopened == 1
    ticket.status = RESOLVED
    due = tickets.due_for_closing(session, resolved_before=datetime.now(UTC) + timedelta(days=1))
    assert [one.id for one in due] == [ticket.id]
    message = MessageFactory(conversation=conversation)
    message.content = "changed"
    assert timeline.history(session, message.customer_id).items[0].content == "changed"


def test_what_is_pending_on_an_object_is_not_lost(session):
    conversation = ConversationFactory()
    ticket = TicketFactory(conversation=conversation)
    changes = [
        lambda: tickets.get_ticket(session, ticket.id),
        lambda: tickets.change_status(session, ticket.id, WAITING, actor="human:7", with_conversation=True),
        lambda: tickets.assign(session, ticket.id, "human:9", actor="human:7"),
        lambda: conversations.change_status(session, conversation.id, "closed", actor="human:7"),
    ]
    with session.no_autoflush:
        for number, change in enumerate(changes):
            ticket.subject, conversation.sentiment_score = f"subject {number}", number / 10
            change()
            session.expire_all()
            assert (ticket.subject, conversation.sentiment_score) == (f"subject {number}", number / 10)


CHANGES = [
    pytest.param(tickets.assign, "assigned_to", "human:9", id="assign"),
    pytest.param(tickets.change_priority, "priority", "critical", id="priority"),
    pytest.param(tickets.change_category, "category", "billing", id="category"),
]


@pytest.mark.parametrize(("change", "field", "value"), CHANGES)
def test_a_change_of_a_field_costs_one_statement_and_is_recorded(session, queries, change, field, value):
    ticket = TicketFactory()
    old = getattr(ticket, field)
    queries.reset()
    assert change(session, ticket.id, value, actor="human:7", comment="knows it best") is ticket
    assert queries.count == 1, queries
    assert getattr(ticket, field) == value
    (entry,) = tickets.field_history(session, ticket.id)
    assert (entry.field, entry.old_value, entry.new_value) == (field, old, value)
    assert (entry.changed_by, entry.comment) == ("human:7", "knows it best")
    assert entry.db_user == session.scalar(text("SELECT session_user"))
    queries.reset()
    change(session, ticket.id, value, actor="human:8")
    assert queries.count == 2, queries
    assert tickets.field_history(session, ticket.id) == [entry]


def test_a_field_s_history_is_one_statement_however_long_and_two_when_empty(session, queries):
    ticket = TicketFactory()
    counts = []
    for priority in ("low", "high", "low"):
        queries.reset()
        counts.append((len(tickets.field_history(session, ticket.id)), queries.count))
        tickets.change_priority(session, ticket.id, priority, actor="human:7")
    assert counts == [(0, 2), (1, 1), (2, 1)]
