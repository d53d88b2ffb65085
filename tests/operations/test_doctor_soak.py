"""The doctor on a database of some size: every check comes to its end."""

from __future__ import annotations

import pytest

from app.operations.doctor import examine

ROWS = [
    """
    INSERT INTO customers (email, phone)
    SELECT 'p' || n || '@example' || n % 500 || '.com', '+1415' || 2000000 + n
    FROM generate_series(1, 5000) AS n
    """,
    """
    INSERT INTO customer_identifiers (customer_id, identifier_type, identifier_value, channel, verified)
    SELECT id, 'email', email, 'email', true FROM customers
    UNION ALL SELECT id, 'whatsapp', phone, 'whatsapp', true FROM customers
    """,
    """
    INSERT INTO conversations (customer_id, channel) SELECT id, 'email' FROM customers, generate_series(1, 2)
    """,
    """
    INSERT INTO messages (conversation_id, customer_id, channel, direction, role, content)
    SELECT id, customer_id, 'email', 'inbound', 'customer', repeat('Where is my export? ', 10)
    FROM conversations, generate_series(1, 5)
    """,
    """
    INSERT INTO tickets (conversation_id, customer_id, subject, category, source_channel)
    SELECT DISTINCT ON (customer_id) id, customer_id, 'Export', 'technical', 'email' FROM conversations
    """,
    "UPDATE tickets SET status = 'processing', assigned_to = 'human:7'",
    "UPDATE tickets SET status = 'resolved', priority = 'high'",
]


@pytest.mark.soak
def test_fifty_thousand_messages_are_examined(crm_clone):
    with crm_clone.begin() as connection:
        for statement in ROWS:
            connection.exec_driver_sql(statement.replace("%", "%%"))
    with crm_clone.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("ANALYZE")

    report = examine(crm_clone)

    assert report.exit_code == 0
    assert {examined.outcome for examined in report.checks} == {"good", "found"}
