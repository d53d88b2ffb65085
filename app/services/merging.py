"""Merge two customers into one, and take it back."""

from __future__ import annotations

import hashlib
import json
from uuid import UUID

from sqlalchemy import RowMapping, func, insert, select, text, update
from sqlalchemy.orm import Session

from ..errors import AlreadyAbsorbed, CustomerNotFound, MergeNotFound, SelfMerge, StalePlan
from ..models import (
    Customer,
    CustomerMerge,
    CustomerRedirect,
    IdentityEventType,
    uuid7,
)
from ..schemas import MergePlan, UnmergeReport
from . import _merge_profiles
from ._events import event, record
from ._input import checked_actor, checked_text, checked_uuid
from ._living import find_living, lock_living
from ._merge_addresses import forget_addresses, name_addresses
from ._merge_rows import MOVED_TABLES, move_rows, return_rows

_STATE = text("""
    SELECT c.id, to_jsonb(c) AS profile,
        (SELECT count(*) FROM conversations WHERE customer_id = c.id) AS conversations,
        (SELECT count(*) FROM messages WHERE customer_id = c.id) AS messages,
        (SELECT count(*) FROM tickets WHERE customer_id = c.id) AS tickets,
        (SELECT count(*) FROM customer_redirects WHERE customer_id = c.id) AS customer_redirects,
        COALESCE((
            SELECT jsonb_agg(jsonb_build_array(id, identifier_value, verified) ORDER BY id)
            FROM customer_identifiers WHERE customer_id = c.id
        ), '[]') AS identifiers,
        COALESCE((
            SELECT jsonb_agg(DISTINCT channel)
            FROM conversations WHERE customer_id = c.id AND status IS DISTINCT FROM 'closed'
        ), '[]') AS open_channels
    FROM customers AS c WHERE c.id IN (:survivor_id, :absorbed_id)
""")


def plan_merge(session: Session, survivor_id: UUID, absorbed_id: UUID) -> MergePlan:
    """What merging the two would do. Reads only; one statement.

    Raises:
        SelfMerge: both are one customer.
        CustomerNotFound: one of them never existed.
        AlreadyAbsorbed: one of them lives on as another customer.
    """
    pair = _checked_pair(survivor_id, absorbed_id)
    while len(states := _states(session, *pair)) < 2:
        _refuse_absorbed(session, *pair)
    return _plan(*states)


def merge(
    session: Session,
    survivor_id: UUID,
    absorbed_id: UUID,
    *,
    actor: str,
    reason: str,
    fingerprint: str | None = None,
) -> CustomerMerge:
    """Make two customers one: everything of ``absorbed_id`` moves to ``survivor_id``, and the row is gone.

    Blank profile fields of the survivor are filled, nothing is overwritten. The absorbed id leads to the
    survivor from now on, also for rows that other backends insert for it at this very moment. Every moved row
    is journalled for ``unmerge``. Repeating the call returns the first merge.

    Locks both customers' rows FOR UPDATE, in the order of their ids, until the caller's transaction ends. At
    most 20 statements, whatever the customers have. Objects of the session are expired.

    Raises:
        SelfMerge: both are one customer.
        CustomerNotFound: one of them never existed.
        AlreadyAbsorbed: one of them lives on as another customer.
        StalePlan: ``fingerprint`` was given and the customers have changed since.
        InvalidValue: the actor or the reason is ill-formed.
    """
    survivor_id, absorbed_id = _checked_pair(survivor_id, absorbed_id)
    actor, reason = checked_actor(actor), checked_text("reason", reason, max_length=10_000)
    session.flush()
    while not _lock_both(session, survivor_id, absorbed_id):
        if first := _merged_before(session, survivor_id, absorbed_id):
            return first
    survivor, absorbed = _states(session, survivor_id, absorbed_id)
    if fingerprint is not None and fingerprint != _plan(survivor, absorbed).fingerprint:
        raise StalePlan

    filled = _merge_profiles.fills(survivor, absorbed)
    named = name_addresses(session, absorbed_id, absorbed["profile"])
    merge_id = uuid7()
    session.execute(
        insert(CustomerMerge).values(
            id=merge_id,
            survivor_id=survivor_id,
            absorbed_id=absorbed_id,
            actor=actor,
            reason=reason,
            absorbed=select(text("to_jsonb(customers)"))
            .select_from(Customer)
            .where(Customer.id == absorbed_id)
            .scalar_subquery(),
            filled=filled | ({"identifiers": [None, named]} if named else {}),
        )
    )
    move_rows(session, merge_id, survivor_id, absorbed_id)
    session.execute(text("DELETE FROM customers WHERE id = :id"), {"id": absorbed_id})
    session.execute(
        insert(CustomerRedirect).values(absorbed_id=absorbed_id, customer_id=survivor_id, merge_id=merge_id)
    )
    if filled:
        _merge_profiles.fill(session, merge_id, survivor_id, filled)
    record(
        session,
        event(
            IdentityEventType.MERGED,
            survivor_id,
            actor=actor,
            other_customer_id=absorbed_id,
            merge_id=merge_id,
            reason=reason,
        ),
    )
    session.expire_all()
    return session.get_one(CustomerMerge, merge_id)


