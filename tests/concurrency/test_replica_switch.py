"""The primary is killed under load and its replica promoted: what was acknowledged is there, and once."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.pool import NullPool

from app import embedded
from app.database import Engines, make_engine, make_engines, transaction
from app.errors import CommitUnknown, DatabaseUnavailable
from app.models import Channel
from app.operations.doctor import examine
from app.schemas import Identifier, InboundMessage
from app.services import conversations, tickets
from tests.database.standby import Standby, kill, server_and_standby

pytestmark = pytest.mark.soak

WRITERS = 8
PATIENCE = 60
STORED = text("""
    SELECT p.provider_message_id, count(*), count(m.id)
    FROM provider_messages AS p LEFT JOIN messages AS m ON m.id = p.message_id GROUP BY 1
""")
IN_SYNC = text("SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'")
WHERE = text("SELECT pg_is_in_recovery()")


def message(writer: int, number: int) -> InboundMessage:
    return InboundMessage(
        channel=Channel.EMAIL,
        account="help@example.com",
        provider_message_id=f"{writer}.{number}@post.example",
        sender=(Identifier(type="email", value=f"p{number % 20}@post.example", verified=True),),
        content="Help",
    )


class Load:
    """Writers that deliver each message until it is acknowledged, and a reader."""

    def __init__(self, engines: Engines) -> None:
        self.engines = engines
        self.over = threading.Event()
        self.acknowledged: list[tuple[float, InboundMessage]] = []
        self.refusals: Counter[str] = Counter()
        self.read_from: list[tuple[float, bool]] = []

    def write(self, writer: int) -> None:
        number = 0
        while not self.over.is_set():
            self.deliver(message(writer, number))
            number += 1

    def deliver(self, delivery: InboundMessage) -> None:
        """As a provider does: again and again, until it is told that the message was stored."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                transaction(self.engines.sessions, conversations.ingest, delivery)
            except (CommitUnknown, DatabaseUnavailable) as refusal:
                self.refusals[type(refusal).__name__] += 1
                assert time.monotonic() < deadline
                time.sleep(0.05)
            else:
                self.acknowledged.append((time.monotonic(), delivery))
                return

    def read(self) -> None:
        while not self.over.is_set():
            with self.engines.read_session() as session:
                self.read_from.append((time.monotonic(), session.execute(WHERE).scalar_one()))
            time.sleep(0.005)


@pytest.fixture(scope="module")
def pair(tmp_path_factory) -> Iterator[tuple[embedded.Server, Standby]]:
    with server_and_standby(tmp_path_factory.mktemp("switch"), durable=True) as (server, standby):
        settings = make_engine(server.url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
        with settings.connect() as connection:
            # A commit is acknowledged when the standby has it on its disk, too.
            connection.execute(text("ALTER SYSTEM SET synchronous_standby_names = '*'"))
            connection.execute(text("SELECT pg_reload_conf()"))
            until_true(connection, IN_SYNC)
        yield server, standby


def until_true(connection, condition) -> None:
    deadline = time.monotonic() + PATIENCE
    while not connection.scalar(condition):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def until_acknowledged(load: Load, count: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while len(load.acknowledged) < count:
        assert time.monotonic() < deadline, load.refusals
        time.sleep(0.02)


def until_gone(server: embedded.Server) -> None:
    deadline = time.monotonic() + PATIENCE
    address = make_engine(server.url, poolclass=NullPool)
    while time.monotonic() < deadline:
        try:
            address.connect().close()
        except Exception:
            return
        time.sleep(0.02)
    raise AssertionError("the killed server still answers")


def test_nothing_acknowledged_is_lost_and_nothing_is_there_twice(pair):
    server, standby = pair
    engines = make_engines(server.url, [standby.url, server.url], retry_after=0.2, max_lag=5)
    load = Load(engines)
    with ThreadPoolExecutor(WRITERS + 1) as pool:
        workers = [pool.submit(load.write, writer) for writer in range(WRITERS)]
        workers.append(pool.submit(load.read))
        try:
            until_acknowledged(load, 400)
            killed_at = time.monotonic()
            kill(server.directory / "data")
            until_gone(server)
            # Nobody takes writes now, and the replica answers who only reads.
            with engines.read_session() as session:
                assert session.execute(WHERE).scalar_one() is True
            with pytest.raises(DatabaseUnavailable), engines.read_session(at_least="FFFFFFFF/0"):
                pass
            with pytest.raises(DatabaseUnavailable):
                engines.write_position()
            before = len(load.acknowledged)
            standby.promote()
            promoted_at = time.monotonic()
            until_acknowledged(load, before + 400)
        finally:
            load.over.set()
        for worker in workers:
            worker.result(PATIENCE)

    # The pool kept connections from before it was promoted: who reads is on the primary nevertheless.
    with engines.read_session(at_least=engines.write_position()) as session:
        assert session.execute(WHERE).scalar_one() is False
    with engines.sessions() as session:
        stored = {row[0]: tuple(row[1:]) for row in session.execute(STORED)}
        total = session.scalar(text("SELECT count(*) FROM messages"))
        assert tickets.verify_history(session) == []
    delivered = [delivery for _, delivery in load.acknowledged]
    lost = [delivery for delivery in delivered if delivery.provider_message_id not in stored]
    assert lost == []
    assert set(stored.values()) == {(1, 1)}
    assert total == len(stored) == len(delivered)
    # The switch was under load: somebody wrote before and after it, and somebody was cut off.
    assert sum(moment < killed_at for moment, _ in load.acknowledged) >= 400
    assert sum(moment > promoted_at for moment, _ in load.acknowledged) >= 400
    assert load.refusals
    assert {replica for moment, replica in load.read_from if moment < killed_at} == {True}

    # Each is delivered once more, to the new primary: it knows them all.
    for delivery in delivered[::10]:
        assert transaction(engines.sessions, conversations.ingest, delivery).duplicate
    assert errors_of_doctor(engines.primary) == []
    engines.dispose()


def errors_of_doctor(engine: Engine) -> list[str]:
    return [finding.check for finding in examine(engine).findings if finding.check != "no_roles"]
