"""Workers that embed at once, die, or meet those who change the texts: no work twice, no old vector stays."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine, func, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, sessionmaker

from app.database import transaction
from app.errors import InvalidValue, ModelReplaced
from app.models import EmbeddingModel, Message, MessageEmbedding, TicketEmbedding, TicketStatus
from app.services import indexing, merging, tickets
from app.services.indexing import beside as _beside_embeddings
from app.testing import ConversationFactory, CustomerFactory, MessageFactory, TicketFactory, bound_to

MESSAGES = """
    INSERT INTO messages (conversation_id, customer_id, channel, direction, role, content)
    SELECT :conversation_id, :customer_id, 'email', 'inbound', 'customer', 'Message ' || n
    FROM generate_series(1, :count) AS n
"""
STALE = {
    "message": """
        SELECT count(*) FROM message_embeddings e JOIN messages o ON o.id = e.message_id
        WHERE e.content_hash <> sha256(convert_to(left(o.content, 8000), 'UTF8'))
    """,
    "ticket": """
        SELECT count(*) FROM ticket_embeddings e
        WHERE e.content_hash <> sha256(convert_to(ticket_text(e.ticket_id), 'UTF8'))
    """,
}
CHANGES = {
    "content": "UPDATE messages SET content = 'after' WHERE id = :message_id",
    "subject": "UPDATE tickets SET subject = 'after' WHERE id = :ticket_id",
    "notes": "UPDATE tickets SET resolution_notes = 'after' WHERE id = :ticket_id",
    "deleted": "DELETE FROM messages WHERE id = :message_id",
}


class Letters:
    """Counts letters; calls ``meanwhile`` while it works."""

    dimensions = 26

    def __init__(self, model: str = "letters-1", meanwhile: Callable[[], Any] = lambda: None) -> None:
        self.model, self.meanwhile = model, meanwhile
        self.seen: list[str] = []

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        self.seen += texts
        self.meanwhile()
        return [[1.0 + one.lower().count(letter) for letter in map(chr, range(97, 123))] for one in texts]


def once(action: Callable[[], Any]) -> Callable[[], Any]:
    """The action, and nothing from the second call on."""
    actions = [action]
    return lambda: actions.pop()() if actions else None


def embed(session: Session, embedder: Letters, limit: int | None = None, types: Any = ("message",)) -> int:
    return indexing.embed_missing(session, embedder, object_types=types, limit=limit)


@pytest.fixture
def scene(crm_clone: Engine) -> dict[str, UUID]:
    """One ticket whose conversation has one message."""
    with Session(crm_clone) as session, bound_to(session):
        conversation = ConversationFactory(customer=CustomerFactory())
        ticket = TicketFactory(conversation=conversation, subject="before")
        message = MessageFactory(conversation=conversation, content="before")
        ids = {"ticket_id": ticket.id, "message_id": message.id, "customer_id": conversation.customer_id,
               "conversation_id": conversation.id}  # fmt: skip
        session.commit()
    return ids


@pytest.fixture
def many(scene: dict[str, UUID], sessions: sessionmaker[Session]) -> int:
    with sessions.begin() as session:
        session.execute(text(MESSAGES), scene | {"count": 419})
    return 420


def work_until_nothing_is_missing(sessions: sessionmaker[Session], embedder: Letters, total: int) -> int:
    """As a worker does it: a batch, a commit, the next one."""
    done, deadline = 0, time.monotonic() + 60
    while True:
        with sessions.begin() as session:
            done += embed(session, embedder, limit=20)
        with sessions() as session:
            rows = select(func.count()).where(MessageEmbedding.model == embedder.model)
            if session.scalar(rows) == total:
                return done
        assert time.monotonic() < deadline


def test_workers_that_begin_together_share_a_queue_that_was_filled_before(sessions, at_once, many):
    """Each ends with its first call that finds nothing, as ``crm knowledge embed`` does."""

    def work(embedder: Letters) -> int:
        transaction(sessions, indexing.fill_queue, embedder)
        done = 0
        while count := transaction(sessions, embed, embedder, limit=20):
            done += count
        return done

    with sessions.begin() as session:  # not the first model, for which the workers would wait anyway
        session.add(EmbeddingModel(object_type="message", model="letters-1", dimensions=26))
    workers = [Letters(meanwhile=lambda: time.sleep(0.02)) for _ in range(3)]
    done = at_once([lambda one=one: work(one) for one in workers])
    assert sum(done) == many
    assert all(done)


def test_who_fills_the_queue_waits_for_another_who_does(sessions, until_it_waits, many):
    with sessions.begin() as session:
        session.add(EmbeddingModel(object_type="message", model="letters-1", dimensions=26))
        session.execute(text("DELETE FROM embedding_queue"))  # as if the triggers had been off
    with sessions.begin() as first:
        assert indexing.fill_queue(first, Letters(), object_types=["message"]) == many
        second = until_it_waits(
            lambda: transaction(sessions, indexing.fill_queue, Letters(), object_types=["message"])
        )
    assert second.result(20) == 0


def test_four_workers_share_the_messages_and_embed_none_twice(sessions, at_once, many):
    workers = [Letters(meanwhile=lambda: time.sleep(0.01)) for _ in range(4)]
    done = at_once([lambda one=one: work_until_nothing_is_missing(sessions, one, many) for one in workers])
    seen = [one for worker in workers for one in worker.seen]
    assert len(seen) == len(set(seen)) == many
    assert sum(done) >= many
    assert sum(1 for worker in workers if worker.seen) > 1
    with sessions() as session:
        (found,) = [one for one in indexing.embedding_status(session) if one.object_type == "message"]
        assert (found.current, found.missing) == (many, 0)
        queued = text("SELECT count(*) FROM embedding_queue WHERE object_type = 'message'")
        assert session.scalar(queued) == 0


def test_a_worker_that_is_killed_loses_nothing(crm_clone, sessions, many):
    """In the middle of its second batch: the first one is committed, the second one comes again."""
    with crm_clone.connect() as connection:
        session = Session(connection)
        pid = session.scalar(text("SELECT pg_backend_pid()"))

        def die() -> None:
            if len(killed.seen) > 20:
                with crm_clone.connect() as killer:
                    assert killer.scalar(text("SELECT pg_terminate_backend(:pid, 10000)"), {"pid": pid})

        killed = Letters(meanwhile=die)
        embed(session, killed, limit=20)
        session.commit()
        with pytest.raises(DBAPIError):
            embed(session, killed, limit=20)
        connection.invalidate()

    rest = Letters()
    assert work_until_nothing_is_missing(sessions, rest, many) == many - 20
    assert len(set(rest.seen)) == len(rest.seen) == many - 20
    assert not set(killed.seen[:20]) & set(rest.seen)


@pytest.mark.parametrize("change", CHANGES)
def test_a_text_that_changes_while_the_embedder_works_is_not_stored_and_comes_again(sessions, scene, change):
    types = ["message", "ticket"]

    def edit() -> None:
        with sessions.begin() as other:
            other.execute(text(CHANGES[change]), scene)

    embedder = Letters(meanwhile=once(edit))
    with sessions.begin() as session:
        embed(session, embedder, types=["message"] if change == "content" else ["ticket"])
    with sessions.begin() as session:
        assert [session.scalar(text(stale)) for stale in STALE.values()] == [0, 0]
        embed(session, Letters(), types=types)
        found = {one.object_type: one for one in indexing.embedding_status(session)}
        assert [(found[one].missing, found[one].stale) for one in types] == [(0, 0)] * 2
        assert [session.scalar(text(stale)) for stale in STALE.values()] == [0, 0]


@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
@pytest.mark.parametrize("object_type", ["message", "ticket"])
def test_a_worker_that_could_not_see_a_text_change_is_refused(crm_clone, scene, level, object_type):
    embedder = Letters()
    strict = crm_clone.execution_options(isolation_level=level)
    with Session(strict) as session, pytest.raises(InvalidValue, match="READ COMMITTED"):
        embed(session, embedder, types=[object_type])
    assert embedder.seen == []


@pytest.mark.parametrize("change", CHANGES)
def test_who_changes_a_text_waits_for_the_embedding_that_is_being_stored_and_takes_it_away(
    sessions, scene, change, until_it_waits
):
    """Stored and not yet committed: the change must see it, or the old vector would stay for good."""
    types = ["message"] if change == "content" else ["ticket"]

    def edit() -> None:
        with sessions.begin() as other:
            other.execute(text(CHANGES[change]), scene)

    with sessions() as worker:
        assert embed(worker, Letters(), types=types) == 1
        waiting = until_it_waits(edit)
        worker.commit()
    waiting.result(30)
    with sessions() as session:
        model = MessageEmbedding if change == "content" else TicketEmbedding
        assert session.scalar(select(func.count()).select_from(model)) == 0
        embed(session, Letters(), types=["message", "ticket"])
        assert [session.scalar(text(stale)) for stale in STALE.values()] == [0, 0]


@pytest.mark.parametrize("change", CHANGES)
def test_a_worker_waits_for_a_change_that_is_not_committed(sessions, scene, change, until_it_waits):
    types = ["message"] if change == "content" else ["ticket"]

    def work() -> None:
        with sessions.begin() as session:
            embed(session, Letters(), types=types)

    with sessions() as editor:
        editor.execute(text(CHANGES[change]), scene)
        waiting = until_it_waits(work)
        editor.commit()
    waiting.result(30)
    with sessions.begin() as session:
        assert [session.scalar(text(stale)) for stale in STALE.values()] == [0, 0]
        found = {one.object_type: one for one in indexing.embedding_status(session)}
        assert found[types[0]].current == (0 if change == "deleted" and types == ["message"] else 1)


def test_a_twin_that_changes_while_the_embedder_works_is_not_copied(sessions, scene):
    """What has lost its twin gets a vector of its own, not none."""
    with sessions.begin() as session:
        embed(session, Letters())
        values = scene | {"count": 1}
        session.execute(text(MESSAGES), values)
        session.execute(text(MESSAGES.replace("'Message ' || n", "'before'")), values)

    def edit() -> None:
        with sessions.begin() as other:
            other.execute(text(CHANGES["content"]), scene)

    with sessions.begin() as session:
        embed(session, Letters(meanwhile=once(edit)))
    with sessions.begin() as session:
        embed(session, Letters())
        asked = select(Message.content, MessageEmbedding.embedding.is_(None)).join(
            MessageEmbedding, MessageEmbedding.message_id == Message.id
        )
        assert dict(map(tuple, session.execute(asked))) == {
            "after": False, "before": False, "Message 1": False,
        }  # fmt: skip


def test_nobody_else_waits_for_a_worker(sessions, scene, many, monkeypatch):
    """Neither while the embedder works on the first batch nor on the second, when the first one is stored."""
    monkeypatch.setattr(_beside_embeddings, "BATCH", 300)
    with sessions.begin() as session, bound_to(session):
        others = [CustomerFactory().id for _ in range(2)]
    done: list[int] = []
    errors: list[Exception] = []

    def live() -> None:
        # The embedder's errors are tried again.
        try:
            live_once()
        except Exception as error:
            errors.append(error)

    def live_once() -> None:
        if not others:
            return
        with sessions.begin() as other:
            other.execute(text("SET LOCAL lock_timeout = '1s'"))
            survivor = others.pop()
            merging.merge(other, survivor, scene["customer_id"], actor="human:7", reason="the same")
            scene["customer_id"] = survivor
            status = (TicketStatus.WAITING, TicketStatus.PROCESSING)[len(done)]
            tickets.change_status(other, scene["ticket_id"], status, actor="human:7")
            tickets.assign(other, scene["ticket_id"], f"human:{len(done)}", actor="human:7")
            other.execute(text("UPDATE messages SET delivery_status = 'read'"))
            other.execute(text(MESSAGES), scene | {"count": 1})
            done.append(1)

    with sessions.begin() as session:
        embed(session, Letters(), types=["ticket"])
        embed(session, Letters(meanwhile=live), types=["message"])
    assert (errors, len(done)) == ([], 2)


def test_a_search_answers_while_another_model_takes_over(sessions, scene, many):
    """The switch is one commit: whoever asks sees the one model or the other, complete."""
    with sessions.begin() as session:
        embed(session, Letters())
    seen, stop = set(), threading.Event()

    def look() -> None:
        while not stop.is_set():
            with sessions() as session:
                (found,) = [one for one in indexing.embedding_status(session) if one.object_type == "message"]
                seen.add((found.model, found.current))

    looking = threading.Thread(target=look)
    looking.start()
    work_until_nothing_is_missing(sessions, Letters("letters-2"), many)
    stop.set()
    looking.join(30)
    with sessions() as session:
        (found,) = [one for one in indexing.embedding_status(session) if one.object_type == "message"]
        assert (found.model, found.models) == ("letters-2", {"letters-2": many})
    assert seen <= {("letters-1", many), ("letters-2", many)}


def test_two_models_that_are_prepared_at_once_end_with_one_of_them_complete(sessions, at_once, many):
    with sessions.begin() as session:
        indexing.embed_missing(session, Letters("letters-0"))

    def prepare(model: str) -> None:
        with suppress(ModelReplaced):  # the other one has taken over
            for _ in range(30):
                transaction(sessions, indexing.embed_missing, Letters(model), limit=60)

    at_once([lambda model=model: prepare(model) for model in ("letters-1", "letters-2")])

    with sessions.begin() as session:
        found = indexing.embedding_status(session)
        for one in found:
            assert one.model in {"letters-1", "letters-2"}
            assert (one.models[one.model], one.current, one.missing) == (one.total, one.total, 0)
        assert [session.scalar(text(stale)) for stale in STALE.values()] == [0, 0]
        # The other one can be finished, too.
        indexing.embed_missing(session, Letters("letters-2"), switch_back=True)
        assert {one.model for one in indexing.embedding_status(session)} == {"letters-2"}
        assert session.scalar(text("SELECT count(*) FROM embedding_queue")) == 0
        assert session.scalar(text("SELECT count(*) FROM knowledge_embeddings")) == 0


def test_two_workers_that_both_finish_a_model_leave_the_switch_to_the_next_call(sessions, at_once, many):
    """Neither sees what the other has not committed."""
    with sessions.begin() as session:
        embed(session, Letters("letters-1"))
    half = [Letters("letters-2"), Letters("letters-2")]
    with sessions() as one, sessions() as two:
        embed(one, half[0], limit=1)
        one.commit()
        embed(one, half[0], limit=200)
        assert embed(two, half[1]) == many - 201
        one.commit()
        two.commit()
        assert indexing.embedding_status(one)[1].model == "letters-1"
        assert embed(one, half[0]) == 0
        assert indexing.embedding_status(one)[1].models == {"letters-2": many}
        one.commit()
    assert len(set(half[0].seen + half[1].seen)) == len(half[0].seen + half[1].seen) == many
