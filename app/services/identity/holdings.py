"""Who holds an identifier: in a row of its own, or only in the profile."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    Boolean,
    DateTime,
    Integer,
    Text,
    Uuid,
    bindparam,
    column,
    func,
    select,
    text,
)
from sqlalchemy.orm import Session
from sqlalchemy.types import TypeEngine

from ...models import Customer, IdentifierType
from ...models.base import table_of
from ...normalization import is_placeholder, normalize_stored, search_key
from ...schemas import Identifier
from .reading import NUMBER_TYPES, is_number


class Profile(NamedTuple):
    """What a customer's row tells, as somebody stored it."""

    name: str | None
    company: str | None
    phone: str | None
    email: str


SOUGHT = (
    bindparam("positions", type_=ARRAY(Integer)),
    bindparam("types", type_=ARRAY(Text)),
    bindparam("addresses", type_=ARRAY(Text)),
    bindparam("keys", type_=ARRAY(Text)),
)
"""The parameters of ``identity_matches``; see ``sought``."""

_SOUGHT_ONE = [bindparam(name, type_=Text()) for name in ("type", "other_type", "address", "key")]

_TYPES: dict[str, TypeEngine[Any]] = {
    "position": Integer(),
    "identifier_id": Uuid(),
    "customer_id": Uuid(),
    "verified": Boolean(),
    "held_since": DateTime(timezone=True),
    "has_proofs": Boolean(),
    "diverted": Boolean(),
    "merged": Boolean(),
    "name": Text(),
    "company": Text(),
    "phone": Text(),
    "email": Text(),
}
_COLUMNS = [column(name, type_) for name, type_ in _TYPES.items()]
_MATCHES = select(func.identity_matches(*SOUGHT).table_valued(*_COLUMNS, name="matches"))
# A single address, which most calls have, is read faster from its rows; a number may have two. What is proven
# settles it, as no rule asks for more about it: only of anything else all has to be known.
_ROWS_OF_ONE = """
    WITH held AS MATERIALIZED (
        SELECT id, customer_id, COALESCE(verified, false) AS verified,
            COALESCE(created_at, to_timestamp(0)) AS held_since
        FROM customer_identifiers
        WHERE identifier_type IN (:type, :other_type) AND identifier_value = :address
    ), matches AS NOT MATERIALIZED (
        SELECT * FROM identity_matches(
            ARRAY[0, 0], ARRAY[:type, :other_type], ARRAY[:address, :address], ARRAY[:key]
        )
    )
"""
_MATCHES_OF_ONE = (
    text(f"""
        {_ROWS_OF_ONE}
        SELECT 0, held.id, held.customer_id, true, held.held_since, true, false, false,
            c.name, c.company, c.phone, c.email
        FROM held JOIN customers AS c ON c.id = held.customer_id
        WHERE (SELECT bool_and(verified) FROM held)
        UNION ALL
        SELECT {", ".join(_TYPES)} FROM matches WHERE (SELECT bool_and(verified) FROM held) IS NOT TRUE
    """)  # noqa: S608
    .bindparams(*_SOUGHT_ONE)
    .columns(*_COLUMNS)
)
_CUSTOMERS = table_of(Customer)
_HOLDERS = select(Customer, column("in_row")).from_statement(
    text(f"""
        {_ROWS_OF_ONE}
        SELECT {", ".join(f"c.{column.name}" for column in _CUSTOMERS.c)}, holder.in_row
        FROM (
            SELECT customer_id, verified, held_since, true AS in_row FROM held
            UNION ALL
            SELECT customer_id, false, held_since, false FROM matches
            WHERE NOT EXISTS (SELECT FROM held) AND NOT diverted
        ) AS holder JOIN customers AS c ON c.id = holder.customer_id
        ORDER BY holder.verified DESC, holder.held_since, c.id
    """)  # noqa: S608
    .bindparams(*_SOUGHT_ONE)
    .columns(*_CUSTOMERS.c, column("in_row", Boolean()))
)


@dataclass(frozen=True)
class Holding:
    """A customer who holds one of the identifiers, in a row of its own or only in the profile."""

    position: int
    """Index of the identifier in the call."""
    identifier_id: UUID | None
    """None where only the profile names it: another backend made the customer."""
    customer_id: UUID
    verified: bool
    held_since: datetime
    has_proofs: bool
    """The customer holds a verified identifier, or once held one."""
    profile: Profile
    diverted: bool = False
    """Somebody else's claim, whose messages go to this customer: see rule 2."""
    merged: bool = False
    """The claim came by a merge with a customer who had proven nothing: a person says that they are one."""

    @property
    def blanks(self) -> frozenset[str]:
        """Profile fields that are still empty."""
        empty = {field for field, value in self.profile._asdict().items() if value is None}
        if is_placeholder(self.profile.email):
            empty.add("email")
        return frozenset(empty)


