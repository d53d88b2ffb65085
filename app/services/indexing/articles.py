"""Embeddings of the knowledge base: in the article's own row, and those of a next model beside it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Row, Text, TextClause, literal_column, text
from sqlalchemy.orm import Session

from ...embeddings import Embedder
from ...errors import ModelReplaced
from ...models import KnowledgeBaseEntry
from ...models.knowledge import EMBEDDED_BY as _BY
from ...models.knowledge import EMBEDDED_HASH as _HASH
from ...models.knowledge import TEXT_HASH, UNEMBEDDED
from ...schemas import EmbeddingStatus, ObjectType
from .._shared.checks import checked_callable, checked_flag, checked_limit, checked_optional_text
from .embedding import (
    BATCH,
    MAX_LIMIT,
    SPACES,
    Progress,
    check_width,
    checked_model,
    embed_with_retries,
    refusals,
)
from .parameters import typed
from .statements import IS_DUE, refused

# The same for statements that are made of columns.
EMBEDDED_BY = literal_column(_BY, Text)
HASH_OF_TEXT = literal_column(f"encode({TEXT_HASH}, 'hex')", Text)
HAS_PRESENT_TEXT = literal_column(_HASH, Text) == HASH_OF_TEXT
MAX_CHARACTERS = 24_000
"""Of an article's text that are embedded; models read about so much."""


_OF_ANOTHER_MODEL = f"is_active AND embedding IS NOT NULL AND {_BY} IS DISTINCT FROM :model"
_IS_TO_DO = f"""
    btrim(title || content, :spaces) <> '' AND (:source IS NULL OR source = :source) AND NOT EXISTS (
        SELECT FROM knowledge_embeddings AS staged
        WHERE staged.article_id = article.id AND staged.model = :model AND staged.content_hash = {TEXT_HASH}
    )
"""
_IS_WAITING = f"""EXISTS (
    SELECT FROM embedding_queue AS refused
    WHERE refused.object_type = 'knowledge' AND refused.model = :model AND refused.object_id = article.id
        AND NOT {IS_DUE}
)"""
_MISSING = f"FROM knowledge_base AS article WHERE ({UNEMBEDDED} OR {_OF_ANOTHER_MODEL}) AND {_IS_TO_DO}"
# Reads the ends of an index, and the beginning of another one, which is empty where nothing is missing.
_STATE = typed(f"""
    SELECT COALESCE(
            (SELECT min({_BY}) FROM knowledge_base WHERE is_active AND embedding IS NOT NULL) <> :model
            OR (SELECT max({_BY}) FROM knowledge_base WHERE is_active AND embedding IS NOT NULL) <> :model,
            false
        ) AS has_others,
        EXISTS (
            SELECT FROM knowledge_base WHERE is_active AND embedding IS NOT NULL AND {_BY} IS NULL
        ) AS has_unknown,
        EXISTS (SELECT FROM knowledge_embeddings WHERE model = :model) AS has_staged,
        (
            SELECT metadata #>> '{{embedding,dimensions}}' FROM knowledge_base
            WHERE embedding IS NOT NULL AND {_BY} = :model LIMIT 1
        ) AS stored_width,
        EXISTS (
            SELECT FROM replaced_models WHERE object_type = 'knowledge' AND model = :model
        ) AS is_replaced,
        EXISTS (
            SELECT FROM knowledge_base AS article WHERE {UNEMBEDDED} AND {_IS_TO_DO} AND NOT {_IS_WAITING}
        ) AS has_unembedded
""")  # noqa: S608
_COST = typed(f"""
    WITH lacking AS (SELECT left(title || E'\\n' || content, {MAX_CHARACTERS}) AS text {_MISSING}),
    texts AS (SELECT DISTINCT text FROM lacking)
    SELECT (SELECT count(*) FROM lacking) AS objects, count(*) AS texts,
        COALESCE(sum(octet_length(text)), 0) AS bytes
    FROM texts
""")  # noqa: S608
_COUNT_DUE = typed(f"SELECT count(*) {_MISSING} AND NOT {_IS_WAITING}")
_LACKING = typed(f"SELECT EXISTS (SELECT {_MISSING})")


