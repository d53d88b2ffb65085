"""Embeddings of everything that can be searched: what is missing, and making it up."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy.orm import Session

from ..embeddings import Embedder
from ..errors import InvalidValue
from ..models import EmbeddedType
from ..schemas import EmbeddingStatus, ObjectType
from . import _article_embeddings
from ._beside_embeddings import Beside
from ._beside_embeddings import status as beside_status
from ._embedding import MAX_LIMIT, Progress
from ._input import checked_code, checked_limit


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
    work: what one has taken (FOR UPDATE SKIP LOCKED) the others pass over; what one has found missing they
    see when it commits. Equal texts are embedded once. While another model answers, the new embeddings are
    kept beside its own and take over all at once when none is missing: in the call that sees all of them
    committed, at the latest in the next one. A failing embedder is asked three times; a text that fails
    alone, while others are embedded, is passed over and stays missing. No text is ever touched.

    Messages and tickets are locked (FOR KEY SHARE) when their embedding is stored, until the caller's
    transaction ends: who changes such a text waits for it, and all other changes and merges go on. Articles
    are locked as ``knowledge.embed_missing`` says.

    Raises:
        InvalidValue: an unknown type, a limit that is not from 1 to 1,000,000, a model without a name of 1 to
            255 characters, or messages or tickets in a stricter isolation than READ COMMITTED.
        EmbedderUnavailable: the embedder failed. Batches before it are written; roll back or keep them.
        InvalidVector: the embedder returned a vector that cannot be stored.
    """
    wanted = _checked_types(object_types)
    left = None if limit is None else checked_limit(limit, maximum=MAX_LIMIT)
    done = 0
    for object_type in wanted:
        if left == 0:
            break
        if object_type is ObjectType.KNOWLEDGE:
            count = _article_embeddings.embed_missing(session, embedder, limit=left, progress=progress)
        else:
            beside = Beside(session, EmbeddedType(object_type), embedder)
            count = beside.embed(limit=left, progress=progress)
        done += count
        left = None if left is None else left - count
    return done


def fill_queue(
    session: Session, embedder: Embedder, *, object_types: Collection[ObjectType] = tuple(ObjectType)
) -> int:
    """Put messages and tickets without an embedding by this model into the queue; how many.

    ``embed_missing`` does so too, but others see its queue only when it commits. Commit at once after this,
    and workers that begin together share the work from its beginning. Waits for whoever fills the queue now.

    Raises:
        InvalidValue: an unknown type, or a model without a name of 1 to 255 characters.
    """
    return sum(
        Beside(session, EmbeddedType(one), embedder).fill_queue()
        for one in _checked_types(object_types)
        if one is not ObjectType.KNOWLEDGE
    )


def _checked_types(object_types: Collection[ObjectType]) -> list[ObjectType]:
    if not isinstance(object_types, Collection):
        raise InvalidValue("object_types", "must be a list of types")
    wanted = {checked_code("object_types", one, ObjectType) for one in object_types}
    return [one for one in ObjectType if one in wanted]


def embedding_status(session: Session) -> list[EmbeddingStatus]:
    """What is embedded by which model, and what is stale or missing, by type of object."""
    return [_article_embeddings.status(session), *(beside_status(session, beside) for beside in EmbeddedType)]
