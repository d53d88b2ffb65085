"""Rows of an import, and what became of them."""

from __future__ import annotations

from typing import Any

from pydantic import AwareDatetime, Field, StrictStr

from ..models.channel import Channel
from ..models.ticket import TicketCategory, TicketPriority, TicketStatus
from .base import Coded, Schema, default
from .codes import ChannelCode, TicketCategoryCode, TicketPriorityCode, TicketStatusCode
from .identity import CustomerProfile, ErasedBefore, Identifier


class CustomerRow(Schema):
    """One person of another system."""

    identifiers: tuple[Identifier, ...] = Field(min_length=1)
    profile: CustomerProfile = CustomerProfile()
    channel: Coded[Channel, ChannelCode]
    """Where the identifiers were first seen."""


class TicketRow(Schema):
    """One ticket of another system, with its own number and times."""

    ticket_number: StrictStr = Field(min_length=1, max_length=20)
    """Which makes it unique. One such as TKT-0042 is passed over by the numbers of new tickets."""
    identifiers: tuple[Identifier, ...] = Field(min_length=1)
    """Whose it is."""
    profile: CustomerProfile = CustomerProfile()
    source_channel: Coded[Channel, ChannelCode]
    subject: StrictStr
    category: Coded[TicketCategory, TicketCategoryCode]
    priority: Coded[TicketPriority, TicketPriorityCode] = default(TicketPriority.MEDIUM)
    status: Coded[TicketStatus, TicketStatusCode] = default(TicketStatus.OPEN)
    created_at: AwareDatetime
    resolved_at: AwareDatetime | None = None
    """Of a resolved or closed one."""
    closed_at: AwareDatetime | None = None
    assigned_to: StrictStr | None = Field(default=None, max_length=255)
    escalation_reason: StrictStr | None = Field(default=None, max_length=255)
    resolution_notes: StrictStr | None = None
    extra: dict[str, Any] = Field(default_factory=dict)


class RejectedRow(Schema):
    """A row that was not stored."""

    row: int
    """Its place among the rows, from 1."""
    source: StrictStr | None = None
    """Where it stood, if the rows say."""
    code: StrictStr
    """The error's."""
    reason: StrictStr


class ImportReport(Schema):
    """What became of an import's rows. Every one is new, there already, or rejected."""

    rows: int = 0
    new: int = 0
    already_there: int = 0
    rejected: int = 0
    customers_created: int = 0
    conversations_opened: int = 0
    rejects: tuple[RejectedRow, ...] = ()
    """The first thousand that were rejected; the file has all, with the rows themselves."""
    erased_before: tuple[ErasedBefore, ...] = ()
    """Each erasure of somebody who is a customer again by these rows, for callers who pass their
    ``erasure_key``."""
