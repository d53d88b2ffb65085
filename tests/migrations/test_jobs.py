"""Jobs that race, wait, give way and are killed: the next one reaches head, and nothing is done twice."""

from __future__ import annotations

import multiprocessing
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from app import migrations
from app.database import make_engine
from app.errors import MigrationError
from app.settings import Settings

CHECKOUT = Path(__file__).resolve().parents[2]
# Racing and killing is the same on every major.
pytestmark = pytest.mark.parametrize("server_of_major", [16], ids=["pg16"], indirect=True, scope="session")

# Written by the database itself, so that no job can be wrong about what it did.
APPLIED = """
CREATE TABLE applied (version text);
CREATE TABLE IF NOT EXISTS alembic_version (
    version_num varchar(32) NOT NULL CONSTRAINT alembic_version_pkc PRIMARY KEY
);
CREATE FUNCTION note_version() RETURNS trigger LANGUAGE plpgsql AS
$$BEGIN INSERT INTO applied VALUES (NEW.version_num); RETURN NULL; END$$;
CREATE TRIGGER note AFTER INSERT OR UPDATE ON alembic_version FOR EACH ROW EXECUTE FUNCTION note_version();
"""
FORGET = "DROP TABLE applied; DROP FUNCTION note_version CASCADE"
ROWS = """
INSERT INTO customers (email) SELECT 'person' || n || '@example.com' FROM generate_series(1, 500) n;
INSERT INTO conversations (customer_id, channel) SELECT id, 'email' FROM customers;
INSERT INTO messages (conversation_id, customer_id, channel, direction, role, content)
    SELECT id, customer_id, 'email', 'inbound', 'customer', 'Help' FROM conversations;
INSERT INTO tickets (conversation_id, customer_id, subject, category, source_channel)
    SELECT id, customer_id, 'Help', 'billing', 'email' FROM conversations;
"""
COUNTS = """
SELECT (SELECT count(*) FROM customers), (SELECT count(*) FROM messages),
    (SELECT count(DISTINCT ticket_number) FROM tickets)
"""
INVALID = "SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid"


@pytest.fixture(scope="module")
def forked():
    """Starts a function in a process of its own that is there at once, with everything imported."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["app.migrations", "app.models"])

    def start(function: Callable[..., object], *arguments: object) -> multiprocessing.Process:
        process = context.Process(target=function, args=arguments, daemon=True)
        process.start()
        return process

    return start


@contextmanager
def transaction(url, *statements):
    """Somebody else's open transaction; what it did is undone."""
    engine = create_engine(url, poolclass=NullPool)
    with engine.connect() as connection:
        for statement in statements:
            connection.execute(text(statement))
        yield connection
        connection.rollback()


def wait_for(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)
    return found


def waiting(server, url, statement):
    """The server processes that wait for a lock with this statement."""
    return server.ask(
        url,
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' "
        "AND query ILIKE :wanted",
        wanted=statement,
    )


def race(server, forked, url, revisions, jobs=6):
    processes = [forked(migrations.upgrade, url) for _ in range(jobs)]
    deadline = time.monotonic() + 120
    for process in processes:
        process.join(max(0, deadline - time.monotonic()))
    assert [process.exitcode for process in processes] == [0] * jobs
    assert [version for (version,) in server.ask(url, "SELECT version FROM applied")] == revisions
    server.execute(url, FORGET)
    assert server.dump(url) == server.dump(server.as_migrated("head"))


def test_six_jobs_at_once_apply_each_revision_once(server, forked, revisions):
    url = server.at("0001")
    server.execute(url, APPLIED)
    race(server, forked, url, revisions[1:])


def test_six_jobs_at_once_adopt_a_database_once(server, forked, revisions, raw_ddl):
    url = server.empty()
    server.execute(url, raw_ddl + ROWS)
    server.execute(url, APPLIED)
    race(server, forked, url, revisions)


@pytest.mark.soak
def test_six_jobs_at_once_from_every_revision_apply_each_later_one_once(server, forked, revisions):
    for done, start in enumerate(revisions, 1):
        url = server.at(start)
        server.execute(url, APPLIED)
        race(server, forked, url, revisions[done:])
        server.tidy()


@pytest.mark.soak
def test_six_alembic_commands_at_once_all_succeed(server, revisions):
    url, jobs = server.empty(), 6
    server.execute(url, APPLIED)
    commands = [
        subprocess.Popen(
            [sys.executable, "-m", "alembic", "upgrade", "head"],
            cwd=CHECKOUT,
            env=os.environ | {"DATABASE_URL": url},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(jobs)
    ]
    errors = [command.communicate(timeout=120)[1] for command in commands]
    assert [command.returncode for command in commands] == [0] * jobs, errors
    assert [version for (version,) in server.ask(url, "SELECT version FROM applied")] == revisions
    server.execute(url, FORGET)
    assert server.dump(url) == server.dump(server.as_migrated("head"))


def test_threads_of_one_process_may_migrate_at_once(server, revisions):
    urls = [server.at("0006") for _ in range(3)]
    errors = []

    def work(url):
        try:
            migrations.upgrade(url)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=[url]) for url in urls for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert [migrations.current(url) for url in urls] == [migrations.head()] * 3


