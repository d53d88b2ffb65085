"""The knowledge base: documents become articles, and articles are embedded."""

from __future__ import annotations

from ._article_embeddings import embed_missing
from ._articles import deactivate, list_articles
from ._folders import Document, documents_in, ingest_document, ingest_each, ingest_folder
from ._ingestion import ingest_html, ingest_markdown, ingest_text

__all__ = [
    "Document",
    "deactivate",
    "documents_in",
    "embed_missing",
    "ingest_document",
    "ingest_each",
    "ingest_folder",
    "ingest_html",
    "ingest_markdown",
    "ingest_text",
    "list_articles",
]
