"""Up, down and up again: no revision leaves a trace, and none loses a row."""

from __future__ import annotations

from itertools import pairwise

import pytest

from app import migrations

ROWS = """
INSERT INTO customers (id, email, name, phone) VALUES
    ('00000000-0000-0000-0000-000000000001', 'ada@example.com', 'Ada', '+4915100000001'),
    ('00000000-0000-0000-0000-000000000002', 'GRACE@example.com', NULL, NULL);
INSERT INTO customer_identifiers (customer_id, identifier_type, identifier_value, channel)
    SELECT id, 'email', lower(email), 'email' FROM customers;
INSERT INTO conversations (customer_id, channel) SELECT id, 'email' FROM customers;
INSERT INTO messages (conversation_id, customer_id, channel, direction, role, content)
    SELECT id, customer_id, 'email', 'inbound', 'customer', '100 % of "it" fails' FROM conversations;
INSERT INTO tickets (conversation_id, customer_id, subject, category, status, source_channel)
    SELECT v.id, v.customer_id, 'Help', 'billing', s.status, 'email'
    FROM conversations v, unnest(ARRAY['open', 'waiting', 'escalated', 'resolved', 'closed']) AS s(status);
UPDATE tickets SET resolved_at = now() WHERE status = 'resolved';
INSERT INTO knowledge_base (title, content, category, embedding)
    SELECT 'Own ' || n, 'Text', 'faq', array_fill(n, ARRAY[1536])::vector FROM generate_series(1, 3) AS n;
INSERT INTO channel_configs (channel, max_response_length, tone) VALUES ('email', 42, 'formal');
INSERT INTO agent_metrics (metric_type, channel, value)
    VALUES ('sentiment', 'email', 0.5), ('tool_call', NULL, 1);
"""
EVERYTHING = """
SELECT md5(string_agg(row, E'\\n' ORDER BY row)) FROM (
    SELECT t::text FROM customers t
    UNION ALL SELECT t::text FROM customer_identifiers t
    UNION ALL SELECT t::text FROM conversations t
    UNION ALL SELECT t::text FROM messages t
    UNION ALL SELECT t::text FROM tickets t
    UNION ALL SELECT t::text FROM knowledge_base t WHERE title LIKE 'Own %'
    UNION ALL SELECT t::text FROM channel_configs t WHERE max_response_length = 42
    UNION ALL SELECT t::text FROM agent_metrics t
) AS rows(row)
"""
LEFTOVERS = """
SELECT 'relation ' || relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind <> 'i'
UNION ALL SELECT 'function ' || proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace
UNION ALL SELECT 'type ' || typname FROM pg_type WHERE typnamespace = 'public'::regnamespace AND typrelid = 0
    AND typelem = 0
UNION ALL SELECT 'extension ' || extname FROM pg_extension
UNION ALL SELECT 'schema ' || nspname FROM pg_namespace WHERE nspname !~ '^(pg_|information_schema|public)'
ORDER BY 1
"""


@pytest.mark.parametrize("rows", ["", ROWS], ids=["empty", "with rows"])
def test_each_revision_goes_up_down_and_up_without_a_trace(server, revisions, rows):
    url = server.at(revisions[0])
    server.execute(url, rows)
    kept = server.one(url, EVERYTHING)
    below = server.dump(url)
    for before, revision in pairwise(revisions):
        migrations.upgrade(url, revision)
        above = server.dump(url)
        migrations.downgrade(url, before)
        assert server.dump(url) == below, f"{revision} leaves a trace"
        assert server.one(url, EVERYTHING) == kept, f"the downgrade of {revision} changes rows"
        migrations.upgrade(url, revision)
        assert server.dump(url) == above, f"{revision} is another one the second time"
        assert server.one(url, EVERYTHING) == kept, f"{revision} changes rows"
        below = above


def test_downgrade_base_leaves_nothing_but_an_empty_version_table(server):
    url = server.at("head")
    migrations.downgrade(url, "base")
    assert [name for (name,) in server.ask(url, LEFTOVERS)] == [
        "extension plpgsql",
        "relation alembic_version",
    ]
    assert server.ask(url, "SELECT * FROM alembic_version") == []
    assert migrations.current(url) is None


def test_after_downgrade_base_the_way_up_is_open_again(server):
    url = server.at("head")
    migrations.downgrade(url, "base")
    migrations.upgrade(url, "head")
    assert server.dump(url) == server.dump(server.as_migrated("head"))


def test_an_extension_that_was_there_before_stays(server):
    url = server.empty()
    server.ask(url, "CREATE EXTENSION vector")
    migrations.upgrade(url, "head")
    migrations.downgrade(url, "base")
    assert server.one(url, "SELECT count(*) FROM pg_extension WHERE extname = 'vector'") == 1


def test_an_extension_that_somebody_has_come_to_use_stays(server):
    url = server.at("head")
    server.ask(url, "CREATE TABLE somebody_elses (v vector(3))")
    migrations.downgrade(url, "base")
    assert server.one(url, "SELECT count(*) FROM pg_extension WHERE extname = 'vector'") == 1


def test_the_printed_sql_does_what_the_command_does(server, alembic):
    url, head = server.empty(), server.as_migrated("head")
    up = alembic("upgrade", "head", "--sql")
    assert up.returncode == 0, up.stderr
    server.execute(url, up.stdout)

    assert server.dump(url).splitlines() == server.dump(head).splitlines()
    assert migrations.current(url) == migrations.head()
    for seeded in (
        "SELECT id, title, content, category, source, metadata FROM knowledge_base ORDER BY id",
        "SELECT channel, tone, max_response_length, response_template FROM channel_configs ORDER BY channel",
    ):
        assert server.ask(url, seeded) == server.ask(head, seeded)

    down = alembic("downgrade", "head:base", "--sql")
    assert down.returncode == 0, down.stderr
    server.execute(url, down.stdout)
    assert [name for (name,) in server.ask(url, LEFTOVERS)] in (
        ["extension plpgsql"],
        ["extension plpgsql", "relation alembic_version"],
    )


def test_no_index_is_left_invalid(server):
    assert (
        server.ask(
            server.as_migrated("head"), "SELECT indexrelid::regclass FROM pg_index WHERE NOT indisvalid"
        )
        == []
    )


def test_the_invalid_leftover_of_an_interrupted_build_is_replaced(server):
    url = server.at("0004")
    server.ask(url, "CREATE INDEX idx_tickets_conversation ON tickets (conversation_id)")
    server.ask(
        url, "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'idx_tickets_conversation'::regclass"
    )
    migrations.upgrade(url, "0005")
    assert server.one(
        url, "SELECT indisvalid FROM pg_index WHERE indexrelid = 'idx_tickets_conversation'::regclass"
    )
