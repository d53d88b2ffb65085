"""Each check of the doctor finds the fault that is planted for it, and what can be mended is mended."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import replace

import pytest
from sqlalchemy import Engine, select, text
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from app import migrations
from app.database import make_engine
from app.embeddings import get_embedder
from app.errors import InvalidValue
from app.models import Channel, IdentityEvent, TicketStatus
from app.operations import roles
from app.operations.doctor import CHECKS, Report, Severity, examine
from app.schemas import Identifier, InboundMessage
from app.services import conversations, identity, knowledge, merging, tickets
from app.testing import Databases
from tests.operations.conftest import call_pgvector_new

TRIGGERS_OFF = "ALTER TABLE tickets DISABLE TRIGGER ALL; "
TRIGGERS_ON = "; ALTER TABLE tickets ENABLE TRIGGER ALL"
RECORD_OFF = "ALTER TABLE ticket_status_changes DISABLE TRIGGER trg_ticket_status_changes_append_only; "
RECORD_ON = "; ALTER TABLE ticket_status_changes ENABLE ALWAYS TRIGGER trg_ticket_status_changes_append_only"


def inbound(number: int, value: str) -> InboundMessage:
    return InboundMessage(
        channel=Channel.EMAIL,
        account="help@example.com",
        provider_message_id=str(number),
        sender=[Identifier(type="email", value=value, verified=True)],
        content="Hello",
    )


@pytest.fixture(scope="module")
def healthy(crm_databases: Databases) -> Iterator[str]:
    """A database that has been worked with, to be cloned: merged, unmerged, resolved, embedded."""
    url = crm_databases.clone()
    engine = make_engine(url, poolclass=NullPool)
    call_pgvector_new(engine)
    with Session(engine) as session, session.begin():
        people = [conversations.ingest(session, inbound(n, f"p{n}@example.com")) for n in range(4)]
        for one in people:
            ticket = tickets.open_ticket(
                session,
                customer_id=one.customer_id,
                conversation_id=one.conversation_id,
                subject="Export",
                category="technical",
                source_channel="email",
                actor="human:7",
            )
            tickets.assign(session, ticket.id, "human:7", actor="human:7")
            tickets.change_status(session, ticket.id, TicketStatus.RESOLVED, actor="human:7")
        ids = [one.customer_id for one in people]
        merging.merge(session, ids[0], ids[1], actor="human:7", reason="one person")
        undone_id = merging.merge(session, ids[2], ids[3], actor="human:7", reason="one person").id
    with Session(engine) as session, session.begin():
        conversations.ingest(session, inbound(9, "p3@example.com"))
    with Session(engine) as session, session.begin():
        merging.unmerge(session, undone_id, actor="human:7", reason="two people")
        knowledge.embed_missing(session, get_embedder("lexical"))
    yield url
    crm_databases.drop(url)


@pytest.fixture
def patient(crm_databases: Databases, healthy: str) -> Iterator[Engine]:
    url = crm_databases.clone(healthy)
    engine = make_engine(url, poolclass=NullPool)
    yield engine
    crm_databases.drop(url)


def damage(engine: Engine, statement: str) -> None:
    """As the owner, who can do anything."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for part in statement.split("\n\n"):
            connection.exec_driver_sql(part.replace("%", "%%"))


