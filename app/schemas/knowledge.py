"""What became of documents, and articles in short."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from ..models.knowledge import KnowledgeCategory
from .base import Schema


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
