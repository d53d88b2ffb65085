"""Tickets, their state machine, and the record of what happened to them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    FetchedValue,
    ForeignKey,
    Identity,
    Index,
    LargeBinary,
    Sequence,
    String,
    Text,
    UniqueConstraint,
    func,
    literal_column,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column, relationship

from .base import Base, CreatedAt, UpdatedAt, UUIDPrimaryKey, code, code_check, metadata_column, words_of
from .channel import Channel

if TYPE_CHECKING:
    from .conversation import Conversation
    from .customer import Customer

ONCE = "crm.once_"
"""Before ``actor``, ``comment`` and ``mode``: by these the triggers know who acts in one statement."""


class TicketStatus(StrEnum):
    OPEN = "open"
    PROCESSING = "processing"
    WAITING = "waiting"
    RESOLVED = "resolved"
    ESCALATED = "escalated"
    CLOSED = "closed"


class TicketPriority(StrEnum):
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class TicketCategory(StrEnum):
    ACCOUNT_ACCESS = "account_access"
    BILLING = "billing"
    TECHNICAL = "technical"
    HOW_TO = "how_to"
    FEATURE_REQUEST = "feature_request"
    COMPLAINT = "complaint"


class TicketField(StrEnum):
    """What is recorded besides the status."""

    ASSIGNED_TO = "assigned_to"
    CATEGORY = "category"
    PRIORITY = "priority"
    METADATA = "metadata"


TRANSITIONS: Mapping[TicketStatus, frozenset[TicketStatus]] = {
    TicketStatus(status): frozenset(map(TicketStatus, next_ones.split()))
    for status, next_ones in {
        "open": "processing waiting resolved escalated closed",
        "processing": "open waiting resolved escalated closed",
        "waiting": "open processing resolved escalated closed",
        "escalated": "processing waiting resolved closed",
        "resolved": "closed open",
        "closed": "open",
    }.items()
}
"""Where a ticket may go from each status. The database holds the same table and is the one that refuses."""

FINISHED = frozenset({TicketStatus.RESOLVED, TicketStatus.CLOSED})
"""Nobody works on the ticket any more."""

TICKET_NUMBER_SEQUENCE = Sequence("ticket_number_seq", start=1, increment=1, metadata=Base.metadata)


class Ticket(Base):
    """What a customer wants done. Its status moves by legal steps only, each on record."""

    __tablename__ = "tickets"
    __table_args__ = (
        code_check("category", TicketCategory),
        code_check("priority", TicketPriority),
        code_check("status", TicketStatus),
        code_check("source_channel", Channel),
        Index("idx_tickets_conversation", "conversation_id"),
        Index("idx_tickets_created", "created_at", "id"),
        Index("idx_tickets_status_created", "status", "created_at", "id"),
        Index("idx_tickets_priority_created", "priority", "created_at", "id"),
        Index("idx_tickets_category_created", "category", "created_at", "id"),
        Index("idx_tickets_channel_created", "source_channel", "created_at", "id"),
        Index("idx_tickets_assignee_created", "assigned_to", "created_at", "id"),
        Index("idx_tickets_customer_created", "customer_id", "created_at", "id"),
        Index("idx_tickets_status_priority", "status", "priority", "created_at", "id"),
        Index("idx_tickets_status_category", "status", "category", "created_at", "id"),
        Index("idx_tickets_status_channel", "status", "source_channel", "created_at", "id"),
        Index("idx_tickets_assignee_status", "assigned_to", "status", "created_at", "id"),
        Index("idx_tickets_customer_status", "customer_id", "status", "created_at", "id"),
        Index("idx_tickets_number_folded", literal_column("folded_text(ticket_number)")),
        Index("idx_tickets_assignee_folded", literal_column("folded_text(assigned_to)")),
        Index("idx_tickets_resolved", "resolved_at", "id", postgresql_where=text("status = 'resolved'")),
        Index(
            "idx_tickets_words",
            words_of("(subject || ' ') || COALESCE(resolution_notes, '')"),
            postgresql_using="gin",
        ),
    )

    id: Mapped[UUIDPrimaryKey]
    ticket_number: Mapped[str] = mapped_column(String(20), unique=True, server_default=FetchedValue())
    """Given by a trigger: TKT- and at least four digits. Gaps are normal."""
    conversation_id: Mapped[UUID | None] = mapped_column(ForeignKey("conversations.id"))
    customer_id: Mapped[UUID] = mapped_column(ForeignKey("customers.id"))
    subject: Mapped[str] = mapped_column(String(500))
    category: Mapped[TicketCategory] = mapped_column(code(TicketCategory, 100))
    priority: Mapped[TicketPriority | None] = mapped_column(
        code(TicketPriority, 20), server_default=TicketPriority.MEDIUM
    )
    status: Mapped[TicketStatus | None] = mapped_column(
        code(TicketStatus, 50), server_default=TicketStatus.OPEN
    )
    source_channel: Mapped[Channel] = mapped_column(code(Channel, 50))
    assigned_to: Mapped[str | None] = mapped_column(String(255))
    escalation_reason: Mapped[str | None] = mapped_column(String(255))
    resolution_notes: Mapped[str | None] = mapped_column(Text)
    extra: Mapped[dict[str, Any] | None] = metadata_column()
    created_at: Mapped[CreatedAt]
    updated_at: Mapped[UpdatedAt]
    resolved_at: Mapped[datetime | None] = mapped_column(server_onupdate=FetchedValue())
    """Kept by a trigger: set on entering ``resolved``, kept on close, cleared on reopen."""

    customer: Mapped[Customer] = relationship(back_populates="tickets", lazy="raise")
    conversation: Mapped[Conversation | None] = relationship(back_populates="tickets", lazy="raise")
    status_changes: Mapped[list[TicketStatusChange]] = relationship(
        back_populates="ticket", lazy="raise", passive_deletes="all", order_by="TicketStatusChange.seq"
    )
    field_changes: Mapped[list[TicketFieldChange]] = relationship(
        back_populates="ticket", lazy="raise", passive_deletes="all", order_by="TicketFieldChange.seq"
    )


class TicketStatusChange(Base):
    """One entry of a ticket's record. Triggers write it; nobody can change or remove it."""

    __tablename__ = "ticket_status_changes"
    __table_args__ = (
        code_check("old_status", TicketStatus),
        code_check("new_status", TicketStatus),
        UniqueConstraint("ticket_id", "prev_hash"),
        UniqueConstraint("ticket_id", "seq"),
        Index(
            "ticket_status_changes_came_back_idx",
            "changed_at",
            "ticket_id",
            postgresql_where=text(
                "old_status IN ('resolved', 'closed') AND new_status NOT IN ('resolved', 'closed')"
            ),
        ),
    )

    id: Mapped[UUIDPrimaryKey]
    seq: Mapped[int] = mapped_column(BigInteger, Identity())
    """Order of the entries; clocks may tie, this does not."""
    ticket_id: Mapped[UUID] = mapped_column(ForeignKey("tickets.id"))
    old_status: Mapped[TicketStatus | None] = mapped_column(code(TicketStatus, 50))
    """None in the entry that the ticket's creation wrote; the new one in a remark, which changes nothing."""
    new_status: Mapped[TicketStatus] = mapped_column(code(TicketStatus, 50))
    changed_by: Mapped[str] = mapped_column(String(255))
    """The actor that the client named (``human:7``), else ``db:<session user>``."""
    changed_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    comment: Mapped[str | None]
    forced: Mapped[bool]
    """The transition was not a legal one; somebody forced it as a repair."""
    db_user: Mapped[str] = mapped_column(Text)
    """The session's database user, which the client cannot choose freely as it can ``changed_by``."""
    prev_hash: Mapped[bytes] = mapped_column(LargeBinary)
    hash: Mapped[bytes] = mapped_column(LargeBinary)
    """SHA-256 over this entry and ``prev_hash``: one chain per ticket."""
    salt: Mapped[UUID | None]
    """With it, the words of the entry are in ``hash``; None once they are erased."""
    words_hash: Mapped[bytes | None] = mapped_column(LargeBinary)
    """What stands for erased words in ``hash``: without the salt it tells nothing about them."""
    erasure_id: Mapped[UUID | None]
    """The erasure that took the words."""

    ticket: Mapped[Ticket] = relationship(back_populates="status_changes", lazy="raise")


