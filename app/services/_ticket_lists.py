"""Finding tickets: lists, what is due, and what came back."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Select,
    Uuid,
    and_,
    cast,
    func,
    literal,
    null,
    select,
    true,
    tuple_,
    union_all,
)
from sqlalchemy.orm import Session, aliased

from ..errors import InvalidValue
from ..models import (
    FINISHED,
    Channel,
    Ticket,
    TicketCategory,
    TicketLink,
    TicketPriority,
    TicketStatus,
    TicketStatusChange,
)
from ..schemas import Cursor, Page, RegressionKind, TicketRegression, TicketSummary
from ._input import checked_code, checked_limit, checked_text, checked_time, checked_uuid
from ._living import living

E = TypeVar("E", bound=StrEnum)

MAX_DAYS = 36_500

_NONE = cast(null(), Uuid)
_STATUS = func.coalesce(Ticket.status, TicketStatus.OPEN)
_SUMMARY = (
    Ticket.id,
    Ticket.ticket_number,
    Ticket.customer_id,
    Ticket.conversation_id,
    Ticket.subject,
    _STATUS.label("status"),
    Ticket.priority,
    Ticket.category,
    Ticket.source_channel,
    Ticket.assigned_to,
    Ticket.created_at,
    Ticket.resolved_at,
)


def list_tickets(
    session: Session,
    *,
    status: TicketStatus | Collection[TicketStatus] | None = None,
    priority: TicketPriority | Collection[TicketPriority] | None = None,
    category: TicketCategory | Collection[TicketCategory] | None = None,
    channel: Channel | Collection[Channel] | None = None,
    assignee: str | None = None,
    unassigned: bool = False,
    customer_id: UUID | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int = 50,
    before: Cursor | None = None,
) -> Page[TicketSummary]:
    """Tickets that fit all filters, newest first, in pages of ``limit`` (1 to 1,000). One statement.

    A filter by a code takes one or several. ``since`` and ``until`` bound the time of creation, ``until``
    itself excluded. Pass a page's ``next`` as ``before`` to get the following one.

    Raises:
        InvalidValue: a filter, the limit or the cursor is ill-formed.
    """
    conditions: list[ColumnElement[bool]] = [
        *_among("status", _STATUS, status, TicketStatus),
        *_among("priority", Ticket.priority, priority, TicketPriority),
        *_among("category", Ticket.category, category, TicketCategory),
        *_among("channel", Ticket.source_channel, channel, Channel),
    ]
    if assignee is not None:
        conditions.append(Ticket.assigned_to == checked_text("assignee", assignee, max_length=255))
    if unassigned:
        conditions.append(Ticket.assigned_to.is_(None))
    if customer_id is not None:
        conditions.append(Ticket.customer_id == living(checked_uuid("customer_id", customer_id)))
    if since is not None:
        conditions.append(Ticket.created_at >= checked_time("since", since))
    if until is not None:
        conditions.append(Ticket.created_at < checked_time("until", until))
    if before is not None:
        conditions.append(tuple_(Ticket.created_at, Ticket.id) < tuple_(*_checked_cursor(before)))
    limit = checked_limit(limit)
    rows = session.execute(
        select(*_SUMMARY)
        .where(Ticket.created_at.is_not(None), *conditions)
        .order_by(Ticket.created_at.desc(), Ticket.id.desc())
        .limit(limit + 1)
    ).all()
    items = tuple(TicketSummary.model_validate(row) for row in rows[:limit])
    more = len(rows) > limit
    return Page[TicketSummary](items=items, next=Cursor(items[-1].created_at, items[-1].id) if more else None)


def due_for_closing(session: Session, *, resolved_before: datetime, limit: int = 100) -> list[TicketSummary]:
    """Tickets that were resolved before that time and are not closed yet, the longest resolved first.

    Raises:
        InvalidValue: a time without a zone, or a bad limit.
    """
    due = select(*_SUMMARY).where(is_due(resolved_before)).order_by(Ticket.resolved_at, Ticket.id)
    rows = session.execute(due.limit(checked_limit(limit)))
    return [TicketSummary.model_validate(row) for row in rows]


def is_due(resolved_before: datetime) -> ColumnElement[bool]:
    """The condition that a ticket is to be closed."""
    return and_(
        Ticket.status == TicketStatus.RESOLVED,
        Ticket.resolved_at < checked_time("resolved_before", resolved_before),
    )


def regressions(session: Session, *, days: int, limit: int = 100) -> list[TicketRegression]:
    """What an AI resolved and was reopened or followed up within ``days`` of it, the latest first.

    A ticket that came back several times is listed for each time. One statement.

    Raises:
        InvalidValue: ``days`` is not a whole number from 1 to 36,500, or a bad limit.
    """
    if not isinstance(days, int) or isinstance(days, bool) or not 1 <= days <= MAX_DAYS:
        raise InvalidValue("days", f"must be a whole number from 1 to {MAX_DAYS:,}")
    resolution, later = aliased(TicketStatusChange), aliased(TicketStatusChange)
    in_time = resolution.changed_at + timedelta(days=days)
    after = select(later).where(later.ticket_id == resolution.ticket_id, later.seq > resolution.seq)
    reopening = after.where(later.new_status.not_in(FINISHED)).order_by(later.seq).limit(1).lateral()
    reopened = (
        _came_back(RegressionKind.REOPENED, resolution, reopening.c.changed_at, reopening.c.changed_by, _NONE)
        .join(reopening, true())
        .where(reopening.c.changed_at <= in_time)
    )
    resolved_again = after.where(
        later.new_status == TicketStatus.RESOLVED, later.changed_at <= TicketLink.created_at
    )
    followed_up = (
        _came_back(
            RegressionKind.FOLLOWED_UP,
            resolution,
            TicketLink.created_at,
            TicketLink.created_by,
            TicketLink.ticket_id,
        )
        .join(TicketLink, TicketLink.follows_ticket_id == resolution.ticket_id)
        .where(TicketLink.created_at.between(resolution.changed_at, in_time), ~resolved_again.exists())
    )
    found = union_all(reopened, followed_up).subquery()
    latest = (
        select(found).order_by(found.c.came_back_at.desc(), found.c.ticket_id).limit(checked_limit(limit))
    )
    return [TicketRegression.model_validate(row) for row in session.execute(latest)]


def _came_back(
    kind: RegressionKind, resolution: type[TicketStatusChange], at: Any, by: Any, follow_up: Any
) -> Select[Any]:
    return (
        select(
            resolution.ticket_id,
            Ticket.ticket_number,
            resolution.changed_by.label("resolved_by"),
            resolution.changed_at.label("resolved_at"),
            literal(kind.value).label("kind"),
            at.label("came_back_at"),
            by.label("came_back_by"),
            follow_up.label("follow_up_id"),
        )
        .select_from(resolution)
        .join(Ticket, Ticket.id == resolution.ticket_id)
        .where(resolution.new_status == TicketStatus.RESOLVED, resolution.changed_by.startswith("ai:"))
    )


def _among(
    field: str, column: Any, wanted: E | Collection[E] | None, codes: type[E]
) -> tuple[ColumnElement[bool], ...]:
    """The filter for one code or several; none at all for None."""
    if wanted is None:
        return ()
    if isinstance(wanted, str):
        return (column == checked_code(field, wanted, codes),)
    if not isinstance(wanted, Collection) or isinstance(wanted, bytes):
        raise InvalidValue(field, f"must be one or several of {', '.join(codes)}")
    return (column.in_([checked_code(field, code, codes) for code in wanted]),)


def _checked_cursor(cursor: Cursor) -> Cursor:
    try:
        created_at, id_ = cursor
    except (TypeError, ValueError):
        raise InvalidValue("before", "must be the next of a page") from None
    return Cursor(checked_time("before", created_at), checked_uuid("before", id_))