def _claim(missing: str) -> TextClause:
    return typed(f"""
        SELECT article.id, left(title || E'\\n' || content, {MAX_CHARACTERS}) AS text, {TEXT_HASH} AS hash
        FROM knowledge_base AS article
        WHERE {missing} AND {_IS_TO_DO} AND NOT {_IS_WAITING} AND article.id > :after
        ORDER BY article.id LIMIT :count FOR UPDATE OF article SKIP LOCKED
    """)  # noqa: S608


_CLAIM_UNEMBEDDED = _claim(UNEMBEDDED)
_CLAIM_OF_ANOTHER_MODEL = _claim(_OF_ANOTHER_MODEL)
# What is no object (raw SQL may have stored a list) cannot hold it.
_WITH_ORIGIN = """
    CASE jsonb_typeof(metadata) WHEN 'object' THEN metadata ELSE '{}' END
        || jsonb_build_object('embedding', jsonb_build_object(
            'model', %s, 'dimensions', %s, 'sha256', %s, 'embedded_at', %s))
"""
_REPLACE = typed(f"""
    UPDATE knowledge_base SET embedding = :vector,
        metadata = {_WITH_ORIGIN % (":model", "CAST(:dimensions AS integer)", ":sha256", "clock_timestamp()")}
    WHERE id = :id
""")  # noqa: S608
_STAGE = typed("""
    INSERT INTO knowledge_embeddings (article_id, model, dimensions, content_hash, embedding)
    VALUES (:id, :model, :dimensions, :hash, :vector)
    ON CONFLICT (article_id, model) DO UPDATE
    SET (dimensions, content_hash, embedding, embedded_at)
        = (EXCLUDED.dimensions, EXCLUDED.content_hash, EXCLUDED.embedding, EXCLUDED.embedded_at)
""")
_STAGED_ORIGIN = (
    "staged.model", "staged.dimensions", "encode(staged.content_hash, 'hex')", "staged.embedded_at"
)  # fmt: skip
_TAKE_OVER = typed(f"""
    UPDATE knowledge_base SET embedding = staged.embedding, metadata = {_WITH_ORIGIN % _STAGED_ORIGIN}
    FROM knowledge_embeddings AS staged
    WHERE staged.article_id = id AND staged.model = :model AND staged.content_hash = {TEXT_HASH}
""")  # noqa: S608
_KEEP_REPLACED = typed(f"""
    INSERT INTO replaced_models (object_type, model)
    SELECT DISTINCT 'knowledge', {_BY} FROM knowledge_base
    WHERE is_active AND embedding IS NOT NULL AND {_BY} <> :model
    ON CONFLICT DO NOTHING
""")  # noqa: S608
_FORGET_REPLACED = typed("DELETE FROM replaced_models WHERE object_type = 'knowledge' AND model = :model")
# An article must not come back, when it is made active again, with a vector of the model of before.
_DROP_REPLACED = typed(f"""
    UPDATE knowledge_base SET embedding = NULL
    WHERE is_active IS NOT TRUE AND embedding IS NOT NULL AND {_BY} <> :model
""")  # noqa: S608
# With what a worker has left whose model was replaced meanwhile.
_DROP_STAGED = typed("""
    DELETE FROM knowledge_embeddings
    WHERE model = :model
        OR model IN (SELECT r.model FROM replaced_models r WHERE r.object_type = 'knowledge')
""")
_REFUSE = typed("""
    WITH again AS (
        UPDATE embedding_queue SET failures = failures + 1, refused_at = clock_timestamp()
        WHERE object_type = 'knowledge' AND model = :model AND object_id = ANY(:ids) AND failures > 0
        RETURNING object_id
    )
    INSERT INTO embedding_queue (object_type, model, object_id, failures, refused_at)
    SELECT 'knowledge', :model, id, 1, clock_timestamp()
    FROM unnest(:ids) AS id WHERE id NOT IN (SELECT object_id FROM again)
""")
_FORGET_REFUSED = typed("""
    DELETE FROM embedding_queue
    WHERE object_type = 'knowledge' AND model = :model AND object_id = ANY(:ids) AND failures > 0
""")
_FORGET_ALL_REFUSED = text("DELETE FROM embedding_queue WHERE object_type = 'knowledge'")
_REFUSED = refused(ObjectType.KNOWLEDGE, "knowledge_base", "q.model", "o.is_active")
_SWITCH = (
    _KEEP_REPLACED, _FORGET_REPLACED, _TAKE_OVER, _DROP_REPLACED, _DROP_STAGED, _FORGET_ALL_REFUSED
)  # fmt: skip
_MODELS = text(f"""
    SELECT DISTINCT {_BY} FROM knowledge_base
    WHERE embedding IS NOT NULL AND (is_active OR NOT :only_active)
""")  # noqa: S608
_BY_MODEL = text(f"""
    SELECT COALESCE({_BY}, 'unknown') AS model, count(*) AS articles,
        count(*) FILTER (WHERE {_HASH} = encode({TEXT_HASH}, 'hex')) AS current
    FROM knowledge_base
    WHERE is_active AND embedding IS NOT NULL AND btrim(title || content, :spaces) <> ''
    GROUP BY 1
""")  # noqa: S608
_STAGED_BY_MODEL = text("SELECT model, count(*) AS articles FROM knowledge_embeddings GROUP BY model")
_COUNT_ACTIVE = text(
    "SELECT count(*) FROM knowledge_base WHERE is_active AND btrim(title || content, :spaces) <> ''"
)


