"""Every step on a database with rows in every table: what a downgrade keeps, loses, and refuses to lose."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import pairwise

import pytest
from alembic.script import ScriptDirectory

from app import migrations
from app.errors import DataLoss, MigrationError

ON_16 = pytest.mark.parametrize("server_of_major", [16], ids=["pg16"], indirect=True, scope="session")
ADA, GRACE = "'00000000-0000-0000-0000-000000000001'", "'00000000-0000-0000-0000-000000000002'"
EVA = "'00000000-0000-0000-0000-000000000004'"
# A few rows for each table, in the order in which the tables come to be. A new table needs a line here.
FILL = {
    "customers": f"""
        INSERT INTO customers (id, email, name, phone, metadata) VALUES
            ({ADA}, 'Ada@Example.com', 'Ada', '+49 151 0000-0001', '{{"vip": [1, null]}}'),
            ({GRACE}, 'grace@example.com', NULL, NULL, NULL)
    """,
    "customer_identifiers": """
        INSERT INTO customer_identifiers (customer_id, identifier_type, identifier_value, channel)
        SELECT id, 'email', lower(email), 'email' FROM customers
    """,
    "conversations": "INSERT INTO conversations (customer_id, channel) SELECT id, 'email' FROM customers",
    "messages": """
        INSERT INTO messages (conversation_id, customer_id, channel, direction, role, content)
        SELECT id, customer_id, 'email', 'inbound', 'customer', E'100 % of \\'it\\' fails: \\u00e9'
        FROM conversations
    """,
    "tickets": """
        INSERT INTO tickets (conversation_id, customer_id, subject, category, status, source_channel)
        SELECT v.id, v.customer_id, 'Help', 'billing', s.status, 'email' FROM conversations v,
            unnest(ARRAY['open', 'processing', 'waiting', 'resolved', 'escalated', 'closed']) AS s(status)
    """,
    "knowledge_base": """
        INSERT INTO knowledge_base (title, content, category, embedding)
        SELECT 'Own ' || n, 'Text', 'faq', array_fill(n, ARRAY[1536])::vector FROM generate_series(1, 3) AS n
    """,
    "channel_configs": """
        INSERT INTO channel_configs (channel, max_response_length, tone) VALUES ('email', 42, 'formal')
    """,
    "agent_metrics": """
        INSERT INTO agent_metrics (metric_type, channel, value)
        VALUES ('sentiment', 'email', 0.5), ('tool_call', NULL, 'Infinity')
    """,
    "ticket_status_changes": "UPDATE tickets SET status = 'processing' WHERE status = 'open'",
    "conversation_routes": """
        INSERT INTO conversation_routes
            (conversation_id, channel, account, identifier_type, identifier_value, address, thread_id)
        SELECT id, 'email', 'support@', 'email', 'ada@example.com', 'Ada@Example.com', NULL FROM conversations
    """,
    "provider_messages": """
        INSERT INTO provider_messages (channel, account, provider_message_id, message_id)
        SELECT 'email', 'support@', id::text, id FROM messages
    """,
    "outbox": "INSERT INTO outbox (message_id, conversation_id) SELECT id, conversation_id FROM messages",
    "tool_calls": """
        INSERT INTO tool_calls (conversation_id, idempotency_key, tool, arguments_hash, actor, result)
        SELECT id, 'call_1', 'add_note', sha256('{}'), 'ai:agent', '{}' FROM conversations LIMIT 1
    """,
    "early_delivery_reports": """
        INSERT INTO early_delivery_reports (channel, account, provider_message_id, status, reason)
        VALUES ('whatsapp', '+14155238886', 'SM1', 'failed', '100 % unreachable')
    """,
    "identity_events": f"""
        INSERT INTO identity_events (customer_id, event, actor) VALUES ({ADA}, 'created', 'human:7')
    """,
    "lost_proofs": """
        INSERT INTO customer_identifiers (customer_id, identifier_type, identifier_value, channel, verified)
        SELECT id, 'phone', '+4915100000001', 'whatsapp', true FROM customers WHERE phone IS NOT NULL;
        DELETE FROM customer_identifiers WHERE identifier_type = 'phone'
    """,
    "customer_merges": f"""
        INSERT INTO customer_merges (survivor_id, absorbed_id, actor, reason, absorbed)
        VALUES ({ADA}, '00000000-0000-0000-0000-000000000003', 'human:7', 'the same', '{{}}')
    """,
    "customer_merge_moves": """
        INSERT INTO customer_merge_moves (merge_id, table_name, row_id)
        SELECT m.id, 'messages', t.id FROM customer_merges m, messages t
    """,
    "customer_merge_foreign_moves": """
        INSERT INTO customer_merge_foreign_moves (merge_id, schema_name, table_name, column_name, row_key)
        SELECT id, 'shop', 'Orders', 'buyer', '{"number": 12345678901234567890}' FROM customer_merges
    """,
    "customer_redirects": """
        INSERT INTO customer_redirects (absorbed_id, customer_id, merge_id)
        SELECT absorbed_id, survivor_id, id FROM customer_merges
    """,
    "ticket_field_changes": "UPDATE tickets SET assigned_to = concat(assigned_to, '7')",
    "channel_setting_changes": "UPDATE channel_configs SET max_response_length = max_response_length + 1",
    "ticket_record_heads": "",
    "ticket_links": """
        INSERT INTO ticket_links (ticket_id, follows_ticket_id, created_by)
        SELECT o.id, c.id, 'human:7' FROM tickets o JOIN tickets c USING (customer_id)
        WHERE o.status = 'waiting' AND c.status = 'closed'
    """,
    "embedding_models": """
        INSERT INTO embedding_models (object_type, model, dimensions)
        VALUES ('message', 'letters', 26), ('ticket', 'letters', 26)
    """,
    "replaced_models": "INSERT INTO replaced_models (object_type, model) VALUES ('message', 'of before')",
    "embedding_queue": """
        INSERT INTO embedding_queue (object_type, model, object_id)
        SELECT 'message', 'words', id FROM messages
    """,
    "knowledge_embeddings": """
        INSERT INTO knowledge_embeddings (article_id, model, dimensions, content_hash, embedding)
        SELECT id, 'letters', 26, '\\x00', array_fill(1, ARRAY[1536])::vector FROM knowledge_base
    """,
    "knowledge_documents": """
        INSERT INTO knowledge_documents (source, article_ids)
        SELECT 'own.md', array_agg(id) FROM knowledge_base
    """,
    "search_thresholds": """
        INSERT INTO search_thresholds
            (object_type, model, dimensions, vector_share, threshold, answered, refused)
        VALUES ('knowledge', 'letters', 26, 0.65, 0.4, 0.95, 0.8)
    """,
    "message_embeddings": """
        INSERT INTO message_embeddings (message_id, model, dimensions, content_hash, embedding)
        SELECT id, 'letters', 26, '\\x00', array_fill(1, ARRAY[1536])::halfvec FROM messages
    """,
    "ticket_embeddings": """
        INSERT INTO ticket_embeddings (ticket_id, model, dimensions, content_hash, messages, embedding)
        SELECT id, 'letters', 26, '\\x00', 0, array_fill(1, ARRAY[1536])::halfvec FROM tickets
    """,
    "erasures": f"""
        INSERT INTO customers (id, email) VALUES ({EVA}, 'eva@example.com')
        ON CONFLICT DO NOTHING;
        INSERT INTO erasures (customer_id, actor, reason) VALUES ({EVA}, 'human:7', 'as asked')
    """,
    "legal_holds": f"""
        INSERT INTO legal_holds (customer_id, actor, reason) VALUES ({ADA}, 'human:7', 'a trial')
    """,
    "change_feed": "",
}
# Made again from the other tables by the next upgrade.
DERIVED = {"embedding_queue", "ticket_record_heads"}
TABLES = """
    SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
        AND relname <> 'alembic_version' ORDER BY 1
