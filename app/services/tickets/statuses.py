"""A ticket's way through its statuses: who moves it must leave from where it is, by a legal step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Executable,
    Text,
    Update,
    Uuid,
    bindparam,
    func,
    not_,
    or_,
    select,
    update,
)
from sqlalchemy.orm import Session

from ...errors import CRMError, IllegalTransition, InvalidValue, StaleStatus
from ...models import TRANSITIONS, Conversation, ConversationStatus, MetricType, Ticket, TicketStatus
from ...models.base import table_of
from ...schemas import TicketStatusCode
from .._shared import measuring
from .._shared.acting import ACTING, Mode, acting
from .._shared.checks import checked_code, checked_flag, checked_optional_text, checked_uuid
from .rows import TICKET_ID, TICKETS, as_ticket, find, locked

_STATUS = func.coalesce(TICKETS.c.status, TicketStatus.OPEN)
_NEW = bindparam("new_status", type_=TICKETS.c.status.type)
_EXPECTED = bindparam("expected_status", type_=TICKETS.c.status.type)
_REASON = bindparam("reason", type_=Text())
_NOTES = bindparam("notes", type_=Text())
_KEPT_NOTES = {
    TICKETS.c.escalation_reason: func.coalesce(_REASON, TICKETS.c.escalation_reason),
    TICKETS.c.resolution_notes: func.coalesce(_NOTES, TICKETS.c.resolution_notes),
}

_is_expected: ColumnElement[bool] = or_(_EXPECTED.is_(None), _STATUS == _EXPECTED)
_is_legal = or_(
    bindparam("mode", type_=Text()) == Mode.FORCE.value, func.ticket_transition_allowed(_STATUS, _NEW)
)
_has_reason = or_(
    _NEW != TicketStatus.ESCALATED,
    func.coalesce(_REASON, func.nullif(TICKETS.c.escalation_reason, "")).is_not(None),
)
_CHANGE = as_ticket(
    update(TICKETS)
    .where(TICKETS.c.id == TICKET_ID, _is_expected, _STATUS != _NEW, _is_legal, _has_reason, ACTING)
    .values({TICKETS.c.status: _NEW, **_KEPT_NOTES})
)
_KEEP = as_ticket(
    update(TICKETS)
    .where(TICKETS.c.id == TICKET_ID, ACTING)
    .values({TICKETS.c.status: TICKETS.c.status, **_KEPT_NOTES})
)

_CONVERSATIONS = table_of(Conversation)
_OF_TICKET = select(TICKETS.c.conversation_id).where(TICKETS.c.id == TICKET_ID).scalar_subquery()
_LOCK_CONVERSATION = (
    select(_CONVERSATIONS.c.id).where(_CONVERSATIONS.c.id == _OF_TICKET).with_for_update(key_share=True)
)
_OF_CONVERSATION = update(_CONVERSATIONS).where(
    _CONVERSATIONS.c.id == bindparam("conversation", type_=Uuid())
)
_OTHER_ESCALATED = (
    select(TICKETS.c.id)
    .where(TICKETS.c.conversation_id == _CONVERSATIONS.c.id, TICKETS.c.status == TicketStatus.ESCALATED)
    .exists()
)


def _as_conversation(statement: Update) -> Executable:
    returned = select(Conversation).from_statement(statement.returning(*_CONVERSATIONS.c))
    return returned.execution_options(populate_existing=True)


_ESCALATE_CONVERSATION = _as_conversation(
    _OF_CONVERSATION.values(status=ConversationStatus.ESCALATED, escalation_reason=_REASON)
)
_TAKE_CONVERSATION_BACK = _as_conversation(
    _OF_CONVERSATION.where(
        _CONVERSATIONS.c.status == ConversationStatus.ESCALATED, not_(_OTHER_ESCALATED)
    ).values(status=ConversationStatus.ACTIVE)
)


def change_status(
    session: Session,
    ticket_id: UUID,
    new_status: TicketStatusCode,
    *,
    actor: str,
    comment: str | None = None,
    resolution_notes: str | None = None,
    escalation_reason: str | None = None,
    expected_status: TicketStatusCode | None = None,
    force: bool = False,
    with_conversation: bool = False,
    measure: bool = False,
) -> Ticket:
    """Move a ticket to ``new_status``; the database records who did it and why. One statement.

    Holds the ticket's row lock until the caller's transaction ends, so two callers cannot both leave from the
    same status. Asking for the present status is no change; a comment is then kept as a remark in the record,
    and notes are kept either way. ``force`` repairs a ticket against the state machine, and the record shows
    it. With ``with_conversation`` the ticket's conversation is escalated with it, and active again when the
    ticket is taken back; its row is locked first. With ``measure`` an escalation is counted.

    Raises:
        TicketNotFound: there is no such ticket.
        StaleStatus: the ticket is not in ``expected_status``.
        IllegalTransition: ``new_status`` cannot be reached from the present status.
        InvalidValue: a field breaks a rule, or an escalation has no reason and never had one.
    """
    ticket_id = checked_uuid("ticket_id", ticket_id)
    change = {
        "ticket_id": ticket_id,
        "new_status": checked_code("new_status", new_status, TicketStatus),
        "expected_status": None
        if expected_status is None
        else checked_code("expected_status", expected_status, TicketStatus),
        "notes": checked_optional_text("resolution_notes", resolution_notes),
        "reason": checked_optional_text("escalation_reason", escalation_reason, max_length=255),
        **acting(actor, comment, Mode.FORCE if checked_flag("force", force) else Mode.PLAIN),
    }
    measure = checked_flag("measure", measure)
    if checked_flag("with_conversation", with_conversation):
        # Before the ticket, as an inbound message does: in the other order the two could block each other.
        session.execute(_LOCK_CONVERSATION, {"ticket_id": ticket_id})
    while (ticket := find(session, _CHANGE, change)) is None:
        ticket = locked(session, ticket_id)
        if (refusal := _refusal(ticket, change)) is not None:
            raise refusal
        if _status_of(ticket) == change["new_status"]:
            ticket, measure = _kept(session, ticket, change), False
            break
        # Somebody has changed it in between; now nobody can.
    if with_conversation:
        _align_conversation(session, ticket)
    if measure and ticket.status is TicketStatus.ESCALATED:
        measuring.record(session, [(MetricType.ESCALATION, 1, ticket.source_channel, {})])
    return ticket


def _status_of(ticket: Ticket) -> TicketStatus:
    return ticket.status or TicketStatus.OPEN


def _refusal(ticket: Ticket, change: Mapping[str, Any]) -> CRMError | None:
    """Why the locked ticket cannot make the change; None where it can, or need not."""
    status, expected, new = _status_of(ticket), change["expected_status"], change["new_status"]
    if expected not in {None, status}:
        return StaleStatus(ticket.id, expected, status)
    if new == status:
        return None
    legal = TRANSITIONS.get(status, frozenset())
    if new not in legal and change["mode"] != Mode.FORCE:
        return IllegalTransition(status, new, sorted(legal))
    if new is TicketStatus.ESCALATED and not (change["reason"] or ticket.escalation_reason):
        return InvalidValue("escalation_reason", "must say why the ticket is escalated")
    return None


def _kept(session: Session, ticket: Ticket, change: Mapping[str, Any]) -> Ticket:
    """What was said about a status that stays."""
    if not (change["notes"] or change["reason"] or change["comment"]):
        return ticket
    mode = Mode.REMARK if change["comment"] else Mode.PLAIN
    return find(session, _KEEP, {**change, "mode": mode.value}) or ticket


def _align_conversation(session: Session, ticket: Ticket) -> None:
    """Escalated like its ticket, and no longer escalated when none of its tickets is."""
    alignment: dict[str, Any] = {"conversation": ticket.conversation_id}
    if ticket.status is TicketStatus.ESCALATED:
        statement, alignment["reason"] = _ESCALATE_CONVERSATION, ticket.escalation_reason
    else:
        statement = _TAKE_CONVERSATION_BACK
    session.scalars(statement, alignment).all()
