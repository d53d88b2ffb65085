"""Conversations as lists show them, and what was said in one."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any, Literal, TypeAlias
from uuid import UUID

from pydantic import Field

from ..models.channel import Channel
from ..models.conversation import (
    ContentType,
    ConversationStatus,
    DeliveryStatus,
    MessageDirection,
    MessageRole,
)
from .base import KeptMoment, OrText, Schema
from .identity import Assurance
from .messages import Attachment


class Awaiting(StrEnum):
    """Whose turn it is: who wrote last, machines and notes aside."""

    US = "us"
    CUSTOMER = "customer"


AwaitingCode: TypeAlias = Awaiting | Literal["us", "customer"]


class ConversationSummary(Schema):
    """One line of a list of conversations."""

    id: UUID
    customer_id: UUID
    channel: OrText[Channel]
    status: OrText[ConversationStatus] | None
    created_at: datetime
    awaiting: Awaiting | None = None
    """None where only machines have written, or nobody."""
    last_message_at: datetime | None = None
    """When the last message came that somebody wrote."""
    waiting_since: datetime | None = None
    """When the first one of them came that is unanswered: since then it is ``awaiting``'s turn."""
    open_tickets: int = 0
    """Its tickets that are neither resolved nor closed."""


class ConversationDetails(ConversationSummary):
    """One conversation."""

    account: str | None = None
    """Our own end, that answers are sent from."""
    subject: str | None = None
    """Of its first message that has one."""
    escalation_reason: str | None = None
    closed_at: datetime | None = None
    extra: dict[str, Any] = Field(default_factory=dict)


class TranscriptEntry(Schema):
    """One message of a conversation."""

    id: UUID
    direction: OrText[MessageDirection]
    role: OrText[MessageRole]
    content: str
    """All of it, with what it quotes."""
    new_text: str
    """What is new in it: without quoted lines and signature."""
    content_type: OrText[ContentType] | None
    subject: str | None = None
    attachments: tuple[Attachment, ...] = ()
    created_at: datetime
    """When it reached us, or was written by us."""
    sent_at: KeptMoment = None
    """As the writer's end says."""
    assurance: Assurance | None = None
    """Of an inbound message: whether the channel proved who wrote it."""
    delivery_status: OrText[DeliveryStatus] | None = None
    auto_reply: bool = False
    internal: bool = False
    """A note among ourselves: not for the customer's eyes."""
    event: str | None = None
    """Such as a reaction, which is about another message."""
    actor: str | None = None
