"""Factories for embeddings, and for what keeps them complete; see ``factories``."""
# factory_boy says that it is typed, and is not:
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

from hashlib import sha256
from typing import Any

from factory.declarations import LazyAttribute, LazyFunction, SelfAttribute, SubFactory
from sqlalchemy.orm import DeclarativeBase

from .. import models
from ..models import EmbeddedType, ObjectType
from ._factory import CRMFactory, current_session, owner
from .factories import KnowledgeBaseEntryFactory, MessageFactory, TicketFactory


class KnowledgeEmbeddingFactory(CRMFactory[models.KnowledgeEmbedding]):
    """An embedding of ``article`` as it is, by a model that does not answer yet."""

    class Meta:
        model = models.KnowledgeEmbedding

    class Params:
        article = owner("article_id", models.KnowledgeBaseEntry, KnowledgeBaseEntryFactory)

    article_id = None
    model = "next-model"
    dimensions = 2
    content_hash = LazyAttribute(lambda row: _hash(f"{row.article.title}\n{row.article.content}"))
    embedding = LazyFunction(lambda: _point(0.5, 0.5))


class MessageEmbeddingFactory(CRMFactory[models.MessageEmbedding]):
    """An embedding of ``message`` as it is; ``embedding=None`` is one of a blank text."""

    class Meta:
        model = models.MessageEmbedding

    class Params:
        message = owner("message_id", models.Message, MessageFactory)

    message_id = None
    model = "present-model"
    dimensions = 2
    content_hash = LazyAttribute(lambda row: _hash(row.message.content[:8000]))
    embedding = LazyFunction(lambda: _point(0.5, 0.5))


class TicketEmbeddingFactory(CRMFactory[models.TicketEmbedding]):
    """An embedding of ``ticket`` as it is, without messages."""

    class Meta:
        model = models.TicketEmbedding

    class Params:
        ticket = owner("ticket_id", models.Ticket, TicketFactory)

    ticket_id = None
    model = "present-model"
    dimensions = 2
    content_hash = LazyAttribute(lambda row: _hash(row.ticket.subject))
    messages = 0
    embedding = LazyFunction(lambda: _point(0.5, 0.5))


class EmbeddingModelFactory(CRMFactory[models.EmbeddingModel]):
    """The one row of the type of object, changed to what is passed where there is one."""

    class Meta:
        model = models.EmbeddingModel

    object_type = EmbeddedType.MESSAGE
    model = "present-model"
    dimensions = 2

    @classmethod
    def _create(cls, model_class: type[DeclarativeBase], *args: Any, **kwargs: Any) -> Any:
        session = current_session()
        present = session.merge(model_class(*args, **kwargs))
        session.flush()
        return present


class EmbeddingQueueEntryFactory(CRMFactory[models.EmbeddingQueueEntry]):
    """``message`` (or the object that ``object_type`` and ``object_id`` name), found without an embedding."""

    class Meta:
        model = models.EmbeddingQueueEntry

    class Params:
        message = SubFactory(MessageFactory)

    object_type = ObjectType.MESSAGE
    model = "present-model"
    object_id = SelfAttribute("message.id")


def _hash(text: str) -> bytes:
    return sha256(text.encode()).digest()


def _point(*values: float) -> list[float]:
    return [*values, *[0.0] * (models.EMBEDDING_DIMENSIONS - len(values))]
