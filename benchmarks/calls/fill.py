"""Loads a base by COPY, and customers to be merged."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from itertools import islice
from uuid import UUID

import psycopg
from _articles import WORDS, connect
from psycopg import sql

from app.embeddings import LexicalEmbedder
from app.models import uuid7

from .base import ACCOUNT, AGENTS, Base, email, has_ticket, has_whatsapp, number_of, row_id

_BLOCK = 5_000
_CATEGORIES = ("account_access", "billing", "technical", "how_to", "feature_request", "complaint")
_METRICS = (
    "response_latency",
    "sentiment",
    "conversation_count",
    "message_volume",
    "tool_call",
    "escalation",
)
_SECONDARY = """
    SELECT i.relname, pg_get_indexdef(i.oid)
    FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class t ON t.oid = x.indrelid
    WHERE t.relname = ANY (%s) AND t.relnamespace = 'public'::regnamespace
        AND NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conindid = i.oid)
"""
_TRIGGERS = """
    SELECT tgname, CASE tgenabled WHEN 'A' THEN 'ENABLE ALWAYS' ELSE 'ENABLE' END
    FROM pg_trigger WHERE tgrelid = %s::regclass AND NOT tgisinternal
"""
_FEED = """
    INSERT INTO change_feed (life, transaction_id, subject, subject_id, customer_id, change, changed_at)
    SELECT 1, pg_current_xact_id()::text::bigint, '{subject}', id, {customer}, {change}, created_at
    FROM {table}
"""
_BESIDE = {
    "customers": _FEED.format(subject="customer", customer="id", change="'insert'", table="customers"),
    "identity_events": _FEED.format(
        subject="identity", customer="customer_id", change="event", table="identity_events"
    ),
    **{
        f"{subject}s": _FEED.format(
            subject=subject, customer="customer_id", change="'insert'", table=f"{subject}s"
        )
        for subject in ("conversation", "message")
    },
}
"""What the triggers write that are spared, but for the queue of embeddings: that is empty, as of a worker
that has caught up."""
_WRITTEN = "ticket_status_changes", "ticket_record_heads", "change_feed", "embedding_queue"
_CAUGHT_UP = """
    WITH emptied AS (DELETE FROM embedding_queue)
    INSERT INTO embedding_models (object_type, model, dimensions)
    VALUES ('message', %(model)s, %(dimensions)s), ('ticket', %(model)s, %(dimensions)s)
