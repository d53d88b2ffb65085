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
from app.services.identity.decisions import Decision, Match, NewCustomer, decide
from app.services.identity.holdings import Holding, Profile

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
        "held_since": YEAR_ONE + timedelta(days=customer.int),
        "has_proofs": False,
        "profile": Profile(None, None, None, "somebody@example.com"),
    } | facts
    return Holding(position=position, customer_id=customer, **given_)


def decided(calls: list[Identifier], held: list[Holding], policy: IdentityPolicy = STRICT) -> Decision:
    return decide(calls, held, own_type=EMAIL, policy=policy)


@pytest.mark.parametrize("verified", [False, True])
def test_what_nobody_holds_makes_a_new_customer(verified):
    decision = decided([identifier(0, verified=verified), identifier(1)], [])
    assert decision == NewCustomer(Assurance.VERIFIED if verified else Assurance.CLAIMED, attach=(0, 1))


def test_proof_of_what_was_proven_is_the_customer():
    decision = decided([identifier(verified=True), identifier(1)], [holding(ANA, verified=True)])
    assert (decision.customer_id, decision.assurance, decision.attach) == (ANA, Assurance.VERIFIED, (1,))


@pytest.mark.parametrize("facts", [{}, {"verified": True}, {"has_proofs": True, "merged": True}], ids=str)
def test_a_claim_matches_without_assurance(facts):
    decision = decided([identifier()], [holding(ANA, **facts)])
    assert (decision.customer_id, decision.assurance) == (ANA, Assurance.CLAIMED)
    assert decision.verify == ()


def test_a_claim_of_what_a_proven_customer_only_claims_goes_to_a_new_customer_and_stays_there():
    claim = holding(ANA, has_proofs=True)
    first = decided([identifier(), identifier(1)], [claim])
    assert first == NewCustomer(Assurance.CLAIMED, candidates=(ANA,), attach=(1,), diverted=(claim,))
    heir = holding(BEN, identifier_id=None, diverted=True)
    second = decided([identifier()], [claim, heir])
    assert (second.customer_id, second.candidates, second.attach) == (BEN, (), ())
    # The heir reads it no more than the first one once it has proofs of its own.
    third = decided([identifier()], [claim, replace(heir, has_proofs=True)])
    assert third == NewCustomer(Assurance.CLAIMED, candidates=(ANA, BEN), diverted=(claim,))


def test_a_proof_of_what_was_diverted_takes_the_row_to_the_heir():
    claim, heir = holding(ANA, has_proofs=True), holding(BEN, identifier_id=None, diverted=True)
    decision = decided([identifier(verified=True)], [claim, heir])
    assert (decision.customer_id, decision.contested, decision.attach) == (BEN, (claim,), ())
    assert decision.assurance is Assurance.VERIFIED


def test_the_lenient_policy_knows_no_heirs():
    held = [holding(ANA, has_proofs=True), holding(BEN, identifier_id=None, diverted=True)]
    decision = decided([identifier()], held, LENIENT)
    assert (decision.customer_id, decision.candidates) == (ANA, ())


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        pytest.param(holding(BEN, 1, verified=True), BEN, id="a proof"),
        pytest.param(holding(BEN, 1), BEN, id="a claim of somebody without proofs"),
        pytest.param(holding(BEN, 1, identifier_id=None), BEN, id="a profile"),
        pytest.param(holding(BEN, 1, has_proofs=True), None, id="another claim of somebody with proofs"),
        pytest.param(holding(BEN, 1, has_proofs=True, identifier_id=None), None, id="such a profile"),
    ],
)
def test_a_claim_on_a_proven_customer_beside_another_identifier(other, expected):
    claim = holding(ANA, has_proofs=True)
    decision = decided([identifier(0), identifier(1)], [claim, other])
    if expected is None:
        assert decision.candidates == (ANA, BEN)
        assert isinstance(decision, NewCustomer)
        assert set(decision.diverted) == {h for h in (claim, other) if h.identifier_id}
        assert decision.attach == (() if other.identifier_id else (1,))
    else:
        assert (decision.customer_id, decision.candidates) == (expected, (ANA,))


