"""Addresses that other backends stored in their own spelling, brought to the form that is looked for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from uuid import UUID

from sqlalchemy import CursorResult, Update, delete, select, text, update
from sqlalchemy.orm import Session

from ...errors import InvalidValue
from ...models import Customer, CustomerIdentifier
from ...normalization import (
    PLACEHOLDERS,
    identity_key,
    is_blocked,
    is_plain_email,
    normalize_identifier,
    normalize_phone,
)
from ...schemas import Fate, Identifier, NormalizationReport, Uncanonical
from .._shared.acting import acting_as
from .._shared.checks import checked_actor, checked_number
from .holdings import find_holdings
from .reading import lock_keys

MOST_PER_CALL = 1000
"""As many locks as a server surely has room for."""


_BATCH = 500
_IN_ROWS = "customer_identifiers.identifier_value"

_STORED = text("""
    SELECT * FROM (
        SELECT 'customer_identifiers.identifier_value' AS column, id AS row_id, customer_id,
            identifier_type AS type, identifier_value AS stored
        FROM customer_identifiers
        UNION ALL
        SELECT 'customers.email', id, id, 'email', email FROM customers
        WHERE email NOT LIKE :placeholders
        UNION ALL
        SELECT 'customers.phone', id, id, 'phone', phone FROM customers WHERE phone IS NOT NULL
    ) AS addresses
    WHERE :one_in = 1 OR hashtextextended(customer_id::text, 0) % :one_in = 0
    ORDER BY customer_id, row_id, "column"
