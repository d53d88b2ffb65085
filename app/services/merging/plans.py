"""What merging two customers would do, and whom an id stands for."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import RowMapping, text
from sqlalchemy.orm import Session

from ...errors import AlreadyAbsorbed, CustomerErased, CustomerNotFound, SelfMerge
from ...schemas import MergePlan
from .._shared.checks import checked_uuid
from .._shared.redirects import find_living
from . import profiles
from .foreign_keys import FOREIGN_KEYS, ForeignKey, ForeignRows, count_rows, obstacles
from .rows import MOVED_TABLES

_STATE = text(f"""
    SELECT c.id, to_jsonb(c) AS profile,
        (SELECT count(*) FROM conversations WHERE customer_id = c.id) AS conversations,
        (SELECT count(*) FROM messages WHERE customer_id = c.id) AS messages,
        (SELECT count(*) FROM tickets WHERE customer_id = c.id) AS tickets,
        (SELECT count(*) FROM customer_redirects WHERE customer_id = c.id) AS customer_redirects,
        COALESCE((
            SELECT jsonb_agg(jsonb_build_array(id, identifier_type, identifier_value, verified)
                ORDER BY id)
            FROM customer_identifiers WHERE customer_id = c.id
        ), '[]') AS identifiers,
        COALESCE((
            SELECT jsonb_agg(DISTINCT channel)
            FROM conversations WHERE customer_id = c.id AND status IS DISTINCT FROM 'closed'
        ), '[]') AS open_channels,
        EXISTS (SELECT FROM erasures WHERE customer_id = c.id) AS is_erased,
        {FOREIGN_KEYS} AS foreign_keys
    FROM customers AS c WHERE c.id IN (:survivor_id, :absorbed_id)
""").bindparams(moved_tables=list(MOVED_TABLES))  # noqa: S608


class State(NamedTuple):
    """What there is of the two customers."""

    survivor: RowMapping
    absorbed: RowMapping
    foreign_keys: Sequence[ForeignKey]
    foreign_rows: Sequence[ForeignRows]


def plan_merge(session: Session, survivor_id: UUID, absorbed_id: UUID) -> MergePlan:
    """What merging the two would do. Reads only.

    One statement, and a second one where tables of other applications point to customers.

    Raises:
        SelfMerge: both are one customer.
        CustomerNotFound: one of them never existed.
        AlreadyAbsorbed: one of them lives on as another customer.
        CustomerErased: one of them was erased.
    """
    pair = checked_pair(survivor_id, absorbed_id)
    while (state := read_state(session, *pair)) is None:
        refuse_absorbed(session, *pair)
    return plan_of(state)


def current_customer_id(session: Session, customer_id: UUID) -> UUID:
    """The id itself or, for an absorbed customer, the one it lives on as. One statement.

    Raises:
        CustomerNotFound: there never was such a customer.
    """
    customer_id = checked_uuid("customer_id", customer_id)
    living_id = find_living(session, customer_id)
    if living_id is None:
        raise CustomerNotFound(customer_id)
    return living_id


def checked_pair(survivor_id: UUID, absorbed_id: UUID) -> tuple[UUID, UUID]:
    pair = checked_uuid("survivor_id", survivor_id), checked_uuid("absorbed_id", absorbed_id)
    if pair[0] == pair[1]:
        raise SelfMerge
    return pair


def read_state(session: Session, survivor_id: UUID, absorbed_id: UUID) -> State | None:
    """What there is of the survivor and of the absorbed customer; None if one of them is missing.

    Raises:
        CustomerErased: one of them was erased; what is left of it belongs to nobody else.
    """
    pair = {"survivor_id": survivor_id, "absorbed_id": absorbed_id}
    rows = {row["id"]: row for row in session.execute(_STATE, pair).mappings()}
    if len(rows) < 2:
        return None
    for id_, row in rows.items():
        if row["is_erased"]:
            raise CustomerErased(id_)
    foreign_keys = [ForeignKey(**key) for key in rows[survivor_id]["foreign_keys"]]
    return State(
        rows[survivor_id],
        rows[absorbed_id],
        foreign_keys,
        count_rows(session, foreign_keys, survivor_id, absorbed_id),
    )


def plan_of(state: State) -> MergePlan:
    survivor, absorbed = state.survivor, state.absorbed
    fills = profiles.fills(survivor, absorbed)
    ours, theirs = survivor["profile"], absorbed["profile"]
    own_rows = {table: absorbed[table] for table in MOVED_TABLES if table in absorbed}
    own_rows["customer_identifiers"] = len(absorbed["identifiers"])
    foreign_rows = Counter[str]()
    for rows in state.foreign_rows:
        foreign_rows[rows.key.label] += rows.absorbed
    return MergePlan(
        survivor_id=survivor["id"],
        absorbed_id=absorbed["id"],
        rows=add_up(own_rows, foreign_rows),
        blocked=obstacles(state.foreign_keys, state.foreign_rows, fills),
        fills=tuple(fills),
        keeps=tuple(f for f in profiles.FIELDS if f not in fills and theirs[f] not in (None, {}, ours[f])),
        both_open=tuple(c for c in survivor["open_channels"] if c in absorbed["open_channels"]),
        fingerprint=_fingerprint(state),
    )


def _fingerprint(state: State) -> str:
    """A digest of all that a plan rests on; a table without rows of the two is no part of it."""
    sides = [
        {name: value for name, value in side.items() if name not in ("id", "foreign_keys")}
        for side in (state.survivor, state.absorbed)
    ]
    foreign = [
        [*rows.key.identity.values(), rows.survivor, rows.absorbed]
        for rows in state.foreign_rows
        if rows.survivor or rows.absorbed
    ]
    return hashlib.sha256(json.dumps([*sides, foreign], sort_keys=True).encode()).hexdigest()


def add_up(own: Mapping[str, int], foreign: Mapping[str, int]) -> dict[str, int]:
    """Rows by table: another application may have added a column to one of ours."""
    return {table: own.get(table, 0) + foreign.get(table, 0) for table in {**own, **foreign}}


def refuse_absorbed(session: Session, *customer_ids: UUID) -> None:
    for id_ in customer_ids:
        current_id = current_customer_id(session, id_)
        if current_id != id_:
            raise AlreadyAbsorbed(id_, current_id)
