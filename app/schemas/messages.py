"""Messages on their way in and out, free of any provider's format."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import AwareDatetime, Field, StrictStr

from ..models.channel import Channel
from ..models.conversation import ContentType, MessageDirection, MessageRole
from .base import Schema
from .identity import CustomerProfile, Identifier, Resolution


class Attachment(Schema):
    """A file that came along; its content stays with the provider."""

    filename: StrictStr | None = None
    media_type: StrictStr = "application/octet-stream"
    size: int | None = Field(default=None, ge=0)
    """Bytes, where the provider tells."""


class InboundMessage(Schema):
    """One message from a customer. ``(channel, account, provider_message_id)`` makes it unique."""

    channel: Channel
    account: StrictStr = Field(min_length=1, max_length=255)
    """Our own end: the mailbox, number or form that the customer wrote to."""
    provider_message_id: StrictStr = Field(min_length=1, max_length=255)
    sender: tuple[Identifier, ...] = Field(min_length=1)
    """The writer's identifiers, the channel's own one first: answers go there."""
    profile: CustomerProfile = CustomerProfile()
    content: StrictStr
    content_type: ContentType = ContentType.TEXT
    subject: StrictStr | None = None
    thread_id: StrictStr | None = None
    """The provider's thread: for email the Message-ID at the root of References."""
    sent_at: AwareDatetime | None = None
    attachments: tuple[Attachment, ...] = ()
    auto_reply: bool = False
    """Written by a machine (out of office, ...): it never reopens a ticket."""
    extra: dict[str, Any] = Field(default_factory=dict)


class OutboundMessage(Schema):
    """One message from us, before a provider has it."""

    content: StrictStr = Field(min_length=1)
    content_type: ContentType = ContentType.TEXT
    role: MessageRole = MessageRole.AGENT
    processing_latency_ms: int | None = Field(default=None, ge=0, le=2_147_483_647)
    auto_reply: bool = False
    """Not an answer by an agent (an acknowledgement, ...): it does not count as a first response."""
    extra: dict[str, Any] = Field(default_factory=dict)


class Ingested(Schema):
    """Where an inbound message went. For a redelivery: where it went the first time."""

    message_id: UUID
    conversation_id: UUID
    customer_id: UUID
    duplicate: bool = False
    """The message was already stored; nothing was written."""
    conversation_opened: bool = False
    ticket_id: UUID | None = None
    """The conversation's latest ticket, if it has one."""
    ticket_reopened: bool = False
    resolution: Resolution | None = None
    """None for a redelivery."""


class HistoryEntry(Schema):
    """One message of a customer, with the channel of its conversation."""

    id: UUID
    conversation_id: UUID
    channel: Channel
    conversation_channel: Channel
    direction: MessageDirection
    role: MessageRole
    content: str
    content_type: ContentType | None
    created_at: datetime
