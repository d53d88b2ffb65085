"""Messages in and out: stored exactly once, in the right conversation, answered where they came from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Row, case, insert, or_, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import Session

from ..errors import ConversationNotFound, InvalidValue, MessageNotFound
from ..models import (
    Conversation,
    ConversationRoute,
    ConversationStatus,
    DeliveryStatus,
    InboundReceipt,
    Message,
    MessageDirection,
    MessageRole,
    Ticket,
    TicketStatus,
    uuid7,
)
from ..normalization import normalize_identifier
from ..schemas import Assurance, Identifier, IdentityPolicy, InboundMessage, Ingested, OutboundMessage
from . import identity, tickets
from ._conversation_status import change_status
from ._input import checked_code, checked_json, checked_optional_text, checked_text, checked_uuid
from ._living import lock_living

__all__ = ["change_status", "ingest", "reply", "reply_target", "set_delivery_status"]


def ingest(
    session: Session,
    inbound: InboundMessage,
    *,
    policy: IdentityPolicy = IdentityPolicy.STRICT,
    default_region: str | None = None,
) -> Ingested:
    """Store one inbound message: who wrote it, in which conversation, and wake the ticket that waits for it.

    Exactly once per ``(channel, account, provider_message_id)``: a redelivery, also one that runs at the same
    time, returns where the message went the first time and writes nothing. A message of a rolled-back
    transaction was never there. Besides ``identity.resolve``'s locks, holds the customer's row (FOR NO KEY
    UPDATE) until the caller's transaction ends, so that messages arriving together share a conversation.

    What somebody typed beside the channel's own identifier, such as a form's phone number, loses no message:
    where it is ill-formed, it is reported in ``resolution.ignored``.

    Raises:
        InvalidValue: the channel's own identifier, or a field that cannot be stored.
    """
    policy = checked_code("policy", policy, IdentityPolicy)
    message = _message_values(inbound)
    sender, ill_formed = _readable(inbound.sender, default_region)
    route = _route(inbound, default_region)
    if not _claim_receipt(session, inbound, message["id"]):
        return _ingested_before(session, inbound)

    resolution = identity.resolve(
        session,
        sender,
        channel=inbound.channel,
        profile=inbound.profile,
        policy=policy,
        default_region=default_region,
    )
    resolution = resolution.model_copy(update={"ignored": (*resolution.ignored, *ill_formed)})
    customer_id = lock_living(session, resolution.customer_id, key_share=True)
    found = _find_conversation(session, customer_id, route)
    opened = found is None
    conversation_id = _open_conversation(session, customer_id, route) if found is None else found.id
    if found is not None and found.status is ConversationStatus.CLOSED and not inbound.auto_reply:
        _reopen_conversation(session, conversation_id)
    session.execute(
        insert(Message).values(conversation_id=conversation_id, customer_id=customer_id, **message)
    )
    ticket_id, reopened = None, False
    if not opened:
        ticket_id, reopened = _wake_ticket(session, conversation_id, inbound, resolution.assurance)
    return Ingested(
        message_id=message["id"],
        conversation_id=conversation_id,
        customer_id=customer_id,
        conversation_opened=opened,
        ticket_id=ticket_id,
        ticket_reopened=reopened,
        resolution=resolution,
    )


def reply(session: Session, conversation_id: UUID, outbound: OutboundMessage) -> Message:
    """Store an answer in the conversation, to be delivered to ``reply_target``; its delivery is ``pending``.

    Raises:
        ConversationNotFound: there is no such conversation.
        InvalidValue: a field cannot be stored.
    """
    content = checked_text("content", outbound.content)
    extra = checked_json("extra", outbound.extra)
    conversation = session.execute(
        select(Conversation.id, Conversation.customer_id, Conversation.channel).where(
            Conversation.id == checked_uuid("conversation_id", conversation_id)
        )
    ).one_or_none()
    if conversation is None:
        raise ConversationNotFound(conversation_id)
    values = {
        "conversation_id": conversation.id,
        "customer_id": conversation.customer_id,
        "channel": conversation.channel,
        "direction": MessageDirection.OUTBOUND,
        "role": outbound.role,
        "content": content,
        "content_type": outbound.content_type,
        "processing_latency_ms": outbound.processing_latency_ms,
        "extra": extra | ({"auto_reply": True} if outbound.auto_reply else {}),
    }
    return session.scalars(insert(Message).values(values).returning(Message)).one()


def reply_target(session: Session, conversation_id: UUID) -> Identifier:
    """The address that the conversation came through, as its provider spells it; never the profile's.

    Raises:
        ConversationNotFound: no such conversation, or one that another backend opened without a route.
    """
    route = session.get(ConversationRoute, checked_uuid("conversation_id", conversation_id))
    if route is None:
        raise ConversationNotFound(conversation_id)
    return Identifier(type=route.identifier_type, value=route.address)


def set_delivery_status(session: Session, message_id: UUID, status: DeliveryStatus) -> Message:
    """Keep what the provider reports. Reports that arrive late never take ``read`` back to ``delivered``.

    Raises:
        MessageNotFound: there is no such message.
        InvalidValue: no such status.
    """
    status = checked_code("status", status, DeliveryStatus)
    order = [DeliveryStatus.PENDING, DeliveryStatus.FAILED, DeliveryStatus.DELIVERED, DeliveryStatus.READ]
    earlier = order[: order.index(status)]
    session.flush()
    message = session.scalars(
        update(Message)
        .where(Message.id == checked_uuid("message_id", message_id))
        .values(
            delivery_status=case(
                (or_(Message.delivery_status.is_(None), Message.delivery_status.in_(earlier)), status.value),
                else_=Message.delivery_status,
            )
        )
        .returning(Message),
        execution_options={"populate_existing": True, "synchronize_session": False},
    ).one_or_none()
    if message is None:
        raise MessageNotFound(message_id)
    return message


def _message_values(inbound: InboundMessage) -> dict[str, Any]:
    """The message's row, checked before anything is written."""
    checked_text("account", inbound.account, max_length=255)
    checked_text("provider_message_id", inbound.provider_message_id, max_length=255)
    checked_optional_text("thread_id", inbound.thread_id, max_length=1000)
    facts: dict[str, Any] = {
        "account": inbound.account,
        "provider_message_id": inbound.provider_message_id,
        "subject": inbound.subject,
        "sent_at": inbound.sent_at.isoformat() if inbound.sent_at else None,
        "attachments": [attachment.model_dump() for attachment in inbound.attachments],
        "auto_reply": inbound.auto_reply,
    }
    return {
        "id": uuid7(),
        "channel": inbound.channel,
        "direction": MessageDirection.INBOUND,
        "role": MessageRole.CUSTOMER,
        "content": checked_text("content", inbound.content, blank=True),
        "content_type": inbound.content_type,
        "delivery_status": DeliveryStatus.DELIVERED,
        "extra": checked_json(
            "extra", {**inbound.extra, **{name: fact for name, fact in facts.items() if fact}}
        ),
    }


