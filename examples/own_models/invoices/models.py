"""Our tables. Their foreign keys are real: the database keeps them, and a merge moves our rows too."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID, uuid4

from sqlalchemy import CheckConstraint, DateTime, ForeignKey, func
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from crm_digital_fte.models import Customer, Ticket


class Own(DeclarativeBase):
    """A base of our own, so that our metadata and our migrations know our tables only."""


class Invoice(Own):
    __tablename__ = "invoices"
    __table_args__ = (CheckConstraint("cents > 0", name="invoices_cents_check"),)

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    # With an index: whoever merges or erases customers looks for their rows.
    customer_id: Mapped[UUID] = mapped_column(ForeignKey(Customer.id), index=True)
    ticket_id: Mapped[UUID | None] = mapped_column(ForeignKey(Ticket.id, ondelete="SET NULL"))
    """The ticket in which somebody disputes it."""
    number: Mapped[str] = mapped_column(unique=True)
    cents: Mapped[int]
    issued_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
