"""The model behind duplicate candidates: what each comparison weighs."""

from __future__ import annotations

import math
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.schemas import Evidence, Signal
from app.services.duplicates.blocking import Pair
from app.services.duplicates.comparing import compare

NOTHING: dict[str, Any] = {
    "b_is_older": False,
    "customers": 100_000,
    "most": 1_100,
    "name_chance": 1e-8,
    "name_holders": 2,
    "company_holders": 10,
    "a_mailboxes": [],
    "b_mailboxes": [],
    "a_domain_holders": [],
    "b_domain_holders": [],
    "a_proven_mailbox": False,
    "b_proven_mailbox": False,
    "a_proven_number": False,
    "b_proven_number": False,
}


def pair(**known: Any) -> Pair:
    values = dict.fromkeys(Pair._fields) | {"a_id": uuid4(), "b_id": uuid4()} | NOTHING | known
    return Pair(**values)


def evidence(signal: Signal, **known: Any) -> Evidence | None:
    found = [one for one in compare(pair(**known)) if one.signal is signal]
    assert len(found) <= 1
    return found[0] if found else None


def bits(signal: Signal, **known: Any) -> float:
    found = evidence(signal, **known)
    assert found is not None
    return found.weight_bits


def score(**known: Any) -> float:
    return math.fsum(one.weight_bits for one in compare(pair(**known)))


def mailboxes(a: str, b: str, holders: int = 2) -> dict[str, Any]:
    return {
        "a_mailboxes": [a],
        "b_mailboxes": [b],
        "a_domain_holders": [holders],
        "b_domain_holders": [holders],
    }


def test_two_of_whom_nothing_is_known_have_the_prior_odds():
    (prior,) = compare(pair())
    assert (prior.signal, prior.weight_bits) == (Signal.PRIOR, -20)


@pytest.mark.parametrize("shared", ["number", "mailbox", "local_part", "conflict", "reassigned"])
def test_a_value_weighs_less_the_more_customers_hold_it(shared):
    known = {"a_name": "Ana Silva", "b_name": "Silva"}
    if shared == "local_part":
        known |= mailboxes("sk8rboy@a.example", "sk8rboy@b.example")
    scores = [score(**{shared: holders}, **known) for holders in (2, 3, 5, 9, 50)]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] - scores[-1] > 4


def test_a_common_name_and_a_large_company_weigh_little():
    names = {"a_name": "Ana Silva", "b_name": "Ana Silva"}
    by_words = [bits(Signal.NAME, name_chance=chance, **names) for chance in (1e-8, 1e-6, 1e-4)]
    by_holders = [bits(Signal.NAME, name_holders=holders, **names) for holders in (2, 20, 2000)]
    companies = {"a_company": "acme", "b_company": "acme"}
    by_company = [bits(Signal.COMPANY, company_holders=holders, **companies) for holders in (2, 20, 1000)]
    for weights in (by_words, by_holders, by_company):
        assert weights == sorted(weights, reverse=True)
        assert weights[0] - weights[-1] > 5


def test_a_domain_or_a_company_that_nobody_counted_to_the_end_says_nothing():
    companies = {"a_company": "acme", "b_company": "acme"}
    known = {"most": 1_100} | companies | mailboxes("ana@example.com", "ben@example.com", holders=1_101)
    assert {one.signal for one in compare(pair(company_holders=1_101, **known))} == {Signal.PRIOR}
    assert evidence(Signal.COMPANY, company_holders=1_100, **known) is not None


