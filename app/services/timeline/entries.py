"""Messages, tickets, their changes and decisions about identity, in one order."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import Boolean, DateTime, Integer, Uuid, bindparam, text
from sqlalchemy.orm import Session

from ...errors import CustomerNotFound
from ...schemas import Cursor, Page, TimelineEntry
from .._shared.checks import checked_limit, checked_uuid
from .._shared.lists import checked_cursor, page_of, read
from .._shared.redirects import find_living

_TIMELINE = (
    text("SELECT * FROM customer_timeline(:customer_id, :at_time, :at_id, :max_rows)")
    .bindparams(
        bindparam("customer_id", type_=Uuid()),
        bindparam("at_time", type_=DateTime(timezone=True)),
        bindparam("at_id", type_=Uuid()),
        bindparam("max_rows", type_=Integer()),
    )
    .columns(
        id=Uuid(),
        created_at=DateTime(timezone=True),
        conversation_id=Uuid(),
        ticket_id=Uuid(),
        internal=Boolean(),
        other_customer_id=Uuid(),
        merge_id=Uuid(),
    )
)


def timeline(
    session: Session, customer_id: UUID, *, limit: int = 50, before: Cursor | str | None = None
) -> Page[TimelineEntry]:
    """All that happened to the customer, newest first, in pages of ``limit`` (1 to 1,000).

    Messages and notes, tickets as they were opened, changes of their status and fields, decisions about
    identity and merges, also those of customers that became part of this one. A page's ``next``, or its
    ``token()``, as ``before`` gets the following one; what arrives in between, or a merge moves here, shifts
    nothing. One statement, whose work grows with the page, the customer's tickets, whose changes it looks
    through, and the customers that became part of this one, not with messages and events; a second one only
    to tell an unknown customer from one to whom nothing happened.

    Raises:
        CustomerNotFound: there is no such customer.
        InvalidValue: a bad limit or cursor.
    """
    customer_id = checked_uuid("customer_id", customer_id)
    limit = checked_limit(limit)
    at_time, at_id = (None, None) if before is None else checked_cursor(before)
    place: dict[str, Any] = {
        "customer_id": customer_id,
        "at_time": at_time,
        "at_id": at_id,
        "max_rows": limit + 1,
    }
    page = page_of(Page[TimelineEntry], read(session, _TIMELINE, place), limit)
    if not page.items and before is None and find_living(session, customer_id) is None:
        raise CustomerNotFound(customer_id)
    return page
