"""Messages from us: answers, first words, notes among ourselves."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import Boolean, Integer, Uuid, bindparam, select, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Session

from ...errors import (
    AutoReplyLoop,
    ConversationNotFound,
    CRMError,
    CustomerErased,
    IdentifierTaken,
    InvalidValue,
    WindowClosed,
)
from ...models import OWN_TYPE, Channel, ContentType, Conversation, Message, MessageRole, uuid7
from ...schemas import ChannelCode, Identifier, OutboundMessage
from .._shared import measuring
from .._shared.checks import (
    canonical_account,
    checked_actor,
    checked_code,
    checked_flag,
    checked_json,
    checked_limit,
    checked_optional_text,
    checked_schema,
    checked_text,
    checked_uuid,
)
from .._shared.redirects import lock_living
from ..identity.erasures import refuse_erased
from ..identity.holdings import find_holdings
from ..identity.reading import read
from .messages import checked_extra
from .rendering import render_reply

_COLUMNS = ", ".join(column.name for column in Message.__table__.c)

_WRITE = select(Message).from_statement(
    text(f"""
    WITH message AS (
        INSERT INTO messages (
            id, conversation_id, customer_id, channel, direction, role, content, content_type,
            processing_latency_ms, delivery_status, metadata
        )
        SELECT :id, id, customer_id, channel, 'outbound', :role, :content, :content_type,
            :processing_latency_ms, CASE WHEN :is_sent THEN 'pending' END, :extra
        FROM conversations WHERE id = :conversation_id
        AND NOT EXISTS (SELECT FROM erasures WHERE erasures.customer_id = conversations.customer_id)
        AND (NOT :in_window OR channel <> 'whatsapp' OR window_end(id) > clock_timestamp())
        AND (
            NOT :is_automatic OR :max_automatic > (
                SELECT count(*) FROM messages AS automatic
                WHERE automatic.conversation_id = :conversation_id AND automatic.direction = 'outbound'
                    AND automatic.created_at > clock_timestamp() - interval '1 hour'
                    AND automatic.metadata @> '{{"auto_reply": true}}'
            )
        )
        RETURNING {_COLUMNS}
    ), queued AS (
        INSERT INTO outbox (message_id, conversation_id)
        SELECT id, conversation_id FROM message
        WHERE :is_sent AND EXISTS (
            SELECT FROM conversation_routes AS route WHERE route.conversation_id = message.conversation_id
        )
    )
    SELECT {_COLUMNS} FROM message
    """)  # noqa: S608
    .bindparams(
        bindparam("id", type_=Uuid()),
        bindparam("conversation_id", type_=Uuid()),
        bindparam("extra", type_=JSONB()),
        bindparam("is_sent", type_=Boolean()),
        bindparam("in_window", type_=Boolean()),
        bindparam("is_automatic", type_=Boolean()),
        bindparam("max_automatic", type_=Integer()),
        bindparam("processing_latency_ms", type_=Integer()),
    )
    .columns(*Message.__table__.c)
)
_START = select(Conversation).from_statement(
    text("""
    WITH conversation AS (
        INSERT INTO conversations (id, customer_id, channel, metadata)
        VALUES (:id, :customer_id, :channel, :extra) RETURNING *
    ), route AS (
        INSERT INTO conversation_routes
            (conversation_id, channel, account, identifier_type, identifier_value, address)
        SELECT id, channel, :account, :identifier_type, :identifier_value, :address FROM conversation
    )
    SELECT * FROM conversation
    """)
    .bindparams(
        bindparam("id", type_=Uuid()),
        bindparam("customer_id", type_=Uuid()),
        bindparam("extra", type_=JSONB()),
    )
    .columns(**{column.name: column.type for column in Conversation.__table__.c})
)
_WHY_NOT = text("""
    SELECT customer_id,
        channel = 'whatsapp' AND COALESCE(window_end(id) <= clock_timestamp(), true) AS is_closed,
        EXISTS (SELECT FROM erasures WHERE erasures.customer_id = conversations.customer_id) AS is_erased
    FROM conversations WHERE id = :conversation_id