"""
TABLES = {
    "customers": "id, email, phone, name, created_at, updated_at",
    "customer_identifiers": (
        "id, customer_id, identifier_type, identifier_value, channel, verified, created_at"
    ),
    "identity_events": "id, customer_id, event, actor, created_at",
    "conversations": "id, customer_id, channel, status, created_at, updated_at, closed_at",
    "conversation_routes": (
        "conversation_id, channel, account, identifier_type, identifier_value, address, created_at"
    ),
    "messages": (
        "id, conversation_id, customer_id, channel, direction, role, content, delivery_status, metadata, "
        "created_at"
    ),
    "provider_messages": "channel, account, provider_message_id, message_id, recorded_at",
    "tickets": (
        "id, ticket_number, conversation_id, customer_id, subject, category, status, source_channel, "
        "assigned_to, created_at, updated_at, resolved_at"
    ),
    "agent_metrics": "id, metric_type, channel, value, recorded_at",
}
"""The tables that are loaded, and their columns."""
_FIRST = "customers", "conversations"
_THEN = (
    ("messages", "provider_messages"),
    ("tickets",),
    ("customer_identifiers", "identity_events", "conversation_routes", "agent_metrics"),
)
"""What is loaded at once, each on a connection of its own; all of it points to what comes first."""


def fill(url: str, base: Base, *, seed: int = 1) -> None:
    """Load the base into a migrated database without customers. Indexes that guard nothing come last."""
    _load(url, _FIRST, _Rows(base, seed))
    with ThreadPoolExecutor(len(_THEN)) as pool:
        list(pool.map(lambda tables: _load(url, tables, _Rows(base, seed)), _THEN))
    with connect(url) as connection:
        _lengthen_records(connection, base)
        model = LexicalEmbedder()
        connection.execute(_CAUGHT_UP, {"model": model.model, "dimensions": model.dimensions})
        connection.execute(
            "SELECT setval('ticket_number_seq', GREATEST(%s, 1))", [base.conversations * 2 // 5 + 1]
        )
        connection.execute(f"VACUUM ANALYZE {', '.join(_WRITTEN)}")


def _load(url: str, tables: Sequence[str], rows: _Rows) -> None:
    """Load these tables: tickets under their triggers, which write their records, all else under none."""
    with connect(url, "maintenance_work_mem=1GB") as connection:
        indexes = connection.execute(_SECONDARY, [list(tables)]).fetchall()
        with _without_following(connection), connection.transaction():
            for name, _ in indexes:
                connection.execute(sql.SQL("DROP INDEX {}").format(sql.Identifier(name)))
            for table in tables:
                with nullcontext() if table == "tickets" else _without_triggers(connection, table):
                    _copy(connection, table, TABLES[table], getattr(rows, table)())
                if table in _BESIDE:
                    connection.execute(_BESIDE[table])
        for _, definition in indexes:
            connection.execute(definition)
        connection.execute(f"VACUUM ANALYZE {', '.join(tables)}")


def add_to_merge(connection: psycopg.Connection, messages: int) -> UUID:
    """Add a customer who has written so many messages, four to a conversation; the id."""
    customer, now = uuid7(), datetime.now(UTC)
    chats = [uuid7() for _ in range(-(-messages // 4))]
    address = f"{customer}@example.com"
    with _without_following(connection), connection.transaction():
        connection.execute(
            "INSERT INTO customers (id, email, name) VALUES (%s, %s, 'To be merged')", [customer, address]
        )
        connection.execute(
            "INSERT INTO customer_identifiers"
            " (id, customer_id, identifier_type, identifier_value, channel, verified)"
            " VALUES (%s, %s, 'email', %s, 'email', true)",
            [uuid7(), customer, address],
        )
        lines = (f"{chat}\t{customer}\temail\tclosed\t{now}\t{now}\t{now}\n" for chat in chats)
        _copy(connection, "conversations", TABLES["conversations"], lines)
        lines = (
            f"{uuid7()}\t{chats[number // 4]}\t{customer}\temail\tinbound\tcustomer\tmessage {number}\t"
            f"delivered\t{{}}\t{now + timedelta(milliseconds=number)}\n"
            for number in range(messages)
        )
        _copy(connection, "messages", TABLES["messages"], lines)
    return customer


def _copy(connection: psycopg.Connection, table: str, columns: str, lines: Iterator[str]) -> None:
    with connection.cursor().copy(f"COPY {table} ({columns}) FROM STDIN") as copy:
        while block := "".join(islice(lines, _BLOCK)):
            copy.write(block)


@contextmanager
def _without_triggers(connection: psycopg.Connection, table: str) -> Iterator[None]:
    """Spare the table's triggers, for rows that they would leave as they are."""
    triggers = connection.execute(_TRIGGERS, [table]).fetchall()
    alter = sql.SQL("ALTER TABLE {} ").format(sql.Identifier(table))
    connection.execute(alter + sql.SQL("DISABLE TRIGGER USER"))
    yield
    for name, way in triggers:
        connection.execute(alter + sql.SQL(way) + sql.SQL(" TRIGGER ") + sql.Identifier(name))


@contextmanager
def _without_following(connection: psycopg.Connection) -> Iterator[None]:
    """Spare the checks of rows that are right by construction, where the server lets us."""
    try:
        connection.execute("SET session_replication_role = replica")
    except psycopg.errors.InsufficientPrivilege:
        yield
    else:
        yield
        connection.execute("RESET session_replication_role")


def _lengthen_records(connection: psycopg.Connection, base: Base) -> None:
    tickets = [base.ticket_id(number) for number in base.with_long_record()]
    active = [base.ticket_id(number) for number in base.with_long_record() if base.is_active(number)]
    done = sorted(set(tickets) - set(active))
    steps = {
        "closed": ("open", "resolved", "open", "processing", "resolved", "closed"),
        "open": ("waiting", "processing", "open"),
    }
    connection.execute("SELECT set_config('crm.actor', 'ai:support-agent', false)")
    for ids, statuses in ((done, steps["closed"]), (active, steps["open"])):
        for status in statuses:
            connection.execute("UPDATE tickets SET status = %s WHERE id = ANY (%s)", [status, ids])


