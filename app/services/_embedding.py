"""Keeping the embeddings of the knowledge base's articles up to date."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Text, cast, func, or_, select, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Session

from ..embeddings import Embedder, embed_texts
from ..models import KnowledgeBaseEntry

BATCH = 100

# What an embedding was made from; a changed article has another hash and is embedded again.
_TEXT = KnowledgeBaseEntry.title + "\n" + KnowledgeBaseEntry.content
_HASH = func.encode(func.sha256(func.convert_to(cast(_TEXT, Text), "UTF8")), "hex")
_PROVENANCE = KnowledgeBaseEntry.extra["embedding"]


def embed_missing(
    session: Session,
    embedder: Embedder,
    *,
    source: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Embed the active articles that have no embedding by this model of their present text; return how many.

    ``source`` limits it to the articles of one source. An article's text is never touched.
    ``progress(done, total)`` is called after each batch. Locks the rows of each batch (FOR UPDATE) until the
    caller's transaction ends and passes over those that somebody else has locked, so several workers can
    share the work.

    Raises:
        EmbedderUnavailable: the embedder failed. Batches before it are written; roll back or keep them.
    """
    stale = (
        select(KnowledgeBaseEntry.id)
        .where(
            KnowledgeBaseEntry.is_active.is_(True),
            or_(
                KnowledgeBaseEntry.embedding.is_(None),
                _PROVENANCE["model"].astext.is_distinct_from(embedder.model),
                _PROVENANCE["sha256"].astext.is_distinct_from(_HASH),
            ),
        )
        .order_by(KnowledgeBaseEntry.id)
    )
    if source is not None:
        stale = stale.where(KnowledgeBaseEntry.source == source)
    total = session.scalar(select(func.count()).select_from(stale.subquery())) or 0
    done = 0
    last = None
    while total:
        batch = stale.add_columns(_TEXT.label("text"), _HASH.label("sha256")).limit(BATCH)
        if last is not None:
            batch = batch.where(KnowledgeBaseEntry.id > last)
        rows = session.execute(batch.with_for_update(skip_locked=True)).all()
        if not rows:
            break
        vectors = embed_texts(embedder, [row.text for row in rows])
        for row, vector in zip(rows, vectors, strict=True):
            provenance = {"model": embedder.model, "dimensions": embedder.dimensions, "sha256": row.sha256}
            session.execute(
                update(KnowledgeBaseEntry)
                .where(KnowledgeBaseEntry.id == row.id)
                .values(
                    embedding=vector,
                    extra=func.coalesce(KnowledgeBaseEntry.extra, cast({}, JSONB)).concat(
                        cast({"embedding": provenance}, JSONB)
                    ),
                )
                .execution_options(synchronize_session=False)
            )
        last = rows[-1].id
        done += len(rows)
        if progress is not None:
            progress(done, max(total, done))
    session.expire_all()
    return done
