"""Product documentation that agents answer from, searchable by meaning."""

from __future__ import annotations

from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    Boolean,
    Index,
    String,
    Text,
    Uuid,
    literal_column,
    text,
    true,
)
from sqlalchemy.orm import Mapped, mapped_column

from .base import Base, CreatedAt, UpdatedAt, UUIDPrimaryKey, code, code_check, metadata_column, words_of
from .vector import EMBEDDING_DIMENSIONS, Vector

# The DDL has no columns for an article's embedding's origin: SQL of what is kept instead, and only here.
EMBEDDED_BY = "(metadata #>> '{embedding,model}')"
"""The model of an article's embedding."""
EMBEDDED_HASH = "(metadata #>> '{embedding,sha256}')"
"""The hash of the text that was embedded."""
TEXT_HASH = "article_hash(title, content)"
"""That of the present text."""
UNEMBEDDED = (
    f"is_active AND (embedding IS NULL OR {EMBEDDED_HASH} IS DISTINCT FROM encode({TEXT_HASH}, 'hex'))"
)
"""Whether an article has no embedding of its present text; as an index has it."""


class KnowledgeCategory(StrEnum):
    FAQ = "faq"
    TROUBLESHOOTING = "troubleshooting"
    FEATURE = "feature"
    BILLING = "billing"
    ACCOUNT = "account"
    GENERAL = "general"


class KnowledgeBaseEntry(Base):
    """An article that questions are answered from, with its embedding."""

    __tablename__ = "knowledge_base"
    __table_args__ = (
        code_check("category", KnowledgeCategory),
        Index(
            "idx_knowledge_base_embedding",
            "embedding",
            postgresql_using="hnsw",
            postgresql_ops={"embedding": "vector_cosine_ops"},
            postgresql_with={"m": 16, "ef_construction": 200},
        ),
        Index("idx_knowledge_base_category", "category", "is_active"),
        Index(
            "idx_knowledge_base_model",
            literal_column(EMBEDDED_BY),
            postgresql_where=text("embedding IS NOT NULL"),
        ),
        Index("idx_knowledge_base_source", literal_column("folded_text(source)")),
        Index("idx_knowledge_base_unembedded", "id", postgresql_where=text(UNEMBEDDED)),
        Index(
            "idx_knowledge_base_words",
            words_of("(title || ' ') || content"),
            postgresql_using="gin",
        ),
    )

    id: Mapped[UUIDPrimaryKey]
    title: Mapped[str] = mapped_column(String(500))
    content: Mapped[str] = mapped_column(Text)
    category: Mapped[KnowledgeCategory] = mapped_column(code(KnowledgeCategory, 100))
    source: Mapped[str | None] = mapped_column(String(255), server_default="product-docs")
    embedding: Mapped[list[float] | None] = mapped_column(Vector(EMBEDDING_DIMENSIONS), deferred=True)
    """Unit length, zero-padded to 1536; ``metadata["embedding"]`` names the model and the text's hash."""
    extra: Mapped[dict[str, Any] | None] = metadata_column()
    is_active: Mapped[bool | None] = mapped_column(Boolean, server_default=true())
    created_at: Mapped[CreatedAt]
    updated_at: Mapped[UpdatedAt]


class KnowledgeDocument(Base):
    """The articles of an ingested document in its order, in one row: a new section rewrites no other."""

    __tablename__ = "knowledge_documents"

    source: Mapped[str] = mapped_column(String(255), primary_key=True)
    article_ids: Mapped[list[UUID]] = mapped_column(ARRAY(Uuid))
