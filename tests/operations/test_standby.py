"""A hot standby, which only reads: what looks can look there, and what writes says why it cannot."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.pool import NullPool

from app import migrations
from app.database import make_engine, probe
from app.errors import CRMError, MigrationError
from app.operations import roles
from app.operations.doctor import examine
from tests.database.standby import server_and_standby

pytestmark = pytest.mark.soak


@pytest.fixture(scope="module")
def pair(tmp_path_factory) -> Iterator[tuple[Engine, Engine]]:
    """A migrated server of our own, and a standby that follows it."""
    with server_and_standby(tmp_path_factory.mktemp("pair")) as (server, standby):
        yield make_engine(server.url, poolclass=NullPool), make_engine(standby.url, poolclass=NullPool)


@pytest.fixture
def following(pair) -> Engine:
    """The standby, with all that the primary has by now."""
    primary, standby = pair
    with primary.begin() as connection:
        # A test server writes its log late; with this commit it writes all that came before.
        connection.execute(text("SET LOCAL synchronous_commit = on"))
        connection.execute(text("SELECT pg_logical_emit_message(true, 'crm', '')"))
    with primary.connect() as connection:
        reached = connection.scalar(text("SELECT pg_current_wal_flush_lsn()"))
    for _ in range(200):
        with standby.connect() as connection:
            behind = text("SELECT pg_last_wal_replay_lsn() < CAST(:reached AS pg_lsn)")
            if not connection.scalar(behind, {"reached": reached}):
                return standby
        time.sleep(0.05)
    raise AssertionError("the standby does not follow")


def test_the_doctor_makes_every_check_there(following):
    report = examine(following)

    assert {finding.check for finding in report.findings} == {"no_roles"}
    assert report.exit_code == 0


def test_the_doctor_finds_a_fault_there_and_says_why_it_cannot_mend_it(pair, following):
    primary, _ = pair
    with primary.begin() as connection:
        connection.execute(text("ALTER TABLE tickets DISABLE TRIGGER trg_ticket_record_update"))
    try:
        for _ in range(200):
            report = examine(following, only=["guards"], fix=True)
            if report.findings:
                break
            time.sleep(0.05)
        (finding,) = report.findings
        assert (finding.count, finding.fixed, report.exit_code) == (1, 0, 4)
        assert finding.mend.endswith("(not mended now: the server is a standby, or this user may only read)")
    finally:
        assert examine(primary, only=["guards"], fix=True).exit_code == 0
    log = Path(primary.url.query["host"]).resolve().parent / "log"
    assert "LOG:  crm doctor mended guards (1) as postgres\n" in log.read_text()


def test_what_only_looks_works_there(following):
    migrations.check(following)
    migrations.wait_until_current(following, timeout=0)
    migrations.upgrade(following)
    health = probe(following, revision=migrations.head())
    assert (health.ok, health.read_only) == (True, True)


def test_what_writes_is_refused_there_in_our_own_words(following):
    with pytest.raises(MigrationError, match="read-only transaction"):
        migrations.downgrade(following, "-1")
    with (
        following.connect() as connection,
        pytest.raises(CRMError, match="this user may only read; nothing was changed"),
    ):
        roles.apply(connection, "crm_standby")


@pytest.mark.parametrize(
    ("wanted", "only_reads"), [("read-write", False), ("primary", False), ("prefer-standby", True)]
)
def test_of_several_servers_the_one_that_is_asked_for_is_taken(pair, following, wanted, only_reads):
    hosts = [engine.url.query["host"] for engine in (following, pair[0])]
    for order in (hosts, hosts[::-1]):
        places = "&".join(f"host={quote(host)}" for host in order)
        engine = make_engine(
            f"postgresql://postgres@/crm?{places}&target_session_attrs={wanted}", poolclass=NullPool
        )
        assert probe(engine).read_only == only_reads
