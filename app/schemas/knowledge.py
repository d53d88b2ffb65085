"""Search results."""

from __future__ import annotations

from uuid import UUID

from ..models.knowledge import KnowledgeCategory
from .base import Schema


class KnowledgeHit(Schema):
    """An article, and how near it is to the question."""

    id: UUID
    title: str
    content: str
    category: KnowledgeCategory
    source: str | None
    similarity: float | None
    """1 - cosine distance, so 1 is equal and 0 unrelated."""
    score: float
    """What the hits are ordered by; in vector mode the similarity."""