def test_proof_of_the_only_claim_of_a_customer_verifies_it():
    claim = holding(ANA)
    decision = decided([identifier(verified=True)], [claim])
    assert (decision.customer_id, decision.verify) == (ANA, (claim,))
    assert decision.assurance is Assurance.VERIFIED


def test_proof_of_what_a_proven_customer_only_claimed_goes_to_a_new_customer():
    claim = holding(ANA, has_proofs=True)
    decision = decided([identifier(verified=True)], [claim])
    assert decision == NewCustomer(Assurance.VERIFIED, candidates=(ANA,), contested=(claim,))


def test_a_claim_beside_a_proof_of_something_new_does_not_reach_the_victim():
    victim = holding(ANA, 1, verified=True)
    decision = decided([identifier(0, verified=True), identifier(1)], [victim])
    assert decision == NewCustomer(Assurance.VERIFIED, candidates=(ANA,), attach=(0,))


def test_two_customers_in_one_call_are_a_conflict_and_nothing_of_the_other_moves():
    decision = decided(
        [identifier(0, verified=True), identifier(1, verified=True)],
        [holding(ANA, 0, verified=True), holding(BEN, 1)],
    )
    assert (decision.customer_id, decision.candidates) == (ANA, (BEN,))
    assert (decision.verify, decision.attach) == ((), ())


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
        assert (decision.customer_id, bool(decision.candidates)) == (expected, True)


def test_a_profile_alone_is_a_claim_that_gets_its_row():
    decision = decided([identifier()], [holding(ANA, identifier_id=None)])
    assert (decision.customer_id, decision.attach, decision.verify) == (ANA, (0,), ())
    proven = decided([identifier(verified=True)], [holding(ANA, identifier_id=None)])
    assert (proven.customer_id, proven.attach, proven.assurance) == (ANA, (0,), Assurance.VERIFIED)


def test_the_lenient_policy_takes_every_identifier_as_proof():
    held = [holding(ANA, 0, verified=True, has_proofs=True)]
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
            has_proofs=elsewhere[row.customer_id]
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
    for changed in (
        (*decision.verify, *decision.contested) if isinstance(decision, Match) else decision.reassign
    ):
        assert calls[changed.position].verified
        assert changed.identifier_id is not None
    if isinstance(decision, Match):
        assert all(h.customer_id == decision.customer_id for h in decision.verify)


@given(situation=situations())
@settings(max_examples=200, deadline=None)
def test_what_was_proven_never_moves_and_claims_reach_no_proven_customer_as_proof(situation):
    calls, held = situation
    decision = decided(calls, held)
    proven = any(call.verified for call in calls)
    assert decision.assurance is (Assurance.VERIFIED if proven else Assurance.CLAIMED)
    if isinstance(decision, NewCustomer):
        assert not any(h.verified for h in decision.reassign)
        assert proven or decision.reassign == ()
    elif proven:
        # Who proves something is never somebody else's customer by a claim beside it.
        assert calls[decision.matched.position].verified
        assert decision.matched.verified or not decision.matched.has_proofs
    else:
        assert decision.verify == ()


@given(situation=situations(), policy=st.sampled_from(IdentityPolicy))
@settings(max_examples=150, deadline=None)
def test_everybody_who_holds_something_is_chosen_or_a_candidate(situation, policy):
    calls, held = situation
    decision = decided(calls, held, policy)
    owners = {h.customer_id for h in held}
    chosen = [decision.customer_id] if isinstance(decision, Match) else []
    assert len({*chosen, *decision.candidates}) == len([*chosen, *decision.candidates])
    assert {*chosen, *decision.candidates} == owners


@given(situation=situations(), policy=st.sampled_from(IdentityPolicy), data=st.data())
@settings(max_examples=150, deadline=None)
def test_the_order_of_what_was_found_decides_nothing(situation, policy, data):
    calls, held = situation
    one = decided(calls, held, policy)
    other = decided(calls, data.draw(st.permutations(held)), policy)
    assert type(one) is type(other)
    assert unordered(one) == unordered(other)


def unordered(decision: Decision) -> dict[str, object]:
    """Without ``matched``: of two rows of one customer either will do."""
    facts = vars(decision).items()
    return {n: frozenset(v) if isinstance(v, tuple) else v for n, v in facts if n != "matched"}
