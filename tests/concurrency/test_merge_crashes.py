"""A merge that is cut off anywhere, by a lost connection or a killed server, never happened by half."""

from __future__ import annotations

import os
import random
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from threading import Timer
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, sessionmaker

from app import embedded, migrations
from app.database import make_engine, make_session_factory, transaction
from app.errors import DatabaseUnavailable
from app.services import merging
from app.services.merging.rows import MOVED_TABLES
from app.testing import ConversationFactory, CustomerFactory, TicketFactory, bound_to

WHY = {"actor": "system:crash", "reason": "crash"}
TABLES = ["customers", "customer_merges", "customer_merge_moves", "identity_events", *MOVED_TABLES]
MESSAGES = """
    INSERT INTO messages (conversation_id, customer_id, channel, direction, role, content)
    SELECT :conversation_id, :customer_id, 'email', 'inbound', 'customer', 'Hi'
    FROM generate_series(1, :messages)
"""


def a_pair(sessions: sessionmaker[Session], messages: int) -> tuple[UUID, UUID]:
    with sessions.begin() as session, bound_to(session):
        pair = CustomerFactory(name=None), CustomerFactory(with_email=True, phone="+4915112345678")
        for customer in pair:
            conversation = ConversationFactory(customer=customer)
            TicketFactory(conversation=conversation)
            values = {"conversation_id": conversation.id, "customer_id": customer.id, "messages": messages}
            session.execute(text(MESSAGES), values)
        return pair[0].id, pair[1].id


def everything(sessions: sessionmaker[Session]) -> dict[str, list[str]]:
    with sessions() as session:
        return {t: sorted(session.scalars(text(f"SELECT to_jsonb(r)::text FROM {t} AS r"))) for t in TABLES}


def merge(sessions: sessionmaker[Session], pair: tuple[UUID, UUID]) -> UUID:
    return transaction(sessions, lambda session: merging.merge(session, *pair, **WHY).id, retries=0)


def unmerge(sessions: sessionmaker[Session], merge_id: UUID) -> Any:
    return transaction(sessions, merging.unmerge, merge_id, retries=0, **WHY)


@contextmanager
def struck_before(engine: Engine, position: int, strike: Callable[[int], Any]) -> Iterator[list[int]]:
    """Do ``strike(pid)`` before the statement at ``position``, a COMMIT too; yields whom it struck."""
    seen, struck = count(1), []

    def watch(connection: Connection, *_: Any) -> None:
        if next(seen) == position:
            struck.append(connection.connection.dbapi_connection.info.backend_pid)
            strike(struck[0])

    for moment in ("before_cursor_execute", "commit"):
        event.listen(engine, moment, watch)
    try:
        yield struck
    finally:
        for moment in ("before_cursor_execute", "commit"):
            event.remove(engine, moment, watch)


@pytest.mark.parametrize("what", ["merge", "unmerge"])
@pytest.mark.soak
def test_a_connection_that_ends_before_any_of_the_statements_leaves_no_trace(crm_clone, sessions, what):
    pair = a_pair(sessions, 3)
    done = merge(sessions, pair)
    if what == "merge":
        unmerge(sessions, done)

    def work() -> Any:
        return merge(sessions, pair) if what == "merge" else unmerge(sessions, done)

    before = everything(sessions)
    with crm_clone.connect().execution_options(isolation_level="AUTOCOMMIT") as killer:

        def strike(pid: int) -> None:
            assert killer.scalar(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})

        for position in count(1):
            with struck_before(sessions.kw["bind"], position, strike) as struck:
                try:
                    work()
                except (DatabaseUnavailable, DBAPIError):
                    assert struck
                if not struck:
                    break
            assert everything(sessions) == before
    assert position > (5 if what == "merge" else 10)
    assert everything(sessions) != before


@pytest.fixture
def own_server() -> Iterator[embedded.Server]:
    """A server that keeps its promises when it is killed, and that nobody else uses."""
    folder = Path(tempfile.mkdtemp(prefix="crm-test-")).resolve()
    folder.chmod(0o755)
    server = embedded.start(folder, durable=True)
    try:
        migrations.upgrade(server.url)
        yield server
    finally:
        embedded.release(server)
        shutil.rmtree(folder)