def unmerge(session: Session, merge_id: UUID, *, actor: str, reason: str) -> UnmergeReport:
    """Restore the absorbed customer: its row as it was, and exactly the rows that the merge moved.

    Merges can be undone in any order, also after the survivor was absorbed by another customer: the rows are
    taken from whoever holds them now. What came since the merge stays. Repeating the call returns the first
    report.

    Locks the living customer's row FOR UPDATE, and then the merge's, until the caller's transaction ends.
    Objects of the session are expired.

    Raises:
        MergeNotFound: there is no such merge.
        CustomerNotFound: the survivor no longer exists.
        InvalidValue: the actor or the reason is ill-formed.
    """
    merge_id = checked_uuid("merge_id", merge_id)
    actor, reason = checked_actor(actor), checked_text("reason", reason, max_length=10_000)
    session.flush()
    done = session.get(CustomerMerge, merge_id, populate_existing=True)
    if done is None:
        raise MergeNotFound(merge_id)
    if done.undo_report is None:
        # Customers first, as a merge locks them; then nobody else can undo this one.
        living_id = lock_living(session, done.survivor_id, key_share=False)
        session.refresh(done, with_for_update=True)
    if done.undo_report is not None:
        return UnmergeReport.model_validate(done.undo_report)

    later = _later_merges(session, done.survivor_id, living_id)
    undecided = _merge_profiles.take_back(session, done, later, living_id)
    undecided += _merge_profiles.restore(session, done)
    returned, stayed = return_rows(session, done, later, living_id)
    returned["customer_identifiers"] -= forget_addresses(session, done)
    messages_since = session.scalar(
        text("""
            SELECT count(*) FROM messages JOIN conversations ON conversations.id = messages.conversation_id
            WHERE conversations.customer_id = :absorbed_id AND messages.customer_id = :living_id
        """),
        {"absorbed_id": done.absorbed_id, "living_id": living_id},
    )
    report = UnmergeReport(
        merge_id=merge_id,
        restored_id=done.absorbed_id,
        survivor_id=living_id,
        returned=returned,
        stayed=stayed,
        messages_since=messages_since or 0,
        undecided_fields=tuple(dict.fromkeys(undecided)),
    )
    session.execute(
        update(CustomerMerge)
        .where(CustomerMerge.id == merge_id)
        .values(
            undone_at=func.clock_timestamp(),
            undone_by=actor,
            undo_reason=reason,
            undo_report=report.model_dump(mode="json"),
        )
    )
    record(
        session,
        event(
            IdentityEventType.UNMERGED,
            done.absorbed_id,
            actor=actor,
            other_customer_id=living_id,
            merge_id=merge_id,
            reason=reason,
        ),
    )
    session.expire_all()
    return report


