"""Who may be one person, on what evidence, and who is known not to be."""

from __future__ import annotations

import math
import sys
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from app.errors import CustomerNotFound, InvalidValue, Unavailable
from app.models import Channel, Customer, IdentityEvent, IdentityEventType
from app.schemas import DuplicateCandidate, Identifier, Signal
from app.services import duplicates, identity, merging
from app.services.duplicates.blocking import MOST_HOLDERS
from app.testing import CustomerFactory, CustomerIdentifierFactory, IdentityEventFactory

NUMBER = "+4915112345678"
REASON = {"actor": "human:7", "reason": "father and son"}
ANY = -100.0


def person(name: str | None = None, *, days: int = 0, **known: Any) -> Customer:
    """``days``: how long ago the customer was created."""
    created = datetime.now(UTC) - timedelta(days=days)
    return CustomerFactory(name=name, created_at=created, **known)


def find(session: Session, **options: Any) -> list[DuplicateCandidate]:
    return duplicates.find_duplicates(session, **({"min_score": ANY} | options))


def pairs(session: Session, **options: Any) -> set[frozenset[UUID]]:
    return {frozenset((one.a_id, one.b_id)) for one in find(session, **options)}


def signals(candidate: DuplicateCandidate) -> set[Signal]:
    return {evidence.signal for evidence in candidate.evidence} - {Signal.PRIOR}


def both(*customers: Customer | UUID) -> frozenset[UUID]:
    return frozenset(one if isinstance(one, UUID) else one.id for one in customers)


def number(customer: Customer, kind: str, value: str = NUMBER) -> None:
    CustomerIdentifierFactory(
        customer=customer, identifier_type=kind, identifier_value=value, channel=Channel.WHATSAPP
    )


def test_one_number_as_a_phone_and_a_whatsapp_sender_in_any_spelling(session):
    by_phone, by_whatsapp, in_profile = person(), person(), person(phone="+49 (151) 1234-5678")
    number(by_phone, "phone")
    number(by_whatsapp, "whatsapp")
    assert pairs(session) == {
        both(by_phone, by_whatsapp),
        both(by_phone, in_profile),
        both(by_whatsapp, in_profile),
    }
    assert all(Signal.NUMBER in signals(candidate) for candidate in find(session))


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("ana@example.com", "ana+shop@example.com", True),
        ("ana+crm@example.com", "Ana+shop@Example.com", True),
        ("ana.silva@gmail.com", "anasilva+x@googlemail.com", True),
        ("ana.silva@example.com", "anasilva@example.com", False),
        ("ana@example.com", "ana@example.org", False),
    ],
)
def test_one_mailbox_up_to_tags_and_at_gmail_up_to_dots(session, one, other, same):
    person(email=one)
    person(email=other)
    found = [signal for candidate in find(session) for signal in signals(candidate)]
    assert (Signal.MAILBOX in found) is same


def test_a_name_and_a_company_in_another_order_and_spelling(session):
    one = person("Ana Silva", company="Acme Foods", email="a@one.example")
    other = person("Silva, ANA", company="ACME Foods Ltd.", email="b@two.example")
    (candidate,) = find(session, min_score=duplicates.DEFAULT_MIN_SCORE)
    assert {candidate.a_id, candidate.b_id} == both(one, other)
    assert signals(candidate) == {Signal.NAME, Signal.COMPANY}


def test_a_mistyped_name_at_one_company_is_found_by_its_other_word(session):
    one = person("Ana Silva", company="Acme", email="a@one.example")
    other = person("Ana Slva", company="Acme", email="b@two.example")
    assert both(one, other) in pairs(session)


def test_customers_with_nothing_in_common_are_not_compared(session):
    person("Ana Silva", email="ana@one.example", phone="+4915100000001")
    person("Bruno Costa", email="bruno@two.example", phone="+4915100000002")
    person(None, email="1@placeholder.invalid")
    person(None, email="2@placeholder.invalid")
    assert find(session) == []


@pytest.mark.parametrize("name", ["a b " * 63, "ab" * 127, "'--;", "\u0300", "{}", "NULL, \\", "🌸" * 255])
def test_no_name_makes_the_search_fail(session, name):
    people = [person(name, company=name, phone=NUMBER) for _ in range(2)]
    assert both(*people) in pairs(session)


