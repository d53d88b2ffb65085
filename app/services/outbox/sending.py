"""What became of handing a message over: the provider has it, or it failed."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import ARRAY, Boolean, DateTime, Integer, Interval, Text, Uuid, bindparam, select
from sqlalchemy.orm import Session

from ...errors import MessageNotFound
from ...models import Channel, Message
from ...normalization import without_addresses
from .._shared.checks import (
    checked_flag,
    checked_number,
    checked_text,
    checked_time,
    checked_uuid,
    require_transaction,
    stored_id,
)
from .messages import RANKS, as_message, lock_provider_id

MAX_ATTEMPTS = 8
"""After so many failures a message is given up; its ``delivery_status`` is then failed."""

_OF_ATTEMPTS = ["reason", "attempts", "given_up", "failed_at"]
_FIRST_PAUSE = timedelta(minutes=1)
_LONGEST_PAUSE = timedelta(hours=6)
# By the account that it was claimed for; without a claim, by the one that its conversation goes by.
_SENT = as_message(
    """
    WITH done AS (
        DELETE FROM outbox WHERE message_id = :message_id RETURNING channel, account
    ), route AS (
        SELECT channel, account FROM (
            SELECT channel, account, 1 AS way, NULL::timestamptz AS used_at FROM done
            WHERE account IS NOT NULL
            UNION ALL
            SELECT channel, account, 2, recorded_at FROM provider_messages WHERE message_id = :message_id
            UNION ALL
            SELECT channel, account, 3, used_at FROM conversation_routes
            WHERE conversation_id = (SELECT conversation_id FROM messages WHERE id = :message_id)
        ) AS ways ORDER BY way, used_at DESC LIMIT 1
    ), named AS (
        INSERT INTO provider_messages (channel, account, provider_message_id, message_id)
        SELECT channel, account, :provider_message_id, :message_id FROM route
        WHERE EXISTS (
            SELECT FROM messages WHERE id = :message_id AND direction = 'outbound'
                AND NOT COALESCE(metadata ? 'internal', false)
        )
        ON CONFLICT DO NOTHING
    ), early AS (
        DELETE FROM early_delivery_reports AS report USING route
        WHERE report.channel = route.channel AND report.account = route.account
            AND report.provider_message_id IN (:provider_message_id, :bare_id)
        RETURNING report.*, array_position(:ranks, report.status::text) AS rank
    ), told AS (
        SELECT status, rank, received_at, COALESCE(max(rank) OVER (
            ORDER BY received_at, id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        ), 0) AS rank_before, jsonb_strip_nulls(jsonb_build_object(
            'status', status, 'recipient', recipient, 'code', code, 'reason', reason,
            'occurred_at', occurred_at
        )) AS facts FROM early
    ), latest AS (
        SELECT facts AS report FROM told WHERE status = 'failed' OR rank >= rank_before
        ORDER BY received_at DESC LIMIT 1
    ), late AS (
        SELECT jsonb_build_object('late_failure', facts) AS failure FROM told
        WHERE status = 'failed' AND rank < rank_before ORDER BY received_at DESC LIMIT 1
    )
    UPDATE messages SET
        delivery_status = (:ranks)[GREATEST(1, (SELECT max(rank) FROM told), CASE
            WHEN delivery_status <> 'failed' OR NOT metadata -> 'delivery' ? 'failed_at'
            THEN array_position(:ranks, delivery_status::text)
        END)],
        metadata = CASE jsonb_typeof(metadata) WHEN 'object' THEN metadata ELSE '{}' END
            || jsonb_build_object(
            'delivery', jsonb_build_object('sent_at', clock_timestamp()) || CASE
                WHEN metadata -> 'delivery' ? 'failed_at' THEN (metadata -> 'delivery') - :attempts
                ELSE COALESCE(metadata -> 'delivery', '{}')
            END || COALESCE((SELECT report FROM latest), '{}') || COALESCE((SELECT failure FROM late), '{}')
        )
    WHERE id = :message_id AND direction = 'outbound' AND NOT COALESCE(metadata ? 'internal', false)
    RETURNING messages.*
    """,
    message_id=Uuid(),
    provider_message_id=Text(),
    bare_id=Text(),
    attempts=ARRAY(Text),
    ranks=ARRAY(Text),
)
_FAILED = as_message(
    """
    WITH entry AS (
        SELECT message_id, attempts, :gives_up OR attempts >= :max_attempts AS is_last
        FROM outbox WHERE message_id = :message_id AND (:attempt IS NULL OR attempts = :attempt) FOR UPDATE
    ), again AS (
        UPDATE outbox SET with_sender = false, due_at = COALESCE(
            :retry_at,
            clock_timestamp()
                + LEAST(:longest_pause, :first_pause * power(2, GREATEST(entry.attempts, 1) - 1))
        )
        FROM entry WHERE outbox.message_id = entry.message_id AND NOT entry.is_last
    ), given_up AS (
        DELETE FROM outbox USING entry WHERE outbox.message_id = entry.message_id AND entry.is_last
    )
    UPDATE messages SET
        delivery_status = CASE
            WHEN entry.is_last AND COALESCE(delivery_status, 'pending') = 'pending' THEN 'failed'
            ELSE delivery_status
        END,
        metadata = CASE jsonb_typeof(metadata) WHEN 'object' THEN metadata ELSE '{}' END
            || jsonb_build_object('delivery', jsonb_build_object(
                'reason', :reason, 'attempts', entry.attempts, 'given_up', entry.is_last,
                'failed_at', clock_timestamp()
            ))
    FROM entry WHERE messages.id = entry.message_id RETURNING messages.*
    """,
    message_id=Uuid(),
    reason=Text(),
    retry_at=DateTime(timezone=True),
    gives_up=Boolean(),
    attempt=Integer(),
    max_attempts=Integer(),
    first_pause=Interval(),
    longest_pause=Interval(),
)
_FIND = select(Message).where(Message.id == bindparam("message_id", type_=Uuid()))


def sent(session: Session, message_id: UUID, *, provider_message_id: str) -> Message:
    """Keep that the provider took the message, and what it calls it: answers and reports find it by that.

    Reports that came before are applied. Nothing happens the second time.

    Raises:
        MessageNotFound: there is no such message of ours, or it is a note, which nobody sends.
        InvalidValue: the id is ill-formed, or the session is in autocommit mode.
    """
    message_id = checked_uuid("message_id", message_id)
    provider_message_id = checked_text("provider_message_id", provider_message_id, max_length=255)
    require_transaction(session)
    session.flush()
    lock_provider_id(session, provider_message_id)
    values = {
        "message_id": message_id,
        "provider_message_id": provider_message_id,
        "bare_id": stored_id(Channel.EMAIL, provider_message_id),
        "attempts": _OF_ATTEMPTS,
        "ranks": RANKS,
    }
    message: Message | None = session.scalars(_SENT, values).one_or_none()
    if message is None:
        raise MessageNotFound(message_id)
    return message


def failed(
    session: Session,
    message_id: UUID,
    *,
    reason: str,
    retry_at: datetime | None = None,
    permanent: bool = False,
    attempt: int | None = None,
) -> Message:
    """Keep why the message could not be handed over. It is due again at ``retry_at``, else after a pause.

    Pauses double from a minute to six hours. After eight attempts, or where ``permanent``, it is given up:
    its ``delivery_status`` is failed, and the next one of the conversation is due. ``extra["delivery"]`` has
    the reason, without addresses. A message that is no longer in the outbox stays as it is; with ``attempt``,
    the delivery's, so does one that another sender has taken since.

    Raises:
        MessageNotFound: there is no such message.
        InvalidValue: the reason or the time is ill-formed.
    """
    message_id = checked_uuid("message_id", message_id)
    values = {
        "message_id": message_id,
        "reason": without_addresses(checked_text("reason", reason, max_length=10_000)),
        "retry_at": None if retry_at is None else checked_time("retry_at", retry_at),
        "gives_up": checked_flag("permanent", permanent),
        "attempt": None if attempt is None else checked_number("attempt", attempt),
        "max_attempts": MAX_ATTEMPTS,
        "first_pause": _FIRST_PAUSE,
        "longest_pause": _LONGEST_PAUSE,
    }
    session.flush()
    message: Message | None = session.scalars(_FAILED, values).one_or_none()
    message = message or session.scalars(_FIND, {"message_id": message_id}).one_or_none()
    if message is None:
        raise MessageNotFound(message_id)
    return message
