"""Provisioning: which server is chosen, and databases that neither collide nor pile up."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.pool import NullPool

from app import migrations
from app.database import make_engine
from app.errors import DatabaseUnavailable, EmbeddedUnavailable
from app.migrations import sql_files
from app.testing import Databases, postgres, provision

CHECKOUT = Path(__file__).resolve().parents[2]
NOBODY_LISTENS = "postgresql://nobody@127.0.0.1:1/nothing"


@pytest.fixture
def server_url(crm_databases):
    return crm_databases.server_url


@pytest.fixture
def databases(server_url):
    with closing(Databases(server_url)) as own:
        yield own


def ask(url: str, statement: str, **values: object) -> object:
    with create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT").connect() as connection:
        result = connection.execute(text(statement), values)
        return result.scalar() if result.returns_rows else None


def exists(server_url: str, url: str) -> bool:
    return bool(
        ask(
            server_url,
            "SELECT count(*) FROM pg_database WHERE datname = :name",
            name=make_url(url).database,
        )
    )


def templates(server_url: str) -> list[str]:
    found = ask(server_url, "SELECT array_agg(datname) FROM pg_database WHERE datname LIKE 'crm_template_%'")
    return list(found or [])


def test_a_clone_is_at_head_and_has_the_seeded_rows(databases):
    url = databases.clone()
    assert migrations.current(url) == migrations.head()
    assert ask(url, "SELECT count(*) FROM channel_configs") == 3
    databases.drop(url)


def test_a_clone_has_the_settings_of_its_template(databases):
    """As production has those that the migrations make."""
    first = databases.clone()
    own = make_url(first).database
    ask(first, f"ALTER DATABASE {own} SET work_mem = '7MB'")
    ask(first, f"ALTER DATABASE {own} SET search_path = 'public'")
    second = databases.clone(first)
    settings = ("random_page_cost", "hnsw.iterative_scan", "work_mem", "search_path")
    assert [ask(second, f"SHOW {name}") for name in settings] == ["1.1", "strict_order", "7MB", "public"]
    databases.drop(first)
    databases.drop(second)


def test_clones_do_not_share_rows(databases):
    one, two = databases.clone(), databases.clone()
    ask(one, "INSERT INTO customers (email) VALUES ('ada@example.com')")
    assert ask(two, "SELECT count(*) FROM customers") == 0
    databases.drop(one)
    databases.drop(two)


def test_an_empty_database_has_no_tables(databases):
    url = databases.empty()
    assert migrations.current(url) is None
    assert ask(url, "SELECT count(*) FROM pg_extension WHERE extname = 'vector'") == 0
    databases.drop(url)


def test_a_database_is_dropped_whoever_is_connected(databases, server_url):
    url = databases.clone()
    engine = create_engine(url)
    held = engine.connect()
    databases.drop(url)
    assert not exists(server_url, url)
    held.invalidate()
    held.close()
    engine.dispose()


def test_what_a_dead_run_left_is_swept_and_what_is_in_use_stays(databases, server_url):
    left = Databases(server_url)
    abandoned = left.clone()
    ours = databases.clone()
    left.close()

    with closing(Databases(server_url)) as later:
        kept = later.clone()
        assert not exists(server_url, abandoned)
        assert exists(server_url, ours)
        later.drop(kept)
    databases.drop(ours)


@pytest.mark.own_connection("migrations hold a lock of their session")
def test_the_template_is_shared_and_a_stale_one_goes(databases, server_url, monkeypatch):
    databases.drop(databases.clone())
    current = f"crm_template_{postgres._migrations_key():08x}"
    assert current in templates(server_url)

    with monkeypatch.context() as changes, closing(Databases(server_url)) as changed:
        changes.setattr(postgres, "_migrations_key", lambda: 0x0BADCAFE)
        changed.drop(changed.clone())
        assert {current, "crm_template_0badcafe"} <= set(templates(server_url))

    with closing(Databases(server_url)) as later:
        later.drop(later.clone())
    assert current in templates(server_url)
    assert "crm_template_0badcafe" not in templates(server_url)


@pytest.mark.parametrize("file", ["versions/0001_schema.py", "sql/search_objects.v1.sql"])
def test_the_template_changes_with_any_migration(tmp_path, monkeypatch, file):
    before = postgres._migrations_key()
    shutil.copytree(sql_files.home() / "alembic", tmp_path / "alembic")
    monkeypatch.setattr(sql_files, "home", lambda: tmp_path)
    assert postgres._migrations_key() == before
    (tmp_path / "alembic" / file).write_text("-- changed")
    assert postgres._migrations_key() != before


@pytest.mark.soak
def test_processes_that_start_at_once_build_one_template(server_url, databases, monkeypatch):
    script = """
