"""What happened to a ticket."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from ...errors import TicketNotFound
from ...models import Ticket, TicketFieldChange, TicketStatusChange
from .._shared.checks import checked_uuid
from .rows import TICKET_ID

_STATUS_HISTORY = (
    select(TicketStatusChange)
    .where(TicketStatusChange.ticket_id == TICKET_ID)
    .order_by(TicketStatusChange.seq)
)
_FIELD_HISTORY = (
    select(TicketFieldChange).where(TicketFieldChange.ticket_id == TICKET_ID).order_by(TicketFieldChange.seq)
)
_TICKET = select(Ticket.id).where(Ticket.id == TICKET_ID)


def status_history(session: Session, ticket_id: UUID) -> list[TicketStatusChange]:
    """The ticket's record, oldest entry first; the first one is its creation.

    An entry whose old and new status are the same is a remark: a comment, and no change.

    Raises:
        TicketNotFound: there is no such ticket.
    """
    ticket_id = checked_uuid("ticket_id", ticket_id)
    # Every ticket has its first entry, so no entry means no ticket.
    history = session.scalars(_STATUS_HISTORY, {"ticket_id": ticket_id}).all()
    if not history:
        raise TicketNotFound(ticket_id)
    return list(history)


def field_history(session: Session, ticket_id: UUID) -> list[TicketFieldChange]:
    """Changes of the ticket's assignee, priority, category and metadata, oldest first.

    One statement; a second one only to tell an unknown ticket from an unchanged one.

    Raises:
        TicketNotFound: there is no such ticket.
    """
    ticket_id = checked_uuid("ticket_id", ticket_id)
    history = session.scalars(_FIELD_HISTORY, {"ticket_id": ticket_id}).all()
    if not history:
        assert_ticket(session, ticket_id)
    return list(history)


def assert_ticket(session: Session, ticket_id: UUID) -> None:
    """Raise ``TicketNotFound`` where there is no such ticket."""
    if session.scalar(_TICKET, {"ticket_id": ticket_id}) is None:
        raise TicketNotFound(ticket_id)
