"""From PostgreSQL 16 to 18: by logical replication without downtime, by pg_upgrade, by dump and restore."""

from __future__ import annotations

import inspect
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from urllib.parse import quote
from uuid import UUID

import psycopg
import pytest
from sqlalchemy import URL, Engine, make_url, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from app import embedded, migrations
from app.database import make_engine
from app.embedded import Server
from app.embeddings import get_embedder
from app.errors import EmbeddedUnavailable
from app.migrations import back_up, restore
from app.operations.doctor import examine
from app.services import channel_settings, merging, search, tickets
from app.settings import Settings
from app.testing import CustomerFactory, TicketFactory, bound_to
from tests.operations import test_raw_statements as raw_statements
from tests.operations import test_services_as_app as services_as_app
from tests.operations.conftest import Desk
from tests.services._feed import caught_up

pytestmark = pytest.mark.soak

PREFIX = "crm"
TABLES = """
    SELECT relname::text FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' ORDER BY relname
"""
# It holds rows only while one model replaces another.
EMPTY = {"knowledge_embeddings"}
NEW_TICKET = {"subject": "Here now", "category": "billing", "source_channel": "email", "actor": "human:7"}
DOCS = Path(__file__).resolve().parents[2] / "docs" / "operations.md"
# What the operator runs.
(SEQUENCES,) = re.findall(
    r"^(SELECT format\('SELECT setval.*?FROM pg_sequences);$", DOCS.read_text(), re.MULTILINE | re.DOTALL
)


def rows(engine: Engine) -> dict[str, list[str]]:
    """All rows of all tables, each as its text."""
    with engine.connect() as connection:
        return {
            table: sorted(connection.scalars(text(f'SELECT t::text FROM "{table}" AS t')))
            for table in connection.scalars(text(TABLES)).all()
        }


def errors(engine: Engine) -> set[str]:
    """What the doctor says does not hold."""
    report = examine(engine, role_prefix=PREFIX)
    found = {finding.check for finding in report.findings if finding.severity == "error"}
    return found - raw_statements.FREE


def run(server: Server, *command: str | Path) -> None:
    """One of the server's programs, as the account that owns the data."""
    owner = (server.directory / "data").stat()
    account = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []} if os.geteuid() == 0 else {}
    # No pipes: a server that it starts would hold them open.
    with (server.directory / "programs.log").open("a") as log:
        subprocess.run(
            [server.bin / command[0], *command[1:]],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=server.directory / "own",
            check=True,
            **account,
        )


@contextmanager
def running(folder: Path, major: int) -> Iterator[Server]:
    """A server of our own that can publish."""
    try:
        server = embedded.start(folder, major=major, durable=False)
        with psycopg.connect(plain(server), autocommit=True) as admin:
            admin.execute("ALTER SYSTEM SET wal_level = logical")
            for workers in ("max_worker_processes", "max_logical_replication_workers"):
                admin.execute(f"ALTER SYSTEM SET {workers} = 16")
        embedded.release(server)
        server = embedded.start(folder, major=major, durable=False)
    except EmbeddedUnavailable as error:
        pytest.skip(str(error))
    own = server.directory / "own"
    own.mkdir(mode=0o700)
    shutil.chown(own, (server.directory / "data").stat().st_uid)
    try:
        yield server
    finally:
        embedded.release(server)
        shutil.rmtree(server.directory)


def plain(server: Server) -> str:
    return as_text(make_url(server.url))


def as_text(url: URL) -> str:
    """As PostgreSQL's own programs read it."""
    return url.set(drivername="postgresql").render_as_string(hide_password=False)


@pytest.fixture(scope="module")
def servers(tmp_path_factory) -> Iterator[tuple[Server, Server]]:
    folder = tmp_path_factory.mktemp("majors")
    with running(folder, 16) as old, running(folder, 18) as new:
        yield old, new


@pytest.fixture(scope="module")
def old(servers) -> Iterator[Desk]:
    """On 16: at head, with the roles."""
    desk = Desk(make_engine(servers[0].url), PREFIX)
    migrations.upgrade(desk.admin)
    desk.repair()
    # Another application's.
    desk.run("CREATE TABLE orders (id int PRIMARY KEY, customer_id uuid REFERENCES customers)")
    desk.run("GRANT SELECT, UPDATE ON orders TO crm_app")
    yield desk
    for engine in (desk.admin, *desk.logins.values()):
        engine.dispose()


