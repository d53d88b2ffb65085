"""From a search's statement to its hits."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import Row, select
from sqlalchemy.orm import Session
from sqlalchemy.sql.selectable import TextualSelect

from ...errors import InvalidVector
from ...models import EmbeddingModel
from ...models.knowledge import EMBEDDED_BY
from ...schemas import Explanation, Hit, KnowledgeHit, ObjectType
from ..indexing.articles import models_of_articles
from ..indexing.parameters import typed

H = TypeVar("H", bound=Hit)

_SIDES = ("vector_rank", "text_rank", "text_score", "text_coverage", "confidence")
_PIECES = 8
"""Of one document among the best hits, so many are looked for at first."""
MAX_HITS = 1000
_MODELS = select(EmbeddingModel.object_type, EmbeddingModel.model, EmbeddingModel.dimensions)
_WIDTH_OF_ARTICLES = typed(f"""
    SELECT metadata #>> '{{embedding,dimensions}}' FROM knowledge_base
    WHERE embedding IS NOT NULL AND {EMBEDDED_BY} = :model LIMIT 1
""")  # noqa: S608


@dataclass(frozen=True)
class Target(Generic[H]):
    """What a search looks through, and what its hits are."""

    statement: TextualSelect
    object_types: tuple[ObjectType, ...]
    schema: type[H]


def fetch_hits(
    session: Session,
    target: Target[H],
    parameters: Mapping[str, Any],
    *,
    explain: bool = False,
    refuse_other_models: bool = True,
) -> list[H]:
    """The hits; one flight, and a second one only where there are none, to tell why.

    Raises:
        InvalidVector: what was searched is embedded by another model than the query.
    """
    rows = session.execute(target.statement, parameters).all()
    # With min_score nothing may be enough, which the second flight tells apart.
    if refuse_other_models and not rows and parameters.get("query_model") is not None:
        check_models(session, parameters, target.object_types)
    return [_hit(target.schema, row, explain) for row in rows]


def fetch_documents(
    session: Session, target: Target[KnowledgeHit], parameters: Mapping[str, Any], *, explain: bool
) -> list[KnowledgeHit]:
    """The best hit of each of the ``max_rows`` best documents, with the other hits of its document.

    An article that no ingestion made is a document of its own.

    Raises:
        InvalidVector: see ``fetch_hits``.
    """
    limit: int = parameters["max_rows"]
    for depth in dict.fromkeys((min(limit * _PIECES, MAX_HITS), MAX_HITS)):
        hits = fetch_hits(session, target, {**parameters, "max_rows": depth}, explain=explain)
        documents: dict[object, list[KnowledgeHit]] = {}
        for hit in hits:
            is_ingested = isinstance((hit.extra or {}).get("ingest"), dict)
            documents.setdefault(hit.source if is_ingested else hit.id, []).append(hit)
        if len(documents) >= limit or len(hits) < depth:
            break
    return [best.model_copy(update={"more": others}) for best, *others in list(documents.values())[:limit]]


def _hit(schema: type[H], row: Row[Any], explain: bool) -> H:
    values = dict(row._mapping)
    sides = {name: values.pop(name) for name in _SIDES}
    if explain:
        values["explanation"] = Explanation(similarity=values["similarity"], **sides)
    return schema(**values)


def check_models(
    session: Session, parameters: Mapping[str, Any], object_types: Collection[ObjectType]
) -> None:
    """Raise InvalidVector where what is searched is embedded by another model or width, with both named."""
    model, dimensions = parameters["query_model"], parameters["query_dimensions"]
    present: dict[str, dict[str, str | None]] = {}
    if ObjectType.KNOWLEDGE in object_types:
        width = session.scalar(_WIDTH_OF_ARTICLES, {"model": model})
        present["articles"] = dict.fromkeys((name for name in models_of_articles(session) if name), width)
    for object_type, model_of_type, width_of_type in session.execute(_MODELS):
        if ObjectType(object_type) in object_types:
            present[f"{object_type}s"] = {model_of_type: str(width_of_type)}
    others = [
        f"{name} of {', '.join(sorted(models))}"
        for name, models in present.items()
        if models and model not in models
    ] + [
        f"{name} of {model} with {models[model]} dimensions, not {dimensions}"
        for name, models in present.items()
        if models.get(model) not in {None, str(dimensions)}
    ]
    if others:
        raise InvalidVector(f"the query is of the model {model}, {' and '.join(others)}")
