"""Conversations and their messages, and what keeps them exactly-once and answerable."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy import ForeignKey, Index, LargeBinary, String, Text, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column, relationship

from .base import Base, CreatedAt, UpdatedAt, UUIDPrimaryKey, code, code_check, metadata_column, words_of
from .channel import Channel
from .customer import IdentifierType

if TYPE_CHECKING:
    from .customer import Customer
    from .ticket import Ticket


class ConversationStatus(StrEnum):
    ACTIVE = "active"
    CLOSED = "closed"
    ESCALATED = "escalated"


class ResolutionType(StrEnum):
    RESOLVED = "resolved"
    ESCALATED = "escalated"
    ABANDONED = "abandoned"


class MessageDirection(StrEnum):
    INBOUND = "inbound"
    OUTBOUND = "outbound"


class MessageRole(StrEnum):
    CUSTOMER = "customer"
    AGENT = "agent"
    SYSTEM = "system"


class ContentType(StrEnum):
    TEXT = "text"
    HTML = "html"
    ATTACHMENT_NOTICE = "attachment_notice"


class DeliveryStatus(StrEnum):
    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"
    READ = "read"


class Conversation(Base):
    """What a customer and we say to each other on one channel."""

    __tablename__ = "conversations"
    __table_args__ = (
        code_check("channel", Channel),
        code_check("status", ConversationStatus),
        code_check("resolution_type", ResolutionType, nullable=True),
        Index("idx_conversations_customer", "customer_id", "status"),
        Index("idx_conversations_channel", "channel", "status"),
        Index("idx_conversations_created", "created_at"),
        Index(
            "idx_conversations_open",
            "created_at",
            "id",
            postgresql_where=text("status IS DISTINCT FROM 'closed'"),
        ),
    )

    id: Mapped[UUIDPrimaryKey]
    customer_id: Mapped[UUID] = mapped_column(ForeignKey("customers.id"))
    channel: Mapped[Channel] = mapped_column(code(Channel, 50))
    status: Mapped[ConversationStatus | None] = mapped_column(
        code(ConversationStatus, 50), server_default=ConversationStatus.ACTIVE
    )
    sentiment_score: Mapped[float | None] = mapped_column(server_default=text("0.5"))
    """0 (very negative) to 1 (very positive)."""
    resolution_type: Mapped[ResolutionType | None] = mapped_column(code(ResolutionType, 50))
    escalation_reason: Mapped[str | None] = mapped_column(String(255))
    extra: Mapped[dict[str, Any] | None] = metadata_column()
    created_at: Mapped[CreatedAt]
    updated_at: Mapped[UpdatedAt]
    closed_at: Mapped[datetime | None]

    customer: Mapped[Customer] = relationship(back_populates="conversations", lazy="raise")
    messages: Mapped[list[Message]] = relationship(
        back_populates="conversation", lazy="raise", passive_deletes="all"
    )
    tickets: Mapped[list[Ticket]] = relationship(
        back_populates="conversation", lazy="raise", passive_deletes="all"
    )
    routes: Mapped[list[ConversationRoute]] = relationship(
        back_populates="conversation", lazy="raise", passive_deletes="all"
    )


class Message(Base):
    """One message of a conversation, of either direction, or a note of ours."""

    __tablename__ = "messages"
    __table_args__ = (
        code_check("channel", Channel),
        code_check("direction", MessageDirection),
        code_check("role", MessageRole),
        code_check("content_type", ContentType),
        code_check("delivery_status", DeliveryStatus),
        Index("idx_messages_conversation", "conversation_id", "created_at"),
        Index("idx_messages_customer", "customer_id", "created_at"),
        Index("idx_messages_channel", "channel", "created_at"),
        Index("idx_messages_words", words_of("content"), postgresql_using="gin"),
    )

    id: Mapped[UUIDPrimaryKey]
    conversation_id: Mapped[UUID] = mapped_column(ForeignKey("conversations.id"))
    customer_id: Mapped[UUID] = mapped_column(ForeignKey("customers.id"))
    channel: Mapped[Channel] = mapped_column(code(Channel, 50))
    direction: Mapped[MessageDirection] = mapped_column(code(MessageDirection, 10))
    role: Mapped[MessageRole] = mapped_column(code(MessageRole, 20))
    content: Mapped[str] = mapped_column(Text)
    content_type: Mapped[ContentType | None] = mapped_column(
        code(ContentType, 50), server_default=ContentType.TEXT
    )
    delivery_status: Mapped[DeliveryStatus | None] = mapped_column(
        code(DeliveryStatus, 50), server_default=DeliveryStatus.PENDING
    )
    processing_latency_ms: Mapped[int | None]
    extra: Mapped[dict[str, Any] | None] = metadata_column()
    created_at: Mapped[CreatedAt]
    """The clock's time, by a trigger: ``now()`` is equal for all messages of one transaction."""

    conversation: Mapped[Conversation] = relationship(back_populates="messages", lazy="raise")
    customer: Mapped[Customer] = relationship(lazy="raise")


