"""Know every message by its provider's id, store an inbound one exactly once, and answer where it came from.

- ``provider_messages``: what a provider calls a message, in both directions, so that a redelivery, an answer
  and a delivery report find it. One message may have several ids, as when it is sent in parts.
- ``conversation_routes``: the addresses that a conversation came through. A customer's profile may change or
  be merged, the answer still goes where the question came from. Who wrote by a form and answers by mail has
  two routes.
- ``outbox``: our messages that are to be sent, until they are or are given up. ``early_delivery_reports``:
  what a provider said about a message before the sender could say what the provider calls it.
  ``claim_outbox`` gives each sender its own, by ``delivery_route``, and notes by which account.
- ``store_inbound_message`` looks for the conversation under the customer's lock and writes, in one flight.
- ``tool_calls``: what agents did in a conversation, by idempotency key, so that a call that is made again
  does nothing again. The result holds ids and codes and no text.
- ``messages.created_at`` is the clock's time for every writer: the column's default, ``now()``, is equal for
  all messages of a transaction, so that an answer could stand before its question. The column keeps its
  default; a trigger puts the clock's time in the place of the transaction's.
- A mail's id is one with and without angle brackets: a trigger stores it without, whoever writes it, so that
  the key finds it.

Locks: SHARE ROW EXCLUSIVE on conversations and messages for the foreign keys and the trigger, for an instant.
Reversible: yes, but ids and routes are lost: a redelivery from before is then stored again, and what waits in
the outbox is not sent.
"""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

# Rows that a downgrade loses: table and condition.
LOSES = {
    "provider_messages": "true",
    "conversation_routes": "true",
    "outbox": "true",
    "early_delivery_reports": "true",
    "tool_calls": "true",
}

CHANNELS = "'email', 'whatsapp', 'web_form'"

TABLES = [
    f"""
    CREATE TABLE conversation_routes (
        id                uuid PRIMARY KEY DEFAULT gen_random_uuid(),
        conversation_id   uuid NOT NULL REFERENCES conversations(id) ON DELETE CASCADE,
        channel           varchar(50) NOT NULL CHECK (channel IN ({CHANNELS})),
        account           varchar(255) NOT NULL,
        identifier_type   varchar(50) NOT NULL CHECK (identifier_type IN ('email', 'phone', 'whatsapp')),
        identifier_value  varchar(255) NOT NULL,
        address           varchar(255) NOT NULL,
        thread_id         text,
        group_id          text,
        created_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
        used_at           timestamptz NOT NULL DEFAULT clock_timestamp()
    )
    """,
    "CREATE INDEX conversation_routes_conversation_id_idx ON conversation_routes (conversation_id)",
    """
    CREATE INDEX conversation_routes_thread_idx ON conversation_routes (channel, account, thread_id)
    WHERE thread_id IS NOT NULL
    """,
    """
    CREATE INDEX conversation_routes_identifier_idx
    ON conversation_routes (identifier_type, identifier_value)
    """,
    # Deferred: an inbound id is written before its message, so that a second delivery waits there and not
    # half-way.
    f"""
    CREATE TABLE provider_messages (
        channel              varchar(50) NOT NULL CHECK (channel IN ({CHANNELS})),
        account              varchar(255) NOT NULL,
        provider_message_id  varchar(255) NOT NULL,
        message_id           uuid NOT NULL REFERENCES messages(id) ON DELETE CASCADE
                             DEFERRABLE INITIALLY DEFERRED,
        recorded_at          timestamptz NOT NULL DEFAULT clock_timestamp(),
        PRIMARY KEY (channel, account, provider_message_id)
    )
    """,
    "CREATE INDEX provider_messages_message_id_idx ON provider_messages (message_id)",
    f"""
    CREATE TABLE outbox (
        message_id       uuid PRIMARY KEY REFERENCES messages(id) ON DELETE CASCADE,
        conversation_id  uuid NOT NULL REFERENCES conversations(id) ON DELETE CASCADE,
        queued_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
        due_at           timestamptz NOT NULL DEFAULT clock_timestamp(),
        attempts         integer NOT NULL DEFAULT 0,
        with_sender      boolean NOT NULL DEFAULT false,
        channel          varchar(50) CHECK (channel IS NULL OR channel IN ({CHANNELS})),
        account          varchar(255)
    )
    """,
    "CREATE INDEX outbox_due_at_idx ON outbox (due_at, queued_at, message_id)",
    "CREATE INDEX outbox_conversation_id_idx ON outbox (conversation_id, queued_at, message_id)",
    f"""
    CREATE TABLE early_delivery_reports (
        id                   uuid PRIMARY KEY DEFAULT gen_random_uuid(),
        channel              varchar(50) NOT NULL CHECK (channel IN ({CHANNELS})),
        account              varchar(255) NOT NULL,
        provider_message_id  varchar(255) NOT NULL,
        status               varchar(50) NOT NULL
                             CHECK (status IN ('pending', 'delivered', 'failed', 'read')),
        recipient            text,
        code                 text,
        reason               text,
        occurred_at          timestamptz,
        received_at          timestamptz NOT NULL DEFAULT clock_timestamp()
    )
    """,
    """
    CREATE INDEX early_delivery_reports_message_idx
    ON early_delivery_reports (channel, account, provider_message_id)
    """,
    "CREATE INDEX early_delivery_reports_received_at_idx ON early_delivery_reports (received_at)",
    """
    CREATE TABLE tool_calls (
        conversation_id  uuid NOT NULL REFERENCES conversations(id) ON DELETE CASCADE,
        idempotency_key  varchar(255) NOT NULL,
        tool             varchar(63) NOT NULL,
        arguments_hash   bytea NOT NULL,
        actor            varchar(255) NOT NULL,
        result           jsonb,
        called_at        timestamptz NOT NULL DEFAULT clock_timestamp(),
        PRIMARY KEY (conversation_id, idempotency_key)
    )
    """,
]


def upgrade() -> None:
    for statement in TABLES:
        op.execute(statement)
    op.execute_file("date_message", version=1)
    op.execute_file("bare_message_id", version=1)
    op.execute_file("messages.triggers", version=1)
    op.execute_file("store_inbound_message", version=1)
    op.execute_file("delivery_route", version=1)
    op.execute_file("window_end", version=1)
    op.execute_file("claim_outbox", version=1)


def downgrade() -> None:
    op.execute("DROP FUNCTION claim_outbox(text, text, text, integer, interval, integer)")
    op.execute("DROP FUNCTION window_end(uuid)")
    op.execute("DROP FUNCTION delivery_route(uuid, text)")
    op.execute("DROP FUNCTION store_inbound_message(jsonb)")
    op.execute("DROP TRIGGER trg_messages_set_created_at ON messages")
    op.execute("DROP FUNCTION date_message()")
    for table in reversed(LOSES):
        op.execute(f"DROP TABLE {table}")
    op.execute("DROP FUNCTION bare_message_id()")
