"""Similarity search over articles, tickets and messages: by vector, by words, or by both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack
from uuid import UUID

from sqlalchemy.orm import Session

from ...embeddings import Embedder
from ...errors import TicketNotFound
from ...models import Ticket
from ...schemas import (
    AnyHit,
    CommonFilters,
    KnowledgeFilters,
    KnowledgeHit,
    MessageFilters,
    MessageHit,
    ObjectType,
    OneOrSeveral,
    SearchMode,
    SearchModeCode,
    TicketFilters,
    TicketHit,
    TicketStatusCode,
)
from .._shared.checks import checked_flag, checked_limit, checked_uuid
from .._shared.lists import checked_filters
from . import statements
from .hits import Target, fetch_documents, fetch_hits
from .options import DEFAULT_WEIGHTS, checked_around, checked_options, checked_similarity

_KNOWLEDGE = Target(statements.KNOWLEDGE, (ObjectType.KNOWLEDGE,), KnowledgeHit)
_KNOWLEDGE_AROUND = Target(statements.KNOWLEDGE_AROUND, (ObjectType.KNOWLEDGE,), KnowledgeHit)
_MESSAGES = Target(statements.MESSAGES, (ObjectType.MESSAGE,), MessageHit)
_TICKETS = Target(statements.TICKETS, (ObjectType.TICKET,), TicketHit)
_SIMILAR_TICKETS = Target(statements.SIMILAR_TICKETS, (ObjectType.TICKET,), TicketHit)
_ALL = Target(statements.ALL, tuple(ObjectType), AnyHit)


def search_knowledge(
    session: Session,
    query: str | Sequence[float],
    *,
    vector: Sequence[float] | None = None,
    embedder: Embedder | None = None,
    limit: int = 5,
    min_similarity: float | None = None,
    min_score: float | None = None,
    mode: SearchModeCode = SearchMode.VECTOR,
    weights: tuple[float, float] = DEFAULT_WEIGHTS,
    explain: bool = False,
    around: int = 0,
    grouped: bool = False,
    **filters: Unpack[KnowledgeFilters],
) -> list[KnowledgeHit]:
    """The active articles that are most like ``query`` (a text or a vector), best first.

    Returns ``min(limit, matching articles)`` hits, whatever the filters. One statement. Mode ``vector`` needs
    a vector, or a text and its embedder; ``text`` compares words and needs no embedder; ``hybrid`` does both,
    with ``weights`` for the vectors and the words. With ``embedder`` only vectors of its model are compared.
    Hits of less confidence than ``min_score`` are left out; a hit is ``confident`` where its confidence
    reaches what ``calibrate`` has measured for the same model, mode and weights. With ``around`` (up to 10) a
    hit of an ingested document carries so many of the sections ``before`` and ``after`` it that are in use.
    ``grouped``: one hit, the best, per document, with the document's others in ``more``; ``limit`` is then
    one of documents, among the 1,000 best articles; a second flight where one document has most of them.

    ``vector`` is the text's own, embedded before: then no embedder is called here, in any mode, as it must
    not be on an event loop. ``embeddings.embed_query`` makes it.

    Raises:
        InvalidValue: an empty text or one of over 10,000 characters, a text without an embedder, or a bad
            limit (1 to 1,000), filter, similarity, score, weight, mode, ``around`` or ``grouped``.
        InvalidVector: not finite, without direction, of a wrong length, or not of the articles' model.
        EmbedderUnavailable: the embedder failed.
    """
    parameters = {
        "filters": checked_filters(KnowledgeFilters, filters),
        **checked_options(query, vector, embedder, limit, min_similarity, min_score, mode, weights),
    }
    if checked_around(around):
        target = _KNOWLEDGE_AROUND
        parameters["around"] = around
    else:
        target = _KNOWLEDGE
    if checked_flag("grouped", grouped):
        return fetch_documents(session, target, parameters, explain=explain)
    return fetch_hits(session, target, parameters, explain=explain)


def search_messages(
    session: Session,
    query: str | Sequence[float],
    *,
    vector: Sequence[float] | None = None,
    embedder: Embedder | None = None,
    limit: int = 5,
    min_similarity: float | None = None,
    min_score: float | None = None,
    mode: SearchModeCode = SearchMode.VECTOR,
    weights: tuple[float, float] = DEFAULT_WEIGHTS,
    explain: bool = False,
    **filters: Unpack[MessageFilters],
) -> list[MessageHit]:
    """The messages that are most like ``query``, of the whole base or of one customer, best first.

    As ``search_knowledge``. An absorbed customer's id leads to the living one. Messages are found by vector
    once ``indexing.embed_missing`` has embedded them, and by words at once.

    Raises:
        InvalidValue: as ``search_knowledge``.
        InvalidVector: likewise.
        EmbedderUnavailable: the embedder failed.
    """
    parameters = {
        "filters": checked_filters(MessageFilters, filters),
        **checked_options(query, vector, embedder, limit, min_similarity, min_score, mode, weights),
    }
    return fetch_hits(session, _MESSAGES, parameters, explain=explain)


def search_tickets(
    session: Session,
    query: str | Sequence[float],
    *,
    vector: Sequence[float] | None = None,
    embedder: Embedder | None = None,
    limit: int = 5,
    min_similarity: float | None = None,
    min_score: float | None = None,
    mode: SearchModeCode = SearchMode.VECTOR,
    weights: tuple[float, float] = DEFAULT_WEIGHTS,
    explain: bool = False,
    **filters: Unpack[TicketFilters],
) -> list[TicketHit]:
    """The tickets that are most like ``query``: how was this solved before?

    As ``search_messages``. A ticket is its subject, the first three messages of its conversation and its
    resolution notes.

    Raises:
        InvalidValue: as ``search_knowledge``.
        InvalidVector: likewise.
        EmbedderUnavailable: the embedder failed.
    """
    parameters = {
        "filters": checked_filters(TicketFilters, filters),
        **checked_options(query, vector, embedder, limit, min_similarity, min_score, mode, weights),
    }
    return fetch_hits(session, _TICKETS, parameters, explain=explain)


def search_all(
    session: Session,
    query: str | Sequence[float],
    *,
    vector: Sequence[float] | None = None,
    embedder: Embedder | None = None,
    limit: int = 10,
    min_similarity: float | None = None,
    min_score: float | None = None,
    mode: SearchModeCode = SearchMode.VECTOR,
    weights: tuple[float, float] = DEFAULT_WEIGHTS,
    explain: bool = False,
    **filters: Unpack[CommonFilters],
) -> list[AnyHit]:
    """Articles, tickets and messages that are most like ``query``, in one ranking and one statement.

    As ``search_knowledge``. ``customer_id`` is for tickets and messages; articles belong to nobody. Types of
    another model than ``embedder``'s are left out, and the query is refused where nothing else is found.

    Raises:
        InvalidValue: as ``search_knowledge``.
        InvalidVector: likewise.
        EmbedderUnavailable: the embedder failed.
    """
    common = checked_filters(CommonFilters, filters)
    parameters = {
        "filters": common,
        "article_filters": {column: value for column, value in common.items() if column != "customer_id"},
        **checked_options(query, vector, embedder, limit, min_similarity, min_score, mode, weights),
    }
    return fetch_hits(session, _ALL, parameters, explain=explain)


def similar_tickets(
    session: Session,
    ticket_id: UUID,
    *,
    limit: int = 5,
    status: OneOrSeveral[TicketStatusCode] | None = None,
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
    parameters = {
        "ticket_id": ticket_id,
        "max_rows": checked_limit(limit),
        "min_similarity": checked_similarity(min_similarity),
        "filters": {"not_id": [str(ticket_id)], **checked_filters(TicketFilters, {"status": status})},
    }
    hits = fetch_hits(session, _SIMILAR_TICKETS, parameters, explain=explain)
    if not hits and session.get(Ticket, ticket_id) is None:
        raise TicketNotFound(ticket_id)
    return hits
