"""Beside the customers: every decision about who is who, and the merges with all it takes to undo them."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Identity, Index, String, Text, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from .base import Base, UUIDPrimaryKey, code, code_check


class IdentityEventType(StrEnum):
    CREATED = "created"
    ATTACHED = "attached"
    DETACHED = "detached"
    VERIFIED = "verified"
    REASSIGNED = "reassigned"
    CONFLICT = "conflict"
    MERGED = "merged"
    UNMERGED = "unmerged"
    NOT_DUPLICATE = "not_duplicate"
    UPDATED = "updated"
    """Somebody changed the profile; ``details`` names the fields."""
    ERASED = "erased"


class IdentityEvent(Base):
    """One decision. Holds ids and no addresses or names, so it can stay when a person's data must go."""

    __tablename__ = "identity_events"
    __table_args__ = (
        code_check("event", IdentityEventType),
        Index("identity_events_customer_idx", "customer_id", "created_at", "id"),
        Index(
            "identity_events_other_customer_idx",
            "other_customer_id",
            "created_at",
            "id",
            postgresql_where=text("other_customer_id IS NOT NULL"),
        ),
        Index(
            "identity_events_conflict_identifier_idx",
            "identifier_id",
            postgresql_where=text("event = 'conflict' AND identifier_id IS NOT NULL"),
        ),
    )

    id: Mapped[UUIDPrimaryKey]
    seq: Mapped[int] = mapped_column(BigInteger, Identity())
    customer_id: Mapped[UUID]
    """The customer as of then; no foreign key, since the event outlives a merge."""
    event: Mapped[IdentityEventType] = mapped_column(code(IdentityEventType, 20))
    identifier_id: Mapped[UUID | None]
    other_customer_id: Mapped[UUID | None]
    merge_id: Mapped[UUID | None]
    actor: Mapped[str] = mapped_column(String(255))
    reason: Mapped[str | None]
    details: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text("'{}'"))
    db_user: Mapped[str] = mapped_column(Text, server_default=func.session_user())
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())


class LostProof(Base):
    """A verified identifier that a customer held and holds no more, whoever took it: a trigger writes it.

    Who ever proved something is never taken over by somebody who proves one of its claims.
    """

    __tablename__ = "lost_proofs"
    __table_args__ = (Index("lost_proofs_customer_id_idx", "customer_id"),)

    id: Mapped[UUIDPrimaryKey]
    customer_id: Mapped[UUID]
    """The customer as of then; no foreign key, since a merge or its undoing changes who lives."""
    identifier_id: Mapped[UUID]
    lost_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())


class CustomerMerge(Base):
    """One customer absorbed by another, with what it takes to undo it."""

    __tablename__ = "customer_merges"
    __table_args__ = (
        CheckConstraint("survivor_id <> absorbed_id", name="two_customers"),
        Index("customer_merges_survivor_id_idx", "survivor_id"),
        Index(
            "customer_merges_absorbed_id_idx",
            "absorbed_id",
            unique=True,
            postgresql_where=text("undone_at IS NULL"),
        ),
    )

    id: Mapped[UUIDPrimaryKey]
    seq: Mapped[int] = mapped_column(BigInteger, Identity())
    """Order of the merges."""
    survivor_id: Mapped[UUID]
    absorbed_id: Mapped[UUID]
    actor: Mapped[str] = mapped_column(String(255))
    reason: Mapped[str]
    absorbed: Mapped[dict[str, Any]] = mapped_column(JSONB)
    """The absorbed customer's row as it was."""
    filled: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text("'{}'"))
    """Blank profile fields of the survivor that the merge filled: field -> [before, after]."""
    merged_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    undone_at: Mapped[datetime | None]
    undone_by: Mapped[str | None] = mapped_column(String(255))
    undo_reason: Mapped[str | None]
    undo_report: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))


class CustomerMergeMove(Base):
    """One row that a merge moved from the absorbed customer to the survivor."""

    __tablename__ = "customer_merge_moves"
    __table_args__ = (Index("customer_merge_moves_row_id_idx", "row_id"),)

    merge_id: Mapped[UUID] = mapped_column(ForeignKey("customer_merges.id"), primary_key=True)
    table_name: Mapped[str] = mapped_column(String(63), primary_key=True)
    row_id: Mapped[UUID] = mapped_column(primary_key=True)
    returned_at: Mapped[datetime | None]
    """When the row went back, by this merge's undoing or by that of an earlier one."""


class CustomerMergeForeignMove(Base):
    """One row of another application's table that a merge moved: its key may be anything."""

    __tablename__ = "customer_merge_foreign_moves"
    __table_args__ = (Index("customer_merge_foreign_moves_merge_id_idx", "merge_id"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    merge_id: Mapped[UUID] = mapped_column(ForeignKey("customer_merges.id"))
    schema_name: Mapped[str] = mapped_column(String(63))
    table_name: Mapped[str] = mapped_column(String(63))
    column_name: Mapped[str] = mapped_column(String(63))
    """The column that points to the customer."""
    row_key: Mapped[dict[str, Any]] = mapped_column(JSONB)
    """The row's primary key by column, without the one that points to the customer."""
    returned_at: Mapped[datetime | None]
    """When the row went back, by this merge's undoing or by that of an earlier one."""


class CustomerRedirect(Base):
    """Where an absorbed customer lives on: always a living customer, never another redirect."""

    __tablename__ = "customer_redirects"
    __table_args__ = (
        CheckConstraint("absorbed_id <> customer_id", name="two_customers"),
        Index("customer_redirects_customer_id_idx", "customer_id"),
        Index("customer_redirects_merge_id_idx", "merge_id"),
    )

    absorbed_id: Mapped[UUID] = mapped_column(primary_key=True)
    customer_id: Mapped[UUID] = mapped_column(ForeignKey("customers.id"))
    merge_id: Mapped[UUID] = mapped_column(ForeignKey("customer_merges.id"))
    created_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
