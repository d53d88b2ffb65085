"""What a ticket's record says about its life, for one ticket and for many alike."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    DateTime,
    Interval,
    Select,
    Text,
    Uuid,
    and_,
    bindparam,
    case,
    cast,
    func,
    literal,
    not_,
    select,
)
from sqlalchemy.dialects.postgresql import aggregate_order_by, array
from sqlalchemy.orm import Session

from ..errors import TicketNotFound
from ..models import (
    FINISHED,
    Message,
    MessageDirection,
    MessageRole,
    Ticket,
    TicketField,
    TicketFieldChange,
    TicketStatus,
    TicketStatusChange,
)
from ..schemas import TicketGrouping, TicketLifecycle
from ._input import checked_time, checked_uuid

AS_OF = func.least(
    bindparam("as_of", type_=DateTime(timezone=True)),
    func.statement_timestamp(type_=DateTime(timezone=True)),
)
"""The instant that figures are for: nobody knows the future, and None is the present."""

_ON_US = (TicketStatus.OPEN, TicketStatus.PROCESSING, TicketStatus.ESCALATED)
_FIELDS = {
    TicketGrouping.CATEGORY: TicketField.CATEGORY,
    TicketGrouping.PRIORITY: TicketField.PRIORITY,
    TicketGrouping.ASSIGNEE: TicketField.ASSIGNED_TO,
}


def lifecycle(session: Session, ticket_id: UUID, *, as_of: datetime | None = None) -> TicketLifecycle:
    """First response, resolutions, reopens and time per status, as they stood at ``as_of`` (now).

    Read from the record, so any past instant gives what it would have given then. One statement.

    Raises:
        TicketNotFound: there is no such ticket, or there was none yet.
        InvalidValue: a time without a zone.
    """
    values = {"ticket_id": checked_uuid("ticket_id", ticket_id), "as_of": checked_as_of(as_of)}
    row = session.execute(_lifecycle(), values).mappings().one_or_none()
    if row is None:
        raise TicketNotFound(ticket_id)
    life = dict(row)
    time_in = {status: life.pop(f"in_{status}") for status in TicketStatus}
    return TicketLifecycle(**life, time_in=time_in)


@cache
def _lifecycle() -> Select[*tuple[Any, ...]]:
    # Built once: that takes longer than the database needs for the answer.
    return facts(Ticket.id == bindparam("ticket_id", type_=Uuid()))


def checked_as_of(as_of: datetime | None) -> datetime | None:
    return None if as_of is None else checked_time("as_of", as_of)


def facts(*chosen: ColumnElement[bool]) -> Select[*tuple[Any, ...]]:
    """One row for each chosen ticket that existed at ``AS_OF``, with the fields of a ``TicketLifecycle``."""
    entry = TicketStatusChange
    until = func.lead(entry.changed_at, 1, AS_OF).over(partition_by=entry.ticket_id, order_by=entry.seq)
    entries = (
        select(
            entry.ticket_id,
            entry.seq,
            entry.old_status,
            entry.new_status,
            entry.changed_at,
            _span(entry.changed_at, until).label("span"),
        )
        .join(Ticket, Ticket.id == entry.ticket_id)
        .where(entry.changed_at <= AS_OF, *chosen)
        .subquery()
    )
    was_finished, is_finished = entries.c.old_status.in_(FINISHED), entries.c.new_status.in_(FINISHED)
    # Where the first entry has no old status, the comparison is NULL: being stored as finished is no step.
    is_resolution = and_(not_(was_finished), is_finished)
    nothing = literal(timedelta(0), Interval)
    in_status = {
        status: func.coalesce(func.sum(entries.c.span).filter(entries.c.new_status == status), nothing)
        for status in TicketStatus
    }
    life = (
        select(
            entries.c.ticket_id,
            func.min(entries.c.changed_at).label("began_at"),
            func.array_agg(aggregate_order_by(entries.c.new_status, entries.c.seq.desc()))[1].label("status"),
            func.min(entries.c.changed_at).filter(is_resolution).label("first_resolved_at"),
            func.max(entries.c.changed_at).filter(is_resolution).label("last_resolved_at"),
            func.count().filter(and_(was_finished, not_(is_finished))).label("reopens"),
            *(spent.label(f"in_{status}") for status, spent in in_status.items()),
        )
        .group_by(entries.c.ticket_id)
        .subquery()
    )
    opened_at = func.coalesce(Ticket.created_at, life.c.began_at)
    response = (
        select(func.min(Message.created_at))
        .where(
            Message.conversation_id == Ticket.conversation_id,
            Message.created_at.between(opened_at, AS_OF),
            Message.direction == MessageDirection.OUTBOUND,
            Message.role == MessageRole.AGENT,
            Message.extra.contains({"auto_reply": True}).is_not(True),
        )
        .scalar_subquery()
    )
    assignments = (
        select(func.count())
        .where(
            TicketFieldChange.ticket_id == Ticket.id,
            TicketFieldChange.field == TicketField.ASSIGNED_TO,
            TicketFieldChange.changed_at <= AS_OF,
        )
        .scalar_subquery()
    )
    resolved_at = case((life.c.status.in_(FINISHED), life.c.last_resolved_at))
    found = (
        select(
            Ticket.id.label("ticket_id"),
            Ticket.ticket_number,
            AS_OF.label("as_of"),
            opened_at.label("opened_at"),
            response.label("first_response_at"),
            resolved_at.label("resolved_at"),
            assignments.label("assignee_changes"),
            *life.c["status", "first_resolved_at", "reopens"],
            *(life.c[f"in_{status}"] for status in TicketStatus),
        )
        .join(life, life.c.ticket_id == Ticket.id)
        .subquery()
    )
    return select(
        found,
        _span(found.c.opened_at, found.c.first_response_at).label("first_response"),
        _span(found.c.opened_at, found.c.first_resolved_at).label("first_resolution"),
        _span(found.c.opened_at, found.c.resolved_at).label("full_resolution"),
        found.c[f"in_{TicketStatus.WAITING}"].label("waiting_on_customer"),
        sum((found.c[f"in_{status}"] for status in _ON_US), nothing).label("waiting_on_us"),
    )


def group_at(group_by: TicketGrouping) -> ColumnElement[str | None]:
    """The ticket's channel, category, priority or assignee as it was then: what the next change replaced."""
    if group_by is TicketGrouping.CHANNEL:
        return cast(Ticket.source_channel, Text)
    field = _FIELDS[group_by]
    replaced = (
        select(array([TicketFieldChange.old_value]))
        .where(
            TicketFieldChange.ticket_id == Ticket.id,
            TicketFieldChange.field == field,
            TicketFieldChange.changed_at > AS_OF,
        )
        .order_by(TicketFieldChange.seq)
        .limit(1)
        .scalar_subquery()
    )
    # In an array, so that a change from nothing is told from no change.
    return func.coalesce(replaced, array([cast(getattr(Ticket, field), Text)]))[1]


def _span(start: Any, end: Any) -> ColumnElement[timedelta]:
    """From one time to another, never less than nothing: clocks are set back, imports have odd dates."""
    return case((end < start, literal(timedelta(0), Interval)), else_=end - start)