@pytest.mark.parametrize(
    ("one", "other", "what"),
    [
        ("Ana Silva", "ana  SILVA 🌸", "the same name"),
        ("José Łukasz", "Jose Lukasz", "the same name"),
        ("Silva, Ana", "Ana Silva", "the same name in another order"),
        ("Ana Silva", "Ana Slva", "a similar name"),
        ("Al iSantos", "Ali Santos", "a similar name"),
        ("A. Silva", "Ana Silva", "a similar name"),
        ("Ana Maria Silva", "Ana Silva", "a similar name"),
        ("Ana", "Ana Silva", "one word of the name"),
        ("Ana Silva", "Bruno Silva", "only a part of the name"),
        ("Mario Silva", "Maria Silva", "only a part of the name"),
        ("Daniel Silva", "Daniela Silva", "only a part of the name"),
        ("Ana Silva", "Bruno Costa", "different names"),
        ("Li", "Le", "different names"),
    ],
)
def test_names_are_compared_by_word(one, other, what):
    found = evidence(Signal.NAME, a_name=one, b_name=other)
    assert found is not None
    assert found.detail == what
    assert found == evidence(Signal.NAME, a_name=other, b_name=one)


def test_the_nearer_the_names_the_more_they_weigh():
    others = ["Ana Silva", "Silva Ana", "Ana Slva", "Ana Costa", "Bruno Costa"]
    weights = [bits(Signal.NAME, a_name="Ana Silva", b_name=other) for other in others]
    assert weights == sorted(weights, reverse=True)
    assert weights[2] > 0 > weights[3]


@pytest.mark.parametrize("missing", [None, "", "🌸", "...", "4"])
def test_a_missing_name_says_nothing(missing):
    assert evidence(Signal.NAME, a_name=missing, b_name="Ana Silva") is None


@pytest.mark.parametrize(
    ("a", "b", "what"),
    [
        ("sk8rboy@a.example", "sk8rboy@b.example", "the same unusual local part, which 2 customers have"),
        ("ana.silva@a.example", "anasilva@b.example", "the same name before the @"),
        ("asilva85@a.example", "asilva85@b.example", "the same name and figures before the @"),
    ],
)
def test_equal_local_parts_weigh_what_the_name_does_not_explain(a, b, what):
    found = evidence(
        Signal.LOCAL_PART, local_part=2, a_name="Ana Silva", b_name="Silva, Ana", **mailboxes(a, b)
    )
    assert found is not None
    assert found.detail == what


@pytest.mark.parametrize(
    ("domains", "holders", "mistyped"),
    [
        (("outlook.com", "outlok.com"), (9000, 20), True),
        (("outlook.com", "oulook.com"), (20, 9000), True),
        (("acme.example", "acne.example"), (20, 30), False),
        (("outlook.com", "yahoo.com"), (9000, 20), False),
    ],
)
def test_a_rare_domain_that_resembles_a_common_one_is_a_slip(domains, holders, mistyped):
    known = mailboxes(*(f"asilva@{domain}" for domain in domains))
    known |= {"a_domain_holders": [holders[0]], "b_domain_holders": [holders[1]]}
    weight = bits(Signal.LOCAL_PART, local_part=2, a_name="Ana Silva", b_name="Ana Silva", **known)
    assert (weight > 8) is mistyped


def test_a_local_part_in_another_script_than_the_name_is_not_taken_for_unusual():
    found = evidence(
        Signal.LOCAL_PART,
        local_part=2,
        a_name="Иван Петров",
        b_name="Иван Петров",
        **mailboxes("ivan.petrov@a.example", "ivan.petrov@b.example"),
    )
    assert found is not None
    assert found.detail == "the same name before the @"


def test_similar_local_parts_count_a_little():
    boxes = mailboxes("ana.silva@a.example", "ana.silva2@a.example", holders=50_000)
    assert bits(Signal.LOCAL_PART, a_name="Ana Silva", b_name="Ana Silva", **boxes) == 1
    assert evidence(Signal.LOCAL_PART, **mailboxes("ana@a.example", "bruno@a.example")) is None


