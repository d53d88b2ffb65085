"""What a search finds."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from ..models.channel import Channel
from ..models.conversation import ContentType, DeliveryStatus, MessageDirection, MessageRole
from ..models.embedding import ObjectType
from ..models.knowledge import KnowledgeCategory
from ..models.ticket import TicketCategory, TicketPriority, TicketStatus
from .base import OrText, Schema


class SearchMode(StrEnum):
    """How a search compares."""

    VECTOR = "vector"
    """By meaning, or by whatever the embedder understands."""
    TEXT = "text"
    """By words, the rarest first; needs no embedder."""
    HYBRID = "hybrid"
    """By both: the mean of the similarity and the words' score."""


class Explanation(Schema):
    """Where a hit stands on each side of a search; None where a side does not know it."""

    vector_rank: int | None
    similarity: float | None
    text_rank: int | None
    text_score: float | None
    """Of its words that the query has, weighed as BM25 does, of all that could be had: from 0 to 1."""
    text_coverage: float | None
    """The part of the query's words, weighed by their rarity, that it has: from 0 to 1."""
    confidence: float
    """The score, of the first hit the mean of its own and the next one's: one hit alone may be chance.

    ``min_score`` and the threshold of ``confident`` are compared with it.
    """


class Hit(Schema):
    """What all hits have."""

    id: UUID
    similarity: float | None
    """1 - cosine distance: 1 is equal, 0 unrelated. None in text mode, and for what has no embedding yet."""
    score: float
    """What hits are ordered by: the similarity, the words' score, or the mean of both by their weights."""
    confident: bool = False
    """Whether its confidence reaches what ``search.calibrate`` has measured; False where nobody has."""
    explanation: Explanation | None = None
    """With ``explain=True``."""


class Section(Schema):
    """A piece of a document, beside a hit."""

    id: UUID
    title: str
    content: str


class KnowledgeHit(Hit):
    """An article."""

    title: str
    content: str
    category: KnowledgeCategory
    source: str | None
    extra: dict[str, Any] | None
    created_at: datetime | None
    updated_at: datetime | None
    before: Sequence[Section] = ()
    """With ``around``: the sections before it in its document, in their order."""
    after: Sequence[Section] = ()
    """Those after it."""
    more: Sequence[KnowledgeHit] = ()
    """With ``grouped``: the other hits of the same document, best first."""


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


class EmbeddingEstimate(Schema):
    """What it takes to embed one type of object completely."""

    object_type: ObjectType
    objects: int
    """Those without an embedding of their present text by the model."""
    texts: int
    """Different texts among them that the embedder would get; blank ones need no embedder."""
    tokens: int
    """About as many, counted as a quarter of the texts' bytes."""


class RefusedText(Schema):
    """An object whose text an embedder refuses, while it takes others."""

    id: UUID
    model: str | None
    failures: int
    """So often was this text refused."""
    try_at: datetime
    """When it is tried again: after a minute, and then twice as long each time, at most a day."""


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
    refused: int = 0
    """Those without an embedding because an embedder refused their text."""
    refused_texts: tuple[RefusedText, ...] = ()
    """The thousand of them that are tried first."""


class Calibration(Schema):
    """What ``search.calibrate`` has measured."""

    threshold: float
    """The confidence from which a hit is an answer."""
    answered: float
    """The part of the questions with an answer that have a confident hit."""
    refused: float
    """The part of those without an answer that have none."""
    calibrated_at: datetime


class AnsweredQuestions(Schema):
    """Questions of one category of tickets."""

    category: OrText[TicketCategory]
    questions: int
    unanswered: int


class QuestionReport(Schema):
    """How many questions of customers the knowledge base answers."""

    threshold: float | None
    """The confidence from which a hit is an answer; None where nobody has calibrated: nothing is counted."""
    questions: int = 0
    unanswered: int = 0
    categories: tuple[AnsweredQuestions, ...] = ()
    ticket_numbers: tuple[str, ...] = ()
    """The tickets whose question has no answer, the latest first."""