def models_of_articles(session: Session, *, only_active: bool = False) -> set[str | None]:
    """The models that the articles' embeddings are of; None among them where nobody kept a model's name."""
    return set(session.scalars(_MODELS, {"only_active": checked_flag("only_active", only_active)}))


def embed_missing(
    session: Session,
    embedder: Embedder,
    *,
    source: str | None = None,
    limit: int | None = None,
    progress: Progress | None = None,
    switch_back: bool = False,
) -> int:
    """Embed the active articles that have no embedding by this model of their present text; return how many.

    While the base answers by another model, the new embeddings are kept beside it, and take over all at once
    when no article lacks one; until then searches go on with the old ones. ``source`` limits the call to one
    document, ``limit`` to so many articles. An article's text is never touched. ``progress(done, total)`` is
    called after each batch. A failing embedder is asked three times; a text that it refuses, while it takes
    another, stays missing and is left alone for a while, as ``indexing.embed_missing`` says.

    Locks the rows of each batch (FOR UPDATE) until the caller's transaction ends and passes over those that
    somebody else has locked, so several workers can share the work.

    Raises:
        InvalidValue: the model has no name of 1 to 255 characters, or the source or the limit is ill-formed.
        ModelReplaced: another model has taken over from this one, and ``switch_back`` does not ask to return.
        EmbedderUnavailable: the embedder failed. Batches before it are written; roll back or keep them.
        InvalidVector: the embedder returned a vector that cannot be stored.
    """
    scope = {
        "model": checked_model(embedder),
        "source": checked_optional_text("source", source, max_length=255),
        "spaces": SPACES,
    }
    limit = MAX_LIMIT if limit is None else checked_limit(limit, maximum=MAX_LIMIT)
    progress = checked_callable("progress", progress)
    checked_flag("switch_back", switch_back)
    state = session.execute(_STATE, scope).one()
    check_width(embedder, state.stored_width)
    if state.is_replaced and state.has_others and not switch_back:
        raise ModelReplaced(embedder.model)
    claims = [_CLAIM_UNEMBEDDED] if state.has_unembedded else []
    if state.has_others or state.has_unknown:
        claims.append(_CLAIM_OF_ANOTHER_MODEL)
    if not claims and not state.has_staged:
        return 0
    total = 0 if progress is None else session.execute(_COUNT_DUE, scope).scalar_one()
    done = 0
    for claim in claims:
        for embedded in _embed_claimed(
            session, embedder, claim, scope, limit=limit - done, beside=state.has_others
        ):
            done += embedded
            if progress is not None:
                progress(done, max(total, done))
    if (done and state.has_others) or state.has_staged:
        _take_over(session, scope)
    _forget_loaded(session)
    return done


