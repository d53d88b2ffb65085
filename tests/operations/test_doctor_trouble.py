"""The doctor among others who work on the same database, and on one that is not as usual."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from sqlalchemy import Connection, Engine, make_url, text
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from app import migrations
from app.database import make_engine
from app.errors import InvalidValue, MigrationError
from app.operations.doctor import examine
from app.operations.doctor import vector_checks as _doctor_vectors
from app.services import merging
from app.settings import Settings
from app.testing import ConversationFactory, CustomerFactory, Databases, bound_to
from tests.operations.conftest import call_pgvector_new

UNGUARDED = "ALTER TABLE tickets DISABLE TRIGGER trg_ticket_record_update"
INVALID = "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'idx_messages_customer'::regclass"
SHORT = Settings(migration_wait=0.3, migration_lock_timeout=0.2)


@pytest.fixture
def engine(crm_databases: Databases) -> Iterator[Engine]:
    url = crm_databases.clone()
    engine = make_engine(url, poolclass=NullPool)
    call_pgvector_new(engine)
    yield engine
    crm_databases.drop(url)


def run(engine: Engine, *statements: str) -> None:
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for statement in statements:
            connection.exec_driver_sql(statement.replace("%", "%%"))


@contextmanager
def holding(engine: Engine, statement: str) -> Iterator[Connection]:
    """Somebody else's open transaction, which is undone."""
    with engine.connect() as connection:
        connection.execute(text(statement))
        yield connection
        connection.rollback()


