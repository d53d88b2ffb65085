"""What providers say became of our messages."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, DateTime, Text, Uuid, bindparam, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Session

from ...errors import InvalidValue
from ...models import DeliveryStatus, Message
from ...normalization import without_addresses
from ...schemas import DeliveryReport
from .._shared.checks import (
    canonical_accounts,
    checked_kind,
    checked_optional_text,
    checked_schema,
    checked_uuid,
    require_transaction,
    stored_id,
)
from .messages import RANKS, as_message, lock_provider_id

# What an earlier report, or an earlier attempt to send it, said.
_OUTCOME = ["status", "recipient", "code", "reason", "occurred_at", "attempts", "given_up", "failed_at"]
# Who reports on a message that is still in the outbox has got it: its sender died before it could say so.
_REPORTED = as_message(
    """
    WITH reported AS (
        SELECT messages.id FROM (
            SELECT message_id, 1 AS way FROM provider_messages
            WHERE channel = :channel AND account = ANY (:accounts)
                AND provider_message_id = :provider_message_id
            UNION ALL SELECT :message_id, 2 WHERE :message_id IS NOT NULL
        ) AS named JOIN messages ON messages.id = named.message_id
        WHERE direction = 'outbound' AND (:customer_id IS NULL OR messages.customer_id = :customer_id)
            AND (way = 1 OR EXISTS (
            SELECT FROM conversation_routes AS route
            WHERE route.conversation_id = messages.conversation_id
                AND route.channel = :channel AND route.account = ANY (:accounts)
        ))
        ORDER BY way LIMIT 1
    ), left_us AS (
        DELETE FROM outbox USING reported WHERE outbox.message_id = reported.id
    ), called AS (
        INSERT INTO provider_messages (channel, account, provider_message_id, message_id)
        SELECT :channel, :account, :provider_message_id, id FROM reported
        WHERE :provider_message_id IS NOT NULL AND NOT EXISTS (
            SELECT FROM provider_messages
            WHERE channel = :channel AND account = ANY (:accounts)
                AND provider_message_id = :provider_message_id
        )
        ON CONFLICT DO NOTHING
    )
    UPDATE messages SET
        delivery_status = CASE
            WHEN delivery_status IS NULL OR delivery_status = ANY (:overtaken)
                OR delivery_status = 'failed' AND metadata -> 'delivery' ? 'failed_at' THEN :status
            ELSE delivery_status
        END,
        metadata = CASE jsonb_typeof(metadata) WHEN 'object' THEN metadata ELSE '{}' END
            || jsonb_build_object(
            'delivery', CASE
                WHEN delivery_status = ANY (:not_told) AND NOT COALESCE(
                    delivery_status = 'failed' AND metadata -> 'delivery' ? 'failed_at', false
                ) THEN COALESCE(metadata -> 'delivery', '{}')
                ELSE (COALESCE(metadata -> 'delivery', '{}') - :replaced) || :facts
                    || CASE WHEN :status = 'failed' AND delivery_status IN ('delivered', 'read')
                        THEN jsonb_build_object('late_failure', :facts) ELSE '{}' END
                END
        )
    FROM reported WHERE messages.id = reported.id
    RETURNING messages.*
    """,
    channel=Text(),
    account=Text(),
    accounts=ARRAY(Text),
    provider_message_id=Text(),
    message_id=Uuid(),
    customer_id=Uuid(),
    overtaken=ARRAY(Text),
    not_told=ARRAY(Text),
    replaced=ARRAY(Text),
    facts=JSONB(),
    status=Text(),
)
_KEEP_EARLY = text("""
    INSERT INTO early_delivery_reports
        (channel, account, provider_message_id, status, recipient, code, reason, occurred_at)
    SELECT :channel, :account, :provider_message_id, :status, :recipient, :code, :reason, :occurred_at
    WHERE NOT EXISTS (SELECT FROM messages WHERE id = :message_id AND metadata @> '{"erased": true}')
