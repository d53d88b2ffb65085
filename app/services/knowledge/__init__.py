"""The knowledge base: documents become articles, and articles are embedded."""

from __future__ import annotations

from ..indexing.articles import embed_missing
from .articles import deactivate, list_articles
from .folders import Document, documents_in, files_below, ingest_document, ingest_each, ingest_folder
from .ingestion import ingest_html, ingest_markdown, ingest_text

__all__ = [
    "Document",
    "deactivate",
    "documents_in",
    "embed_missing",
    "files_below",
    "ingest_document",
    "ingest_each",
    "ingest_folder",
    "ingest_html",
    "ingest_markdown",
    "ingest_text",
    "list_articles",
]
