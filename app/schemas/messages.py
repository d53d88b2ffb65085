"""Messages on their way in and out, free of any provider's format."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any, Literal, TypeAlias
from uuid import UUID

from pydantic import AwareDatetime, Field, StrictStr

from ..html import to_text
from ..models.channel import Channel
from ..models.conversation import ContentType, DeliveryStatus, MessageDirection, MessageRole
from ..models.ticket import TicketStatus
from .base import Coded, KeptMoment, OrText, Schema, default
from .codes import ChannelCode, ContentTypeCode, DeliveryStatusCode, MessageRoleCode
from .identity import CustomerProfile, Identifier, Resolution


class Attachment(Schema):
    """A file that came along."""

    filename: StrictStr | None = None
    media_type: StrictStr = "application/octet-stream"
    size: int | None = Field(default=None, ge=0)
    """Bytes, where the provider tells."""
    url: StrictStr | None = None
    """Where the content is kept; None where nobody has stored it and it stays with the provider."""


class DeliveryReport(Schema):
    """What a provider says became of a message of ours."""

    channel: Coded[Channel, ChannelCode]
    account: StrictStr = Field(min_length=1, max_length=255)
    """Our own end, that the message was sent from."""
    provider_message_id: StrictStr | None = Field(default=None, min_length=1, max_length=255)
    """The message of ours; None where a bounce does not say which."""
    message_id: UUID | None = None
    """The same by our own id, where the provider repeats what we gave it."""
    status: Coded[DeliveryStatus, DeliveryStatusCode]
    recipient: StrictStr | None = None
    """The address that it did not reach, or that read it."""
    code: StrictStr | None = None
    """The provider's: for mail an enhanced status code (RFC 3463) such as 5.1.1."""
    reason: StrictStr | None = None
    """In the provider's words, without addresses."""
    occurred_at: AwareDatetime | None = None


class InboundEvent(StrEnum):
    """What reached us and is no message of its own."""

    REACTION = "reaction"
    EDIT = "edit"
    """Other words for an earlier message: the only event that somebody may wait for an answer to."""
    REVOKE = "revoke"
    RECEIPT = "receipt"
    """A recipient's program says that a message of ours was read, or deleted unread."""
    DELIVERY = "delivery"
    """A mail server's report on a message of ours: a bounce, a delay, a success."""
    CALENDAR = "calendar"
    """A calendar program's answer to an invitation."""
    IDENTITY = "identity"
    """The provider tells that the person has another number or id: see ``former``."""


InboundEventCode: TypeAlias = (
    InboundEvent | Literal["reaction", "edit", "revoke", "receipt", "delivery", "calendar", "identity"]
)


class InboundMessage(Schema):
    """One message from a customer. ``(channel, account, provider_message_id)`` makes it unique."""

    channel: Coded[Channel, ChannelCode]
    account: StrictStr = Field(min_length=1, max_length=255)
    """Our own end: the mailbox, number or form that the customer wrote to."""
    provider_message_id: StrictStr = Field(min_length=1, max_length=255)
    sender: tuple[Identifier, ...] = Field(min_length=1)
    """The writer's identifiers, the channel's own one first: answers go there."""
    former: tuple[Identifier, ...] = ()
    """Those of ``sender`` that the provider says are no longer the person's: they may become another's."""
    profile: CustomerProfile = CustomerProfile()
    content: StrictStr
    content_type: Coded[ContentType, ContentTypeCode] = default(ContentType.TEXT)
    new_text: StrictStr = Field(default_factory=lambda fields: str(fields.get("content", "")))
    """What is new in ``content``: without quoted lines and signature. The same where nothing was quoted."""
    subject: StrictStr | None = None
    thread_id: StrictStr | None = None
    """The provider's thread: for email the Message-ID at the root of References."""
    group_id: StrictStr | None = None
    """The group that it was written in: answers there are read by others."""
    references: tuple[StrictStr, ...] = ()
    """Every message that it answers, by the provider's id, nearest first."""
    reaction_to: StrictStr | None = None
    """The message that an event is about, by the provider's id: what was reacted to, edited or revoked."""
    sent_at: AwareDatetime | None = None
    """As the writer's end says, which may be years off."""
    received_at: AwareDatetime | None = None
    """When our end got it, never later than now; None where the payload does not say and nobody else did."""
    reply_to: StrictStr | None = None
    """The address that the writer wants answers at, as somebody typed it: it identifies nobody."""
    attachments: tuple[Attachment, ...] = ()
    auto_reply: bool = False
    """Written by a machine (out of office, a bounce), or an event that asks for nothing: it wakes nobody."""
    event: Coded[InboundEvent | None, InboundEventCode | None] = default(None)
    delivery_reports: tuple[DeliveryReport, ...] = ()
    """What a bounce or a read receipt says, one for each recipient."""
    ignored: tuple[StrictStr, ...] = ()
    """Names of the payload's fields that could not be used."""
    extra: dict[str, Any] = Field(default_factory=dict)


