"""The statements of the searches: calls of the database's function, with the columns of what it finds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sqlalchemy import column
from sqlalchemy.sql.selectable import TextualSelect

from ...schemas import ObjectType
from ..indexing.parameters import typed


def _of(table: str, *names: str) -> dict[str, str]:
    return {name: f"{table}.{name}" for name in names}


def _list(columns: Mapping[str, str]) -> str:
    return ", ".join(f"{expression} AS {name}" for name, expression in columns.items())


def _statement(sql: str, columns: Iterable[str]) -> TextualSelect:
    """With the names of its columns, so that what a row looks like is found out once."""
    return typed(sql).columns(*map(column, columns))


_HIT = {
    **_of("hit", "similarity", "confidence"),
    "confident": "COALESCE(hit.confidence >= least.threshold, false)",
    **_of("hit", "vector_rank", "text_rank", "text_score", "text_coverage"),
}
# What is no object (raw SQL may have stored a list) has no keys that anybody could ask for.
_EXTRA = {"extra": "CASE WHEN jsonb_typeof(o.metadata) = 'object' THEN o.metadata END"}
_ARTICLE = _of("o", "title", "content", "category", "source") | _EXTRA | _of("o", "created_at", "updated_at")
_MESSAGE = {
    **_of("o", "conversation_id", "customer_id", "channel", "direction", "role", "content", "content_type"),
    **_of("o", "delivery_status", "processing_latency_ms"),
    **_EXTRA,
    **_of("o", "created_at"),
}
_TICKET = {
    **_of("o", "ticket_number", "customer_id", "conversation_id", "subject", "category", "priority"),
    **_of("o", "status", "source_channel", "assigned_to", "escalation_reason", "resolution_notes"),
    **_EXTRA,
    **_of("o", "created_at", "updated_at", "resolved_at"),
}


def _call(object_type: ObjectType, filters: str = "filters") -> str:
    return (
        f"search_objects('{object_type}', :query, :query_text, :max_rows, :{filters}, :min_similarity, "
        ":query_model, :vector_weight, :text_weight, :query_dimensions) AS hit"
    )


def _threshold(object_type: ObjectType) -> str:
    """That of the query's model; for a bare vector, of the model by which the object is embedded."""
    if object_type is ObjectType.KNOWLEDGE:
        model, dimensions = (f"o.metadata #>> '{{embedding,{name}}}'" for name in ("model", "dimensions"))
    else:
        model, dimensions = (
            f"(SELECT {column} FROM embedding_models WHERE object_type = '{object_type}')"  # noqa: S608
            for column in ("model", "CAST(dimensions AS text)")
        )
    return f"""
        LEFT JOIN search_thresholds AS least
            ON least.object_type = '{object_type}' AND least.vector_share = :vector_share
            AND least.model = COALESCE(:threshold_model, {model})
            AND CAST(least.dimensions AS text) = COALESCE(CAST(:model_dimensions AS text), {dimensions})
    """


_IS_ENOUGH = "hit.confidence >= COALESCE(CAST(:min_score AS double precision), -1)"


def _of_one_type(object_type: ObjectType, table: str, columns: dict[str, str]) -> TextualSelect:
    selected = _of("hit", "id", "score") | _HIT | columns
    sql = f"""
        SELECT {_list(selected)}
        FROM {_call(object_type)} JOIN {table} AS o USING (id) {_threshold(object_type)}
        WHERE {_IS_ENOUGH}
        ORDER BY hit.score DESC, hit.id
    """  # noqa: S608 - nothing of a caller's is in it
    return _statement(sql, selected)