def _later_merges(session: Session, survivor_id: UUID, living_id: UUID) -> list[CustomerMerge]:
    """The merges by which the survivor lives on as another customer, the first one first.

    The living customer's lock keeps them: to undo one of them, it is needed too.
    """
    later: list[CustomerMerge] = []
    while survivor_id != living_id:
        absorbing = select(CustomerMerge).where(
            CustomerMerge.absorbed_id == survivor_id, CustomerMerge.undone_at.is_(None)
        )
        later.append(session.scalars(absorbing, execution_options={"populate_existing": True}).one())
        survivor_id = later[-1].survivor_id
    return later


def current_customer_id(session: Session, customer_id: UUID) -> UUID:
    """The id itself or, for an absorbed customer, the one it lives on as. One statement.

    Raises:
        CustomerNotFound: there never was such a customer.
    """
    customer_id = checked_uuid("customer_id", customer_id)
    found = find_living(session, customer_id)
    if found is None:
        raise CustomerNotFound(customer_id)
    return found


def _checked_pair(survivor_id: UUID, absorbed_id: UUID) -> tuple[UUID, UUID]:
    pair = checked_uuid("survivor_id", survivor_id), checked_uuid("absorbed_id", absorbed_id)
    if pair[0] == pair[1]:
        raise SelfMerge
    return pair


def _states(session: Session, survivor_id: UUID, absorbed_id: UUID) -> list[RowMapping]:
    """What there is of the survivor and of the absorbed customer, in this order."""
    rows = session.execute(_STATE, {"survivor_id": survivor_id, "absorbed_id": absorbed_id}).mappings()
    return sorted(rows, key=lambda row: row["id"] != survivor_id)


def _plan(survivor: RowMapping, absorbed: RowMapping) -> MergePlan:
    fills = _merge_profiles.fills(survivor, absorbed)
    ours, theirs = survivor["profile"], absorbed["profile"]
    rows = {table: absorbed[table] for table in MOVED_TABLES if table in absorbed}
    state = [{name: value for name, value in side.items() if name != "id"} for side in (survivor, absorbed)]
    return MergePlan(
        survivor_id=survivor["id"],
        absorbed_id=absorbed["id"],
        rows={"customer_identifiers": len(absorbed["identifiers"]), **rows},
        fills=tuple(fills),
        keeps=tuple(
            f for f in _merge_profiles.FIELDS if f not in fills and theirs[f] not in (None, {}, ours[f])
        ),
        both_open=tuple(c for c in survivor["open_channels"] if c in absorbed["open_channels"]),
        fingerprint=hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest(),
    )


def _lock_both(session: Session, survivor_id: UUID, absorbed_id: UUID) -> bool:
    """Lock both rows, in order, so that A into B and B into A take turns; whether both are there."""
    both = Customer.id.in_([survivor_id, absorbed_id])
    locked = session.scalars(select(Customer.id).where(both).order_by(Customer.id).with_for_update()).all()
    return len(locked) == 2


def _merged_before(session: Session, survivor_id: UUID, absorbed_id: UUID) -> CustomerMerge | None:
    """The merge that this call repeats; None if the missing customer has just been restored."""
    first = session.scalars(
        select(CustomerMerge).where(
            CustomerMerge.survivor_id == survivor_id,
            CustomerMerge.absorbed_id == absorbed_id,
            CustomerMerge.undone_at.is_(None),
        )
    ).one_or_none()
    if first is None:
        _refuse_absorbed(session, survivor_id, absorbed_id)
    return first


def _refuse_absorbed(session: Session, *customer_ids: UUID) -> None:
    for id_ in customer_ids:
        current_id = current_customer_id(session, id_)
        if current_id != id_:
            raise AlreadyAbsorbed(id_, current_id)
