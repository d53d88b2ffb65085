"""Reads go to a replica that is alive and fresh enough, writes to whichever server takes writes."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from uuid import uuid4

import pytest
from sqlalchemy import Engine, make_url, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from app import embedded
from app.database import AsyncEngines, Engines, make_async_engines, make_engine, make_engines, transaction
from app.embeddings import get_embedder
from app.errors import DatabaseUnavailable, InvalidValue
from app.models import Channel, Customer
from app.schemas import Identifier, InboundMessage
from app.services import (
    conversations,
    customers,
    feed,
    identity,
    metrics,
    search,
    tickets,
    timeline,
)
from app.testing import QueryRecorder
from tests.database.standby import Standby, server_and_standby
from tests.operations.test_pgbouncer import BINARY, pgbouncer

WHERE = text("SELECT pg_is_in_recovery()")
INSERT = text("INSERT INTO customers (email) VALUES ('a@example.com')")
SEEN = text("SELECT count(*) FROM customers WHERE email = :email")
URL = "postgresql://crm@db1/crm?sslmode=verify-full"
REPLICA = "postgresql://crm@db2/crm?sslmode=verify-full"


def add(session: Session) -> str:
    email = f"{uuid4()}@example.com"
    session.add(Customer(email=email))
    return email


def is_on_replica(engines: Engines, **options: str) -> bool:
    with engines.read_session(**options) as session:
        return session.execute(WHERE).scalar_one()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture
def pooler(pytestconfig: pytest.Config) -> bool:
    return pytestconfig.getoption("--pooled")


@pytest.fixture
def alone(crm_database_url: str, tmp_path, pooler) -> Iterator[Engines]:
    """A primary, and a replica that is not there."""
    engines = make_engines(
        crm_database_url,
        [f"postgresql://postgres@/crm?host={tmp_path}"],
        retry_after=600,
        pooler=pooler,
        allow_insecure_tls=True,
    )
    yield engines
    engines.dispose()


def test_the_primary_serves_where_no_replica_is_alive_and_refuses_to_write_there(alone):
    with alone.read_session() as session:
        assert session.execute(WHERE).scalar_one() is False
        with pytest.raises(DBAPIError, match="read-only transaction"):
            session.execute(INSERT)
    with alone.read_session() as session:
        assert metrics.channel_metrics(session) is not None


def test_without_replicas_the_primary_serves_alone(crm_database_url, pooler):
    engines = make_engines(crm_database_url, [], pooler=pooler, allow_insecure_tls=True)
    assert not is_on_replica(engines, at_least=engines.write_position())
    engines.dispose()


def test_a_replica_that_is_not_there_is_asked_once_and_then_left_out(alone):
    (replica,) = alone.replicas
    attempts = []
    connect = replica.pool._creator

    def count(*arguments: object) -> object:
        attempts.append(1)
        return connect(*arguments)

    replica.pool._creator = count
    for _ in range(5):
        assert not is_on_replica(alone)
    assert len(attempts) == 1


def test_a_session_costs_one_statement_before_the_callers(alone):
    is_on_replica(alone)
    with QueryRecorder(alone._reader) as recorder:
        is_on_replica(alone)
    assert len(recorder.statements) == 2


@pytest.mark.parametrize(
    "position", ["", "0/", "16B3748", "0/16B3748; DROP TABLE x", "0/1234567890", "0/1\n", 7, True], ids=repr
)
def test_what_is_no_position_is_refused_before_anything_is_asked(position):
    engines = make_engines(URL, [REPLICA])
    with pytest.raises(InvalidValue, match="at_least"), engines.read_session(at_least=position):
        pass


@pytest.mark.parametrize("seconds", [-1, math.nan, math.inf, "5", None], ids=repr)
@pytest.mark.parametrize("name", ["max_lag", "wait", "retry_after"])
def test_a_time_that_is_none_is_refused(name, seconds):
    with pytest.raises(InvalidValue, match=name):
        make_engines(URL, [REPLICA], **{name: seconds})


@pytest.mark.parametrize("make", [make_engines, make_async_engines])
@pytest.mark.parametrize(
    ("primary", "replicas", "problem"),
    [
        (URL, REPLICA, "give a list"),
        (URL, [make_url(REPLICA)] * 2 + ["mysql://db3/crm"], "postgresql://"),
        (URL, ["postgresql://crm@db2/crm"], "sslmode=verify-full"),
        ("postgresql:///crm?service=crm", [REPLICA], "host and port"),
        (URL, [f"{REPLICA}&hostaddr=10.0.0.2"], "host and port"),
    ],
    ids=["no list", "another database", "no proof", "a service", "an address"],
)
def test_servers_that_cannot_be_used_are_refused(make, primary, replicas, problem):
    with pytest.raises(InvalidValue, match=problem):
        make(primary, replicas, **({} if "sslmode" in str(primary) else {"allow_insecure_tls": True}))


@pytest.mark.parametrize(
    ("primary", "replicas", "hosts", "ports"),
    [
        ("postgresql://a@db1/crm", [], "db1", None),
        ("postgresql://a@db1/crm", ["postgresql://b@db2:6432/other"], "db1,db2", ",6432"),
        ("postgresql://a@db1:1,db2:2/crm", ["postgresql://b@db3/crm"], "db1,db2,db3", "1,2,"),
        ("postgresql://a@/crm?host=db1:1&host=db2", ["host=db2 dbname=crm"], "db1,db2", "1,"),
        ("postgresql://a@db1/crm", ["postgresql://a@db1/crm", "postgresql://a@[::1]/crm"], "db1,::1", ","),
        ("postgresql://a@/crm?host=/run/one", ["postgresql:///crm?host=/run/two"], "/run/one,/run/two", ","),
    ],
)
def test_whoever_takes_writes_is_looked_for_among_all_of_them(primary, replicas, hosts, ports):
    engines = make_engines(primary, replicas, allow_insecure_tls=True)
    (_, facts) = engines.primary.dialect.create_connect_args(engines.primary.url)
    assert (facts["host"], facts.get("port")) == (hosts, ports)
    assert (facts["user"], facts["dbname"]) == ("a", "crm")
    assert facts["target_session_attrs"] == "read-write"
    assert [replica.url.query["target_session_attrs"] for replica in engines.replicas] == ["standby"] * len(
        replicas
    )


def test_a_primary_that_is_down_is_a_typed_error_as_is_a_position_that_nobody_has(tmp_path):
    engines = make_engines(f"postgresql:///crm?host={tmp_path}", [])
    for reading in (engines.read_session(), engines.read_session(at_least="0/1")):
        with pytest.raises(DatabaseUnavailable), reading:
            pass
    with pytest.raises(DatabaseUnavailable):
        engines.write_position()


def test_a_pool_without_a_free_connection_is_a_typed_error(crm_database_url, pooler):
    engines = make_engines(
        crm_database_url,
        [],
        pooler=pooler,
        allow_insecure_tls=True,
        pool_size=1,
        max_overflow=0,
        pool_timeout=0.05,
    )
    with engines.read_session():
        with pytest.raises(DatabaseUnavailable, match="no connection of the pool"), engines.read_session():
            pass
        with pytest.raises(DatabaseUnavailable, match="no connection of the pool"):
            engines.write_position()
    assert engines.write_position()
    engines.dispose()


def test_for_asyncio_the_primary_serves_as_well(crm_database_url, tmp_path, pooler):
    async def story() -> None:
        engines = make_async_engines(
            crm_database_url,
            [f"postgresql:///crm?host={tmp_path}"],
            pooler=pooler,
            allow_insecure_tls=True,
        )
        async with engines.read_session(at_least=await engines.write_position()) as session:
            assert (await session.execute(WHERE)).scalar_one() is False
            with pytest.raises(DBAPIError, match="read-only transaction"):
                await session.execute(INSERT)
        await engines.dispose()

    asyncio.run(story())


@pytest.fixture(scope="module")
def pair(tmp_path_factory) -> Iterator[tuple[embedded.Server, Standby]]:
    with server_and_standby(tmp_path_factory.mktemp("replicas"), durable=True) as pair:
        yield pair


@pytest.fixture
def engines(pair) -> Iterator[Engines]:
    """Of a pair that is in order: the replica runs and replays."""
    server, standby = pair
    engines = make_engines(
        server.url, [standby.url, server.url], max_lag=0.5, wait=2, retry_after=0.2, pool_timeout=5
    )
    yield engines
    engines.dispose()


@pytest.fixture
def admin(pair) -> Iterator[Engine]:
    engine = make_engine(pair[1].url)
    yield engine
    engine.dispose()


@pytest.mark.soak
class TestWithAReplica:
    def test_reads_go_there_and_see_what_was_written_before(self, engines):
        until(lambda: is_on_replica(engines))
        for _ in range(50):
            email = transaction(engines.sessions, add)
            with engines.read_session(at_least=engines.write_position()) as session:
                assert session.execute(SEEN, {"email": email}).scalar_one() == 1
                assert session.execute(WHERE).scalar_one() is True
                with pytest.raises(DBAPIError, match="read-only transaction"):
                    session.execute(INSERT)

    def test_services_that_only_read_work_there(self, engines):
        until(lambda: is_on_replica(engines))
        inbound = InboundMessage(
            channel=Channel.EMAIL,
            account="help@example.com",
            provider_message_id="<1@post.example>",
            sender=[Identifier(type="email", value="wanda@post.example", verified=True)],
            content="I cannot export",
        )
        stored = transaction(engines.sessions, conversations.ingest, inbound)
        embedder = get_embedder("lexical")
        with engines.read_session(at_least=engines.write_position()) as session:
            assert session.execute(WHERE).scalar_one() is True
            assert identity.find_customer(session, inbound.sender[0]).id == stored.customer_id
            assert customers.get_customer(session, stored.customer_id).id == stored.customer_id
            assert timeline.history(session, stored.customer_id).items
            assert conversations.transcript(session, stored.conversation_id)
            assert conversations.context(session, stored.conversation_id).messages
            assert stored.message_id in {change.id for change in feed.changes(session).changes}
            assert search.search_knowledge(session, "export", embedder=embedder, mode="hybrid")
            assert search.search_messages(session, "export", mode="text")
            assert tickets.verify_history(session) == []
            assert metrics.channel_metrics(session) is not None

    def test_so_it_is_for_asyncio(self, pair):
        server, standby = pair

        async def story() -> None:
            engines: AsyncEngines = make_async_engines(server.url, [standby.url], max_lag=0, wait=5)
            for _ in range(10):
                async with engines.sessions.begin() as session:
                    email = await session.run_sync(add)
                async with engines.read_session(at_least=await engines.write_position()) as session:
                    assert (await session.execute(SEEN, {"email": email})).scalar_one() == 1
                    assert (await session.execute(WHERE)).scalar_one() is True
            await engines.dispose()

        asyncio.run(story())

    def test_a_replica_that_has_not_come_so_far_is_waited_for_briefly_then_the_primary_answers(
        self, engines, admin
    ):
        until(lambda: is_on_replica(engines))
        with admin.connect().execution_options(isolation_level="AUTOCOMMIT") as replica:
            replica.execute(text("SELECT pg_wal_replay_pause()"))
            try:
                email = transaction(engines.sessions, add)
                position = engines.write_position()
                with engines.read_session(at_least=position) as session:
                    assert session.execute(SEEN, {"email": email}).scalar_one() == 1
                    assert session.execute(WHERE).scalar_one() is False
            finally:
                replica.execute(text("SELECT pg_wal_replay_resume()"))
        until(lambda: is_on_replica(engines, at_least=position))

    def test_a_replica_that_lags_is_left_out_and_comes_back(self, engines, admin):
        until(lambda: is_on_replica(engines))
        with admin.connect().execution_options(isolation_level="AUTOCOMMIT") as replica:
            replica.execute(text("SELECT pg_wal_replay_pause()"))
            try:
                transaction(engines.sessions, add)
                until(lambda: not is_on_replica(engines))
                time.sleep(0.3)
                assert not is_on_replica(engines)
            finally:
                replica.execute(text("SELECT pg_wal_replay_resume()"))
        until(lambda: is_on_replica(engines))

    def test_while_the_primary_is_gone_a_replica_that_lags_is_better_than_nothing(
        self, engines, pair, admin, tmp_path
    ):
        cut_off = make_engines(f"postgresql:///crm?host={tmp_path}", [pair[1].url], max_lag=0)
        until(lambda: is_on_replica(engines))
        with admin.connect().execution_options(isolation_level="AUTOCOMMIT") as replica:
            replica.execute(text("SELECT pg_wal_replay_pause()"))
            try:
                email = transaction(engines.sessions, add)
                position = engines.write_position()
                received = text("SELECT pg_last_wal_receive_lsn() > pg_last_wal_replay_lsn()")
                until(lambda: replica.execute(received).scalar_one())
                with cut_off.read_session() as session:
                    assert session.execute(WHERE).scalar_one() is True
                    assert session.execute(SEEN, {"email": email}).scalar_one() == 0
                with pytest.raises(DatabaseUnavailable), cut_off.read_session(at_least=position):
                    pass
            finally:
                replica.execute(text("SELECT pg_wal_replay_resume()"))
        cut_off.dispose()

    def test_a_replica_that_dies_costs_no_reader_an_error_and_comes_back(self, engines, pair):
        _, standby = pair
        until(lambda: is_on_replica(engines))
        standby.kill()
        try:
            for _ in range(20):
                with engines.read_session() as session:
                    assert session.execute(WHERE).scalar_one() is False
                time.sleep(0.02)
        finally:
            until(lambda: _started(standby))
        until(lambda: is_on_replica(engines))

    def test_a_reader_that_loses_its_replica_is_on_another_server_next_time(self, pair, admin):
        server, standby = pair
        engines = make_engines(server.url, [standby.url], retry_after=600)
        with engines.read_session() as session:
            pid = session.execute(text("SELECT pg_backend_pid()")).scalar_one()
            with admin.connect() as other:
                other.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})
            with pytest.raises(DBAPIError):
                session.execute(WHERE)
        assert not is_on_replica(engines)
        engines.dispose()

    @pytest.mark.skipif(BINARY is None, reason="pgbouncer is not installed")
    def test_so_it_is_behind_poolers_in_transaction_mode(self, pair):
        server, standby = pair
        mode = "pool_mode = transaction\ndefault_pool_size = 2"
        with (
            pgbouncer(make_url(server.url), mode) as primary,
            pgbouncer(make_url(standby.url), mode) as replica,
        ):
            engines = make_engines(primary, [replica, primary], pooler=True, wait=5, retry_after=0.2)
            until(lambda: is_on_replica(engines))
            email = transaction(engines.sessions, add)
            with engines.read_session(at_least=engines.write_position()) as session:
                assert session.execute(SEEN, {"email": email}).scalar_one() == 1
                assert session.execute(WHERE).scalar_one() is True
            engines.dispose()
            alone = make_engines(primary, [], pooler=True)
            with alone.read_session() as session:
                assert session.execute(WHERE).scalar_one() is False
                with pytest.raises(DBAPIError, match="read-only transaction"):
                    session.execute(INSERT)
            alone.dispose()


def _started(standby: Standby) -> bool:
    # Processes of the killed one may still be on their way out.
    with suppress(Exception):
        standby.start()
        return True
    return False
