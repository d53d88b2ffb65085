"""Whether anybody has tampered with the record of a ticket, or with the ticket behind its record's back."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    FromClause,
    LargeBinary,
    Select,
    Subquery,
    Text,
    and_,
    case,
    cast,
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

from ...models import (
    Erasure,
    Ticket,
    TicketField,
    TicketFieldChange,
    TicketRecordHead,
    TicketStatus,
    TicketStatusChange,
)
from ...schemas import HistoryFault, HistoryFinding
from .._shared.checks import checked_uuid
from .record import assert_ticket
from .rows import TICKET_ID

_START = literal(bytes(32), LargeBinary)
"""What the first entry of a chain has in place of the hash before it."""


class _Chain(NamedTuple):
    """One of a ticket's two records, and where its chain ends."""

    name: str
    model: type[TicketStatusChange | TicketFieldChange]
    end: InstrumentedAttribute[Any]


_CHAINS = (
    _Chain("status", TicketStatusChange, TicketRecordHead.status_hash),
    _Chain("fields", TicketFieldChange, TicketRecordHead.field_hash),
)


def verify_history(session: Session, ticket_id: UUID | None = None) -> list[HistoryFinding]:
    """What is wrong with the record of a ticket, or of all: nothing, unless somebody got round the triggers.

    Finds entries that were edited, deleted, inserted, swapped or forked, and a ticket that was changed behind
    its record's back; words that were erased with their customer are no fault. Whoever owns the tables can
    also rewrite a whole chain with its end; only a copy kept elsewhere shows that. One statement that reads
    the whole record, or one ticket's.

    Raises:
        TicketNotFound: there is no such ticket.
    """
    if ticket_id is None:
        findings = session.execute(_of_all())
    else:
        ticket_id = checked_uuid("ticket_id", ticket_id)
        assert_ticket(session, ticket_id)
        findings = session.execute(_of_one(), {"ticket_id": ticket_id})
    return [HistoryFinding.model_validate(row) for row in findings]


# Large, and seldom needed: built with the first use, not with the import.
@cache
def _of_all() -> Select[*tuple[Any, ...]]:
    return _verification()


@cache
def _of_one() -> Select[*tuple[Any, ...]]:
    return _verification(Ticket.id == TICKET_ID)


def _verification(*chosen: ColumnElement[bool]) -> Select[*tuple[Any, ...]]:
    parts = [part(chain, chosen) for chain in _CHAINS for part in (_faults, _lost)]
    findings = union_all(*parts).subquery()
    return select(findings).order_by(findings.c.ticket_id, findings.c.record, findings.c.seq)


def _faults(chain: _Chain, chosen: Sequence[ColumnElement[bool]]) -> Select[*tuple[Any, ...]]:
    """The findings in one kind of record.

    In a sound chain every entry matches its hash, follows the entry before it in ``seq``, and is followed by
    the one after it or by the chain's recorded end. Only where that fails are the links looked up. The first
    fault that fits is the one that is reported:

    ==========  =====================================================================
    swapped     its predecessor comes later in the record, or its successor earlier
    edited      it does not match its own hash
    forked      another entry has the same predecessor, and the chain goes on from there
    inserted    it has neither predecessor nor successor, or the chain ends elsewhere
    deleted     it has no predecessor
    cut_off     it is the last one, and the chain's end is the hash of no entry
    unrecorded  it is the end, and the ticket is not as it says
    ==========  =====================================================================
    """
    entries = _entries(chain, chosen)
    entry = entries.c
    other = chain.model.__table__.alias("other")

    def another(*conditions: ColumnElement[bool]) -> ColumnElement[bool]:
        return exists().where(other.c.ticket_id == entry.ticket_id, *conditions)

    def has_successor(link: FromClause) -> ColumnElement[bool]:
        successor = chain.model.__table__.alias("successor")
        follows = successor.c.ticket_id == link.c.ticket_id, successor.c.prev_hash == link.c.hash
        return or_(exists().where(*follows), link.c.hash.is_not_distinct_from(entry.end))

    has_predecessor = or_(entry.prev_hash == _START, another(other.c.hash == entry.prev_hash))
    is_swapped = or_(
        another(other.c.hash == entry.prev_hash, other.c.seq > entry.seq),
        another(other.c.prev_hash == entry.hash, other.c.seq < entry.seq),
    )
    is_forked = another(
        other.c.prev_hash == entry.prev_hash,
        other.c.id != entry.id,
        or_(not_(has_successor(entries)), and_(has_successor(other), other.c.seq < entry.seq)),
    )
    is_loose_end = and_(entry.is_last, not_(has_successor(entries)))
    fault = case(
        (is_swapped, HistoryFault.SWAPPED),
        (not_(entry.is_intact), HistoryFault.EDITED),
        (is_forked, HistoryFault.FORKED),
        (and_(not_(has_predecessor), not_(has_successor(entries))), HistoryFault.INSERTED),
        (not_(has_predecessor), HistoryFault.DELETED),
        (and_(is_loose_end, another(other.c.hash == entry.end)), HistoryFault.INSERTED),
        (is_loose_end, HistoryFault.CUT_OFF),
        (entry.is_untrue, HistoryFault.UNRECORDED),
    )
    suspects = (
        select(
            *entry["ticket_id", "ticket_number"],
            literal(chain.name).label("record"),
            fault.label("fault"),
            entry.id.label("entry_id"),
            entry.seq,
        )
        .where(or_(not_(entry.is_intact), not_(entry.follows), not_(entry.is_followed), entry.is_untrue))
        .subquery()
    )
    return select(suspects).where(suspects.c.fault.is_not(None))