def _claim_receipt(session: Session, inbound: InboundMessage, message_id: UUID) -> bool:
    """Whether this delivery is the first. Waits for one that runs at the same time to commit or roll back."""
    claimed = session.scalar(
        upsert(InboundReceipt)
        .values(
            channel=inbound.channel,
            account=inbound.account,
            provider_message_id=inbound.provider_message_id,
            message_id=message_id,
        )
        .on_conflict_do_nothing()
        .returning(InboundReceipt.message_id)
    )
    return claimed is not None


def _ingested_before(session: Session, inbound: InboundMessage) -> Ingested:
    message = session.execute(
        select(Message.id, Message.conversation_id, Message.customer_id)
        .join(InboundReceipt, InboundReceipt.message_id == Message.id)
        .where(
            InboundReceipt.channel == inbound.channel,
            InboundReceipt.account == inbound.account,
            InboundReceipt.provider_message_id == inbound.provider_message_id,
        )
    ).one()
    return Ingested(
        message_id=message.id,
        conversation_id=message.conversation_id,
        customer_id=message.customer_id,
        ticket_id=session.scalar(_latest_ticket(message.conversation_id)),
        duplicate=True,
    )


def _readable(
    sender: Sequence[Identifier], default_region: str | None
) -> tuple[list[Identifier], list[Identifier]]:
    """The sender's identifiers, those that can be read and typed ones that cannot; nothing is written yet.

    Raises:
        InvalidValue: the first one, or one that the channel proved, is ill-formed; or they are too many.
    """
    readable: list[Identifier] = []
    ill_formed = []
    for identifier in sender:
        try:
            normalize_identifier(identifier.type, identifier.value, default_region=default_region)
        except InvalidValue as error:
            if not readable or identifier.verified or error.field == "default_region":
                raise
            ill_formed.append(identifier)
        else:
            readable.append(identifier)
    identity.canonical(readable, default_region)
    return readable, ill_formed


