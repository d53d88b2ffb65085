"""Head against the raw DDL: backends that write their own SQL find what they expect."""

from __future__ import annotations

import pytest

COLUMNS = """
    SELECT c.relname, a.attnum, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
        pg_get_expr(d.adbin, d.adrelid), a.attidentity, a.attgenerated
    FROM pg_attribute a
    JOIN pg_class c ON c.oid = a.attrelid
    LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
    WHERE c.relname = ANY(:tables) AND c.relnamespace = 'public'::regnamespace
        AND a.attnum > 0 AND NOT a.attisdropped
    ORDER BY c.relname, a.attnum
"""
CONSTRAINTS = """
    SELECT c.relname, o.conname, o.contype, pg_get_constraintdef(o.oid), o.convalidated
    FROM pg_constraint o
    JOIN pg_class c ON c.oid = o.conrelid
    WHERE c.relname = ANY(:tables)
    ORDER BY c.relname, o.conname
"""
TABLES = [
    "agent_metrics",
    "channel_configs",
    "conversations",
    "customer_identifiers",
    "customers",
    "knowledge_base",
    "messages",
    "tickets",
]


@pytest.mark.parametrize("query", [COLUMNS, CONSTRAINTS], ids=["columns", "constraints"])
def test_the_eight_tables_at_head_are_those_of_the_ddl(server, raw_ddl, query):
    by_hand = server.empty()
    server.execute(by_hand, raw_ddl)
    expected = server.ask(by_hand, query, tables=TABLES)

    assert {row[0] for row in expected} == set(TABLES)
    assert server.ask(server.as_migrated("head"), query, tables=TABLES) == expected


def test_the_first_revision_is_the_ddl_and_nothing_else(server, raw_ddl):
    by_hand = server.empty()
    server.execute(by_hand, raw_ddl)
    assert server.dump(server.as_migrated("0001")).splitlines() == server.dump(by_hand).splitlines()


def test_rows_written_by_hand_get_what_the_ddl_promises(server):
    url = server.at("head")
    server.execute(
        url,
        """
        INSERT INTO customers (email) VALUES ('ada@example.com');
        INSERT INTO tickets (ticket_number, customer_id, subject, category, source_channel)
            SELECT '', id, 'Help', 'billing', 'email' FROM customers;
        """,
    )
    ((number, status, priority, metadata),) = server.ask(
        url, "SELECT ticket_number, status, priority, metadata FROM tickets"
    )
    assert (number, status, priority, metadata) == ("TKT-0001", "open", "medium", {})
    server.ask(url, "UPDATE customers SET name = 'Ada', updated_at = 'epoch'")
    assert server.one(url, "SELECT updated_at > created_at - interval '1 day' FROM customers")
