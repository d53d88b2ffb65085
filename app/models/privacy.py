"""Who was erased, and who must not be."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Index, LargeBinary, String, Text, func, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from .base import Base, UUIDPrimaryKey


class Erasure(Base):
    """A customer whose personal data is gone. Inserting a row is the erasure: a trigger does it."""

    __tablename__ = "erasures"
    __table_args__ = (Index("erasures_address_hashes_idx", "address_hashes", postgresql_using="gin"),)

    id: Mapped[UUIDPrimaryKey]
    customer_id: Mapped[UUID] = mapped_column(unique=True)
    """The living customer as of then; the row of ``customers`` stays, without personal data."""
    actor: Mapped[str] = mapped_column(String(255))
    reason: Mapped[str]
    address_hashes: Mapped[list[bytes]] = mapped_column(ARRAY(LargeBinary), server_default=text("'{}'"))
    """HMAC-SHA256 of the addresses, under a key that is not in the database."""
    report: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text("'{}'"))
    """Which ids became one customer, and how many rows lost something, by table."""
    db_user: Mapped[str] = mapped_column(Text, server_default=func.session_user())
    erased_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())


class LegalHold(Base):
    """A customer who must not be erased until the hold is released."""

    __tablename__ = "legal_holds"
    __table_args__ = (
        Index("legal_holds_customer_id_idx", "customer_id", postgresql_where=text("released_at IS NULL")),
    )

    id: Mapped[UUIDPrimaryKey]
    customer_id: Mapped[UUID]
    """Whoever has absorbed this customer is held too."""
    actor: Mapped[str] = mapped_column(String(255))
    reason: Mapped[str]
    held_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    released_at: Mapped[datetime | None]
    released_by: Mapped[str | None] = mapped_column(String(255))
    release_reason: Mapped[str | None]
