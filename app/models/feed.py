"""What changed, for other systems."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import BigInteger, Identity, String, func
from sqlalchemy.orm import Mapped, mapped_column

from .base import Base, code, code_check


class FeedSubject(StrEnum):
    CUSTOMER = "customer"
    CONVERSATION = "conversation"
    MESSAGE = "message"
    TICKET = "ticket"
    IDENTITY = "identity"


class FeedChange(Base):
    """One row that a transaction inserted, updated or deleted; triggers write it. No content."""

    __tablename__ = "change_feed"
    __table_args__ = (code_check("subject", FeedSubject),)

    life: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    """Of the server's transaction numbers: a new one begins where the rows were copied to another server."""
    transaction_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    seq: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    subject: Mapped[FeedSubject] = mapped_column(code(FeedSubject, 20))
    subject_id: Mapped[UUID]
    customer_id: Mapped[UUID]
    change: Mapped[str] = mapped_column(String(20))
    """insert, update or delete; of identity, the event."""
    changed_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
