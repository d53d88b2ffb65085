"""Changes of a ticket's assignee, priority and category, and how every change of a ticket is made."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import Update, select, update
from sqlalchemy.orm import Session

from ..errors import TicketNotFound
from ..models import Ticket, TicketCategory, TicketField, TicketPriority
from ._acting import acting_as
from ._input import checked_actor, checked_code, checked_optional_text, checked_uuid


def assign(
    session: Session, ticket_id: UUID, assignee: str | None, *, actor: str, comment: str | None = None
) -> Ticket:
    """Give the ticket to ``assignee`` (``human:7``, ``ai:support-agent``), or with None to nobody.

    Recorded, like the next two. Holds the ticket's row lock until the caller's transaction ends.

    Raises:
        TicketNotFound: there is no such ticket.
        InvalidValue: the assignee, the actor or the comment is ill-formed.
    """
    if assignee is not None:
        assignee = checked_actor(assignee, field="assignee")
    return _change(session, ticket_id, TicketField.ASSIGNED_TO, assignee, actor=actor, comment=comment)


def change_priority(
    session: Session, ticket_id: UUID, priority: TicketPriority, *, actor: str, comment: str | None = None
) -> Ticket:
    """Give the ticket another priority.

    Raises:
        TicketNotFound: there is no such ticket.
        InvalidValue: the priority, the actor or the comment is ill-formed.
    """
    priority = checked_code("priority", priority, TicketPriority)
    return _change(session, ticket_id, TicketField.PRIORITY, priority, actor=actor, comment=comment)


def change_category(
    session: Session, ticket_id: UUID, category: TicketCategory, *, actor: str, comment: str | None = None
) -> Ticket:
    """Move the ticket to another category.

    Raises:
        TicketNotFound: there is no such ticket.
        InvalidValue: the category, the actor or the comment is ill-formed.
    """
    category = checked_code("category", category, TicketCategory)
    return _change(session, ticket_id, TicketField.CATEGORY, category, actor=actor, comment=comment)


def locked(session: Session, ticket_id: UUID) -> Ticket:
    """The ticket as it is, locked. An object loaded before is refreshed; what is pending on it stays."""
    session.flush()
    statement = select(Ticket).where(Ticket.id == ticket_id).with_for_update(key_share=True)
    ticket = session.scalars(statement, execution_options={"populate_existing": True}).one_or_none()
    if ticket is None:
        raise TicketNotFound(ticket_id)
    return ticket


def returned(session: Session, statement: Update) -> Ticket:
    """Run the update and read back what the triggers made of it."""
    return session.scalars(
        statement.returning(Ticket),
        execution_options={"populate_existing": True, "synchronize_session": False},
    ).one()


def _change(
    session: Session,
    ticket_id: UUID,
    field: TicketField,
    value: str | None,
    *,
    actor: str,
    comment: str | None,
) -> Ticket:
    acting = acting_as(checked_actor(actor), comment=checked_optional_text("comment", comment))
    ticket = locked(session, checked_uuid("ticket_id", ticket_id))
    if getattr(ticket, field) == value:
        return ticket
    change = update(Ticket).where(Ticket.id == ticket.id, acting).values({field.value: value})
    return returned(session, change)
