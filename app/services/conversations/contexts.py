"""What an agent may know when it answers: read in one call, and cut to what may be disclosed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Row, Uuid, bindparam, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Session

from ...embeddings import Embedder
from ...errors import ConversationNotFound, InvalidVector
from ...models import IdentifierType, ObjectType
from ...models.knowledge import EMBEDDED_BY
from ...schemas import (
    AgentContext,
    Assurance,
    ContextArticle,
    ContextChannel,
    ContextCustomer,
    ContextMessage,
    ContextTicket,
    Disclosure,
    DisclosureReason,
    Identifier,
    KnowledgeHit,
    SearchMode,
    SolvedTicket,
    TranscriptEntry,
)
from ...schemas.prompts import cut, estimate_tokens
from .._shared.checks import checked_flag, checked_limit, checked_uuid
from ..channel_settings import LENGTH_UNITS
from ..indexing.embedding import checked_model
from ..search import statements
from ..search.hits import Target, fetch_hits
from ..search.options import DEFAULT_WEIGHTS, checked_options
from .assurances import LEAST_ASSURANCE
from .solutions import find_solved
from .transcripts import transcript

_MAX_TICKETS = 10
_MAX_NAMES = 5
_QUESTION_TOKENS = 700
_MESSAGES_TOKENS = 4_000
_MESSAGE_TOKENS = 1_500
_ARTICLES_TOKENS = 2_500
_LINE_TOKENS = 60

_ARTICLES = Target(statements.KNOWLEDGE, (ObjectType.KNOWLEDGE,), KnowledgeHit)
# What is not to be disclosed does not leave the database.
_FACTS = (
    text(f"""
    SELECT c.id, c.customer_id, c.channel, c.status, least.*,
        CASE WHEN least.discloses THEN customer.name ELSE profile.value ->> 'name' END AS name,
        CASE WHEN least.discloses THEN customer.company ELSE profile.value ->> 'company' END
            AS company,
        CASE WHEN least.discloses THEN customer.plan END AS plan,
        route.identifier_type, route.address,
        config.is_enabled, config.tone, config.max_response_length, config.response_template,
        open_tickets.rows AS tickets,
        (
            SELECT min({EMBEDDED_BY}) FROM knowledge_base WHERE is_active AND embedding IS NOT NULL
        ) AS first_model,
        (
            SELECT max({EMBEDDED_BY}) FROM knowledge_base WHERE is_active AND embedding IS NOT NULL
        ) AS last_model
    FROM conversations AS c
    JOIN customers AS customer ON customer.id = c.customer_id
    CROSS JOIN LATERAL ({LEAST_ASSURANCE}) AS least
    LEFT JOIN channel_configs AS config ON config.channel = c.channel
    LEFT JOIN LATERAL (
        SELECT r.identifier_type, r.address FROM conversation_routes AS r WHERE r.conversation_id = c.id
        ORDER BY r.used_at DESC, r.id DESC LIMIT 1
    ) AS route ON true
    LEFT JOIN LATERAL (
        SELECT m.metadata -> 'profile' AS value FROM messages AS m
        WHERE m.conversation_id = c.id AND m.direction = 'inbound' AND m.created_at IS NOT NULL
        ORDER BY m.created_at DESC, m.id DESC LIMIT 1
    ) AS profile ON true
    CROSS JOIN LATERAL (
        SELECT COALESCE(jsonb_agg(to_jsonb(ticket)), '[]') AS rows FROM (
            SELECT t.id, t.ticket_number, left(t.subject, 500) AS subject, t.status, t.priority, t.category,
                GREATEST(extract(epoch FROM statement_timestamp() - t.created_at), 0) AS age,
                CASE t.status WHEN 'waiting' THEN 'customer' ELSE 'us' END AS waiting_for,
                COALESCE(t.conversation_id = c.id, false) AS of_this_conversation
            FROM tickets AS t
            WHERE t.customer_id = c.customer_id AND t.status NOT IN ('resolved', 'closed')
                AND (least.discloses OR t.conversation_id = c.id)
            ORDER BY t.created_at, t.id LIMIT {_MAX_TICKETS}
        ) AS ticket
    ) AS open_tickets
    WHERE c.id = :conversation_id
    """)  # noqa: S608
    .bindparams(bindparam("conversation_id", type_=Uuid()))
    .columns(id=Uuid(), customer_id=Uuid(), tickets=JSONB())
)


def context(
    session: Session,
    conversation_id: UUID,
    *,
    embedder: Embedder | None = None,
    vector: Sequence[float] | None = None,
    messages: int = 20,
    articles: int = 3,
    notes: bool = False,
) -> AgentContext:
    """All that an agent needs to answer in the conversation, and nothing that it must not tell.

    The customer and the channel's voice, the last ``messages``, open tickets, the best ``articles`` and how
    tickets like this were solved, by meaning and words of the customer's last message. ``vector`` is that
    message, embedded before by ``embeddings.embed_query``, so that no embedder is called here; with neither,
    words alone count. At most four statements.

    What may be told follows from how sure it is who wrote what is unanswered, and who reads the answer.
    Unless all of it is verified, and in a group in any case, nothing of another conversation is read: no
    profile but what was given here, no ticket of elsewhere, no solved ticket, and no note. ``notes`` adds
    notes of colleagues in this conversation, where that may be.

    Raises:
        ConversationNotFound: there is no such conversation.
        InvalidValue: ``messages`` or ``articles`` is none of 1 to 100, or ``embedder`` has no model.
        InvalidVector: not finite, without direction, of a wrong length, or not of the articles' model.
        EmbedderUnavailable: the embedder failed; without it, words are searched.
    """
    conversation_id = checked_uuid("conversation_id", conversation_id)
    notes, messages = checked_flag("notes", notes), checked_limit(messages, maximum=100)
    articles = checked_limit(articles, maximum=100)
    model = None if embedder is None else checked_model(embedder)
    session.flush()
    facts = session.execute(_FACTS, {"conversation_id": conversation_id}).one_or_none()
    if facts is None:
        raise ConversationNotFound(conversation_id)
    if model is not None and facts.first_model is not None:
        _check_model(model, {facts.first_model, facts.last_model})
    page = transcript(session, conversation_id, limit=messages, notes=notes and facts.discloses)
    shown = _messages(page.items)
    question = _question(page.items)
    hits: list[KnowledgeHit] = []
    solved: list[SolvedTicket] = []
    if question is not None:
        mode = SearchMode.TEXT if embedder is None and vector is None else SearchMode.HYBRID
        options = checked_options(question, vector, embedder, articles, None, None, mode, DEFAULT_WEIGHTS)
        hits = fetch_hits(session, _ARTICLES, {**options, "filters": {}}, refuse_other_models=False)
        if facts.discloses:
            solved = find_solved(session, options, facts.customer_id, refuse_other_models=False)
    return AgentContext(
        conversation_id=conversation_id,
        customer_id=facts.customer_id,
        status=facts.status,
        channel=_channel(facts),
        customer=_customer(facts),
        assurance=facts.assurance,
        disclosure=Disclosure(other_conversations=facts.discloses, reason=_reason(facts)),
        messages=shown,
        has_earlier_messages=page.next is not None or len(shown) < len(page.items),
        question=question,
        open_tickets=[
            ContextTicket(**{**ticket, "subject": cut(ticket["subject"], _LINE_TOKENS)})
            for ticket in facts.tickets
        ],
        articles=_articles(hits),
        solved_tickets=solved,
    )


def _check_model(model: str, models: set[str]) -> None:
    if model not in models:
        raise InvalidVector(f"the question is of the model {model}, articles of {', '.join(sorted(models))}")


def _reason(facts: Row[Any]) -> DisclosureReason:
    if not facts.has_written:
        return DisclosureReason.NOBODY_WROTE
    if facts.assurance != Assurance.VERIFIED:
        return DisclosureReason.CLAIMED
    return DisclosureReason.GROUP if facts.others_read else DisclosureReason.VERIFIED


def _line(value: str | None) -> str | None:
    return None if value is None else cut(value, _LINE_TOKENS)


def _customer(facts: Row[Any]) -> ContextCustomer:
    address = None
    if facts.address is not None:
        address = Identifier(type=IdentifierType(facts.identifier_type), value=facts.address)
    return ContextCustomer(
        name=_line(facts.name), company=_line(facts.company), plan=facts.plan, address=address
    )


def _channel(facts: Row[Any]) -> ContextChannel:
    return ContextChannel(
        channel=facts.channel,
        is_enabled=facts.is_enabled is not False,
        tone=facts.tone,
        max_response_length=facts.max_response_length,
        length_unit=None if facts.max_response_length is None else LENGTH_UNITS.get(facts.channel),
        response_template=None if facts.response_template is None else cut(facts.response_template, 300),
    )


def _question(entries: Sequence[TranscriptEntry]) -> str | None:
    """The last thing that the customer wrote, if it is among the messages that are read."""
    for entry in entries:
        is_said = entry.direction == "inbound" and not entry.auto_reply and entry.event in {None, "edit"}
        if is_said and (words := (entry.new_text.strip() or (entry.subject or "").strip())):
            return cut(words, _QUESTION_TOKENS)
    return None


def _messages(entries: Sequence[TranscriptEntry]) -> list[ContextMessage]:
    """The entries, which are newest first, in the order of their times, as far as there is room."""
    shown: list[ContextMessage] = []
    room = _MESSAGES_TOKENS
    for entry in entries:
        if room < _LINE_TOKENS:
            break
        words = cut(entry.new_text, min(room, _MESSAGE_TOKENS))
        # What surrounds a text costs something too.
        room -= estimate_tokens(words) + _LINE_TOKENS
        shown.append(
            ContextMessage(
                id=entry.id,
                direction=entry.direction,
                role=entry.role,
                text=words,
                is_cut=words != entry.new_text,
                subject=_line(entry.subject),
                attachments=[
                    cut(attachment.filename or attachment.media_type, _LINE_TOKENS // 3)
                    for attachment in entry.attachments[:_MAX_NAMES]
                ],
                created_at=entry.created_at,
                assurance=entry.assurance,
                delivery_status=entry.delivery_status if entry.direction == "outbound" else None,
                auto_reply=entry.auto_reply,
                internal=entry.internal,
                event=_line(entry.event),
            )
        )
    return shown[::-1]


def _articles(hits: Sequence[KnowledgeHit]) -> list[ContextArticle]:
    room, shown = _ARTICLES_TOKENS, []
    for hit in hits:
        if room < _LINE_TOKENS:
            break
        content = cut(hit.content, room if len(hits) == 1 else min(room, _ARTICLES_TOKENS * 2 // 3))
        room -= estimate_tokens(content) + _LINE_TOKENS
        shown.append(
            ContextArticle(
                id=hit.id,
                title=cut(hit.title, _LINE_TOKENS),
                content=content,
                category=hit.category,
                score=hit.score,
                similarity=hit.similarity,
            )
        )
    return shown
