"""What a ticket's record says about its life, for one ticket and for many alike."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    DateTime,
    Interval,
    ScalarSelect,
    Select,
    Subquery,
    Text,
    and_,
    bindparam,
    case,
    cast,
    exists,
    func,
    literal_column,
    not_,
    or_,
    select,
)
from sqlalchemy.dialects.postgresql import aggregate_order_by, array
from sqlalchemy.orm import Session

from ...errors import TicketNotFound
from ...models import (
    FINISHED,
    Channel,
    DeliveryStatus,
    Message,
    MessageDirection,
    MessageRole,
    OutboxEntry,
    TicketField,
    TicketFieldChange,
    TicketStatus,
    TicketStatusChange,
)
from ...models.base import table_of
from ...schemas import TicketGrouping, TicketLifecycle
from .._shared.checks import checked_moment, checked_uuid
from .._shared.lists import read
from .rows import TICKET_ID, TICKETS

AS_OF = func.least(
    bindparam("as_of", type_=DateTime(timezone=True)),
    func.statement_timestamp(type_=DateTime(timezone=True)),
)
"""The instant that figures are for: nobody knows the future, and None is the present."""

_ON_US = (TicketStatus.OPEN, TicketStatus.PROCESSING, TicketStatus.ESCALATED)
_ENTRIES = table_of(TicketStatusChange)
_FIELD_CHANGES = table_of(TicketFieldChange)
_MESSAGES = table_of(Message)
_OUTBOX = table_of(OutboxEntry)
# Constants stand in the text: as parameters, sixty of them, they would be sent with every call.
_NO_TIME = literal_column("interval '0'", Interval())
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
    ticket_id = checked_uuid("ticket_id", ticket_id)
    lives = read(session, _LIFECYCLE, {"ticket_id": ticket_id, "as_of": checked_as_of(as_of)})
    if not lives:
        raise TicketNotFound(ticket_id)
    (life,) = lives
    for name in _SPANS:
        if life[name] is not None:
            life[name] = timedelta(microseconds=life[name])
    time_in = {status: life.pop(f"in_{status}") for status in TicketStatus}
    return TicketLifecycle(**life, time_in=time_in)


def checked_as_of(as_of: datetime | None) -> datetime | None:
    return None if as_of is None else checked_moment("as_of", as_of)


def facts(*chosen: ColumnElement[bool]) -> Select[*tuple[Any, ...]]:
    """One row for each chosen ticket that existed at ``AS_OF``, with the fields of a ``TicketLifecycle``."""
    life = _lives(_entries(chosen)).subquery()
    opened_at = func.coalesce(TICKETS.c.created_at, life.c.began_at)
    ticket = (
        select(
            TICKETS.c.id.label("ticket_id"),
            TICKETS.c.ticket_number,
            AS_OF.label("as_of"),
            opened_at.label("opened_at"),
            _first_response_at(opened_at).label("first_response_at"),
            case((_is_finished(life.c.status), life.c.last_resolved_at)).label("resolved_at"),
            _assignee_changes().label("assignee_changes"),
            *life.c["status", "first_resolved_at", "reopens"],
            *(life.c[f"in_{status}"] for status in TicketStatus),
        )
        .join(life, life.c.ticket_id == TICKETS.c.id)
        .subquery()
    )
    return select(
        ticket,
        _span(ticket.c.opened_at, ticket.c.first_response_at).label("first_response"),
        _span(ticket.c.opened_at, ticket.c.first_resolved_at).label("first_resolution"),
        _span(ticket.c.opened_at, ticket.c.resolved_at).label("full_resolution"),
        ticket.c[f"in_{TicketStatus.WAITING}"].label("waiting_on_customer"),
        sum((ticket.c[f"in_{status}"] for status in _ON_US), _NO_TIME).label("waiting_on_us"),
    )


def _entries(chosen: Iterable[ColumnElement[bool]]) -> Subquery:
    """What the chosen tickets' record said by then, each entry with the time until the next one."""
    entry = _ENTRIES.c
    until = func.lead(entry.changed_at, 1, AS_OF).over(partition_by=entry.ticket_id, order_by=entry.seq)
    return (
        select(
            entry.ticket_id,
            entry.seq,
            entry.old_status,
            entry.new_status,
            entry.changed_at,
            _span(entry.changed_at, until).label("span"),
        )
        .join(TICKETS, TICKETS.c.id == entry.ticket_id)
        .where(entry.changed_at <= AS_OF, *chosen)
        .subquery()
    )


