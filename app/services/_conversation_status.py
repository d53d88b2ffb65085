"""Conversations are closed, escalated and taken back, their ticket with them if the caller wants."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from ..errors import ConversationNotFound, InvalidValue
from ..models import Conversation, ConversationStatus, ResolutionType, Ticket, TicketStatus
from . import tickets
from ._input import checked_actor, checked_code, checked_optional_text, checked_uuid


def change_status(
    session: Session,
    conversation_id: UUID,
    status: ConversationStatus,
    *,
    actor: str,
    escalation_reason: str | None = None,
    resolution_type: ResolutionType | None = None,
    with_ticket: bool = False,
) -> Conversation:
    """Close, escalate or take back a conversation. A closed one has its time and, if given, its resolution.

    With ``with_ticket`` its latest ticket is escalated with it, and taken back to processing from there; that
    is recorded as ``actor``'s doing. Locks the conversation's row, then the ticket's, until the caller's
    transaction ends.

    Raises:
        ConversationNotFound: there is no such conversation.
        IllegalTransition: the ticket cannot be escalated from its status.
        InvalidValue: a field breaks a rule, or an escalation has no reason and never had one.
    """
    actor = checked_actor(actor)
    status = checked_code("status", status, ConversationStatus)
    reason = checked_optional_text("escalation_reason", escalation_reason, max_length=255)
    if resolution_type is not None:
        resolution_type = checked_code("resolution_type", resolution_type, ResolutionType)
    session.flush()
    found = select(Conversation).where(Conversation.id == checked_uuid("conversation_id", conversation_id))
    conversation = session.scalars(
        found.with_for_update(key_share=True), execution_options={"populate_existing": True}
    ).one_or_none()
    if conversation is None:
        raise ConversationNotFound(conversation_id)
    reason = reason or conversation.escalation_reason
    if status is ConversationStatus.ESCALATED and reason is None:
        raise InvalidValue("escalation_reason", "must say why the conversation is escalated")
    if with_ticket:
        _align_ticket(session, conversation.id, status, actor=actor, reason=reason)
    is_closed = status is ConversationStatus.CLOSED
    values = {
        "status": status,
        "escalation_reason": reason,
        "resolution_type": (resolution_type or conversation.resolution_type) if is_closed else None,
        "closed_at": func.coalesce(Conversation.closed_at, func.clock_timestamp()) if is_closed else None,
    }
    return session.scalars(
        update(Conversation).where(Conversation.id == conversation.id).values(values).returning(Conversation),
        execution_options={"populate_existing": True, "synchronize_session": False},
    ).one()


def _align_ticket(
    session: Session, conversation_id: UUID, status: ConversationStatus, *, actor: str, reason: str | None
) -> None:
    latest = (
        select(Ticket.id, Ticket.status)
        .where(Ticket.conversation_id == conversation_id)
        .order_by(Ticket.created_at.desc(), Ticket.id.desc())
        .limit(1)
    )
    ticket = session.execute(latest).one_or_none()
    if ticket is None:
        return
    if status is ConversationStatus.ESCALATED:
        tickets.change_status(
            session, ticket.id, TicketStatus.ESCALATED, actor=actor, escalation_reason=reason
        )
    elif status is ConversationStatus.ACTIVE and ticket.status is TicketStatus.ESCALATED:
        tickets.change_status(session, ticket.id, TicketStatus.PROCESSING, actor=actor)
