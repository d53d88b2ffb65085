"""What is kept about a person, and what an erasure took."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import ConfigDict, Field

from .base import Schema


class ErasurePlan(Schema):
    """What erasing a customer would do."""

    customer_id: UUID
    """The living customer."""
    customer_ids: tuple[UUID, ...]
    """And those whom it absorbed: they are erased with it."""
    rows: dict[str, int] = Field(default_factory=dict)
    """How many rows would lose something, by table; none under a legal hold."""
    foreign_rows: dict[str, int] = Field(default_factory=dict)
    """Rows of other applications that point to the customer, by table: nothing happens to them."""
    foreign_unread: dict[str, str] = Field(default_factory=dict)
    """Tables of other applications that could not be looked into, and why."""
    is_held: bool = False
    """A legal hold forbids it."""
    erased_at: datetime | None = None
    """It was done before, and would do nothing."""


class ErasureReport(Schema):
    """What an erasure took. Repeating it tells the same."""

    erasure_id: UUID
    customer_id: UUID
    customer_ids: tuple[UUID, ...]
    erased_at: datetime
    rows: dict[str, int]
    """How many rows lost something, by table."""
    remembered: int
    """Addresses that are kept as keyed hashes, so that a later import is told; 0 without a key."""
    foreign_rows: dict[str, int]
    """Rows of other applications that still point to the customer, by table: theirs to erase."""
    foreign_unread: dict[str, str]
    """Tables of other applications that could not be looked into, and why."""


class RetentionReport(Schema):
    """One batch: go on with ``after=next`` until that is None."""

    rows: int
    next: str | None


class _Exported(Schema):
    """A row, without what is only technical."""

    model_config = ConfigDict(extra="ignore")


class ExportedIdentifier(_Exported):
    identifier_type: str
    identifier_value: str
    channel: str
    verified: bool | None
    created_at: datetime | None


class ExportedRoute(_Exported):
    channel: str
    account: str
    identifier_type: str
    identifier_value: str
    address: str
    thread_id: str | None
    group_id: str | None
    created_at: datetime
    used_at: datetime


class ExportedConversation(_Exported):
    id: UUID
    channel: str
    status: str | None
    sentiment_score: float | None
    resolution_type: str | None
    escalation_reason: str | None
    metadata: Any
    created_at: datetime | None
    closed_at: datetime | None
    is_others: bool
    """It belongs to another customer; of it, only what this one wrote is here."""
    routes: tuple[ExportedRoute, ...]


class ExportedMessage(_Exported):
    id: UUID
    conversation_id: UUID
    channel: str
    direction: str
    role: str
    content: str
    content_type: str | None
    delivery_status: str | None
    metadata: Any
    created_at: datetime | None
    provider_message_ids: tuple[str, ...]
    sent_from: str | None
    """The account of ours that it waits to be sent from."""


class ExportedEntry(_Exported):
    """An entry of a ticket's record: of its status, or of one of its fields."""

    field: str
    old_value: str | None
    new_value: str | None
    changed_by: str
    changed_at: datetime
    comment: str | None


class ExportedTicket(_Exported):
    id: UUID
    ticket_number: str
    conversation_id: UUID | None
    subject: str
    category: str
    priority: str | None
    status: str | None
    source_channel: str
    assigned_to: str | None
    escalation_reason: str | None
    resolution_notes: str | None
    metadata: Any
    created_at: datetime | None
    resolved_at: datetime | None
    record: tuple[ExportedEntry, ...]
    follows: tuple[UUID, ...]
    links_made_by: tuple[str, ...]


class ExportedDecision(_Exported):
    """An identity event."""

    event: str
    customer_id: UUID
    other_customer_id: UUID | None
    actor: str
    reason: str | None
    details: Any
    created_at: datetime


class ExportedMerge(_Exported):
    survivor_id: UUID
    absorbed_id: UUID
    actor: str
    reason: str
    absorbed: Any
    """The absorbed customer's row as it was; None where it is another person's."""
    filled: Any
    merged_at: datetime
    undone_at: datetime | None
    undone_by: str | None
    undo_reason: str | None
    other_applications_rows: tuple[Any, ...]


class ExportedMeasurement(_Exported):
    metric_type: str
    channel: str | None
    value: float
    metadata: Any
    recorded_at: datetime | None


class ExportedDeliveryReport(_Exported):
    channel: str
    account: str
    provider_message_id: str
    recipient: str | None
    status: str
    code: str | None
    reason: str | None
    received_at: datetime


class ExportedToolCall(_Exported):
    """What an agent's program did in a conversation."""

    conversation_id: UUID
    idempotency_key: str
    tool: str
    actor: str
    result: Any
    called_at: datetime


class ExportedHold(_Exported):
    """A legal hold, also one that has ended."""

    actor: str
    reason: str
    held_at: datetime
    released_at: datetime | None
    released_by: str | None
    release_reason: str | None


class CustomerExport(Schema):
    """Everything that is kept about one person."""

    format: str = "crm-customer-export/1"
    exported_at: datetime
    customer_id: UUID
    absorbed_ids: tuple[UUID, ...]
    """Customers who became part of this one."""
    erased_at: datetime | None
    """When the personal data was erased; what is here is what was left."""
    is_held: bool
    """A legal hold forbids an erasure."""
    holds: tuple[ExportedHold, ...]
    email: str
    name: str | None
    phone: str | None
    company: str | None
    plan: str | None
    metadata: Any
    created_at: datetime | None
    updated_at: datetime | None
    identifiers: tuple[ExportedIdentifier, ...]
    conversations: tuple[ExportedConversation, ...]
    messages: tuple[ExportedMessage, ...]
    tickets: tuple[ExportedTicket, ...]
    decisions: tuple[ExportedDecision, ...]
    merges: tuple[ExportedMerge, ...]
    measurements: tuple[ExportedMeasurement, ...]
    """Those whose facts name the person."""
    tool_calls: tuple[ExportedToolCall, ...]
    delivery_reports: tuple[ExportedDeliveryReport, ...]
    """Those that wait for the message that they are about."""
