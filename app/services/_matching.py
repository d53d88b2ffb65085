"""Who an identifier belongs to: the lookup, and the decision made from what it finds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import (
    Integer,
    Select,
    Text,
    and_,
    bindparam,
    column,
    false,
    func,
    literal_column,
    null,
    or_,
    select,
    union_all,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Session, aliased

from ..models import Customer, CustomerIdentifier, IdentifierType
from ..normalization import PLACEHOLDER_DOMAIN, identity_key
from ..schemas import Assurance, Identifier, IdentityPolicy

NUMBER_TYPES = (IdentifierType.PHONE, IdentifierType.WHATSAPP)


@dataclass(frozen=True)
class Holding:
    """A customer who holds one of the identifiers, in a row of its own or only in the profile."""

    position: int
    """Index of the identifier in the call."""
    identifier_id: UUID | None
    """None where only the profile names it: another backend made the customer."""
    customer_id: UUID
    verified: bool
    created_at: datetime
    others_verified: bool
    """The customer holds another identifier that is verified."""
    blanks: frozenset[str]
    """Profile fields of the customer that are still empty."""


def key_of(identifier: Identifier) -> str:
    return identity_key(identifier.type, identifier.value)


def is_number(identifier: Identifier) -> bool:
    return identifier.type in NUMBER_TYPES and identifier.value.startswith("+")


def find_holdings(session: Session, identifiers: Sequence[Identifier]) -> list[Holding]:
    """Everybody who holds one of the canonical identifiers, oldest first. One statement."""
    rows = session.execute(holdings(identifiers)).all()
    in_rows = {row.position for row in rows if row.identifier_id is not None}
    return [
        Holding(
            position=row.position,
            identifier_id=row.identifier_id,
            customer_id=row.customer_id,
            verified=row.verified,
            created_at=row.created_at,
            others_verified=row.others_verified,
            blanks=frozenset(
                name
                for name, blank in (
                    ("name", row.name is None),
                    ("company", row.company is None),
                    ("phone", row.phone is None),
                    ("email", row.email.endswith(f"@{PLACEHOLDER_DOMAIN}")),
                )
                if blank
            ),
        )
        for row in rows
        # A profile counts only for what nobody has a row for.
        if row.identifier_id is not None or row.position not in in_rows
    ]


def holdings(
    identifiers: Sequence[Identifier],
) -> Select[tuple[int, UUID | None, UUID, bool, datetime, bool]]:
    """Rows of ``customer_identifiers`` and profiles that name one of the identifiers."""
    spellings = [
        (position, type_.value, identifier.value)
        for position, identifier in enumerate(identifiers)
        for type_ in (NUMBER_TYPES if is_number(identifier) else (identifier.type,))
    ]
    positions, types, values = zip(*spellings, strict=True)
    wanted = (
        func.unnest(
            bindparam(None, [*positions], ARRAY(Integer)),
            bindparam(None, [*types], ARRAY(Text)),
            bindparam(None, [*values], ARRAY(Text)),
        )
        .table_valued(column("position", Integer), column("type", Text), column("value", Text), name="wanted")
        .render_derived()
    )
    held = CustomerIdentifier
    digits = func.regexp_replace(
        Customer.phone, literal_column("'[^0-9]'"), literal_column("''"), literal_column("'g'")
    )
    matches = union_all(
        select(
            wanted.c.position,
            held.id.label("identifier_id"),
            held.customer_id,
            func.coalesce(held.verified, false()).label("verified"),
            func.coalesce(held.created_at, func.to_timestamp(0)).label("created_at"),
        ).join(held, and_(held.identifier_type == wanted.c.type, held.identifier_value == wanted.c.value)),
        *(
            select(
                wanted.c.position,
                null(),
                Customer.id,
                false(),
                func.coalesce(Customer.created_at, func.to_timestamp(0)),
            ).join(Customer, condition)
            for condition in (
                and_(
                    wanted.c.type == IdentifierType.EMAIL.value, func.lower(Customer.email) == wanted.c.value
                ),
                and_(
                    wanted.c.type == IdentifierType.PHONE.value,
                    Customer.phone.is_not(None),
                    digits == func.substr(wanted.c.value, 2),
                ),
            )
        ),
    ).subquery("matches")
    other = aliased(CustomerIdentifier)
    others_verified = (
        select(other.id)
        .where(
            other.customer_id == matches.c.customer_id,
            other.verified.is_(True),
            or_(matches.c.identifier_id.is_(None), other.id != matches.c.identifier_id),
        )
        .exists()
    )
    return (
        select(
            matches.c.position,
            matches.c.identifier_id,
            matches.c.customer_id,
            matches.c.verified,
            matches.c.created_at,
            others_verified.label("others_verified"),
            Customer.name,
            Customer.company,
            Customer.phone,
            Customer.email,
        )
        .join(Customer, Customer.id == matches.c.customer_id)
        .order_by(matches.c.created_at, matches.c.customer_id, matches.c.position)
    )


@dataclass(frozen=True)
class Decision:
    """What is to be done about a call's identifiers; ``customer_id`` None means a new customer."""

    customer_id: UUID | None
    matched: Holding | None = None
    assurance: Assurance = Assurance.CLAIMED
    conflict: bool = False
    candidates: tuple[UUID, ...] = ()
    verify: tuple[Holding, ...] = ()
    """Claims of the chosen customer that this call proves."""
    reassign: tuple[Holding, ...] = ()
    """Claims on somebody else that this call proves to belong to the new customer."""
    unreported: tuple[UUID, ...] = ()
    """Candidates of a conflict that no event tells of yet."""
    attach: tuple[int, ...] = ()
    """Positions of identifiers that nobody holds in a row of its own."""


