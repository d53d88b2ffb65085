"""Tickets: every change has an actor, a legal transition and a record. The database sees to it."""

from __future__ import annotations

import re
from typing import Any
from uuid import UUID

from sqlalchemy import Update, insert, literal, select, update
from sqlalchemy.orm import Session

from ..errors import ConversationNotFound, CustomerNotFound, IllegalTransition, StaleStatus, TicketNotFound
from ..models import (
    TRANSITIONS,
    Channel,
    Conversation,
    Customer,
    Ticket,
    TicketCategory,
    TicketPriority,
    TicketStatus,
    TicketStatusChange,
)
from ._acting import acting_as
from ._input import checked_actor, checked_code, checked_optional_text, checked_text, checked_uuid
from ._living import living

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
        acting_as(actor)
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
) -> Ticket:
    """Move a ticket to ``new_status``; the database records who did it and why.

    Holds the ticket's row lock until the caller's transaction ends, so two callers cannot both leave from the
    same status. Asking for the present status is no change and leaves no record; notes passed along are kept
    either way. ``force`` repairs a ticket against the state machine, and the record shows it.

    Raises:
        TicketNotFound: there is no such ticket.
        StaleStatus: the ticket is not in ``expected_status``.
        IllegalTransition: ``new_status`` cannot be reached from the present status.
        InvalidValue: a field breaks a rule.
    """
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

    ticket = _locked(session, ticket_id)
    status = ticket.status or TicketStatus.OPEN
    if expected_status not in (None, status):
        raise StaleStatus(ticket.id, expected_status, status)
    if new_status is not status:
        if not force and new_status not in TRANSITIONS[status]:
            raise IllegalTransition(status, new_status, sorted(TRANSITIONS[status]))
        changes["status"] = new_status
    if not changes:
        return ticket
    statement = update(Ticket).where(Ticket.id == ticket.id).values(changes)
    if "status" in changes:
        statement = statement.where(acting_as(actor, comment=comment, force=force))
    return _returned(session, statement)


def assign(
    session: Session, ticket_id: UUID, assignee: str | None, *, actor: str, comment: str | None = None
) -> Ticket:
    """Give the ticket to ``assignee`` (``human:7``, ``ai:support-agent``), or with None to nobody.

    Holds the ticket's row lock until the caller's transaction ends.

    Raises:
        TicketNotFound: there is no such ticket.
        InvalidValue: the assignee, the actor or the comment is ill-formed.
    """
    checked_actor(actor)
    checked_optional_text("comment", comment)
    if assignee is not None:
        assignee = checked_actor(assignee, field="assignee")
    ticket = _locked(session, ticket_id)
    if ticket.assigned_to == assignee:
        return ticket
    return _returned(session, update(Ticket).where(Ticket.id == ticket.id).values(assigned_to=assignee))


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
    statement = select(Ticket).where(condition)
    ticket = session.scalars(statement, execution_options={"populate_existing": True}).one_or_none()
    if ticket is None:
        raise TicketNotFound(id_or_number)
    return ticket


def status_history(session: Session, ticket_id: UUID) -> list[TicketStatusChange]:
    """The ticket's record, oldest entry first; the first one is its creation.

    Raises:
        TicketNotFound: there is no such ticket.
    """
    ticket_id = checked_uuid("ticket_id", ticket_id)
    # Every ticket has its first entry, so no entry means no ticket.
    history = session.scalars(
        select(TicketStatusChange)
        .where(TicketStatusChange.ticket_id == ticket_id)
        .order_by(TicketStatusChange.seq)
    ).all()
    if not history:
        raise TicketNotFound(ticket_id)
    return list(history)


def _locked(session: Session, ticket_id: UUID) -> Ticket:
    """The ticket as it is now, locked: an object loaded earlier is refreshed."""
    statement = select(Ticket).where(Ticket.id == checked_uuid("ticket_id", ticket_id)).with_for_update()
    ticket = session.scalars(statement, execution_options={"populate_existing": True}).one_or_none()
    if ticket is None:
        raise TicketNotFound(ticket_id)
    return ticket


def _returned(session: Session, statement: Update) -> Ticket:
    """Run the update and read back what the triggers made of it."""
    return session.scalars(
        statement.returning(Ticket),
        execution_options={"populate_existing": True, "synchronize_session": False},
    ).one()
