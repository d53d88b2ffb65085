"""Search results, and what became of documents."""

from __future__ import annotations

from datetime import datetime
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


class IngestReport(Schema):
    """What became of a document's chunks."""

    source: str
    added: int
    """New in the document, or in it again."""
    changed: int
    unchanged: int
    switched_off: int
    """Unchanged, and not in use because somebody switched them off."""
    removed: int
    """No longer in the document."""
    embedded: int
    unembedded: int
    """The source's active articles without an embedding of their present text."""
    embedding_error: str | None = None
    """Why some are without; None also where no embedder was asked."""


class DocumentProblem(Schema):
    """A document that could not be used."""

    source: str
    problem: str


class FolderReport(Schema):
    """What became of the documents of a folder, in their order."""

    documents: tuple[IngestReport, ...]
    problems: tuple[DocumentProblem, ...] = ()


class ArticleSummary(Schema):
    """An article without its text."""

    id: UUID
    title: str
    category: KnowledgeCategory
    source: str | None
    active: bool
    embedded_by: str | None
    """The model, if the embedding is one of the present text."""
    updated_at: datetime | None