def cost(session: Session, embedder: Embedder) -> Row[Any]:
    """Articles without an embedding by the model, how many texts these are, and of how many bytes."""
    scope = {"model": checked_model(embedder), "source": None, "spaces": SPACES}
    return session.execute(_COST, scope).one()


def _embed_claimed(
    session: Session,
    embedder: Embedder,
    claim: TextClause,
    scope: dict[str, Any],
    *,
    limit: int,
    beside: bool,
) -> Iterator[int]:
    """Batch by batch, how many were embedded of what the statement claims; ``limit`` at most."""
    done = 0
    after = UUID(int=0)
    while done < limit:
        count = min(BATCH, limit - done)
        rows = session.execute(claim, {**scope, "after": after, "count": count}).all()
        if rows:
            after = rows[-1].id  # a text that fails is not met again
            embedded = _embed(session, embedder, rows, beside=beside)
            done += embedded
            yield embedded
        if len(rows) < count:
            return


def _embed(session: Session, embedder: Embedder, rows: Sequence[Row[Any]], *, beside: bool) -> int:
    """Write vectors into the articles' rows, or ``beside`` them while those of another model answer."""
    vectors = embed_with_retries(embedder, [row.text for row in rows])
    origin = {"model": embedder.model, "dimensions": embedder.dimensions}
    stored = [
        {**origin, "id": row.id, "hash": row.hash, "sha256": row.hash.hex(), "vector": vector}
        for row, vector in zip(rows, vectors, strict=True)
        if vector is not None
    ]
    if stored:
        session.execute(_STAGE if beside else _REPLACE, stored)
        session.execute(_FORGET_REFUSED, {**origin, "ids": [one["id"] for one in stored]})
    refused = [row.id for row, vector in zip(rows, vectors, strict=True) if vector is None]
    if refused:
        session.execute(_REFUSE, {**origin, "ids": refused})
    return len(stored)


def _take_over(session: Session, scope: dict[str, Any]) -> None:
    """Put the waiting embeddings in the place of the present ones, once no article lacks one."""
    if not session.execute(_LACKING, {**scope, "source": None}).scalar_one():
        for statement in _SWITCH:
            session.execute(statement, scope)


def _forget_loaded(session: Session) -> None:
    """Let articles that the session holds read anew what has been written past it."""
    for entity in list(session.identity_map.values()):
        if isinstance(entity, KnowledgeBaseEntry):
            session.expire(entity, ["embedding", "extra", "updated_at"])


def status(session: Session) -> EmbeddingStatus:
    """The articles' part of ``indexing.embedding_status``, by the model that most of them have."""
    rows = session.execute(_BY_MODEL, {"spaces": SPACES}).all()
    models = Counter({row.model: row.articles for row in rows})
    for row in session.execute(_STAGED_BY_MODEL):
        models[row.model] += row.articles
    present = max(rows, key=lambda row: row.articles, default=None)
    total = session.execute(_COUNT_ACTIVE, {"spaces": SPACES}).scalar_one()
    embedded = sum(row.articles for row in rows)
    current = 0 if present is None else present.current
    return EmbeddingStatus(
        object_type=ObjectType.KNOWLEDGE,
        model=None if present is None or present.model == "unknown" else present.model,
        total=total,
        current=current,
        stale=embedded - current,
        missing=total - embedded,
        models=dict(models),
        **refusals(session.execute(_REFUSED).all()),
    )
