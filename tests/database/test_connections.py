"""What an engine asks of the server, of the network and of the pool; the health probe and the slow log."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
import time

import pytest
from sqlalchemy import Engine, create_engine, event, make_url, text
from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from app import migrations
from app.database import (
    log_slow_statements,
    make_async_engine,
    make_engine,
    normalize_url,
    probe,
    probe_async,
    require_tls,
    without_values,
)
from app.errors import InvalidValue
from app.services import metrics

LOCAL = [
    "postgresql:///crm",
    "postgresql:///crm?host=/run/postgresql",
    "postgresql:///crm?host=@abstract",
    "postgresql://ann@localhost/crm",
    "postgresql://ann@LOCALHOST:5433/crm",
    "postgresql://ann@127.0.0.1/crm",
    "postgresql://ann@127.8.9.10/crm",
    "postgresql://ann@[::1]:5432/crm",
    "postgresql://ann@/crm?host=localhost:5432&host=127.0.0.1:5433",
    "postgresql://ann@localhost/crm?hostaddr=127.0.0.1",
]
REMOTE = [
    "postgresql://ann@db/crm",
    "postgresql://ann@db.example.com:5432/crm",
    "postgresql://ann@10.0.0.7/crm",
    "postgresql://ann@[2001:db8::1]/crm",
    "postgresql://ann@localhost.example.com/crm",
    "postgresql://ann@127.0.0.1.example.com/crm",
    "postgresql://ann@/crm?host=db",
    "postgresql://ann@localhost/crm?host=db",
    "postgresql://ann@localhost/crm?hostaddr=10.0.0.7",
    "postgresql://ann@/crm?host=localhost,db",
    "postgresql://ann@/crm?host=localhost:5432&host=db:5432",
    "postgresql://ann@/crm?service=production",
]


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch):
    for name in ("PGHOST", "PGHOSTADDR", "PGSERVICE", "PGSSLMODE"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("url", LOCAL)
def test_sockets_and_the_loopback_need_no_tls(url):
    require_tls(normalize_url(url))


@pytest.mark.parametrize("url", REMOTE)
def test_a_remote_server_needs_proof_or_an_explicit_exception(url):
    joined = f"{url}{'&' if '?' in url else '?'}sslmode="
    for weak in (url, f"{joined}require", f"{joined}verify-ca", f"{joined}disable"):
        with pytest.raises(InvalidValue, match=r"^DATABASE_URL: .*verify-full.*CRM_ALLOW_INSECURE_TLS"):
            make_engine(weak)
        with pytest.raises(InvalidValue):
            make_async_engine(weak)
        make_engine(weak, allow_insecure_tls=True)
    make_engine(f"{joined}verify-full")
    make_engine(url, connect_args={"sslmode": "verify-full"})


def test_what_the_url_leaves_open_is_looked_up_where_libpq_does(monkeypatch):
    bare = normalize_url("postgresql:///crm")
    for name, value in (("PGHOST", "db"), ("PGHOSTADDR", "10.0.0.7"), ("PGSERVICE", "production")):
        with monkeypatch.context() as changed:
            changed.setenv(name, value)
            with pytest.raises(InvalidValue):
                require_tls(bare)
            changed.setenv("PGSSLMODE", "verify-full")
            require_tls(bare)
    with pytest.raises(InvalidValue):
        require_tls(bare, {"host": "db"})


def test_a_server_without_tls_is_not_reached_when_proof_is_asked_for():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(5)

        def refuse_tls() -> None:
            connection, _ = listener.accept()
            with connection:
                assert len(connection.recv(8)) == 8
                connection.sendall(b"N")
                connection.recv(1)

        answering = threading.Thread(target=refuse_tls)
        answering.start()
        port = listener.getsockname()[1]
        engine = make_engine(f"postgresql://ann@127.0.0.1:{port}/crm?sslmode=verify-full&sslrootcert=system")
        with pytest.raises(OperationalError, match="does not support SSL"):
            engine.connect()
        answering.join()


def settings(engine: Engine, *names: str) -> list[str]:
    with engine.connect() as connection:
        found = [connection.scalar(text("SELECT current_setting(:name)"), {"name": name}) for name in names]
    engine.dispose()
    return found


@pytest.mark.own_connection("settings of a session do not pass")
def test_a_statement_ends_after_its_time(crm_database_url):
    engine = make_engine(crm_database_url, statement_timeout=0.05)
    with engine.connect() as connection, pytest.raises(OperationalError, match="statement timeout"):
        connection.execute(text("SELECT pg_sleep(10)"))
    engine.dispose()


@pytest.mark.own_connection("settings of a session do not pass")
def test_settings_of_the_caller_stand_beside_ours(crm_database_url):
    options = {"options": "-c lock_timeout=7s", "application_name": "desk"}
    engine = make_engine(crm_database_url, statement_timeout=3, connect_args=options)
    assert settings(engine, "lock_timeout", "statement_timeout", "application_name") == ["7s", "3s", "desk"]

    url = make_url(crm_database_url).update_query_dict(
        {"options": "-c lock_timeout=8s", "connect_timeout": "3"}
    )
    engine = make_engine(url, statement_timeout=3)
    assert settings(engine, "lock_timeout", "statement_timeout", "application_name") == ["8s", "3s", "crm"]


def asked_for(engine: Engine) -> dict[str, object]:
    """What the engine would tell the driver, without a connection."""
    taken = []

    @event.listens_for(engine, "do_connect")
    def take(_dialect, _record, _arguments, options) -> None:
        taken.append(options)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        engine.connect()
    return taken[0]


def test_the_url_overrules_our_defaults():
    url = "postgresql:///crm?connect_timeout=3&application_name=desk&keepalives_idle=9"
    asked = asked_for(make_engine(url))
    assert (asked["connect_timeout"], asked["application_name"]) == ("3", "desk")
    assert (asked["keepalives_idle"], asked["keepalives_count"]) == ("9", 3)


def test_a_time_below_a_millisecond_is_not_taken_for_none():
    engine = make_engine("postgresql:///crm", statement_timeout=0.0001)
    assert asked_for(engine)["options"] == "-c statement_timeout=1"


def test_the_pool_takes_the_callers_options(crm_database_url):
    engine = make_engine(crm_database_url, pool_size=1, max_overflow=0, pool_timeout=0.05)
    with engine.connect(), pytest.raises(Exception, match="QueuePool limit"):
        engine.connect()
    engine.dispose()
    make_engine(crm_database_url, poolclass=NullPool).connect().close()


@pytest.mark.own_connection("settings of a session do not pass")
def test_a_read_only_engine_reads_in_one_flight_and_cannot_write(crm_database_url):
    engine = make_engine(crm_database_url, read_only=True)
    with Session(engine) as session:
        metrics.channel_metrics(session)
        raw = session.connection().connection.driver_connection
        assert raw.info.transaction_status.name == "IDLE"
        with pytest.raises(DBAPIError, match="read-only transaction"):
            metrics.record(session, "sentiment", 0.5)
    engine.dispose()


@pytest.mark.own_connection("settings of a session do not pass")
def test_the_async_engine_takes_the_same_options(crm_database_url):
    async def found(engine: AsyncEngine) -> list[str]:
        async with engine.connect() as connection:
            names = ("statement_timeout", "default_transaction_read_only")
            values = [await connection.scalar(text(f"SHOW {name}")) for name in names]
        await engine.dispose()
        return values

    engine = make_async_engine(crm_database_url, statement_timeout=2, read_only=True)
    assert asyncio.run(found(engine)) == ["2s", "on"]


@pytest.mark.own_connection("settings of a session do not pass")
def test_only_a_server_that_can_write_is_taken_when_asked_for_one(crm_databases):
    url = make_url(crm_databases.clone())
    engine = make_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"ALTER DATABASE {url.database} SET default_transaction_read_only = on"))
    engine.dispose()

    wanted = url.update_query_dict({"target_session_attrs": "read-write"})
    with pytest.raises(OperationalError, match="session is read-only"):
        make_engine(wanted).connect()
    reader = make_engine(url.update_query_dict({"target_session_attrs": "read-only"}), poolclass=NullPool)
    assert probe(reader).read_only
    crm_databases.drop(url.render_as_string(hide_password=False))


def test_a_probe_of_a_good_server(crm_engine):
    health = probe(crm_engine, revision=migrations.head())

    assert (health.ok, health.problem, health.read_only) == (True, None, False)
    assert health.revision == migrations.head()
    assert health.server_version.startswith(("16", "17", "18"))
    assert 0 < health.seconds < 10


def test_a_probe_tells_an_old_schema_and_an_empty_database(crm_engine, crm_databases):
    health = probe(crm_engine, revision="9999")
    assert (health.ok, health.problem) == (
        False,
        f"the schema is at revision {migrations.head()}, not at 9999",
    )

    url = crm_databases.empty()
    engine = make_engine(url, poolclass=NullPool)
    assert probe(engine).ok
    assert probe(engine, revision="0001").problem == "the schema is at revision none, not at 0001"
    assert probe(engine, version_table='odd " name').revision is None
    crm_databases.drop(url)


def test_a_probe_of_a_server_that_is_down_or_does_not_answer(crm_database_url, tmp_path):
    down = make_engine(f"postgresql://ann:8hidden8@/crm?host={tmp_path}")
    unknown = make_engine(make_url(crm_database_url).set(database="unknown"))
    assert probe(down).problem.startswith("no database server answers at this address")
    assert probe(unknown).problem == "there is no such database on the server"
    assert "hidden" not in repr(probe(down))

    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"postgresql://ann@127.0.0.1:{silent.getsockname()[1]}/crm?connect_timeout=2"
        health = probe(make_engine(address))
    assert not health.ok
    assert health.seconds < 4


@pytest.mark.parametrize(
    "options", [{}, {"isolation_level": "AUTOCOMMIT"}], ids=["transactions", "autocommit"]
)
def test_a_probe_of_a_full_pool_and_of_a_slow_server(crm_database_url, options):
    engine = make_engine(crm_database_url, pool_size=1, max_overflow=0, pool_timeout=0.05, **options)
    with engine.connect():
        assert probe(engine).problem == "no connection of the pool became free in time"
    with create_engine(crm_database_url, poolclass=NullPool).begin() as other:
        # A probe without an end fails, and does not hang.
        other.execute(text("SET LOCAL idle_in_transaction_session_timeout = '10s'"))
        other.execute(text("LOCK TABLE alembic_version"))
        started = time.monotonic()
        assert probe(engine, timeout=0.1).problem == "the statement took longer than its timeout"
        assert time.monotonic() - started < 5
    assert probe(engine).ok
    engine.dispose()


def test_a_probe_for_asyncio_says_the_same(crm_database_url, tmp_path):
    async def probed(url, **options):
        engine = make_async_engine(url, pool_size=1, max_overflow=0)
        try:
            health = await probe_async(engine, **options)
            async with engine.connect() as connection:
                left = await connection.scalar(text("SELECT current_setting('statement_timeout')"))
        except SQLAlchemyError:
            left = None
        finally:
            await engine.dispose()
        return health, left

    health, left = asyncio.run(probed(crm_database_url, revision=migrations.head()))
    assert (health.ok, health.problem, health.revision, left) == (True, None, migrations.head(), "0")
    assert asyncio.run(probed(crm_database_url, revision="9999"))[0].problem.endswith("not at 9999")
    down, _ = asyncio.run(probed(f"postgresql://ann:8hidden8@/crm?host={tmp_path}"))
    assert (down.ok, down.server_version) == (False, None)
    assert down.problem.startswith("no database server answers at this address")


def test_a_probe_leaves_no_setting_behind(crm_database_url):
    engine = make_engine(crm_database_url, pool_size=1, max_overflow=0, isolation_level="AUTOCOMMIT")
    probe(engine)
    assert settings(engine, "statement_timeout") == ["0"]
    with engine.connect() as connection:
        assert connection.connection.driver_connection.autocommit
    engine.dispose()


def test_slow_statements_are_logged_without_their_values(crm_database_url, caplog):
    engine = make_engine(crm_database_url)
    log_slow_statements(engine, seconds=0.02)
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))
        connection.execute(
            text("SELECT pg_sleep(0.03),\n  CAST(:mail AS text), 'ana@example.com' -- Ana's\n"),
            {"mail": "eva@example.com"},
        )
        with pytest.raises(DBAPIError):
            connection.execute(text("SELECT 1 / length(CAST(pg_sleep(0.03) AS text))"))
    engine.dispose()

    good, failed = caplog.records
    assert good.statement == "SELECT pg_sleep(?), CAST(%(mail)s AS text), ?"
    assert (good.levelno, good.rows, good.many, good.sqlstate) == (logging.WARNING, 1, False, None)
    assert 0.03 <= good.seconds < 5
    assert (failed.sqlstate, failed.name) == ("22012", "crm.slow_statements")
    assert "example.com" not in caplog.text


def test_slow_statements_of_an_async_engine_are_logged_too(crm_database_url, caplog):
    async def work() -> None:
        engine = make_async_engine(crm_database_url)
        log_slow_statements(engine.sync_engine, seconds=0, logger=logging.getLogger("desk"))
        async with engine.connect() as connection:
            await connection.execute(text("SELECT 7"))
        await engine.dispose()

    asyncio.run(work())
    assert ("desk", "SELECT ?") in {
        (record.name, getattr(record, "statement", "")) for record in caplog.records
    }


@pytest.mark.parametrize(
    ("statement", "shown"),
    [
        ("SELECT  'it''s', E'it\\'s', 'x'", "SELECT ?, ?, ?"),
        ("SELECT $$a'b$$, $q$c$$d$q$, 1.5", "SELECT ?, ?, ?"),
        ('SELECT "it\'s" FROM t1 WHERE k2 = 3', 'SELECT "it\'s" FROM t1 WHERE k2 = ?'),
        ("/* O'Neil */ SELECT 1 -- isn't\n", "SELECT ?"),
        ("SELECT %(a_1)s::INTEGER", "SELECT %(a_1)s::INTEGER"),
        ("SELECT 'never closed", "SELECT ?"),
    ],
)
def test_values_written_into_a_statement_are_taken_out(statement, shown):
    assert without_values(statement) == shown
