"""What every search takes, checked, with the text embedded where its mode needs that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

from ...embeddings import DIMENSIONS, Embedder, embed_query, prepare, prepare_of
from ...errors import InvalidValue, InvalidVector
from ...schemas import SearchMode, SearchModeCode
from .._shared.checks import checked_code, checked_limit, checked_number, checked_text, is_number
from ..indexing.embedding import checked_model

DEFAULT_WEIGHTS = (0.70, 0.30)
"""Of the similarity and the words' score in a hybrid search; ``benchmarks/search_quality.py`` chose them."""
MAX_QUERY = 10_000
MAX_AROUND = 10


class Options(TypedDict):
    """The parameters of a search's statement."""

    query: list[float] | None
    query_text: str | None
    max_rows: int
    min_similarity: float | None
    min_score: float | None
    query_model: str | None
    query_dimensions: int | None
    vector_weight: float
    text_weight: float
    threshold_model: str | None
    """Of whose threshold hits are measured by: empty for words alone; None for that of what is found."""
    model_dimensions: int | None
    vector_share: float


def checked_options(  # noqa: PLR0917 - the options of every search, in their order
    query: str | Sequence[float],
    vector: Sequence[float] | None,
    embedder: Embedder | None,
    limit: int,
    min_similarity: float | None,
    min_score: float | None,
    mode: SearchModeCode,
    weights: tuple[float, float],
) -> Options:
    """Check everything, and then embed the text, unless its vector is there.

    Raises:
        InvalidValue: see ``search.search_knowledge``.
        InvalidVector: likewise.
        EmbedderUnavailable: likewise.
    """
    mode = checked_code("mode", mode, SearchMode)
    by_vector, by_words = mode is not SearchMode.TEXT, mode is not SearchMode.VECTOR
    limit = checked_limit(limit)
    min_similarity = checked_similarity(min_similarity)
    if min_similarity is not None and not by_vector:
        raise InvalidValue("min_similarity", "has no meaning in text mode")
    min_score = checked_score(min_score)
    check_weights(weights)
    if isinstance(query, str):
        query = checked_text("query", query, max_length=MAX_QUERY)
    elif by_words:
        raise InvalidValue("query", f"must be a text in {mode} mode; its vector is passed beside it")
    elif query is None:
        raise InvalidVector("the query is neither a text nor a vector")
    elif vector is not None:
        raise InvalidValue("vector", "is that of a text, and the query is a vector itself")
    model = checked_model(embedder) if by_vector and embedder is not None else None
    prepared = None
    if not isinstance(query, str):
        prepared = checked_vector(query, embedder)
    elif vector is not None:
        prepared = checked_vector(vector, embedder)
    elif by_vector:
        prepared = _embedded(query, embedder)
    return Options(
        query_model=model,
        query_dimensions=None if model is None or embedder is None else embedder.dimensions,
        query=prepared if by_vector else None,
        query_text=query if by_words and isinstance(query, str) else None,
        max_rows=limit,
        min_similarity=min_similarity,
        min_score=min_score,
        vector_weight=weights[0],
        text_weight=weights[1],
        threshold_model=model if by_vector else "",
        model_dimensions=(None if embedder is None else embedder.dimensions) if by_vector else 0,
        vector_share=vector_share(mode, weights),
    )


def vector_share(mode: SearchMode, weights: tuple[float, float]) -> float:
    """How much of a score is the similarity: scores of different shares have different thresholds."""
    if mode is SearchMode.HYBRID:
        return weights[0] / (weights[0] + weights[1])
    return 1.0 if mode is SearchMode.VECTOR else 0.0


def checked_similarity(least: float | None) -> float | None:
    """The least similarity of a hit, or None."""
    if least is not None and not (is_number(least) and -1 <= least <= 1):
        raise InvalidValue("min_similarity", "must be a number from -1 to 1")
    return least


def checked_score(least: float | None) -> float | None:
    """The least score of a hit, or None."""
    if least is not None and not (is_number(least) and -1 <= least <= 1):
        raise InvalidValue("min_score", "must be a number from -1 to 1")
    return least


def checked_around(sections: int) -> int:
    """How many sections of its document a hit has on either side."""
    if checked_number("around", sections) not in range(MAX_AROUND + 1):
        raise InvalidValue("around", f"must be from 0 to {MAX_AROUND}")
    return sections


def check_weights(weights: tuple[float, float]) -> None:
    """Two numbers, of which one is above 0."""
    # Nothing is said about a set's order.
    is_pair = isinstance(weights, Sequence) and len(weights) == 2
    if not is_pair or not all(is_number(w) and 0 <= w <= 1000 for w in weights) or not any(weights):
        raise InvalidValue("weights", "must be two numbers from 0 to 1000, not both 0")


def _embedded(query: str, embedder: Embedder | None) -> list[float]:
    if embedder is None:
        raise InvalidValue("embedder", "or a vector is needed to search for a text by vector")
    return embed_query(embedder, query)


def checked_vector(vector: Sequence[float], embedder: Embedder | None) -> list[float]:
    """The vector, ready for the database, if it can be one of the embedder's."""
    if embedder is None:
        return prepare(vector)
    prepared = prepare_of(embedder, vector)
    # One that is too wide for the columns may also come as it is stored.
    if len(vector) not in (embedder.dimensions, min(DIMENSIONS, embedder.dimensions)):
        raise InvalidVector(
            f"the query has {len(vector)} dimensions; the model {embedder.model} has {embedder.dimensions}"
        )
    return prepared
