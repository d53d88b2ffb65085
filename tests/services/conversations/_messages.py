"""Inbound messages as the tests of conversations deliver them."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

from sqlalchemy.orm import Session

from app.models import Channel, Message
from app.schemas import Identifier, InboundMessage, OutboundMessage
from app.services import conversations
from app.testing import ProviderMessageFactory

ACCOUNT = "support@techcorp.example"
EMAIL = Identifier(type="email", value="Ana@Example.com", verified=True)
BEN = Identifier(type="email", value="ben@example.com", verified=True)
NUMBER = Identifier(type="whatsapp", value="whatsapp:+5215512345678", verified=True)
USER_ID = Identifier(type="whatsapp", value="MX.13491208655302741918", verified=True)


def mail(**facts: Any) -> InboundMessage:
    """One that is alone in its thread, unless told otherwise."""
    message_id = facts.pop("id", f"<{uuid4()}@mail.example.com>")
    return InboundMessage(
        **{
            "channel": Channel.EMAIL,
            "account": ACCOUNT,
            "provider_message_id": message_id,
            "sender": (EMAIL,),
            "content": "How do I reset my password?",
            "thread_id": message_id,
        }
        | facts
    )


def whatsapp(**facts: Any) -> InboundMessage:
    return mail(
        **{"channel": Channel.WHATSAPP, "account": "+14155238886", "sender": (NUMBER,), "thread_id": None}
        | facts
    )


def form(**facts: Any) -> InboundMessage:
    return mail(**{"channel": Channel.WEB_FORM, "account": "contact", "thread_id": None} | facts)


def answered(session: Session, conversation_id: UUID, sent_as: str) -> Message:
    """An answer of ours by mail, which its own answers name so."""
    message = conversations.reply(session, conversation_id, OutboundMessage(content="Open Settings."))
    ProviderMessageFactory(
        message_id=message.id, channel=Channel.EMAIL, account=ACCOUNT, provider_message_id=sent_as
    )
    return message
