"""One ticket's row, read or changed, as the session's object."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import Executable, Insert, Select, Update, Uuid, bindparam, select, update
from sqlalchemy.orm import Session

from ...errors import TicketNotFound
from ...models import Ticket
from ...models.base import table_of
from .._shared.acting import ACTING, Mode, acting

TICKETS = table_of(Ticket)
TICKET_ID = bindparam("ticket_id", type_=Uuid())


def as_ticket(statement: Insert | Update | Select[Any]) -> Executable:
    """The statement with the whole row as its result: what triggers made of it, on the session's object too.

    Built on the table and not on the class, it costs no more than its text would.
    """
    if not isinstance(statement, Select):
        statement = statement.returning(*TICKETS.c)
    return select(Ticket).from_statement(statement).execution_options(populate_existing=True)


_LOCK = as_ticket(select(*TICKETS.c).where(TICKETS.c.id == TICKET_ID).with_for_update(key_share=True))
_REMARK = as_ticket(update(TICKETS).where(TICKETS.c.id == TICKET_ID, ACTING).values(status=TICKETS.c.status))


def find(session: Session, statement: Executable, parameters: Mapping[str, Any]) -> Ticket | None:
    """The ticket of a statement. What is pending on a loaded object is sent first."""
    session.flush()
    ticket: Ticket | None = session.scalars(statement, parameters).one_or_none()
    return ticket


def locked(session: Session, ticket_id: UUID) -> Ticket:
    """The ticket as it is, locked until the transaction ends.

    Raises:
        TicketNotFound: there is no such ticket.
    """
    ticket = find(session, _LOCK, {"ticket_id": ticket_id})
    if ticket is None:
        raise TicketNotFound(ticket_id)
    return ticket


def remarked(session: Session, ticket: Ticket, actor: str, comment: str | None) -> Ticket:
    """Keep the comment of a call that changes nothing, as an entry of the ticket's record."""
    if comment is None:
        return ticket
    remark = {"ticket_id": ticket.id} | acting(actor, comment, Mode.REMARK)
    return find(session, _REMARK, remark) or ticket