def _lives(entries: Subquery) -> Select[*tuple[Any, ...]]:
    """The entries of each ticket, summed up."""
    entry = entries.c
    was_finished, is_finished = _is_finished(entry.old_status), _is_finished(entry.new_status)
    # Where the first entry has no old status, the comparison is NULL: being stored as finished is no step.
    is_resolution = and_(not_(was_finished), is_finished)
    return select(
        entry.ticket_id,
        func.min(entry.changed_at).label("began_at"),
        func.array_agg(aggregate_order_by(entry.new_status, entry.seq.desc()))[1].label("status"),
        func.min(entry.changed_at).filter(is_resolution).label("first_resolved_at"),
        func.max(entry.changed_at).filter(is_resolution).label("last_resolved_at"),
        func.count().filter(and_(was_finished, not_(is_finished))).label("reopens"),
        *(
            func.coalesce(func.sum(entry.span).filter(entry.new_status == _constant(status)), _NO_TIME).label(
                f"in_{status}"
            )
            for status in TicketStatus
        ),
    ).group_by(entry.ticket_id)


def _first_response_at(opened_at: ColumnElement[Any]) -> ScalarSelect[Any]:
    """The first answer of an agent since the opening that has arrived, as far as its channel tells.

    WhatsApp reports what it delivers; of a mail there is only a report if it comes back, so it counts once it
    has left. What another backend wrote without a status counts. No automatic answer does.
    """
    status = _MESSAGES.c.delivery_status
    has_left = and_(
        status == _constant(DeliveryStatus.PENDING),
        _MESSAGES.c.channel != _constant(Channel.WHATSAPP),
        ~exists().where(_OUTBOX.c.message_id == _MESSAGES.c.id),
    )
    return (
        select(func.min(_MESSAGES.c.created_at))
        .where(
            _MESSAGES.c.conversation_id == TICKETS.c.conversation_id,
            _MESSAGES.c.created_at.between(opened_at, AS_OF),
            _MESSAGES.c.direction == _constant(MessageDirection.OUTBOUND),
            _MESSAGES.c.role == _constant(MessageRole.AGENT),
            or_(
                status.is_(None),
                status.in_([_constant(DeliveryStatus.DELIVERED), _constant(DeliveryStatus.READ)]),
                has_left,
            ),
            _MESSAGES.c.metadata.contains({"auto_reply": True}).is_not(True),
        )
        .scalar_subquery()
    )


def _assignee_changes() -> ScalarSelect[int]:
    return (
        select(func.count())
        .where(
            _FIELD_CHANGES.c.ticket_id == TICKETS.c.id,
            _FIELD_CHANGES.c.field == _constant(TicketField.ASSIGNED_TO),
            _FIELD_CHANGES.c.changed_at <= AS_OF,
        )
        .scalar_subquery()
    )


def group_at(group_by: TicketGrouping) -> ColumnElement[str | None]:
    """The ticket's channel, category, priority or assignee as it was then: what the next change replaced."""
    if group_by is TicketGrouping.CHANNEL:
        return cast(TICKETS.c.source_channel, Text)
    field = _FIELDS[group_by]
    replaced = (
        select(array([_FIELD_CHANGES.c.old_value]))
        .where(
            _FIELD_CHANGES.c.ticket_id == TICKETS.c.id,
            _FIELD_CHANGES.c.field == field,
            _FIELD_CHANGES.c.changed_at > AS_OF,
        )
        .order_by(_FIELD_CHANGES.c.seq)
        .limit(1)
        .scalar_subquery()
    )
    # In an array, so that a change from nothing is told from no change.
    return func.coalesce(replaced, array([cast(TICKETS.c[field], Text)]))[1]


def _span(start: Any, end: Any) -> ColumnElement[timedelta]:
    """From one time to another, never less than nothing: clocks are set back, imports have odd dates."""
    return case((end < start, _NO_TIME), else_=end - start)


def _is_finished(status: ColumnElement[Any]) -> ColumnElement[bool]:
    return or_(*(status == _constant(finished) for finished in sorted(FINISHED)))


def _constant(code: StrEnum) -> ColumnElement[str]:
    return literal_column(f"'{code}'", Text())


def _microseconds(span: ColumnElement[Any]) -> ColumnElement[int]:
    return cast(func.extract("epoch", span) * literal_column("1000000"), BigInteger()).label(span.key)


# Built once, like every statement: that takes longer than the database needs for the answer. Spans are sent
# as whole microseconds, which are read many times faster than an interval's text.
_LIFE = facts(TICKETS.c.id == TICKET_ID).subquery()
_SPANS = [column.name for column in _LIFE.c if isinstance(column.type, Interval)]
_LIFECYCLE = select(*(_microseconds(column) if column.name in _SPANS else column for column in _LIFE.c))