def test_of_number_mailbox_domain_and_company_only_the_best_counts_in_full():
    office = {
        "number": 9,
        "mailbox": 9,
        "a_company": "acme",
        "b_company": "acme",
        **mailboxes("office@acme.example", "office@acme.example", holders=20),
    }
    weights = {one.signal: one.weight_bits for one in compare(pair(**office))}
    full = weights.pop(Signal.MAILBOX)
    assert full > 20
    assert {signal: weights[signal] for signal in (Signal.NUMBER, Signal.DOMAIN, Signal.COMPANY)} == {
        Signal.NUMBER: 1,
        Signal.DOMAIN: 1,
        Signal.COMPANY: 1,
    }
    assert score(**office, a_name="Ana Silva", b_name="Bruno Costa") < 0


def test_proofs_of_different_addresses_speak_against_one_person():
    proven = {"a_proven_mailbox": True, "b_proven_mailbox": True}
    at_work = mailboxes("ana@acme.example", "bruno@acme.example", holders=5)
    at_a_provider = mailboxes("ana@mail.example", "bruno@mail.example", holders=50_000)
    assert bits(Signal.PROOFS, **proven, **at_work) < bits(Signal.PROOFS, **proven, **at_a_provider) < 0
    assert bits(Signal.PROOFS, a_proven_number=True, b_proven_number=True) < 0
    assert evidence(Signal.PROOFS, number=2, a_proven_number=True, b_proven_number=True) is None


def test_an_event_about_a_claim_adds_nothing_to_the_claimed_address():
    assert bits(Signal.REASSIGNED, reassigned=2) > 10
    assert evidence(Signal.REASSIGNED, reassigned=2, number=2) is None
    assert bits(Signal.CONFLICT, conflict=2, number=2) > 10


def test_an_undone_merge_outweighs_equal_names_and_companies():
    equal = {"a_name": "Ana Silva", "b_name": "Ana Silva", "a_company": "acme", "b_company": "acme"}
    assert score(**equal) > 3
    assert score(**equal, unmerged=2) < 3


@pytest.mark.parametrize(
    ("one", "other", "positive"),
    [("acmefoods", "acmefoods", True), ("acmefoods", "acmefods", True), ("acmefoods", "zenith", False)],
)
def test_companies_are_compared_roughly(one, other, positive):
    assert (bits(Signal.COMPANY, a_company=one, b_company=other) > 0) is positive
    assert evidence(Signal.COMPANY, a_company=one, b_company=None) is None


holders = st.none() | st.integers(2, 50)
names = st.none() | st.text(max_size=20) | st.sampled_from(["Ana Silva", "Silva, Ana", "A.", "李 娜"])
boxes = st.lists(st.from_regex(r"[a-z0-9._]{1,12}@[a-z]{1,9}\.example", fullmatch=True), max_size=3)


@given(
    st.fixed_dictionaries(
        dict.fromkeys(["number", "mailbox", "local_part", "conflict", "reassigned", "unmerged"], holders)
        | dict.fromkeys(["a_name", "b_name", "a_company", "b_company"], names)
        | dict.fromkeys(["a_mailboxes", "b_mailboxes"], boxes)
        | dict.fromkeys(
            ["a_proven_mailbox", "b_proven_mailbox", "a_proven_number", "b_proven_number"], st.booleans()
        )
        | {
            "customers": st.integers(2, 10**9),
            "name_chance": st.floats(0, 1),
            "name_holders": st.integers(1, 10**9),
            "company_holders": st.integers(1, 10**9),
        }
    )
)
def test_whatever_is_compared_the_weights_are_finite_quarter_bits_and_symmetric(known):
    for side in "ab":
        known[f"{side}_domain_holders"] = [2] * len(known[f"{side}_mailboxes"])
    found = compare(pair(**known))
    assert found[0].signal is Signal.PRIOR
    assert all(math.isfinite(one.weight_bits) and (one.weight_bits * 4).is_integer() for one in found)
    mirrored = {
        {"a": "b", "b": "a"}.get(name[0], name[0]) + name[1:] if name[:2] in {"a_", "b_"} else name: value
        for name, value in known.items()
    }
    assert sorted(one.weight_bits for one in compare(pair(**mirrored))) == sorted(
        one.weight_bits for one in found
    )
