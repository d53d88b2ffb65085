"""Rows of other applications' tables in a merge: moved with their customer, written down, and given back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import CursorResult, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from ...errors import MergeBlocked, from_database, sqlstate
from ...models import CustomerMerge
from .foreign_keys import FOREIGN_KEYS, ForeignKey, count_rows, escaped, quoted
from .rows import MOVED_TABLES, giving_back, keep_updated_at

# SQLSTATEs that are no refusal of a table: connections, conflicts with others, resources, cancellations.
_PASSED_ON = ("08", "25", "40", "53", "55P03", "57", "58", "XX")

_DEBTS = text(f"""
    SELECT {FOREIGN_KEYS} AS foreign_keys, COALESCE((
        SELECT jsonb_agg(to_jsonb(debt) ORDER BY schema_name, table_name, column_name) FROM (
            SELECT schema_name, table_name, column_name, count(*) AS row_count,
                CASE WHEN to_regnamespace(quote_ident(schema_name)) = customers.relnamespace THEN ''
                    ELSE quote_ident(schema_name) || '.'
                END || quote_ident(table_name) AS label
            FROM customer_merge_foreign_moves, pg_class AS customers
            WHERE merge_id = :merge_id AND returned_at IS NULL AND customers.oid = 'customers'::regclass
            GROUP BY schema_name, table_name, column_name, customers.relnamespace
        ) AS debt
    ), '[]') AS debts
