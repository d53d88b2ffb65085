"""Merge two customers into one, and take it back."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from uuid import UUID

from sqlalchemy import bindparam, select, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from ...errors import (
    ConcurrentChange,
    DuplicateValue,
    MergeBlocked,
    MergeNotFound,
    StalePlan,
)
from ...models import CustomerMerge, uuid7
from ...models.base import table_of
from ...schemas import UnmergeReport
from .._shared.checks import checked_actor, checked_kind, checked_text, checked_uuid, require_transaction
from .._shared.redirects import lock_living
from ..identity.applying import insert_identifiers
from ..identity.erasures import refuse_erased
from ..identity.profile_addresses import forget_addresses, unnamed_addresses
from . import profiles as _merge_profiles
from .foreign_keys import ForeignKey
from .foreign_rows import Debt, foreign_debts, move_foreign_rows, return_foreign_rows
from .plans import State, add_up, checked_pair, plan_of, read_state, refuse_absorbed
from .rows import end_redirect, move_rows, return_rows

# In order, so that A into B and B into A take turns. What deletes nothing locks the table as LOCK TABLE does,
# IN ROW EXCLUSIVE MODE: from here on no foreign key to customers can be added; reading and writing go on.
_LOCK_BOTH = text("""
    WITH keep_foreign_keys AS (DELETE FROM customers WHERE false)
    SELECT id FROM customers WHERE id IN (:survivor_id, :absorbed_id) ORDER BY id FOR UPDATE
""")
# Rows that move are not changed from here on; see keep_updated_at.
_MERGES = table_of(CustomerMerge)
_BEGIN = select(CustomerMerge).from_statement(
    text(f"""
        INSERT INTO customer_merges (id, survivor_id, absorbed_id, actor, reason, absorbed, filled)
        SELECT :merge_id, :survivor_id, id, :actor, :reason, to_jsonb(customers), :filled
        FROM customers
        WHERE id = :absorbed_id AND set_config('crm.keep_updated_at', 'on', true) IS NOT NULL
        RETURNING {", ".join(column.name for column in _MERGES.c)}
    """)  # noqa: S608
    .bindparams(bindparam("filled", type_=JSONB()))
    .columns(*_MERGES.c)
)
# Counted, so that the customer is gone before the redirect is there; and what a trigger keeps gets none.
_END = text("""
    WITH gone AS (DELETE FROM customers WHERE id = :absorbed_id RETURNING id)
    INSERT INTO customer_redirects (absorbed_id, customer_id, merge_id)
    SELECT :absorbed_id, :survivor_id, :merge_id FROM (SELECT count(*) FROM gone) AS done
    RETURNING set_config('crm.keep_updated_at', '', true)
""")

_UNDO = text("""
    UPDATE customer_merges SET undone_at = clock_timestamp(), undone_by = :actor, undo_reason = :reason
    WHERE id = :merge_id
""")
_KEEP_REPORT = text("UPDATE customer_merges SET undo_report = :report WHERE id = :merge_id").bindparams(
    bindparam("report", type_=JSONB())
)
_IS_THERE = text("SELECT EXISTS (SELECT FROM customers WHERE id = :id)")
_ABSORBING = (
    select(CustomerMerge)
    .where(CustomerMerge.absorbed_id == bindparam("customer_id"), CustomerMerge.undone_at.is_(None))
    .execution_options(populate_existing=True)
)
_MERGED = select(CustomerMerge).where(
    CustomerMerge.survivor_id == bindparam("survivor"),
    CustomerMerge.absorbed_id == bindparam("absorbed"),
    CustomerMerge.undone_at.is_(None),
)


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

    So does what other applications keep in tables of their own with a foreign key to customers. Blank profile
    fields of the survivor are filled, nothing is overwritten. The absorbed id leads to the survivor from now
    on, also for rows that other backends insert for it at this very moment. Every moved row is journalled for
    ``unmerge``. Repeating the call returns the first merge.

    Locks both customers' rows FOR UPDATE, in the order of their ids, until the caller's transaction ends. At
    most 9 statements, whatever the customers have, and some for each table of another application that has
    rows to move. Objects of the session are expired.

    Raises:
        SelfMerge: both are one customer.
        CustomerNotFound: one of them never existed.
        AlreadyAbsorbed: one of them lives on as another customer.
        CustomerErased: one of them was erased.
        StalePlan: ``fingerprint`` was given and the customers have changed since.
        MergeBlocked: rows of another application cannot move; nothing was done.
        ConcurrentChange: at REPEATABLE READ, a row came that the transaction cannot see.
        InvalidValue: the actor or the reason is ill-formed, or the session is in autocommit mode.
    """
    require_transaction(session)
    survivor_id, absorbed_id = checked_pair(survivor_id, absorbed_id)
    actor, reason = checked_actor(actor), checked_text("reason", reason, max_length=10_000)
    if fingerprint is not None:
        checked_kind("fingerprint", fingerprint, str)
    session.flush()
    while not _lock_both(session, survivor_id, absorbed_id):
        if first := _merged_before(session, survivor_id, absorbed_id):
            return first
    state = read_state(session, survivor_id, absorbed_id)
    assert state is not None
    plan = plan_of(state)
    if fingerprint is not None and fingerprint != plan.fingerprint:
        raise StalePlan
    if plan.blocked:
        raise MergeBlocked(plan.blocked)

    foreign_keys = [rows.key for rows in state.foreign_rows if rows.absorbed]
    # Rules of other applications' tables may refuse what no plan can foresee.
    with session.begin_nested() if foreign_keys else nullcontext():
        return _merge(session, state, foreign_keys, actor=actor, reason=reason)


