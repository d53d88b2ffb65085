"""Which questions of customers the knowledge base does not answer."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime

from sqlalchemy import DateTime, Integer, bindparam, text
from sqlalchemy.orm import Session

from ...embeddings import Embedder
from ...errors import InvalidValue
from ...schemas import AnsweredQuestions, QuestionReport, SearchMode
from .._shared.checks import checked_limit, checked_time
from .calibration import find_threshold
from .options import MAX_QUERY
from .searches import search_knowledge

_ENOUGH = 2

_QUESTIONS = text("""
    SELECT t.ticket_number, t.category, left(COALESCE(NULLIF(btrim(asked.words), ''), t.subject), :max_length)
        AS question
    FROM tickets AS t
    LEFT JOIN LATERAL (
        SELECT COALESCE(m.metadata ->> 'new_text', m.content) AS words FROM messages AS m
        WHERE m.conversation_id = t.conversation_id AND m.direction = 'inbound'
            AND m.created_at <= t.created_at
            AND NOT COALESCE(m.metadata ?| ARRAY['auto_reply', 'event', 'internal'], false)
        ORDER BY m.created_at DESC, m.id DESC LIMIT 1
    ) AS asked ON true
    WHERE t.created_at >= :since AND t.created_at < :until
    ORDER BY t.created_at DESC, t.id DESC LIMIT :max_rows
""").bindparams(
    bindparam("since", type_=DateTime(timezone=True)),
    bindparam("until", type_=DateTime(timezone=True)),
    bindparam("max_rows", type_=Integer()),
    bindparam("max_length", type_=Integer()),
)


def unanswered(
    session: Session, *, since: datetime, until: datetime, embedder: Embedder, limit: int = 200
) -> QuestionReport:
    """How many questions of the tickets opened in ``[since, until)`` the knowledge base does not answer now.

    A ticket's question is the customer's last message before it was opened, else its subject; the latest
    ``limit`` (1 to 1,000) are searched for by meaning and words. A question has an answer where the best hit
    is ``confident``; where nobody has calibrated, nothing is searched and ``threshold`` is None. One flight
    and one call of the embedder per question; writes nothing.

    Raises:
        InvalidValue: a time without a zone, ``until`` before ``since``, or a bad limit.
        InvalidVector: the articles are of another model.
        EmbedderUnavailable: the embedder failed.
    """
    if checked_time("until", until) < checked_time("since", since):
        raise InvalidValue("until", "must not be before since")
    limit = checked_limit(limit)
    session.flush()
    threshold = find_threshold(session, embedder=embedder, mode=SearchMode.HYBRID)
    if threshold is None:
        return QuestionReport(threshold=None)
    place = {"since": since, "until": until, "max_rows": limit, "max_length": MAX_QUERY}
    rows = [row for row in session.execute(_QUESTIONS, place) if row.question.strip()]
    categories: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0])
    numbers: list[str] = []
    for row in rows:
        # A first hit's confidence is also the second one's.
        hits = search_knowledge(
            session, row.question, embedder=embedder, mode=SearchMode.HYBRID, limit=_ENOUGH
        )
        has_answer = any(hit.confident for hit in hits[:1])
        counts = categories[row.category]
        counts[0] += 1
        if not has_answer:
            counts[1] += 1
            numbers.append(row.ticket_number)
    return QuestionReport(
        threshold=threshold,
        questions=len(rows),
        unanswered=len(numbers),
        categories=tuple(
            AnsweredQuestions(category=category, questions=questions, unanswered=missing)
            for category, (questions, missing) in sorted(categories.items())
        ),
        ticket_numbers=tuple(numbers),
    )
