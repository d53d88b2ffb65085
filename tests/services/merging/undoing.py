"""People who were merged, and what there is of them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from app.services import merging
from app.services.merging.rows import MOVED_TABLES
from app.testing import (
    ConversationFactory,
    CustomerFactory,
    MessageFactory,
    TicketFactory,
)

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


WHY = {"actor": "human:7", "reason": "the same person"}


UNDO = {"actor": "human:8", "reason": "two people"}


NOTHING = dict.fromkeys(MOVED_TABLES, 0)


def person(**values: Any) -> UUID:
    customer = CustomerFactory(with_email=True, created_at=LONG_AGO, updated_at=LONG_AGO, **values)
    conversation = ConversationFactory(customer=customer, updated_at=LONG_AGO)
    MessageFactory(conversation=conversation)
    TicketFactory(conversation=conversation, updated_at=LONG_AGO)
    return customer.id


def merge(session: Session, survivor_id: UUID, absorbed_id: UUID) -> UUID:
    return merging.merge(session, survivor_id, absorbed_id, **WHY).id


def snapshot(session: Session, *touched: UUID) -> dict[str, set[str]]:
    """All customers and their rows. When blanks of survivors were filled, and blanked again, is left out."""
    found = {}
    for table in ("customers", *MOVED_TABLES):
        row = f"to_jsonb({table})"
        if table == "customers":
            row = f"CASE WHEN id = ANY(:touched) THEN {row} - 'updated_at' ELSE {row} END"
        statement = text(f"SELECT ({row})::text FROM {table}")
        found[table] = set(
            session.scalars(statement, {"touched": list(touched)} if table == "customers" else {})
        )
    return found


def change(session: Session, statement: str, **values: Any) -> None:
    session.execute(text(statement), values)
    session.expire_all()
