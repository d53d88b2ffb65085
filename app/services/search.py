"""Similarity search over the knowledge base."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pgvector.sqlalchemy import VECTOR
from sqlalchemy import column, func, literal, select
from sqlalchemy.orm import Session

from ..embeddings import Embedder, embed_texts, prepare
from ..errors import InvalidValue, InvalidVector
from ..models import EMBEDDING_DIMENSIONS, KnowledgeCategory
from ..schemas import KnowledgeHit
from ._input import checked_code, checked_limit, checked_text


def search_knowledge(
    session: Session,
    query: str | Sequence[float],
    *,
    embedder: Embedder | None = None,
    limit: int = 5,
    category: KnowledgeCategory | None = None,
    min_similarity: float | None = None,
    mode: str = "vector",
) -> list[KnowledgeHit]:
    """The active articles nearest to ``query`` (a text or a vector), best first.

    Returns ``min(limit, matching articles)`` hits, whatever the category. One statement. With ``embedder``
    the articles' model is checked too: vectors of two models have nothing to do with each other.

    Raises:
        InvalidValue: empty text, a text without an embedder, or a bad limit, category, similarity or mode.
        InvalidVector: not finite, without direction, too long, or of another model than the articles'.
        EmbedderUnavailable: the embedder failed.
    """
    if mode != "vector":
        raise InvalidValue("mode", "must be vector")
    limit = checked_limit(limit)
    if category is not None:
        category = checked_code("category", category, KnowledgeCategory)
    if min_similarity is not None and (
        not isinstance(min_similarity, int | float)
        or not -1 <= min_similarity <= 1
        or math.isnan(min_similarity)
    ):
        raise InvalidValue("min_similarity", "must be a number from -1 to 1")

    names = ("id", "title", "content", "category", "source", "model", "similarity")
    hits = func.search_knowledge_base(
        literal(_query_vector(query, embedder), VECTOR(EMBEDDING_DIMENSIONS)), limit, category, min_similarity
    ).table_valued(*(column(name) for name in names), name="hits")
    rows = session.execute(select(hits)).all()

    models = {row.model for row in rows} - {None}
    if embedder is not None and models - {embedder.model}:
        raise InvalidVector(
            f"the query is of the model {embedder.model}, articles of {', '.join(sorted(models))}"
        )
    return [
        KnowledgeHit(
            id=row.id,
            title=row.title,
            content=row.content,
            category=row.category,
            source=row.source,
            similarity=row.similarity,
            score=row.similarity,
        )
        for row in rows
    ]


def _query_vector(query: str | Sequence[float], embedder: Embedder | None) -> list[float]:
    if not isinstance(query, str):
        return prepare(query)
    text = checked_text("query", query)
    if embedder is None:
        raise InvalidValue("embedder", "is needed to search for a text")
    return embed_texts(embedder, [text])[0]
