"""Embeddings beside the rows that they were made from, and what keeps them complete."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Double,
    ForeignKey,
    Identity,
    Index,
    LargeBinary,
    String,
    func,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from .base import Base, code, code_check
from .vector import EMBEDDING_DIMENSIONS, HalfVector, Vector


class ObjectType(StrEnum):
    """What can be searched."""

    KNOWLEDGE = "knowledge"
    MESSAGE = "message"
    TICKET = "ticket"


class EmbeddedType(StrEnum):
    """What has its embeddings in a table of their own; an article has its embedding in its own row."""

    MESSAGE = "message"
    TICKET = "ticket"


class EmbeddingModel(Base):
    """The model whose embeddings answer, by type; others are being prepared."""

    __tablename__ = "embedding_models"
    __table_args__ = (code_check("object_type", EmbeddedType),)

    object_type: Mapped[EmbeddedType] = mapped_column(code(EmbeddedType, 20), primary_key=True)
    model: Mapped[str] = mapped_column(String(255))
    dimensions: Mapped[int]
    since: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())


class ReplacedModel(Base):
    """A model that answered before: a worker of it that still runs must not switch back."""

    __tablename__ = "replaced_models"
    __table_args__ = (code_check("object_type", ObjectType),)

    object_type: Mapped[ObjectType] = mapped_column(code(ObjectType, 20), primary_key=True)
    model: Mapped[str] = mapped_column(String(255), primary_key=True)
    replaced_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())


class EmbeddingQueueEntry(Base):
    """An object that may lack an embedding: triggers put it here, and workers share it by locks on its row.

    What has changed twice is here twice: who writes a message waits for no worker that has the first entry.
    """

    __tablename__ = "embedding_queue"
    __table_args__ = (
        code_check("object_type", ObjectType),
        Index("embedding_queue_refused_idx", "object_id", postgresql_where=text("failures > 0")),
    )

    object_type: Mapped[ObjectType] = mapped_column(code(ObjectType, 20), primary_key=True)
    """An article is here only while its text is refused: what lacks an embedding is seen in its row."""
    model: Mapped[str] = mapped_column(String(255), primary_key=True, server_default="")
    """That is being prepared; none for the one that answers."""
    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    object_id: Mapped[UUID]
    failures: Mapped[int] = mapped_column(server_default="0")
    """How often an embedder has refused the text; a changed text begins anew."""
    refused_at: Mapped[datetime | None]
    """The last time."""


class _Provenance:
    """Where an embedding comes from."""

    model: Mapped[str] = mapped_column(String(255), primary_key=True)
    dimensions: Mapped[int]
    """Of the model; the rest of the vector is zero."""
    content_hash: Mapped[bytes] = mapped_column(LargeBinary)
    """SHA-256 of the text that was embedded."""
    embedded_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp(), sort_order=2)


class KnowledgeEmbedding(_Provenance, Base):
    """An article's embedding by the next model, until all articles have one and they take over at once."""

    __tablename__ = "knowledge_embeddings"

    article_id: Mapped[UUID] = mapped_column(
        ForeignKey("knowledge_base.id", ondelete="CASCADE"), primary_key=True, sort_order=-1
    )
    embedding: Mapped[list[float]] = mapped_column(Vector(EMBEDDING_DIMENSIONS), deferred=True, sort_order=1)


class MessageEmbedding(_Provenance, Base):
    """Deleted by a trigger when the message's text changes."""

    __tablename__ = "message_embeddings"
    __table_args__ = (
        Index("message_embeddings_content_hash_idx", "content_hash"),
        Index(
            "message_embeddings_embedding_idx",
            "embedding",
            postgresql_using="hnsw",
            postgresql_ops={"embedding": "halfvec_cosine_ops"},
            postgresql_with={"m": 16, "ef_construction": 200},
        ),
    )

    message_id: Mapped[UUID] = mapped_column(
        ForeignKey("messages.id", ondelete="CASCADE"), primary_key=True, sort_order=-1
    )
    embedding: Mapped[list[float] | None] = mapped_column(
        HalfVector(EMBEDDING_DIMENSIONS), deferred=True, sort_order=1
    )
    """None where there is no text."""


class TicketEmbedding(_Provenance, Base):
    """Of subject, first messages and resolution notes; deleted by a trigger when one of them changes."""

    __tablename__ = "ticket_embeddings"
    __table_args__ = (
        Index("ticket_embeddings_content_hash_idx", "content_hash"),
        Index(
            "ticket_embeddings_embedding_idx",
            "embedding",
            postgresql_using="hnsw",
            postgresql_ops={"embedding": "halfvec_cosine_ops"},
            postgresql_with={"m": 16, "ef_construction": 200},
        ),
    )

    ticket_id: Mapped[UUID] = mapped_column(
        ForeignKey("tickets.id", ondelete="CASCADE"), primary_key=True, sort_order=-1
    )
    messages: Mapped[int] = mapped_column(sort_order=1)
    """How many of the conversation's first three messages there were."""
    embedding: Mapped[list[float] | None] = mapped_column(
        HalfVector(EMBEDDING_DIMENSIONS), deferred=True, sort_order=1
    )


class SearchThreshold(Base):
    """From which score on a hit answers a question, as ``search.calibrate`` has measured."""

    __tablename__ = "search_thresholds"
    __table_args__ = (
        code_check("object_type", ObjectType),
        CheckConstraint("vector_share BETWEEN 0 AND 1", name="vector_share"),
    )

    object_type: Mapped[ObjectType] = mapped_column(code(ObjectType, 20), primary_key=True)
    model: Mapped[str] = mapped_column(String(255), primary_key=True)
    """Empty where words alone are compared."""
    dimensions: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    vector_share: Mapped[float] = mapped_column(Double, primary_key=True)
    """Of the similarity in the score: 1 by vector, 0 by words, between them in hybrid mode."""
    threshold: Mapped[float] = mapped_column(Double)
    answered: Mapped[float] = mapped_column(Double)
    """The part of the questions with an answer that have a confident hit."""
    refused: Mapped[float] = mapped_column(Double)
    """The part of those without an answer that have none."""
    calibrated_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
