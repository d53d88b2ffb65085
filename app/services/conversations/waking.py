"""Who is woken by a customer's message: every ticket that waits for it, else the one that was resolved."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy.orm import Session
from sqlalchemy.orm.util import identity_key

from ...models import Conversation, ConversationStatus, Ticket, TicketStatus
from ...schemas import Assurance, ConversationTicket, Resolution
from .. import tickets


def as_tickets(rows: Sequence[Sequence[str]]) -> tuple[ConversationTicket, ...]:
    """The conversation's tickets as ``store_inbound_message`` tells them: ids and statuses, oldest first."""
    return tuple(
        ConversationTicket(id=UUID(id_), status=TicketStatus.OPEN if status is None else _status(status))
        for id_, status in rows
    )


def wake(
    session: Session, present: Sequence[ConversationTicket], resolution: Resolution, customer_id: UUID
) -> tuple[ConversationTicket, ...]:
    """Take up again the tickets that the message is for; they are locked. Returns all as they are then.

    The record names the customer only where the channel proved who wrote.
    """
    woken = _to_wake(present)
    if not woken:
        return tuple(present)
    proven = resolution.assurance is Assurance.VERIFIED
    for ticket in woken:
        tickets.change_status(
            session,
            ticket.id,
            TicketStatus.OPEN,
            actor=f"customer:{customer_id}" if proven else "system:ingest",
            comment="the customer wrote again" if proven else "a message that claims to be the customer's",
        )
    return tuple(
        ConversationTicket(id=ticket.id, status=TicketStatus.OPEN, woken=True) if ticket in woken else ticket
        for ticket in present
    )


def to_go_on_with(present: Sequence[ConversationTicket]) -> ConversationTicket | None:
    """The latest that was woken, else the latest."""
    return next((ticket for ticket in reversed(present) if ticket.woken), present[-1] if present else None)


def refresh(session: Session, conversation_id: UUID, present: Sequence[ConversationTicket]) -> None:
    """Read again what the session has loaded and the database has changed meanwhile; seldom anything."""
    conversation = session.identity_map.get(identity_key(Conversation, conversation_id))
    if isinstance(conversation, Conversation) and conversation.status is ConversationStatus.CLOSED:
        session.refresh(conversation)
    for ticket in present:
        loaded = session.identity_map.get(identity_key(Ticket, ticket.id))
        if isinstance(loaded, Ticket) and loaded.status != ticket.status:
            session.refresh(loaded)


def was_reopened(before: Sequence[ConversationTicket], ticket: ConversationTicket) -> bool:
    return ticket.woken and any(t.id == ticket.id and t.status == TicketStatus.RESOLVED for t in before)


def _to_wake(present: Sequence[ConversationTicket]) -> list[ConversationTicket]:
    """All that wait for the customer; if none does, the latest that is not closed, if that is resolved."""
    if waiting := [ticket for ticket in present if ticket.status == TicketStatus.WAITING]:
        return waiting
    latest = next((t for t in reversed(present) if t.status != TicketStatus.CLOSED), None)
    return [latest] if latest is not None and latest.status == TicketStatus.RESOLVED else []


def _status(code: str) -> TicketStatus | str:
    try:
        return TicketStatus(code)
    except ValueError:
        return code