@pytest.mark.parametrize("dummy", ["000000000", "0", "", "12", "+", "call me", "11111111"])
def test_a_number_that_is_none_pairs_nobody(session, dummy):
    person(phone=dummy)
    person(phone=dummy)
    assert find(session) == []


def test_a_claim_that_somebody_else_proved_makes_the_two_candidates(session):
    victim = CustomerFactory(with_email=True, name="Ana Silva")
    typed = [Identifier(type="email", value=victim.email), Identifier(type="phone", value=NUMBER)]
    identity.resolve(session, typed, channel=Channel.WEB_FORM)
    proof = Identifier(type="whatsapp", value=NUMBER, verified=True)
    other_id = identity.resolve(session, [proof], channel=Channel.WHATSAPP).customer_id
    (candidate,) = find(session)
    assert (candidate.a_id, candidate.b_id) == (victim.id, other_id)
    assert signals(candidate) == {Signal.REASSIGNED}


def test_addresses_of_two_customers_in_one_message_make_them_candidates(session):
    ana, ben = CustomerFactory(with_email=True), CustomerFactory(with_whatsapp=True, name=None)
    sent = [Identifier(type="email", value=ana.email), Identifier(type="whatsapp", value=ben.phone)]
    identity.resolve(session, sent, channel=Channel.EMAIL)
    (candidate,) = find(session)
    assert {candidate.a_id, candidate.b_id} == both(ana, ben)
    assert Signal.CONFLICT in signals(candidate)


def test_the_older_customer_comes_first(session):
    newer, older = person(phone=NUMBER, days=1), person(phone=NUMBER, days=2)
    ageless = person(phone=NUMBER)
    session.execute(text("UPDATE customers SET created_at = NULL WHERE id = :id"), {"id": ageless.id})
    assert {(candidate.a_id, candidate.b_id) for candidate in find(session)} == {
        (older.id, newer.id),
        (ageless.id, older.id),
        (ageless.id, newer.id),
    }