def write_at_random(desk: Desk, count: int) -> None:
    with desk.login("app").connect() as connection:
        writer = raw_statements.Writer(connection, Random(count))
        for _ in range(count):
            writer.write()
        connection.commit()
    assert writer.outcomes["done"] > count / 20


def use_every_service(desk: Desk, folder: Path) -> None:
    """The tests of the services, as the application's role."""
    available = {"desk": desk, "engine": desk.login("app"), "tmp_path": folder}
    for name, test in vars(services_as_app).items():
        if name.startswith("test_") and inspect.signature(test).parameters.keys() <= available.keys():
            test(**{parameter: available[parameter] for parameter in inspect.signature(test).parameters})


def use_the_rest(desk: Desk) -> None:
    """What those tests take back; and they import a ticket with a number far ahead."""
    with Session(desk.admin) as session, session.begin(), bound_to(session):
        kept, absorbed = CustomerFactory(with_email=True).id, CustomerFactory(with_email=True).id
        session.execute(text("INSERT INTO orders VALUES (1, :customer)"), {"customer": absorbed})
        merging.merge(session, kept, absorbed, reason="one person", actor="human:7")
        channel_settings.change(session, "email", tone="formal", max_response_length=321, actor="human:7")
        search.calibrate(session, ["export"], ["zeppelin"], embedder=get_embedder("lexical"))
    examine(desk.admin, only=["ticket_numbers"], fix=True)


def wait(engine: Engine, condition: str) -> None:
    for _ in range(600):
        with engine.connect() as connection:
            if connection.scalar(text(condition)):
                return
        time.sleep(0.1)
    raise AssertionError(f"never: {condition}")


def catch_up(publisher: Engine, subscriber: Engine) -> None:
    wait(subscriber, "SELECT bool_and(srsubstate = 'r') FROM pg_subscription_rel")
    with publisher.begin() as connection:
        # A test server writes its log late; with this commit it writes all that came before.
        connection.execute(text("SET LOCAL synchronous_commit = on"))
        connection.execute(text("SELECT pg_logical_emit_message(true, 'crm', '')"))
    with publisher.connect() as connection:
        reached = connection.scalar(text("SELECT pg_current_wal_flush_lsn()"))
    wait(publisher, f"SELECT bool_and(confirmed_flush_lsn >= '{reached}') FROM pg_replication_slots")


@pytest.fixture(scope="module")
def subscribers(servers, old, tmp_path_factory) -> Iterator[tuple[Desk, Desk]]:
    """Two on 18: one had every service's changes as they came, one copied all at once."""
    old.run("CREATE PUBLICATION upgrade FOR ALL TABLES")
    move(servers[1], "pg_dumpall", "--roles-only", source=old.admin.url, target="postgres")
    streaming = subscribe(servers[1], old, "streaming")
    use_every_service(old, tmp_path_factory.mktemp("documents"))
    use_the_rest(old)
    desks = streaming, subscribe(servers[1], old, "copied")
    for desk in desks:
        catch_up(old.admin, desk.admin)
    yield desks
    for desk in desks:
        for engine in (desk.admin, *desk.logins.values()):
            engine.dispose()


