"""The statements that keep embeddings beside messages and tickets complete, one set for each of the two.

The queue holds what may lack an embedding: triggers put in what is new or has changed, for the model that
answers, in the same transaction. For a model that is being prepared, a look at all puts in what it lacks.
An entry is only a hint: whether the embedding is one of the present text is looked at when it is taken.
What an embedder has refused stays in the queue and is left alone for a while, the longer the more often it
was refused; with the text its entry goes too (``forget_refusals`` in the database).
"""

# The names in the statements are this module's.
# ruff: noqa: S608

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import TextClause, text

from ...models import EmbeddedType, ObjectType
from .parameters import typed

ANSWERING = ""
"""Instead of a model's name in the queue: for the one that answers."""
TRY_AT = "(refused_at + LEAST(interval '1 minute' * 2.0 ^ LEAST(failures - 1, 11), interval '1 day'))"
"""When what was refused is tried again."""
IS_DUE = f"(failures = 0 OR {TRY_AT} <= clock_timestamp())"
MOST_SHOWN = 1000
"""Refused texts that a status names."""

STATE = typed("""
    SELECT current_setting('transaction_isolation') AS isolation,
        (SELECT model FROM embedding_models WHERE object_type = :object_type) AS answering,
        (
            SELECT dimensions FROM embedding_models WHERE object_type = :object_type AND model = :model
        ) AS stored_width,
        EXISTS (
            SELECT FROM replaced_models WHERE object_type = :object_type AND model = :model
        ) AS is_replaced
""")
REGISTER = typed("""
    INSERT INTO embedding_models (object_type, model, dimensions)
    VALUES (:object_type, :model, :dimensions) ON CONFLICT DO NOTHING
""")
# Who switches waits for this, and then sees what has been embedded by the model of before.
HOLD_ANSWERING = typed("SELECT model FROM embedding_models WHERE object_type = :object_type FOR SHARE")
WAITING = typed(f"""
    SELECT count(*) FROM embedding_queue
    WHERE object_type = :object_type AND model = :queue AND {IS_DUE}
""")
REFUSE = typed("""
    UPDATE embedding_queue SET failures = failures + 1, refused_at = clock_timestamp()
    WHERE object_type = :object_type AND model = :queue AND id = ANY(:entries)
""")
IS_WAITING = typed(
    "SELECT EXISTS (SELECT FROM embedding_queue WHERE object_type = :object_type AND model = :queue)"
)
TURN_TO_FILL = text("SELECT pg_advisory_xact_lock(hashtextextended('crm/embedding/' || :object_type, 0))")
SWITCH = typed("""
    UPDATE embedding_models SET model = :model, dimensions = :dimensions, since = clock_timestamp()
    WHERE object_type = :object_type
""")
KEEP_REPLACED = typed("""
    INSERT INTO replaced_models (object_type, model)
    SELECT object_type, model FROM embedding_models WHERE object_type = :object_type AND model <> :model
    ON CONFLICT DO NOTHING
""")
FORGET_REPLACED = typed("DELETE FROM replaced_models WHERE object_type = :object_type AND model = :model")
FORGET_PREPARED = typed("DELETE FROM embedding_queue WHERE object_type = :object_type AND model <> ''")


@dataclass(frozen=True)
class Statements:
    """Those that differ by the type of object."""

    claim: TextClause
    """Entries that no other worker has, with their text, and a row of equal text."""
    lock: TextClause
    """Against changes of the text: who changes it waits (``forget_embeddings``), nobody else does."""
    store: TextClause
    """Whatever is still the text that was embedded."""
    dequeue: TextClause
    """Entries of what has its embedding now, or is deleted: what could not be stored comes again."""
    fill: TextClause
    """The queue, with what has no embedding by the model and is not in it."""
    lacks: TextClause
    """Whether anything has no embedding by the model."""
    cost: TextClause
    """Objects without an embedding by the model, and the texts that would have to be embedded for them."""
    drop_others: TextClause
    status: TextClause
    refused: TextClause
    """Objects without an embedding whose text was refused; those first that are tried first."""


@dataclass(frozen=True)
class _Source:
    """What an object ``o`` is embedded from; ``e`` is an embedding of it."""

    text: str
    is_complete: str = "true"
    """Whether the embedding has everything that has come by now; of what has changed it is deleted."""
    columns: tuple[tuple[str, str], ...] = ()
    """Further columns of the embedding, and their values."""


# What it quotes has an embedding of its own.
_MESSAGE = _Source(text="left(COALESCE(o.metadata ->> 'new_text', o.content), 8000)")
_TICKET = _Source(
    text="ticket_text(o.id)",
    is_complete="""(e.messages >= 3 OR NOT EXISTS (
        SELECT FROM messages m WHERE m.conversation_id = o.conversation_id OFFSET e.messages
    ))""",
    columns=(
        (
            "messages",
            """(SELECT count(*) FROM (
                SELECT FROM messages m WHERE m.conversation_id = o.conversation_id LIMIT 3
            ) AS first)""",
        ),
    ),
)


def _lacking(embeddings: str, key: str, source: _Source, model: str) -> str:
    return f"""NOT EXISTS (
        SELECT FROM {embeddings} e
        WHERE e.{key} = o.id AND e.model = {model} AND {source.is_complete}
    )"""


def refused(object_type: ObjectType, objects: str, model: str, lacking: str) -> TextClause:
    """What of the type's ``objects`` was refused and is still ``lacking``, and how many that is in all."""
    return text(f"""
        SELECT q.object_id AS id, {model} AS model, max(q.failures) AS failures, min({TRY_AT}) AS try_at,
            count(*) OVER () AS number
        FROM embedding_queue q JOIN {objects} o ON o.id = q.object_id
        WHERE q.object_type = '{object_type}' AND q.failures > 0 AND {lacking}
        GROUP BY 1, 2 ORDER BY try_at, id LIMIT {MOST_SHOWN}
    """)