""").bindparams(
    bindparam("occurred_at", type_=DateTime(timezone=True)),
    bindparam("message_id", type_=Uuid()),
    *(bindparam(name, type_=Text()) for name in ("recipient", "code", "reason")),
)


def record_delivery(
    session: Session,
    report: DeliveryReport,
    *,
    aliases: Collection[str] = (),
    customer_id: UUID | None = None,
) -> Message | None:
    """Keep what the provider says became of a message of ours, found by the provider's id, else by ours.

    It was sent from the report's account or one of the ``aliases``: bounces may come to an address of their
    own. With ``customer_id`` it counts only if it was sent to that customer, as what a mail says does.

    A late report takes nothing back: ``delivered`` after ``read`` changes nothing, nor does ``sent`` after a
    failure, and a bounce after ``delivered`` leaves the status and is told in
    ``extra["delivery"]["late_failure"]``. Of the latest that was news, the status, recipient, code, reason
    (without addresses) and time are in ``extra["delivery"]``. A message that is still in the
    outbox leaves it: whoever reports on it has it. A report that is earlier than ``sent`` is kept for it,
    and None returned, as for one that names no message.

    Raises:
        InvalidValue: a field cannot be stored, or the session is in autocommit mode.
    """
    said = read_report(report, aliases)
    if customer_id is not None:
        customer_id = checked_uuid("customer_id", customer_id)
    require_transaction(session)
    return record(session, said, customer_id)


def record_deliveries(session: Session, reports: Iterable[DeliveryReport]) -> list[Message | None]:
    """The same for a webhook's batch, in the order of the messages, so that two batches cannot block.

    Raises:
        InvalidValue: one is no report, or a field cannot be stored; nothing is written.
    """
    if isinstance(reports, str | bytes) or not isinstance(reports, Iterable):
        raise InvalidValue("reports", "must be a list of reports")
    batch = [read_report(checked_kind("reports", report, DeliveryReport)) for report in reports]
    require_transaction(session)
    order = sorted(range(len(batch)), key=lambda i: batch[i]["provider_message_id"] or "")
    results: dict[int, Message | None] = {i: record(session, batch[i]) for i in order}
    return [results[i] for i in range(len(batch))]


def read_report(report: DeliveryReport, aliases: Collection[str] = ()) -> dict[str, Any]:
    """What a report says, as it is stored.

    Raises:
        InvalidValue: a field cannot be stored.
    """
    report = checked_schema("report", report, DeliveryReport)
    name = checked_optional_text("provider_message_id", report.provider_message_id, max_length=255)
    name = None if name is None else stored_id(report.channel, name)
    reason = checked_optional_text("reason", report.reason, max_length=10_000)
    outcome = {
        "status": report.status.value,
        "recipient": checked_optional_text("recipient", report.recipient, max_length=1000),
        "code": checked_optional_text("code", report.code, max_length=1000),
        "reason": None if reason is None else without_addresses(reason),
    }
    occurred_at = None if report.occurred_at is None else report.occurred_at.isoformat()
    facts = {fact: value for fact, value in {**outcome, "occurred_at": occurred_at}.items() if value}
    accounts = canonical_accounts(report.channel, report.account, aliases)
    return {
        "channel": report.channel.value,
        "account": accounts[0],
        "accounts": accounts,
        "provider_message_id": name,
        "message_id": report.message_id,
        "overtaken": overtaken_by(report.status),
        "not_told": [] if report.status is DeliveryStatus.FAILED else RANKS[RANKS.index(report.status) + 1 :],
        "replaced": _OUTCOME,
        "facts": facts,
        **outcome,
        "occurred_at": report.occurred_at,
    }


def record(session: Session, said: dict[str, Any], customer_id: UUID | None = None) -> Message | None:
    """The same of a report that was read before."""
    name, values = said["provider_message_id"], {**said, "customer_id": customer_id}
    if name is None and said["message_id"] is None:
        return None
    session.flush()
    message: Message | None = session.scalars(_REPORTED, values).one_or_none()
    if message is None and name is not None and customer_id is None:
        # Under the lock that ``sent`` takes: either it sees the report, or this sees the message.
        lock_provider_id(session, name)
        message = session.scalars(_REPORTED, values).one_or_none()
        if message is None:
            session.execute(_KEEP_EARLY, values)
    return message


def overtaken_by(status: DeliveryStatus) -> list[str]:
    """The statuses that a report of this one replaces: a late one takes nothing back."""
    return RANKS[: RANKS.index(status)]