FAULTS = {
    "pgvector_missing": "UPDATE pg_extension SET extversion = '0.7.4' WHERE extname = 'vector'",
    "pgvector_version": "UPDATE pg_extension SET extversion = '0.8.1' WHERE extname = 'vector'",
    "revision": "UPDATE alembic_version SET version_num = '0003'",
    "guards": "ALTER TABLE tickets DISABLE TRIGGER trg_ticket_record_update",
    "indexes": """
        UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'idx_messages_customer'::regclass
    """,
    "catalogue": "ALTER TABLE tickets DROP CONSTRAINT tickets_status_check",
    "hnsw": """
        DROP INDEX idx_knowledge_base_embedding;
        CREATE INDEX idx_knowledge_base_embedding ON knowledge_base USING hnsw (embedding vector_l2_ops)
    """,
    "unused_indexes": """
        INSERT INTO messages (conversation_id, customer_id, channel, direction, role, content)
        SELECT conversation_id, customer_id, channel, direction, role, repeat(md5(n::text), 8)
        FROM (SELECT * FROM messages LIMIT 1) AS m, generate_series(1, 2000) AS n;
        CREATE INDEX idle ON messages ((content || content)) WITH (fillfactor = 10)
    """,
    "search_settings": """
        DO $$ BEGIN EXECUTE format('ALTER DATABASE %I RESET ALL', current_database()); END $$
    """,
    "tickets": f"{TRIGGERS_OFF} UPDATE tickets SET status = 'closed' {TRIGGERS_ON}",
    "records": f"{RECORD_OFF} UPDATE ticket_status_changes SET changed_by = 'human:8' {RECORD_ON}",
    "ticket_numbers": "SELECT setval('ticket_number_seq', 2)",
    "redirects": """
        ALTER TABLE customers DISABLE TRIGGER trg_customers_refuse_absorbed;
        INSERT INTO customers (id, email) SELECT absorbed_id, 'b@example.com' FROM customer_redirects;
        ALTER TABLE customers ENABLE ALWAYS TRIGGER trg_customers_refuse_absorbed
    """,
    "uncanonical_addresses": "INSERT INTO customers (email, phone) VALUES ('A@X.example', '+1 415 555 0103')",
    "colliding_addresses": "INSERT INTO customers (email) VALUES ('Bob@Example.com'), ('bob@example.com')",
    "unreadable_addresses": "INSERT INTO customers (email) VALUES ('nobody')",
    "addresses_of_others": "UPDATE customers SET email = 'P2@example.com' WHERE email = 'p0@example.com'",
    "customers_without_identifiers": "INSERT INTO customers (email) VALUES ('raw@example.com')",
    "messages_of_others": """
        UPDATE messages SET customer_id = (SELECT id FROM customers WHERE email = 'p0@example.com')
        WHERE customer_id = (SELECT id FROM customers WHERE email = 'p2@example.com')
    """,
    "tickets_of_others": """
        UPDATE tickets SET customer_id = (SELECT id FROM customers WHERE email = 'p0@example.com')
    """,
    "embedding_models": """
        UPDATE knowledge_base SET metadata = jsonb_set(metadata, '{embedding,model}', '"other"')
        WHERE title = (SELECT min(title) FROM knowledge_base)
    """,
    "zero_vectors": """
        UPDATE knowledge_base SET embedding = array_fill(0, ARRAY[1536])::vector
        WHERE title = (SELECT min(title) FROM knowledge_base)
    """,
}
"""What is planted for each check; the rest have tests of their own."""

ELSEWHERE = {"postgresql_version", "no_roles", "rights", "left_by_unmerge"}
MENDED = [
    "guards",
    "indexes",
    "search_settings",
    "ticket_numbers",
    "uncanonical_addresses",
    "zero_vectors",
]


def marked(name: str) -> object:
    """Settings of a database reach only connections that begin later; a pooler's begin when it likes."""
    why = pytest.mark.own_connection("settings of a database reach only new connections to the server")
    return pytest.param(name, marks=[why] if name == "search_settings" else [], id=name)


def names(report: Report, *, but: set[str] = frozenset()) -> set[str]:
    return {finding.check for finding in report.findings if finding.count} - but


def test_every_check_has_its_fault_here():
    assert {check.name for check in CHECKS} == {*FAULTS, *ELSEWHERE}
    assert {check.name for check in CHECKS if check.fix} == {*MENDED, "rights"}


def test_a_healthy_database_has_no_faults(patient):
    report = examine(patient)

    assert names(report) == {"no_roles", "left_by_unmerge"}
    assert (report.severity, report.exit_code) == (Severity.INFO, 0)
    assert {examined.outcome for examined in report.checks} == {"good", "found"}


def test_an_engine_of_one_connection_is_enough(patient):
    engine = make_engine(patient.url, pool_size=1, max_overflow=0, pool_timeout=0.1)
    assert "failed" not in {examined.outcome for examined in examine(engine).checks}
    engine.dispose()


@pytest.mark.parametrize("name", [marked(name) for name in FAULTS])
def test_a_check_finds_its_fault(patient, name):
    damage(patient, FAULTS[name])

    report = examine(patient, only=[name])

    (finding,) = report.findings
    assert (finding.check, finding.fixed) == (name, 0)
    assert finding.count >= 1
    assert 1 <= len(finding.examples) <= 5
    assert all("@" not in example for example in finding.examples)
    severity = next(check.severity for check in CHECKS if check.name == name)
    assert report.exit_code == {"info": 0, "warning": 3, "error": 4}[severity]


