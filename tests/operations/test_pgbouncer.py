"""Through a real PgBouncer in transaction mode, with one server connection that all clients share."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import UUID

import psycopg
import pytest
from sqlalchemy import URL, Engine, make_url, text
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from app import migrations
from app.database import make_engine, make_session_factory, probe, transaction
from app.embeddings import get_embedder
from app.errors import InvalidValue, MigrationError, explain
from app.models import TicketStatus
from app.operations.search_indexes import language, reindex, set_language
from app.schemas import Identifier
from app.services import identity, knowledge, search, tickets
from app.testing import Databases, TicketFactory, bound_to

BINARY = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
pytestmark = [
    pytest.mark.skipif(BINARY is None, reason="pgbouncer is not installed"),
    pytest.mark.own_connection("there is one already"),
]


def version() -> tuple[int, ...]:
    output = subprocess.run([str(BINARY), "--version"], capture_output=True, text=True, check=True).stdout
    return tuple(int(part) for part in re.search(r"(\d+)\.(\d+)", output).groups())


def connection_string(url: URL) -> str:
    facts = {
        "host": url.query.get("host") or url.host or "localhost",
        "port": url.query.get("port") or url.port or 5432,
        "dbname": url.database,
        "user": url.username,
        "password": url.password,
    }
    return " ".join(
        f"{name}='{str(value).replace(chr(39), chr(39) * 2)}'" for name, value in facts.items() if value
    )


@pytest.fixture(scope="module")
def direct(crm_databases: Databases) -> Iterator[Engine]:
    url = crm_databases.clone()
    engine = make_engine(url, allow_insecure_tls=True)
    yield engine
    engine.dispose()
    crm_databases.drop(url)


@pytest.fixture(scope="module")
def address(direct) -> Iterator[URL]:
    """The same database behind PgBouncer."""
    with pgbouncer(direct.url, "pool_mode = transaction\ndefault_pool_size = 1") as address:
        yield address


@contextmanager
def pgbouncer(url: URL, mode: str) -> Iterator[URL]:
    folder = Path(tempfile.mkdtemp(prefix="pgbouncer-"))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (folder / "pgbouncer.ini").write_text(
        f"[databases]\ncrm = {connection_string(url)}\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n"
        f"{mode}\n"
    )
    # It refuses to run as root, and the server's socket may be open to its own account only.
    account: dict[str, int] = {}
    if os.geteuid() == 0:
        place = str(url.query.get("host", "/tmp"))
        account = {"user": os.stat(place).st_uid or 65534}
        folder.chmod(0o755)
    command = [str(BINARY), str(folder / "pgbouncer.ini")]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, stderr=log, cwd="/", **account)
    try:
        for _ in range(100):
            with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            assert process.poll() is None, (folder / "log").read_text()
            time.sleep(0.05)
        yield make_url(f"postgresql+psycopg://anybody@127.0.0.1:{port}/crm")
    finally:
        process.terminate()
        process.wait(10)
        shutil.rmtree(folder)


@pytest.fixture
def pooled(address) -> Iterator[Engine]:
    engine = make_engine(address, pooler=True)
    yield engine
    engine.dispose()


@pytest.fixture(scope="module")
def ticket(direct) -> UUID:
    with Session(direct) as session, bound_to(session):
        ticket = TicketFactory()
        session.commit()
        return ticket.id


def test_services_work_and_nothing_is_prepared(pooled, ticket):
    sessions = make_session_factory(pooled)
    with sessions() as session:
        began = session.scalar(text("SELECT clock_timestamp()"))

    def work(number: int) -> None:
        status = [TicketStatus.WAITING, TicketStatus.PROCESSING][number % 2]
        transaction(sessions, tickets.change_status, ticket, status, actor=f"human:{number}", force=True)
        person = [Identifier(type="email", value=f"ana{number % 3}@example.com")]
        transaction(sessions, identity.resolve, person, channel="email")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(40)))

    with sessions() as session:
        history = tickets.status_history(session, ticket)
        assert {entry.changed_by.partition(":")[0] for entry in history[1:]} == {"human"}
        assert session.scalar(text("SELECT count(*) FROM customers WHERE email LIKE 'ana%'")) == 3
        prepared = text("SELECT statement FROM pg_prepared_statements WHERE prepare_time > :began")
        assert session.scalars(prepared, {"began": began}).all() == []


def test_search_keeps_its_settings(pooled):
    embedder = get_embedder("lexical")
    sessions = make_session_factory(pooled)
    assert transaction(sessions, knowledge.embed_missing, embedder) > 0
    for _ in range(8):
        found = transaction(
            sessions, search.search_knowledge, "reset my password", embedder=embedder, limit=3
        )
        assert len(found) == 3
    with sessions() as session:
        # The database's, and not the function's.
        assert session.scalar(text("SELECT current_setting('hnsw.iterative_scan', true)")) == "strict_order"


def test_nobodys_actor_is_inherited(pooled, ticket):
    with Session(pooled) as session:
        session.execute(text("SELECT set_config('crm.actor', 'human:1', true)"))
        session.commit()
    with make_engine(pooled.url, pooler=True, poolclass=NullPool).connect() as other:
        assert other.scalar(text("SELECT current_setting('crm.actor', true)")) in {None, ""}
        other.execute(text("UPDATE tickets SET status = 'escalated' WHERE id = :id"), {"id": ticket})
        by = "SELECT changed_by FROM ticket_status_changes WHERE ticket_id = :id ORDER BY seq DESC LIMIT 1"
        assert other.scalar(text(by), {"id": ticket}).startswith("db:")


def test_a_statement_that_is_prepared_by_itself_needs_a_pooler_that_keeps_track(address):
    """psycopg prepares what it sees for the sixth time; two clients then disagree with the one server."""
    engine = make_engine(address)
    problems = set()
    with engine.connect() as one, engine.connect() as other:
        for _ in range(12):
            for number, client in enumerate((one, other)):
                try:
                    client.execute(text(f"SELECT {number}, count(*) FROM tickets")).all()
                    client.commit()
                except DBAPIError as error:
                    problems.add(error.orig.sqlstate)
                    client.rollback()
    engine.dispose()

    tracks = version() >= (1, 24)
    assert not problems if tracks else problems & {"42P05", "26000"}


def test_a_probe_goes_through(pooled):
    assert probe(pooled).ok


def test_settings_of_a_session_are_refused_here_because_the_pooler_would_refuse_them(address):
    for options in (
        {"statement_timeout": 1},
        {"read_only": True},
        {"connect_args": {"options": "-c jit=off"}},
    ):
        with pytest.raises(InvalidValue, match="ALTER ROLE"):
            make_engine(address, pooler=True, **options)
    with pytest.raises(OperationalError, match="unsupported startup parameter") as refused:
        make_engine(address, statement_timeout=1).connect()
    assert "a pooler in transaction mode" in str(explain(refused.value))


def test_a_lock_of_a_session_is_not_ones_own_there(address):
    """Why migrations need a direct connection: the lock stays with the server's session, for the next one."""
    plain = address.set(drivername="postgresql").render_as_string(False)
    one, other = (psycopg.connect(plain, autocommit=True, prepare_threshold=None) for _ in range(2))
    with one, other:
        one.execute("SELECT pg_advisory_lock(7)")
        assert other.execute("SELECT pg_try_advisory_lock(7)").fetchone() == (True,)
        other.execute("SELECT pg_advisory_unlock_all()")


