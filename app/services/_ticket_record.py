"""What happened to a ticket, and whether anybody has tampered with the record of it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    FromClause,
    LargeBinary,
    Select,
    Subquery,
    Uuid,
    and_,
    bindparam,
    case,
    exists,
    func,
    literal,
    not_,
    null,
    or_,
    select,
    union_all,
)
from sqlalchemy.orm import InstrumentedAttribute, Session

from ..errors import TicketNotFound
from ..models import (
    Ticket,
    TicketField,
    TicketFieldChange,
    TicketRecordHead,
    TicketStatus,
    TicketStatusChange,
)
from ..schemas import HistoryFault, HistoryFinding
from ._input import checked_uuid

_Record = type[TicketStatusChange | TicketFieldChange]

_START = literal(bytes(32), LargeBinary)
"""What the first entry of a chain has in place of the hash before it."""


def status_history(session: Session, ticket_id: UUID) -> list[TicketStatusChange]:
    """The ticket's record, oldest entry first; the first one is its creation.

    Raises:
        TicketNotFound: there is no such ticket.
    """
    ticket_id = checked_uuid("ticket_id", ticket_id)
    # Every ticket has its first entry, so no entry means no ticket.
    history = session.scalars(
        select(TicketStatusChange)
        .where(TicketStatusChange.ticket_id == ticket_id)
        .order_by(TicketStatusChange.seq)
    ).all()
    if not history:
        raise TicketNotFound(ticket_id)
    return list(history)


def field_history(session: Session, ticket_id: UUID) -> list[TicketFieldChange]:
    """Changes of the ticket's assignee, priority and category, oldest first.

    One statement; a second one only to tell an unknown ticket from an unchanged one.

    Raises:
        TicketNotFound: there is no such ticket.
    """
    ticket_id = checked_uuid("ticket_id", ticket_id)
    history = session.scalars(
        select(TicketFieldChange)
        .where(TicketFieldChange.ticket_id == ticket_id)
        .order_by(TicketFieldChange.seq)
    ).all()
    if not history:
        _assert_ticket(session, ticket_id)
    return list(history)


def verify_history(session: Session, ticket_id: UUID | None = None) -> list[HistoryFinding]:
    """What is wrong with the record of a ticket, or of all: nothing, unless somebody got round the triggers.

    Finds entries that were edited, deleted, inserted, swapped or forked, and a ticket that was changed behind
    its record's back. Whoever owns the tables can also rewrite a whole chain with its end; only a copy kept
    elsewhere shows that. One statement that reads the whole record, or one ticket's.

    Raises:
        TicketNotFound: there is no such ticket.
    """
    values = {}
    if ticket_id is not None:
        values["ticket_id"] = checked_uuid("ticket_id", ticket_id)
        _assert_ticket(session, values["ticket_id"])
    rows = session.execute(_verification(of_one=bool(values)), values)
    return [HistoryFinding.model_validate(row) for row in rows]


def _assert_ticket(session: Session, ticket_id: UUID) -> None:
    if session.scalar(select(Ticket.id).where(Ticket.id == ticket_id)) is None:
        raise TicketNotFound(ticket_id)


@cache
def _verification(*, of_one: bool) -> Select[*tuple[Any, ...]]:
    chosen = [Ticket.id == bindparam("ticket_id", type_=Uuid())] if of_one else []
    findings = union_all(
        *_faults(TicketStatusChange, TicketRecordHead.status_hash, chosen),
        *_faults(TicketFieldChange, TicketRecordHead.field_hash, chosen),
    ).subquery()
    return select(findings).order_by(findings.c.ticket_id, findings.c.record, findings.c.seq)


def _entries(
    model: _Record, end: InstrumentedAttribute[Any], chosen: Sequence[ColumnElement[bool]]
) -> Subquery:
    """The entries, each with its place among those of its ticket."""
    entry = model.__table__.alias("entry")
    chain: dict[str, Any] = {"partition_by": entry.c.ticket_id, "order_by": entry.c.seq}
    actual: ColumnElement[Any]
    if model is TicketStatusChange:
        own_hash = func.ticket_status_change_hash(entry.table_valued())
        told, actual = entry.c.new_status, func.coalesce(Ticket.status, TicketStatus.OPEN)
        same_value = chain
    else:
        own_hash = func.ticket_field_change_hash(entry.table_valued())
        told = entry.c.new_value
        actual = case(*((entry.c.field == name, getattr(Ticket, name)) for name in TicketField))
        same_value = chain | {"partition_by": [entry.c.ticket_id, entry.c.field]}
    following = func.lead(entry.c.prev_hash).over(**chain)
    last = func.last_value(entry.c.hash).over(**chain, rows=(None, None))
    is_latest = func.lead(entry.c.seq).over(**same_value).is_(None)
    return (
        select(
            Ticket.ticket_number,
            *entry.c["ticket_id", "id", "seq", "prev_hash", "hash"],
            end.label("end"),
            (entry.c.hash == own_hash).label("is_intact"),
            (entry.c.prev_hash == func.lag(entry.c.hash, 1, _START).over(**chain)).label("follows"),
            (entry.c.hash == func.coalesce(following, end)).is_(True).label("is_followed"),
            following.is_(None).label("is_last"),
            and_(last == end, is_latest, told.is_distinct_from(actual)).label("is_untrue"),
        )
        .join(Ticket, Ticket.id == entry.c.ticket_id)
        .outerjoin(TicketRecordHead, TicketRecordHead.ticket_id == entry.c.ticket_id)
        .where(*chosen)
        .subquery()
    )


def _faults(
    model: _Record, end: InstrumentedAttribute[Any], chosen: Sequence[ColumnElement[bool]]
) -> tuple[Select[*tuple[Any, ...]], Select[*tuple[Any, ...]]]:
    """The findings in one kind of record, and the tickets whose record of this kind is gone altogether.

    In a sound chain every entry matches its hash, follows the entry before it in ``seq``, and is followed by
    the one after it or by the chain's recorded ``end``. Only where that fails are the links looked up.
    """
    record = literal("status" if model is TicketStatusChange else "fields")
    entries = _entries(model, end, chosen)
    other, third = model.__table__.alias("other"), model.__table__.alias("third")
    this = entries.c

    def found(*conditions: ColumnElement[bool]) -> ColumnElement[bool]:
        return exists().where(other.c.ticket_id == this.ticket_id, *conditions)

    def has_successor(of: FromClause) -> ColumnElement[bool]:
        next_one = third.c.ticket_id == of.c.ticket_id, third.c.prev_hash == of.c.hash
        return or_(exists().where(*next_one), of.c.hash.is_not_distinct_from(this.end))

    is_misplaced = or_(
        found(other.c.hash == this.prev_hash, other.c.seq > this.seq),
        found(other.c.prev_hash == this.hash, other.c.seq < this.seq),
    )
    is_fork = found(
        other.c.prev_hash == this.prev_hash,
        other.c.id != this.id,
        or_(not_(has_successor(entries)), and_(has_successor(other), other.c.seq < this.seq)),
    )
    has_predecessor = or_(this.prev_hash == _START, found(other.c.hash == this.prev_hash))
    end_is_known = found(other.c.hash == this.end)
    is_end = and_(this.is_last, not_(has_successor(entries)))
    fault = case(
        (is_misplaced, HistoryFault.SWAPPED),
        (not_(this.is_intact), HistoryFault.EDITED),
        (is_fork, HistoryFault.FORKED),
        (and_(not_(has_predecessor), not_(has_successor(entries))), HistoryFault.INSERTED),
        (not_(has_predecessor), HistoryFault.DELETED),
        (and_(is_end, end_is_known), HistoryFault.INSERTED),
        (is_end, HistoryFault.CUT_OFF),
        (this.is_untrue, HistoryFault.UNRECORDED),
    )
    suspects = (
        select(
            *this["ticket_id", "ticket_number"],
            record.label("record"),
            fault.label("fault"),
            this.id.label("entry_id"),
            this.seq,
        )
        .where(or_(not_(this.is_intact), not_(this.follows), not_(this.is_followed), this.is_untrue))
        .subquery()
    )
    gone = (
        select(Ticket.id, Ticket.ticket_number, record, literal(HistoryFault.CUT_OFF.value), null(), null())
        .outerjoin(TicketRecordHead, TicketRecordHead.ticket_id == Ticket.id)
        .where(~exists().where(other.c.ticket_id == Ticket.id), *chosen)
    )
    if model is TicketFieldChange:
        gone = gone.where(end.is_not(None))
    return select(suspects).where(suspects.c.fault.is_not(None)), gone
