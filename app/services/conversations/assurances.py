"""How sure it is who wrote what is unanswered in a conversation."""

from __future__ import annotations

from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Boolean, Text, Uuid, bindparam, text
from sqlalchemy.orm import Session

from ...errors import ConversationNotFound
from ...models import Channel

# Events such as reactions set no route: answers go to none of their writers.
_WRITTEN = """
    written.conversation_id = c.id AND written.direction = 'inbound' AND (
        NOT COALESCE(written.metadata ? 'event', false)
        OR written.metadata ->> 'event' IN ('edit', 'identity')
    )
"""
LEAST_ASSURANCE = f"""
    SELECT has_written, others_read,
        CASE WHEN has_written AND NOT has_claim THEN 'verified' ELSE 'claimed' END AS assurance,
        has_written AND NOT has_claim AND NOT others_read AS discloses
    FROM (
        SELECT
            EXISTS (
                SELECT FROM conversation_routes AS route
                WHERE route.conversation_id = c.id AND route.group_id IS NOT NULL
            ) AS others_read,
            EXISTS (SELECT FROM messages AS written WHERE {_WRITTEN}) AS has_written,
            EXISTS (
                SELECT FROM messages AS written
                WHERE {_WRITTEN} AND written.metadata ->> 'assurance' IS DISTINCT FROM 'verified'
                    AND (written.created_at IS NULL OR written.created_at >= LEAST(
                        (
                            SELECT written.created_at FROM messages AS written
                            WHERE {_WRITTEN} AND written.created_at IS NOT NULL
                            ORDER BY written.created_at DESC LIMIT 1
                        ), COALESCE((
                            SELECT answer.created_at FROM messages AS answer
                            WHERE answer.conversation_id = c.id AND answer.direction = 'outbound'
                                AND NOT COALESCE(answer.metadata ?| ARRAY['auto_reply', 'internal'], false)
                                AND answer.created_at IS NOT NULL
                            ORDER BY answer.created_at DESC LIMIT 1
                        ), '-infinity')
                    ))
            ) AS has_claim
    ) AS facts
"""  # noqa: S608 - nothing of a caller's is in it
"""Of the conversation ``c``: verified if all of it is, since the last answer and at least the last message.

What another backend stored without saying is a claim. The last message counts in any case, for answers go to
where it came from, automatic ones too: who sends one in somebody's name must not get what is told to them.
Answers in a group are read by others: nothing is disclosed there, whoever wrote.
"""

_SCOPE = (
    text(f"""
    SELECT c.id AS conversation_id, c.customer_id, c.channel, least.discloses
    FROM conversations AS c CROSS JOIN LATERAL ({LEAST_ASSURANCE}) AS least WHERE c.id = :conversation_id
    """)  # noqa: S608
    .bindparams(bindparam("conversation_id", type_=Uuid()))
    .columns(conversation_id=Uuid(), customer_id=Uuid(), channel=Text(), discloses=Boolean())
)


class Scope(NamedTuple):
    """What somebody who acts in a conversation may reach."""

    conversation_id: UUID
    customer_id: UUID
    channel: Channel
    discloses: bool
    """Whether what is known from other conversations may be told here."""


def scope_of(session: Session, conversation_id: UUID) -> Scope:
    """The conversation's scope at this moment. One statement.

    Raises:
        ConversationNotFound: there is no such conversation.
    """
    row = session.execute(_SCOPE, {"conversation_id": conversation_id}).one_or_none()
    if row is None:
        raise ConversationNotFound(conversation_id)
    return Scope(row.conversation_id, row.customer_id, Channel(row.channel), row.discloses)