class Matches(NamedTuple):
    """What a look for a call's identifiers brings."""

    held: list[Holding]
    """The holders, oldest first, and to whom messages went that matched only their claims."""
    passed_over: list[UUID]
    """Customers whose profiles have the key of one, and tell another address."""


def find_holdings(
    session: Session, identifiers: Sequence[Identifier], *, default_region: str | None = None
) -> list[Holding]:
    """Everybody who holds one of the canonical identifiers, oldest first. One statement."""
    held, _ = find_matches(session, identifiers, default_region=default_region)
    return [holding for holding in held if not holding.diverted]


def find_matches(
    session: Session, identifiers: Sequence[Identifier], *, default_region: str | None = None
) -> Matches:
    """The holders, and to whom messages went that matched only their claims. One statement."""
    if not identifiers:
        return Matches([], [])
    if len(identifiers) == 1:
        rows = session.execute(_MATCHES_OF_ONE, sought_one(identifiers[0])).all()
    else:
        rows = session.execute(_MATCHES, sought(identifiers)).all()
    held = _holders(identifiers, [_holding(row, profile_of(row)) for row in rows], default_region)
    customers = {holding.customer_id for holding in held}
    return Matches(held, [row.customer_id for row in rows if row.customer_id not in customers])


def find_matches_of_each(
    session: Session, identifiers: Sequence[Identifier], *, default_region: str | None = None
) -> list[Matches]:
    """The matches of each identifier on its own, all in one statement."""
    matches = [Matches([], []) for _ in identifiers]
    if not identifiers:
        return matches
    rows = session.execute(_MATCHES, sought(identifiers)).all()
    for holding in _holders(identifiers, [_holding(row, profile_of(row)) for row in rows], default_region):
        matches[holding.position].held.append(holding)
    for row in rows:
        held, passed_over = matches[row.position]
        if all(holding.customer_id != row.customer_id for holding in held):
            passed_over.append(row.customer_id)
    return matches


def find_holder(
    session: Session, identifier: Identifier, *, default_region: str | None = None
) -> Customer | None:
    """The customer who holds it: by a row before a profile, verified before claimed, then the oldest."""
    customer: Customer
    for customer, in_row in session.execute(_HOLDERS, sought_one(identifier)):
        if in_row or is_named(profile_of(customer), identifier, default_region=default_region):
            return customer
    return None


def profile_of(row: Any) -> Profile:
    return Profile(row.name, row.company, row.phone, row.email)


def is_named(profile: Profile, identifier: Identifier, *, default_region: str | None = None) -> bool:
    """Whether the profile tells the identifier, in any spelling."""
    if is_number(identifier):
        type_, stored = IdentifierType.PHONE, profile.phone
    else:
        type_, stored = identifier.type, profile.email
    if stored is None or type_ is IdentifierType.WHATSAPP:
        return False
    return normalize_stored(type_, stored, default_region=default_region) == identifier.value


def sought(identifiers: Sequence[Identifier]) -> dict[str, list[Any]]:
    """The parameters of the lookup: a number is looked for under each type that it may be stored under."""
    spellings = [
        (position, type_.value, identifier.value, search_key(type_, identifier.value))
        for position, identifier in enumerate(identifiers)
        for type_ in (NUMBER_TYPES if is_number(identifier) else (identifier.type,))
    ]
    positions, types, addresses, keys = map(list, zip(*spellings, strict=True)) if spellings else ([],) * 4
    return {"positions": positions, "types": types, "addresses": addresses, "keys": keys}


def sought_one(identifier: Identifier) -> dict[str, str | None]:
    """The parameters of the lookup of a single identifier, which are read faster than lists."""
    type_, other_type = identifier.type, None
    if is_number(identifier):
        type_, other_type = NUMBER_TYPES
    key = search_key(type_, identifier.value)
    return {"type": type_, "other_type": other_type, "address": identifier.value, "key": key}


def age(holding: Holding) -> tuple[datetime, UUID, int, str]:
    """The order of holders: the oldest first. Rows of one transaction are of one age: their ids settle it."""
    return holding.held_since, holding.customer_id, holding.position, str(holding.identifier_id or "")


def _holding(row: Any, profile: Profile) -> Holding:
    facts = (row.position, row.identifier_id, row.customer_id, row.verified, row.held_since, row.has_proofs)
    return Holding(*facts, profile, row.diverted, row.merged)


def _holders(
    identifiers: Sequence[Identifier], holdings: Iterable[Holding], default_region: str | None
) -> list[Holding]:
    """The oldest first; a profile counts only for what nobody has a row for."""
    ordered = sorted(holdings, key=age)
    in_rows = {h.position for h in ordered if h.identifier_id is not None}
    return [
        h
        for h in ordered
        if h.identifier_id is not None
        or h.diverted
        or (
            h.position not in in_rows
            and is_named(h.profile, identifiers[h.position], default_region=default_region)
        )
    ]
