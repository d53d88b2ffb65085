"""A search from the caller's words to the database's function and back."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import Double, Integer, Row, Text, bindparam, select, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Session

from ..embeddings import Embedder, embed_texts, prepare
from ..errors import InvalidValue, InvalidVector
from ..models import EMBEDDING_DIMENSIONS, EmbeddingModel, KnowledgeBaseEntry
from ..models.vector import Vector
from ..schemas import Explanation, Hit, ObjectType, SearchMode
from ._embedding import checked_model
from ._input import (
    checked_code,
    checked_json,
    checked_limit,
    checked_number,
    checked_text,
    checked_time,
    checked_uuid,
)

H = TypeVar("H", bound=Hit)
C = TypeVar("C", bound=StrEnum)

DEFAULT_WEIGHTS = (1.0, 0.18)
"""Of the ranks by vector and by words in a hybrid search; see ``benchmarks/search_quality.py --tune``."""
MAX_QUERY = 10_000
_MAX_VALUES = 1_000

_SIDES = ("vector_rank", "text_rank", "text_score", "text_coverage")
PARAMETERS = (
    bindparam("query", type_=Vector(EMBEDDING_DIMENSIONS)),
    bindparam("query_text", type_=Text),
    bindparam("max_rows", type_=Integer),
    bindparam("min_similarity", type_=Double),
    bindparam("query_model", type_=Text),
    bindparam("vector_weight", type_=Double),
    bindparam("text_weight", type_=Double),
)
FOUND = "hit.id, hit.similarity, hit.score, hit.vector_rank, hit.text_rank, hit.text_score, hit.text_coverage"


def call(object_type: ObjectType, filters: str = "filters") -> str:
    """The call of the database's function, with its filters in the parameter of that name."""
    return (
        f"search_objects('{object_type}', :query, :query_text, :max_rows, :{filters}, :min_similarity, "
        ":query_model, :vector_weight, :text_weight)"
    )


def statement(object_type: ObjectType, table: str, columns: str) -> Any:
    """Hits with columns of their own table."""
    sql = f"SELECT {FOUND}, {columns} FROM {call(object_type)} AS hit JOIN {table} AS o USING (id) "  # noqa: S608
    return text(sql + "ORDER BY hit.score DESC, hit.id").bindparams(
        *PARAMETERS, bindparam("filters", type_=JSONB)
    )


@dataclass(frozen=True)
class Search:
    """A checked search, with the text embedded where its mode needs that."""

    parameters: Mapping[str, Any]
    embedder: Embedder | None
    explain: bool


def prepared(  # noqa: PLR0917 - the arguments of every search, in their order
    query: str | Sequence[float],
    embedder: Embedder | None,
    limit: int,
    min_similarity: float | None,
    mode: str,
    weights: tuple[float, float],
    explain: bool,
) -> Search:
    """Check everything, and then embed the text.

    Raises:
        InvalidValue: see ``search.search_knowledge``.
        InvalidVector: likewise.
        EmbedderUnavailable: likewise.
    """
    chosen = checked_code("mode", mode, SearchMode)
    limit = checked_limit(limit)
    min_similarity = checked_similarity(min_similarity, chosen)
    _check_weights(weights)
    words = None
    if isinstance(query, str):
        query = checked_text("query", query, max_length=MAX_QUERY)
        words = None if chosen is SearchMode.VECTOR else query
    elif chosen is not SearchMode.VECTOR:
        raise InvalidValue("query", f"must be a text in {chosen} mode")
    if chosen is SearchMode.TEXT:
        embedder = None
    model = None if embedder is None else checked_model(embedder)
    vector = None if chosen is SearchMode.TEXT else _vector(query, embedder)
    return Search(
        parameters={
            "query": vector,
            "query_text": words,
            "max_rows": limit,
            "min_similarity": min_similarity,
            "query_model": model,
            "vector_weight": weights[0],
            "text_weight": weights[1],
        },
        embedder=embedder,
        explain=explain,
    )


def _check_weights(weights: tuple[float, float]) -> None:
    # Nothing is said about a set's order.
    pair = isinstance(weights, Sequence) and len(weights) == 2
    if not pair or not all(_is_number(w) and 0 <= w <= 1000 for w in weights) or not any(weights):
        raise InvalidValue("weights", "must be two numbers from 0 to 1000, not both 0")


def checked_similarity(least: float | None, mode: SearchMode = SearchMode.VECTOR) -> float | None:
    """The least similarity of a hit, or None."""
    if least is None:
        return None
    if not _is_number(least) or not -1 <= least <= 1:
        raise InvalidValue("min_similarity", "must be a number from -1 to 1")
    if mode is SearchMode.TEXT:
        raise InvalidValue("min_similarity", "has no meaning in text mode")
    return least


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value)