def _lost(chain: _Chain, chosen: Sequence[ColumnElement[bool]]) -> Select[*tuple[Any, ...]]:
    """The tickets whose record of this kind is gone altogether."""
    entry = chain.model.__table__.alias("entry")
    record, cut_off = literal(chain.name), literal(HistoryFault.CUT_OFF.value)
    tickets = (
        select(Ticket.id, Ticket.ticket_number, record, cut_off, null(), null())
        .outerjoin(TicketRecordHead, TicketRecordHead.ticket_id == Ticket.id)
        .where(~exists().where(entry.c.ticket_id == Ticket.id), *chosen)
    )
    # Every ticket has a status, and many have never changed a field.
    return tickets if chain.model is TicketStatusChange else tickets.where(chain.end.is_not(None))


def _entries(chain: _Chain, chosen: Sequence[ColumnElement[bool]]) -> Subquery:
    """The entries, each with its place among those of its ticket."""
    entry = chain.model.__table__.alias("entry")
    place: dict[str, Any] = {"partition_by": entry.c.ticket_id, "order_by": entry.c.seq}
    actual: ColumnElement[Any]
    if chain.model is TicketStatusChange:
        own_hash = func.ticket_status_change_hash(entry.table_valued())
        recorded, actual = entry.c.new_status, func.coalesce(Ticket.status, TicketStatus.OPEN)
        same_value = place
    else:
        own_hash = func.ticket_field_change_hash(entry.table_valued())
        recorded = entry.c.new_value
        columns = Ticket.__table__.c
        erased = and_(entry.c.field == TicketField.METADATA, entry.c.salt.is_(None))
        values = ((entry.c.field == name, cast(columns[name], Text)) for name in TicketField)
        actual = case((erased, recorded), *values)
        same_value = place | {"partition_by": [entry.c.ticket_id, entry.c.field]}
    # Words may be gone, but only by an erasure, and then none stand in their place.
    was_erased = and_(entry.c.comment.is_(None), exists().where(Erasure.id == entry.c.erasure_id))
    has_words = and_(entry.c.words_hash.is_(None), entry.c.erasure_id.is_(None))
    following = func.lead(entry.c.prev_hash).over(**place)
    last = func.last_value(entry.c.hash).over(**place, rows=(None, None))
    is_latest = func.lead(entry.c.seq).over(**same_value).is_(None)
    return (
        select(
            Ticket.ticket_number,
            *entry.c["ticket_id", "id", "seq", "prev_hash", "hash"],
            chain.end.label("end"),
            and_(
                (entry.c.hash == own_hash).is_(True),
                case((entry.c.salt.is_(None), was_erased), else_=has_words),
            ).label("is_intact"),
            (entry.c.prev_hash == func.lag(entry.c.hash, 1, _START).over(**place)).label("follows"),
            (entry.c.hash == func.coalesce(following, chain.end)).is_(True).label("is_followed"),
            following.is_(None).label("is_last"),
            and_(last == chain.end, is_latest, recorded.is_distinct_from(actual)).label("is_untrue"),
        )
        .join(Ticket, Ticket.id == entry.c.ticket_id)
        .outerjoin(TicketRecordHead, TicketRecordHead.ticket_id == entry.c.ticket_id)
        .where(*chosen)
        .subquery()
    )
