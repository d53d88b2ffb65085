"""Which tickets follow which, by the numbers that people use."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from ...models import Ticket, TicketLink
from .._shared.checks import checked_uuid, checked_uuids

_BEFORE = (
    select(Ticket.ticket_number)
    .join(TicketLink, TicketLink.follows_ticket_id == Ticket.id)
    .where(TicketLink.ticket_id == bindparam("ticket_id"))
    .order_by(Ticket.created_at, Ticket.id)
)
_AFTER = (
    select(Ticket.ticket_number)
    .join(TicketLink, TicketLink.ticket_id == Ticket.id)
    .where(TicketLink.follows_ticket_id == bindparam("ticket_id"))
    .order_by(Ticket.created_at, Ticket.id)
)
_NUMBERS = select(Ticket.id, Ticket.ticket_number).where(Ticket.id.in_(bindparam("ids", expanding=True)))


class LinkedTickets(NamedTuple):
    """The numbers of the tickets before and after one."""

    follows: tuple[str, ...]
    followed_by: tuple[str, ...]


def linked_tickets(session: Session, ticket_id: UUID) -> LinkedTickets:
    """The tickets that a ticket follows, and those that follow it.

    Raises:
        InvalidValue: the id is ill-formed.
    """
    ticket_id = checked_uuid("ticket_id", ticket_id)
    before, after = (tuple(session.scalars(one, {"ticket_id": ticket_id})) for one in (_BEFORE, _AFTER))
    return LinkedTickets(before, after)


def ticket_numbers(session: Session, ticket_ids: Collection[UUID]) -> dict[UUID, str]:
    """The numbers of tickets by their ids; ids of no ticket are left out.

    Raises:
        InvalidValue: not a list of ids, or of too many.
    """
    ids = checked_uuids("ticket_ids", ticket_ids)
    return {row.id: row.ticket_number for row in session.execute(_NUMBERS, {"ids": ids})}
