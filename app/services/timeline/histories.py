"""One person's history over all channels."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import DateTime, Integer, Uuid, bindparam, func, select, tuple_
from sqlalchemy.orm import Session

from ...errors import CustomerNotFound
from ...models import Conversation, Message
from ...models.base import table_of
from ...schemas import Cursor, HistoryEntry, Page
from .._shared.checks import checked_limit, checked_uuid
from .._shared.lists import checked_cursor, page_of, plain, read
from .._shared.redirects import find_living, living

_MESSAGES, _CONVERSATIONS = table_of(Message), table_of(Conversation)
_LATEST = (
    select(
        *plain(
            _MESSAGES.c.id,
            _MESSAGES.c.conversation_id,
            _MESSAGES.c.channel,
            _CONVERSATIONS.c.channel.label("conversation_channel"),
            _MESSAGES.c.direction,
            _MESSAGES.c.role,
            _MESSAGES.c.content,
            _MESSAGES.c.content_type,
            func.coalesce(_MESSAGES.c.metadata.has_key("internal"), False).label("internal"),
            _MESSAGES.c.created_at,
            _MESSAGES.c.metadata["sent_at"].astext.label("sent_at"),
        )
    )
    .join(_CONVERSATIONS, _CONVERSATIONS.c.id == _MESSAGES.c.conversation_id)
    .where(
        _MESSAGES.c.customer_id == living(bindparam("customer_id", type_=Uuid())),
        _MESSAGES.c.created_at.is_not(None),
    )
    .order_by(_MESSAGES.c.created_at.desc(), _MESSAGES.c.id.desc())
    .limit(bindparam("max_rows", type_=Integer()))
)
_EARLIER = _LATEST.where(
    tuple_(_MESSAGES.c.created_at, _MESSAGES.c.id)
    < tuple_(bindparam("before_time", type_=DateTime(timezone=True)), bindparam("before_id", type_=Uuid()))
)


def history(
    session: Session, customer_id: UUID, *, limit: int = 50, before: Cursor | str | None = None
) -> Page[HistoryEntry]:
    """The customer's messages, newest first, in pages of ``limit`` (1 to 1,000).

    A page's ``next``, or its ``token()``, as ``before`` gets the following one. What arrives in between
    shifts nothing. One statement; a second one only to tell an unknown customer from a silent one.

    Raises:
        CustomerNotFound: there is no such customer.
        InvalidValue: a bad limit or cursor.
    """
    customer_id = checked_uuid("customer_id", customer_id)
    limit = checked_limit(limit)
    place = {"customer_id": customer_id, "max_rows": limit + 1}
    if before is None:
        page = page_of(Page[HistoryEntry], read(session, _LATEST, place), limit)
        if not page.items and find_living(session, customer_id) is None:
            raise CustomerNotFound(customer_id)
        return page
    before_time, before_id = checked_cursor(before)
    earlier = read(session, _EARLIER, {**place, "before_time": before_time, "before_id": before_id})
    return page_of(Page[HistoryEntry], earlier, limit)
