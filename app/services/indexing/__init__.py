"""Embeddings of everything that can be searched: what is missing, and making it up."""

from __future__ import annotations

from .articles import models_of_articles
from .upkeep import embed_missing, embedding_status, estimate, fill_queue

__all__ = ["embed_missing", "embedding_status", "estimate", "fill_queue", "models_of_articles"]
