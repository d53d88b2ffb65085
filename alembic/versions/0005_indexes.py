"""Drop three indexes that repeat a unique key, replace three short ones, and add those that queries miss.

- ``customers(email)``, ``customer_identifiers(identifier_type, identifier_value)`` and
  ``tickets(ticket_number)`` have a unique index already; the second one only costs writes.
- ``tickets(conversation_id)``: the tickets of a conversation were found by reading all tickets.
- ``tickets(created_at, id)``: lists are in this order, and had to sort all tickets for every page; and
  the same behind each column that lists are filtered by, so that a page of rare tickets reads no others.
  ``tickets(source_channel, created_at)`` is the beginning of one of them.
- ``tickets(status, ..., created_at, id)`` and the like: a ticket's status goes with its age, so whoever asks
  for the closed ones of a category would read all open ones first, or all categories. The others do not:
  tickets of a category and of a channel are spread over all times. ``tickets(customer_id, status)`` and
  ``tickets(status, priority)`` are the beginnings of two of them.
- ``tickets(resolved_at, id)`` of the resolved ones: what is due for closing, the longest resolved first.
- ``customers(email)`` and ``customers(phone)`` by what all spellings of an address or a number share: a
  customer that another backend stored in its own spelling is found by them.
- ``customers`` and ``customer_identifiers`` by the keys that customers may share who are one person: whose
  duplicates are looked for finds them there. Hashes, by a GIN index each, without a list of what is pending:
  that list would be read by every search.
- ``conversations(created_at, id)`` of the open ones: whose turn it is is asked of these, and closed ones
  become ever more.
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
    "idx_tickets_channel": "tickets(source_channel, created_at)",
    "idx_tickets_customer": "tickets(customer_id, status)",
    "idx_tickets_status": "tickets(status, priority)",
}
MISSING = {
    "idx_tickets_conversation": "tickets(conversation_id)",
    "idx_tickets_created": "tickets(created_at, id)",
    "idx_tickets_status_created": "tickets(status, created_at, id)",
    "idx_tickets_priority_created": "tickets(priority, created_at, id)",
    "idx_tickets_category_created": "tickets(category, created_at, id)",
    "idx_tickets_channel_created": "tickets(source_channel, created_at, id)",
    "idx_tickets_assignee_created": "tickets(assigned_to, created_at, id)",
    "idx_tickets_customer_created": "tickets(customer_id, created_at, id)",
    "idx_tickets_status_priority": "tickets(status, priority, created_at, id)",
    "idx_tickets_status_category": "tickets(status, category, created_at, id)",
    "idx_tickets_status_channel": "tickets(status, source_channel, created_at, id)",
    "idx_tickets_assignee_status": "tickets(assigned_to, status, created_at, id)",
    "idx_tickets_customer_status": "tickets(customer_id, status, created_at, id)",
    "idx_tickets_resolved": "tickets(resolved_at, id) WHERE status = 'resolved'",
    "idx_customers_email_key": (
        "customers(regexp_replace(regexp_replace(lower("
        "translate(normalize(email, NFKC), '\u3002\u0130', '.i') COLLATE \"C\"), "
        "'xn--(?:([^.@]*)-)?[^.@-]*', '\\1', 'g'), '[^a-z0-9.@-]', '', 'g'))"
    ),
    "idx_customers_phone_key": (
        'customers("right"(regexp_replace("substring"(translate(normalize(phone, NFKC), '
        "'\u0660\u0661\u0662\u0663\u0664\u0665\u0666\u0667\u0668\u0669"
        "\u06f0\u06f1\u06f2\u06f3\u06f4\u06f5\u06f6\u06f7\u06f8\u06f9', '01234567890123456789'), "
        "'[0-9][0-9\\s()./\\u2000-\\u206f\\u2212\\u30fc-]*'), '[^0-9]', '', 'g'), 6)) "
        "WHERE phone IS NOT NULL"
    ),
    "idx_customers_keys": (
        "customers USING gin (customer_key_hashes(name, company, email, phone)) WITH (fastupdate = off)"
    ),
    "idx_identifiers_keys": (
        "customer_identifiers USING gin (identifier_key_hashes(identifier_type, identifier_value)) "
        "WITH (fastupdate = off)"
    ),
    "idx_conversations_open": "conversations(created_at, id) WHERE status IS DISTINCT FROM 'closed'",
    "idx_metrics_time": (
        "agent_metrics(recorded_at) INCLUDE (channel, metric_type, value) WHERE channel IS NOT NULL"
    ),
}


FUNCTIONS = {
    "bare_text": "text",
    "plain_company": "text",
    "name_words": "text",
    "plain_address": "text, text",
    "address_keys": "text",
    "person_keys": "text[], text",
    "customer_key_hashes": "text, text, text, text",
    "identifier_key_hashes": "text, text",
    "likely_key_holders": "text",
    "key_holders": "text, integer",
    "count_customers": "",
}


def upgrade() -> None:
    for name in FUNCTIONS:
        op.execute_file(name, version=1)
    replace(drop=REPEATED, create=MISSING)


def downgrade() -> None:
    replace(drop=MISSING, create=REPEATED)
    for name, arguments in reversed(FUNCTIONS.items()):
        op.execute(f"DROP FUNCTION {name}({arguments})")


def replace(*, drop: dict[str, str], create: dict[str, str]) -> None:
    with op.get_context().autocommit_block():
        for name, definition in create.items():
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
            op.execute(f"CREATE INDEX CONCURRENTLY {name} ON {definition}")
        for name in drop:
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
