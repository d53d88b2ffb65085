"""Tickets of another system, with their own numbers and times, and a record that says so."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import ARRAY, Engine, Text, bindparam, select, text
from sqlalchemy.orm import Session

from ...errors import CRMError, InvalidValue
from ...models import TicketStatus, uuid7
from ...schemas import IdentityPolicy, ImportReport, Resolution, TicketRow
from .._shared.acting import ACTING, Mode, acting
from .._shared.checks import (
    checked_actor,
    checked_code,
    checked_json,
    checked_optional_text,
    checked_text,
    require_transaction,
)
from ..identity.reading import Call, call_of, read
from ..identity.resolution import resolve_call
from .copying import copy, jsonb
from .rows import ticket_of
from .running import BATCH, Progress, RowResult, Steps, attempt, run
from .senders import Senders

_TICKET = {
    "id": "uuid",
    "ticket_number": "varchar",
    "customer_id": "uuid",
    "subject": "varchar",
    "category": "varchar",
    "priority": "varchar",
    "status": "varchar",
    "source_channel": "varchar",
    "assigned_to": "varchar",
    "escalation_reason": "varchar",
    "resolution_notes": "text",
    "metadata": "jsonb",
    "created_at": "timestamptz",
    "updated_at": "timestamptz",
    "resolved_at": "timestamptz",
}
_FINISHED = (TicketStatus.RESOLVED, TicketStatus.CLOSED)
_OURS = re.compile(r"TKT-[0-9]+")
# Who opens a ticket takes it shared, before the next number is looked at.
_LOCK_NUMBERS = text("SELECT pg_advisory_xact_lock(hashtextextended('crm/ticket-numbers', 0))")
_TAKEN = text("SELECT ticket_number FROM tickets WHERE ticket_number = ANY (:numbers)").bindparams(
    bindparam("numbers", type_=ARRAY(Text))
)
_ACT = select(ACTING)


class _Draft(NamedTuple):
    """A ticket whose fields can be stored, and whose it is."""

    row: TicketRow
    call: Call
    extra: dict[str, Any]


def import_tickets(
    engine: Engine,
    rows: Iterable[Any],
    *,
    actor: str = "system:import",
    policy: IdentityPolicy = IdentityPolicy.STRICT,
    default_region: str | None = None,
    erasure_key: str | None = None,
    rejects: Path | str | None = None,
    progress: Progress | None = None,
    batch_size: int = BATCH,
) -> ImportReport:
    """Store tickets as they were elsewhere, each once by its number; whose they are is resolved as ever.

    ``rows`` are ``TicketRow`` objects or mappings (see docs/importing.md), or pairs of where it stood and one
    of these. A ticket keeps its number, and no new ticket gets it. Its record has the times that the row
    tells, and ``imported`` as its comment: opened, resolved, closed. So its figures are those of its life
    there. A number that there is already changes nothing.

    Batches, rejects, progress and locks are as in ``import_messages``; while one with numbers like ours
    (``TKT-0042``) is stored, who opens a ticket waits.

    Raises:
        InvalidValue: an option is ill-formed.
        StorageUnavailable: the file of rejects cannot be written.
        Unavailable: the database is gone; what was committed stays.
    """
    actor = checked_actor(actor)
    policy = checked_code("policy", policy, IdentityPolicy)
    store = partial(_store, actor=actor, default_region=default_region)
    steps = Steps(
        read=lambda row: _draft(ticket_of(row), policy, default_region, erasure_key),
        size=lambda draft: len(draft.row.resolution_notes or draft.row.subject),
        store=store,
        store_one=lambda session, draft: _only(store(session, [draft])),
    )
    return run(engine, rows, steps, rejects=rejects, progress=progress, batch_size=batch_size)


def _draft(
    row: TicketRow, policy: IdentityPolicy, default_region: str | None, erasure_key: str | None
) -> _Draft:
    checked_text("ticket_number", row.ticket_number, max_length=20)
    checked_text("subject", row.subject, max_length=500)
    for field in ("assigned_to", "escalation_reason", "resolution_notes"):
        checked_optional_text(field, getattr(row, field))
    is_finished = row.status in _FINISHED
    if row.status is TicketStatus.RESOLVED and row.resolved_at is None:
        raise InvalidValue("resolved_at", "is missing, and the ticket is resolved")
    if not is_finished and (row.resolved_at is not None or row.closed_at is not None):
        raise InvalidValue("status", "is neither resolved nor closed, and there is a time of it")
    times = (row.created_at, row.resolved_at, row.closed_at)
    if any(moment is not None and moment > datetime.now(UTC) for moment in times):
        raise InvalidValue("created_at", "or another time is later than now")
    call = call_of(
        read(row.identifiers, default_region),
        channel=row.source_channel,
        profile=row.profile,
        policy=policy,
        default_region=default_region,
        erasure_key=erasure_key,
    )
    return _Draft(row, call, checked_json("extra", row.extra))


def _store(
    session: Session, drafts: Sequence[_Draft], *, actor: str, default_region: str | None
) -> list[RowResult | CRMError]:
    require_transaction(session)
    numbers = [draft.row.ticket_number for draft in drafts]
    if any(map(_OURS.fullmatch, numbers)):
        session.execute(_LOCK_NUMBERS)
    taken = set(session.scalars(_TAKEN, {"numbers": numbers}))
    results: list[RowResult | CRMError] = [RowResult(new=False)] * len(drafts)
    new: dict[int, _Draft] = {}
    for place, draft in enumerate(drafts):
        if draft.row.ticket_number not in taken:
            taken.add(draft.row.ticket_number)
            new[place] = draft
    customers = _resolve(session, [draft.call for draft in new.values()], default_region)
    tickets = []
    for (place, draft), who in zip(new.items(), customers, strict=True):
        if isinstance(who, CRMError):
            results[place] = who
        else:
            created = who.outcome == "created"
            results[place] = RowResult(new=True, customer_created=created, erased_before=who.erased_before)
            tickets.append(_values(draft, who.customer_id))
    if tickets:
        session.execute(_ACT, acting(actor, mode=Mode.IMPORT))
        copy(session, "tickets", _TICKET, tickets)
    return results


def _resolve(
    session: Session, calls: Sequence[Call], default_region: str | None
) -> list[Resolution | CRMError]:
    senders = Senders(session, calls, default_region)
    resolutions = [senders.decide(call) for call in calls]
    senders.write()
    senders.lock_known()
    return [
        attempt(session, resolve_call, call)
        if resolution is None
        else senders.with_erasures(call, resolution)
        for call, resolution in zip(calls, resolutions, strict=True)
    ]


def _values(draft: _Draft, customer_id: UUID) -> tuple[Any, ...]:
    row = draft.row
    touched_at = row.closed_at or row.resolved_at or row.created_at
    return (
        uuid7(),
        row.ticket_number,
        customer_id,
        row.subject,
        row.category.value,
        row.priority.value,
        row.status.value,
        row.source_channel.value,
        row.assigned_to,
        row.escalation_reason,
        row.resolution_notes,
        jsonb(draft.extra),
        row.created_at,
        touched_at,
        row.resolved_at,
    )


def _only(results: Sequence[RowResult | CRMError]) -> RowResult:
    (result,) = results
    if isinstance(result, CRMError):
        raise result
    return result
