"""A database that was made with the DDL itself is taken over; one that only resembles it is left alone."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url
from sqlalchemy.pool import NullPool

from app import migrations
from app.errors import SchemaDiffers
from app.migrations import catalogue
from app.settings import Settings

ON_18 = pytest.mark.parametrize("server_of_major", [18], ids=["pg18"], indirect=True, scope="session")
ON_16 = pytest.mark.parametrize("server_of_major", [16], ids=["pg16"], indirect=True, scope="session")
CHANNELS = """
INSERT INTO channel_configs
    (channel, is_enabled, max_response_length, tone, response_template, api_config_ref)
VALUES ('email', TRUE, 500, 'formal',
     E'Hi {{customer_name}},\\n\\n{{response_body}}\\n\\nBest regards,\\nTechCorp Support Team\\n'
      'support@techcorp.io | status.techcorp.io', 'GMAIL_'),
    ('whatsapp', TRUE, 1600, 'conversational', '{{response_body}}', 'TWILIO_'),
    ('web_form', TRUE, 300, 'semi-formal',
     E'Hi {{customer_name}},\\n\\n{{response_body}}\\n\\nYour ticket reference: {{ticket_number}}\\n'
      'Track your ticket at support.techcorp.io', NULL);
"""
# As production has it: mixed spelling, NULLs wherever they may stand, a channel that was edited.
LIVE = """
INSERT INTO customers (id, email, name, phone, plan, metadata, created_at, updated_at) VALUES
    ('00000000-0000-0000-0000-000000000001', 'Ada@Example.COM', 'Ada', '+49 (151) 0000-0001', 'enterprise',
     '{"vip": true}', '2025-01-01Z', '2025-06-01Z'),
    ('00000000-0000-0000-0000-000000000002', 'ada@example.com', NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO customer_identifiers (customer_id, identifier_type, identifier_value, channel, verified)
    SELECT id, 'email', email, 'email', NULL FROM customers;
INSERT INTO conversations (customer_id, channel, status, sentiment_score, metadata)
    SELECT id, 'whatsapp', NULL, 'NaN', '[1, 2]' FROM customers;
INSERT INTO messages (conversation_id, customer_id, channel, direction, role, content, delivery_status)
    SELECT id, customer_id, channel, 'inbound', 'customer', E'100 % of \\'it\\' \\\\ fails: \\u00e9', NULL
    FROM conversations;
INSERT INTO tickets (conversation_id, customer_id, subject, category, status, source_channel, priority)
    SELECT NULL, c.id, 'Help', 'billing', s.status, 'email', NULL FROM customers c,
        unnest(ARRAY['open', 'processing', 'waiting', 'resolved', 'escalated', 'closed']) AS s(status);
INSERT INTO knowledge_base (title, content, category, embedding)
    VALUES ('Own', 'Text', 'faq', array_fill(0.5, ARRAY[1536])::vector), ('Own too', 'Text', 'faq', NULL);
INSERT INTO channel_configs (channel, max_response_length, tone, metadata)
    VALUES ('email', 7, 'formal', NULL);
INSERT INTO agent_metrics (metric_type, value) VALUES ('sentiment', 'Infinity');
"""
ROWS = """
SELECT string_agg(row, E'\\n' ORDER BY row) FROM (
    SELECT t::text FROM customers t
    UNION ALL SELECT t::text FROM customer_identifiers t
    UNION ALL SELECT t::text FROM conversations t
    UNION ALL SELECT t::text FROM messages t
    UNION ALL SELECT t::text FROM tickets t
    UNION ALL SELECT t::text FROM knowledge_base t WHERE source = 'product-docs' AND title LIKE 'Own%'
    UNION ALL SELECT t::text FROM channel_configs t WHERE max_response_length = 7
    UNION ALL SELECT t::text FROM agent_metrics t
) AS rows(row)
"""


@pytest.fixture(scope="session")
def ddl_database(server_of_major, raw_ddl):
    """A database that the DDL made, for cloning."""
    url = server_of_major.databases.empty()
    server_of_major.execute(url, raw_ddl)
    yield url
    server_of_major.databases.drop(url)


@pytest.fixture
def by_hand(server, ddl_database):
    server.made.append(server.databases.clone(ddl_database))
    return server.made[-1]


def objects(url):
    with create_engine(url, poolclass=NullPool).connect() as connection:
        return {item.title: item.definition for item in catalogue.read(connection)}


@pytest.mark.parametrize(
    "rows", ["", CHANNELS, LIVE], ids=["the schema", "and the channels", "and live rows"]
)
def test_a_database_made_with_the_ddl_is_brought_to_head_and_keeps_its_rows(server, by_hand, rows):
    server.execute(by_hand, rows)
    kept = server.one(by_hand, ROWS)

    migrations.upgrade(by_hand)

    assert server.dump(by_hand) == server.dump(server.as_migrated("head"))
    migrations.check(by_hand)
    assert server.one(by_hand, ROWS) == kept
    assert server.one(by_hand, "SELECT count(*) FROM channel_configs") == 3


@ON_16
def test_the_alembic_command_adopts_and_says_so_once(server, by_hand, alembic):
    first = alembic("upgrade", "head", url=by_hand)
    again = alembic("upgrade", "head", url=by_hand)

    assert (first.returncode, again.returncode) == (0, 0), first.stderr
    adopted = "crm: the tables are there already and are those of revision 0001: they are adopted"
    assert first.stderr.splitlines().count(adopted) == 1
    assert "Running adopt  -> 0001" in first.stderr
    assert adopted not in again.stderr
    assert migrations.current(by_hand) == migrations.head()


@ON_16
@pytest.mark.parametrize("target", ["0001", "+1"])
def test_adoption_goes_no_further_than_asked(server, by_hand, target):
    before = objects(by_hand)
    migrations.upgrade(by_hand, target)
    assert migrations.current(by_hand) == "0001"
    assert {name: text for name, text in objects(by_hand).items() if "alembic_version" not in name} == before


@ON_16
def test_the_ddl_with_windows_line_ends(server, raw_ddl):
    url = server.empty()
    server.execute(url, raw_ddl.replace("\n", "\r\n"))
    migrations.upgrade(url)
    migrations.check(url)


@pytest.fixture
def offers_pgcrypto(server) -> Iterator[Callable[[str], None]]:
    """Has a database's server offer pgcrypto: a small one, with one function of it."""
    folder = Path(tempfile.mkdtemp(prefix="crm-test-"))
    folder.chmod(0o755)
    (folder / "extension").mkdir(mode=0o755)
    (folder / "extension" / "pgcrypto.control").write_text("default_version = '1.3'\nrelocatable = true\n")
    (folder / "extension" / "pgcrypto--1.3.sql").write_text(
        "CREATE FUNCTION digest(text, text) RETURNS bytea LANGUAGE sql "
        "AS $$SELECT sha256(convert_to($1, 'UTF8'))$$;\n"
    )

    def offer(url: str) -> None:
        name = make_url(url).database
        server.ask(
            url, f"ALTER DATABASE {name} SET extension_control_path = '{folder}:$system'".replace(":", r"\:")
        )

    yield offer
    shutil.rmtree(folder)


@ON_18
@pytest.mark.parametrize("rows", ["", CHANNELS, LIVE], ids=["001", "001 and 002", "live rows"])
def test_a_database_made_with_the_ddl_and_pgcrypto_is_adopted(server, offers_pgcrypto, rows):
    by_hand, fresh = server.empty(), server.empty()
    offers_pgcrypto(by_hand)
    offers_pgcrypto(fresh)
    server.execute(by_hand, Path(__file__).with_name("raw_ddl.sql").read_text() + rows)
    kept = server.one(by_hand, ROWS)

    migrations.upgrade(by_hand)
    migrations.upgrade(fresh)

    migrations.check(by_hand)
    assert objects(by_hand) == objects(fresh)
    assert server.one(by_hand, ROWS) == kept
    assert server.one(fresh, "SELECT count(*) FROM pg_extension WHERE extname = 'pgcrypto'") == 1

    # Only who made the extension takes it away.
    migrations.downgrade(by_hand, "base", allow_data_loss=True)
    migrations.downgrade(fresh, "base")
    left = [
        server.one(url, "SELECT count(*) FROM pg_extension WHERE extname = 'pgcrypto'")
        for url in (by_hand, fresh)
    ]
    assert left == [1, 0]


def test_a_database_made_with_the_ddl_and_moved_by_dump_and_restore_is_adopted(server, by_hand):
    server.execute(by_hand, LIVE)
    url = server.empty()
    server.execute(url, server._run("pg_dump", by_hand))
    kept = server.one(url, ROWS)
    migrations.upgrade(url)
    migrations.check(url)
    assert server.one(url, ROWS) == kept


@ON_16
def test_adoption_needs_no_right_but_to_own_the_tables(server, raw_ddl):
    url = server.empty()
    role = f"crm_owner_{make_url(url).database}"
    server.ask(url, "CREATE EXTENSION vector")
    server.ask(url, f"CREATE ROLE {role} {server.login}")
    server.ask(url, f"GRANT CREATE ON SCHEMA public TO {role}")
    owner = make_url(url).set(username=role).render_as_string(hide_password=False)
    try:
        server.execute(owner, raw_ddl + LIVE)
        migrations.upgrade(owner)
        migrations.check(owner)
    finally:
        server.ask(url, f"REASSIGN OWNED BY {role} TO CURRENT_USER")
        server.ask(url, f"DROP OWNED BY {role}")
        server.ask(url, f"DROP ROLE {role}")


@ON_16
def test_what_others_keep_in_the_database_is_no_difference(server, by_hand):
    server.execute(
        by_hand,
        """
        CREATE TABLE somebody_elses (id serial PRIMARY KEY, customer_id uuid REFERENCES customers);
        CREATE VIEW their_view AS SELECT email FROM customers;
        CREATE FUNCTION their_function() RETURNS int LANGUAGE sql AS 'SELECT 1';
        CREATE SCHEMA theirs; CREATE TABLE theirs.customers (id int);
        ALTER TABLE messages SET (autovacuum_vacuum_scale_factor = 0.01);
        COMMENT ON TABLE tickets IS 'theirs';
        """,
    )
    migrations.upgrade(by_hand)
    migrations.check(by_hand)


@ON_16
def test_the_version_table_may_have_another_name(server, by_hand):
    settings = Settings(version_table="crm_version")
    server.ask(by_hand, "CREATE TABLE alembic_version AS SELECT 'theirs' AS version_num")
    migrations.upgrade(by_hand, settings=settings)
    assert migrations.current(by_hand, settings=settings) == migrations.head()
    assert server.one(by_hand, "SELECT version_num FROM alembic_version") == "theirs"


RESEMBLES = [
    ("ALTER TABLE customers DROP COLUMN company", ["column customers.company is missing"]),
    (
        "ALTER TABLE customers DROP COLUMN company; ALTER TABLE customers ADD company varchar(255)",
        ["table customers has its columns in another order"],
    ),
    ("ALTER TABLE customers ADD COLUMN age int", ["column customers.age is not expected: integer"]),
    ("ALTER TABLE messages ALTER content TYPE varchar(9999)", ["column messages.content is"]),
    ("ALTER TABLE tickets ALTER subject TYPE varchar(255)", ["column tickets.subject is"]),
    ("ALTER TABLE customers ALTER email DROP NOT NULL", ["column customers.email is character varying(255)"]),
    ("ALTER TABLE customers ALTER plan SET DEFAULT 'starter'", ["column customers.plan is"]),
    ("ALTER TABLE knowledge_base ALTER embedding TYPE vector(768)", ["column knowledge_base.embedding is"]),
    (
        "ALTER TABLE customers RENAME CONSTRAINT customers_email_key TO uq_customers_email",
        [
            "constraint customers.customers_email_key is missing",
            "constraint customers.uq_customers_email is not expected",
        ],
    ),
    (
        "ALTER TABLE tickets DROP CONSTRAINT tickets_customer_id_fkey",
        ["constraint tickets.tickets_customer_id_fkey is missing: FOREIGN KEY"],
    ),
    (
        "ALTER TABLE tickets DROP CONSTRAINT tickets_status_check, "
        "ADD CONSTRAINT tickets_status_check CHECK (status IN ('open', 'closed'))",
        ["constraint tickets.tickets_status_check is CHECK"],
    ),
    (
        "ALTER TABLE messages DROP CONSTRAINT messages_role_check, ADD CONSTRAINT messages_role_check "
        "CHECK (role IN ('customer', 'agent', 'system')) NOT VALID",
        ["constraint messages.messages_role_check is CHECK"],
    ),
    ("ALTER TABLE tickets DISABLE TRIGGER ALL", ["constraint tickets.", "trigger tickets."]),
    ("DROP INDEX idx_messages_customer", ["index messages.idx_messages_customer is missing"]),
    ("CREATE INDEX theirs ON tickets (subject)", ["index tickets.theirs is not expected"]),
    (
        "DROP INDEX idx_customers_phone; CREATE INDEX idx_customers_phone ON customers(phone)",
        ["index customers.idx_customers_phone is CREATE INDEX"],
    ),
    (
        "DROP INDEX idx_knowledge_base_embedding; "
        "CREATE INDEX idx_knowledge_base_embedding ON knowledge_base "
        "USING hnsw (embedding vector_l2_ops) WITH (m = 16, ef_construction = 64)",
        ["index knowledge_base.idx_knowledge_base_embedding is CREATE INDEX"],
    ),
    ("DROP TRIGGER trg_ticket_number ON tickets", ["trigger tickets.trg_ticket_number is missing"]),
    (
        "CREATE TRIGGER theirs BEFORE INSERT ON customers FOR EACH ROW EXECUTE FUNCTION update_updated_at()",
        ["trigger customers.theirs is not expected"],
    ),
    (
        "CREATE OR REPLACE FUNCTION update_updated_at() RETURNS trigger LANGUAGE plpgsql AS "
        "$$BEGIN NEW.updated_at = now() + interval '1 h'; RETURN NEW; END$$",
        ["function update_updated_at() is"],
    ),
    ("ALTER SEQUENCE ticket_number_seq INCREMENT BY 5", ["sequence ticket_number_seq is bigint from 1 by 5"]),
    ("DROP TABLE agent_metrics", ["table agent_metrics is missing"]),
    ("ALTER TABLE agent_metrics SET UNLOGGED", ["table agent_metrics is unlogged"]),
]  # fmt: skip


@ON_16
@pytest.mark.parametrize(("change", "expected"), RESEMBLES, ids=[change[:60] for change, _ in RESEMBLES])
def test_a_database_that_only_resembles_the_ddl_is_refused_and_untouched(server, by_hand, change, expected):
    server.execute(by_hand, "INSERT INTO customers (email) VALUES ('ada@example.com');" + change)
    before, row = objects(by_hand), server.ask(by_hand, "SELECT * FROM customers")

    with pytest.raises(SchemaDiffers) as refused:
        migrations.upgrade(by_hand)

    differences = refused.value.differences
    for part in expected:
        assert any(line.startswith(part) for line in differences), differences
    assert all(line.startswith(tuple(expected)) for line in differences), differences
    assert objects(by_hand) == before
    assert "table alembic_version" not in before
    assert server.ask(by_hand, "SELECT * FROM customers") == row


@ON_16
def test_a_refusal_is_one_summary_and_one_line_for_each_difference(server, by_hand, alembic):
    server.execute(by_hand, "DROP INDEX idx_messages_customer; ALTER TABLE customers ADD age int")
    done = alembic("upgrade", "head", url=by_hand)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-3:] == [
        "crm: the database has tables but no version, and is not what revision 0001 makes; "
        "it was left as it is. The differences:",
        "  index messages.idx_messages_customer is missing: CREATE INDEX idx_messages_customer ON messages "
        "USING btree (customer_id, created_at)",
        "  column customers.age is not expected: integer",
    ]


