"""Store every inbound message exactly once, and remember where its answers go.

Providers deliver webhooks more than once: ``inbound_receipts`` has one row per provider message, so that a
redelivery finds it. ``conversation_routes`` keeps the address that a conversation came through: a customer's
profile may change or be merged, the answer still goes where the question came from.

Locks: SHARE ROW EXCLUSIVE on conversations and messages for the foreign keys, for an instant.
Reversible: yes, but receipts and routes are lost: a redelivery from before is then stored again.
"""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

# Rows that a downgrade loses: table and condition.
LOSES = {"inbound_receipts": "true", "conversation_routes": "true"}

CHANNELS = "'email', 'whatsapp', 'web_form'"


def upgrade() -> None:
    op.execute(f"""
        CREATE TABLE conversation_routes (
            conversation_id   uuid PRIMARY KEY REFERENCES conversations(id) ON DELETE CASCADE,
            channel           varchar(50) NOT NULL CHECK (channel IN ({CHANNELS})),
            account           varchar(255) NOT NULL,
            identifier_type   varchar(50) NOT NULL CHECK (identifier_type IN ('email', 'phone', 'whatsapp')),
            identifier_value  varchar(255) NOT NULL,
            address           varchar(255) NOT NULL,
            thread_id         text,
            created_at        timestamptz NOT NULL DEFAULT clock_timestamp()
        )
    """)
    op.execute(
        "CREATE INDEX conversation_routes_thread_idx ON conversation_routes (channel, account, thread_id)"
    )
    op.execute("""
        CREATE INDEX conversation_routes_identifier_idx
        ON conversation_routes (identifier_type, identifier_value)
    """)
    # Deferred: the receipt is written first, so that a second delivery waits there and not half-way.
    op.execute(f"""
        CREATE TABLE inbound_receipts (
            channel              varchar(50) NOT NULL CHECK (channel IN ({CHANNELS})),
            account              varchar(255) NOT NULL,
            provider_message_id  varchar(255) NOT NULL,
            message_id           uuid NOT NULL REFERENCES messages(id) ON DELETE CASCADE
                                 DEFERRABLE INITIALLY DEFERRED,
            received_at          timestamptz NOT NULL DEFAULT clock_timestamp(),
            PRIMARY KEY (channel, account, provider_message_id)
        )
    """)
    op.execute("CREATE INDEX inbound_receipts_message_id_idx ON inbound_receipts (message_id)")


def downgrade() -> None:
    op.execute("DROP TABLE inbound_receipts")
    op.execute("DROP TABLE conversation_routes")