def _neighbours(first: str, last: str) -> str:
    """Sections of the hit's document that are in use, between two places counted from its own."""
    return f"""COALESCE((
        SELECT jsonb_agg(
            jsonb_build_object('id', n.id, 'title', n.title, 'content', n.content) ORDER BY place
        )
        FROM knowledge_documents d
        CROSS JOIN LATERAL (SELECT array_position(d.article_ids, o.id) AS own) AS there
        CROSS JOIN LATERAL generate_series(GREATEST(own + {first}, 1), own + {last}) AS place
        JOIN knowledge_base AS n ON n.id = d.article_ids[place] AND n.is_active
        WHERE d.source = o.source
    ), '[]')"""  # noqa: S608


KNOWLEDGE = _of_one_type(ObjectType.KNOWLEDGE, "knowledge_base", _ARTICLE)
KNOWLEDGE_AROUND = _of_one_type(
    ObjectType.KNOWLEDGE,
    "knowledge_base",
    _ARTICLE | {"before": _neighbours("-:around", "-1"), "after": _neighbours("1", ":around")},
)
MESSAGES = _of_one_type(ObjectType.MESSAGE, "messages", _MESSAGE)
TICKETS = _of_one_type(ObjectType.TICKET, "tickets", _TICKET)
_OWNER = {
    f"customer_{column}": f"(SELECT {column} FROM customers WHERE customers.id = o.customer_id)"  # noqa: S608
    for column in ("name", "company")
}
TICKETS_OF_WHOM = _of_one_type(ObjectType.TICKET, "tickets", _TICKET | _OWNER)

_ANY = ("object_type", "id", "score", *_HIT, "title", "content", "customer_id")


def _any(object_type: ObjectType, table: str, columns: str, filters: str = "filters") -> str:
    # Words weigh by their own table, so across tables their ranks are compared.
    return f"""
        SELECT '{object_type}' AS object_type, hit.id,
            CASE WHEN :query IS NULL THEN 1.0 / (60 + hit.text_rank) ELSE hit.score END AS score,
            {_list(_HIT)}, {columns}
        FROM {_call(object_type, filters)} JOIN {table} AS o USING (id) {_threshold(object_type)}
        WHERE {_IS_ENOUGH}
    """  # noqa: S608


_ARTICLE_HITS = _any(
    ObjectType.KNOWLEDGE,
    "knowledge_base",
    "o.title, o.content, NULL::uuid AS customer_id",
    filters="article_filters",
)
_TICKET_HITS = _any(ObjectType.TICKET, "tickets", "o.subject, o.resolution_notes, o.customer_id")
_MESSAGE_HITS = _any(ObjectType.MESSAGE, "messages", "NULL, o.content, o.customer_id")
ALL = _statement(
    f"""
    SELECT * FROM ({_ARTICLE_HITS} UNION ALL {_TICKET_HITS} UNION ALL {_MESSAGE_HITS}) AS hits
    ORDER BY score DESC, id LIMIT :max_rows
    """,  # noqa: S608
    _ANY,
)

_SIMILAR = _of("hit", "id", "score") | _HIT | _TICKET
SIMILAR_TICKETS = _statement(
    f"""
    SELECT {_list(_SIMILAR)}
    FROM tickets AS own
    LEFT JOIN embedding_models AS present ON present.object_type = 'ticket'
    LEFT JOIN ticket_embeddings AS embedded ON embedded.ticket_id = own.id AND embedded.model = present.model
    CROSS JOIN search_objects(
        'ticket', embedded.embedding::vector, CASE WHEN embedded.embedding IS NULL THEN own.subject END,
        :max_rows, :filters, :min_similarity
    ) AS hit
    JOIN tickets AS o ON o.id = hit.id
    LEFT JOIN search_thresholds AS least ON least.object_type = 'ticket' AND (
        (least.model, least.dimensions, least.vector_share) = (present.model, present.dimensions, 1)
        AND embedded.embedding IS NOT NULL
        OR (least.model, least.dimensions, least.vector_share) = ('', 0, 0) AND embedded.embedding IS NULL
    )
    WHERE own.id = :ticket_id
    ORDER BY hit.score DESC, hit.id
    """,  # noqa: S608
    _SIMILAR,
)
