"""Tables of other applications that point to customers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from app.services import merging
from app.testing import CustomerFactory

WHY = {"actor": "human:7", "reason": "the same person"}


def orders(rule: str = "") -> str:
    return f"""
        CREATE TABLE orders (
            number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            customer_id uuid DEFAULT gen_random_uuid() REFERENCES customers {rule},
            what text
        )
    """


THREE_ORDERS = (
    "INSERT INTO orders (customer_id, what) SELECT :id, 'pen ' || n FROM generate_series(1, 3) AS n"
)


def run(session: Session, sql: str, **values: Any) -> Any:
    """SQL whose names may have colons and percent signs; ``:id`` and ``:seed`` alone are parameters."""
    for name, value in values.items():
        sql = sql.replace(f" :{name}", f" '{value}'" if name == "id" else f" {value}")
        sql = sql.replace(f"(:{name}", f"({value}")
    return session.connection().exec_driver_sql(sql.replace("%", "%%"))


def fill(session: Session, rows: str, *people: UUID) -> None:
    for position, id_ in enumerate(people):
        run(session, rows, id=id_, seed=position * 10)


def content(session: Session) -> dict[str, list[str]]:
    """Every table of the database, but for what a merge and its undoing leave of themselves."""
    session.flush()
    tables = run(
        session,
        """
        SELECT format('%I.%I', nspname, relname) FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace
        WHERE relkind = 'r' AND nspname !~ '^pg_' AND nspname <> 'information_schema'
            AND relname NOT IN ('customer_merges', 'customer_merge_moves', 'customer_merge_foreign_moves',
                'identity_events', 'change_feed', 'knowledge_base')
        """,
    ).scalars()
    return {
        table: sorted(run(session, f"SELECT to_jsonb(t)::text FROM ONLY {table} AS t").scalars())
        for table in tables.all()
    }


def merge(session: Session, survivor: UUID, absorbed: UUID) -> UUID:
    return merging.merge(session, survivor, absorbed, **WHY).id


def unmerge(session: Session, merge_id: UUID) -> Any:
    return merging.unmerge(session, merge_id, **WHY)


def people(number: int) -> list[UUID]:
    return [CustomerFactory(name="Ana", phone="+4915112345678").id for _ in range(number)]


Change = Callable[[Session, UUID, UUID, UUID], None]


def sql(*statements: str) -> Change:
    def change(session: Session, ana: UUID, other: UUID, third: UUID) -> None:
        for statement in statements:
            run(session, statement.format(ana=ana, other=other, third=third))

    return change
