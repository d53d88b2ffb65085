"""An embedder that is away or talks nonsense: nothing is lost, nothing is stored, and the rest comes next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import tenacity
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from app.errors import EmbedderUnavailable, InvalidVector
from app.models import Message
from app.schemas import ObjectType
from app.services import indexing
from app.services.indexing import articles as _article_embeddings
from app.services.indexing import beside as _beside_embeddings
from app.testing import KnowledgeBaseEntryFactory, MessageFactory, TicketFactory

GOOD = [[3.0, 4.0]]
AWAY = ConnectionError("the service is away, and quotes: secret")
TYPES = pytest.mark.parametrize("object_type", ObjectType)


class Scripted:
    """Gives one answer a call: vectors, or an error that is raised; the last one again and again."""

    model = "scripted"
    dimensions = 2

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.calls: list[list[str]] = []

    def embed(self, texts: Sequence[str]) -> Any:
        self.calls.append(list(texts))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture(autouse=True)
def in_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """In batches of one, with no pauses."""
    monkeypatch.setattr(tenacity, "wait_random_exponential", lambda **_: 0)
    for module in (_article_embeddings, _beside_embeddings):
        monkeypatch.setattr(module, "BATCH", 1)


@pytest.fixture
def three(session: Session, object_type: ObjectType) -> None:
    """Three objects of the type, and no other articles."""
    session.execute(text("UPDATE knowledge_base SET is_active = false"))
    for n in range(3):
        if object_type is ObjectType.KNOWLEDGE:
            KnowledgeBaseEntryFactory(title=f"Number {n}")
        elif object_type is ObjectType.MESSAGE:
            MessageFactory(content=f"Number {n}")
        else:
            TicketFactory(subject=f"Number {n}")


def embed(session: Session, embedder: Scripted, object_type: ObjectType) -> int:
    return indexing.embed_missing(session, embedder, object_types=[object_type])


def numbers(session: Session, object_type: ObjectType) -> tuple[int, int]:
    """What has an embedding, and what has none."""
    (found,) = [one for one in indexing.embedding_status(session) if one.object_type is object_type]
    return found.current, found.missing


@TYPES
def test_an_embedder_that_fails_twice_is_asked_a_third_time(session, three, object_type):
    embedder = Scripted(AWAY, GOOD * 2, GOOD)
    assert embed(session, embedder, object_type) == 3
    assert len(embedder.calls) == 5
    assert numbers(session, object_type) == (3, 0)


@TYPES
def test_an_embedder_that_fails_half_way_loses_nothing_and_the_rest_comes_next(session, three, object_type):
    embedder = Scripted(GOOD, AWAY)
    with pytest.raises(EmbedderUnavailable) as caught:
        embed(session, embedder, object_type)
    assert "secret" not in str(caught.value)
    assert (len(embedder.calls), numbers(session, object_type)) == (5, (1, 2))
    done = embedder.calls[0]

    rest = Scripted(GOOD)
    assert embed(session, rest, object_type) == len(rest.calls) == 2
    assert done not in rest.calls
    assert numbers(session, object_type) == (3, 0)


@TYPES
def test_a_failure_can_be_rolled_back_as_a_whole(session, three, object_type):
    savepoint = session.begin_nested()
    with pytest.raises(EmbedderUnavailable):
        embed(session, Scripted(GOOD, AWAY), object_type)
    savepoint.rollback()
    assert numbers(session, object_type) == (0, 3)


def test_the_text_of_a_message_outlives_its_embedder(session):
    message = MessageFactory(content="Number 1")
    with pytest.raises(EmbedderUnavailable):
        embed(session, Scripted(AWAY), ObjectType.MESSAGE)
    assert session.scalars(select(Message.content)).one() == message.content == "Number 1"


@TYPES
@pytest.mark.parametrize(
    ("vectors", "error"),
    [
        (GOOD * 2, EmbedderUnavailable),
        ([], EmbedderUnavailable),
        (None, EmbedderUnavailable),
        ([[1.0]], InvalidVector),
        ([[1.0] * 2000], InvalidVector),
        ([[0.0, 0.0]], InvalidVector),
        ([[float("nan"), 1.0]], InvalidVector),
        ([["1", "2"]], InvalidVector),
        (["xy"], InvalidVector),
    ],
    ids=["too many", "none", "nothing", "short", "long", "zeros", "NaN", "text", "str"],
)
def test_vectors_that_make_no_sense_are_not_stored(session, three, vectors, error, object_type):
    with pytest.raises(error):
        embed(session, Scripted(vectors), object_type)
    assert numbers(session, object_type) == (0, 3)
    assert embed(session, Scripted(GOOD), object_type) == 3


class Picky:
    """Fails with a batch that holds a text about pickles, as a model does with one that is too long."""

    model = "picky"
    dimensions = 2

    def __init__(self) -> None:
        self.calls = 0

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        self.calls += 1
        if any("pickles" in one for one in texts):
            raise ConnectionError("the service is away")
        return GOOD * len(texts)


@TYPES
def test_a_text_that_fails_alone_stops_no_other(session, three, object_type, monkeypatch):
    for module in (_article_embeddings, _beside_embeddings):
        monkeypatch.setattr(module, "BATCH", 100)
    made = {
        ObjectType.KNOWLEDGE: (KnowledgeBaseEntryFactory, "title"),
        ObjectType.MESSAGE: (MessageFactory, "content"),
        ObjectType.TICKET: (TicketFactory, "subject"),
    }
    factory, field = made[object_type]
    refused = factory(**{field: "All about pickles, at length"})
    assert embed(session, Picky(), object_type) == 3
    assert numbers(session, object_type) == (3, 1)

    setattr(refused, field, "Shorter")
    assert embed(session, Picky(), object_type) == 1
    assert numbers(session, object_type) == (4, 0)


@TYPES
def test_an_embedder_that_is_away_is_not_asked_about_every_text(session, three, object_type, monkeypatch):
    for module in (_article_embeddings, _beside_embeddings):
        monkeypatch.setattr(module, "BATCH", 100)
    embedder = Scripted(AWAY)
    with pytest.raises(EmbedderUnavailable):
        embed(session, embedder, object_type)
    assert len(embedder.calls) == 4