def _merge(
    session: Session, state: State, foreign_keys: Sequence[ForeignKey], *, actor: str, reason: str
) -> CustomerMerge:
    """Do what was planned."""
    filled = _merge_profiles.fills(state.survivor, state.absorbed)
    unnamed = unnamed_addresses(session, state.absorbed)
    named = {"identifiers": [None, [str(row["id"]) for row in unnamed]]} if unnamed else {}
    merge_id = uuid7()
    ids = {"merge_id": merge_id, "survivor_id": state.survivor["id"], "absorbed_id": state.absorbed["id"]}
    session.expire_all()
    done: CustomerMerge = session.scalars(
        _BEGIN, ids | {"actor": actor, "reason": reason, "filled": filled | named}
    ).one()
    if unnamed:
        insert_identifiers(session, unnamed, actor=actor, only_free=True)
    move_rows(session, **ids)
    move_foreign_rows(session, foreign_keys, **ids)
    try:
        session.execute(_END, ids)
    except IntegrityError:
        # A row that this transaction's snapshot does not show: it is older than the lock.
        raise ConcurrentChange from None
    if filled:
        _merge_profiles.fill(session, merge_id, ids["survivor_id"], filled)
    return done


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
        CustomerErased: it was erased, and the absorbed customer with it.
        DuplicateValue: past the database's guard, somebody has stored the absorbed customer's id again.
        MergeBlocked: rows of another application cannot go back; nothing was done.
        InvalidValue: the actor or the reason is ill-formed, or the session is in autocommit mode.
    """
    require_transaction(session)
    merge_id = checked_uuid("merge_id", merge_id)
    actor, reason = checked_actor(actor), checked_text("reason", reason, max_length=10_000)
    session.flush()
    done = session.get(CustomerMerge, merge_id, populate_existing=True)
    if done is None:
        raise MergeNotFound(merge_id)
    if done.undo_report is None:
        # Customers first, as a merge locks them; then nobody else can undo this one.
        living_id = lock_living(session, done.survivor_id, key_share=False)
        refuse_erased(session, living_id)
        session.refresh(done, with_for_update=True)
    if done.undo_report is not None:
        return UnmergeReport.model_validate(done.undo_report)

    if session.scalar(_IS_THERE, {"id": done.absorbed_id}):
        raise DuplicateValue(f"there is a customer {done.absorbed_id} again; give it another id first")
    later = _later_merges(session, done.survivor_id, living_id)
    debts = foreign_debts(session, done, living_id)
    # As in a merge, rules of other applications' tables may refuse.
    with session.begin_nested() if debts else nullcontext():
        # First, so that the rows that go back are known to go by it.
        session.execute(_UNDO, {"merge_id": merge_id, "actor": actor, "reason": reason})
        report = _give_back(session, done, later, debts, living_id, actor=actor)
        session.execute(_KEEP_REPORT, {"merge_id": merge_id, "report": report.model_dump(mode="json")})
    session.expire_all()
    return report


def _give_back(
    session: Session,
    done: CustomerMerge,
    later: Sequence[CustomerMerge],
    debts: Sequence[Debt],
    living_id: UUID,
    *,
    actor: str,
) -> UnmergeReport:
    """Restore the absorbed customer's row, and give the rows back."""
    end_redirect(session, done.absorbed_id)
    undecided = _merge_profiles.take_back(session, done, later, living_id)
    undecided += _merge_profiles.restore(session, done)
    returned, stayed = return_rows(session, done, later, living_id)
    returned["customer_identifiers"] -= forget_addresses(session, done, actor=actor)
    foreign_returned, foreign_stayed = return_foreign_rows(session, debts, done, later, living_id)
    messages_since = session.scalar(
        text("""
            SELECT count(*) FROM messages JOIN conversations ON conversations.id = messages.conversation_id
            WHERE conversations.customer_id = :absorbed_id AND messages.customer_id = :living_id
        """),
        {"absorbed_id": done.absorbed_id, "living_id": living_id},
    )
    return UnmergeReport(
        merge_id=done.id,
        restored_id=done.absorbed_id,
        survivor_id=living_id,
        returned=add_up(returned, foreign_returned),
        stayed=add_up(stayed, foreign_stayed),
        messages_since=messages_since or 0,
        undecided_fields=tuple(dict.fromkeys(undecided)),
    )


def _later_merges(session: Session, survivor_id: UUID, living_id: UUID) -> list[CustomerMerge]:
    """The merges by which the survivor lives on as another customer, the first one first.

    The living customer's lock keeps them: to undo one of them, it is needed too.
    """
    later: list[CustomerMerge] = []
    while survivor_id != living_id:
        later.append(session.scalars(_ABSORBING, {"customer_id": survivor_id}).one())
        survivor_id = later[-1].survivor_id
    return later


def _lock_both(session: Session, survivor_id: UUID, absorbed_id: UUID) -> bool:
    """Lock both rows and the foreign keys to customers; whether both are there."""
    pair = {"survivor_id": survivor_id, "absorbed_id": absorbed_id}
    return len(session.execute(_LOCK_BOTH, pair).all()) == 2


def _merged_before(session: Session, survivor_id: UUID, absorbed_id: UUID) -> CustomerMerge | None:
    """The merge that this call repeats; None if the missing customer has just been restored."""
    first = session.scalars(_MERGED, {"survivor": survivor_id, "absorbed": absorbed_id}).one_or_none()
    if first is None:
        refuse_absorbed(session, survivor_id, absorbed_id)
    return first
