"""The rows of a merge: moved, written down one by one, and given back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from uuid import UUID

from sqlalchemy import ARRAY, CursorResult, Uuid, bindparam, func, select, text
from sqlalchemy.orm import Session

from ...models import CustomerMerge, CustomerMergeMove

MOVED_TABLES = {
    "customer_identifiers": "id",
    "conversations": "id",
    "messages": "id",
    "tickets": "id",
    "customer_redirects": "absorbed_id",
}
"""Every table of this package with a foreign key to customers, and its key."""

_MOVED = ", ".join(
    f"""
    {table}_moved AS (
        UPDATE {table} SET customer_id = :survivor_id WHERE customer_id = :absorbed_id
        RETURNING {key} AS row_id
    )"""  # noqa: S608
    for table, key in MOVED_TABLES.items()
)
_JOURNAL = " UNION ALL ".join(
    f"SELECT CAST(:merge_id AS uuid), '{table}', row_id FROM {table}_moved"  # noqa: S608
    for table in MOVED_TABLES
)
_MOVE = text(f"WITH {_MOVED} INSERT INTO customer_merge_moves (merge_id, table_name, row_id) {_JOURNAL}")

_RETURN = """
    UPDATE {table} SET customer_id = :absorbed_id
    WHERE customer_id = :living_id AND {key} IN (
        SELECT row_id FROM customer_merge_moves
        WHERE merge_id = :merge_id AND table_name = '{table}' AND returned_at IS NULL
    )
"""

_LAPSE = """
    UPDATE customer_merge_moves SET returned_at = clock_timestamp()
    WHERE merge_id = ANY(:merges) AND returned_at IS NULL AND table_name = '{table}'
        AND row_id IN (SELECT {key} FROM {table} WHERE customer_id = :absorbed_id)
"""

# What is given back is joined with the journal, and the statistics may be older than both: a nested loop,
# which looks best for few rows, would compare each with each, half a minute for 10,000. Where there is no
# other way, it counts as so dear that it would be compiled.
_BEGIN_GIVING = text("""
    SELECT current_setting('enable_nestloop') AS loops, set_config('enable_nestloop', 'off', true),
        current_setting('jit') AS jit, set_config('jit', 'off', true),
        set_config('crm.keep_updated_at', 'on', true)
""")
_END_GIVING = text("""
    SELECT set_config('enable_nestloop', :loops, true), set_config('jit', :jit, true),
        set_config('crm.keep_updated_at', '', true)
""")
_END_REDIRECT = text("""
    WITH ended AS (DELETE FROM customer_redirects WHERE absorbed_id = :absorbed_id)
    UPDATE customer_merge_moves SET returned_at = clock_timestamp()
    WHERE table_name = 'customer_redirects' AND row_id = :absorbed_id AND returned_at IS NULL
""")


def move_rows(session: Session, merge_id: UUID, survivor_id: UUID, absorbed_id: UUID) -> None:
    """Give all rows of the absorbed customer to the survivor, and keep which they were; one statement."""
    session.execute(_MOVE, {"merge_id": merge_id, "survivor_id": survivor_id, "absorbed_id": absorbed_id})


def end_redirect(session: Session, absorbed_id: UUID) -> None:
    """Let the id belong to a customer again: while it leads elsewhere, the database refuses one with it."""
    session.execute(_END_REDIRECT, {"absorbed_id": absorbed_id})


def return_rows(
    session: Session, done: CustomerMerge, later: Sequence[CustomerMerge], living_id: UUID
) -> tuple[dict[str, int], dict[str, int]]:
    """Give the merge's rows back to the restored customer; how many went and how many did not, by table.

    Later merges may have moved rows on. Those belong to the restored customer again, so what the later merges
    have to give back is less by them.
    """
    parameters = {"merge_id": done.id, "absorbed_id": done.absorbed_id, "living_id": living_id}
    merges = bindparam("merges", [done.id, *(merge.id for merge in later)], ARRAY(Uuid))
    owed = _owed(session, done.id)
    returned = {}
    with giving_back(session):
        for table, key in MOVED_TABLES.items():
            result = session.execute(text(_RETURN.format(table=table, key=key)), parameters)
            assert isinstance(result, CursorResult)
            returned[table] = result.rowcount
            if returned[table]:
                lapse = text(_LAPSE.format(table=table, key=key)).bindparams(merges)
                session.execute(lapse, {"absorbed_id": done.absorbed_id})
    return returned, {table: owed.get(table, 0) - count for table, count in returned.items()}


def _owed(session: Session, merge_id: UUID) -> dict[str, int]:
    """How many rows the merge has to give back, by table."""
    move = CustomerMergeMove
    counts = (
        select(move.table_name, func.count())
        .where(move.merge_id == merge_id, move.returned_at.is_(None))
        .group_by(move.table_name)
    )
    return dict(session.execute(counts).all())


@contextmanager
def giving_back(session: Session) -> Iterator[None]:
    """Rows change their customer alone, and many at a time; an error leaves it to the caller's savepoint."""
    before = session.execute(_BEGIN_GIVING).one()
    yield
    session.execute(_END_GIVING, {"loops": before.loops, "jit": before.jit})


def keep_updated_at(session: Session, keep: bool) -> None:
    """Whether ``update_updated_at`` leaves rows alone that only change their customer."""
    session.execute(select(func.set_config("crm.keep_updated_at", "on" if keep else "", True)))
