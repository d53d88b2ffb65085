"""Statements in SQL's own words, whose parameters have the types that the server cannot infer."""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    Double,
    Integer,
    LargeBinary,
    Text,
    TextClause,
    Uuid,
    bindparam,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import TypeEngine

from ...models import EMBEDDING_DIMENSIONS
from ...models.vector import HalfVector, Vector

_TYPES: dict[str, TypeEngine[Any]] = {
    "after": Uuid(),
    "around": Integer(),
    "article_filters": JSONB(),
    "article_ids": ARRAY(Uuid()),
    "entries": ARRAY(BigInteger()),
    "filters": JSONB(),
    "half_vector": HalfVector(EMBEDDING_DIMENSIONS),
    "hash": LargeBinary(),
    "hashes": ARRAY(LargeBinary()),
    "id": Uuid(),
    "ids": ARRAY(Uuid()),
    "is_blank": Boolean(),
    "max_rows": Integer(),
    "min_score": Double(),
    "min_similarity": Double(),
    "model": Text(),
    "model_dimensions": Integer(),
    "object_type": Text(),
    "query": Vector(EMBEDDING_DIMENSIONS),
    "query_dimensions": Integer(),
    "query_model": Text(),
    "query_text": Text(),
    "queue": Text(),
    "sha256": Text(),
    "source": Text(),
    "spaces": Text(),
    "text_weight": Double(),
    "twin": Uuid(),
    "threshold_model": Text(),
    "vector": Vector(EMBEDDING_DIMENSIONS),
    "vector_share": Double(),
    "vector_weight": Double(),
}


def typed(sql: str) -> TextClause:
    """The statement; a parameter of one of these names has its type wherever it stands."""
    names = _TYPES.keys() & set(re.findall(r"(?<![:\w]):(\w+)", sql))
    return text(sql).bindparams(*(bindparam(name, type_=_TYPES[name]) for name in names))
