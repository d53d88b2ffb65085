"""Tickets: every change has an actor, a legal transition and a record. The database sees to it."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import func, insert, literal, select, update
from sqlalchemy.orm import Session

from ..errors import (
    ConversationNotFound,
    CustomerNotFound,
    IllegalTransition,
    InvalidValue,
    StaleStatus,
    TicketNotFound,
)
from ..models import (
    FINISHED,
    TRANSITIONS,
    Channel,
    Conversation,
    ConversationStatus,
    Customer,
    Ticket,
    TicketCategory,
    TicketLink,
    TicketPriority,
    TicketStatus,
    TicketStatusChange,
)
from ._acting import acting_as
from ._input import (
    checked_actor,
    checked_code,
    checked_limit,
    checked_optional_text,
    checked_text,
    checked_uuid,
)
from ._living import living
from ._ticket_facts import lifecycle
from ._ticket_fields import assign, change_category, change_priority, locked, returned
from ._ticket_lists import due_for_closing, is_due, list_tickets, regressions
from ._ticket_record import field_history, status_history, verify_history

__all__ = [
    "REOPEN_GRACE",
    "assign",
    "change_category",
    "change_priority",
    "change_status",
    "close_stale",
    "due_for_closing",
    "field_history",
    "get_ticket",
    "lifecycle",
    "list_tickets",
    "open_ticket",
    "regressions",
    "reopen",
    "status_history",
    "verify_history",
]

REOPEN_GRACE = timedelta(days=14)
"""How long after its closing a ticket can be reopened; later it gets a follow-up."""

_NUMBER = re.compile(r"\s*(?:tkt)?[-\s#]*0*([0-9]{1,15})\s*", re.IGNORECASE | re.ASCII)


def open_ticket(
    session: Session,
    *,
    customer_id: UUID,
    subject: str,
    category: TicketCategory,
    source_channel: Channel,
    actor: str,
    priority: TicketPriority = TicketPriority.MEDIUM,
    conversation_id: UUID | None = None,
    comment: str | None = None,
) -> Ticket:
    """Open a ticket; the database numbers it and records who opened it. An absorbed customer's id works too.

    Locks the customer's row against deletion (FOR KEY SHARE) until the caller's transaction ends.

    Raises:
        CustomerNotFound: there is no such customer.
        ConversationNotFound: the customer has no such conversation.
        InvalidValue: a field breaks a rule.
    """
    customer_id = checked_uuid("customer_id", customer_id)
    values: dict[str, Any] = {
        "conversation_id": None
        if conversation_id is None
        else checked_uuid("conversation_id", conversation_id),
        "subject": checked_text("subject", subject, max_length=500),
        "category": checked_code("category", category, TicketCategory),
        "source_channel": checked_code("source_channel", source_channel, Channel),
        "priority": checked_code("priority", priority, TicketPriority),
    }
    actor = checked_actor(actor)
    comment = checked_optional_text("comment", comment)
    has_conversation = (
        select(Conversation.id)
        .where(Conversation.id == values["conversation_id"], Conversation.customer_id == Customer.id)
        .exists()
    )
    customer = session.execute(
        select(Customer.id, has_conversation.label("has_conversation"))
        .where(Customer.id == living(customer_id))
        .with_for_update(read=True, key_share=True)
    ).one_or_none()
    if customer is None:
        raise CustomerNotFound(customer_id)
    if conversation_id is not None and not customer.has_conversation:
        raise ConversationNotFound(conversation_id)
    values["customer_id"] = customer.id
    columns = Ticket.__table__.c
    row = select(*(literal(value, columns[name].type) for name, value in values.items())).where(
        acting_as(actor, comment=comment)
    )
    return session.scalars(insert(Ticket).from_select([*values], row).returning(Ticket)).one()


def change_status(
    session: Session,
    ticket_id: UUID,
    new_status: TicketStatus,
    *,
    actor: str,
    comment: str | None = None,
    resolution_notes: str | None = None,
    escalation_reason: str | None = None,
    expected_status: TicketStatus | None = None,
    force: bool = False,
    with_conversation: bool = False,
) -> Ticket:
    """Move a ticket to ``new_status``; the database records who did it and why.

    Holds the ticket's row lock until the caller's transaction ends, so two callers cannot both leave from the
    same status. Asking for the present status is no change and leaves no record; notes passed along are kept
    either way. ``force`` repairs a ticket against the state machine, and the record shows it. With
    ``with_conversation`` the ticket's conversation is escalated with it, and active again when the ticket is
    taken back; its row is locked first.

    Raises:
        TicketNotFound: there is no such ticket.
        StaleStatus: the ticket is not in ``expected_status``.
        IllegalTransition: ``new_status`` cannot be reached from the present status.
        InvalidValue: a field breaks a rule, or an escalation has no reason and never had one.
    """
    ticket_id = checked_uuid("ticket_id", ticket_id)
    actor = checked_actor(actor)
    new_status = checked_code("new_status", new_status, TicketStatus)
    comment = checked_optional_text("comment", comment)
    notes = {
        "resolution_notes": checked_optional_text("resolution_notes", resolution_notes),
        "escalation_reason": checked_optional_text("escalation_reason", escalation_reason, max_length=255),
    }
    changes: dict[str, Any] = {name: note for name, note in notes.items() if note is not None}
    if expected_status is not None:
        expected_status = checked_code("expected_status", expected_status, TicketStatus)

    if with_conversation:
        _lock_conversation(session, ticket_id)
    ticket = locked(session, ticket_id)
    status = ticket.status or TicketStatus.OPEN
    if expected_status not in (None, status):
        raise StaleStatus(ticket.id, expected_status, status)
    if new_status is not status:
        if not force and new_status not in TRANSITIONS[status]:
            raise IllegalTransition(status, new_status, sorted(TRANSITIONS[status]))
        if new_status is TicketStatus.ESCALATED and not (escalation_reason or ticket.escalation_reason):
            raise InvalidValue("escalation_reason", "must say why the ticket is escalated")
        changes["status"] = new_status
    if changes:
        statement = update(Ticket).where(Ticket.id == ticket.id).values(changes)
        if "status" in changes:
            statement = statement.where(acting_as(actor, comment=comment, force=force))
        ticket = returned(session, statement)
    if with_conversation:
        _align_conversation(session, ticket)
    return ticket


def reopen(
    session: Session,
    ticket_id: UUID,
    *,
    actor: str,
    comment: str | None = None,
    grace: timedelta = REOPEN_GRACE,
) -> Ticket:
    """Take up a finished ticket again. The ticket to work on is returned, and may be another one.

    A resolved ticket, or one that was closed no longer than ``grace`` ago, is opened again. Later its latest
    follow-up is what counts, and it gets one if it has none: the figures of a ticket that was done months ago
    stay as they are. A ticket that is not finished is returned as it is. Holds the row lock of each ticket it
    looks at until the caller's transaction ends, so two callers cannot open two follow-ups.

    Raises:
        TicketNotFound: there is no such ticket.
        InvalidValue: the actor, the comment or the grace is ill-formed.
    """
    ticket_id = checked_uuid("ticket_id", ticket_id)
    actor = checked_actor(actor)
    comment = checked_optional_text("comment", comment)
    if not isinstance(grace, timedelta) or grace < timedelta(0):
        raise InvalidValue("grace", "must be a timedelta that is not negative")
    while True:
        ticket = locked(session, ticket_id)
        if ticket.status not in FINISHED:
            return ticket
        if ticket.status is TicketStatus.RESOLVED or not _closed_longer_than(session, ticket.id, grace):
            opened = update(Ticket).where(Ticket.id == ticket.id).values(status=TicketStatus.OPEN)
            return returned(session, opened.where(acting_as(actor, comment=comment)))
        follow_up_id = session.scalar(
            select(TicketLink.ticket_id)
            .where(TicketLink.follows_ticket_id == ticket.id)
            .order_by(TicketLink.created_at.desc(), TicketLink.ticket_id.desc())
            .limit(1)
        )
        if follow_up_id is None:
            return _open_follow_up(session, ticket, actor, comment)
        ticket_id = follow_up_id


def close_stale(session: Session, *, resolved_before: datetime, actor: str, limit: int = 500) -> list[UUID]:
    """Close up to ``limit`` tickets that were resolved before that time; their ids, oldest resolution first.

    One statement and one batch. Tickets that somebody holds are left for the next one, so several workers can
    run at once: each commits after each batch, until one comes back empty.

    Raises:
        InvalidValue: a time without a zone, an ill-formed actor, or a bad limit.
    """
    due = (
        select(Ticket.id)
        .where(is_due(resolved_before))
        .order_by(Ticket.resolved_at, Ticket.id)
        .limit(checked_limit(limit))
        .with_for_update(skip_locked=True, key_share=True)
        .cte("due")
    )
    closed = session.execute(
        update(Ticket)
        .where(Ticket.id == due.c.id, acting_as(checked_actor(actor)))
        .values(status=TicketStatus.CLOSED)
        .returning(Ticket.id, Ticket.resolved_at),
        execution_options={"synchronize_session": "fetch"},
    ).all()
    return [row.id for row in sorted(closed, key=lambda row: (row.resolved_at, row.id))]


def get_ticket(session: Session, id_or_number: UUID | str) -> Ticket:
    """The ticket with this id or this number, in any spelling: ``tkt-42`` is TKT-0042.

    Raises:
        TicketNotFound: there is no such ticket.
        InvalidValue: neither an id nor a number.
    """
    if isinstance(id_or_number, UUID):
        condition = Ticket.id == id_or_number
    else:
        text = checked_text("ticket", id_or_number, max_length=50)
        number = _NUMBER.fullmatch(text)
        if number:
            condition = Ticket.ticket_number == f"TKT-{number[1]:0>4}"
        else:
            condition = Ticket.id == checked_uuid("ticket", text.strip())
    session.flush()
    statement = select(Ticket).where(condition)
    ticket = session.scalars(statement, execution_options={"populate_existing": True}).one_or_none()
    if ticket is None:
        raise TicketNotFound(id_or_number)
    return ticket


def _closed_longer_than(session: Session, ticket_id: UUID, grace: timedelta) -> bool:
    closing = (
        select(func.clock_timestamp() - TicketStatusChange.changed_at > grace)
        .where(
            TicketStatusChange.ticket_id == ticket_id, TicketStatusChange.new_status == TicketStatus.CLOSED
        )
        .order_by(TicketStatusChange.seq.desc())
        .limit(1)
    )
    return bool(session.scalar(closing))


def _open_follow_up(session: Session, ticket: Ticket, actor: str, comment: str | None) -> Ticket:
    follow_up = open_ticket(
        session,
        customer_id=ticket.customer_id,
        conversation_id=ticket.conversation_id,
        subject=ticket.subject,
        category=ticket.category,
        priority=ticket.priority or TicketPriority.MEDIUM,
        source_channel=ticket.source_channel,
        actor=actor,
        comment=comment,
    )
    session.execute(
        insert(TicketLink).values(ticket_id=follow_up.id, follows_ticket_id=ticket.id, created_by=actor)
    )
    return follow_up


def _lock_conversation(session: Session, ticket_id: UUID) -> None:
    """Before the ticket, as an inbound message does: in the other order the two could block each other."""
    of_ticket = select(Ticket.conversation_id).where(Ticket.id == ticket_id).scalar_subquery()
    session.execute(
        select(Conversation.id).where(Conversation.id == of_ticket).with_for_update(key_share=True)
    )


def _align_conversation(session: Session, ticket: Ticket) -> None:
    """Escalated like its ticket, and no longer escalated when none of its tickets is."""
    of_ticket = update(Conversation).where(Conversation.id == ticket.conversation_id)
    escalated = Conversation.status == ConversationStatus.ESCALATED
    if ticket.status is TicketStatus.ESCALATED:
        statement = of_ticket.values(
            status=ConversationStatus.ESCALATED, escalation_reason=ticket.escalation_reason
        )
    else:
        others = select(Ticket.id).where(
            Ticket.conversation_id == Conversation.id, Ticket.status == TicketStatus.ESCALATED
        )
        statement = of_ticket.where(escalated, ~others.exists()).values(status=ConversationStatus.ACTIVE)
    session.execute(
        statement.returning(Conversation),
        execution_options={"populate_existing": True, "synchronize_session": False},
    ).all()