def test_a_server_connection_that_dies_is_replaced(pooled, direct, ticket):
    sessions = make_session_factory(pooled)
    calls = []

    def work(session: Session) -> int:
        calls.append(1)
        pid = session.scalar(text("SELECT pg_backend_pid()"))
        if len(calls) == 1:
            with direct.connect() as killer:
                killer.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})
        return session.scalar(text("SELECT count(*) FROM tickets"))

    assert transaction(sessions, work) == 1
    assert len(calls) == 2


def test_a_migration_is_refused_behind_it_and_leaves_no_lock(address, direct):
    before = migrations.current(direct)
    for target in (address, make_engine(address, pooler=True, poolclass=NullPool)):
        with pytest.raises(MigrationError, match="pooler in transaction mode"):
            migrations.downgrade(target, "-1")
    assert migrations.current(direct) == before
    with direct.connect() as connection:
        lock = text("SELECT pg_try_advisory_lock(:key)")
        assert connection.scalar(lock, {"key": migrations.LOCK_KEY})
        connection.invalidate()
    # What only looks, and where there is nothing to do, works there too.
    assert migrations.current(address) == before
    migrations.upgrade(address)


def test_a_build_of_an_index_is_refused_behind_it_and_leaves_no_settings(pooled):
    with pytest.raises(MigrationError, match="cannot keep the settings of a build"):
        reindex(pooled, memory="77MB")
    with pytest.raises(MigrationError, match="cannot keep the settings of a build"):
        set_language(pooled, "portuguese")
    with pooled.connect() as connection:
        assert connection.scalar(text("SHOW maintenance_work_mem")) != "77MB"
        assert language(connection) == "english"


def test_a_migration_goes_through_a_pooler_in_session_mode(direct, crm_databases):
    url = crm_databases.empty()
    engine = make_engine(url, poolclass=NullPool, allow_insecure_tls=True)
    with pgbouncer(engine.url, "pool_mode = session") as address:
        migrations.upgrade(address)
        assert migrations.current(address) == migrations.head()
    crm_databases.drop(url)