@pytest.mark.parametrize("name", [marked(name) for name in MENDED])
def test_what_is_safe_is_mended(patient, name, caplog):
    damage(patient, FAULTS[name])
    caplog.set_level(logging.INFO, "crm.doctor")

    report = examine(patient, only=[name], fix=True)

    (finding,) = report.findings
    assert (finding.count, finding.fixed >= 1, report.exit_code) == (0, True, 0)
    assert [
        (record.name, record.check, record.left) for record in caplog.records if record.name == "crm.doctor"
    ] == [("crm.doctor", name, 0)]
    assert examine(patient, only=[name]).findings == []


def test_what_needs_a_decision_is_left_alone(patient):
    damage(patient, FAULTS["records"])

    report = examine(patient, only=["records"], fix=True)

    (finding,) = report.findings
    assert finding.count > 1
    assert (finding.fixed, report.exit_code) == (0, 4)


def test_mended_addresses_leave_events(patient):
    damage(patient, "INSERT INTO customers (email) VALUES ('eve@example.com')")
    with Session(patient) as session, session.begin():
        eve = identity.find_customer(session, Identifier(type="email", value="eve@example.com"))
        eve_id = eve.id
        for value in ("eve@example.com", "EVE@example.com"):
            session.execute(
                text("""
                    INSERT INTO customer_identifiers (customer_id, identifier_type, identifier_value, channel)
                    VALUES (:customer, 'email', :value, 'email')
                """),
                {"customer": eve_id, "value": value},
            )

    report = examine(patient, only=["uncanonical_addresses"], fix=True)

    assert report.findings[0].fixed == 1
    with Session(patient) as session:
        events = session.scalars(select(IdentityEvent).where(IdentityEvent.customer_id == eve_id)).all()
    assert {event.actor for event in events if not event.actor.startswith("db:")} == {"system:doctor"}


def test_mending_the_guards_puts_back_functions_and_dropped_triggers(patient):
    damage(
        patient,
        """
        DROP FUNCTION record_ticket_status() CASCADE;
        CREATE OR REPLACE FUNCTION ticket_transition_allowed(old_status text, new_status text)
        RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE AS 'SELECT true';
        ALTER TABLE messages DISABLE TRIGGER trg_messages_follow_redirect
        """,
    )

    report = examine(patient, only=["guards", "catalogue"], fix=True)

    assert [(finding.check, finding.count) for finding in report.findings] == [("guards", 0)]
    migrations.check(patient)


def test_an_invalid_leftover_of_a_rebuild_is_dropped_and_an_index_is_built_again(patient):
    damage(
        patient,
        """
        CREATE INDEX idx_messages_channel_ccnew ON messages (channel);
        UPDATE pg_index SET indisvalid = false
        WHERE indexrelid IN ('idx_messages_channel_ccnew'::regclass, 'idx_messages_channel'::regclass)
        """,
    )

    report = examine(patient, only=["indexes"], fix=True)

    assert (report.findings[0].fixed, report.findings[0].count) == (2, 0)
    migrations.check(patient)


def test_the_sequence_is_never_set_back(patient):
    damage(patient, "SELECT setval('ticket_number_seq', 900)")
    assert examine(patient, only=["ticket_numbers"], fix=True).findings == []

    damage(patient, "UPDATE tickets SET ticket_number = 'TKT-1000000' WHERE ticket_number = 'TKT-0001'")
    assert examine(patient, only=["ticket_numbers"], fix=True).findings[0].fixed == 1

    with patient.connect() as connection:
        assert connection.scalar(text("SELECT nextval('ticket_number_seq')")) == 1_000_001


def test_an_old_server_is_told(patient, monkeypatch):
    old = next(check for check in CHECKS if check.name == "postgresql_version")
    newer = replace(old, find=old.find.replace("160000", "990000"))
    monkeypatch.setattr("app.operations.doctor.examination.CHECKS", [newer])

    assert names(examine(patient, only=["postgresql_version"])) == {"postgresql_version"}


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        ("GRANT TRUNCATE ON tickets TO {app}", "app may TRUNCATE tickets, and should not"),
        ("GRANT INSERT ON identity_events TO {app}", "app may INSERT identity_events, and should not"),
        (
            "REVOKE EXECUTE ON FUNCTION record_identity_events FROM {app}",
            "app may EXECUTE record_identity_events: not granted",
        ),
    ],
)
def test_rights_are_compared_and_mended_once_there_are_roles(own_desk, damage, told):
    assert not names(examine(own_desk.admin, role_prefix=own_desk.prefix))
    own_desk.run(own_desk.role(damage))

    report = examine(own_desk.admin, role_prefix=own_desk.prefix)
    assert names(report) == {"rights"}
    assert report.findings[0].examples == (f"{own_desk.prefix}_{told}",)

    assert examine(own_desk.admin, role_prefix=own_desk.prefix, fix=True).exit_code == 0
    assert roles.differences(own_desk.admin.connect(), own_desk.prefix) == []