@ON_16
def test_a_table_of_another_application_with_one_of_our_names_is_refused_in_few_lines(server):
    url = server.empty()
    server.ask(url, "CREATE TABLE customers (id serial PRIMARY KEY, shoe_size int)")
    with pytest.raises(SchemaDiffers) as refused:
        migrations.upgrade(url)
    assert "table tickets is missing: logged" in refused.value.differences
    assert not any("column tickets." in line for line in refused.value.differences)
    assert server.one(url, "SELECT to_regclass('alembic_version') IS NULL")


@ON_16
def test_other_commands_adopt_nothing(server, by_hand, alembic):
    before = objects(by_hand)
    migrations.downgrade(by_hand, "base")
    assert alembic("current", url=by_hand).returncode == 0
    assert {name: text for name, text in objects(by_hand).items() if "alembic_version" not in name} == before
    assert migrations.current(by_hand) is None

    assert alembic("stamp", "0001", url=by_hand).returncode == 0
    migrations.upgrade(by_hand)
    migrations.check(by_hand)


@ON_16
def test_an_adopted_database_can_go_back_and_forth(server, by_hand):
    server.execute(by_hand, LIVE)
    kept = server.one(by_hand, ROWS)
    migrations.upgrade(by_hand)
    migrations.downgrade(by_hand, "0001")
    assert {name: text for name, text in objects(by_hand).items() if "alembic_version" not in name} == {
        name: text
        for name, text in objects(server.as_migrated("0001")).items()
        if "alembic_version" not in name
    }
    migrations.upgrade(by_hand)
    assert server.one(by_hand, ROWS) == kept