import sys
from app.testing import Databases, postgres
postgres._migrations_key = lambda: 0x0FACADE0
databases = Databases(sys.argv[1])
print(databases.clone())
sys.stdin.read()
"""
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", script, server_url],
            cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for _ in range(3)
    ]  # fmt: skip
    urls = [worker.stdout.readline().strip() for worker in workers]
    try:
        assert len(set(urls)) == 3
        assert all(ask(url, "SELECT count(*) FROM channel_configs") == 3 for url in urls)
        assert templates(server_url).count("crm_template_0facade0") == 1
    finally:
        errors = [worker.communicate(timeout=30)[1] for worker in workers]
    assert errors == ["", "", ""]


def test_threads_of_one_process_may_clone_at_once(databases):
    with ThreadPoolExecutor(4) as pool:
        urls = list(pool.map(lambda _: databases.clone(), range(8)))
    assert len(set(urls)) == 8
    for url in urls:
        databases.drop(url)


def test_a_url_is_used_as_it_is(server_url):
    for mode in ("auto", "url"):
        with provision(mode, url=server_url) as found:
            assert make_url(found) == make_url(server_url)


def test_every_spelling_of_a_postgresql_url_is_taken():
    with provision(url="postgres://me:p%40ss@db/x") as found:
        assert found == "postgresql+psycopg://me:p%40ss@db/x"


def test_the_url_mode_needs_a_url():
    with pytest.raises(DatabaseUnavailable, match="--crm-db-url"), provision("url"):
        pass


@pytest.mark.parametrize("url", ["mysql://root@db/x", "not a url", "postgresql://me:secret@db:port/x"])
def test_a_wrong_url_is_refused_without_repeating_it(url):
    with (
        pytest.raises(DatabaseUnavailable, match="postgresql://user@host/database") as caught,
        provision(url=url),
    ):
        pass
    assert "secret" not in str(caught.value)


def test_a_database_url_of_the_application_is_never_used(monkeypatch, tmp_path):
    monkeypatch.setenv("DATABASE_URL", NOBODY_LISTENS)
    with provision() as found:
        assert "127.0.0.1:1" not in found


def test_a_server_that_does_not_answer_is_one_clear_error():
    with pytest.raises(DatabaseUnavailable, match="cannot be reached"):
        Databases(NOBODY_LISTENS)


def test_a_user_without_the_right_to_create_databases_is_one_clear_error(server_url):
    ask(server_url, "DROP ROLE IF EXISTS crm_test_humble")
    ask(server_url, "CREATE ROLE crm_test_humble LOGIN PASSWORD 'humble'")
    url = make_url(server_url).set(username="crm_test_humble", password="humble")
    try:
        with (
            closing(Databases(url.render_as_string(hide_password=False))) as databases,
            pytest.raises(DatabaseUnavailable, match="may not create databases"),
        ):
            databases.empty()
    finally:
        ask(server_url, "DROP ROLE crm_test_humble")


@pytest.fixture
def creator(server_url) -> Iterator[str]:
    """The URL of a user who may create databases and is no superuser."""
    name = f"crm_creator_{secrets.token_hex(4)}"
    ask(server_url, f"CREATE ROLE {name} LOGIN CREATEDB PASSWORD 'creator'")
    url = make_url(server_url).set(username=name, password="creator").render_as_string(hide_password=False)
    yield url
    owned = "SELECT array_agg(datname) FROM pg_database WHERE pg_get_userbyid(datdba) = :name"
    for left in ask(server_url, owned, name=name) or []:
        # Another process's sweep may be dropping it, too.
        ask(server_url, f"DROP DATABASE IF EXISTS {left} WITH (FORCE)")
    ask(server_url, f"DROP ROLE {name}")


def test_who_may_not_create_the_extension_is_told_who_can(creator, databases):
    databases.drop(databases.clone())
    with (
        closing(Databases(creator)) as own,
        pytest.raises(DatabaseUnavailable, match="the extension vector: a superuser can, in template1"),
    ):
        own.clone()


@pytest.mark.own_connection("migrations hold a lock of their session")
def test_who_may_not_create_the_extension_copies_it(creator, databases, server_url, monkeypatch):
    """Template1 is every other test's too, so a template beside stands for it here."""
    databases.drop(databases.clone())
    common = f"crm_t_{secrets.token_hex(4)}_common"
    ask(server_url, f"CREATE DATABASE {common} TEMPLATE template0 IS_TEMPLATE true")
    ask(make_url(server_url).set(database=common), "CREATE EXTENSION vector")
    monkeypatch.setattr(postgres, "_COMMON", common)
    try:
        with closing(Databases(creator)) as own:
            first, second = own.clone(), own.clone()
            assert ask(second, "SELECT count(*) FROM channel_configs") == 3
            with make_engine(first, allow_insecure_tls=True, poolclass=NullPool).connect() as connection:
                migrations.check(connection)
    finally:
        ask(server_url, f"ALTER DATABASE {common} IS_TEMPLATE false")
        ask(server_url, f"DROP DATABASE {common} WITH (FORCE)")


def test_docker_that_is_not_there_is_one_clear_error(monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    with pytest.raises(DatabaseUnavailable, match="Docker cannot be reached"), provision("docker"):
        pass


def test_auto_falls_back_to_docker_and_names_both_reasons(monkeypatch):
    def unavailable(*_: object, **__: object) -> None:
        raise EmbeddedUnavailable("no server for this machine")

    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    monkeypatch.setattr("app.embedded.start", unavailable)
    with pytest.raises(DatabaseUnavailable, match=r"no server for this machine; Docker cannot"), provision():
        pass


@pytest.mark.skipif(not os.environ.get("CRM_TEST_DOCKER"), reason="needs a Docker daemon: CRM_TEST_DOCKER=1")
def test_a_container_has_pgvector():
    with provision("docker") as url, closing(Databases(url)) as databases:
        assert migrations.current(databases.clone()) == migrations.head()