def test_a_job_that_waits_says_for_whom_and_then_gives_up(server, capsys):
    url = server.at("0001")
    with transaction(url, f"SELECT pg_advisory_lock({migrations.LOCK_KEY})") as other:
        pid = other.scalar(text("SELECT pg_backend_pid()"))
        with pytest.raises(MigrationError) as gave_up:
            migrations.upgrade(url, settings=Settings(migration_wait=0.3))
    assert str(gave_up.value) == (
        f"another migration job is still running after 0.3 seconds (server process {pid})"
    )
    assert f"crm: waiting for another migration job (server process {pid})\n" in capsys.readouterr().err


def test_where_nothing_is_to_do_nobody_waits(server):
    url = server.at("head")
    with transaction(url, f"SELECT pg_advisory_lock({migrations.LOCK_KEY})"):
        migrations.upgrade(url, settings=Settings(migration_wait=0.1))


def test_a_pooled_connection_goes_back_without_the_lock_and_with_its_own_settings(server):
    url = server.at("0007")
    engine = make_engine(url, pool_size=1, max_overflow=0)
    shown = text(
        "SELECT current_setting('lock_timeout'), current_setting('statement_timeout'), "
        "current_setting('client_connection_check_interval'), pg_backend_pid()"
    )
    with engine.connect() as connection:
        connection.execute(text("SET lock_timeout = '7s'"))
        connection.commit()
        before = connection.execute(shown).one()
    migrations.upgrade(engine, "0008")
    with engine.connect() as connection:
        assert connection.execute(shown).one() == before
    migrations.upgrade(url, settings=Settings(migration_wait=0.1))
    engine.dispose()


def test_a_connection_in_a_transaction_is_refused(server):
    url = server.at("0007")
    with transaction(url, "INSERT INTO customers (email) VALUES ('ada@example.com')") as connection:
        with pytest.raises(MigrationError, match="is in a transaction"):
            migrations.upgrade(connection)
        assert connection.scalar(text("SELECT count(*) FROM customers")) == 1
    with create_engine(url, poolclass=NullPool).connect() as connection:
        migrations.upgrade(connection)
        assert not connection.in_transaction()
    assert migrations.current(url) == migrations.head()


# Killed --------------------------------------------------------------------------------------------------


def kill_some(server, forked, revisions, points, seed):
    """Kill a job at random points of its way up, each time on a filled database; the next one goes on."""
    chosen = random.Random(seed)
    filled = server.at("0001")
    server.execute(filled, ROWS)
    counts, head = server.ask(filled, COUNTS), server.dump(server.as_migrated("head"))
    started = time.monotonic()
    timed = server.databases.clone(filled)
    server.made.append(timed)
    migrations.upgrade(timed)
    duration = time.monotonic() - started
    reached = set()
    for point in range(points):
        url = server.databases.clone(filled)
        server.made.append(url)
        job = forked(migrations.upgrade, url)
        time.sleep(chosen.uniform(0, 1.5 * duration))
        job.kill()
        job.join()
        reached.add(migrations.current(url))
        migrations.upgrade(url)
        assert server.ask(url, INVALID) == [], f"point {point}, seed {seed}"
        assert server.dump(url) == head, f"point {point}, seed {seed}"
        assert server.ask(url, COUNTS) == counts, f"point {point}, seed {seed}"
    return reached


def test_after_a_kill_the_next_job_reaches_head(server, forked, revisions):
    kill_some(server, forked, revisions, points=4, seed=4)


@pytest.mark.soak
def test_after_a_kill_at_any_of_thirty_points_the_next_job_reaches_head(server, forked, revisions):
    assert len(kill_some(server, forked, revisions, points=30, seed=time.time_ns())) > 2


@pytest.mark.parametrize(
    ("start", "table"), [("0004", "customers"), ("0009", "messages"), ("0010", "knowledge_base")]
)
@pytest.mark.soak
def test_a_job_killed_in_a_concurrent_build_leaves_an_invalid_index_that_the_next_one_replaces(
    server, forked, start, table
):
    url = server.at(start)
    with transaction(url, f"LOCK TABLE {table} IN ROW EXCLUSIVE MODE"):
        job = forked(migrations.upgrade, url)
        wait_for(lambda: waiting(server, url, "CREATE INDEX CONCURRENTLY%") and server.ask(url, INVALID))
        job.kill()
        job.join()
        # The server notices that its client is gone, although the build still waits.
        wait_for(lambda: not waiting(server, url, "CREATE INDEX CONCURRENTLY%"))
    assert server.ask(url, INVALID) != []
    migrations.upgrade(url, settings=Settings(migration_wait=10))
    assert server.ask(url, INVALID) == []
    assert server.dump(url) == server.dump(server.as_migrated("head"))


