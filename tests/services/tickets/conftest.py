"""Tickets with a past: what triggers would have written, at times of the test's choice."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from uuid import UUID, uuid4

import pytest
from sqlalchemy import insert, text
from sqlalchemy.orm import Session

from app.models import Message, Ticket, TicketFieldChange, TicketStatusChange
from app.testing import ConversationFactory


@pytest.fixture
def store_past(session: Session) -> Callable[..., UUID]:
    """Store a ticket of a conversation with its history as it is given; the guards are off for the test.

    ``statuses``: (time, status); ``fields``: (time, field, old, new); ``messages``: (time, role, extra).
    """
    conversation = ConversationFactory()
    for table in ("tickets", "ticket_status_changes", "ticket_field_changes"):
        session.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER USER"))

    def store(
        created_at: datetime,
        statuses: Iterable[tuple[datetime, str]],
        *,
        fields: Iterable[tuple[datetime, str, str | None, str | None]] = (),
        messages: Iterable[tuple[datetime, str, dict[str, object] | None]] = (),
        by: str = "ai:support-agent",
        **columns: object,
    ) -> UUID:
        own = ConversationFactory(customer_id=conversation.customer_id)
        statuses = list(statuses)
        values = {
            "id": uuid4(),
            "ticket_number": f"PAST-{uuid4().hex[:12]}",
            "customer_id": own.customer_id,
            "conversation_id": own.id,
            "subject": "Cannot sign in",
            "category": "technical",
            "source_channel": "email",
            "created_at": created_at,
            "status": statuses[-1][1],
        } | columns
        session.execute(insert(Ticket.__table__).values(values))
        chained = {"ticket_id": values["id"], "changed_by": by, "db_user": "test", "hash": b""}
        old = None
        for at, status in statuses:
            entry = {"old_status": old, "new_status": status, "changed_at": at, "forced": False}
            session.execute(
                insert(TicketStatusChange.__table__).values(entry | chained | {"prev_hash": uuid4().bytes})
            )
            old = status
        for at, field, old_value, new_value in fields:
            change = {"field": field, "old_value": old_value, "new_value": new_value, "changed_at": at}
            session.execute(
                insert(TicketFieldChange.__table__).values(change | chained | {"prev_hash": uuid4().bytes})
            )
        for at, role, extra in messages:
            message = {
                "conversation_id": own.id,
                "customer_id": own.customer_id,
                "channel": "email",
                "direction": "inbound" if role == "customer" else "outbound",
                "role": role,
                "content": "...",
                "created_at": at,
                "metadata": extra,
            }
            session.execute(insert(Message.__table__).values(message))
        return values["id"]

    return store
