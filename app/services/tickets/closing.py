"""What was resolved and heard of no more is closed, the longest resolved first."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import DateTime, Integer, and_, any_, bindparam, func, literal_column, select, update
from sqlalchemy.orm import Session

from ...models import Ticket, TicketStatus
from ...schemas import TicketSummary
from .._shared.acting import ACTING, acting
from .._shared.checks import checked_limit, checked_time
from .._shared.lists import read
from .lists import SUMMARY
from .rows import TICKETS, as_ticket

_IS_DUE = and_(
    # No parameter: a plan that serves all values cannot use the index of the resolved ones.
    TICKETS.c.status == literal_column(f"'{TicketStatus.RESOLVED}'"),
    TICKETS.c.resolved_at < bindparam("resolved_before", type_=DateTime(timezone=True)),
)
_LONGEST_RESOLVED = TICKETS.c.resolved_at, TICKETS.c.id
_LIMIT = bindparam("max_rows", type_=Integer())
_DUE = select(*SUMMARY).where(_IS_DUE).order_by(*_LONGEST_RESOLVED).limit(_LIMIT)
_BATCH = (
    select(TICKETS.c.id)
    .where(_IS_DUE)
    .order_by(*_LONGEST_RESOLVED)
    .limit(_LIMIT)
    .with_for_update(skip_locked=True, key_share=True)
    .cte("due")
)
# By an array of ids: the planner knows nothing of a parameter's limit, and would read all tickets for a join.
_IS_IN_BATCH = TICKETS.c.id == any_(func.array(select(_BATCH.c.id).scalar_subquery()))
_CLOSE = as_ticket(update(TICKETS).where(_IS_IN_BATCH, ACTING).values(status=TicketStatus.CLOSED))


def due_for_closing(session: Session, *, resolved_before: datetime, limit: int = 100) -> list[TicketSummary]:
    """Tickets that were resolved before that time and are not closed yet, the longest resolved first.

    One statement, which reads no more than it returns.

    Raises:
        InvalidValue: a time without a zone, or a bad limit.
    """
    due = {
        "resolved_before": checked_time("resolved_before", resolved_before),
        "max_rows": checked_limit(limit),
    }
    return [TicketSummary.model_validate(values) for values in read(session, _DUE, due)]


def close_stale(session: Session, *, resolved_before: datetime, actor: str, limit: int = 500) -> list[UUID]:
    """Close up to ``limit`` tickets that were resolved before that time; their ids, oldest resolution first.

    One statement and one batch. Tickets that somebody holds are left for the next one, so several workers can
    run at once: each commits after each batch, until one comes back empty.

    Raises:
        InvalidValue: a time without a zone, an ill-formed actor, or a bad limit.
    """
    batch = {
        "resolved_before": checked_time("resolved_before", resolved_before),
        "max_rows": checked_limit(limit),
        **acting(actor),
    }
    session.flush()
    closed: Sequence[Ticket] = session.scalars(_CLOSE, batch).all()
    return [ticket.id for ticket in sorted(closed, key=lambda ticket: (ticket.resolved_at, ticket.id))]
