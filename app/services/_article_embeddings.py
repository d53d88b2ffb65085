"""Embeddings of the knowledge base: in the article's own row, and those of a next model beside it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    Row,
    String,
    Text,
    and_,
    bindparam,
    case,
    cast,
    delete,
    exists,
    func,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.orm import Session

from ..embeddings import Embedder
from ..models import Base, KnowledgeBaseEntry, KnowledgeEmbedding
from ..schemas import EmbeddingStatus, ObjectType
from ._embedding import BATCH, MAX_LIMIT, Progress, checked_model, embed_with_retries, is_blank
from ._input import checked_limit, checked_optional_text

ARTICLE = KnowledgeBaseEntry
STAGED = KnowledgeEmbedding
_ARTICLES, _STAGED = Base.metadata.tables["knowledge_base"], Base.metadata.tables["knowledge_embeddings"]
MAX_CHARACTERS = 24_000
"""Of an article's text that are embedded; models read about so much."""

TEXT = ARTICLE.title + "\n" + ARTICLE.content
HASH = func.sha256(func.convert_to(cast(TEXT, Text), "UTF8"))
MODEL = ARTICLE.extra["embedding"]["model"].astext
_SHA256 = ARTICLE.extra["embedding"]["sha256"].astext
ACTIVE = and_(ARTICLE.is_active.is_(True), ~is_blank(TEXT))


def is_current(model: str) -> Any:
    """Whether the article's own embedding is one of its present text by ``model``."""
    return func.coalesce(
        and_(ARTICLE.embedding.is_not(None), model == MODEL, func.encode(HASH, "hex") == _SHA256), False
    )


def is_staged(model: str) -> Any:
    """Whether an embedding of the article's present text by ``model`` waits beside it."""
    return exists().where(STAGED.article_id == ARTICLE.id, STAGED.model == model, STAGED.content_hash == HASH)


def embed_missing(
    session: Session,
    embedder: Embedder,
    *,
    source: str | None = None,
    limit: int | None = None,
    progress: Progress | None = None,
) -> int:
    """Embed the active articles that have no embedding by this model of their present text; return how many.

    While the base answers by another model, the new embeddings are kept beside it, and take over all at once
    when no article lacks one; until then searches go on with the old ones. ``source`` limits the call to one
    document, ``limit`` to so many articles. An article's text is never touched. ``progress(done, total)`` is
    called after each batch. A failing embedder is asked three times; a text that fails alone, while others
    are embedded, is passed over and stays missing.

    Locks the rows of each batch (FOR UPDATE) until the caller's transaction ends and passes over those that
    somebody else has locked, so several workers can share the work.

    Raises:
        InvalidValue: the model has no name of 1 to 255 characters, or the source or the limit is ill-formed.
        EmbedderUnavailable: the embedder failed. Batches before it are written; roll back or keep them.
        InvalidVector: the embedder returned a vector that cannot be stored.
    """
    model = checked_model(embedder)
    source = checked_optional_text("source", source, max_length=255)
    if limit is not None:
        limit = checked_limit(limit, maximum=MAX_LIMIT)
    wanted = ACTIVE if source is None else and_(ACTIVE, ARTICLE.source == source)
    missing = and_(wanted, ~is_current(model), ~is_staged(model))
    total, others, staged = session.execute(
        select(
            func.count().filter(missing),
            func.count().filter(ARTICLE.embedding.is_not(None), model != MODEL),
            exists().where(STAGED.model == model),
        ).where(ACTIVE)
    ).one()
    store = _stage if others else _replace
    done, last = 0, None
    wanted_now = total if limit is None else min(total, limit)
    while done < wanted_now:
        batch = select(ARTICLE.id, func.left(TEXT, MAX_CHARACTERS).label("text"), HASH.label("hash"))
        batch = batch.where(missing).order_by(ARTICLE.id)
        batch = batch.limit(min(BATCH, wanted_now - done))
        if last is not None:
            batch = batch.where(ARTICLE.id > last)
        rows = session.execute(batch.with_for_update(of=ARTICLE, skip_locked=True)).all()
        if not rows:
            break
        last = rows[-1].id
        vectors = embed_with_retries(embedder, [row.text for row in rows])
        made = [(row, vector) for row, vector in zip(rows, vectors, strict=True) if vector is not None]
        if made:
            store(session, embedder, made)
        done += len(made)
        if progress is not None:
            progress(done, max(total, done))
    if (done and others) or staged:
        _take_over(session, model)
    _forget_loaded(session)
    return done


