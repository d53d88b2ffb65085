"""Conversations and their messages, and what keeps them exactly-once and answerable."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy import ForeignKey, Index, String, Text, func, text
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
    __tablename__ = "conversations"
    __table_args__ = (
        code_check("channel", Channel),
        code_check("status", ConversationStatus),
        code_check("resolution_type", ResolutionType, nullable=True),
        Index("idx_conversations_customer", "customer_id", "status"),
        Index("idx_conversations_channel", "channel", "status"),
        Index("idx_conversations_created", "created_at"),
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
    route: Mapped[ConversationRoute | None] = relationship(
        back_populates="conversation", lazy="raise", passive_deletes="all"
    )


class Message(Base):
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
    created_at: Mapped[datetime | None] = mapped_column(
        default=func.clock_timestamp(), server_default=func.now()
    )
    """The ORM sends the clock's time: ``now()`` is equal for all messages of one transaction."""

    conversation: Mapped[Conversation] = relationship(back_populates="messages", lazy="raise")
    customer: Mapped[Customer] = relationship(lazy="raise")


class ConversationRoute(Base):
    """The way back: the identifier that a conversation came through, and the provider's thread."""

    __tablename__ = "conversation_routes"
    __table_args__ = (
        code_check("channel", Channel),
        code_check("identifier_type", IdentifierType),
        Index("conversation_routes_thread_idx", "channel", "account", "thread_id"),
        Index("conversation_routes_identifier_idx", "identifier_type", "identifier_value"),
    )

    conversation_id: Mapped[UUID] = mapped_column(
        ForeignKey("conversations.id", ondelete="CASCADE"), primary_key=True
    )
    channel: Mapped[Channel] = mapped_column(code(Channel, 50))
    account: Mapped[str] = mapped_column(String(255))
    """Our own end: the mailbox, number or form that the customer wrote to."""
    identifier_type: Mapped[IdentifierType] = mapped_column(code(IdentifierType, 50))
    identifier_value: Mapped[str] = mapped_column(String(255))
    """The customer's end, in canonical form; it stays when the customer's profile changes or is merged."""
    address: Mapped[str] = mapped_column(String(255))
    """The customer's end as the provider spelled it: answers go there."""
    thread_id: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())

    conversation: Mapped[Conversation] = relationship(back_populates="route", lazy="raise")


class InboundReceipt(Base):
    """Proof that a provider's message was stored; a redelivery finds it and writes nothing."""

    __tablename__ = "inbound_receipts"
    __table_args__ = (code_check("channel", Channel), Index("inbound_receipts_message_id_idx", "message_id"))

    channel: Mapped[Channel] = mapped_column(code(Channel, 50), primary_key=True)
    account: Mapped[str] = mapped_column(String(255), primary_key=True)
    provider_message_id: Mapped[str] = mapped_column(String(255), primary_key=True)
    message_id: Mapped[UUID] = mapped_column(
        ForeignKey("messages.id", ondelete="CASCADE", deferrable=True, initially="DEFERRED")
    )
    received_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
