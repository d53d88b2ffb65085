"""Conversations in lists: all of them, or those where it is somebody's turn."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import DateTime, Integer, Text, Uuid, bindparam, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Session

from ...errors import ConversationNotFound
from ...models import Channel, ConversationStatus
from ...schemas import (
    Awaiting,
    AwaitingCode,
    ChannelCode,
    ConversationDetails,
    ConversationStatusCode,
    ConversationSummary,
    Cursor,
    Page,
)
from .._shared.checks import checked_code, checked_limit, checked_uuid
from .._shared.lists import checked_cursor

_FACTS = """
    c.id, c.customer_id, c.channel, c.status, COALESCE(c.created_at, to_timestamp(0)) AS created_at,
    CASE last.direction WHEN 'inbound' THEN 'us' WHEN 'outbound' THEN 'customer' END AS awaiting,
    last.created_at AS last_message_at, turn.began_at AS waiting_since,
    (
        SELECT count(*) FROM tickets AS t
        WHERE t.conversation_id = c.id AND COALESCE(t.status, 'open') NOT IN ('resolved', 'closed')
    ) AS open_tickets
"""
# Machines, reactions, notes and what an archive brought change nobody's turn. After an answer that failed it
# is ours, as after a question. A turn begins with the first message that nobody has answered: who writes
# again waits no shorter.
_SAID = """
    FROM messages AS m
    WHERE m.conversation_id = c.id AND m.created_at IS NOT NULL
        AND NOT COALESCE(m.metadata ?| ARRAY['auto_reply', 'event', 'internal', 'archived'], false)
"""
_DIRECTION = "CASE m.delivery_status WHEN 'failed' THEN 'inbound' ELSE m.direction END"
_LAST = f"""
    LEFT JOIN LATERAL (
        SELECT {_DIRECTION} AS direction, m.created_at {_SAID}
        ORDER BY m.created_at DESC, m.id DESC LIMIT 1
    ) AS last ON true
    LEFT JOIN LATERAL (
        SELECT m.created_at AS began_at {_SAID} AND m.created_at > COALESCE((
            SELECT m.created_at {_SAID} AND {_DIRECTION} <> last.direction
            ORDER BY m.created_at DESC LIMIT 1
        ), '-infinity')
        ORDER BY m.created_at LIMIT 1
    ) AS turn ON true
"""
_FILTERS = """
    (:status IS NULL OR c.status = :status) AND (:channel IS NULL OR c.channel = :channel)
    AND (:customer_id IS NULL OR c.customer_id = COALESCE(
        (SELECT customer_id FROM customer_redirects WHERE absorbed_id = :customer_id), :customer_id
    ))
"""
_PARAMETERS = (
    bindparam("status", type_=Text()),
    bindparam("channel", type_=Text()),
    bindparam("customer_id", type_=Uuid()),
    bindparam("at_time", type_=DateTime(timezone=True)),
    bindparam("at_id", type_=Uuid()),
    bindparam("max_rows", type_=Integer()),
)
_BY_CREATION = text(f"""
    SELECT {_FACTS} FROM conversations AS c {_LAST}
    WHERE {_FILTERS} AND c.created_at IS NOT NULL
        AND (:at_time IS NULL OR (c.created_at, c.id) < (:at_time, :at_id))
    ORDER BY c.created_at DESC, c.id DESC LIMIT :max_rows
""").bindparams(*_PARAMETERS)  # noqa: S608
_BY_TURN = text(f"""
    SELECT {_FACTS} FROM conversations AS c {_LAST}
    WHERE {_FILTERS} AND c.created_at IS NOT NULL AND c.status IS DISTINCT FROM 'closed'
        AND last.direction = :last_direction
        AND (:at_time IS NULL OR (turn.began_at, c.id) > (:at_time, :at_id))
    ORDER BY turn.began_at, c.id LIMIT :max_rows
""").bindparams(*_PARAMETERS)  # noqa: S608
_LAST_DIRECTION = {Awaiting.US: "inbound", Awaiting.CUSTOMER: "outbound"}


_GET = (
    text(f"""
    SELECT {_FACTS}, c.escalation_reason, c.closed_at,
        CASE WHEN jsonb_typeof(c.metadata) = 'object' THEN c.metadata ELSE '{{}}' END AS extra,
        (
            SELECT route.account FROM conversation_routes AS route WHERE route.conversation_id = c.id
            ORDER BY route.used_at DESC, route.id DESC LIMIT 1
        ) AS account,
        COALESCE(c.metadata ->> 'subject', (
            SELECT m.metadata ->> 'subject' FROM messages AS m
            WHERE m.conversation_id = c.id AND m.metadata ? 'subject' ORDER BY m.created_at, m.id LIMIT 1
        )) AS subject
    FROM conversations AS c {_LAST} WHERE c.id = :conversation_id
    """)  # noqa: S608
    .bindparams(bindparam("conversation_id", type_=Uuid()))
    .columns(id=Uuid(), customer_id=Uuid(), extra=JSONB())
)


def get_conversation(session: Session, conversation_id: UUID) -> ConversationDetails:
    """The conversation, with whose turn it is and how many of its tickets are open. One statement.

    Raises:
        ConversationNotFound: there is no such conversation.
    """
    conversation_id = checked_uuid("conversation_id", conversation_id)
    session.flush()
    row = session.execute(_GET, {"conversation_id": conversation_id}).one_or_none()
    if row is None:
        raise ConversationNotFound(conversation_id)
    return ConversationDetails.model_validate(row._mapping)


def list_conversations(
    session: Session,
    *,
    awaiting: AwaitingCode | None = None,
    status: ConversationStatusCode | None = None,
    channel: ChannelCode | None = None,
    customer_id: UUID | None = None,
    limit: int = 50,
    before: Cursor | str | None = None,
) -> Page[ConversationSummary]:
    """Conversations, the latest first; with ``awaiting`` those where it is our or the customer's turn.

    These are the ones that are not closed, whoever has waited longest first, whether they have a ticket or
    not, and however often they have written since; after an answer that could not be delivered it is our
    turn. An absorbed customer's id leads to the living one. A page's ``next``, or its ``token()``, as
    ``before`` gets the following one. One statement.
    With ``awaiting`` its work grows with the conversations that are not closed, by an index of these.

    Raises:
        InvalidValue: a bad filter, limit or cursor.
    """
    limit = checked_limit(limit)
    at_time, at_id = (None, None) if before is None else checked_cursor(before)
    place: dict[str, Any] = {
        "status": None if status is None else checked_code("status", status, ConversationStatus).value,
        "channel": None if channel is None else checked_code("channel", channel, Channel).value,
        "customer_id": None if customer_id is None else checked_uuid("customer_id", customer_id),
        "at_time": at_time,
        "at_id": at_id,
        "max_rows": limit + 1,
    }
    session.flush()
    if awaiting is None:
        rows = session.execute(_BY_CREATION, place).all()
    else:
        last_direction = _LAST_DIRECTION[checked_code("awaiting", awaiting, Awaiting)]
        rows = session.execute(_BY_TURN, {**place, "last_direction": last_direction}).all()
    following = None
    if len(rows) > limit:
        last = rows[limit - 1]
        following = Cursor(last.created_at if awaiting is None else last.waiting_since, last.id)
    items = [ConversationSummary.model_validate(row) for row in rows[:limit]]
    return Page[ConversationSummary](items=items, next=following)
