"""Embeddings of everything that can be searched: what is missing, and making it up."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import text
from sqlalchemy.orm import Session

from ..embeddings import Embedder
from ..models import EmbeddedType
from ..schemas import EmbeddingStatus, ObjectType
from . import _article_embeddings
from ._beside_embeddings import Beside
from ._embedding import Progress
from ._input import checked_code, checked_limit

_BESIDE = """
    SELECT (SELECT count(*) FROM {object_type}s) AS total,
        (SELECT model FROM embedding_models WHERE object_type = '{object_type}') AS model,
        COALESCE((
            SELECT jsonb_object_agg(model, rows) FROM (
                SELECT model, count(*) AS rows FROM {object_type}_embeddings GROUP BY model
            ) AS by_model
        ), '{{}}') AS models
"""


def embed_missing(
    session: Session,
    embedder: Embedder,
    *,
    object_types: Collection[ObjectType] = tuple(ObjectType),
    limit: int | None = None,
    progress: Progress | None = None,
) -> int:
    """Embed articles, messages and tickets that have no embedding by this model of their present text.

    How many were done; at most ``limit``, so that a worker can commit in between. Several workers share the
    work: what one has taken (FOR UPDATE SKIP LOCKED) the others pass over. Equal texts are embedded once. No
    message or ticket is locked while the embedder works, only (FOR SHARE) when its embedding is stored. While
    another model answers, the new embeddings are kept beside its own and take over all at once when none is
    missing. A failing embedder is asked three times, and no text is ever touched.

    Raises:
        InvalidValue: an unknown type, or a limit that is not from 1 to 1,000,000.
        EmbedderUnavailable: the embedder failed. Batches before it are written; roll back or keep them.
        InvalidVector: the embedder returned a vector that cannot be stored.
    """
    wanted = {checked_code("object_types", one, ObjectType) for one in object_types}
    left = None if limit is None else checked_limit(limit, maximum=1_000_000)
    done = 0
    for object_type in ObjectType:
        if object_type not in wanted or left == 0:
            continue
        if object_type is ObjectType.KNOWLEDGE:
            count = _article_embeddings.embed_missing(session, embedder, limit=left, progress=progress)
        else:
            beside = Beside(session, EmbeddedType(object_type), embedder)
            count = beside.embed(limit=left, progress=progress)
        done += count
        left = None if left is None else left - count
    return done


def embedding_status(session: Session) -> list[EmbeddingStatus]:
    """What is embedded by which model, and what is stale or missing, by type of object."""
    found = [_article_embeddings.status(session)]
    for object_type in EmbeddedType:
        row = session.execute(text(_BESIDE.format(object_type=object_type.value))).one()
        current = row.models.get(row.model, 0)
        found.append(
            EmbeddingStatus(
                object_type=ObjectType(object_type),
                model=row.model,
                total=row.total,
                current=current,
                stale=0,
                missing=row.total - current,
                models=row.models,
            )
        )
    return found
