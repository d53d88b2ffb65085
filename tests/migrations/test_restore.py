"""Backups of databases with odd names and odd neighbours, and what comes back with a database."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import URL, Engine, create_engine, make_url
from sqlalchemy.pool import NullPool

from app import migrations
from app.errors import BackupError
from app.migrations import back_up, restore
from app.settings import Settings

pytestmark = pytest.mark.parametrize("server_of_major", [16], ids=["pg16"], indirect=True, scope="session")
# Of the longest only the beginning is kept for the name that it gets when it is replaced.
ODD = ["we\"ird na'me %s %(a)s @:/#\\x", ":name", "Ünïcode-" + "ü" * 26]
OURS = "SELECT has_database_privilege('public', current_database(), 'TEMPORARY')"


@pytest.fixture
def settings(server) -> Settings:
    return Settings(pg_bin=server.programs)


@pytest.fixture
def named(server) -> Iterator[Callable[[str], URL]]:
    """Makes a database at revision 0004 with a name of one's choice."""
    made: list[str] = []
    server_url = make_url(server.databases.server_url)
    address = server_url.set(drivername="postgresql").render_as_string(hide_password=False)

    def run(statement: str, *names: str) -> None:
        with psycopg.connect(address, autocommit=True) as connection:
            connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))

    def make(name: str) -> URL:
        url = make_url(server.databases.clone(server.as_migrated("0004")))
        made.append(name)
        run("ALTER DATABASE {} RENAME TO {}", url.database, name)
        return url.set(database=name)

    yield make
    with psycopg.connect(address, autocommit=True) as connection:
        there = connection.execute("SELECT datname FROM pg_database WHERE NOT datistemplate").fetchall()
    for (found,) in there:
        if any(found == name or found.startswith(f"{name[:20]}") for name in made):
            run("DROP DATABASE {} WITH (FORCE)", found)


def engine(url: str | URL) -> Engine:
    return create_engine(url, poolclass=NullPool)


@pytest.mark.parametrize("name", ODD, ids=range(len(ODD)))
def test_a_database_of_any_name_is_backed_up_and_replaced(server, settings, named, tmp_path, name):
    url = named(name)
    migrations.upgrade(url, "0005", settings=settings, backup_folder=tmp_path)
    (file,) = tmp_path.iterdir()
    assert re.fullmatch(r"[\w.-]+\.dump", file.name)

    aside = restore(engine(url), file, settings=settings, replace=True)

    assert migrations.current(url) == "0004"
    assert len(aside.encode()) <= 63
    assert re.fullmatch(r"_before_\d{14}", aside[-22:])
    assert name.startswith(aside[:-22])
    assert migrations.current(url.set(database=aside)) == "0005"


def test_what_belongs_to_the_database_itself_comes_back_when_it_is_replaced(
    server, settings, named, tmp_path
):
    url = named("crm_test_own_rights")
    server.ask(url, "REVOKE TEMPORARY ON DATABASE crm_test_own_rights FROM PUBLIC")
    server.ask(url, "ALTER DATABASE crm_test_own_rights SET random_page_cost = 1.1")
    migrations.upgrade(url, "0005", settings=settings, backup_folder=tmp_path)
    (file,) = tmp_path.iterdir()

    restore(engine(url), file, settings=settings, replace=True)

    assert (server.one(url, OURS), server.one(url, "SHOW random_page_cost")) == (False, "1.1")


def test_a_job_that_is_killed_leaves_nothing_that_looks_like_a_backup_and_nothing_in_the_way(
    server, settings, tmp_path
):
    """Killed before its proof, by a pg_restore of ours; the next one clears up what is on the server."""
    url, folder, programs = server.at("0004"), tmp_path / "backups", tmp_path / "programs"
    programs.mkdir()
    (programs / "pg_dump").symlink_to(server.programs / "pg_dump")
    fake = programs / "pg_restore"
    fake.write_text(
        f'#!/bin/sh\ncase "$*" in *--list*) exec {server.programs}/pg_restore "$@";; esac\nkill -9 $PPID\n'
    )
    fake.chmod(0o755)
    killed = subprocess.run(
        [sys.executable, "-m", "app", "db", "upgrade", "--backup", folder],
        env=os.environ | {"DATABASE_URL": url, "CRM_PG_BIN": str(programs)},
        capture_output=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    assert migrations.current(url) == "0004"
    assert [file.suffix for file in folder.iterdir()] == [".unproved"]
    scratch = "SELECT datname FROM pg_database WHERE datname LIKE 'crm_proof_%'"
    assert len(server.ask(url, scratch)) == 1

    migrations.upgrade(url, settings=settings, backup_folder=folder)

    assert sorted(file.suffix for file in folder.iterdir()) == [".dump", ".unproved"]
    assert server.ask(url, scratch) == []


def test_tables_of_others_are_counted_whatever_their_names(server, settings, tmp_path):
    url = server.at("0004")
    with psycopg.connect(make_url(url).set(drivername="postgresql").render_as_string(False)) as connection:
        connection.execute('CREATE SCHEMA "a:b"; CREATE TABLE "a:b"."100 % :of" AS SELECT 1')
    with engine(url).connect() as connection:
        assert back_up(connection, tmp_path, settings=settings).restored


def test_a_database_with_nothing_but_the_extension_is_empty(server, settings, tmp_path):
    url, target = server.at("0004"), server.empty()
    server.ask(target, "CREATE EXTENSION vector")
    with engine(url).connect() as connection:
        file = back_up(connection, tmp_path, settings=settings).path
    assert restore(engine(target), file, settings=settings) is None
    assert migrations.current(target) == "0004"


@pytest.mark.parametrize(
    "content",
    [
        "CREATE TABLE theirs (id int)",
        "CREATE SEQUENCE theirs",
        "CREATE FUNCTION theirs() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE SCHEMA theirs CREATE TABLE mine (id int)",
    ],
)
def test_a_database_with_anything_in_it_is_not_empty(server, settings, tmp_path, content):
    url, target = server.at("0004"), server.empty()
    server.ask(target, content)
    with engine(url).connect() as connection:
        file = back_up(connection, tmp_path, settings=settings).path
    with pytest.raises(BackupError, match="is not empty"):
        restore(engine(target), file, settings=settings)
    assert migrations.current(target) is None


def test_a_restore_that_fails_leaves_the_empty_database_empty(server, settings, tmp_path):
    url, target = server.at("0004"), server.empty()
    with engine(url).connect() as connection:
        file = back_up(connection, tmp_path, settings=settings).path
    file.write_bytes(file.read_bytes()[:-2000])
    with pytest.raises(BackupError, match="pg_restore failed") as failed:
        restore(engine(target), file, settings=settings)
    Path(str(failed.value).rsplit(" ", 1)[1]).unlink()
    assert migrations.current(target) is None
    assert server.one(target, "SELECT count(*) FROM pg_class WHERE relname = 'tickets'") == 0


def test_the_password_of_a_key_is_given_to_no_program(server, settings, tmp_path):
    url = make_url(server.at("0004")).update_query_dict({"sslpassword": "8hidden8"})
    with pytest.raises(BackupError, match="a key with a password") as refused:
        migrations.upgrade(url, settings=settings, backup_folder=tmp_path)
    assert "8hidden8" not in str(refused.value)
    assert migrations.current(url) == "0004"