""").bindparams(moved_tables=list(MOVED_TABLES))  # noqa: S608


_FOREIGN_KEYS = text(f"SELECT {FOREIGN_KEYS}").bindparams(moved_tables=list(MOVED_TABLES))


class Debt(NamedTuple):
    """Rows of one foreign key that a merge has to give back."""

    label: str
    row_count: int
    key: ForeignKey | None
    """None if the table, or its foreign key, was dropped since: then the rows stay."""


def foreign_rows_of(session: Session, customer_id: UUID) -> tuple[dict[str, int], dict[str, str]]:
    """How many rows of other applications point to the customer, by table; and why tables could not be read.

    One statement, and a second one where such tables exist.
    """
    keys = [ForeignKey(**key) for key in session.execute(_FOREIGN_KEYS).scalar_one()]
    counts = Counter[str]()
    for rows in count_rows(session, keys, customer_id, customer_id):
        counts[rows.key.label] += rows.survivor
    unread = {key.label: reason for key in keys if (reason := key.unreadable())}
    return {table: count for table, count in counts.items() if count}, unread


def move_foreign_rows(
    session: Session, keys: Sequence[ForeignKey], merge_id: UUID, survivor_id: UUID, absorbed_id: UUID
) -> None:
    """Give the absorbed customer's rows of these foreign keys to the survivor, and keep which they were.

    Raises:
        MergeBlocked: a rule of a table keeps its rows where they are; the caller takes back what was done.
    """
    if not keys:
        return
    parameters = {"merge_id": merge_id, "survivor_id": survivor_id, "absorbed_id": absorbed_id}
    keep_updated_at(session, True)
    for key in keys:
        _execute(session, key, _moving(key), parameters | key.identity)
    keep_updated_at(session, False)
    # A row that is left behind would be deleted, or stop the merge, by its ON DELETE.
    for rows in count_rows(session, keys, survivor_id, absorbed_id):
        if rows.absorbed:
            raise MergeBlocked({rows.key.label: "a trigger or a rule of it keeps its rows"})


def foreign_debts(session: Session, done: CustomerMerge, living_id: UUID) -> list[Debt]:
    """What a merge has to give back to other applications' tables, as these are now.

    Raises:
        MergeBlocked: rows cannot go back, or would not follow a field that the undoing changes.
    """
    row = session.execute(_DEBTS, {"merge_id": done.id}).one()
    keys = [ForeignKey(**key) for key in row.foreign_keys]
    by_identity = {tuple(key.identity.values()): key for key in keys if len(key.column_names) == 1}
    debts = [
        Debt(
            debt["label"],
            debt["row_count"],
            by_identity.get((debt["schema_name"], debt["table_name"], debt["column_name"])),
        )
        for debt in row.debts
    ]
    owing = [debt.key for debt in debts if debt.key is not None]
    blocked = {key.label: reason for key in owing if (reason := key.unreadable() or key.unmovable())}
    for key in keys:
        column = key.referenced[0]
        if (
            column in done.filled
            and not key.follows_updates
            and _points_to_filled(session, key, done, living_id)
        ):
            blocked[key.label] = (
                f"the undoing changes the {column} that it points to, without ON UPDATE CASCADE"
            )
    if blocked:
        raise MergeBlocked(blocked)
    return debts


def return_foreign_rows(
    session: Session,
    debts: Sequence[Debt],
    done: CustomerMerge,
    later: Sequence[CustomerMerge],
    living_id: UUID,
) -> tuple[Counter[str], Counter[str]]:
    """Give the rows back to the restored customer; how many went and how many did not, by table.

    As with own rows, what later merges have to give back is less by them.

    Raises:
        MergeBlocked: a rule of a table keeps its rows where they are; the caller takes back what was done.
    """
    returned, stayed = Counter[str](), Counter[str]()
    if not debts:
        return returned, stayed
    parameters = {"merge_id": done.id, "absorbed_id": done.absorbed_id, "living_id": living_id}
    merges = {"merges": [done.id, *(merge.id for merge in later)], "absorbed_id": done.absorbed_id}
    with giving_back(session):
        for label, row_count, key in debts:
            count = 0
            if key is not None:
                count = _execute(session, key, _returning(key), parameters | key.identity)
                _execute(session, key, _lapsing(key), merges | key.identity)
            returned[label] += count
            stayed[label] += row_count - count
    return returned, stayed


def _moving(key: ForeignKey) -> str:
    # A select, since the key may have no column beside the one that changes.
    row_key = ", ".join(f"t.{quoted(name)}" for name in key.row_key)
    return f"""
        WITH moved AS (
            UPDATE {key.source} AS t SET {key.column} = {key.value("survivor_id")}
            WHERE {key.of("absorbed_id")}
            RETURNING (SELECT to_jsonb(k) FROM (SELECT {row_key}) AS k) AS row_key
        )
        INSERT INTO customer_merge_foreign_moves
            (merge_id, schema_name, table_name, column_name, row_key)
        SELECT :merge_id, :schema_name, :table_name, :column_name, row_key FROM moved
    """  # noqa: S608 - names are quoted


# IS TRUE makes the planner look each row up in a hash: a join whose size it misjudges takes minutes.
def _returning(key: ForeignKey) -> str:
    return f"""
        UPDATE {key.source} AS t SET {key.column} = {key.value("absorbed_id")}
        WHERE {key.of("living_id")} AND (({_columns("t", key)}) IN (
            SELECT {_columns("k", key)} FROM {_journal(key)} AND m.merge_id = :merge_id
        )) IS TRUE
    """  # noqa: S608


def _lapsing(key: ForeignKey) -> str:
    return f"""
        UPDATE customer_merge_foreign_moves SET returned_at = clock_timestamp() WHERE id IN (
            SELECT m.id FROM {_journal(key)} AND m.merge_id = ANY(:merges) AND (({_columns("k", key)}) IN (
                SELECT {_columns("t", key)} FROM {key.source} AS t WHERE {key.of("absorbed_id")}
            )) IS TRUE
        )
    """  # noqa: S608


def _journal(key: ForeignKey) -> str:
    """The journal's open rows ``m`` of the foreign key, with the keys ``k`` that they name."""
    typed = ", ".join(f"{quoted(name)} {escaped(type_)}" for name, type_ in (key.key or {}).items())
    return f"""
        customer_merge_foreign_moves AS m, jsonb_to_record(m.row_key) AS k({typed})
        WHERE m.schema_name = :schema_name AND m.table_name = :table_name
            AND m.column_name = :column_name AND m.returned_at IS NULL
    """


def _columns(alias: str, key: ForeignKey) -> str:
    return ", ".join(["true", *(f"{alias}.{quoted(name)}" for name in key.row_key)])


def _points_to_filled(session: Session, key: ForeignKey, done: CustomerMerge, living_id: UUID) -> bool:
    """Whether there are rows by a value that the merge filled in, and that its undoing takes back."""
    column = key.referenced[0]
    query = f"""
        SELECT EXISTS (
            SELECT FROM customers WHERE id = :living_id AND CAST({quoted(column)} AS text) = :filled
        ) AND EXISTS (SELECT FROM {key.source} WHERE {key.of("living_id")})
    """  # noqa: S608
    values = {"living_id": living_id, "filled": done.filled[column][1]}
    return bool(session.scalar(text(query), values))


def _execute(session: Session, key: ForeignKey, statement: str, parameters: Mapping[str, Any]) -> int:
    """How many rows it changed.

    Raises:
        MergeBlocked: the database refuses it.
    """
    try:
        done = session.execute(text(statement), parameters)
    except DBAPIError as error:
        if (sqlstate(error) or "08").startswith(_PASSED_ON):
            raise
        # Not chained: the database's text repeats the refused row.
        reason = from_database(error) or "a rule or a trigger of it refuses the change"
        raise MergeBlocked({key.label: str(reason)}) from None
    assert isinstance(done, CursorResult)
    return done.rowcount
