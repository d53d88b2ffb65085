"""Finished tickets are taken up again, or get a follow-up where that was long ago."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from sqlalchemy import Interval, bindparam, func, insert, select, update
from sqlalchemy.orm import Session

from ...errors import InvalidValue
from ...models import FINISHED, Ticket, TicketLink, TicketPriority, TicketStatus, TicketStatusChange
from ...models.base import table_of
from .._shared.acting import ACTING, acting
from .._shared.checks import checked_actor, checked_optional_text, checked_uuid
from .opening import open_ticket
from .rows import TICKET_ID, TICKETS, as_ticket, find, locked, remarked

REOPEN_GRACE = timedelta(days=14)
"""How long after its closing a ticket can be reopened; later it gets a follow-up."""

_REOPEN = as_ticket(update(TICKETS).where(TICKETS.c.id == TICKET_ID, ACTING).values(status=TicketStatus.OPEN))
_IS_PAST_GRACE = (
    select(func.clock_timestamp() - TicketStatusChange.changed_at > bindparam("grace", type_=Interval()))
    .where(
        TicketStatusChange.ticket_id == TICKET_ID,
        TicketStatusChange.new_status == TicketStatus.CLOSED,
        # A remark on a closed ticket does not close it again.
        TicketStatusChange.old_status.is_distinct_from(TicketStatus.CLOSED),
    )
    .order_by(TicketStatusChange.seq.desc())
    .limit(1)
)
_LATEST_FOLLOW_UP = (
    select(TicketLink.ticket_id)
    .where(TicketLink.follows_ticket_id == TICKET_ID)
    .order_by(TicketLink.created_at.desc(), TicketLink.ticket_id.desc())
    .limit(1)
)
_LINK = insert(table_of(TicketLink))


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
    stay as they are. A ticket that is not finished is returned as it is, and the comment is kept as a remark.
    Holds the row lock of each ticket it looks at until the caller's transaction ends, so two callers cannot
    open two follow-ups.

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
            return remarked(session, ticket, actor, comment)
        if ticket.status is TicketStatus.RESOLVED or not _is_past(session, ticket_id, grace):
            return find(session, _REOPEN, {"ticket_id": ticket_id} | acting(actor, comment)) or ticket
        follow_up_id = session.scalar(_LATEST_FOLLOW_UP, {"ticket_id": ticket_id})
        if follow_up_id is None:
            return _open_follow_up(session, ticket, actor, comment)
        ticket_id = follow_up_id


def _is_past(session: Session, ticket_id: UUID, grace: timedelta) -> bool:
    return bool(session.scalar(_IS_PAST_GRACE, {"ticket_id": ticket_id, "grace": grace}))


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
    link = {"ticket_id": follow_up.id, "follows_ticket_id": ticket.id, "created_by": actor}
    session.execute(_LINK, link)
    return follow_up