def test_the_auditor_can_make_every_check_and_the_reader_is_told_what_it_cannot(desk):
    report = examine(desk.login("auditor"), role_prefix=desk.prefix)
    assert names(report) == set()
    assert {examined.outcome for examined in report.checks} == {"good"}

    report = examine(desk.login("readonly"), role_prefix=desk.prefix)
    failed = {examined.check for examined in report.checks if examined.outcome == "failed"}
    assert failed == names(report) >= {"tickets", "records"}
    assert report.exit_code == 3


def test_mending_without_the_rights_is_a_finding_and_no_crash(desk):
    desk.run("ALTER TABLE tickets DISABLE TRIGGER trg_tickets_updated_at")
    report = examine(desk.login("app"), role_prefix=desk.prefix, only=["guards"], fix=True)
    assert [examined.outcome for examined in report.checks[1:]] == ["failed"]
    (finding,) = report.findings
    assert (finding.count, report.exit_code) == (1, 4)
    assert finding.mend.endswith("(not mended now: this database user has not the rights)")

    assert examine(desk.login("migrator"), role_prefix=desk.prefix, only=["guards"], fix=True).exit_code == 0


def test_a_server_that_is_down_is_a_finding(tmp_path):
    report = examine(make_engine(f"postgresql://ann:8hidden8@/crm?host={tmp_path}"))

    assert (names(report), report.exit_code) == ({"connection"}, 4)
    assert "8hidden8" not in json.dumps(report.as_json())


@pytest.mark.own_connection("migrations hold a lock of their session")
@pytest.mark.parametrize("revision", ["empty", "0005", "9999"])
def test_what_rests_on_the_schema_is_skipped_at_another_revision(crm_databases, revision):
    url = crm_databases.empty()
    engine = make_engine(url, poolclass=NullPool)
    if revision != "empty":
        migrations.upgrade(url, "0005")
        call_pgvector_new(engine)
    if revision == "9999":
        damage(engine, "UPDATE alembic_version SET version_num = '9999'")

    report = examine(engine)

    assert names(report, but={"pgvector_missing"}) == {"revision"}
    (finding,) = [finding for finding in report.findings if finding.check == "revision"]
    assert ("does not know" in finding.examples[0]) == (revision == "9999")
    assert {examined.outcome for examined in report.checks} == {"good", "found", "skipped"}
    crm_databases.drop(url)


def test_a_check_that_does_not_exist_is_refused(patient):
    with pytest.raises(InvalidValue, match=r"^check: there is no check named stars$"):
        examine(patient, only=["stars", "tickets"])


def test_a_report_is_json(patient):
    damage(patient, FAULTS["ticket_numbers"])

    report = json.loads(json.dumps(examine(patient, only=["ticket_numbers"]).as_json()))

    assert (report["severity"], report["exit_code"]) == ("error", 4)
    assert report["findings"][0]["check"] == "ticket_numbers"
    assert {"what", "count", "mend", "examples", "fixed", "severity"} <= report["findings"][0].keys()
    assert [examined["outcome"] for examined in report["checks"]] == ["good", "found"]


def test_of_very_many_customers_a_sample_is_read_and_that_is_said(patient, monkeypatch):
    monkeypatch.setattr("app.operations.doctor.patient.MOST_CUSTOMERS", 50)
    with patient.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO customers (email) "
            "SELECT 'P' || n || '@Example.com' FROM generate_series(1, 400) AS n"
        )
    report = examine(patient, only=["uncanonical_addresses", "redirects"])

    (finding,) = report.findings
    assert 10 < finding.count < 200
    notes = {examined.check: examined.note for examined in report.checks}
    assert notes["uncanonical_addresses"].startswith("a sample, the addresses of about one customer in ")
    assert notes["redirects"] is None
