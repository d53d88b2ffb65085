"""``crm db check``: nobody changes the schema by hand without its being seen."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.pool import NullPool

from app import migrations
from app.database import make_engine
from app.errors import MigrationError, SchemaDiffers
from app.migrations import catalogue
from app.operations.doctor import examine
from tests.operations.conftest import call_pgvector_new

ON_16 = pytest.mark.parametrize("server_of_major", [16], ids=["pg16"], indirect=True, scope="session")
STALE = "the migrations have changed: python scripts/describecatalogue.py"

# How PostgreSQL writes what it is asked for, where a database has it set otherwise.
DISPLAYED = {
    "quote_all_identifiers": "on",
    "standard_conforming_strings": "off",
    "bytea_output": "escape",
    "client_encoding": "LATIN1",
    "DateStyle": "German",
    "IntervalStyle": "iso_8601",
    "TimeZone": "Asia/Kathmandu",
    "extra_float_digits": "-5",
    "default_text_search_config": "simple",
    "xmloption": "document",
}

DRIFTS = [
    # Tables
    ("DROP TABLE provider_messages", "table provider_messages is missing"),
    ("ALTER TABLE provider_messages RENAME TO receipts", "table provider_messages is missing"),
    ("ALTER TABLE agent_metrics SET UNLOGGED", "table agent_metrics is unlogged"),
    ("ALTER TABLE customers ENABLE ROW LEVEL SECURITY", "table customers is logged, row security"),
    ("CREATE POLICY mine ON customers USING (plan = 'free')", "policy customers.mine is not expected"),
    ("GRANT DELETE ON tickets TO PUBLIC", "table tickets is logged, PUBLIC may DELETE"),
    ("CREATE RULE quiet AS ON DELETE TO messages DO INSTEAD NOTHING", "rule messages.quiet is not expected"),
    # Columns
    ("ALTER TABLE customers ADD COLUMN age integer", "column customers.age is not expected"),
    ("ALTER TABLE customers RENAME COLUMN company TO firm", "column customers.company is missing"),
    ("ALTER TABLE customers ALTER name TYPE varchar(99)", "column customers.name is character varying(99)"),
    ("ALTER TABLE knowledge_base ALTER embedding TYPE vector", "column knowledge_base.embedding is vector;"),
    ("ALTER TABLE messages ALTER content DROP NOT NULL", "column messages.content is text;"),
    ("ALTER TABLE customers ALTER plan SET DEFAULT 'starter'", "column customers.plan is"),
    ("ALTER TABLE tickets ALTER id DROP DEFAULT", "column tickets.id is uuid NOT NULL;"),
    ("ALTER TABLE identity_events ALTER seq DROP IDENTITY", "column identity_events.seq is"),
    ("ALTER TABLE customers ALTER name TYPE varchar(255) COLLATE \"C\"", "column customers.name is"),
    ("GRANT SELECT (email) ON customers TO PUBLIC", "column customers.email is"),
    (
        "ALTER TABLE customers DROP COLUMN plan; ALTER TABLE customers ADD plan varchar(50) DEFAULT 'free' "
        "CHECK (plan IN ('free', 'starter', 'professional', 'enterprise'))",
        "table customers has its columns in another order",
    ),
    # Constraints
    ("ALTER TABLE customers DROP CONSTRAINT customers_email_key", "constraint customers.customers_email_key"),
    (
        "ALTER TABLE tickets DROP CONSTRAINT tickets_priority_check, "
        "ADD CONSTRAINT tickets_priority_check CHECK (priority <> '')",
        "constraint tickets.tickets_priority_check is CHECK",
    ),
    (
        "ALTER TABLE messages DROP CONSTRAINT messages_conversation_id_fkey, ADD CONSTRAINT "
        "messages_conversation_id_fkey FOREIGN KEY (conversation_id) REFERENCES conversations "
        "ON DELETE CASCADE",
        "constraint messages.messages_conversation_id_fkey is FOREIGN KEY",
    ),
    (
        "ALTER TABLE provider_messages ALTER CONSTRAINT provider_messages_message_id_fkey NOT DEFERRABLE",
        "constraint provider_messages.provider_messages_message_id_fkey is FOREIGN KEY",
    ),
    ("ALTER TABLE tickets RENAME CONSTRAINT tickets_pkey TO pk", "constraint tickets.pk is not expected"),
    (
        "ALTER TABLE customers ADD CONSTRAINT named CHECK (name <> '') NOT VALID",
        "constraint customers.named is not expected",
    ),
    ("ALTER TABLE messages DISABLE TRIGGER ALL", "constraint messages.messages_conversation_id_fkey is"),
    # Indexes
    ("DROP INDEX idx_tickets_conversation", "index tickets.idx_tickets_conversation is missing"),
    ("CREATE UNIQUE INDEX mine ON customers (phone)", "index customers.mine is not expected"),
    (
        "DROP INDEX idx_knowledge_base_embedding; "
        "CREATE INDEX idx_knowledge_base_embedding ON knowledge_base "
        "USING hnsw (embedding vector_ip_ops) WITH (m = 16, ef_construction = 64)",
        "index knowledge_base.idx_knowledge_base_embedding is CREATE INDEX",
    ),
    ("ALTER INDEX idx_knowledge_base_embedding SET (m = 8)", "index knowledge_base."),
    (
        "DROP INDEX customer_merges_absorbed_id_idx; "
        "CREATE UNIQUE INDEX customer_merges_absorbed_id_idx ON customer_merges (absorbed_id)",
        "index customer_merges.customer_merges_absorbed_id_idx is CREATE UNIQUE INDEX",
    ),
    (
        "DROP INDEX idx_metrics_time; "
        "CREATE INDEX idx_metrics_time ON agent_metrics (recorded_at) WHERE channel IS NOT NULL",
        "index agent_metrics.idx_metrics_time is CREATE INDEX",
    ),
    (
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'idx_messages_customer'::regclass",
        "index messages.idx_messages_customer is CREATE INDEX",
    ),
    (
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'customers_email_key'::regclass",
        "constraint customers.customers_email_key is UNIQUE (email), INVALID",
    ),
    # Triggers
    ("DROP TRIGGER trg_ticket_record_update ON tickets", "trigger tickets.trg_ticket_record_update"),
    ("ALTER TABLE tickets DISABLE TRIGGER trg_ticket_status_update", "trigger tickets.trg_ticket_status"),
    ("ALTER TABLE tickets ENABLE TRIGGER trg_ticket_status_update", "trigger tickets.trg_ticket_status"),
    (
        "ALTER TABLE ticket_status_changes ENABLE REPLICA TRIGGER trg_ticket_status_changes_append_only",
        "trigger ticket_status_changes.trg_ticket_status_changes_append_only is",
    ),
    (
        "CREATE OR REPLACE TRIGGER trg_ticket_record_update AFTER UPDATE ON tickets FOR EACH ROW "
        "WHEN (NEW.status = 'closed') EXECUTE FUNCTION record_ticket_status()",
        "trigger tickets.trg_ticket_record_update is",
    ),
    (
        "CREATE TRIGGER mine BEFORE INSERT ON messages FOR EACH ROW EXECUTE FUNCTION update_updated_at()",
        "trigger messages.mine is not expected",
    ),
    # Functions
    (
        "CREATE OR REPLACE FUNCTION refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN RETURN NULL; END'",
        "function refuse_audit_change() is",
    ),
    ("ALTER FUNCTION record_ticket_status() RESET ALL", "function record_ticket_status() is"),
    ("ALTER FUNCTION record_ticket_status() SECURITY INVOKER", "function record_ticket_status() is"),
    ("GRANT EXECUTE ON FUNCTION follow_customer_redirect() TO PUBLIC", "function follow_customer_redirect()"),
    ("ALTER FUNCTION ticket_transition_allowed(text, text) VOLATILE", "function ticket_transition_allowed("),
    (
        "CREATE FUNCTION ticket_transition_allowed(varchar, varchar) RETURNS boolean "
        "LANGUAGE sql AS 'SELECT true'",
        "function ticket_transition_allowed(character varying, character varying) is not expected",
    ),
    ("DROP FUNCTION search_knowledge_base", "function search_knowledge_base("),
    # Sequences
    ("ALTER SEQUENCE ticket_number_seq INCREMENT BY 2", "sequence ticket_number_seq is bigint from 1 by 2"),
    ("ALTER SEQUENCE ticket_number_seq AS integer", "sequence ticket_number_seq is integer"),
    ("ALTER SEQUENCE ticket_number_seq MAXVALUE 9999 CYCLE", "sequence ticket_number_seq is"),
    ("GRANT USAGE ON SEQUENCE ticket_number_seq TO PUBLIC", "sequence ticket_number_seq is"),
]  # fmt: skip


@pytest.fixture
def hand(server):
    """A connection to the shared database at head; what is changed through it is undone."""
    with create_engine(server.as_migrated("head"), poolclass=NullPool).connect() as connection:
        yield connection
        connection.rollback()


@pytest.mark.parametrize(("change", "found"), DRIFTS, ids=[change[:60] for change, _ in DRIFTS])
def test_a_change_by_hand_is_found_and_named(hand, change, found):
    hand.execute(text(change))
    with pytest.raises(SchemaDiffers) as differs:
        migrations.check(hand)
    assert any(line.startswith(found) for line in differs.value.differences), differs.value.differences
    assert str(differs.value).splitlines()[1:] == [f"  {line}" for line in differs.value.differences]


def test_a_fresh_database_has_no_drift(server):
    migrations.check(server.as_migrated("head"))
    assert migrations.differences(server.as_migrated("head")) == []


@pytest.mark.parametrize(
    "change",
    [
        "CREATE TABLE theirs (id serial, customer_id uuid REFERENCES customers)",
        "CREATE VIEW theirs AS SELECT * FROM tickets",
        "CREATE FUNCTION theirs() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE SCHEMA theirs CREATE TABLE customers (id int)",
        "ALTER TABLE messages SET (autovacuum_vacuum_scale_factor = 0.01, fillfactor = 80)",
        "ALTER TABLE messages ALTER channel SET STATISTICS 500",
        "CREATE STATISTICS theirs ON channel, direction FROM messages",
        "GRANT SELECT ON customers TO pg_read_all_data",
        "ALTER TABLE customers OWNER TO pg_database_owner",
        "COMMENT ON TABLE customers IS 'people'",
        "ALTER TABLE messages REPLICA IDENTITY FULL",
        "INSERT INTO customers (email) VALUES ('ada@example.com')",
    ],
)
def test_tuning_grants_to_roles_data_and_what_is_others_are_no_drift(hand, change):
    hand.execute(text(change))
    migrations.check(hand)


def test_a_restored_dump_has_no_drift(server):
    """PostgreSQL writes the casts of an IN list in another way after a dump and restore."""
    url = server.empty()
    dumped = server._run("pg_dump", server.as_migrated("head"))
    server.execute(url, dumped)
    migrations.check(url)


@ON_16
def test_how_a_session_has_values_and_names_displayed_is_no_drift(server):
    url = server.at("head")
    name = server.one(url, "SELECT current_database()")
    for setting, value in DISPLAYED.items():
        server.ask(url, f"ALTER DATABASE {name} SET {setting} = '{value}'")
    engine = make_engine(url, poolclass=NullPool, allow_insecure_tls=True)
    call_pgvector_new(engine)
    with engine.connect() as connection:
        migrations.check(connection)
        assert connection.scalar(text("SHOW quote_all_identifiers")) == "on"
    assert {finding.check for finding in examine(engine).findings} == {"no_roles"}


@ON_16
def test_nor_is_it_anything_to_the_migrations_themselves(server):
    url = server.empty()
    name = server.one(url, "SELECT current_database()")
    for setting, value in DISPLAYED.items():
        server.ask(url, f"ALTER DATABASE {name} SET {setting} = '{value}'")
    migrations.upgrade(url)
    migrations.check(url)


def test_what_is_expected_is_what_the_migrations_make(server, revisions):
    """On every major: one file describes them all."""
    assert list(json.loads(catalogue.FILE.read_text())) == [revisions[0], revisions[-1]], STALE
    for revision in (revisions[0], revisions[-1]):
        with create_engine(server.as_migrated(revision), poolclass=NullPool).connect() as connection:
            items = catalogue.read(connection)
        assert [item for item in items if item.owner != "alembic_version"] == catalogue.expected(revision), (
            STALE
        )


def test_no_kind_of_object_is_left_out(server):
    """Types, aggregates, operators and the like would need a line in the catalogue's query."""
    others = server.ask(
        server.as_migrated("head"),
        """
        SELECT 'type ' || typname FROM pg_type t WHERE typnamespace = 'public'::regnamespace AND typelem = 0
            AND typrelid = 0
            AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = t.oid AND d.deptype = 'e')
        UNION ALL SELECT 'relation ' || relname FROM pg_class c WHERE relnamespace = 'public'::regnamespace
            AND relkind NOT IN ('r', 'i', 'S', 'v', 'm')
            AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')
        UNION ALL SELECT 'aggregate ' || proname FROM pg_proc p WHERE pronamespace = 'public'::regnamespace
            AND prokind <> 'f'
            AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')
        UNION ALL SELECT 'operator ' || oprname FROM pg_operator o WHERE oprnamespace = 'public'::regnamespace
            AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = o.oid AND d.deptype = 'e')
        UNION ALL SELECT 'event trigger ' || evtname FROM pg_event_trigger
        """,
    )
    assert others == []


@ON_16
def test_it_is_not_compared_before_it_is_at_head(server):
    with pytest.raises(MigrationError, match="not up to date") as behind:
        migrations.check(server.as_migrated("0004"))
    assert not isinstance(behind.value, SchemaDiffers)


@ON_16
def test_a_check_reads_only(server):
    url = server.at("head")
    name = server.one(url, "SELECT current_database()")
    server.ask(url, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    migrations.check(url)


@ON_16
def test_a_check_needs_no_right_but_to_read_the_version(server):
    url = server.at("head")
    role = f"crm_looker_{make_url(url).database}"
    server.ask(url, f"CREATE ROLE {role} {server.login}")
    server.ask(url, f"GRANT SELECT ON alembic_version TO {role}")
    try:
        migrations.check(make_url(url).set(username=role))
    finally:
        server.ask(url, f"DROP OWNED BY {role}")
        server.ask(url, f"DROP ROLE {role}")


def test_a_revision_that_the_file_does_not_describe_says_what_to_run():
    with pytest.raises(
        MigrationError, match=r"does not describe revision 0004: run scripts/describe_catalogue\.py"
    ):
        catalogue.expected("0004")
