"""Conversations are closed, escalated and taken back, their ticket with them if the caller wants."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import bindparam, case, func, select, update
from sqlalchemy.orm import Session

from ...errors import ConversationNotFound, InvalidValue
from ...models import (
    Conversation,
    ConversationStatus,
    MetricType,
    ResolutionType,
    Ticket,
    TicketStatus,
)
from ...schemas import ConversationStatusCode, ResolutionTypeCode
from .. import tickets
from .._shared import measuring
from .._shared.checks import checked_actor, checked_code, checked_flag, checked_optional_text, checked_uuid

_IS_IT = Conversation.id == bindparam("conversation_id")
_LOCKED = (
    select(Conversation)
    .where(_IS_IT)
    .with_for_update(key_share=True)
    .execution_options(populate_existing=True)
)
_NEW_STATUS = bindparam("new_status", type_=Conversation.status.type)
_CHANGE = (
    update(Conversation)
    .where(_IS_IT)
    .values(
        status=_NEW_STATUS,
        escalation_reason=bindparam("reason"),
        resolution_type=bindparam("resolution"),
        closed_at=case(
            (
                _NEW_STATUS == ConversationStatus.CLOSED,
                func.coalesce(Conversation.closed_at, func.clock_timestamp()),
            )
        ),
    )
    .returning(Conversation)
    .execution_options(populate_existing=True, synchronize_session=False)
)
_LATEST_TICKET = (
    select(Ticket.id, Ticket.status)
    .where(Ticket.conversation_id == bindparam("conversation_id"))
    .order_by(Ticket.created_at.desc(), Ticket.id.desc())
    .limit(1)
)


def change_status(
    session: Session,
    conversation_id: UUID,
    status: ConversationStatusCode,
    *,
    actor: str,
    escalation_reason: str | None = None,
    resolution_type: ResolutionTypeCode | None = None,
    with_ticket: bool = False,
    measure: bool = False,
) -> Conversation:
    """Close, escalate or take back a conversation. A closed one has its time and, if given, its resolution.

    With ``with_ticket`` its latest ticket is escalated with it, and taken back to processing from there; that
    is recorded as ``actor``'s doing. Locks the conversation's row, then the ticket's, until the caller's
    transaction ends. With ``measure`` an escalation is counted, once with its ticket's.

    Raises:
        ConversationNotFound: there is no such conversation.
        IllegalTransition: the ticket cannot be escalated from its status.
        InvalidValue: a field breaks a rule, or an escalation has no reason and never had one.
    """
    actor, measure = checked_actor(actor), checked_flag("measure", measure)
    status = checked_code("status", status, ConversationStatus)
    reason = checked_optional_text("escalation_reason", escalation_reason, max_length=255)
    if resolution_type is not None:
        resolution_type = checked_code("resolution_type", resolution_type, ResolutionType)
    session.flush()
    is_it = {"conversation_id": checked_uuid("conversation_id", conversation_id)}
    conversation = session.scalars(_LOCKED, is_it).one_or_none()
    if conversation is None:
        raise ConversationNotFound(conversation_id)
    reason = reason or conversation.escalation_reason
    if status is ConversationStatus.ESCALATED and reason is None:
        raise InvalidValue("escalation_reason", "must say why the conversation is escalated")
    if with_ticket:
        _align_ticket(session, conversation.id, status, actor=actor, reason=reason)
    if measure and status is ConversationStatus.ESCALATED and conversation.status != status:
        measuring.record(session, [(MetricType.ESCALATION, 1, conversation.channel, {})])
    resolution = resolution_type or conversation.resolution_type
    change = {
        "new_status": status,
        "reason": reason,
        "resolution": resolution if status is ConversationStatus.CLOSED else None,
    }
    return session.scalars(_CHANGE, {**is_it, **change}).one()


def _align_ticket(
    session: Session, conversation_id: UUID, status: ConversationStatus, *, actor: str, reason: str | None
) -> None:
    ticket = session.execute(_LATEST_TICKET, {"conversation_id": conversation_id}).one_or_none()
    if ticket is None:
        return
    if status is ConversationStatus.ESCALATED:
        tickets.change_status(
            session, ticket.id, TicketStatus.ESCALATED, actor=actor, escalation_reason=reason
        )
    elif status is ConversationStatus.ACTIVE and ticket.status is TicketStatus.ESCALATED:
        tickets.change_status(session, ticket.id, TicketStatus.PROCESSING, actor=actor)