class OutboundMessage(Schema):
    """One message from us, before a provider has it."""

    content: StrictStr = Field(min_length=1)
    content_type: Coded[ContentType, ContentTypeCode] = default(ContentType.TEXT)
    role: Coded[MessageRole, MessageRoleCode] = default(MessageRole.AGENT)
    subject: StrictStr | None = None
    """None: that of the message that it answers."""
    attachments: tuple[Attachment, ...] = ()
    processing_latency_ms: int | None = Field(default=None, ge=0, le=2_147_483_647)
    auto_reply: bool = False
    """Not an answer by an agent (an acknowledgement, ...): it does not count as a first response."""
    extra: dict[str, Any] = Field(default_factory=dict)


class Delivery(Schema):
    """A message of ours with all that it takes to send it."""

    message_id: UUID
    conversation_id: UUID
    customer_id: UUID
    channel: OrText[Channel]
    account: str
    """Our own end, to send from."""
    to: Identifier
    """Where the conversation's last message came from, as its provider spells it."""
    to_name: str | None = None
    """The customer's name; of who only claims to be the customer, the one given with the message."""
    group_id: str | None = None
    """To be sent to this group and not to ``to`` alone."""
    provider_message_id: str | None = None
    """A mail's Message-ID: known here before it leaves, so that its answer is found in any case."""
    subject: str | None = None
    in_reply_to: str | None = None
    """What the provider calls the message that this one answers."""
    references: tuple[str, ...] = ()
    """For mail: the ids of the conversation, oldest first."""
    content: str
    content_type: OrText[ContentType] | None
    attachments: tuple[Attachment, ...] = ()
    auto_reply: bool = False
    """Not written by an agent: a mail then says so, and other machines do not answer it."""
    attempt: int
    window_open: bool
    """The customer wrote within the last 24 hours: WhatsApp takes free text then only."""
    written_at: datetime | None

    @property
    def idempotency_key(self) -> str:
        """By it a provider can tell that it has the message already: the same at each attempt."""
        return str(self.message_id)

    @property
    def text(self) -> str:
        """What it says in plain text; HTML is read as text."""
        return to_text(self.content) if self.content_type == ContentType.HTML else self.content

    @property
    def html(self) -> str | None:
        """What it says in HTML, if it was written so."""
        return self.content if self.content_type == ContentType.HTML else None


class ConversationTicket(Schema):
    """A ticket of the conversation that a message came into, as the message left it."""

    id: UUID
    status: OrText[TicketStatus]
    woken: bool = False
    """The message took it up again: it waited for the customer, or was resolved."""


class Ingested(Schema):
    """Where an inbound message went, and what was decided. For a redelivery: the first time."""

    message_id: UUID
    conversation_id: UUID
    customer_id: UUID
    duplicate: bool = False
    """The message was already stored; nothing was written."""
    conversation_opened: bool = False
    tickets: tuple[ConversationTicket, ...] = ()
    """The conversation's tickets, oldest first; for a redelivery as they are now."""
    ticket_id: UUID | None = None
    """The ticket to go on with, if there is one: the latest that was woken, else the latest."""
    ticket_status: OrText[TicketStatus] | None = None
    ticket_reopened: bool = False
    """It was resolved, and this message opened it again."""
    resolution: Resolution
    """What ``identity.resolve`` decided; without what it attached, for a redelivery."""


class HistoryEntry(Schema):
    """One message of a customer, with the channel of its conversation."""

    id: UUID
    conversation_id: UUID
    channel: OrText[Channel]
    conversation_channel: OrText[Channel]
    direction: OrText[MessageDirection]
    role: OrText[MessageRole]
    content: str
    content_type: OrText[ContentType] | None
    internal: bool = False
    """A note among ourselves: not for the customer's eyes."""
    created_at: datetime
    """When it reached us, or was written by us: the order of a history."""
    sent_at: KeptMoment = None
    """As the writer's end says, which may be years off."""
