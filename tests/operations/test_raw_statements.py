"""Random plain SQL over all tables, as the application's role writes it: what must hold, holds afterwards."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from app.models import Base
from app.operations.doctor import examine
from app.testing import ConversationFactory, CustomerFactory, MessageFactory, TicketFactory, bound_to

TABLES = [table for table in Base.metadata.sorted_tables if table.name != "knowledge_embeddings"]
WORDS = ["help", "open", "processing", "waiting", "resolved", "closed", "escalated", "email", "whatsapp"]
WORDS += [
    "active",
    "billing",
    "high",
    "low",
    "inbound",
    "outbound",
    "customer",
    "agent",
    "verified",
    "merged",
]
ROWS = "SELECT {column} FROM {table} ORDER BY random() LIMIT 1"
# Each identifier's last event says what it is now: it is there, or it was detached.
UNTOLD = """
    SELECT count(*) FROM customer_identifiers AS i
    WHERE NOT EXISTS (SELECT FROM identity_events WHERE identifier_id = i.id AND customer_id = i.customer_id)
        AND NOT EXISTS (SELECT FROM customer_merge_moves WHERE row_id = i.id)
"""
STRANDED = """
    SELECT count(*) FROM erasures AS e WHERE EXISTS (
        SELECT FROM customer_identifiers WHERE customer_id = e.customer_id
    ) OR EXISTS (SELECT FROM messages WHERE customer_id = e.customer_id AND content <> '')
"""
# Whose a row is, its writer says, here at random: no rule of the database (docs/doctor.md says why).
FREE = {"messages_of_others", "tickets_of_others"}


class Writer:
    """Somebody who knows the tables and none of the rules."""

    def __init__(self, connection: Connection, chance: random.Random) -> None:
        self.connection, self.chance = connection, chance
        self.outcomes: Counter[str] = Counter()

    def write(self) -> None:
        table = self.chance.choice(TABLES)
        statement, values = self.chance.choice([self.insert, self.update, self.update, self.delete])(table)
        savepoint = self.connection.begin_nested()
        try:
            self.connection.execute(text(statement), values)
            # Of the deferred ones too, each statement hears at once.
            self.connection.execute(text("SET CONSTRAINTS ALL IMMEDIATE"))
            savepoint.commit()
            self.outcomes["done"] += 1
        except DBAPIError as error:
            savepoint.rollback()
            self.outcomes[getattr(error.orig, "sqlstate", None) or "none"] += 1

    def insert(self, table) -> tuple[str, dict[str, Any]]:
        optional = [c for c in table.columns if self.chance.random() < 0.5 or not c.nullable]
        columns = [c for c in optional if c.server_default is None or self.chance.random() < 0.3] or optional
        names = ", ".join(c.name for c in columns)
        places = ", ".join(f"CAST(:v{n} AS {self.type_of(c)})" for n, c in enumerate(columns))
        values = {f"v{n}": self.value(c) for n, c in enumerate(columns)}
        return f"INSERT INTO {table.name} ({names}) VALUES ({places})", values

    def update(self, table) -> tuple[str, dict[str, Any]]:
        column = self.chance.choice(list(table.columns))
        where = self.row(table)
        return (
            f"UPDATE {table.name} SET {column.name} = CAST(:v AS {self.type_of(column)}) WHERE {where}",
            {"v": self.value(column)},
        )

    def delete(self, table) -> tuple[str, dict[str, Any]]:
        return f"DELETE FROM {table.name} WHERE {self.row(table)}", {}

    def row(self, table) -> str:
        key = next(iter(table.primary_key.columns))
        return f"{key.name} = ({ROWS.format(column=key.name, table=table.name)})"

    def type_of(self, column) -> str:
        return str(column.type.compile(self.connection.dialect))

    def value(self, column) -> Any:
        chance, kind = self.chance, self.type_of(column).partition("(")[0]
        if column.nullable and chance.random() < 0.15:
            return None
        if kind == "UUID":
            target = next(iter(column.foreign_keys), None)
            table = "customers" if target is None else target.column.table.name
            key = "id" if target is None else target.column.name
            known = self.connection.execute(text(ROWS.format(column=key, table=table))).scalar()
            return known if known is not None else str(UUID(int=chance.getrandbits(128)))
        if kind in ("VECTOR", "HALFVEC"):
            return "[" + ",".join(str(chance.randint(1, 9)) for _ in range(1536)) + "]"
        simple = {
            "BOOLEAN": chance.random() < 0.5,
            "INTEGER": chance.randint(1, 1536),
            "BIGINT": chance.randint(1, 10**6),
            "FLOAT": chance.random(),
            "DOUBLE PRECISION": chance.random(),
            "JSONB": '{"a": 1}',
            "BYTEA": b"x",
            "BYTEA[]": [b"x"],
            "TIMESTAMP WITH TIME ZONE": f"2026-0{chance.randint(1, 9)}-01T00:00:00Z",
        }
        if kind in simple:
            return simple[kind]
        if column.name in ("email", "identifier_value"):
            return f"somebody{chance.randint(1, 50)}@example.com"
        return chance.choice(WORDS) if chance.random() < 0.8 else f"human:{chance.randint(1, 9)}"


@pytest.mark.parametrize("count", [300, pytest.param(10_000, marks=pytest.mark.soak)], ids=["300", "10000"])
def test_what_must_hold_holds_whatever_is_written(desk, count):
    with Session(desk.admin) as session, bound_to(session):
        for _ in range(5):
            conversation = ConversationFactory(customer=CustomerFactory(with_email=True))
            MessageFactory(conversation=conversation)
            TicketFactory(conversation=conversation)
        session.commit()
    with desk.login("app").connect() as connection:
        writer = Writer(connection, random.Random(count))
        for step in range(count):
            writer.write()
            if step % 100 == 99:
                connection.commit()
        connection.commit()
    assert writer.outcomes["done"] > count / 20, writer.outcomes

    report = examine(desk.admin, role_prefix=desk.prefix)

    errors = {finding.check for finding in report.findings if finding.severity == "error"}
    assert errors - FREE == set()
    assert desk.run(UNTOLD) == [(0,)]
    assert desk.run(STRANDED) == [(0,)]
    # Nothing is refused for a fault of ours: rules, rights and types only.
    assert {state[:2] for state in writer.outcomes if state != "done"} <= {"21", "22", "23", "42", "P0"}