""").bindparams(placeholders=PLACEHOLDERS)


def find_uncanonical(
    session: Session, *, default_region: str | None = None, one_in: int = 1
) -> NormalizationReport:
    """The stored addresses that are not in canonical form, and what is to become of them. Reads only.

    One statement, and two for every 500 values that it finds. With ``one_in`` it looks at a sample: the
    addresses of one in so many customers, always the same ones.

    Raises:
        InvalidValue: ``default_region`` is not a region, or ``one_in`` is no number above zero.
    """
    normalize_phone("+12025550123", default_region=default_region)  # to refuse a bad region once
    if checked_number("one_in", one_in) < 1:
        raise InvalidValue("one_in", "must be above zero")
    checked = 0
    uncanonical: list[Uncanonical] = []
    # A customer's profile and identifiers often hold the same number.
    canonical: set[tuple[str, str]] = set()
    for row in session.execute(_STORED, {"one_in": one_in}).mappings():
        checked += 1
        address = row["type"], row["stored"]
        if address in canonical or (row["type"] == "email" and is_plain_email(row["stored"])):
            continue
        if (value := _read(dict(row), default_region)) is not None:
            uncanonical.append(value)
        else:
            canonical.add(address)
    readable = [value for value in uncanonical if value.canonical is not None]
    customers: defaultdict[str, set[UUID]] = defaultdict(set)
    for value in readable:
        customers[_key(value)].add(value.customer_id)
    judged = {(value.column, value.row_id): value for value in _judged(session, readable, customers)}
    values = tuple(judged.get((value.column, value.row_id), value) for value in uncanonical)
    return NormalizationReport(checked=checked, values=values)


def normalize_identifiers(
    session: Session, *, actor: str, default_region: str | None = None, dry_run: bool = False
) -> NormalizationReport:
    """Rewrite stored addresses in canonical form: at most 1,000 a call, as the report's ``remaining`` tells.

    Who holds what is never changed: a value that several customers have is reported and left alone, in
    whatever spellings they have it. Two rows of one customer that turn out to be one address become one,
    verified if one of them was. ``dry_run`` is ``find_uncanonical``.

    Takes ``resolve``'s locks on the addresses and then the customers' rows (FOR NO KEY UPDATE) until the
    caller's transaction ends. One to four statements a value.

    Raises:
        InvalidValue: the actor is ill-formed, or ``default_region`` is not a region.
    """
    actor = checked_actor(actor)
    report = find_uncanonical(session, default_region=default_region)
    due = [value for value in report.values if value.fate.is_mended]
    if dry_run or not due:
        return report
    now = due[:MOST_PER_CALL]
    lock_keys(session, [_key(value) for value in now])
    ids = {value.customer_id for value in now}
    session.execute(
        select(Customer.id).where(Customer.id.in_(ids)).order_by(Customer.id).with_for_update(key_share=True)
    )
    written = []
    for value in _judged(session, now, {}):
        fate = value.fate if value.fate is Fate.COLLISION else _write(session, value, actor)
        if fate is not None:
            written.append(value.model_copy(update={"fate": fate}))
    left = (value for value in report.values if not value.fate.is_mended)
    return NormalizationReport(
        checked=report.checked, values=(*written, *left), remaining=len(due) - len(now)
    )


def _read(row: dict[str, str], default_region: str | None) -> Uncanonical | None:
    """None if it is in canonical form."""
    try:
        canonical = normalize_identifier(row["type"], row["stored"], default_region=default_region)
    except InvalidValue as error:
        return Uncanonical.model_validate(row | {"fate": Fate.UNREADABLE, "problem": str(error)})
    if canonical == row["stored"]:
        return None
    if is_blocked(row["type"], canonical):
        problem = f"{row['type']}: identifies nobody"
        return Uncanonical.model_validate(row | {"fate": Fate.UNREADABLE, "problem": problem})
    return Uncanonical.model_validate(row | {"fate": Fate.REWRITTEN, "canonical": canonical})


def _key(value: Uncanonical) -> str:
    return identity_key(value.type, value.canonical or "")


def _judged(
    session: Session, values: Sequence[Uncanonical], customers: dict[str, set[UUID]]
) -> Iterable[Uncanonical]:
    """The values with their fates. ``customers`` are those who have a key in some uncanonical spelling."""
    spelled: set[tuple[str, str]] = set()
    for start in range(0, len(values), _BATCH):
        batch = values[start : start + _BATCH]
        identifiers = [Identifier(type=value.type, value=value.canonical or "") for value in batch]
        holders = [set(customers.get(_key(value), ())) for value in batch]
        for held in find_holdings(session, identifiers):
            holders[held.position].add(held.customer_id)
        spelled |= _rows_spelled(session, batch)
        for value, owners in zip(batch, holders, strict=True):
            others = tuple(sorted(owners - {value.customer_id}))
            row = (value.type.value, value.canonical or "")
            if others:
                yield value.model_copy(update={"fate": Fate.COLLISION, "holders": others})
            elif value.column == _IN_ROWS:
                yield value.model_copy(update={"fate": Fate.JOINED if row in spelled else Fate.REWRITTEN})
                spelled.add(row)
            else:
                yield value


def _rows_spelled(session: Session, values: Iterable[Uncanonical]) -> set[tuple[str, str]]:
    """The canonical values that rows have already."""
    row = CustomerIdentifier
    rows = session.execute(
        select(row.identifier_type, row.identifier_value).where(
            row.identifier_value.in_({value.canonical for value in values})
        )
    )
    return {(type_.value, value) for type_, value in rows}


def _write(session: Session, value: Uncanonical, actor: str) -> Fate | None:
    """What was done; None if the value has changed since it was read."""
    if value.column != _IN_ROWS:
        field = value.column.removeprefix("customers.")
        profile = update(Customer).where(
            Customer.id == value.row_id, getattr(Customer, field) == value.stored
        )
        return Fate.REWRITTEN if _touches(session, profile.values({field: value.canonical})) else None
    twin = session.scalars(
        select(CustomerIdentifier).where(
            CustomerIdentifier.identifier_type == value.type,
            CustomerIdentifier.identifier_value == value.canonical,
        )
    ).one_or_none()
    if twin is not None:
        return _join(session, value, twin, actor)
    row = update(CustomerIdentifier).where(
        CustomerIdentifier.id == value.row_id,
        CustomerIdentifier.identifier_value == value.stored,
        acting_as(actor, "brought to the canonical form"),
    )
    return Fate.REWRITTEN if _touches(session, row.values(identifier_value=value.canonical)) else None


def _touches(session: Session, statement: Update) -> bool:
    done = session.execute(statement)
    assert isinstance(done, CursorResult)
    return done.rowcount > 0


def _join(session: Session, value: Uncanonical, twin: CustomerIdentifier, actor: str) -> Fate | None:
    """Remove the row; its twin has the address in canonical form."""
    verified = session.execute(
        delete(CustomerIdentifier)
        .where(
            CustomerIdentifier.id == value.row_id,
            CustomerIdentifier.identifier_value == value.stored,
            acting_as(actor, "another spelling of an address that the customer has"),
        )
        .returning(CustomerIdentifier.verified)
    ).one_or_none()
    if verified is None:
        return None
    if verified[0] and not twin.verified:
        proven = update(CustomerIdentifier).where(CustomerIdentifier.id == twin.id, acting_as(actor))
        session.execute(proven.values(verified=True))
    return Fate.JOINED