def subscribe(server: Server, publisher: Desk, name: str) -> Desk:
    """A database of the publisher's schema, whose rows a subscription brings."""
    with psycopg.connect(plain(server), autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE template0")
    desk = Desk(make_engine(make_url(server.url).set(database=name), poolclass=NullPool), PREFIX)
    move(server, "pg_dump", "--schema-only", source=publisher.admin.url, target=name)
    desk.repair()
    source = f"host={publisher.admin.url.query['host']} user=postgres dbname=crm"
    with desk.admin.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql(f"CREATE SUBSCRIPTION {name} CONNECTION '{source}' PUBLICATION upgrade")
    return desk


def move(server: Server, program: str, *options: str, source: URL, target: str) -> None:
    """What a program of the server writes of a database elsewhere, into a database of the server."""
    written = subprocess.run(
        [server.bin / program, *options, "--dbname", as_text(source)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    subprocess.run(
        [
            server.bin / "psql",
            "-qX",
            "-v",
            "ON_ERROR_STOP=1",
            as_text(make_url(server.url).set(database=target)),
        ],
        # The superuser of the server is there.
        input=written.replace("CREATE ROLE postgres;", ""),
        stdout=subprocess.DEVNULL,
        text=True,
        check=True,
    )


def test_by_replication_every_change_arrives_once(old, subscribers):
    there = rows(old.admin)
    assert {table for table, of in there.items() if not of} == EMPTY

    for desk in subscribers:
        assert rows(desk.admin) == there
        assert errors(desk.admin) <= {"ticket_numbers"}  # sequences are set at the switch
        with Session(desk.admin) as session:
            assert tickets.verify_history(session) == []


def test_and_changes_of_random_rows_too(old, subscribers):
    write_at_random(old, 500)

    for desk in subscribers:
        catch_up(old.admin, desk.admin)
        assert rows(desk.admin) == rows(old.admin)


def test_a_session_that_says_it_replicates_is_recorded_and_refused_all_the_same(old, subscribers):
    set_sequences(old, subscribers[0])
    entries = text("SELECT count(*) FROM ticket_status_changes")
    with subscribers[0].admin.connect() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        assert connection.scalar(text("SELECT count(pid) FROM pg_stat_subscription")) == 2
        before = connection.scalar(entries)
        connection.execute(
            text("UPDATE tickets SET category = 'billing', status = 'waiting' WHERE status = 'open'")
        )
        assert connection.scalar(entries) > before
        for statement in ("TRUNCATE identity_events", "INSERT INTO ticket_record_heads DEFAULT VALUES"):
            with pytest.raises(DBAPIError, match="is written by triggers only"), connection.begin_nested():
                connection.execute(text(statement))


def test_after_the_switch_everything_goes_on_there(old, subscribers):
    with Session(old.admin) as session:
        token = caught_up(session).token
    for name, desk in zip(("streaming", "copied"), subscribers, strict=True):
        set_sequences(old, desk)
        with desk.admin.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text(f"DROP SUBSCRIPTION {name}"))
        migrations.check(desk.admin)
        assert errors(desk.admin) == set()
        with Session(desk.login("app")) as session, session.begin():
            ticket = tickets.open_ticket(session, customer_id=living(session), **NEW_TICKET)
            ticket_id, number = ticket.id, int(ticket.ticket_number.removeprefix("TKT-"))
            tickets.change_status(session, ticket_id, "waiting", actor="human:7")
        assert old.run("SELECT last_value + 1 FROM ticket_number_seq") == [(number,)]
        with Session(desk.admin) as session:
            record = tickets.status_history(session, ticket_id)
            assert [entry.new_status for entry in record] == ["open", "waiting"]
            changes = caught_up(session, after=token).changes
            assert {change.id for change in changes} == {ticket_id}
        write_at_random(desk, 300)
        assert errors(desk.admin) == set()


def set_sequences(old: Desk, new: Desk) -> None:
    for (statement,) in old.run(SEQUENCES):
        new.run(statement)


def living(session: Session) -> UUID:
    return session.scalars(text("SELECT customer_id FROM customer_identifiers LIMIT 1")).one()


def test_by_pg_upgrade_everything_is_there_and_goes_on(servers, old, subscribers):
    of_16, of_18 = servers
    before, now = of_16.directory / "copy", of_18.directory / "upgraded"
    for folder in (before, now):
        folder.mkdir(mode=0o700)
        shutil.chown(folder, (of_16.directory / "data").stat().st_uid)
    socket = of_16.directory / "own"
    address = f"host={make_url(of_16.url).query['host']} user=postgres"
    run(of_16, "pg_basebackup", "-c", "fast", "-D", before, "-d", address)
    (before / ".s.PGSQL.5432.lock").unlink(missing_ok=True)
    options = f"-c unix_socket_directories={socket}"
    run(of_16, "pg_ctl", "start", "-s", "-w", "-D", before, "-o", options)
    run(of_16, "pg_ctl", "stop", "-s", "-w", "-D", before)
    as_before = ["--username=postgres", "--encoding=UTF8", "--no-locale", "--no-sync"]
    run(of_18, "initdb", *as_before, "--no-data-checksums", "-D", now)
    run(
        *(of_18, "pg_upgrade", "-U", "postgres", "-b", of_16.bin, "-B", of_18.bin),
        *("-d", before, "-D", now, "-s", socket, "--no-sync", "--copy"),
    )
    run(of_18, "pg_ctl", "start", "-s", "-w", "-D", now, "-o", options)
    try:
        engine = make_engine(f"postgresql://postgres@/crm?host={quote(str(socket))}", poolclass=NullPool)
        goes_on_as(old, engine)
    finally:
        run(of_18, "pg_ctl", "stop", "-s", "-w", "-m", "immediate", "-D", now)


def test_by_dump_and_restore_everything_is_there_and_goes_on(servers, old, subscribers, tmp_path):
    with old.admin.connect() as connection:
        backup = back_up(connection, tmp_path, settings=Settings(pg_bin=servers[0].bin))
    assert backup.restored
    with psycopg.connect(plain(servers[1]), autocommit=True) as admin:
        admin.execute("CREATE DATABASE restored TEMPLATE template0")
    new = Desk(make_engine(make_url(servers[1].url).set(database="restored"), poolclass=NullPool), PREFIX)
    restore(new.admin, backup.path, settings=Settings(pg_bin=servers[1].bin))
    new.repair()
    goes_on_as(old, new.admin)


def goes_on_as(old: Desk, engine: Engine) -> None:
    assert rows(engine) == rows(old.admin)
    migrations.check(engine)
    with Session(engine) as session, session.begin(), bound_to(session):
        assert session.connection().dialect.server_version_info[0] == 18
        ticket = TicketFactory()
        tickets.change_status(session, ticket.id, "resolved", actor="human:7")
        assert tickets.verify_history(session) == []
    assert errors(engine) == set()


def test_who_is_no_superuser_may_own_the_subscription(servers, old, subscribers):
    """By PostgreSQL 16's role for it: it proves itself by a password, and writes as the tables' owner."""
    with psycopg.connect(plain(servers[1]), autocommit=True) as admin:
        admin.execute("CREATE DATABASE owned TEMPLATE template0")
    new = Desk(make_engine(make_url(servers[1].url).set(database="owned"), poolclass=NullPool), PREFIX)
    move(servers[1], "pg_dump", "--schema-only", source=old.admin.url, target="owned")
    new.repair()
    allow_mover(servers[0], old, new)
    source = f"host={old.admin.url.query['host']} user=crm_mover password=moving dbname=crm"
    mover = make_engine(new.admin.url.set(username="crm_mover"), isolation_level="AUTOCOMMIT")
    with mover.connect() as connection:
        connection.exec_driver_sql(f"CREATE SUBSCRIPTION owned CONNECTION '{source}' PUBLICATION upgrade")
        try:
            catch_up(old.admin, new.admin)
            write_at_random(old, 300)
            catch_up(old.admin, new.admin)
        finally:
            connection.exec_driver_sql("DROP SUBSCRIPTION owned")
    mover.dispose()
    new.run("REVOKE crm_owner FROM crm_mover; ALTER TABLE orders OWNER TO postgres")

    assert rows(new.admin) == rows(old.admin)
    assert errors(new.admin) <= {"ticket_numbers"}
    with Session(new.admin) as session:
        assert tickets.verify_history(session) == []


def allow_mover(publisher: Server, old: Desk, new: Desk) -> None:
    """What an administrator grants on both servers."""
    hba = publisher.directory / "data" / "pg_hba.conf"
    hba.write_text(f"local all crm_mover scram-sha-256\n{hba.read_text()}")
    old.run("SELECT pg_reload_conf()")
    old.run("CREATE ROLE crm_mover LOGIN REPLICATION PASSWORD 'moving'")
    old.run("GRANT SELECT ON ALL TABLES IN SCHEMA public TO crm_mover")
    new.run("CREATE ROLE crm_mover LOGIN")
    new.run("GRANT pg_create_subscription, crm_owner TO crm_mover")
    new.run("GRANT CREATE ON DATABASE owned TO crm_mover")
    new.run("ALTER TABLE orders OWNER TO crm_owner")
