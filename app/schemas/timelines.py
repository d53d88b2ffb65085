"""What happened to one customer, of every kind, in one order."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from ..models.channel import Channel
from ..models.conversation import MessageDirection, MessageRole
from .base import OrText, Schema
from .identity import Assurance


class TimelineKind(StrEnum):
    MESSAGE = "message"
    TICKET = "ticket"
    """A ticket was opened."""
    STATUS_CHANGE = "status_change"
    FIELD_CHANGE = "field_change"
    """A ticket got another assignee, category or priority."""
    IDENTITY_EVENT = "identity_event"
    MERGE = "merge"
    """Customers became one, or two again."""


class TimelineEntry(Schema):
    """One thing that happened; fields that its kind does not have are None."""

    id: UUID
    """Of the message, the ticket, the record's entry or the event."""
    kind: TimelineKind
    created_at: datetime
    actor: str | None = None
    """Who did it, where that is on record."""
    channel: OrText[Channel] | None = None
    conversation_id: UUID | None = None
    ticket_id: UUID | None = None
    ticket_number: str | None = None
    text: str | None = None
    """A message's content, a ticket's subject, the comment on a change, the reason of an event."""
    direction: OrText[MessageDirection] | None = None
    role: OrText[MessageRole] | None = None
    assurance: Assurance | None = None
    """Of an inbound message: whether the channel proved who wrote it."""
    internal: bool = False
    """A note among ourselves: not for the customer's eyes."""
    field: str | None = None
    """What changed of a ticket: ``status``, ``assigned_to``, ``category``, ``priority`` or ``metadata``."""
    old_value: str | None = None
    new_value: str | None = None
    event: str | None = None
    """An identity event's name, such as ``attached`` or ``merged``."""
    other_customer_id: UUID | None = None
    merge_id: UUID | None = None
