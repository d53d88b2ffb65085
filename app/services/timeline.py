"""One person's history over all channels."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import select, tuple_
from sqlalchemy.orm import Session

from ..errors import CustomerNotFound, InvalidValue
from ..models import Conversation, Customer, Message
from ..schemas import Cursor, HistoryEntry, Page
from ._input import checked_limit, checked_time, checked_uuid
from ._living import living


def history(
    session: Session, customer_id: UUID, *, limit: int = 50, before: Cursor | None = None
) -> Page[HistoryEntry]:
    """The customer's messages, newest first, in pages of ``limit`` (1 to 1,000).

    Pass a page's ``next`` as ``before`` to get the following one. A message that arrives in between shifts
    nothing. One statement; a second one only to tell an unknown customer from a silent one.

    Raises:
        CustomerNotFound: there is no such customer.
        InvalidValue: a bad limit or cursor.
    """
    customer_id = checked_uuid("customer_id", customer_id)
    limit = checked_limit(limit)
    statement = (
        select(
            Message.id,
            Message.conversation_id,
            Message.channel,
            Conversation.channel.label("conversation_channel"),
            Message.direction,
            Message.role,
            Message.content,
            Message.content_type,
            Message.created_at,
        )
        .join(Conversation, Conversation.id == Message.conversation_id)
        .where(Message.customer_id == living(customer_id), Message.created_at.is_not(None))
        .order_by(Message.created_at.desc(), Message.id.desc())
        .limit(limit + 1)
    )
    if before is not None:
        statement = statement.where(tuple_(Message.created_at, Message.id) < tuple_(*_checked_cursor(before)))
    rows = session.execute(statement).all()
    if not rows and before is None:
        _assert_customer(session, customer_id)
    items = tuple(HistoryEntry.model_validate(row) for row in rows[:limit])
    more = len(rows) > limit
    return Page[HistoryEntry](items=items, next=Cursor(items[-1].created_at, items[-1].id) if more else None)


def _assert_customer(session: Session, customer_id: UUID) -> None:
    if session.scalar(select(Customer.id).where(Customer.id == living(customer_id))) is None:
        raise CustomerNotFound(customer_id)


def _checked_cursor(cursor: Cursor) -> Cursor:
    try:
        created_at, id_ = cursor
    except (TypeError, ValueError):
        raise InvalidValue("before", "must be the next of a page") from None
    return Cursor(checked_time("before", created_at), checked_uuid("before", id_))
