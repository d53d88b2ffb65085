"""Embeddings of everything that can be searched: what is missing, and making it up."""

from __future__ import annotations

import math
from collections.abc import Collection

from sqlalchemy.orm import Session

from ...embeddings import Embedder
from ...errors import InvalidValue
from ...models import EmbeddedType
from ...schemas import EmbeddingEstimate, EmbeddingStatus, ObjectType
from .._shared.checks import checked_callable, checked_code, checked_flag, checked_limit
from . import articles
from .beside import EmbeddingUpkeep
from .beside import cost as beside_cost
from .beside import status as beside_status
from .embedding import MAX_LIMIT, Progress

_BYTES_PER_TOKEN = 4
"""Of UTF-8: about a token of English is four letters, one of Chinese a character and a third."""


def embed_missing(
    session: Session,
    embedder: Embedder,
    *,
    object_types: Collection[ObjectType] = tuple(ObjectType),
    limit: int | None = None,
    progress: Progress | None = None,
    switch_back: bool = False,
) -> int:
    """Embed articles, messages and tickets that have no embedding by this model of their present text.

    How many were done; at most ``limit``, so that a worker can commit in between. What is missing is known
    (triggers queue it), so the work is in proportion to ``limit``; only for a model that is being prepared
    everything is looked through. Several workers share the work: what one has taken (FOR UPDATE SKIP LOCKED)
    the others pass over. Equal texts are embedded once. While another model answers, the new embeddings are
    kept beside its own and take over all at once when none is missing: in the call that sees all of them
    committed, at the latest in the next one. A failing embedder is asked three times; a text that it
    refuses, while it takes another, stays missing and is tried again after a minute, and then after twice as
    long each time, at most a day; when it has changed, at once. No text is ever touched. A worker of a model
    that another one has replaced is refused: ``switch_back`` prepares it as if it were a new one.

    Messages and tickets are locked (FOR KEY SHARE) when their embedding is stored, until the caller's
    transaction ends: who changes such a text waits for it, and all other changes and merges go on. Articles
    are locked as ``knowledge.embed_missing`` says.

    Raises:
        InvalidValue: an unknown type, a limit that is not from 1 to 1,000,000, a model without a name of 1 to
            255 characters, or messages or tickets in a stricter isolation than READ COMMITTED.
        ModelReplaced: another model has taken over from this one.
        EmbedderUnavailable: the embedder failed. Batches before it are written; roll back or keep them.
        InvalidVector: the embedder returned a vector that cannot be stored.
    """
    types = _checked_types(object_types)
    checked_flag("switch_back", switch_back)
    limit = MAX_LIMIT if limit is None else checked_limit(limit, maximum=MAX_LIMIT)
    progress = checked_callable("progress", progress)
    done = 0
    for object_type in types:
        rest = limit - done
        if rest == 0:
            break
        if object_type is ObjectType.KNOWLEDGE:
            done += articles.embed_missing(
                session, embedder, limit=rest, progress=progress, switch_back=switch_back
            )
        else:
            upkeep = EmbeddingUpkeep(session, EmbeddedType(object_type), embedder, switch_back=switch_back)
            done += upkeep.embed(limit=rest, progress=progress)
    return done


def fill_queue(
    session: Session,
    embedder: Embedder,
    *,
    object_types: Collection[ObjectType] = tuple(ObjectType),
    switch_back: bool = False,
) -> int:
    """Queue all messages and tickets without an embedding by this model; how many.

    What is new or changes is put there by triggers. This is for what they have not seen, such as rows that
    were loaded while they were off, and for workers of a next model that begin together: commit at once after
    it, and they share the work from its beginning. Waits for whoever fills the queue now.

    Raises:
        InvalidValue: an unknown type, or a model without a name of 1 to 255 characters.
        ModelReplaced: another model has taken over from this one.
    """
    checked_flag("switch_back", switch_back)
    return sum(
        EmbeddingUpkeep(session, EmbeddedType(one), embedder, switch_back=switch_back).fill_queue()
        for one in _checked_types(object_types)
        if one is not ObjectType.KNOWLEDGE
    )


def estimate(
    session: Session, embedder: Embedder, *, object_types: Collection[ObjectType] = tuple(ObjectType)
) -> list[EmbeddingEstimate]:
    """What ``embed_missing`` would embed, by type, before anything is spent on it; one statement for each.

    The embedder is asked nothing: of it only the model's name counts. Looks through everything that has no
    embedding by that model, which is all of it for a next one.

    Raises:
        InvalidValue: an unknown type, or a model without a name of 1 to 255 characters.
    """
    estimates = []
    for object_type in _checked_types(object_types):
        if object_type is ObjectType.KNOWLEDGE:
            row = articles.cost(session, embedder)
        else:
            row = beside_cost(session, EmbeddedType(object_type), embedder)
        tokens = math.ceil(row.bytes / _BYTES_PER_TOKEN)
        estimates.append(
            EmbeddingEstimate(object_type=object_type, objects=row.objects, texts=row.texts, tokens=tokens)
        )
    return estimates


def _checked_types(object_types: Collection[ObjectType]) -> list[ObjectType]:
    if not isinstance(object_types, Collection):
        raise InvalidValue("object_types", "must be a list of types")
    types = {checked_code("object_types", one, ObjectType) for one in object_types}
    return [one for one in ObjectType if one in types]


def embedding_status(session: Session) -> list[EmbeddingStatus]:
    """What is embedded by which model, and what is stale or missing, by type of object."""
    return [articles.status(session), *(beside_status(session, beside) for beside in EmbeddedType)]
