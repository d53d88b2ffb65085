"""A text that an embedder refuses is left alone, and longer each time; a change of it is tried at once."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
import tenacity
from sqlalchemy import Engine, select, text
from sqlalchemy.orm import Session, sessionmaker

from app.errors import EmbedderUnavailable
from app.models import Base, EmbeddingQueueEntry
from app.schemas import EmbeddingStatus, ObjectType
from app.services import indexing
from app.testing import (
    ConversationFactory,
    KnowledgeBaseEntryFactory,
    MessageFactory,
    TicketFactory,
    bound_to,
)

TYPES = pytest.mark.parametrize("object_type", ObjectType)
MADE: dict[ObjectType, tuple[Any, str]] = {
    ObjectType.KNOWLEDGE: (KnowledgeBaseEntryFactory, "title"),
    ObjectType.MESSAGE: (MessageFactory, "content"),
    ObjectType.TICKET: (TicketFactory, "subject"),
}
PICKLES = "All about pickles, at length"


class Picky:
    """Refuses every batch with a text about pickles, as a model does with one that is too long."""

    dimensions = 2

    def __init__(self, model: str = "picky", refuses: str = "pickles") -> None:
        self.model, self.refuses = model, refuses
        self.seen: list[str] = []

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        self.seen += texts
        if any(self.refuses in one for one in texts):
            raise ConnectionError("that was too much, and quotes: pickles")
        return [[3.0, 4.0]] * len(texts)


@pytest.fixture(autouse=True)
def in_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tenacity, "wait_random_exponential", lambda **_: 0)


@pytest.fixture
def refused(session: Session, object_type: ObjectType) -> Base:
    """What is refused, beside two that are not."""
    session.execute(text("UPDATE knowledge_base SET is_active = false"))
    factory, field = MADE[object_type]
    for n in range(2):
        factory(**{field: f"Number {n}"})
    made: Base = factory(**{field: PICKLES})
    return made


def embed(session: Session, embedder: Picky, object_type: ObjectType) -> int:
    return indexing.embed_missing(session, embedder, object_types=[object_type])


def status(session: Session, object_type: ObjectType) -> EmbeddingStatus:
    (found,) = [one for one in indexing.embedding_status(session) if one.object_type is object_type]
    return found


def pause(session: Session, object_type: ObjectType) -> timedelta:
    """How long the one refused text is left alone from now, to the minute."""
    (one,) = status(session, object_type).refused_texts
    return timedelta(minutes=round((one.try_at - datetime.now(UTC)) / timedelta(minutes=1)))


def let_pass(session: Session, time: timedelta) -> None:
    session.execute(
        text("UPDATE embedding_queue SET refused_at = refused_at - CAST(:time AS interval)"), {"time": time}
    )


@TYPES
def test_a_refused_text_is_left_alone_and_longer_each_time(session, refused, object_type):
    assert embed(session, Picky(), object_type) == 2
    for minutes in (1, 2, 4, 8):
        assert pause(session, object_type) == timedelta(minutes=minutes)
        let_pass(session, timedelta(minutes=minutes, seconds=-5))
        embedder = Picky()
        assert (embed(session, embedder, object_type), embedder.seen) == (0, [])
        let_pass(session, timedelta(seconds=6))
        assert embed(session, embedder, object_type) == 0
        assert any(PICKLES in one for one in embedder.seen)
    (one,) = status(session, object_type).refused_texts
    assert (one.id, one.failures) == (refused.id, 5)

    session.execute(text("UPDATE embedding_queue SET failures = 100000 WHERE failures > 0"))
    assert pause(session, object_type) == timedelta(days=1)


@TYPES
def test_what_is_taken_in_the_end_is_refused_no_more(session, refused, object_type):
    embed(session, Picky(), object_type)
    shown = status(session, object_type)
    assert (shown.current, shown.missing, shown.refused) == (2, 1, 1)
    assert PICKLES not in shown.model_dump_json()

    let_pass(session, timedelta(minutes=2))
    assert embed(session, Picky(refuses="nothing"), object_type) == 1
    shown = status(session, object_type)
    assert (shown.current, shown.missing, shown.refused, shown.refused_texts) == (3, 0, 0, ())
    assert (
        session.scalars(select(EmbeddingQueueEntry.object_id).where(EmbeddingQueueEntry.failures > 0)).all()
        == []
    )


@TYPES
@pytest.mark.parametrize("new", ["Shorter", "Other pickles"])
def test_a_changed_text_is_tried_at_once_and_counted_anew(session, refused, object_type, new):
    embed(session, Picky(), object_type)
    let_pass(session, timedelta(minutes=1))
    embed(session, Picky(), object_type)

    setattr(refused, MADE[object_type][1], new)
    session.flush()
    assert status(session, object_type).refused == 0
    embedder = Picky()
    assert embed(session, embedder, object_type) == (new == "Shorter")
    assert any(new in one for one in embedder.seen)
    assert [one.failures for one in status(session, object_type).refused_texts] == (
        [] if new == "Shorter" else [1]
    )


def test_a_ticket_s_next_message_changes_its_text_too(session):
    ticket = TicketFactory(conversation=ConversationFactory(), subject=PICKLES)
    embed(session, Picky(), ObjectType.TICKET)
    assert status(session, ObjectType.TICKET).refused == 1
    MessageFactory(conversation=ticket.conversation, content="and onions")
    embedder = Picky()
    embed(session, embedder, ObjectType.TICKET)
    assert any("onions" in one for one in embedder.seen)


@TYPES
def test_another_model_is_not_held_up_and_switches_once_it_has_all(session, refused, object_type):
    embed(session, Picky(), object_type)
    assert embed(session, Picky("next", refuses="Number 1"), object_type) == 2
    shown = status(session, object_type)
    assert {(one.model, one.failures) for one in shown.refused_texts} == {("picky", 1), ("next", 1)}
    assert shown.model == "picky"

    let_pass(session, timedelta(minutes=2))
    assert embed(session, Picky("next"), object_type) == 1
    shown = status(session, object_type)
    assert (shown.model, shown.current, shown.refused) == ("next", 3, 0)


@TYPES
@pytest.mark.parametrize("new", ["Shorter", "Other pickles"])
def test_a_changed_text_is_tried_at_once_by_a_model_that_is_being_prepared(
    session, refused, object_type, new
):
    embed(session, Picky(refuses="nothing"), object_type)
    assert embed(session, Picky("next"), object_type) == 2

    setattr(refused, MADE[object_type][1], new)
    embedder = Picky("next")
    embed(session, embedder, object_type)
    assert any(new in one for one in embedder.seen)


@pytest.mark.parametrize("object_type", [ObjectType.KNOWLEDGE, ObjectType.MESSAGE])
def test_what_is_gone_waits_no_more(session, refused, object_type):
    embed(session, Picky(), object_type)
    session.delete(refused)
    session.flush()
    assert status(session, object_type).refused == 0


def test_an_article_out_of_use_is_not_shown_as_refused(session):
    article = KnowledgeBaseEntryFactory(title=PICKLES)
    embed(session, Picky(), ObjectType.KNOWLEDGE)
    article.is_active = False
    session.flush()
    assert status(session, ObjectType.KNOWLEDGE).refused == 0


@TYPES
def test_one_text_alone_is_told_from_an_embedder_that_is_away(session, refused, object_type):
    embed(session, Picky(), object_type)
    let_pass(session, timedelta(minutes=1))
    assert embed(session, Picky(), object_type) == 0

    let_pass(session, timedelta(minutes=2))
    with pytest.raises(EmbedderUnavailable) as caught:
        embed(session, Picky(refuses=""), object_type)
    assert "pickles" not in str(caught.value)
    assert [one.failures for one in status(session, object_type).refused_texts] == [2]


@TYPES
def test_many_refused_texts_hold_up_no_others(session, object_type):
    """More than a batch of them, and older than what can be embedded."""
    session.execute(text("UPDATE knowledge_base SET is_active = false"))
    factory, field = MADE[object_type]
    for n in range(120):
        factory(**{field: f"{PICKLES} {n}"})
    factory(**{field: "Number 1"})
    assert embed(session, Picky(), object_type) == 1
    assert status(session, object_type).refused == 120
    embedder = Picky()
    assert indexing.fill_queue(session, embedder) == 0
    assert (embed(session, embedder, object_type), embedder.seen) == (0, [])


@TYPES
def test_two_workers_share_what_was_refused(crm_clone: Engine, object_type: ObjectType) -> None:
    """While one asks about it again, the other passes it over; the pause grows once."""
    sessions = sessionmaker(crm_clone)
    factory, field = MADE[object_type]
    with Session(crm_clone) as session, bound_to(session):
        session.execute(text("UPDATE knowledge_base SET is_active = false"))
        refused: UUID = factory(**{field: PICKLES}).id
        embed(session, Picky(), object_type)
        let_pass(session, timedelta(minutes=1))
        session.commit()
    asked, answer = threading.Event(), threading.Event()

    class Slow(Picky):
        def embed(self, texts: Sequence[str]) -> list[list[float]]:
            asked.set()
            assert answer.wait(20)
            return super().embed(texts)

    def first() -> None:
        with sessions.begin() as session:
            embed(session, Slow(), object_type)

    worker = threading.Thread(target=first)
    worker.start()
    assert asked.wait(20)
    second = Picky()
    with sessions.begin() as session:
        assert (embed(session, second, object_type), second.seen) == (0, [])
    answer.set()
    worker.join(20)
    with sessions() as session:
        assert [(one.id, one.failures) for one in status(session, object_type).refused_texts] == [
            (refused, 2)
        ]