def test_two_doctors_mend_the_same_faults_without_disturbing_each_other(engine):
    run(
        engine,
        UNGUARDED,
        INVALID,
        "CREATE INDEX idx_messages_channel_ccnew ON messages (channel)",
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'idx_messages_channel_ccnew'::regclass",
        "INSERT INTO customers (email) VALUES ('ana@example.com')",
        "INSERT INTO tickets (ticket_number, customer_id, subject, category, source_channel) "
        "SELECT 'TKT-0077', id, 'x', 'billing', 'email' FROM customers",
        "UPDATE knowledge_base SET embedding = array_fill(0, ARRAY[1536])::vector",
    )
    reports = []
    ready = threading.Barrier(3)

    def mend() -> None:
        ready.wait()
        reports.append(examine(engine, fix=True))

    threads = [threading.Thread(target=mend) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [report.exit_code for report in reports] == [0, 0, 0], reports
    migrations.check(engine)
    assert {finding.check for finding in examine(engine).findings} == {
        "no_roles",
        "customers_without_identifiers",
    }


def test_the_doctor_does_not_mend_while_a_migration_is_under_way(engine):
    run(engine, UNGUARDED)
    with holding(engine, f"SELECT pg_advisory_lock({migrations.LOCK_KEY})"):
        assert examine(engine, settings=SHORT, only=["guards"]).findings[0].count == 1

        report = examine(engine, settings=SHORT, only=["guards"], fix=True)

    (finding,) = report.findings
    assert (finding.count, finding.fixed, report.exit_code) == (1, 0, 4)
    assert "not mended now: another migration job is still running" in finding.mend


def test_the_doctor_gives_up_rather_than_hold_others_up(engine):
    run(engine, UNGUARDED)
    with holding(engine, "LOCK TABLE tickets IN ROW EXCLUSIVE MODE"):
        started = time.monotonic()
        report = examine(engine, settings=SHORT, only=["guards"], fix=True)
        assert time.monotonic() - started < 5

    assert "not mended now: others hold a lock on it" in report.findings[0].mend
    assert (report.exit_code, [examined.outcome for examined in report.checks]) == (4, ["good", "failed"])
    assert examine(engine, only=["guards"], fix=True).exit_code == 0


def test_an_index_that_is_being_built_is_not_seen_as_broken_and_hides_no_other(desk):
    """Who may not see the others' work sees the one too many, and not none at all."""
    desk.run(INVALID)
    building = threading.Thread(
        target=run, args=[desk.admin, "CREATE INDEX CONCURRENTLY slow ON messages (content)"]
    )
    started = text("SELECT count(*) FROM pg_stat_progress_create_index WHERE index_relid <> 0")
    with holding(desk.admin, "LOCK TABLE messages IN ROW EXCLUSIVE MODE"):
        building.start()
        with desk.admin.connect().execution_options(isolation_level="AUTOCOMMIT") as looking:
            for _ in range(200):
                if looking.scalar(started):
                    break
                time.sleep(0.05)
        seen = {
            role: examine(engine, only=["indexes"], role_prefix=desk.prefix).findings[0].examples
            for role, engine in {"admin": desk.admin, "auditor": desk.login("auditor")}.items()
        }
    building.join()
    desk.run("DROP INDEX slow")
    assert examine(desk.admin, only=["indexes"], fix=True).exit_code == 0

    assert seen["admin"] == ("idx_messages_customer",)
    assert set(seen["auditor"]) == {"idx_messages_customer", "slow"}


def test_indexes_of_other_applications_are_theirs_to_mend(engine):
    run(
        engine,
        "CREATE TABLE theirs (id int PRIMARY KEY)",
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'theirs_pkey'::regclass",
    )
    assert examine(engine, only=["indexes"], fix=True).findings == []


@pytest.mark.own_connection("migrations hold a lock of their session")
def test_a_check_that_cannot_be_made_at_this_revision_is_no_good_result(crm_databases):
    url = crm_databases.empty()
    engine = make_engine(url, poolclass=NullPool)
    migrations.upgrade(url, "0005")

    report = examine(engine, only=["tickets"])

    assert [(finding.check, report.exit_code) for finding in report.findings] == [("revision", 4)]
    crm_databases.drop(url)


@pytest.mark.parametrize("prefix", ["Crm", "crm'; DROP ROLE postgres; --", "pg"])
def test_a_prefix_that_is_no_plain_name_is_refused_before_anything_is_asked(engine, prefix):
    with pytest.raises(InvalidValue, match=r"^prefix: "):
        examine(engine, role_prefix=prefix)


@pytest.mark.own_connection("settings of a database reach only new connections to the server")
def test_a_search_path_that_begins_elsewhere_is_named_and_nothing_is_put_there(engine):
    name = make_url(engine.url).database
    run(engine, UNGUARDED, "CREATE SCHEMA mine", f"ALTER DATABASE {name} SET search_path = mine, public")

    report = examine(engine, fix=True)

    (finding,) = report.findings
    assert (finding.check, report.exit_code) == ("revision", 4)
    assert finding.examples[0].startswith("this connection works in the schema mine, and the tables belong")
    with engine.connect() as connection:
        there = text("SELECT count(*) FROM pg_proc WHERE pronamespace = 'mine'::regnamespace")
        assert connection.scalar(there) == 0
    for look in (migrations.current, migrations.check, migrations.upgrade):
        with pytest.raises(MigrationError, match="works in the schema mine"):
            look(engine)


def test_a_version_table_with_a_second_revision_is_not_taken_for_a_good_one(engine):
    run(engine, "INSERT INTO alembic_version VALUES ('0003')")

    report = examine(engine)

    assert report.exit_code == 4
    assert report.findings[0].examples == (
        f"alembic_version has several revisions: 0003, {migrations.head()}",
    )
    with pytest.raises(MigrationError, match="has several revisions"):
        migrations.check(engine)


@pytest.mark.parametrize(
    "damage",
    [
        "DROP TABLE messages CASCADE",
        "DROP EXTENSION vector CASCADE",
        "DROP SEQUENCE ticket_number_seq",
        "ALTER TABLE customers RENAME COLUMN email TO mail",
        "ALTER TABLE tickets RENAME TO t; CREATE VIEW tickets AS SELECT * FROM t",
    ],
)
def test_whatever_is_missing_the_doctor_reports_and_does_not_fail(engine, damage):
    run(engine, damage)
    for fix in (False, True):
        report = examine(engine, fix=fix)
        assert report.exit_code == 4
        assert "catalogue" in {finding.check for finding in report.findings}


def test_every_hnsw_index_has_a_search_that_proves_its_use(engine):
    with engine.connect() as connection:
        there = connection.scalars(
            text("""
                SELECT i.relname FROM pg_class i JOIN pg_am ON pg_am.oid = i.relam AND amname = 'hnsw'
                WHERE i.relnamespace = 'public'::regnamespace AND i.relkind = 'i'
            """)
        ).all()
    assert set(there) == set(_doctor_vectors.SEARCHES)


@pytest.fixture
def beside(engine, monkeypatch) -> Engine:
    """A table of ours that is nothing but embeddings: one by another model, one without direction."""
    run(
        engine,
        "CREATE TABLE shelf (message_id int, part int, model text NOT NULL, embedding halfvec(2) NOT NULL, "
        "PRIMARY KEY (message_id, part))",
        "INSERT INTO shelf VALUES (7, 1, 'a', '[1,0]'), (7, 2, 'b', '[0,1]'), (8, 1, 'a', '[0,0]')",
    )
    tables = SimpleNamespace(metadata=SimpleNamespace(tables=["knowledge_base", "shelf"]))
    monkeypatch.setattr(_doctor_vectors, "Base", tables)
    return engine


def test_embeddings_are_looked_at_in_whichever_table_they_are(beside):
    report = examine(beside, only=["zero_vectors", "embedding_models"])

    # Several models are no fault where a column keeps them apart.
    examples = {finding.check: finding.examples for finding in report.findings}
    assert examples == {"zero_vectors": ("shelf 8 1",)}


def test_a_row_that_is_nothing_but_a_useless_embedding_is_removed(beside):
    assert examine(beside, only=["zero_vectors"], fix=True).exit_code == 0
    with beside.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM shelf")) == 2


def test_an_old_message_that_was_loaded_between_a_merge_and_its_undoing_is_nobodys_fault(engine):
    why = {"actor": "human:7", "reason": "one person"}
    with Session(engine) as session, bound_to(session):
        conversation = ConversationFactory()
        survivor, absorbed = CustomerFactory().id, conversation.customer_id
        undone = merging.merge(session, survivor, absorbed, **why).id
        session.execute(
            text("""
                INSERT INTO messages
                    (conversation_id, customer_id, channel, direction, role, content, created_at)
                VALUES (:conversation, :customer, 'email', 'inbound', 'customer', 'Hi', '2020-02-02')
            """),
            {"conversation": conversation.id, "customer": survivor},
        )
        merging.unmerge(session, undone, **why)
        session.commit()

    report = examine(engine, only=["messages_of_others", "left_by_unmerge"])

    assert [(finding.check, finding.count) for finding in report.findings] == [("left_by_unmerge", 1)]
