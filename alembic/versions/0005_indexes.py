"""Drop three indexes that repeat a unique key, and add the four that queries miss.

- ``customers(email)``, ``customer_identifiers(identifier_type, identifier_value)`` and
  ``tickets(ticket_number)`` have a unique index already; the second one only costs writes.
- ``tickets(conversation_id)``: the tickets of a conversation were found by reading all tickets.
- ``customers(lower(email))`` and the digits of ``customers(phone)``: a customer that another backend stored
  in its own spelling is found by its address and number.
- ``agent_metrics(recorded_at)``: the 24-hour report names no channel, so ``(channel, recorded_at)`` cannot
  serve it; with the columns it sums up the report never reads the table.

Locks: builds and drops CONCURRENTLY, so reads and writes go on; waits for older transactions. An invalid
leftover of an interrupted build is dropped first.
Reversible: yes.
"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

REPEATED = {
    "idx_customers_email": "customers(email)",
    "idx_identifiers_lookup": "customer_identifiers(identifier_type, identifier_value)",
    "idx_tickets_number": "tickets(ticket_number)",
}
MISSING = {
    "idx_tickets_conversation": "tickets(conversation_id)",
    "idx_customers_email_lower": "customers(lower(email))",
    "idx_customers_phone_digits": (
        "customers(regexp_replace(phone, '[^0-9]', '', 'g')) WHERE phone IS NOT NULL"
    ),
    "idx_metrics_time": (
        "agent_metrics(recorded_at) INCLUDE (channel, metric_type, value) WHERE channel IS NOT NULL"
    ),
}


def upgrade() -> None:
    replace(drop=REPEATED, create=MISSING)


def downgrade() -> None:
    replace(drop=MISSING, create=REPEATED)


def replace(*, drop: dict[str, str], create: dict[str, str]) -> None:
    with op.get_context().autocommit_block():
        for name, definition in create.items():
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
            op.execute(f"CREATE INDEX CONCURRENTLY {name} ON {definition}")
        for name in drop:
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