def _forget_loaded(session: Session) -> None:
    """Let articles that the session holds read anew what has been written past it."""
    for held in list(session.identity_map.values()):
        if isinstance(held, ARTICLE):
            session.expire(held, ["embedding", "extra", "updated_at"])


def _replace(session: Session, embedder: Embedder, made: Sequence[tuple[Row[Any], list[float]]]) -> None:
    """Write the embeddings into the articles' rows."""
    origin = func.jsonb_build_object(
        "model", embedder.model, "dimensions", embedder.dimensions,
        "sha256", bindparam("sha256", type_=String), "embedded_at", func.clock_timestamp(),
    )  # fmt: skip
    statement = (
        update(_ARTICLES)
        .where(ARTICLE.id == bindparam("article_id"))
        .values(embedding=bindparam("vector"), metadata=_with_origin(origin))
    )
    session.connection().execute(
        statement,
        [{"article_id": row.id, "vector": vector, "sha256": row.hash.hex()} for row, vector in made],
    )


def _with_origin(origin: Any) -> Any:
    # What is no object (raw SQL may have stored a list) cannot hold it.
    present = case((func.jsonb_typeof(ARTICLE.extra) == "object", ARTICLE.extra), else_=cast({}, JSONB))
    return present.concat(func.jsonb_build_object("embedding", origin))


def _stage(session: Session, embedder: Embedder, made: Sequence[tuple[Row[Any], list[float]]]) -> None:
    """Keep the embeddings beside the articles: those of another model go on answering."""
    statement = insert(_STAGED).values(
        model=embedder.model,
        dimensions=embedder.dimensions,
        article_id=bindparam("article_id"),
        content_hash=bindparam("hash"),
        embedding=bindparam("vector"),
    )
    statement = statement.on_conflict_do_update(
        index_elements=[STAGED.article_id, STAGED.model],
        set_={
            name: statement.excluded[name]
            for name in ("dimensions", "content_hash", "embedding", "embedded_at")
        },
    )
    session.connection().execute(
        statement,
        [{"article_id": row.id, "vector": vector, "hash": row.hash} for row, vector in made],
    )


def _take_over(session: Session, model: str) -> None:
    """Put the waiting embeddings in the place of the present ones, once no article lacks one."""
    lacking = and_(ACTIVE, ~is_current(model), ~is_staged(model))
    if session.scalar(select(exists().where(lacking))):
        return
    origin = func.jsonb_build_object(
        "model", STAGED.model, "dimensions", STAGED.dimensions,
        "sha256", func.encode(STAGED.content_hash, "hex"), "embedded_at", STAGED.embedded_at,
    )  # fmt: skip
    session.execute(
        update(ARTICLE)
        .where(STAGED.article_id == ARTICLE.id, STAGED.model == model, STAGED.content_hash == HASH)
        .values(embedding=STAGED.embedding.expression, extra=_with_origin(origin))
        .execution_options(synchronize_session=False)
    )
    # Nor may an article come back, when it is made active again, with a vector of the model of before.
    session.execute(
        update(ARTICLE)
        .where(ARTICLE.is_active.is_not(True), ARTICLE.embedding.is_not(None), model != MODEL)
        .values(embedding=None)
        .execution_options(synchronize_session=False)
    )
    session.execute(delete(STAGED).where(STAGED.model == model).execution_options(synchronize_session=False))


def status(session: Session) -> EmbeddingStatus:
    """The articles' part of ``indexing.embedding_status``, by the model that most of them have."""
    model = func.coalesce(MODEL, "unknown")
    rows = session.execute(
        select(
            model.label("model"),
            func.count().label("articles"),
            func.count().filter(func.encode(HASH, "hex") == _SHA256).label("current"),
        )
        .where(ACTIVE, ARTICLE.embedding.is_not(None))
        .group_by(model)
    ).all()
    waiting = session.execute(select(STAGED.model, func.count()).group_by(STAGED.model)).all()
    models = Counter({row.model: row.articles for row in rows})
    for name, count in waiting:
        models[name] += count
    present = max(rows, key=lambda row: row.articles, default=None)
    total = session.scalar(select(func.count()).where(ACTIVE)) or 0
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
    )