def _statements(object_type: EmbeddedType, source: _Source) -> Statements:
    objects, embeddings, key = f"{object_type}s", f"{object_type}_embeddings", f"{object_type}_id"
    columns = ["model", "dimensions", "content_hash", "embedding", *(name for name, _ in source.columns)]
    values = [":model", ":dimensions", ":hash", "new.embedding", *(value for _, value in source.columns)]
    replaced = ", ".join(f"{column} = EXCLUDED.{column}" for column in [*columns[1:], "embedded_at"])
    lacking = _lacking(embeddings, key, source, ":model")
    answering = f"(SELECT m.model FROM embedding_models m WHERE m.object_type = '{object_type}')"
    model = f"COALESCE(NULLIF(q.model, ''), {answering})"
    return Statements(
        claim=typed(f"""
            WITH claimed AS MATERIALIZED (
                SELECT id, object_id FROM embedding_queue
                WHERE object_type = '{object_type}' AND model = :queue AND {IS_DUE}
                ORDER BY id LIMIT :count FOR UPDATE SKIP LOCKED
            ), objects AS (
                SELECT object_id AS id, array_agg(id) AS entries FROM claimed GROUP BY object_id
            ), texts AS MATERIALIZED (
                SELECT id, entries, (SELECT {source.text} FROM {objects} o WHERE o.id = objects.id) AS text
                FROM objects
            ), hashed AS (
                SELECT id, entries, text, sha256(convert_to(text, 'UTF8')) AS hash FROM texts
            )
            SELECT id, entries, text, hash,
                EXISTS (
                    SELECT FROM {embeddings} e JOIN {objects} o ON o.id = e.{key}
                    WHERE o.id = h.id AND e.model = :model AND e.content_hash = h.hash
                        AND {source.is_complete}
                ) AS is_current,
                (
                    SELECT {key} FROM {embeddings} e
                    WHERE e.content_hash = h.hash AND e.model = :model AND e.embedding IS NOT NULL LIMIT 1
                ) AS twin
            FROM hashed h ORDER BY id
        """),
        lock=typed(f"SELECT FROM {objects} WHERE id = ANY(:ids) ORDER BY id FOR KEY SHARE"),
        store=typed(f"""
            INSERT INTO {embeddings} ({key}, {", ".join(columns)})
            SELECT o.id, {", ".join(values)}
            FROM {objects} o, LATERAL (SELECT COALESCE(:half_vector, (
                SELECT t.embedding FROM {embeddings} t WHERE t.{key} = :twin AND t.model = :model
            )) AS embedding) AS new
            WHERE o.id = :id AND sha256(convert_to({source.text}, 'UTF8')) = :hash
                -- A twin may have gone since.
                AND (:is_blank OR new.embedding IS NOT NULL)
            ON CONFLICT ({key}, model) DO UPDATE SET {replaced}
        """),
        dequeue=typed(f"""
            DELETE FROM embedding_queue q USING unnest(:entries, :hashes) AS taken(id, hash)
            WHERE q.object_type = '{object_type}' AND q.model = :queue AND q.id = taken.id AND (
                EXISTS (
                    SELECT FROM {embeddings} e
                    WHERE e.{key} = q.object_id AND e.model = :model AND e.content_hash = taken.hash
                )
                OR NOT EXISTS (SELECT FROM {objects} o WHERE o.id = q.object_id)
            )
            RETURNING q.object_id
        """),
        fill=typed(f"""
            INSERT INTO embedding_queue (object_type, model, object_id)
            SELECT '{object_type}', :queue, o.id FROM {objects} o
            WHERE {lacking} AND NOT EXISTS (
                SELECT FROM embedding_queue q
                WHERE q.object_type = '{object_type}' AND q.model = :queue AND q.object_id = o.id
            )
        """),
        lacks=typed(f"SELECT EXISTS (SELECT FROM {objects} o WHERE {lacking})"),
        cost=typed(f"""
            WITH lacking AS (
                SELECT {source.text} AS text FROM {objects} o WHERE {lacking}
            ), texts AS (
                SELECT DISTINCT text FROM lacking WHERE btrim(text, :spaces) <> '' AND NOT EXISTS (
                    SELECT FROM {embeddings} e
                    WHERE e.content_hash = sha256(convert_to(text, 'UTF8')) AND e.model = :model
                        AND e.embedding IS NOT NULL
                )
            )
            SELECT (SELECT count(*) FROM lacking) AS objects, count(*) AS texts,
                COALESCE(sum(octet_length(text)), 0) AS bytes
            FROM texts
        """),
        drop_others=typed(f"DELETE FROM {embeddings} WHERE model <> :model"),
        status=text(f"""
            SELECT present.model,
                (SELECT count(*) FROM {objects}) AS total,
                (SELECT count(*) FROM {embeddings} e JOIN {objects} o ON o.id = e.{key}
                    WHERE e.model = present.model AND {source.is_complete}) AS current,
                COALESCE((SELECT jsonb_object_agg(model, rows) FROM (
                    SELECT model, count(*) AS rows FROM {embeddings} GROUP BY model
                ) AS by_model), '{{}}') AS models
            FROM (
                SELECT max(model) AS model FROM embedding_models WHERE object_type = '{object_type}'
            ) AS present
        """),
        refused=refused(ObjectType(object_type), objects, model, _lacking(embeddings, key, source, model)),
    )


STATEMENTS = {
    EmbeddedType.MESSAGE: _statements(EmbeddedType.MESSAGE, _MESSAGE),
    EmbeddedType.TICKET: _statements(EmbeddedType.TICKET, _TICKET),
}