class ConversationRoute(Base):
    """A way back: an identifier that a conversation came through, and the provider's thread."""

    __tablename__ = "conversation_routes"
    __table_args__ = (
        code_check("channel", Channel),
        code_check("identifier_type", IdentifierType),
        Index("conversation_routes_conversation_id_idx", "conversation_id"),
        Index(
            "conversation_routes_thread_idx",
            "channel",
            "account",
            "thread_id",
            postgresql_where=text("thread_id IS NOT NULL"),
        ),
        Index("conversation_routes_identifier_idx", "identifier_type", "identifier_value"),
    )

    id: Mapped[UUIDPrimaryKey]
    conversation_id: Mapped[UUID] = mapped_column(ForeignKey("conversations.id", ondelete="CASCADE"))
    channel: Mapped[Channel] = mapped_column(code(Channel, 50))
    account: Mapped[str] = mapped_column(String(255))
    """Our own end: the mailbox, number or form that the customer wrote to."""
    identifier_type: Mapped[IdentifierType] = mapped_column(code(IdentifierType, 50))
    identifier_value: Mapped[str] = mapped_column(String(255))
    """The customer's end as it is delivered to; it stays when the customer's profile changes or is merged."""
    address: Mapped[str] = mapped_column(String(255))
    """The customer's end as the provider spelled it: answers go there."""
    thread_id: Mapped[str | None]
    group_id: Mapped[str | None]
    """The group that was written in: answers there are read by others."""
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    used_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    """Answers go to the route that was used last."""

    conversation: Mapped[Conversation] = relationship(back_populates="routes", lazy="raise")


class ProviderMessage(Base):
    """What a provider calls a message, of either direction: a redelivery finds it and writes nothing."""

    __tablename__ = "provider_messages"
    __table_args__ = (code_check("channel", Channel), Index("provider_messages_message_id_idx", "message_id"))

    channel: Mapped[Channel] = mapped_column(code(Channel, 50), primary_key=True)
    account: Mapped[str] = mapped_column(String(255), primary_key=True)
    provider_message_id: Mapped[str] = mapped_column(String(255), primary_key=True)
    """A mail's without its angle brackets: the database takes them off."""
    message_id: Mapped[UUID] = mapped_column(
        ForeignKey("messages.id", ondelete="CASCADE", deferrable=True, initially="DEFERRED")
    )
    recorded_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())


class OutboxEntry(Base):
    """A message of ours that is to be sent; gone once it is, or is given up."""

    __tablename__ = "outbox"
    __table_args__ = (
        code_check("channel", Channel, nullable=True),
        Index("outbox_due_at_idx", "due_at", "queued_at", "message_id"),
        Index("outbox_conversation_id_idx", "conversation_id", "queued_at", "message_id"),
    )

    message_id: Mapped[UUID] = mapped_column(ForeignKey("messages.id", ondelete="CASCADE"), primary_key=True)
    conversation_id: Mapped[UUID] = mapped_column(ForeignKey("conversations.id", ondelete="CASCADE"))
    queued_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    due_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    """While a sender has it: when it is due again if nothing more is heard of that sender."""
    attempts: Mapped[int] = mapped_column(server_default=text("0"))
    with_sender: Mapped[bool] = mapped_column(server_default=text("false"))
    """A sender has it, if ``due_at`` is still to come: nobody else gets a message of its conversation."""
    channel: Mapped[Channel | None] = mapped_column(code(Channel, 50))
    """What it was last claimed to be sent by, from ``account``."""
    account: Mapped[str | None] = mapped_column(String(255))


class ToolCall(Base):
    """What an agent did in a conversation: the same call again finds its result and does nothing."""

    __tablename__ = "tool_calls"

    conversation_id: Mapped[UUID] = mapped_column(
        ForeignKey("conversations.id", ondelete="CASCADE"), primary_key=True
    )
    idempotency_key: Mapped[str] = mapped_column(String(255), primary_key=True)
    tool: Mapped[str] = mapped_column(String(63))
    arguments_hash: Mapped[bytes] = mapped_column(LargeBinary)
    actor: Mapped[str] = mapped_column(String(255))
    result: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    """Ids and codes. NULL only within the call's own transaction."""
    called_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())


class EarlyDeliveryReport(Base):
    """What a provider said about a message before the sender could say what the provider calls it."""

    __tablename__ = "early_delivery_reports"
    __table_args__ = (
        code_check("channel", Channel),
        code_check("status", DeliveryStatus),
        Index("early_delivery_reports_message_idx", "channel", "account", "provider_message_id"),
        Index("early_delivery_reports_received_at_idx", "received_at"),
    )

    id: Mapped[UUIDPrimaryKey]
    channel: Mapped[Channel] = mapped_column(code(Channel, 50))
    account: Mapped[str] = mapped_column(String(255))
    provider_message_id: Mapped[str] = mapped_column(String(255))
    status: Mapped[DeliveryStatus] = mapped_column(code(DeliveryStatus, 50))
    recipient: Mapped[str | None]
    code: Mapped[str | None]
    reason: Mapped[str | None]
    occurred_at: Mapped[datetime | None]
    received_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
