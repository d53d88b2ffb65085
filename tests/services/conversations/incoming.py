"""Messages that come in."""

from __future__ import annotations

from uuid import uuid4

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.models import (
    Channel,
    Conversation,
    Customer,
    CustomerIdentifier,
    Message,
    ProviderMessage,
)
from app.schemas import Identifier, InboundMessage

WRITTEN = (Customer, CustomerIdentifier, Conversation, Message, ProviderMessage)


EMAIL = Identifier(type="email", value="Ana@Example.com", verified=True)


WHATSAPP = Identifier(type="whatsapp", value="whatsapp:+5215512345678", verified=True)


def inbound(provider_message_id: str | None = None, **facts: object) -> InboundMessage:
    given = {
        "channel": Channel.EMAIL,
        "account": "support@techcorp.example",
        "provider_message_id": provider_message_id or f"<{uuid4()}@mail.example.com>",
        "sender": (EMAIL,),
        "content": "How do I reset my password?",
        "thread_id": "<root@mail.example.com>",
    }
    return InboundMessage(**given | facts)


def on_whatsapp(**facts: object) -> InboundMessage:
    given = {"channel": Channel.WHATSAPP, "account": "+14155238886", "sender": (WHATSAPP,), "thread_id": None}
    return inbound(**given | facts)


def counts(session: Session) -> list[int | None]:
    return [session.scalar(select(func.count()).select_from(model)) for model in WRITTEN]