class TicketFieldChange(Base):
    """One entry of the second record: who gave the ticket to whom, or changed another of its fields.

    It has changes only: what a ticket was opened with is the ``old_value`` of the first one.
    """

    __tablename__ = "ticket_field_changes"
    __table_args__ = (
        code_check("field", TicketField),
        UniqueConstraint("ticket_id", "prev_hash"),
        UniqueConstraint("ticket_id", "seq"),
    )

    id: Mapped[UUIDPrimaryKey]
    seq: Mapped[int] = mapped_column(BigInteger, Identity())
    ticket_id: Mapped[UUID] = mapped_column(ForeignKey("tickets.id"))
    field: Mapped[TicketField] = mapped_column(code(TicketField, 20))
    old_value: Mapped[str | None]
    new_value: Mapped[str | None]
    changed_by: Mapped[str] = mapped_column(String(255))
    changed_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    comment: Mapped[str | None]
    db_user: Mapped[str] = mapped_column(Text)
    prev_hash: Mapped[bytes] = mapped_column(LargeBinary)
    hash: Mapped[bytes] = mapped_column(LargeBinary)
    salt: Mapped[UUID | None]
    words_hash: Mapped[bytes | None] = mapped_column(LargeBinary)
    erasure_id: Mapped[UUID | None]

    ticket: Mapped[Ticket] = relationship(back_populates="field_changes", lazy="raise")


class TicketRecordHead(Base):
    """Where a ticket's two chains end: entries that are cut off are missed, also after later ones."""

    __tablename__ = "ticket_record_heads"

    ticket_id: Mapped[UUID] = mapped_column(ForeignKey("tickets.id"), primary_key=True)
    status_hash: Mapped[bytes] = mapped_column(LargeBinary)
    field_hash: Mapped[bytes | None] = mapped_column(LargeBinary)


class TicketLink(Base):
    """``ticket_id`` is the follow-up of ``follows_ticket_id``, which was closed too long ago to reopen."""

    __tablename__ = "ticket_links"
    __table_args__ = (
        CheckConstraint("ticket_id <> follows_ticket_id", name="two_tickets"),
        Index("ticket_links_follows_ticket_id_idx", "follows_ticket_id"),
        Index("ticket_links_created_at_idx", "created_at", "follows_ticket_id"),
    )

    ticket_id: Mapped[UUID] = mapped_column(ForeignKey("tickets.id"), primary_key=True)
    follows_ticket_id: Mapped[UUID] = mapped_column(ForeignKey("tickets.id"), primary_key=True)
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    created_by: Mapped[str] = mapped_column(String(255))
