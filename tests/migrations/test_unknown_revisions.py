"""A version table that names a revision of somebody else, or none of ours: one clear line, no change."""

from __future__ import annotations

import pytest

from app import migrations
from app.errors import UnknownRevision
from app.settings import Settings

pytestmark = pytest.mark.parametrize("server_of_major", [16], ids=["pg16"], indirect=True, scope="session")
THEIRS = """
    CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY);
    INSERT INTO alembic_version VALUES ('{revision}');
    CREATE TABLE invoices (id int);
"""
OLDER = "a newer version has migrated it, or one that was never released"
FOREIGN = (
    "alembic_version belongs to another application, as it seems: set CRM_VERSION_TABLE to a name of our own"
)


def unknown(revision, whose):
    return (
        f"the database is at revision {revision}, which this installation does not know "
        f"(its newest is {migrations.head()}); {whose}"
    )


@pytest.fixture
def theirs(server):
    """Makes a database of another application, at a revision of its chain."""

    def make(revision):
        url = server.empty()
        server.execute(url, THEIRS.format(revision=revision))
        return url

    return make


@pytest.fixture
def ahead(server):
    """Ours, at a revision that was never released."""
    url = server.at("head")
    server.ask(url, "UPDATE alembic_version SET version_num = '0021'")
    return url


@pytest.mark.parametrize(
    "command", [("upgrade", "head"), ("downgrade", "-1"), ("stamp", "head"), ("current",), ("check",)]
)
def test_every_command_says_so_in_one_line(server, ahead, alembic, command):
    before = server.dump(ahead)
    done = alembic(*command, url=ahead)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == f"crm: {unknown('0021', OLDER)}"
    assert "Traceback" not in done.stderr
    assert (server.dump(ahead), migrations.current(ahead)) == (before, "0021")


@pytest.mark.parametrize(
    "call",
    [
        migrations.upgrade,
        lambda url: migrations.downgrade(url, "base", allow_data_loss=True),
        migrations.check,
        migrations.wait_until_current,
    ],
    ids=["upgrade", "downgrade", "check", "wait_until_current"],
)
def test_every_function_raises_it_typed(ahead, theirs, call):
    with pytest.raises(UnknownRevision) as refused:
        call(ahead)
    assert str(refused.value) == unknown("0021", OLDER)
    with pytest.raises(UnknownRevision) as refused:
        call(theirs("ae1027a6acf"))
    assert str(refused.value) == unknown("ae1027a6acf", FOREIGN)


def test_a_table_of_theirs_with_a_name_of_ours_does_not_make_the_row_ours(server, theirs):
    url = theirs("ae1027a6acf")
    server.ask(url, "CREATE TABLE customers (id int)")
    with pytest.raises(UnknownRevision, match="CRM_VERSION_TABLE"):
        migrations.upgrade(url)


def test_with_a_version_table_of_our_own_both_live_in_one_database(server, theirs, alembic):
    url = theirs("ae1027a6acf")
    assert alembic("upgrade", "head", url=url, CRM_VERSION_TABLE="crm_version").returncode == 0
    migrations.check(url, settings=Settings(version_table="crm_version"))
    assert server.one(url, "SELECT version_num FROM alembic_version") == "ae1027a6acf"


@pytest.mark.parametrize("revision", ["0003", "head"])
def test_a_revision_that_reads_like_ours_where_nothing_is_ours_is_not_gone_on_from(server, theirs, revision):
    revision = migrations.head() if revision == "head" else revision
    url = theirs(revision)
    with pytest.raises(UnknownRevision) as refused:
        migrations.upgrade(url)
    assert str(refused.value) == (
        f"the database is at revision {revision} and has none of our tables: set CRM_VERSION_TABLE "
        "if alembic_version is another application's, else empty it with alembic stamp --purge base"
    )
    assert migrations.current(url) == revision


def test_what_the_line_advises_helps(server, theirs, alembic):
    url = theirs("0003")
    assert alembic("stamp", "--purge", "base", url=url).returncode == 0
    migrations.upgrade(url)
    assert migrations.current(url) == migrations.head()


def test_who_knows_better_may_stamp_all_the_same(ahead, alembic):
    assert alembic("stamp", "--purge", "head", url=ahead).returncode == 0
    migrations.check(ahead)