def decide(
    identifiers: Sequence[Identifier],
    held: Sequence[Holding],
    *,
    own_type: IdentifierType,
    policy: IdentityPolicy,
) -> Decision:
    """Claims never cross, proof does. A pure function of the call and of what the lookup found."""

    def strength(holding: Holding) -> tuple[bool, bool, datetime, UUID]:
        foreign = identifiers[holding.position].type is not own_type
        return (not holding.verified, foreign, holding.created_at, holding.customer_id)

    proven = [h for h in held if identifiers[h.position].verified]
    strong = [h for h in proven if h.verified] if policy is IdentityPolicy.STRICT else held
    provable = [h for h in proven if not h.verified and not h.others_verified]
    free = tuple(i for i in range(len(identifiers)) if all(h.position != i for h in held))

    if strong or provable:
        matched = min(strong or provable, key=strength)
        assurance = Assurance.VERIFIED
    elif any(identifier.verified for identifier in identifiers):
        # Somebody proves what is new here, or what a customer with proofs of his own only claimed.
        contested = tuple(proven)
        return Decision(
            customer_id=None,
            assurance=Assurance.VERIFIED,
            candidates=_customers(held),
            reassign=tuple(h for h in contested if h.identifier_id is not None),
            attach=tuple(sorted({*free, *(h.position for h in contested if h.identifier_id is None)})),
        )
    elif held:
        matched = min(held, key=strength)
        assurance = Assurance.CLAIMED
    else:
        return Decision(customer_id=None, attach=free)

    mine = [h for h in held if h.customer_id == matched.customer_id]
    rivals = _customers(h for h in held if h.customer_id != matched.customer_id)
    return Decision(
        customer_id=matched.customer_id,
        matched=matched,
        assurance=assurance,
        conflict=bool(rivals),
        candidates=rivals,
        verify=tuple(
            h for h in mine if h.identifier_id and not h.verified and identifiers[h.position].verified
        ),
        attach=tuple(sorted({*free, *(h.position for h in mine if h.identifier_id is None)})),
    )


def _customers(held: Iterable[Holding]) -> tuple[UUID, ...]:
    return tuple(dict.fromkeys(h.customer_id for h in held))
