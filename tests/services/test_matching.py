"""The decision who an identifier belongs to: claims never cross, proof does. No database needed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.models import IdentifierType
from app.schemas import Assurance, Identifier, IdentityPolicy
from app.services._matching import Decision, Holding, decide

EMAIL, PHONE, WHATSAPP = IdentifierType.EMAIL, IdentifierType.PHONE, IdentifierType.WHATSAPP
ANA, BEN, CAT = (UUID(int=n) for n in (1, 2, 3))
YEAR_ONE = datetime(2020, 1, 1, tzinfo=UTC)
STRICT, LENIENT = IdentityPolicy.STRICT, IdentityPolicy.LENIENT


def identifier(n: int = 0, *, type_: IdentifierType = EMAIL, verified: bool = False) -> Identifier:
    value = f"{n}@example.com" if type_ is EMAIL else f"+4915100000{n:03}"
    return Identifier(type=type_, value=value, verified=verified)


def holding(customer: UUID, position: int = 0, **facts: object) -> Holding:
    given_ = {
        "identifier_id": UUID(int=1000 + customer.int * 10 + position),
        "verified": False,
        "created_at": YEAR_ONE + timedelta(days=customer.int),
        "others_verified": False,
        "blanks": frozenset(),
    } | facts
    return Holding(position=position, customer_id=customer, **given_)


def decided(calls: list[Identifier], held: list[Holding], policy: IdentityPolicy = STRICT) -> Decision:
    return decide(calls, held, own_type=EMAIL, policy=policy)


@pytest.mark.parametrize("verified", [False, True])
def test_what_nobody_holds_makes_a_new_customer(verified):
    decision = decided([identifier(0, verified=verified), identifier(1)], [])
    assert (decision.customer_id, decision.attach, decision.candidates) == (None, (0, 1), ())
    assert decision.assurance is (Assurance.VERIFIED if verified else Assurance.CLAIMED)


def test_proof_of_what_was_proven_is_the_customer():
    decision = decided([identifier(verified=True), identifier(1)], [holding(ANA, verified=True)])
    assert (decision.customer_id, decision.assurance, decision.attach) == (ANA, Assurance.VERIFIED, (1,))


@pytest.mark.parametrize("proven", [False, True])
def test_a_claim_matches_without_assurance(proven):
    decision = decided([identifier()], [holding(ANA, verified=proven)])
    assert (decision.customer_id, decision.assurance) == (ANA, Assurance.CLAIMED)
    assert (decision.verify, decision.reassign) == ((), ())


def test_proof_of_the_only_claim_of_a_customer_verifies_it():
    claim = holding(ANA)
    decision = decided([identifier(verified=True)], [claim])
    assert (decision.customer_id, decision.verify) == (ANA, (claim,))
    assert decision.assurance is Assurance.VERIFIED


def test_proof_of_what_a_proven_customer_only_claimed_goes_to_a_new_customer():
    claim = holding(ANA, others_verified=True)
    decision = decided([identifier(verified=True)], [claim])
    assert (decision.customer_id, decision.reassign, decision.candidates) == (None, (claim,), (ANA,))
    assert not decision.conflict


def test_a_claim_beside_a_proof_of_something_new_does_not_reach_the_victim():
    victim = holding(ANA, 1, verified=True)
    decision = decided([identifier(0, verified=True), identifier(1)], [victim])
    assert (decision.customer_id, decision.attach, decision.candidates) == (None, (0,), (ANA,))
    assert decision.reassign == ()


def test_two_customers_in_one_call_are_a_conflict_and_nothing_of_the_other_moves():
    decision = decided(
        [identifier(0, verified=True), identifier(1, verified=True)],
        [holding(ANA, 0, verified=True), holding(BEN, 1)],
    )
    assert (decision.customer_id, decision.conflict, decision.candidates) == (ANA, True, (BEN,))
    assert (decision.verify, decision.reassign, decision.attach) == ((), (), ())


@pytest.mark.parametrize(
    ("held", "expected"),
    [
        pytest.param([holding(ANA, 0), holding(BEN, 1, verified=True)], BEN, id="verified before claimed"),
        pytest.param([holding(ANA, 1), holding(BEN, 0)], BEN, id="the channel's own type"),
        pytest.param([holding(BEN, 0), holding(ANA, 0)], ANA, id="the oldest"),
    ],
)
def test_the_strongest_identifier_wins(held, expected):
    calls = [identifier(0), identifier(1, type_=PHONE)]
    for order in (held, held[::-1]):
        decision = decided(calls, order)
        assert (decision.customer_id, decision.conflict) == (expected, True)


def test_a_profile_alone_is_a_claim_that_gets_its_row():
    decision = decided([identifier()], [holding(ANA, identifier_id=None)])
    assert (decision.customer_id, decision.attach, decision.verify) == (ANA, (0,), ())
    proven = decided([identifier(verified=True)], [holding(ANA, identifier_id=None)])
    assert (proven.customer_id, proven.attach, proven.assurance) == (ANA, (0,), Assurance.VERIFIED)


def test_the_lenient_policy_takes_every_identifier_as_proof():
    held = [holding(ANA, 0, verified=True, others_verified=True)]
    decision = decided([identifier(0), identifier(1, verified=True)], held, LENIENT)
    assert (decision.customer_id, decision.assurance, decision.attach) == (ANA, Assurance.VERIFIED, (1,))


@st.composite
def situations(draw: st.DrawFn) -> tuple[list[Identifier], list[Holding]]:
    """A call, and holdings as the database could return them: no key with two rows of one type."""
    calls = [
        identifier(n, type_=draw(st.sampled_from(IdentifierType)), verified=draw(st.booleans()))
        for n in range(draw(st.integers(1, 4)))
    ]
    people = [ANA, BEN, CAT][: draw(st.integers(1, 3))]
    rows = []
    for position, call in enumerate(calls):
        # A number may have a row as a phone and one as a WhatsApp id; profiles count where there is no row.
        owners = draw(st.lists(st.sampled_from(people), max_size=1 if call.type is EMAIL else 2))
        for n, owner in enumerate(owners):
            row_id = UUID(int=1000 + position * 10 + n)
            rows.append(holding(owner, position, identifier_id=row_id, verified=draw(st.booleans())))
        if not owners:
            names = draw(st.lists(st.sampled_from(people), unique=True, max_size=2))
            rows += [holding(name, position, identifier_id=None) for name in names]
    elsewhere = {person: draw(st.booleans()) for person in people}
    held = [
        replace(
            row,
            others_verified=elsewhere[row.customer_id]
            or any(o is not row and o.customer_id == row.customer_id and o.verified for o in rows),
        )
        for row in rows
    ]
    return calls, draw(st.permutations(held))


@given(situation=situations(), policy=st.sampled_from(IdentityPolicy))
@settings(max_examples=200, deadline=None)
def test_no_identifier_ever_has_two_owners_or_moves_without_proof(situation, policy):
    calls, held = situation
    decision = decided(calls, held, policy)
    in_rows = {h.position for h in held if h.identifier_id is not None}
    assert in_rows.isdisjoint(decision.attach)
    assert len(set(decision.attach)) == len(decision.attach)
    free = set(range(len(calls))) - {h.position for h in held}
    assert free <= set(decision.attach)
    for changed in (*decision.verify, *decision.reassign):
        assert calls[changed.position].verified
        assert changed.identifier_id is not None
    assert all(h.customer_id == decision.customer_id for h in decision.verify)
    assert not decision.reassign or decision.customer_id is None


@given(situation=situations())
@settings(max_examples=200, deadline=None)
def test_what_was_proven_never_moves_and_claims_reach_no_proven_customer_as_proof(situation):
    calls, held = situation
    decision = decided(calls, held)
    assert not any(h.verified for h in decision.reassign)
    if not any(call.verified for call in calls):
        assert decision.assurance is Assurance.CLAIMED
        assert decision.verify == decision.reassign == ()
    elif decision.customer_id is not None:
        # Who proves something is never somebody else's customer by a claim beside it.
        matched = decision.matched
        assert matched is not None
        assert calls[matched.position].verified
        assert matched.verified or not matched.others_verified
    if decision.assurance is Assurance.VERIFIED:
        assert any(call.verified for call in calls)


@given(situation=situations(), policy=st.sampled_from(IdentityPolicy))
@settings(max_examples=150, deadline=None)
def test_everybody_who_holds_something_is_chosen_or_a_candidate(situation, policy):
    calls, held = situation
    decision = decided(calls, held, policy)
    owners = {h.customer_id for h in held}
    named = {*decision.candidates, decision.customer_id} - {None}
    assert decision.customer_id not in decision.candidates
    assert len(set(decision.candidates)) == len(decision.candidates)
    assert named == owners
    assert decision.conflict is (decision.customer_id is not None and bool(decision.candidates))
    assert (decision.matched is None) is (decision.customer_id is None)


@given(situation=situations(), policy=st.sampled_from(IdentityPolicy), data=st.data())
@settings(max_examples=150, deadline=None)
def test_the_order_of_what_was_found_decides_nothing(situation, policy, data):
    calls, held = situation
    one = decided(calls, held, policy)
    other = decided(calls, data.draw(st.permutations(held)), policy)
    assert (one.customer_id, one.attach, one.assurance) == (other.customer_id, other.attach, other.assurance)
    assert set(one.candidates) == set(other.candidates)
    assert set(one.reassign) == set(other.reassign)
    assert set(one.verify) == set(other.verify)
