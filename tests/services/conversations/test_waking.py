"""Which tickets a message wakes, and what a caller is told of them."""

from __future__ import annotations

import pytest

from app.models import Conversation, ConversationStatus, TicketStatus
from app.schemas import InboundEvent
from app.services import conversations, tickets
from app.testing import TicketFactory
from tests.services.conversations._messages import BEN, EMAIL, mail, whatsapp

OPEN, WAITING, RESOLVED, CLOSED = (
    TicketStatus.OPEN, TicketStatus.WAITING, TicketStatus.RESOLVED, TicketStatus.CLOSED,
)  # fmt: skip
PROCESSING, ESCALATED = TicketStatus.PROCESSING, TicketStatus.ESCALATED


def thread(session, *statuses):
    """A conversation with tickets in these statuses, the oldest first."""
    first = conversations.ingest(session, mail(thread_id="<root@mail.example.com>"))
    rows = [TicketFactory(conversation_id=first.conversation_id, status=status) for status in statuses]
    return first, rows


def again(session, **options):
    facts = {name: options.pop(name) for name in ("auto_reply", "content", "sender") if name in options}
    return conversations.ingest(session, mail(thread_id="<root@mail.example.com>", **facts), **options)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([WAITING, CLOSED], [OPEN, CLOSED]),
        ([WAITING, OPEN], [OPEN, OPEN]),
        ([WAITING, RESOLVED], [OPEN, RESOLVED]),
        ([RESOLVED, WAITING], [RESOLVED, OPEN]),
        ([WAITING, ESCALATED, WAITING], [OPEN, ESCALATED, OPEN]),
        ([RESOLVED, RESOLVED], [RESOLVED, OPEN]),
        ([RESOLVED, CLOSED], [OPEN, CLOSED]),
        ([RESOLVED, PROCESSING], [RESOLVED, PROCESSING]),
        ([CLOSED], [CLOSED]),
        ([], []),
    ],
    ids=str,
)
def test_each_that_waits_is_woken_and_a_resolved_one_only_if_none_waits(session, before, after):
    _, rows = thread(session, *before)

    ingested = again(session)

    assert [ticket.id for ticket in ingested.tickets] == [row.id for row in rows]
    assert [ticket.status for ticket in ingested.tickets] == after
    assert [ticket.woken for ticket in ingested.tickets] == [
        b != a for b, a in zip(before, after, strict=True)
    ]
    assert [tickets.get_ticket(session, row.id).status for row in rows] == after


@pytest.mark.parametrize(
    ("before", "position", "status", "reopened"),
    [
        ([WAITING, CLOSED], 0, OPEN, False),
        ([WAITING, WAITING], 1, OPEN, False),
        ([RESOLVED, CLOSED], 0, OPEN, True),
        ([OPEN, CLOSED], 1, CLOSED, False),
        ([ESCALATED], 0, ESCALATED, False),
    ],
    ids=str,
)
def test_the_ticket_to_go_on_with_is_the_latest_that_was_woken_else_the_latest(
    session, before, position, status, reopened
):
    _, rows = thread(session, *before)
    ingested = again(session)
    assert ingested.ticket_id == rows[position].id
    assert (ingested.ticket_status, ingested.ticket_reopened) == (status, reopened)


@pytest.mark.parametrize("wake", [False, lambda inbound: "thanks" not in inbound.content.lower()])
def test_the_caller_decides_whether_a_message_wakes(session, wake):
    first, (ticket,) = thread(session, RESOLVED)
    session.get_one(Conversation, first.conversation_id).status = ConversationStatus.CLOSED

    thanks = again(session, content="Thanks a lot!", wake=wake)

    assert (thanks.ticket_id, thanks.ticket_status) == (ticket.id, RESOLVED)
    assert thanks.conversation_id == first.conversation_id
    assert session.get_one(Conversation, first.conversation_id).status is ConversationStatus.CLOSED
    if callable(wake):
        assert again(session, content="It broke again", wake=wake).ticket_reopened


def test_no_predicate_wakes_for_a_machine(session):
    _, (ticket,) = thread(session, WAITING)
    assert again(session, auto_reply=True, wake=lambda _: True).ticket_status is WAITING
    assert ticket.status is WAITING


def test_somebody_else_s_answer_into_the_thread_wakes_nobody_of_it(session):
    _, (ticket,) = thread(session, WAITING)
    other = again(session, sender=(BEN,))
    assert other.tickets == ()
    assert tickets.get_ticket(session, ticket.id).status is WAITING


def test_who_only_claims_to_be_the_customer_is_recorded_as_nobody(session):
    _, (ticket,) = thread(session, WAITING)
    again(session, sender=(EMAIL.model_copy(update={"verified": False}),))
    assert tickets.status_history(session, ticket.id)[-1].changed_by == "system:ingest"


@pytest.mark.parametrize("event", [InboundEvent.REACTION, InboundEvent.REVOKE, InboundEvent.RECEIPT])
def test_an_event_wakes_nobody_and_an_edit_is_what_the_customer_says_now(session, event):
    first = conversations.ingest(session, whatsapp(id="wamid.1"))
    ticket = TicketFactory(conversation_id=first.conversation_id, status=RESOLVED)

    told = conversations.ingest(session, whatsapp(event=event, reaction_to="wamid.1"))
    assert (told.conversation_id, told.tickets[0].status) == (first.conversation_id, RESOLVED)

    edited = conversations.ingest(session, whatsapp(event=InboundEvent.EDIT, reaction_to="wamid.1"))
    assert (edited.conversation_id, edited.ticket_id, edited.ticket_reopened) == (
        first.conversation_id, ticket.id, True,
    )  # fmt: skip