def kill(server: embedded.Server) -> None:
    pid = int((server.directory / "data" / "postmaster.pid").read_text().split()[0])
    os.kill(pid, signal.SIGKILL)


def strike_at_random(
    sessions: sessionmaker[Session], points: int, strike: Callable[[], Any], mend: Callable[[], Any]
) -> None:
    """Merge and undo it, struck ``points`` times: between two statements, or at any time inside of one."""
    engine, chance = sessions.kw["bind"], random.Random()
    pair, merge_id = a_pair(sessions, 300), None
    for point in range(points):
        before = everything(sessions)
        position = chance.randint(1, 20) if point % 2 else 0
        timer = Timer(chance.uniform(0, 0.15), strike)
        finished = None
        with struck_before(engine, position, lambda _: strike()) as struck:
            if not position:
                timer.start()
            try:
                finished = unmerge(sessions, merge_id) if merge_id else merge(sessions, pair)
            except (DatabaseUnavailable, DBAPIError):
                assert struck or not position
            if not position:
                timer.join()
            elif not struck:
                strike()
        engine.dispose()
        mend()

        after = everything(sessions)
        # What was said to be done is done; what was not said is done or not, and never by half.
        assert after != before or finished is None
        if after != before:
            merge_id = check_complete(sessions, pair, merge_id)
    # Asked again, as a caller does who does not know, it happens once.
    if merge_id is None:
        merge_id = merge(sessions, pair)
    assert merge(sessions, pair) == merge_id
    assert check_complete(sessions, pair, None) == merge_id


@pytest.mark.soak
def test_a_server_that_is_killed_during_merges_keeps_all_of_each_or_nothing(own_server):
    engine = make_engine(own_server.url)
    strike_at_random(
        make_session_factory(engine),
        points=30,
        strike=lambda: kill(own_server),
        mend=lambda: embedded.start(own_server.directory.parent, durable=True),
    )
    engine.dispose()


@pytest.mark.parametrize("points", [6, pytest.param(30, marks=pytest.mark.soak)])
def test_a_connection_that_is_ended_during_merges_keeps_all_of_each_or_nothing(crm_clone, sessions, points):
    with crm_clone.connect().execution_options(isolation_level="AUTOCOMMIT") as killer:
        others = text("""
            SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
            WHERE datname = current_database() AND pid <> pg_backend_pid()
        """)
        strike_at_random(sessions, points, strike=lambda: killer.execute(others).all(), mend=lambda: None)


def check_complete(
    sessions: sessionmaker[Session], pair: tuple[UUID, UUID], undone: UUID | None
) -> UUID | None:
    """Everything of the merge or, if ``undone`` is its id, of its undoing is there; the open merge's id."""
    held = """
        SELECT (SELECT count(*) FROM messages WHERE customer_id = :id),
            (SELECT count(*) FROM conversations WHERE customer_id = :id),
            (SELECT count(*) FROM tickets WHERE customer_id = :id),
            (SELECT count(*) FROM customers WHERE id = :id)
    """
    with sessions() as session:
        ours, theirs = (tuple(session.execute(text(held), {"id": id_}).one()) for id_ in pair)
        open_ = session.scalars(text("SELECT id FROM customer_merges WHERE undone_at IS NULL")).all()
        redirects = session.scalars(text("SELECT merge_id FROM customer_redirects")).all()
        owed = session.scalar(
            text(
                "SELECT count(*) FROM customer_merge_moves"
                " WHERE merge_id = ANY(:open) AND returned_at IS NULL"
            ),
            {"open": list(open_)},
        )
        told = session.scalars(text("SELECT event FROM identity_events ORDER BY seq DESC LIMIT 1")).one()
        current = merging.current_customer_id(session, pair[1])
    if undone is None:
        assert (ours, theirs) == ((600, 2, 2, 1), (0, 0, 0, 0))
        # Its messages, its conversation, its ticket, its identifiers.
        assert owed >= 300 + 3
        assert (current, told, len(open_)) == (pair[0], "merged", 1)
    else:
        assert (ours, theirs) == ((300, 1, 1, 1), (300, 1, 1, 1))
        assert (current, told, open_) == (pair[1], "unmerged", [])
    assert redirects == open_
    return open_[0] if open_ else None
