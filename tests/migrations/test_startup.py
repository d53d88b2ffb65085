"""Applications that migrate when they start, and those that wait until somebody has."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
from sqlalchemy import make_url

from app import migrations
from app.database import make_async_engine, make_engine
from app.errors import DatabaseUnavailable, MigrationError, SchemaDiffers
from app.settings import Settings

# What is tested here does not depend on the server's major.
pytestmark = pytest.mark.parametrize("server_of_major", [16], ids=["pg16"], indirect=True, scope="session")
NOBODY_LISTENS = "postgresql://me:secret@127.0.0.1:1/nothing"


@pytest.mark.parametrize("kind", ["text", "URL", "engine", "connection"])
def test_an_application_migrates_what_it_has_at_hand(server, kind):
    url = server.empty()
    engine = make_engine(url)
    with engine.connect() as connection:
        target = {"text": url, "URL": make_url(url), "engine": engine, "connection": connection}[kind]
        assert migrations.current(target) is None
        connection.rollback()
        migrations.upgrade(target)
        assert migrations.current(target) == migrations.head()
        migrations.check(target)
        connection.rollback()
        migrations.upgrade(target)
    engine.dispose()


def test_an_asyncio_application_migrates_in_a_thread(server):
    url = server.at("0006")

    async def start():
        await asyncio.to_thread(migrations.upgrade, url)
        engine = make_async_engine(url)
        async with engine.connect() as connection:
            revision = await connection.run_sync(migrations.current)
        await engine.dispose()
        return revision

    assert asyncio.run(start()) == migrations.head()


@pytest.mark.parametrize("level", ["AUTOCOMMIT", "SERIALIZABLE"])
def test_a_failed_step_is_undone_whatever_the_engine_s_isolation_level(server, level):
    url = server.at("0005")
    server.ask(url, "CREATE FUNCTION refuse_audit_change() RETURNS int LANGUAGE sql AS 'SELECT 1'")
    engine = make_engine(url, isolation_level=level)
    with pytest.raises(MigrationError):
        migrations.upgrade(engine)
    server.ask(url, "DROP FUNCTION refuse_audit_change()")
    assert server.dump(url) == server.dump(server.as_migrated("0005"))
    migrations.upgrade(engine)
    migrations.check(engine)
    with engine.connect() as connection:
        autocommit = connection.connection.driver_connection.autocommit
        assert autocommit if level == "AUTOCOMMIT" else connection.get_isolation_level() == level
    engine.dispose()


def test_starting_on_a_database_at_head_writes_nothing(server):
    url = server.at("head")
    name = server.one(url, "SELECT current_database()")
    server.ask(url, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    migrations.upgrade(url)


def test_a_database_made_with_the_ddl_is_adopted_at_the_start_too(server, raw_ddl):
    url = server.empty()
    server.execute(url, raw_ddl)
    migrations.upgrade(url)
    migrations.check(url)


def test_a_database_that_is_not_ours_raises_and_stays(server):
    url = server.empty()
    server.ask(url, "CREATE TABLE tickets (id int)")
    with pytest.raises(SchemaDiffers):
        migrations.upgrade(url)


def test_waiting_ends_when_somebody_else_has_migrated(server):
    url = server.at("0005")
    other = threading.Timer(0.5, migrations.upgrade, [url])
    started = time.monotonic()
    other.start()
    migrations.wait_until_current(url, timeout=60)
    assert time.monotonic() - started > 0.4
    assert migrations.current(url) == migrations.head()
    other.join()


def test_waiting_is_over_at_once_where_nothing_is_to_be_waited_for(server):
    engine = make_engine(server.as_migrated("head"))
    migrations.wait_until_current(engine, timeout=0)
    engine.dispose()


@pytest.mark.parametrize(("revision", "said"), [("0004", "0004"), (None, "none")])
def test_waiting_has_an_end(server, revision, said):
    url = server.as_migrated(revision) if revision else server.empty()
    with pytest.raises(MigrationError) as gave_up:
        migrations.wait_until_current(url, timeout=0.3)
    assert str(gave_up.value) == (
        f"after 0.3 seconds the database is still at revision {said}, not at {migrations.head()}"
    )


def test_a_database_ahead_of_the_application_is_not_waited_for(server):
    url = server.at("0004")
    server.ask(url, "UPDATE alembic_version SET version_num = '9999'")
    started = time.monotonic()
    with pytest.raises(MigrationError, match="is at revision 9999, which this installation does not know"):
        migrations.wait_until_current(url, timeout=60)
    assert time.monotonic() - started < 5


def test_a_server_that_is_not_up_is_waited_for_and_then_named(server_of_major):
    with pytest.raises(DatabaseUnavailable, match="no database server answers"):
        migrations.wait_until_current(NOBODY_LISTENS, timeout=0.3)


def test_waiting_looks_at_the_version_table_of_the_settings(server):
    url = server.at("head")
    with pytest.raises(MigrationError, match="still at revision none"):
        migrations.wait_until_current(url, timeout=0, settings=Settings(version_table="crm_version"))