def crowd(session: Session, size: int, **known: Any) -> list[Customer]:
    marks = [chr(97 + n // 26) + chr(97 + n % 26) for n in range(size)]
    return [person(f"{mark}given {mark}family", days=n, **known) for n, mark in enumerate(marks)]


def test_evidence_adds_up_to_the_score_and_shows_nobody(session):
    crowd(session, 4, phone=NUMBER, company="Acme")
    person("Aagiven Aafamily", phone=NUMBER, email="aagiven@example.com")
    found = find(session)
    assert len(found) == 10
    for candidate in found:
        assert candidate.score == sum(evidence.weight_bits for evidence in candidate.evidence)
        assert math.isfinite(candidate.score)
        assert candidate.evidence[0].signal is Signal.PRIOR
    assert not any(value in repr(found) for value in ("given", "cme", "4915", "example"))


def test_a_value_weighs_less_the_more_customers_hold_it(session):
    scores = []
    for size in (2, 3, 6):
        crowd(session, size, phone=f"{NUMBER}{size}")
        scores.append(max(candidate.score for candidate in find(session)))
        session.rollback()
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > scores[-1] + 1


def test_what_very_many_customers_hold_singles_out_nobody(session):
    people = crowd(session, MOST_HOLDERS, phone=NUMBER)
    assert len(pairs(session, limit=10_000)) == MOST_HOLDERS * (MOST_HOLDERS - 1) // 2
    person("One More", phone=NUMBER)
    assert find(session, customer_id=people[0].id) == []


def test_a_customers_own_candidates(session):
    ana, ben, cem = person(phone=NUMBER), person(phone=NUMBER), person(phone="+4915200000000")
    dora = person(phone="+4915200000000")
    assert pairs(session, customer_id=ana.id) == {both(ana, ben)}
    assert pairs(session, customer_id=str(dora.id)) == {both(cem, dora)}
    assert find(session, customer_id=ana.id) == [c for c in find(session) if ana.id in (c.a_id, c.b_id)]


def test_the_likeliest_come_first_and_no_more_than_the_limit(session):
    person("Ana Silva", phone=NUMBER)
    person("Ana Silva", phone=NUMBER)
    person("Bruno Costa", phone=NUMBER)
    scores = [candidate.score for candidate in find(session)]
    assert len(scores) == 3
    assert scores == sorted(scores, reverse=True)
    assert [candidate.score for candidate in find(session, limit=1)] == scores[:1]
    assert [candidate.score for candidate in find(session, min_score=scores[0])] == scores[:1]
    assert find(session, min_score=10**400) == []
    assert duplicates.find_duplicates(session) == find(session, limit=1)


def test_statements_do_not_grow_with_the_base(session, queries):
    counted = []
    for size in (2, 20):
        people = crowd(session, size, phone=NUMBER)
        queries.reset()
        find(session)
        whole = queries.count
        find(session, customer_id=people[0].id)
        counted.append((whole, queries.count - whole))
    assert counted == [(1, 2), (1, 2)]


@pytest.mark.parametrize(
    "options",
    [
        {"limit": 0},
        {"limit": "10"},
        {"limit": 100_001},
        {"min_score": math.nan},
        {"min_score": math.inf},
        {"min_score": "3"},
        {"min_score": True},
        {"customer_id": "somebody"},
    ],
)
def test_bad_arguments_are_refused(session, options):
    with pytest.raises(InvalidValue):
        find(session, **options)


def test_an_unknown_customer_is_no_customer_without_duplicates(session):
    with pytest.raises(CustomerNotFound):
        find(session, customer_id=uuid4())


def test_without_rapidfuzz_the_error_says_what_to_install(session, monkeypatch):
    monkeypatch.setitem(sys.modules, "rapidfuzz", None)
    monkeypatch.delitem(sys.modules, "app.services.duplicates.comparing", raising=False)
    with pytest.raises(Unavailable, match=r"crm-digital-fte\[duplicates\]"):
        find(session)


def test_absorbed_customers_do_not_appear_and_their_ids_keep_working(session):
    ana, ben, cem = (person(phone=NUMBER).id for _ in range(3))
    merging.merge(session, ana, ben, actor="human:7", reason="the same")
    assert pairs(session) == {both(ana, cem)}
    assert pairs(session, customer_id=ben) == {both(ana, cem)}


def test_a_merge_that_was_undone_speaks_against_the_pair(session):
    ana, ben = person("Ana Silva", phone=NUMBER), person("Ana Silva", phone=NUMBER)
    (before,) = find(session)
    merge = merging.merge(session, ana.id, ben.id, actor="human:7", reason="the same")
    merging.unmerge(session, merge.id, actor="human:7", reason="they are not")
    (after,) = find(session)
    assert Signal.UNMERGED in signals(after)
    assert after.score < duplicates.DEFAULT_MIN_SCORE < before.score


def rejections(session: Session) -> int:
    return len(session.scalars(select(IdentityEvent.id).where(IdentityEvent.event == "not_duplicate")).all())


@pytest.mark.parametrize("swapped", [False, True])
def test_a_rejected_pair_is_never_offered_again(session, swapped):
    ana, ben = person("Ana Silva", phone=NUMBER), person("Ana Silva", phone=NUMBER)
    cem = person("Cem Yurt", phone=NUMBER)
    ids = (ben.id, ana.id) if swapped else (ana.id, ben.id)
    duplicates.reject_duplicate(session, *ids, **REASON)
    assert pairs(session) == {both(ana, cem), both(ben, cem)}
    assert pairs(session, customer_id=ana.id) == {both(ana, cem)}


def test_rejecting_again_in_either_order_changes_nothing(session):
    ana, ben = person(phone=NUMBER), person(phone=NUMBER)
    for ids in ((ana.id, ben.id), (ana.id, ben.id), (ben.id, ana.id)):
        duplicates.reject_duplicate(session, *ids, **REASON)
    event = session.scalars(select(IdentityEvent)).one()
    assert (event.event, event.customer_id, event.other_customer_id, event.actor, event.reason) == (
        IdentityEventType.NOT_DUPLICATE,
        ana.id,
        ben.id,
        "human:7",
        "father and son",
    )


@pytest.mark.parametrize("order", [1, -1])
def test_a_rejection_holds_for_whoever_absorbs_one_of_the_two(session, order):
    ana, ben, cem = (person(phone=NUMBER).id for _ in range(3))
    duplicates.reject_duplicate(session, *(ana, ben)[::order], **REASON)
    merge = merging.merge(session, cem, ben, actor="human:7", reason="the same")
    assert pairs(session) == set()
    duplicates.reject_duplicate(session, ben, ana, **REASON)
    duplicates.reject_duplicate(session, ana, cem, **REASON)
    assert rejections(session) == 1
    merging.unmerge(session, merge.id, actor="human:7", reason="they are not")
    assert pairs(session) == {both(ana, cem), both(ben, cem)}


def test_a_rejection_of_absorbed_ids_is_about_the_living_customers(session):
    ana, ben, cem, dora = (person(phone=NUMBER).id for _ in range(4))
    for survivor, absorbed in ((ana, cem), (ben, dora)):
        merging.merge(session, survivor, absorbed, actor="human:7", reason="the same")
    duplicates.reject_duplicate(session, cem, dora, **REASON)
    assert pairs(session) == set()


def test_a_rejection_that_a_merge_overruled_says_nothing_about_others(session):
    ana, ben, cem = (person(phone=NUMBER).id for _ in range(3))
    duplicates.reject_duplicate(session, ana, ben, **REASON)
    merging.merge(session, ana, ben, actor="human:7", reason="the same after all")
    assert pairs(session) == {both(ana, cem)}
    duplicates.reject_duplicate(session, ana, cem, **REASON)
    assert pairs(session) == set()


def test_a_customer_and_itself_cannot_be_rejected(session):
    ana, ben = (person(phone=NUMBER).id for _ in range(2))
    merging.merge(session, ana, ben, actor="human:7", reason="the same")
    for ids in ((ana, ana), (ana, ben)):
        with pytest.raises(InvalidValue, match="is the same customer"):
            duplicates.reject_duplicate(session, *ids, **REASON)
    assert rejections(session) == 0


@pytest.mark.parametrize("first", [False, True])
def test_an_unknown_customer_cannot_be_rejected(session, first):
    ids = (uuid4(), person().id) if first else (person().id, uuid4())
    with pytest.raises(CustomerNotFound):
        duplicates.reject_duplicate(session, *ids, **REASON)
    assert rejections(session) == 0


@pytest.mark.parametrize("wrong", [{"actor": "me"}, {"reason": " "}, {"reason": None}, {"b_id": "somebody"}])
def test_a_rejection_needs_an_actor_a_reason_and_two_ids(session, wrong):
    asked = {"a_id": person().id, "b_id": person().id, **REASON, **wrong}
    with pytest.raises(InvalidValue):
        duplicates.reject_duplicate(session, asked.pop("a_id"), asked.pop("b_id"), **asked)
    assert rejections(session) == 0


def test_who_rejects_a_pair_that_somebody_is_rejecting_waits_and_keeps_no_second_event(crm_clone):
    with Session(crm_clone) as first, Session(crm_clone) as second:
        customers = [Customer(email=f"{name}@example.com") for name in ("ana", "ben")]
        first.add_all(customers)
        first.commit()
        ids = [customer.id for customer in customers]
        duplicates.reject_duplicate(first, *ids, **REASON)
        second.execute(text("SET LOCAL lock_timeout = '200ms'"))
        with pytest.raises(OperationalError, match="lock timeout"):
            duplicates.reject_duplicate(second, *ids[::-1], **REASON)
        second.rollback()
        first.commit()
        duplicates.reject_duplicate(second, *ids[::-1], **REASON)
        assert rejections(second) == 1


def test_events_of_people_who_never_were_do_no_harm(session):
    ana = person(phone=NUMBER)
    IdentityEventFactory(customer_id=ana.id, other_customer_id=uuid4(), event=IdentityEventType.CONFLICT)
    IdentityEventFactory(customer_id=ana.id, other_customer_id=ana.id, event=IdentityEventType.CONFLICT)
    assert find(session) == []
