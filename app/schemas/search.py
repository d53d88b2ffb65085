"""What a search finds."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from ..models.channel import Channel
from ..models.conversation import ContentType, DeliveryStatus, MessageDirection, MessageRole
from ..models.knowledge import KnowledgeCategory
from ..models.ticket import TicketCategory, TicketPriority, TicketStatus
from .base import Schema


class SearchMode(StrEnum):
    """How a search compares."""

    VECTOR = "vector"
    """By meaning, or by whatever the embedder understands."""
    TEXT = "text"
    """By words, the rarest first; needs no embedder."""
    HYBRID = "hybrid"
    """By both, fused by their ranks."""


class ObjectType(StrEnum):
    """What can be searched."""

    KNOWLEDGE = "knowledge"
    MESSAGE = "message"
    TICKET = "ticket"


class Explanation(Schema):
    """Where a hit stands on each side of a search; None where a side does not know it."""

    vector_rank: int | None
    similarity: float | None
    text_rank: int | None
    text_score: float | None
    """Of the words that it shares with the query, as BM25 weighs them: comparable within one search only."""
    text_coverage: float | None
    """The part of the query's words, weighed by their rarity, that it has: from 0 to 1."""


class Hit(Schema):
    """What all hits have."""

    id: UUID
    similarity: float | None
    """1 - cosine distance: 1 is equal, 0 unrelated. None in text mode, and for what has no embedding yet."""
    score: float
    """What hits are ordered by: the similarity, the text score, or the fused ranks."""
    explanation: Explanation | None = None
    """With ``explain=True``."""


class KnowledgeHit(Hit):
    """An article."""

    title: str
    content: str
    category: KnowledgeCategory
    source: str | None
    extra: dict[str, Any] | None
    created_at: datetime | None
    updated_at: datetime | None


class MessageHit(Hit):
    """A message."""

    conversation_id: UUID
    customer_id: UUID
    channel: Channel
    direction: MessageDirection
    role: MessageRole
    content: str
    content_type: ContentType | None
    delivery_status: DeliveryStatus | None
    processing_latency_ms: int | None
    extra: dict[str, Any] | None
    created_at: datetime | None


class TicketHit(Hit):
    """A ticket."""

    ticket_number: str
    customer_id: UUID
    conversation_id: UUID | None
    subject: str
    category: TicketCategory
    priority: TicketPriority | None
    status: TicketStatus | None
    source_channel: Channel
    assigned_to: str | None
    escalation_reason: str | None
    resolution_notes: str | None
    extra: dict[str, Any] | None
    created_at: datetime | None
    updated_at: datetime | None
    resolved_at: datetime | None


class AnyHit(Hit):
    """An article, a message or a ticket."""

    object_type: ObjectType
    title: str | None
    """An article's title or a ticket's subject."""
    content: str | None
    """An article's or a message's text, or how a ticket was solved."""
    customer_id: UUID | None


class EmbeddingStatus(Schema):
    """How far the embeddings of one type of object are."""

    object_type: ObjectType
    model: str | None
    """The model that answers; None where there is none yet, or nobody kept its name."""
    total: int
    """Objects that should have an embedding."""
    current: int
    """Those that have one of their present text, by that model."""
    stale: int
    """Those whose text has changed since, or whose embedding is of another or of an unknown model."""
    missing: int
    models: dict[str, int]
    """Stored embeddings by model, also by one that is being prepared."""