@pytest.mark.parametrize("target", ["0010", "0009", "0004"])
@pytest.mark.soak
def test_a_downgrade_killed_in_a_concurrent_drop_can_be_done_again(server, forked, revisions, target):
    url = server.at(revisions[revisions.index(target) + 1])
    with transaction(url, "LOCK TABLE tickets, knowledge_base IN ROW EXCLUSIVE MODE"):
        job = forked(migrations.downgrade, url, target)
        wait_for(lambda: waiting(server, url, "% INDEX CONCURRENTLY%"))
        job.kill()
        job.join()
        wait_for(lambda: not waiting(server, url, "% INDEX CONCURRENTLY%"))
    migrations.downgrade(url, target, settings=Settings(migration_wait=10))
    assert server.dump(url) == server.dump(server.as_migrated(target))


def test_a_job_killed_while_it_waits_for_its_turn_leaves_nothing(server, forked):
    url = server.at("0008")
    with transaction(url, f"SELECT pg_advisory_lock({migrations.LOCK_KEY})"):
        job = forked(migrations.upgrade, url)
        wait_for(lambda: server.one(url, "SELECT count(*) FROM pg_stat_activity WHERE application_name = "
                                         "'crm-migrate' AND datname = current_database()"))  # fmt: skip
        job.kill()
        job.join()
    migrations.upgrade(url, settings=Settings(migration_wait=10))
    assert migrations.current(url) == migrations.head()


# Locks ---------------------------------------------------------------------------------------------------


def in_thread(function, *arguments, **options):
    outcome = []

    def run():
        try:
            outcome.append(function(*arguments, **options))
        except Exception as error:
            outcome.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, outcome


def test_a_reader_that_holds_a_lock_delays_others_by_no_more_than_the_lock_timeout(server, capsys):
    url = server.at("0006")
    settings = Settings(migration_lock_timeout=0.4, migration_lock_retries=50)
    slowest, tries = 0.0, 0
    with transaction(url, "SELECT * FROM tickets") as reader:
        job, outcome = in_thread(migrations.downgrade, url, "0005", settings=settings)
        patient = {"options": "-c statement_timeout=20s"}
        with create_engine(url, poolclass=NullPool, connect_args=patient).connect() as other:
            while tries < 3:
                tries += bool(waiting(server, url, "%tickets%"))
                started = time.monotonic()
                other.execute(text("SELECT count(*) FROM tickets"))
                slowest = max(slowest, time.monotonic() - started)
                other.rollback()
                assert job.is_alive(), outcome
        reader.rollback()
        job.join()
    assert outcome == [None]
    assert migrations.current(url) == "0005"
    assert 0.1 < slowest < 0.4 + 0.4
    assert (
        "crm: revision 0006 did not get its locks within 0.4 seconds; again (1 of 50)"
        in capsys.readouterr().err
    )


def test_a_job_that_never_gets_its_locks_gives_up_and_keeps_the_steps_before(server):
    url = server.at("0006")
    settings = Settings(migration_lock_timeout=0.2, migration_lock_retries=2)
    started = time.monotonic()
    with transaction(url, "INSERT INTO customers (email) VALUES ('ada@example.com')"):
        with transaction(url, "LOCK TABLE customer_identifiers"), pytest.raises(MigrationError) as gave_up:
            migrations.upgrade(url, "0008", settings=settings)
        assert str(gave_up.value) == (
            "revision 0008 did not get its locks within 0.2 seconds, 3 times over; "
            "the steps before it are done"
        )
        # Three tries, and between them room for those who queued behind.
        assert time.monotonic() - started > 3 * 0.2 + 2 * 0.1
        assert migrations.current(url) == "0007"
        assert server.dump(url) == server.dump(server.as_migrated("0007"))


def test_a_relative_revision_counts_from_where_the_job_began(server):
    url = server.at("0006")
    settings = Settings(migration_lock_timeout=0.1, migration_lock_retries=50)
    with transaction(url, "LOCK TABLE customer_identifiers") as other:
        job, outcome = in_thread(migrations.upgrade, url, "+2", settings=settings)
        wait_for(lambda: migrations.current(url) == "0007")
        time.sleep(0.3)
        other.rollback()
        job.join()
    assert outcome == [None]
    assert migrations.current(url) == "0008"


def test_a_statement_may_be_limited(server):
    url = server.at("0007")
    settings = Settings(migration_statement_timeout=0.2)
    locked = transaction(url, "LOCK TABLE customer_identifiers")
    with locked, pytest.raises(MigrationError, match="statement timeout"):
        migrations.upgrade(url, settings=settings)
    assert migrations.current(url) == "0007"


def test_the_timeouts_of_the_role_or_the_database_do_not_stop_a_long_build(server):
    url = server.at("0004")
    name = server.one(url, "SELECT current_database()")
    server.ask(url, f"ALTER DATABASE {name} SET statement_timeout = '150ms'")
    server.ask(url, f"ALTER DATABASE {name} SET lock_timeout = '150ms'")
    with transaction(url, "INSERT INTO customers (email) VALUES ('ada@example.com')") as other:
        once = Settings(migration_lock_retries=0)
        job, outcome = in_thread(migrations.upgrade, url, "0005", settings=once)
        wait_for(lambda: waiting(server, url, "CREATE INDEX CONCURRENTLY%"))
        time.sleep(0.4)
        other.rollback()
        job.join()
    assert outcome == [None]