class _Rows:
    """The rows of each table, as lines of COPY's text format."""

    def __init__(self, base: Base, seed: int) -> None:
        self.base = base
        self.random = random.Random(seed)
        words = WORDS.split()
        self.texts = [" ".join(self.random.choices(words, k=20)).capitalize() for _ in range(2_000)]

    def customers(self) -> Iterator[str]:
        at = self.base.written_at(0)
        for number in range(self.base.customers):
            phone = number_of(number) if has_whatsapp(number) else r"\N"
            yield f"{row_id(1, number)}\t{email(number)}\t{phone}\tPerson {number}\t{at}\t{at}\n"

    def customer_identifiers(self) -> Iterator[str]:
        at = self.base.written_at(0)
        for number in range(self.base.customers):
            customer = row_id(1, number)
            yield f"{row_id(2, 2 * number)}\t{customer}\temail\t{email(number)}\temail\tt\t{at}\n"
            if has_whatsapp(number):
                value = number_of(number)
                yield f"{row_id(2, 2 * number + 1)}\t{customer}\twhatsapp\t{value}\twhatsapp\tt\t{at}\n"

    def identity_events(self) -> Iterator[str]:
        at = self.base.written_at(0)
        for number in range(self.base.customers):
            for event_number, event in enumerate(("created", "attached"), 2 * number):
                yield f"{row_id(8, event_number)}\t{row_id(1, number)}\t{event}\tsystem:identity\t{at}\n"

    def conversations(self) -> Iterator[str]:
        for number in range(self.base.conversations):
            writer, at = self.base.writer(number), self.base.written_at(4 * number)
            status, closed_at = ("active", r"\N") if self.base.is_active(number) else ("closed", at)
            channel = "whatsapp" if has_whatsapp(writer) else "email"
            yield f"{row_id(3, number)}\t{row_id(1, writer)}\t{channel}\t{status}\t{at}\t{at}\t{closed_at}\n"

    def conversation_routes(self) -> Iterator[str]:
        for number in range(self.base.conversations):
            writer, at = self.base.writer(number), self.base.written_at(4 * number)
            if has_whatsapp(writer):
                kind, value = "whatsapp", number_of(writer)
                address = f"whatsapp:{value}"
            else:
                kind, value = "email", email(writer)
                address = value
            yield f"{row_id(3, number)}\t{kind}\t{ACCOUNT}\t{kind}\t{value}\t{address}\t{at}\n"

    def messages(self) -> Iterator[str]:
        for conversation in range(self.base.conversations):
            writer = self.base.writer(conversation)
            channel = "whatsapp" if has_whatsapp(writer) else "email"
            belongs_to = f"{row_id(3, conversation)}\t{row_id(1, writer)}\t{channel}"
            last = "inbound" if self.base.awaits_us(conversation) else "outbound"
            for number, direction in enumerate(("inbound", "outbound", "inbound", last), 4 * conversation):
                role, metadata = "agent", "{}"
                if direction == "inbound":
                    role = "customer"
                    metadata = f'{{"account": "{ACCOUNT}", "provider_message_id": "{number}@mail.example"}}'
                content = self.texts[self.random.randrange(2_000)]
                yield (
                    f"{row_id(4, number)}\t{belongs_to}\t{direction}\t{role}\t{content}\tdelivered\t"
                    f"{metadata}\t{self.base.written_at(number)}\n"
                )

    def provider_messages(self) -> Iterator[str]:
        for conversation in range(self.base.conversations):
            channel = "whatsapp" if has_whatsapp(self.base.writer(conversation)) else "email"
            inbound = (0, 2, 3) if self.base.awaits_us(conversation) else (0, 2)
            for number in (4 * conversation + place for place in inbound):
                at = self.base.written_at(number)
                yield f"{channel}\t{ACCOUNT}\t{number}@mail.example\t{row_id(4, number)}\t{at}\n"

    def tickets(self) -> Iterator[str]:
        for serial, number in enumerate(filter(has_ticket, range(self.base.conversations)), 1):
            writer, at = self.base.writer(number), self.base.written_at(4 * number)
            status, resolved_at = "closed", at
            if self.base.is_active(number):
                status, resolved_at = "open", r"\N"
            elif self.base.has_stale_ticket(number):
                status = "resolved"
            channel = "whatsapp" if has_whatsapp(writer) else "email"
            yield (
                f"{row_id(5, number)}\tTKT-{serial:04}\t{row_id(3, number)}\t{row_id(1, writer)}\t"
                f"{self.texts[number % 2_000][:60]}\t{_CATEGORIES[number % 6]}\t{status}\t{channel}\t"
                f"human:{number // 5 % AGENTS}\t{at}\t{at}\t{resolved_at}\n"
            )

    def agent_metrics(self) -> Iterator[str]:
        for number in range(self.base.messages // 5):
            kind, at = _METRICS[number % 6], self.base.written_at(5 * number)
            channel = ("email", "whatsapp", "web_form")[number % 3]
            value = 1 if kind in {"conversation_count", "escalation"} else round(self.random.random(), 4)
            yield f"{row_id(6, number)}\t{kind}\t{channel}\t{value}\t{at}\n"