""").bindparams(bindparam("conversation_id", type_=Uuid()))

MAX_AUTO_REPLIES = 10
"""Automatic answers in one conversation within an hour, before a loop is suspected."""


def reply(
    session: Session,
    conversation_id: UUID,
    outbound: OutboundMessage,
    *,
    actor: str | None = None,
    max_auto_replies: int = MAX_AUTO_REPLIES,
    in_template: bool = False,
    in_window: bool = False,
    measure: bool = False,
) -> Message:
    """Store an answer in the conversation, to be sent to ``reply_target``; its delivery is ``pending``.

    One statement. ``actor`` is kept in ``extra["actor"]``. A conversation that another backend opened without
    a route keeps the answer and does not send it.

    With ``in_template`` the answer is put into its channel's template first, as by ``render_reply``, which is
    one statement more.

    With ``in_window`` an answer on WhatsApp is refused where the customer has not written within 24 hours;
    without, its sender decides. With ``measure`` the message is counted and, if an agent wrote it, its
    latency kept: ``processing_latency_ms``, else for how long the customer waited for it.

    Raises:
        ConversationNotFound: there is no such conversation.
        CustomerErased: its customer was erased.
        WindowClosed: WhatsApp would not take it, with ``in_window``.
        AutoReplyLoop: more automatic answers within an hour than ``max_auto_replies``.
        InvalidValue: a field cannot be stored.
        CRMError: what ``render_reply`` raises, with ``in_template``.
    """
    outbound = checked_schema("outbound", outbound, OutboundMessage)
    if checked_flag("in_template", in_template):
        outbound = _in_template(session, conversation_id, outbound)
    facts: dict[str, Any] = {
        "subject": checked_optional_text("subject", outbound.subject, max_length=1000),
        "attachments": [attachment.model_dump() for attachment in outbound.attachments],
        "auto_reply": outbound.auto_reply,
        "actor": None if actor is None else checked_actor(actor),
    }
    values = {
        "role": checked_code("role", outbound.role, MessageRole).value,
        "content": checked_text("content", outbound.content),
        "content_type": outbound.content_type.value,
        "processing_latency_ms": outbound.processing_latency_ms,
        "extra": checked_json("extra", checked_extra(outbound.extra) | _set(facts)),
    }
    limit = checked_limit(max_auto_replies)
    measure, in_window = checked_flag("measure", measure), checked_flag("in_window", in_window)
    message = _write(
        session,
        conversation_id,
        values,
        in_window=in_window,
        is_automatic=outbound.auto_reply,
        max_automatic=limit,
    )
    if message is None:
        raise _refusal(session, conversation_id, in_window=in_window)
    if measure:
        measuring.record_reply(session, message)
    return message


def _in_template(session: Session, conversation_id: UUID, outbound: OutboundMessage) -> OutboundMessage:
    content_type = outbound.content_type
    rendered = render_reply(session, conversation_id, outbound.content, content_type=content_type)
    return outbound.model_copy(update={"content": rendered.content})


def note(session: Session, conversation_id: UUID, content: str, *, actor: str) -> Message:
    """Keep a remark among ourselves in the conversation: it is never sent.

    Raises:
        ConversationNotFound: there is no such conversation.
        CustomerErased: its customer was erased.
        InvalidValue: the text or the actor is ill-formed.
    """
    values = {
        "role": MessageRole.SYSTEM.value,
        "content": checked_text("content", content),
        "content_type": ContentType.TEXT.value,
        "processing_latency_ms": None,
        "extra": {"internal": True, "actor": checked_actor(actor)},
    }
    message = _write(session, conversation_id, values, is_sent=False)
    if message is None:
        raise _refusal(session, conversation_id)
    return message


def start(
    session: Session,
    customer_id: UUID,
    *,
    channel: ChannelCode,
    account: str,
    to: Identifier,
    subject: str | None = None,
    default_region: str | None = None,
) -> Conversation:
    """Open a conversation in which we write first, from ``account`` to the customer's address ``to``.

    Raises:
        CustomerNotFound: there is no such customer.
        CustomerErased: it was erased.
        IdentifierTaken: the address is another customer's.
        InvalidValue: the address is ill-formed or none of this channel, or a field cannot be stored.
    """
    channel = checked_code("channel", channel, Channel)
    account = canonical_account(channel, account)
    subject = checked_optional_text("subject", subject, max_length=1000)
    sender = read([to], default_region)
    (address,) = sender.addresses
    if address.type is not OWN_TYPE[channel] or not sender.identifiers:
        raise InvalidValue("to", f"is no address to write to by {channel}")
    customer_id = lock_living(session, checked_uuid("customer_id", customer_id), key_share=True)
    refuse_erased(session, customer_id)
    for holding in find_holdings(session, sender.identifiers, default_region=default_region):
        if holding.customer_id != customer_id:
            raise IdentifierTaken(holding.customer_id)
    conversation: Conversation = session.scalars(
        _START,
        {
            "id": uuid7(),
            "customer_id": customer_id,
            "channel": channel.value,
            "account": account,
            "extra": _set({"subject": subject}),
            "identifier_type": address.type.value,
            "identifier_value": checked_text("to", address.mailbox, max_length=255),
            "address": checked_text("to", address.spelling, max_length=255),
        },
    ).one()
    return conversation


def _write(
    session: Session,
    conversation_id: UUID,
    values: dict[str, Any],
    *,
    is_sent: bool = True,
    in_window: bool = False,
    is_automatic: bool = False,
    max_automatic: int = 0,
) -> Message | None:
    session.flush()
    message: Message | None = session.scalars(
        _WRITE,
        {
            **values,
            "id": uuid7(),
            "conversation_id": checked_uuid("conversation_id", conversation_id),
            "is_sent": is_sent,
            "in_window": in_window,
            "is_automatic": is_automatic,
            "max_automatic": max_automatic,
        },
    ).one_or_none()
    return message


def _refusal(session: Session, conversation_id: UUID, *, in_window: bool = False) -> CRMError:
    """Why nothing was written."""
    conversation_id = checked_uuid("conversation_id", conversation_id)
    row = session.execute(_WHY_NOT, {"conversation_id": conversation_id}).one_or_none()
    if row is None:
        return ConversationNotFound(conversation_id)
    if row.is_erased:
        return CustomerErased(row.customer_id)
    return WindowClosed(conversation_id) if in_window and row.is_closed else AutoReplyLoop(conversation_id)


def _set(facts: dict[str, Any]) -> dict[str, Any]:
    return {name: fact for name, fact in facts.items() if fact}