def _vector(query: str | Sequence[float], embedder: Embedder | None) -> list[float]:
    if isinstance(query, str):
        if embedder is None:
            raise InvalidValue("embedder", "is needed to search for a text by vector")
        return embed_texts(embedder, [query])[0]
    vector = prepare(query)
    if embedder is not None and len(query) != embedder.dimensions:
        raise InvalidVector(
            f"the query has {len(query)} dimensions; the model {embedder.model} has {embedder.dimensions}"
        )
    return vector


def hits(
    session: Session,
    search: Search,
    asked: Any,
    object_types: Collection[ObjectType],
    kind: type[H],
    **filters: Mapping[str, Any],
) -> list[H]:
    """Run the statement; one flight, and a second one only where nothing was found.

    Raises:
        InvalidVector: what was searched is embedded by another model than the query.
    """
    rows = session.execute(asked, {**search.parameters, **filters}).all()
    if not rows and search.embedder is not None:
        _refuse_other_models(session, search.embedder.model, object_types)
    return [_hit(kind, row, search.explain) for row in rows]


def _hit(kind: type[H], row: Row[Any], explain: bool) -> H:
    values = dict(row._mapping)
    sides = {name: values.pop(name) for name in _SIDES}
    if explain:
        values["explanation"] = Explanation(similarity=values["similarity"], **sides)
    return kind(**values)


def _refuse_other_models(session: Session, model: str, object_types: Collection[ObjectType]) -> None:
    present: dict[str, set[str]] = {}
    if ObjectType.KNOWLEDGE in object_types:
        made_by = KnowledgeBaseEntry.extra["embedding"]["model"].astext
        known = select(made_by).where(KnowledgeBaseEntry.embedding.is_not(None), made_by.is_not(None))
        present["articles"] = set(session.scalars(known.distinct()))
    for object_type, known_model in session.execute(select(EmbeddingModel.object_type, EmbeddingModel.model)):
        if ObjectType(object_type) in object_types:
            present[f"{object_type}s"] = {known_model}
    others = [
        f"{name} of {', '.join(sorted(models))}"
        for name, models in present.items()
        if models and model not in models
    ]
    if others:
        raise InvalidVector(f"the query is of the model {model}, {' and '.join(others)}")


def codes(field: str, value: C | Collection[C] | None, enum: type[C]) -> dict[str, list[str]]:
    """A filter by one code or several; nothing for None."""
    if value is None:
        return {}
    return {field: [checked_code(field, one, enum).value for one in _several(field, value)]}


def texts(field: str, value: str | Collection[str] | None) -> dict[str, list[str]]:
    """A filter by one text or several."""
    if value is None:
        return {}
    return {field: [checked_text(field, one, max_length=255) for one in _several(field, value)]}


def ids(field: str, value: UUID | str | Collection[UUID] | None) -> dict[str, list[str]]:
    """A filter by one id or several."""
    if value is None:
        return {}
    several = [value] if isinstance(value, UUID) else _several(field, value)
    return {field: [str(checked_uuid(field, one)) for one in several]}


def times(**edges: datetime | None) -> dict[str, str]:
    """Filters by time: ``created_from`` (inclusive) and ``created_before`` (exclusive), and so on."""
    found = {}
    for name, edge in edges.items():
        if edge is not None:
            try:
                # PostgreSQL reads offsets of whole minutes only.
                at = checked_time(name, edge).astimezone(UTC)
            except OverflowError:
                raise InvalidValue(name, "is outside of the calendar") from None
            found[name.replace("_", "_at_", 1)] = at.isoformat()
    return found


def numbers(**edges: int | None) -> dict[str, int]:
    """Filters by a number: ``..._from`` (inclusive) and ``..._before`` (exclusive)."""
    return {name: checked_number(name, edge) for name, edge in edges.items() if edge is not None}


def metadata(extra: Mapping[str, Any] | None) -> dict[str, dict[str, Any]]:
    """A filter by what the row's metadata must contain, at any depth of it."""
    return {} if extra is None else {"metadata": checked_json("extra", extra)}


def _several(field: str, value: Any) -> list[Any]:
    if isinstance(value, str):
        return [value]
    if not isinstance(value, Collection) or not 1 <= len(value) <= _MAX_VALUES:
        raise InvalidValue(field, f"must be one value or a list of 1 to {_MAX_VALUES:,}")
    return list(value)
