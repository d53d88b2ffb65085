"""Similarity search over articles, tickets and messages: by vector, by words, or by both."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Session

from ..embeddings import Embedder
from ..errors import TicketNotFound
from ..models import (
    Channel,
    ContentType,
    DeliveryStatus,
    KnowledgeCategory,
    MessageDirection,
    MessageRole,
    Ticket,
    TicketCategory,
    TicketPriority,
    TicketStatus,
)
from ..schemas import AnyHit, KnowledgeHit, MessageHit, ObjectType, TicketHit
from ._input import checked_limit, checked_uuid
from ._searching import (
    DEFAULT_WEIGHTS,
    FOUND,
    PARAMETERS,
    Search,
    call,
    checked_similarity,
    codes,
    hits,
    ids,
    metadata,
    numbers,
    prepared,
    statement,
    texts,
    times,
)

# What is no object (raw SQL may have stored a list) has no keys that anybody could ask for.
_EXTRA = "CASE WHEN jsonb_typeof(o.metadata) = 'object' THEN o.metadata END AS extra"
_TICKET = (
    "o.ticket_number, o.customer_id, o.conversation_id, o.subject, o.category, o.priority, o.status, "
    f"o.source_channel, o.assigned_to, o.escalation_reason, o.resolution_notes, {_EXTRA}, "
    "o.created_at, o.updated_at, o.resolved_at"
)
_KNOWLEDGE = statement(
    ObjectType.KNOWLEDGE,
    "knowledge_base",
    f"o.title, o.content, o.category, o.source, {_EXTRA}, o.created_at, o.updated_at",
)
_MESSAGES = statement(
    ObjectType.MESSAGE,
    "messages",
    "o.conversation_id, o.customer_id, o.channel, o.direction, o.role, o.content, o.content_type, "
    f"o.delivery_status, o.processing_latency_ms, {_EXTRA}, o.created_at",
)
_TICKETS = statement(ObjectType.TICKET, "tickets", _TICKET)
# Words weigh by their own table, so across tables their ranks are compared.
_SCORE = "CASE WHEN :query IS NULL THEN 1.0 / (60 + hit.text_rank) ELSE hit.score END"
_ALL = text(
    f"""
    SELECT * FROM (
        SELECT 'knowledge' AS object_type, {FOUND.replace("hit.score", f"{_SCORE} AS score")},
            o.title, o.content, NULL::uuid AS customer_id
        FROM {call(ObjectType.KNOWLEDGE, "articles")} AS hit JOIN knowledge_base AS o USING (id)
        UNION ALL
        SELECT 'ticket', {FOUND.replace("hit.score", _SCORE)}, o.subject, o.resolution_notes, o.customer_id
        FROM {call(ObjectType.TICKET)} AS hit JOIN tickets AS o USING (id)
        UNION ALL
        SELECT 'message', {FOUND.replace("hit.score", _SCORE)}, NULL, o.content, o.customer_id
        FROM {call(ObjectType.MESSAGE)} AS hit JOIN messages AS o USING (id)
    ) AS found ORDER BY score DESC, id LIMIT :max_rows
    """  # noqa: S608 - nothing of a caller's is in it
).bindparams(*PARAMETERS, bindparam("filters", type_=JSONB), bindparam("articles", type_=JSONB))
_SIMILAR = text(
    f"""
    SELECT {FOUND}, {_TICKET}
    FROM tickets AS own
    LEFT JOIN embedding_models AS present ON present.object_type = 'ticket'
    LEFT JOIN ticket_embeddings AS embedded ON embedded.ticket_id = own.id AND embedded.model = present.model
    CROSS JOIN search_objects(
        'ticket', embedded.embedding::vector, CASE WHEN embedded.embedding IS NULL THEN own.subject END,
        :max_rows, :filters, :min_similarity
    ) AS hit
    JOIN tickets AS o ON o.id = hit.id
    WHERE own.id = :ticket_id
    ORDER BY hit.score DESC, hit.id
    """  # noqa: S608
).bindparams(bindparam("filters", type_=JSONB))


def search_knowledge(
    session: Session,
    query: str | Sequence[float],
    *,
    embedder: Embedder | None = None,
    limit: int = 5,
    category: KnowledgeCategory | Collection[KnowledgeCategory] | None = None,
    source: str | Collection[str] | None = None,
    created_from: datetime | None = None,
    created_before: datetime | None = None,
    updated_from: datetime | None = None,
    updated_before: datetime | None = None,
    extra: Mapping[str, Any] | None = None,
    min_similarity: float | None = None,
    mode: str = "vector",
    weights: tuple[float, float] = DEFAULT_WEIGHTS,
    explain: bool = False,
) -> list[KnowledgeHit]:
    """The active articles that are most like ``query`` (a text or a vector), best first.

    Returns ``min(limit, matching articles)`` hits, whatever the filters: each takes one value or several, and
    ``extra`` is what an article's metadata must contain. One statement. Mode ``vector`` needs a vector, or a
    text and its embedder; ``text`` compares words and needs no embedder; ``hybrid`` does both, with
    ``weights`` for the vectors and the words. With ``embedder`` only vectors of its model are compared.

    Raises:
        InvalidValue: an empty text or one of over 10,000 characters, a text without an embedder, or a bad
            limit (1 to 1,000), filter, similarity, weight or mode.
        InvalidVector: not finite, without direction, of a wrong length, or not of the articles' model.
        EmbedderUnavailable: the embedder failed.
    """
    filters = {
        **codes("category", category, KnowledgeCategory),
        **texts("source", source),
        **times(
            created_from=created_from,
            created_before=created_before,
            updated_from=updated_from,
            updated_before=updated_before,
        ),
        **metadata(extra),
    }
    search = prepared(query, embedder, limit, min_similarity, mode, weights, explain)
    return hits(session, search, _KNOWLEDGE, [ObjectType.KNOWLEDGE], KnowledgeHit, filters=filters)


def search_messages(
    session: Session,
    query: str | Sequence[float],
    *,
    embedder: Embedder | None = None,
    limit: int = 5,
    customer_id: UUID | Collection[UUID] | None = None,
    conversation_id: UUID | Collection[UUID] | None = None,
    channel: Channel | Collection[Channel] | None = None,
    direction: MessageDirection | Collection[MessageDirection] | None = None,
    role: MessageRole | Collection[MessageRole] | None = None,
    content_type: ContentType | Collection[ContentType] | None = None,
    delivery_status: DeliveryStatus | Collection[DeliveryStatus] | None = None,
    created_from: datetime | None = None,
    created_before: datetime | None = None,
    processing_latency_ms_from: int | None = None,
    processing_latency_ms_before: int | None = None,
    extra: Mapping[str, Any] | None = None,
    min_similarity: float | None = None,
    mode: str = "vector",
    weights: tuple[float, float] = DEFAULT_WEIGHTS,
    explain: bool = False,
) -> list[MessageHit]:
    """The messages that are most like ``query``, of the whole base or of one customer, best first.

    As ``search_knowledge``. An absorbed customer's id leads to the living one. Messages are found by vector
    once ``indexing.embed_missing`` has embedded them, and by words at once.

    Raises:
        InvalidValue: as ``search_knowledge``.
        InvalidVector: likewise.
        EmbedderUnavailable: the embedder failed.
    """
    filters = {
        **ids("customer_id", customer_id),
        **ids("conversation_id", conversation_id),
        **codes("channel", channel, Channel),
        **codes("direction", direction, MessageDirection),
        **codes("role", role, MessageRole),
        **codes("content_type", content_type, ContentType),
        **codes("delivery_status", delivery_status, DeliveryStatus),
        **times(created_from=created_from, created_before=created_before),
        **numbers(
            processing_latency_ms_from=processing_latency_ms_from,
            processing_latency_ms_before=processing_latency_ms_before,
        ),
        **metadata(extra),
    }
    search = prepared(query, embedder, limit, min_similarity, mode, weights, explain)
    return hits(session, search, _MESSAGES, [ObjectType.MESSAGE], MessageHit, filters=filters)


def search_tickets(
    session: Session,
    query: str | Sequence[float],
    *,
    embedder: Embedder | None = None,
    limit: int = 5,
    ticket_number: str | Collection[str] | None = None,
    customer_id: UUID | Collection[UUID] | None = None,
    conversation_id: UUID | Collection[UUID] | None = None,
    category: TicketCategory | Collection[TicketCategory] | None = None,
    priority: TicketPriority | Collection[TicketPriority] | None = None,
    status: TicketStatus | Collection[TicketStatus] | None = None,
    source_channel: Channel | Collection[Channel] | None = None,
    assigned_to: str | Collection[str] | None = None,
    escalation_reason: str | Collection[str] | None = None,
    created_from: datetime | None = None,
    created_before: datetime | None = None,
    updated_from: datetime | None = None,
    updated_before: datetime | None = None,
    resolved_from: datetime | None = None,
    resolved_before: datetime | None = None,
    extra: Mapping[str, Any] | None = None,
    min_similarity: float | None = None,
    mode: str = "vector",
    weights: tuple[float, float] = DEFAULT_WEIGHTS,
    explain: bool = False,
) -> list[TicketHit]:
    """The tickets that are most like ``query``: how was this solved before?

    As ``search_messages``. A ticket is its subject, the first three messages of its conversation and its
    resolution notes.

    Raises:
        InvalidValue: as ``search_knowledge``.
        InvalidVector: likewise.
        EmbedderUnavailable: the embedder failed.
    """
    filters = {
        **texts("ticket_number", ticket_number),
        **ids("customer_id", customer_id),
        **ids("conversation_id", conversation_id),
        **codes("category", category, TicketCategory),
        **codes("priority", priority, TicketPriority),
        **codes("status", status, TicketStatus),
        **codes("source_channel", source_channel, Channel),
        **texts("assigned_to", assigned_to),
        **texts("escalation_reason", escalation_reason),
        **times(
            created_from=created_from,
            created_before=created_before,
            updated_from=updated_from,
            updated_before=updated_before,
            resolved_from=resolved_from,
            resolved_before=resolved_before,
        ),
        **metadata(extra),
    }
    search = prepared(query, embedder, limit, min_similarity, mode, weights, explain)
    return hits(session, search, _TICKETS, [ObjectType.TICKET], TicketHit, filters=filters)


def search_all(
    session: Session,
    query: str | Sequence[float],
    *,
    embedder: Embedder | None = None,
    limit: int = 10,
    customer_id: UUID | Collection[UUID] | None = None,
    created_from: datetime | None = None,
    created_before: datetime | None = None,
    min_similarity: float | None = None,
    mode: str = "vector",
    weights: tuple[float, float] = DEFAULT_WEIGHTS,
    explain: bool = False,
) -> list[AnyHit]:
    """Articles, tickets and messages that are most like ``query``, in one ranking and one statement.

    As ``search_knowledge``. ``customer_id`` is for tickets and messages; articles belong to nobody. Types of
    another model than ``embedder``'s are left out, and the query is refused where nothing else is found.

    Raises:
        InvalidValue: as ``search_knowledge``.
        InvalidVector: likewise.
        EmbedderUnavailable: the embedder failed.
    """
    made = times(created_from=created_from, created_before=created_before)
    filters = {**ids("customer_id", customer_id), **made}
    search = prepared(query, embedder, limit, min_similarity, mode, weights, explain)
    return hits(session, search, _ALL, list(ObjectType), AnyHit, filters=filters, articles=made)


def similar_tickets(
    session: Session,
    ticket_id: UUID,
    *,
    limit: int = 5,
    status: TicketStatus | Collection[TicketStatus] | None = None,
    min_similarity: float | None = None,
    explain: bool = False,
) -> list[TicketHit]:
    """The tickets that are most like this one, without it. One statement.

    By the ticket's stored embedding. Where it has none yet, by the words of its subject: then no similarity
    is known, and with ``min_similarity`` nothing is found.

    Raises:
        TicketNotFound: there is no such ticket.
        InvalidValue: a bad limit, status or similarity.
    """
    ticket_id = checked_uuid("ticket_id", ticket_id)
    options = {"max_rows": checked_limit(limit), "min_similarity": checked_similarity(min_similarity)}
    search = Search(options, embedder=None, explain=explain)
    filters = {"not_id": [str(ticket_id)], **codes("status", status, TicketStatus)}
    asked = _SIMILAR.bindparams(ticket_id=ticket_id)
    found = hits(session, search, asked, [ObjectType.TICKET], TicketHit, filters=filters)
    if not found and session.get(Ticket, ticket_id) is None:
        raise TicketNotFound(ticket_id)
    return found
