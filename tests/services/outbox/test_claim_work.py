"""A claim reads what it takes, and not all that waits to be sent."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from app.services import conversations, outbox
from tests.services._reading import rows_read
from tests.services.conversations._messages import mail

WAITING = text("""
    WITH places AS (
        SELECT gen_random_uuid() AS id, c.customer_id, n
        FROM conversations AS c, generate_series(1, :count) AS n
        WHERE c.id = :conversation_id
    ), opened AS (
        INSERT INTO conversations (id, customer_id, channel) SELECT id, customer_id, 'email' FROM places
    ), routes AS (
        INSERT INTO conversation_routes (
            conversation_id, channel, account, identifier_type, identifier_value, address
        )
        SELECT id, 'email', 'support@example.com', 'email', 'a@example.com', 'a@example.com' FROM places
    ), written AS (
        INSERT INTO messages (conversation_id, customer_id, channel, direction, role, content)
        SELECT CASE WHEN :in_one THEN :conversation_id ELSE id END, customer_id, 'email', 'outbound', 'agent',
            'x'
        FROM places RETURNING id, conversation_id
    )
    INSERT INTO outbox (message_id, conversation_id) SELECT id, conversation_id FROM written
""")

ANALYZE = text("ANALYZE outbox, conversation_routes, messages, conversations")


@pytest.mark.parametrize("analyzed", ["before", "after"])
@pytest.mark.parametrize(("in_one", "at_most"), [(False, 200), (True, 10 * 300)], ids=["of each", "of one"])
def test_a_claim_reads_in_proportion_to_its_limit(session, in_one, at_most, analyzed):
    """Of one conversation only the first is due: the others are passed over by a key each."""
    session.execute(text("TRUNCATE outbox"))  # what other tests left is no row any more, and would be read
    first = conversations.ingest(session, mail(), archived=True)
    place = {"conversation_id": first.conversation_id, "in_one": in_one, "count": 300}
    statements = [ANALYZE, WAITING.bindparams(**place)]
    for statement in statements if analyzed == "before" else statements[::-1]:
        session.execute(statement)
    deliveries = []
    read = rows_read(session, lambda: deliveries.extend(outbox.claim(session, limit=5)))
    assert len(deliveries) == (1 if in_one else 5)
    assert read < at_most
