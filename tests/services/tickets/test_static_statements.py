"""No ticket service builds or compiles SQL when it is called."""
# ruff: noqa: ARG005 - each call takes what any of them needs

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Integer, column, select, values
from sqlalchemy.orm import Session

from app.models import Ticket
from app.services import metrics, tickets, timeline
from app.testing import ConversationFactory, MessageFactory, TicketFactory

NOW = datetime.now(UTC)
ACT = {"actor": "human:7", "comment": "why"}


def opened(session: Session, ticket: Ticket) -> Ticket:
    return tickets.open_ticket(
        session,
        customer_id=ticket.customer_id,
        conversation_id=ticket.conversation_id,
        subject="Cannot sign in",
        category="billing",
        source_channel="email",
        **ACT,
    )


CALLS = {
    "linked_tickets": lambda session, ticket, _: tickets.linked_tickets(session, ticket.id),
    "ticket_numbers": lambda session, ticket, _: tickets.ticket_numbers(session, [ticket.id]),
    "open_ticket": lambda session, ticket, _: opened(session, ticket),
    "get_ticket, by id": lambda session, ticket, _: tickets.get_ticket(session, ticket.id),
    "get_ticket, by number": lambda session, ticket, _: tickets.get_ticket(session, ticket.ticket_number),
    "change_status": lambda session, ticket, number: tickets.change_status(
        session, ticket.id, ["waiting", "processing"][number % 2], **ACT
    ),
    "change_status, no change": lambda session, ticket, _: tickets.change_status(
        session, ticket.id, "open", resolution_notes="none yet", **ACT
    ),
    "change_status, with its conversation": lambda session, ticket, number: (
        tickets.change_status(
            session,
            ticket.id,
            "escalated",
            escalation_reason="angry",
            expected_status="open",
            force=True,
            with_conversation=True,
            **ACT,
        )
        and tickets.change_status(session, ticket.id, "open", force=True, with_conversation=True, **ACT)
    ),
    "assign": lambda session, ticket, number: tickets.assign(session, ticket.id, f"human:{number}", **ACT),
    "change_priority": lambda session, ticket, number: tickets.change_priority(
        session, ticket.id, ["low", "high"][number % 2], **ACT
    ),
    "change_category": lambda session, ticket, number: tickets.change_category(
        session, ticket.id, ["how_to", "billing"][number % 2], **ACT
    ),
    "change_metadata": lambda session, ticket, number: tickets.change_metadata(
        session, ticket.id, {"tags": [number], "gone": None}, **ACT
    ),
    "reopen": lambda session, ticket, _: (
        tickets.change_status(session, ticket.id, "closed", **ACT),
        tickets.reopen(session, ticket.id, **ACT),
    ),
    "reopen, by a follow-up": lambda session, ticket, _: tickets.reopen(
        session,
        tickets.change_status(session, opened(session, ticket).id, "closed", **ACT).id,
        grace=timedelta(0),
        **ACT,
    ),
    "close_stale": lambda session, ticket, _: tickets.close_stale(
        session, resolved_before=NOW, actor="system:retention"
    ),
    "due_for_closing": lambda session, ticket, _: tickets.due_for_closing(session, resolved_before=NOW),
    "regressions": lambda session, ticket, number: tickets.regressions(session, days=7 + number),
    "list_tickets": lambda session, ticket, _: tickets.list_tickets(session),
    "list_tickets, filtered": lambda session, ticket, number: tickets.list_tickets(
        session,
        status=["open", "waiting", "closed"][: 2 + number % 2],
        customer_id=ticket.customer_id,
        created_before=NOW,
        extra={"n": number},
        before=(NOW, ticket.id),
    ),
    "lifecycle": lambda session, ticket, _: tickets.lifecycle(session, ticket.id),
    "lifecycle, then": lambda session, ticket, _: tickets.lifecycle(
        session, ticket.id, as_of=datetime.now(UTC)
    ),
    "status_history": lambda session, ticket, _: tickets.status_history(session, ticket.id),
    "field_history": lambda session, ticket, _: tickets.field_history(session, ticket.id),
    "verify_history": lambda session, ticket, _: tickets.verify_history(session),
    "verify_history, of one": lambda session, ticket, _: tickets.verify_history(session, ticket.id),
    "record": lambda session, ticket, number: metrics.record(
        session, "sentiment", 1 / (1 + number), channel="email", extra={"n": number}
    ),
    "channel_metrics": lambda session, ticket, number: metrics.channel_metrics(
        session, window=timedelta(hours=1 + number)
    ),
    "channel_metrics, then": lambda session, ticket, number: metrics.channel_metrics(
        session, until=NOW + timedelta(hours=number)
    ),
    "ticket_report": lambda session, ticket, number: metrics.ticket_report(
        session, since=NOW, until=NOW + timedelta(days=number), group_by="priority"
    ),
    "ticket_flow": lambda session, ticket, number: metrics.ticket_flow(
        session, since=NOW, until=NOW + timedelta(days=number)
    ),
    "timeline": lambda session, ticket, _: timeline.timeline(session, ticket.customer_id),
    "history": lambda session, ticket, number: timeline.history(
        session, ticket.customer_id, limit=1 + number
    ),
    "history, earlier": lambda session, ticket, number: timeline.history(
        session, ticket.customer_id, before=(NOW - timedelta(days=number), ticket.id)
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_warm_call_builds_and_compiles_nothing(session, assert_static, name):
    conversation = ConversationFactory()
    MessageFactory(conversation=conversation)
    ticket = TicketFactory(conversation=conversation)
    assert_static(lambda number: CALLS[name](session, ticket, number))


def test_every_service_of_tickets_metrics_and_the_timeline_is_called_here():
    public = {
        *tickets.__all__,
        "record",
        "channel_metrics",
        "ticket_report",
        "ticket_flow",
        "history",
        "timeline",
    } - {
        "LinkedTickets",
        "REOPEN_GRACE",
    }
    assert {name.split(",")[0] for name in CALLS} == public


_UNCACHEABLE = select(values(column("n", Integer), name="numbers").data([(1,)]))
FAULTS = {
    "built for each call": lambda session, number: session.scalars(select(Ticket).limit(1)).all(),
    "compiled again": lambda session, number: session.scalars(_UNCACHEABLE).all(),
    "sends nothing": lambda session, number: None,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_call_that_builds_or_compiles_is_noticed(session, assert_static, fault):
    with pytest.raises(AssertionError, match=fault):
        assert_static(lambda number: FAULTS[fault](session, number))
