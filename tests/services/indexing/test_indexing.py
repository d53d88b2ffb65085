"""Messages and tickets get an embedding of what they say by now, once, and lose it when they change."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import delete, func, select, text, update
from sqlalchemy.orm import Session

from app.errors import InvalidValue
from app.models import (
    Conversation,
    EmbeddingModel,
    EmbeddingQueueEntry,
    Message,
    MessageEmbedding,
    Ticket,
    TicketEmbedding,
)
from app.schemas import EmbeddingStatus, ObjectType
from app.services import indexing, search
from app.services.indexing import beside as _beside_embeddings
from app.testing import ConversationFactory, MessageFactory, TicketFactory

BESIDE = ["message", "ticket"]


class Letters:
    """Counts letters: small vectors, made here and now; remembers what it was asked."""

    dimensions = 26

    def __init__(self, model: str = "letters-1") -> None:
        self.model = model
        self.calls: list[list[str]] = []

    @property
    def seen(self) -> list[str]:
        return [one for call in self.calls for one in call]

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        self.calls.append(list(texts))
        return [[1.0 + one.lower().count(letter) for letter in map(chr, range(97, 123))] for one in texts]


def embed(session: Session, embedder: Letters, *object_types: str, **options: Any) -> int:
    return indexing.embed_missing(session, embedder, object_types=object_types or BESIDE, **options)


def status(session: Session, object_type: str) -> EmbeddingStatus:
    (found,) = [one for one in indexing.embedding_status(session) if one.object_type == object_type]
    return found


def numbers(session: Session, object_type: str) -> tuple[int, int, int, int]:
    found = status(session, object_type)
    return found.total, found.current, found.stale, found.missing


def embedded(session: Session) -> dict[UUID, list[float] | None]:
    return {
        row[0]: row[1]
        for row in session.execute(select(MessageEmbedding.message_id, MessageEmbedding.embedding))
    }


def say(session: Session, ticket: Ticket, content: str, **facts: Any) -> Message:
    conversation = session.get_one(Conversation, ticket.conversation_id)
    return MessageFactory(conversation=conversation, content=content, **facts)


def ask(session: Session, ticket: Ticket) -> str:
    """What the ticket is embedded from now."""
    embedder = Letters()
    embed(session, embedder, "ticket")
    (one,) = embedder.seen
    return one


# What is embedded


def test_a_message_is_embedded_once_at_unit_length_with_its_origin(session):
    message = MessageFactory(content="My sync is slow")
    embedder = Letters()
    assert embed(session, embedder) == 1
    assert embed(session, embedder) == 0
    assert embedder.calls == [["My sync is slow"]]

    row = session.get_one(MessageEmbedding, (message.id, "letters-1"))
    assert math.hypot(*row.embedding) == pytest.approx(1, abs=1e-3)
    assert (len(row.embedding), row.embedding[26:]) == (1536, [0.0] * 1510)
    assert (row.dimensions, row.content_hash) == (
        26,
        session.scalar(select(func.sha256(func.convert_to("My sync is slow", "UTF8")))),
    )


def test_of_a_long_message_the_first_8000_characters_are_embedded(session):
    MessageFactory(content="é" * 9_000)
    embedder = Letters()
    embed(session, embedder)
    assert embedder.seen == ["é" * 8_000]


def test_a_ticket_is_its_subject_its_first_three_messages_and_how_it_was_solved(session):
    ticket = TicketFactory(
        conversation=ConversationFactory(), subject="No sync", resolved=True, resolution_notes="New disk"
    )
    for content in ("one", "t" * 3_000, "three", "four"):
        say(session, ticket, content)
    assert ask(session, ticket) == "\n".join(["No sync", "one", "t" * 2_000, "three", "New disk"])


def test_what_a_message_quotes_is_embedded_with_the_message_that_said_it_alone(session):
    conversation = ConversationFactory()
    message = MessageFactory(
        conversation=conversation, content="Works now\n> Restart it", extra={"new_text": "Works now"}
    )
    TicketFactory(conversation_id=conversation.id, customer_id=message.customer_id, subject="Login")
    embedder = Letters()
    embed(session, embedder)
    assert sorted(embedder.seen) == ["Login\nWorks now", "Works now"]


def test_a_ticket_may_have_neither_conversation_nor_notes(session):
    assert ask(session, TicketFactory(subject="Alone")) == "Alone"


def test_a_ticket_s_text_has_an_end_too(session):
    ticket = TicketFactory(subject="s" * 500, resolved=True, resolution_notes="n" * 9_000)
    assert ask(session, ticket) == "s" * 500 + "\n" + "n" * 7_499


@pytest.mark.parametrize("blank", ["", " \n\t", "\u3000\xa0\u2003\x1f"], ids=["empty", "spaces", "unicode"])
def test_a_text_of_nothing_is_kept_in_mind_without_a_vector_and_not_asked_again(session, blank):
    message = MessageFactory(content=blank)
    embedder = Letters()
    assert [embed(session, embedder, "message") for _ in range(2)] == [1, 0]
    assert (embedder.calls, embedded(session)) == ([], {message.id: None})
    assert numbers(session, "message") == (1, 1, 0, 0)
    message.content = "Now it says something"
    session.flush()
    assert embed(session, embedder) == 1
    assert embedder.seen == ["Now it says something"]


def test_equal_texts_are_embedded_once_and_copied_from_then_on(session, monkeypatch):
    monkeypatch.setattr(_beside_embeddings, "BATCH", 3)
    MessageFactory.create_batch(3, content="Thanks!")
    MessageFactory(content="Thanks?")
    embedder = Letters()
    assert embed(session, embedder) == 4
    MessageFactory.create_batch(2, content="Thanks!")
    assert embed(session, embedder) == 2

    assert sorted(embedder.seen) == ["Thanks!", "Thanks?"]
    assert len(embedded(session)) == 6
    assert len({tuple(vector) for vector in embedded(session).values()}) == 1


def test_a_text_is_not_copied_from_another_model(session):
    MessageFactory.create_batch(2, content="Thanks!")
    embed(session, Letters("letters-1"))
    other = Letters("letters-2")
    embed(session, other)
    assert other.calls == [["Thanks!"]]


# What changes


@pytest.mark.parametrize("mode", ["origin", "replica"])
def test_a_message_loses_its_vector_with_its_text_whoever_changes_it(session, mode):
    changed, other = MessageFactory(content="before"), MessageFactory(content="other")
    embed(session, Letters())
    session.execute(text(f"SET LOCAL session_replication_role = {mode}"))
    session.execute(text("UPDATE messages SET content = 'after' WHERE id = :id"), {"id": changed.id})
    assert embedded(session).keys() == {other.id}
    assert numbers(session, "message") == (2, 1, 0, 1)
    embedder = Letters()
    assert embed(session, embedder, "message") == 1
    assert embedder.seen == ["after"]


@pytest.mark.parametrize("mode", ["origin", "replica"])
@pytest.mark.parametrize(
    "change",
    [
        "UPDATE tickets SET subject = 'after' WHERE id = :ticket",
        "UPDATE tickets SET resolution_notes = 'after' WHERE id = :ticket",
        "UPDATE tickets SET conversation_id = NULL WHERE id = :ticket",
        "UPDATE messages SET content = 'after' WHERE id = :message",
        "UPDATE messages SET conversation_id = :elsewhere WHERE id = :message",
        "DELETE FROM messages WHERE id = :message",
    ],
    ids=["subject", "notes", "conversation", "message", "moved message", "deleted message"],
)
def test_a_ticket_loses_its_vector_with_anything_that_it_was_made_from(session, change, mode):
    ticket = TicketFactory(conversation=ConversationFactory(), subject="before")
    TicketFactory(subject="another")
    message = say(session, ticket, "first")
    embed(session, Letters())
    session.execute(text(f"SET LOCAL session_replication_role = {mode}"))
    ids = {"ticket": ticket.id, "message": message.id, "elsewhere": ConversationFactory().id}
    session.execute(text(change), ids)
    assert numbers(session, "ticket") == (2, 1, 0, 1)
    embedder = Letters()
    assert embed(session, embedder, "ticket") == 1
    assert embedder.seen != ["before\nfirst"]


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE messages SET delivery_status = 'read', content = content",
        "UPDATE tickets SET status = 'processing', priority = 'high', subject = subject",
        "UPDATE tickets SET assigned_to = 'human:7'",
    ],
)
def test_a_change_that_leaves_the_text_alone_keeps_the_vector(session, change):
    ticket = TicketFactory(conversation=ConversationFactory())
    say(session, ticket, "first")
    embed(session, Letters())
    session.execute(text(change))
    assert numbers(session, "message") == numbers(session, "ticket") == (1, 1, 0, 0)


def test_a_change_that_is_rolled_back_keeps_the_vector(session):
    message = MessageFactory(content="before")
    embed(session, Letters())
    savepoint = session.begin_nested()
    session.execute(update(Message).values(content="after"))
    assert embedded(session) == {}
    savepoint.rollback()
    assert embedded(session).keys() == {message.id}


def test_a_ticket_is_embedded_again_with_its_second_and_third_message_and_no_more(session):
    ticket = TicketFactory(conversation=ConversationFactory(), subject="Help")
    seen = []
    for content in ("one", "two", "three", "four", "five"):
        say(session, ticket, content)
        embedder = Letters()
        stale = status(session, "ticket").stale
        embed(session, embedder, "ticket")
        seen.append((stale, embedder.seen))
    assert seen == [
        (0, ["Help\none"]), (1, ["Help\none\ntwo"]), (1, ["Help\none\ntwo\nthree"]), (0, []), (0, []),
    ]  # fmt: skip
    assert numbers(session, "ticket") == (1, 1, 0, 0)


def test_a_message_that_does_not_change_the_text_costs_no_call(session):
    """The present row is its own twin."""
    ticket = TicketFactory(conversation=ConversationFactory())
    for content in ("one", "two", "three"):
        say(session, ticket, content)
    embed(session, Letters(), "ticket")
    session.execute(update(TicketEmbedding).values(messages=2))
    indexing.fill_queue(session, Letters(), object_types=["ticket"])
    embedder = Letters()
    assert [embed(session, embedder, "ticket") for _ in range(2)] == [1, 0]
    assert (embedder.calls, session.scalar(select(TicketEmbedding.messages))) == ([], 3)
    assert session.scalar(select(func.num_nulls(TicketEmbedding.embedding))) == 0


def test_what_is_deleted_leaves_its_embedding_and_the_queue(session):
    message, kept = MessageFactory(content="gone"), MessageFactory(content="stays")
    embed(session, Letters(), limit=1)
    assert session.scalar(select(func.count()).select_from(EmbeddingQueueEntry)) == 1
    session.execute(delete(Message).where(Message.content.in_(["gone"])))
    embedder = Letters()
    embed(session, embedder)
    assert embedded(session).keys() == {kept.id} != {message.id}
    assert "gone" not in embedder.seen
    assert session.scalar(select(func.count()).select_from(EmbeddingQueueEntry)) == 0


def test_a_queue_of_deleted_messages_alone_stops_no_later_one(session):
    MessageFactory(content="first")
    MessageFactory(content="gone")
    embed(session, Letters(), "message", limit=1)
    session.execute(delete(Message).where(Message.content == "gone"))
    MessageFactory(content="later")
    embed(session, Letters(), "message")
    assert numbers(session, "message") == (2, 2, 0, 0)


# A call


def test_a_limit_is_kept_over_all_types_and_the_rest_comes_next(session):
    session.execute(
        text("UPDATE knowledge_base SET is_active = id IN (SELECT id FROM knowledge_base LIMIT 2)")
    )
    MessageFactory.create_batch(3)
    TicketFactory.create_batch(2)
    done = []
    while count := indexing.embed_missing(session, Letters(), limit=2):
        done.append(count)
    assert done == [2, 2, 2, 1]
    assert [found.missing for found in indexing.embedding_status(session)] == [0, 0, 0]


def test_only_the_types_that_were_asked_for_are_embedded(session):
    MessageFactory(), TicketFactory()
    assert indexing.embed_missing(session, Letters(), object_types=["ticket"]) == 1
    assert (status(session, "message").model, status(session, "ticket").model) == (None, "letters-1")
    assert indexing.embed_missing(session, Letters(), object_types=[]) == 0
    assert indexing.embed_missing(session, Letters(), object_types=[ObjectType.MESSAGE]) == 1


def test_progress_is_told_after_each_batch(session, monkeypatch):
    monkeypatch.setattr(_beside_embeddings, "BATCH", 2)
    for n in range(5):
        MessageFactory(content=f"Message {n}")
    told: list[tuple[int, int]] = []
    embed(session, Letters(), progress=lambda *numbers: told.append(numbers))
    assert told == [(2, 5), (4, 5), (5, 5)]
    embed(session, Letters(), progress=lambda *numbers: told.append(numbers))
    assert len(told) == 3


@pytest.mark.parametrize(
    "bad",
    [
        {"limit": 0}, {"limit": -1}, {"limit": 1_000_001}, {"limit": True}, {"limit": "5"}, {"limit": 2.0},
        {"object_types": ["customer"]}, {"object_types": "message"}, {"object_types": ["message", None]},
        {"object_types": None}, {"object_types": 3},
    ],
    ids=str,
)  # fmt: skip
def test_bad_arguments_are_refused_before_anything_is_done(session, bad):
    MessageFactory()
    embedder = Letters()
    with pytest.raises(InvalidValue):
        indexing.embed_missing(session, embedder, **bad)
    if "object_types" in bad:
        with pytest.raises(InvalidValue):
            indexing.fill_queue(session, embedder, **bad)
    assert (embedder.calls, session.scalars(select(EmbeddingModel)).all()) == ([], [])


@pytest.mark.parametrize("name", ["", " ", "m" * 256, "a\x00b", None, 7])
@pytest.mark.parametrize("object_type", ObjectType)
def test_a_model_needs_a_name_that_can_be_kept(session, name, object_type):
    with pytest.raises(InvalidValue, match="model"):
        embed(session, Letters(name), object_type)
    assert session.scalars(select(EmbeddingModel)).all() == []


def test_statements_do_not_grow_with_the_rows_of_a_batch(session, queries):
    counted = []
    for rows in (1, 5, 40):
        for n in range(rows):
            MessageFactory(content=f"{rows} {n}")
            TicketFactory(subject=f"{rows} {n}")
        queries.reset()
        assert embed(session, Letters()) == 2 * rows
        counted.append(queries.count)
    assert counted[0] >= counted[1] == counted[2] <= 20, counted


def test_a_new_message_waits_for_its_embedding_and_is_found_by_words_at_once(session):
    old = Letters()
    MessageFactory(content="Password")
    embed(session, old)
    MessageFactory(content="Invoice")
    assert numbers(session, "message") == (2, 1, 0, 1)
    assert len(search.search_messages(session, "Invoice", embedder=old)) == 1
    assert [hit.content for hit in search.search_messages(session, "invoice", mode="text")] == ["Invoice"]


def test_before_anything_is_embedded_everything_is_missing(session):
    MessageFactory.create_batch(2)
    assert status(session, "message") == EmbeddingStatus(
        object_type="message", model=None, total=2, current=0, stale=0, missing=2, models={}
    )
    assert numbers(session, "ticket") == (0, 0, 0, 0)