def _route(inbound: InboundMessage, default_region: str | None) -> dict[str, Any]:
    """Where answers to this message go: to the first identifier, which is the channel's own one."""
    sender = inbound.sender[0]
    return {
        "channel": inbound.channel,
        "account": inbound.account,
        "identifier_type": sender.type,
        "identifier_value": normalize_identifier(sender.type, sender.value, default_region=default_region),
        "address": checked_text("sender", sender.value.strip(), max_length=255),
        "thread_id": inbound.thread_id,
    }


def _find_conversation(
    session: Session, customer_id: UUID, route: dict[str, Any]
) -> Row[UUID, ConversationStatus | None] | None:
    """The customer's conversation in this thread; without a thread, the one still open on this address."""
    same = [Conversation.customer_id == customer_id, ConversationRoute.channel == route["channel"]]
    same.append(ConversationRoute.account == route["account"])
    if route["thread_id"] is not None:
        same.append(ConversationRoute.thread_id == route["thread_id"])
    else:
        same += [
            ConversationRoute.identifier_type == route["identifier_type"],
            ConversationRoute.identifier_value == route["identifier_value"],
            Conversation.status.is_distinct_from(ConversationStatus.CLOSED),
        ]
    return session.execute(
        select(Conversation.id, Conversation.status)
        .join(ConversationRoute)
        .where(*same)
        .order_by(Conversation.created_at.desc(), Conversation.id.desc())
        .limit(1)
    ).one_or_none()


def _open_conversation(session: Session, customer_id: UUID, route: dict[str, Any]) -> UUID:
    conversation_id = uuid7()
    values = {"id": conversation_id, "customer_id": customer_id, "channel": route["channel"]}
    conversation = insert(Conversation).values(values).cte("new_conversation")
    session.execute(
        insert(ConversationRoute).values(conversation_id=conversation_id, **route).add_cte(conversation)
    )
    return conversation_id


def _latest_ticket(conversation_id: UUID) -> Any:
    return (
        select(Ticket.id)
        .where(Ticket.conversation_id == conversation_id)
        .order_by(Ticket.created_at.desc(), Ticket.id.desc())
        .limit(1)
    )


def _reopen_conversation(session: Session, conversation_id: UUID) -> None:
    session.execute(
        update(Conversation)
        .where(Conversation.id == conversation_id, Conversation.status == ConversationStatus.CLOSED)
        .values(status=ConversationStatus.ACTIVE, closed_at=None, resolution_type=None)
    )


def _wake_ticket(
    session: Session, conversation_id: UUID, inbound: InboundMessage, assurance: Assurance
) -> tuple[UUID | None, bool]:
    """Reopen a resolved ticket, and take up one that waited for the customer; machines wake nobody.

    The record names the customer only where the channel proved who wrote.
    """
    session.flush()
    # Locked and read afresh: between a look and the change, somebody else could move the ticket on.
    ticket = session.scalars(
        select(Ticket)
        .where(Ticket.id == _latest_ticket(conversation_id).scalar_subquery())
        .with_for_update(key_share=True),
        execution_options={"populate_existing": True},
    ).one_or_none()
    if ticket is None:
        return None, False
    if inbound.auto_reply or ticket.status not in {TicketStatus.RESOLVED, TicketStatus.WAITING}:
        return ticket.id, False
    reopened = ticket.status is TicketStatus.RESOLVED
    proven = assurance is Assurance.VERIFIED
    tickets.change_status(
        session,
        ticket.id,
        TicketStatus.OPEN,
        actor=f"customer:{ticket.customer_id}" if proven else "system:ingest",
        comment="the customer wrote again" if proven else "a message that claims to be the customer's",
    )
    return ticket.id, reopened
