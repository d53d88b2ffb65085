"""Whose call it is: the decision made from what the lookup found."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from ...models import IdentifierType
from ...schemas import Assurance, Identifier, IdentityPolicy
from .holdings import Holding


@dataclass(frozen=True)
class Match:
    """The call is of a customer that there is."""

    customer_id: UUID
    matched: Holding
    assurance: Assurance
    candidates: tuple[UUID, ...] = ()
    """Others who hold an identifier of the call: a conflict."""
    verify: tuple[Holding, ...] = ()
    """Claims of the customer that this call proves."""
    contested: tuple[Holding, ...] = ()
    """Claims on somebody else whose messages came here, and which this call proves to be the customer's."""
    attach: tuple[int, ...] = ()
    """Positions of identifiers that nobody holds in a row of its own."""
    unreported: tuple[UUID, ...] = ()
    """Candidates that no event tells of yet."""


@dataclass(frozen=True)
class NewCustomer:
    """The call is of nobody yet."""

    assurance: Assurance
    candidates: tuple[UUID, ...] = ()
    contested: tuple[Holding, ...] = ()
    """Claims on somebody else that this call proves to belong to the new customer."""
    attach: tuple[int, ...] = ()
    """Positions of identifiers that nobody holds in a row of its own."""

    diverted: tuple[Holding, ...] = ()
    """Claims of customers with proofs that this call only claims: what claims the same later comes here."""

    @property
    def reassign(self) -> tuple[Holding, ...]:
        """Claims whose row moves."""
        return tuple(_with_row(self.contested))


Decision = Match | NewCustomer


def decide(
    identifiers: Sequence[Identifier],
    held: Sequence[Holding],
    *,
    own_type: IdentifierType,
    policy: IdentityPolicy,
) -> Decision:
    """Claims never cross, proof does. A pure function of the call and of what the lookup found.

    1. A proof of what a customer has proven is that customer, with assurance; any other match is a claim.
    2. A claim is kept on the matched customer and never takes what somebody holds. What matches only claims
       of customers with proofs goes to a new customer, and what claims the same later goes there too: nobody
       reads what others wrote because he typed their address first.
    3. A proof of what is only claimed makes the claim true, unless the customer has, or ever had, a proof of
       its own: then the claim was wrong, and the identifier goes to a new customer.
    4. Identifiers of several customers: the strongest decides, and the others are candidates.
    5. What identifies nobody does not get here.
    6. Who has an address only in the profile claims it, and gets a row for it.

    LENIENT takes every identifier as proof.
    """
    call = {position: identifier.verified for position, identifier in enumerate(identifiers)}
    with_proof = any(call.values())
    if policy is IdentityPolicy.LENIENT:
        eligible = held = [holding for holding in held if not holding.diverted]
    elif with_proof:
        eligible = _eligible_by_proof(call, held)
    else:
        eligible = [holding for holding in held if can_be_claimed(holding)]
        held = _without_those_led_away(held, eligible)
    trusted = with_proof or (policy is IdentityPolicy.LENIENT and bool(held))
    assurance = Assurance.VERIFIED if trusted else Assurance.CLAIMED
    if not eligible:
        return _new_customer(call, held, assurance)

    def strength(holding: Holding) -> tuple[bool, bool, datetime, UUID]:
        is_foreign = identifiers[holding.position].type is not own_type
        return (not holding.verified, is_foreign, holding.held_since, holding.customer_id)

    return _match(call, held, min(eligible, key=strength), assurance)


def _eligible_by_proof(call: Mapping[int, bool], held: Sequence[Holding]) -> list[Holding]:
    proven = [holding for holding in held if call[holding.position]]
    again = [holding for holding in proven if is_proven_again(holding)]
    return again or [holding for holding in proven if can_be_proven(holding)]


def _without_those_led_away(held: Sequence[Holding], eligible: Sequence[Holding]) -> list[Holding]:
    """A claim that leads to another customer since rule 2 is no longer one of whoever it led away from."""
    led_away = {holding.position for holding in eligible if holding.diverted}
    return [holding for holding in held if holding.position not in led_away or can_be_claimed(holding)]


def is_proven_again(holding: Holding) -> bool:
    """Rule 1, of an identifier that the call proves."""
    return holding.verified


def can_be_claimed(holding: Holding) -> bool:
    """Rule 2, of an identifier that the call only claims: nobody with proofs would read it as his own."""
    return holding.verified or holding.merged or not holding.has_proofs


def can_be_proven(holding: Holding) -> bool:
    """Rule 3, of an identifier that the call proves: nobody else can be behind the customer."""
    return not holding.verified and not holding.has_proofs


def _match(
    call: Mapping[int, bool], held: Sequence[Holding], matched: Holding, assurance: Assurance
) -> Match:
    mine = [holding for holding in held if holding.customer_id == matched.customer_id]
    others = [holding for holding in held if holding.customer_id != matched.customer_id]
    claims = [holding for holding in mine if call[holding.position] and not holding.verified]
    led_here = {holding.position for holding in mine if holding.diverted and call[holding.position]}
    return Match(
        customer_id=matched.customer_id,
        matched=matched,
        assurance=assurance,
        candidates=_customers(others),
        verify=tuple(_with_row(claims)),
        contested=tuple(
            holding for holding in _with_row(others) if holding.position in led_here and not holding.verified
        ),
        attach=_free(call, held, mine),
    )


def _new_customer(call: Mapping[int, bool], held: Sequence[Holding], assurance: Assurance) -> NewCustomer:
    rows = [holding for holding in held if not holding.diverted]
    proven = [holding for holding in rows if call[holding.position]]
    claimed = [] if any(call.values()) else rows
    return NewCustomer(
        assurance=assurance,
        candidates=_customers(held),
        contested=tuple(proven),
        attach=_free(call, held, [*proven, *claimed]),
        diverted=tuple(_with_row(claimed)),
    )


def _free(call: Mapping[int, bool], held: Sequence[Holding], own: Iterable[Holding]) -> tuple[int, ...]:
    """Positions of what nobody holds, and of what the customer's own claim has no row for."""
    unheld = call.keys() - {holding.position for holding in held}
    without_row = {
        holding.position for holding in own if holding.identifier_id is None and not holding.diverted
    }
    return tuple(sorted(unheld | without_row))


def _with_row(holdings: Iterable[Holding]) -> Iterator[Holding]:
    """Those that are a row of identifiers, and not only of a profile."""
    return (holding for holding in holdings if holding.identifier_id is not None)


def _customers(holdings: Iterable[Holding]) -> tuple[UUID, ...]:
    return tuple(dict.fromkeys(holding.customer_id for holding in holdings))
