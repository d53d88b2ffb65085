"""What a message costs in flights, and that nothing is built or compiled for it."""
# ruff: noqa: ARG005 - each call takes what any of them needs

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest

from app.models import TicketStatus
from app.schemas import CustomerProfile, DeliveryReport, Identifier, InboundEvent, OutboundMessage
from app.services import conversations, identity, outbox
from app.testing import TicketFactory
from tests.services.conversations._messages import EMAIL, NUMBER, USER_ID, mail, whatsapp

OURS = OutboundMessage(content="Open Settings.")


def somebody() -> Identifier:
    return Identifier(type="email", value=f"{uuid4()}@example.com", verified=True)


@pytest.fixture
def place(session):
    """A known sender's conversation, with a ticket."""
    ingested = conversations.ingest(session, whatsapp(id="wamid.1"))
    conversations.ingest(session, mail(id="<1@x>"))
    TicketFactory(conversation_id=ingested.conversation_id, status=TicketStatus.OPEN)
    return ingested


def sent(session, place):
    message = conversations.reply(session, place.conversation_id, OURS, actor="human:7")
    outbox.claim(session)
    outbox.failed(session, message.id, reason="timeout", retry_at=message.created_at)
    outbox.sent(session, message.id, provider_message_id=f"SM{message.id}")
    return DeliveryReport(
        channel="whatsapp", account="+14155238886", provider_message_id=f"SM{message.id}", status="read"
    )


CALLS = {
    "a known sender": (1, lambda s, p: conversations.ingest(s, whatsapp())),
    "an answer": (1, lambda s, p: conversations.ingest(s, mail(references=("<1@x>",)))),
    "another thread": (1, lambda s, p: conversations.ingest(s, mail())),
    "a new sender": (2, lambda s, p: conversations.ingest(s, mail(sender=(somebody(),)))),
    "a new sender with a name": (
        2,
        lambda s, p: conversations.ingest(s, mail(sender=(somebody(),), profile=CustomerProfile(name="Eva"))),
    ),
    "a redelivery": (2, lambda s, p: conversations.ingest(s, whatsapp(id="wamid.1"))),
    "a reaction": (
        2,
        lambda s, p: conversations.ingest(
            s, whatsapp(event=InboundEvent.REACTION, reaction_to="wamid.1", content="!")
        ),
    ),
    "every option": (
        1,
        lambda s, p: conversations.ingest(
            s, whatsapp(), aliases=["+1"], idle_after=timedelta(days=1), wake=False, archived=True
        ),
    ),
    "find_customer": (1, lambda s, p: identity.find_customer(s, NUMBER)),
    "resolve, known": (1, lambda s, p: identity.resolve(s, [EMAIL], channel="email")),
    "resolve, new": (2, lambda s, p: identity.resolve(s, [somebody()], channel="email")),
    "reply": (1, lambda s, p: conversations.reply(s, p.conversation_id, OURS, actor="human:7")),
    "note": (1, lambda s, p: conversations.note(s, p.conversation_id, "x", actor="human:7")),
    "reply_target": (1, lambda s, p: conversations.reply_target(s, p.conversation_id)),
    "transcript": (1, lambda s, p: conversations.transcript(s, p.conversation_id)),
    "list_conversations": (1, lambda s, p: conversations.list_conversations(s)),
    "awaiting us": (1, lambda s, p: conversations.list_conversations(s, awaiting="us")),
    "set_delivery_status": (1, lambda s, p: conversations.set_delivery_status(s, p.message_id, "read")),
    "on its way out": (5, sent),
    "a report": (6, lambda s, p: outbox.record_delivery(s, sent(s, p))),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_call_takes_so_many_flights_and_builds_nothing(session, place, queries, assert_static, name):
    flights, call = CALLS[name]
    call(session, place)
    queries.reset()
    call(session, place)
    assert queries.count == flights, queries
    assert_static(lambda _: call(session, place))


def test_a_sender_with_several_addresses_costs_no_more(session, queries):
    sender = (NUMBER, USER_ID, Identifier(type="email", value="ana@example.com"))
    conversations.ingest(session, whatsapp(sender=sender))
    queries.reset()
    conversations.ingest(session, whatsapp(sender=sender))
    assert queries.count == 2, queries
