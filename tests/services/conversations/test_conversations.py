"""Messages: stored once, in the right conversation, waking the right ticket, answered where they began."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from app.errors import ConversationNotFound, InvalidValue, MessageNotFound
from app.models import (
    Channel,
    ContentType,
    Conversation,
    ConversationStatus,
    Customer,
    DeliveryStatus,
    Message,
    MessageDirection,
    MessageRole,
    TicketStatus,
)
from app.schemas import Attachment, Identifier, Ingested, OutboundMessage
from app.services import conversations, tickets
from app.testing import ConversationFactory, MessageFactory, TicketFactory

from .incoming import EMAIL, WHATSAPP, counts, inbound, on_whatsapp


def ticket_of(session: Session, ingested: Ingested, status: TicketStatus) -> object:
    return TicketFactory(conversation_id=ingested.conversation_id, status=status)


def test_a_first_message_opens_a_conversation(session):
    before = counts(session)
    sent = inbound(
        subject="Password", extra={"spam_score": 1}, attachments=(Attachment(filename="a.png", size=7),)
    )
    ingested = conversations.ingest(session, sent)
    assert [after - b for after, b in zip(counts(session), before, strict=True)] == [1, 1, 1, 1, 1]
    assert (ingested.conversation_opened, ingested.duplicate, ingested.ticket_id) == (True, False, None)
    message = session.get_one(Message, ingested.message_id)
    assert (message.customer_id, message.conversation_id) == (ingested.customer_id, ingested.conversation_id)
    assert (message.direction, message.role) == (MessageDirection.INBOUND, MessageRole.CUSTOMER)
    assert (message.content, message.delivery_status) == (sent.content, DeliveryStatus.DELIVERED)
    assert (message.extra["subject"], message.extra["spam_score"]) == ("Password", 1)
    assert message.extra["attachments"][0]["filename"] == "a.png"
    assert "auto_reply" not in message.extra


def test_a_redelivery_returns_the_first_place_and_writes_nothing(session):
    sent = inbound()
    first = conversations.ingest(session, sent)
    ticket = ticket_of(session, first, TicketStatus.RESOLVED)
    before = counts(session)
    again = conversations.ingest(session, sent.model_copy(update={"subject": "changed on the way"}))
    assert counts(session) == before
    assert (again.message_id, again.conversation_id) == (first.message_id, first.conversation_id)
    assert (again.customer_id, again.duplicate) == (first.customer_id, True)
    assert again.resolution == first.resolution.model_copy(update={"attached": ()})
    assert (again.ticket_id, again.ticket_reopened) == (ticket.id, False)
    assert tickets.get_ticket(session, ticket.id).status is TicketStatus.RESOLVED
    assert session.get_one(Message, first.message_id).content == sent.content


OTHERS = [
    {"sender": (Identifier(type="email", value="eve@example.com", verified=True),)},
    {"sent_at": datetime(2026, 11, 16, tzinfo=UTC)},
    {"content": "And now for something else"},
]


@pytest.mark.parametrize("changes", OTHERS, ids=["sender", "date", "content"])
def test_a_mail_that_bears_another_s_id_is_a_message_of_its_own(session, changes):
    first_mail = inbound("<taken@mail.example.com>")
    other_mail = first_mail.model_copy(update=changes)
    first, other = (conversations.ingest(session, mail) for mail in (first_mail, other_mail))
    before = counts(session)
    again = [conversations.ingest(session, mail) for mail in (first_mail, other_mail)]

    assert not other.duplicate
    assert [(a.message_id, a.duplicate) for a in again] == [
        (first.message_id, True),
        (other.message_id, True),
    ]
    assert counts(session) == before
    assert (other.customer_id == first.customer_id) == ("sender" not in changes)
    assert session.get_one(Message, other.message_id).content == other_mail.content


def test_a_provider_s_own_id_is_never_another_message_s(session):
    sent = on_whatsapp(provider_message_id="SM1")
    first = conversations.ingest(session, sent)

    assert (
        conversations.ingest(session, sent.model_copy(update={"content": "edited"})).message_id
        == first.message_id
    )


def test_one_provider_id_on_two_accounts_or_channels_is_two_messages(session):
    sent = inbound("42")
    others = [
        sent.model_copy(update={"account": "sales@techcorp.example"}),
        sent.model_copy(update={"channel": Channel.WEB_FORM}),
        sent.model_copy(update={"provider_message_id": "43"}),
    ]
    ids = {conversations.ingest(session, message).message_id for message in (sent, *others)}
    assert len(ids) == 4


def test_a_message_whose_transaction_was_rolled_back_is_stored_by_the_next_delivery(session):
    before = counts(session)
    sent = inbound()
    savepoint = session.begin_nested()
    conversations.ingest(session, sent)
    savepoint.rollback()
    assert counts(session) == before
    assert conversations.ingest(session, sent).duplicate is False


def test_a_known_writer_costs_few_statements_however_much_was_said(session, queries):
    first = conversations.ingest(session, inbound())
    ticket_of(session, first, TicketStatus.OPEN)
    counted = []
    for _ in range(2):
        for _ in range(4):
            MessageFactory(conversation_id=first.conversation_id)
            conversations.ingest(session, inbound(thread_id=f"<{uuid4()}>"))
        queries.reset()
        conversations.ingest(session, inbound())
        counted.append(queries.count)
    assert counted == [1, 1], queries


def test_messages_of_a_thread_share_a_conversation_and_other_threads_do_not(session):
    first = conversations.ingest(session, inbound())
    same = conversations.ingest(session, inbound())
    other = conversations.ingest(session, inbound(thread_id="<other@mail.example.com>"))
    assert (same.conversation_id, same.conversation_opened) == (first.conversation_id, False)
    assert other.conversation_id != first.conversation_id
    # A colleague in copy has a conversation of his own, although the thread is one.
    colleague = Identifier(type="email", value="ben@example.com", verified=True)
    copied = conversations.ingest(session, inbound(sender=(colleague,)))
    assert copied.conversation_id not in {first.conversation_id, other.conversation_id}


def test_a_message_without_a_thread_joins_the_conversation_open_on_its_address(session):
    first = conversations.ingest(session, on_whatsapp())
    again = conversations.ingest(session, on_whatsapp())
    assert again.conversation_id == first.conversation_id
    elsewhere = conversations.ingest(session, on_whatsapp(account="+4930123456"))
    assert elsewhere.conversation_id != first.conversation_id
    session.get_one(Conversation, first.conversation_id).status = ConversationStatus.CLOSED
    session.flush()
    later = conversations.ingest(session, on_whatsapp())
    assert later.conversation_id != first.conversation_id
    assert later.customer_id == first.customer_id


def test_a_missing_thread_matches_no_thread_of_another_person_or_address(session):
    ana = conversations.ingest(session, inbound(thread_id=None))
    ben = Identifier(type="email", value="ben@example.com", verified=True)
    assert (
        conversations.ingest(session, inbound(thread_id=None, sender=(ben,))).customer_id != ana.customer_id
    )
    # The same person from another address: answers must go there.
    second = Identifier(type="email", value="ana@home.example", verified=False)
    other = conversations.ingest(session, inbound(thread_id=None, sender=(second, EMAIL)))
    assert other.customer_id == ana.customer_id
    assert other.conversation_id != ana.conversation_id
    threaded = conversations.ingest(session, inbound(thread_id="<new@mail.example.com>"))
    assert threaded.conversation_id != ana.conversation_id


def test_an_empty_thread_is_refused_and_matches_nothing(session):
    conversations.ingest(session, inbound(thread_id=None))
    before = counts(session)
    for thread_id in ("", "  "):
        with pytest.raises(InvalidValue, match="thread_id"):
            conversations.ingest(session, inbound(thread_id=thread_id))
    assert counts(session) == before


def test_a_closed_thread_is_taken_up_again(session):
    first = conversations.ingest(session, inbound())
    session.execute(
        text("UPDATE conversations SET status = 'closed', closed_at = now(), resolution_type = 'resolved'")
    )
    again = conversations.ingest(session, inbound())
    conversation = session.get_one(Conversation, first.conversation_id, populate_existing=True)
    assert again.conversation_id == conversation.id
    assert (conversation.status, conversation.closed_at) == (ConversationStatus.ACTIVE, None)
    assert conversation.resolution_type is None


@pytest.mark.parametrize(
    ("status", "auto_reply", "becomes", "reopened"),
    [
        (TicketStatus.RESOLVED, False, TicketStatus.OPEN, True),
        (TicketStatus.WAITING, False, TicketStatus.OPEN, False),
        (TicketStatus.RESOLVED, True, TicketStatus.RESOLVED, False),
        (TicketStatus.WAITING, True, TicketStatus.WAITING, False),
        (TicketStatus.OPEN, False, TicketStatus.OPEN, False),
        (TicketStatus.PROCESSING, False, TicketStatus.PROCESSING, False),
        (TicketStatus.ESCALATED, False, TicketStatus.ESCALATED, False),
        (TicketStatus.CLOSED, False, TicketStatus.CLOSED, False),
    ],
)
def test_a_customers_message_wakes_the_ticket_and_a_machines_does_not(
    session, status, auto_reply, becomes, reopened
):
    first = conversations.ingest(session, inbound())
    ticket = ticket_of(session, first, status)
    entries = len(tickets.status_history(session, ticket.id))
    ingested = conversations.ingest(session, inbound(auto_reply=auto_reply))
    assert (ingested.ticket_id, ingested.ticket_reopened) == (ticket.id, reopened)
    assert tickets.get_ticket(session, ticket.id).status is becomes
    history = tickets.status_history(session, ticket.id)
    assert len(history) == entries + (becomes is not status)
    if becomes is not status:
        assert history[-1].changed_by == f"customer:{first.customer_id}"
        assert ticket.resolved_at is None


def test_the_latest_ticket_of_the_conversation_is_the_one_that_wakes(session):
    first = conversations.ingest(session, inbound())
    older, newer = (ticket_of(session, first, TicketStatus.RESOLVED) for _ in range(2))
    assert conversations.ingest(session, inbound()).ticket_id == newer.id
    assert tickets.get_ticket(session, older.id).status is TicketStatus.RESOLVED


def test_a_ticket_that_somebody_else_moved_on_is_seen_as_it_is(crm_clone):
    with Session(crm_clone, expire_on_commit=False) as desk, Session(crm_clone) as elsewhere:
        first = conversations.ingest(desk, inbound())
        ticket = tickets.open_ticket(
            desk,
            customer_id=first.customer_id,
            conversation_id=first.conversation_id,
            subject="Password",
            category="account_access",
            source_channel="email",
            actor="human:7",
        )
        tickets.change_status(desk, ticket.id, TicketStatus.WAITING, actor="human:7")
        desk.commit()
        tickets.change_status(
            elsewhere, ticket.id, TicketStatus.ESCALATED, actor="human:8", escalation_reason="angry"
        )
        elsewhere.commit()
        # This session still holds the ticket as waiting; from escalated nothing leads to open.
        assert ticket.status is TicketStatus.WAITING
        assert conversations.ingest(desk, inbound()).ticket_reopened is False
        assert ticket.status is TicketStatus.ESCALATED
        desk.commit()


def test_an_answer_is_stored_as_ours_and_costs_one_statement(session, queries):
    conversation = ConversationFactory(channel=Channel.WHATSAPP)
    queries.reset()
    message = conversations.reply(
        session, conversation.id, OutboundMessage(content="Open Settings.", processing_latency_ms=900)
    )
    assert queries.count == 1, queries
    assert (message.direction, message.role) == (MessageDirection.OUTBOUND, MessageRole.AGENT)
    assert (message.channel, message.customer_id) == (Channel.WHATSAPP, conversation.customer_id)
    assert (message.delivery_status, message.processing_latency_ms) == (DeliveryStatus.PENDING, 900)
    assert (message.content_type, message.extra) == (ContentType.TEXT, {})
    receipt = conversations.reply(
        session, conversation.id, OutboundMessage(content="Thanks", auto_reply=True)
    )
    assert receipt.extra == {"auto_reply": True}


@pytest.mark.parametrize(
    "outbound",
    [{"content": " "}, {"content": "a\x00"}, {"content": "x", "extra": {"n": float("nan")}}],
)
def test_an_answer_that_cannot_be_stored_is_refused(session, queries, outbound):
    with pytest.raises(InvalidValue):
        conversations.reply(session, uuid4(), OutboundMessage(**outbound))
    assert queries.count == 0, queries


def test_answers_go_where_the_question_came_from_in_the_providers_spelling(session):
    asked = conversations.ingest(session, on_whatsapp(sender=(WHATSAPP, EMAIL)))
    customer = session.get_one(Customer, asked.customer_id)
    customer.phone = "+4915199999999"
    session.flush()
    target = conversations.reply_target(session, asked.conversation_id)
    assert (target.type, target.value) == ("whatsapp", "whatsapp:+5215512345678")


def test_what_is_missing_is_said(session):
    unrouted = ConversationFactory()
    for error, ask in (
        (ConversationNotFound, lambda: conversations.reply(session, uuid4(), OutboundMessage(content="x"))),
        (ConversationNotFound, lambda: conversations.reply_target(session, uuid4())),
        (ConversationNotFound, lambda: conversations.reply_target(session, unrouted.id)),
        (MessageNotFound, lambda: conversations.set_delivery_status(session, uuid4(), DeliveryStatus.READ)),
        (InvalidValue, lambda: conversations.set_delivery_status(session, unrouted.id, "seen")),
        (InvalidValue, lambda: conversations.reply(session, "nothing", OutboundMessage(content="x"))),
    ):
        with pytest.raises(error):
            ask()


@pytest.mark.parametrize(
    ("reports", "kept"),
    [
        (["delivered", "read"], "read"),
        (["read", "delivered"], "read"),
        (["failed", "delivered"], "delivered"),
        (["delivered", "failed", "pending"], "delivered"),
        (["failed", "pending"], "failed"),
    ],
)
def test_a_late_report_never_takes_delivery_back(session, queries, reports, kept):
    message = MessageFactory(outbound=True)
    for report in reports:
        queries.reset()
        assert conversations.set_delivery_status(session, message.id, report) is message
        assert queries.count == 1, queries
    assert message.delivery_status == kept