"""


def tables(server, url):
    return {name for (name,) in server.ask(url, TABLES)}


def counts(server, url):
    parts = [f"SELECT '{table}', count(*) FROM {table}" for table in tables(server, url)]
    return dict(map(tuple, server.ask(url, " UNION ALL ".join(parts))))


def fill(server, url):
    there = counts(server, url)
    assert there.keys() <= FILL.keys(), f"no rows for {there.keys() - FILL.keys()}: add them to FILL"
    # The migration itself writes first entries of a record, which are not all that there can be.
    wanted = [
        FILL[table] for table in FILL if there.get(table) == 0 or table == "ticket_status_changes" in there
    ]
    server.ask(url, ";".join(filter(None, wanted)).replace(":", r"\:") or "SELECT")
    assert [table for table, rows in counts(server, url).items() if not rows] == []


def checksums(server, url, seeded=None):
    """Of every table; seeded rows are the same rows when they are made anew, but with other ids and times."""
    parts = []
    for table in sorted(tables(server, url)):
        row = "to_jsonb(t) - 'id' - 'created_at' - 'updated_at'" if table == seeded else "t"
        every = f"SELECT CAST({row} AS text) FROM {table} t"
        parts.append(f"SELECT '{table}', md5(string_agg(row, ' ' ORDER BY row)) FROM ({every}) AS every(row)")
    return dict(map(tuple, server.ask(url, " UNION ALL ".join(parts))))


def module(revision):
    return ScriptDirectory.from_config(migrations.alembic_config()).get_revision(revision).module


@pytest.fixture(scope="session")
def filled(server_of_major, revisions):
    """A database at head with rows in every table, made step by step; for cloning."""
    url = server_of_major.databases.empty()
    for revision in revisions:
        migrations.upgrade(url, revision)
        fill(server_of_major, url)
    yield url
    server_of_major.databases.drop(url)


@pytest.fixture
def database(server, filled):
    server.made.append(server.databases.clone(filled))
    return server.made[-1]


def test_each_step_of_a_filled_database_keeps_every_row_that_it_does_not_name_as_lost(server, revisions):
    url = server.at(revisions[0])
    fill(server, url)
    for before, revision in pairwise(revisions):
        seeds = getattr(module(revision), "SEEDS", None)
        below = checksums(server, url, seeds)
        migrations.upgrade(url, revision)
        schema = server.dump(url)
        fill(server, url)
        above = checksums(server, url, seeds)
        new = above.keys() - below.keys() - DERIVED
        assert new <= getattr(module(revision), "LOSES", {}).keys(), f"{revision} does not name what it loses"

        migrations.downgrade(url, before, allow_data_loss=True)
        kept = {table: above[table] for table in below} | ({seeds: below[seeds]} if seeds else {})
        assert checksums(server, url, seeds) == kept, f"the downgrade of {revision} changes rows"

        migrations.upgrade(url, revision)
        assert server.dump(url) == schema, f"{revision} is another one the second time"
        again = checksums(server, url, seeds)
        assert {table: again[table] for table in below} == {table: above[table] for table in below}, revision
        fill(server, url)
    assert server.dump(url) == server.dump(server.as_migrated("head"))


@ON_16
def test_a_downgrade_that_loses_rows_is_refused_as_a_whole(server, database, revisions):
    before = server.dump(database), checksums(server, database)
    lossy = [revision for revision in revisions if getattr(module(revision), "LOSES", {})]
    assert len(lossy) > 3
    for revision in lossy:
        target = module(revision).down_revision or "base"
        with pytest.raises(DataLoss) as refused:
            migrations.downgrade(database, target)
        # Seeded tables are looked at when their step comes.
        assert set(module(revision).LOSES) - {"channel_configs", "knowledge_base"} <= {
            name.removesuffix(f" ({revision})") for name in refused.value.tables
        }
        assert migrations.current(database) == migrations.head()
    assert (server.dump(database), checksums(server, database)) == before


@ON_16
def test_the_command_says_what_would_be_lost_and_what_allows_it(server, database, alembic):
    refused = alembic("downgrade", "0006", url=database)
    assert refused.returncode == 1
    assert refused.stderr.splitlines()[-1].endswith(
        "provider_messages (0007), conversation_routes (0007), outbox (0007), early_delivery_reports (0007), "
        "tool_calls (0007); nothing was changed; "
        "allow it with -x allow-data-loss=true (crm: --allow-data-loss)"
    )
    assert alembic("-x", "allow-data-loss=no", "downgrade", "0006", url=database).returncode == 1
    assert migrations.current(database) == migrations.head()

    assert alembic("-x", "allow-data-loss=true", "downgrade", "base", url=database).returncode == 0
    assert tables(server, database) == set()


@ON_16
def test_the_crm_command_asks_for_the_same_leave(database):
    crm = [sys.executable, "-m", "app", "db", "downgrade", "0006"]
    environment = os.environ | {"DATABASE_URL": database}
    refused = subprocess.run(crm, env=environment, capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert "allow it with -x allow-data-loss=true (crm: --allow-data-loss)" in refused.stderr.splitlines()[-1]
    done = subprocess.run([*crm, "--allow-data-loss"], env=environment, capture_output=True, check=False)
    assert (done.returncode, migrations.current(database)) == (0, "0006")


@ON_16
def test_a_downgrade_that_loses_nothing_needs_no_leave(server, revisions):
    url = server.at("head")
    fill(server, url)
    for table in (
        "provider_messages",
        "conversation_routes",
        "outbox",
        "early_delivery_reports",
        "tool_calls",
    ):
        server.ask(url, f"DELETE FROM {table}")
    migrations.downgrade(url, revisions[-2], allow_data_loss=True)
    seeded = server.at("head")
    migrations.downgrade(seeded, "base")
    assert tables(server, seeded) == set()


@ON_16
def test_a_ticket_s_record_is_lost_only_if_it_holds_more_than_the_migration_wrote(server):
    url = server.at("0005")
    fill(server, url)
    migrations.upgrade(url, "0006")
    migrations.downgrade(url, "0005")
    migrations.upgrade(url, "0006")
    server.ask(url, "UPDATE tickets SET status = 'processing' WHERE status = 'open'")
    with pytest.raises(DataLoss, match=r"lose rows of ticket_status_changes \(0006\); nothing was changed"):
        migrations.downgrade(url, "0005")


@ON_16
def test_rows_beside_the_seeded_ones_stop_the_last_step(server):
    url = server.at("head")
    server.ask(url, FILL["knowledge_base"])
    with pytest.raises(MigrationError, match="would lose rows of knowledge_base"):
        migrations.downgrade(url, "base")
    assert migrations.current(url) == "0001"
    assert server.one(url, "SELECT count(*) FROM knowledge_base") == 3
    migrations.upgrade(url)
    assert server.dump(url) == server.dump(server.as_migrated("head"))


@ON_16
def test_the_printed_sql_of_a_downgrade_refuses_too(server, alembic, database):
    migrations.downgrade(database, "0007", allow_data_loss=True)
    fill(server, database)
    guarded = alembic("downgrade", "0007:0006", "--sql").stdout
    with pytest.raises(AssertionError, match="would lose rows of provider_messages"):
        server.execute(database, guarded)
    assert migrations.current(database) == "0007"
    allowed = alembic("-x", "allow-data-loss=true", "downgrade", "0007:0006", "--sql").stdout
    server.execute(database, allowed)
    assert server.dump(database) == server.dump(server.as_migrated("0006"))
