"""Addresses in a merge: whoever wrote from them is still known, and gets them back with an undoing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from app.models import Channel, Customer
from app.schemas import Identifier
from app.services import identity, merging
from app.testing import CustomerFactory, CustomerIdentifierFactory

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
WHY = {"actor": "human:7", "reason": "the same person"}
UNDO = {"actor": "human:8", "reason": "two people"}


def merge(session: Session, survivor_id: UUID, absorbed_id: UUID) -> UUID:
    return merging.merge(session, survivor_id, absorbed_id, **WHY).id


def held(session: Session, customer_id: UUID) -> dict[tuple[str, str], bool]:
    rows = text(
        "SELECT identifier_type, identifier_value, verified FROM customer_identifiers WHERE customer_id = :id"
    )
    return {(type_, value): verified for type_, value, verified in session.execute(rows, {"id": customer_id})}


def email(value: str, *, verified: bool = True) -> Identifier:
    return Identifier(type="email", value=value, verified=verified)


def whatsapp(number: str) -> Identifier:
    return Identifier(type="whatsapp", value=f"whatsapp:{number}", verified=True)


def test_one_number_as_a_phone_of_one_and_a_whatsapp_id_of_the_other(session):
    number = "+4915112345678"
    typed = CustomerIdentifierFactory(identifier_type="phone", identifier_value=number).customer_id
    proven = CustomerIdentifierFactory(
        channel=Channel.WHATSAPP, identifier_value=number, verified=True
    ).customer_id
    merging.merge(session, typed, proven, **WHY)
    known = held(session, typed)
    assert (known["phone", number], known["whatsapp", number]) == (False, True)
    resolution = identity.resolve(session, [whatsapp(number)], channel=Channel.WHATSAPP)
    assert (resolution.customer_id, resolution.assurance) == (typed, "verified")


def test_one_address_in_two_spellings(session):
    canonical = CustomerIdentifierFactory(identifier_value="ana@example.com", verified=True).customer_id
    raw = CustomerIdentifierFactory(identifier_value="Ana@Example.com").customer_id
    merging.merge(session, canonical, raw, **WHY)
    assert {("email", "ana@example.com"), ("email", "Ana@Example.com")} <= held(session, canonical).keys()
    assert identity.find_customer(session, email("ANA@example.com")).id == canonical


@pytest.mark.parametrize(
    ("stored", "asked"),
    [
        ({"email": "Other@Example.com"}, email("other@example.com")),
        ({"phone": "+49 151 12345678"}, Identifier(type="phone", value="+4915112345678")),
        ({"phone": "4915112345678"}, Identifier(type="whatsapp", value="whatsapp:+4915112345678")),
    ],
)
def test_an_address_that_only_the_absorbed_profile_told_leads_to_the_survivor(session, stored, asked):
    ana, other = CustomerFactory(phone="+15551234567").id, CustomerFactory(**stored).id
    assert identity.find_customer(session, asked).id == other
    merge(session, ana, other)
    assert identity.find_customer(session, asked).id == ana
    assert identity.resolve(session, [asked], channel=Channel.EMAIL).outcome == "matched"


def test_a_profiles_address_that_is_unreadable_or_anothers_names_nobody(session):
    holder = CustomerIdentifierFactory(identifier_type="phone", identifier_value="+4915112345678").customer_id
    ana = CustomerFactory(phone="+15551234567").id
    for stored in (
        {"phone": "+49 151 12345678"},
        {"phone": "ask Ben", "email": "nobody"},
        {"phone": "0151 123", "email": f"{uuid4()}@placeholder.invalid"},
        {"phone": "000000000", "email": "noreply@example.com"},
        {"phone": "", "email": ""},
    ):
        merge(session, ana, CustomerFactory(**stored).id)
    assert all(value.startswith("person") for _, value in held(session, ana))
    assert identity.find_customer(session, Identifier(type="phone", value="+4915112345678")).id == holder


def test_identifiers_of_ten_merged_people_all_lead_to_one(session):
    made = [CustomerFactory(with_whatsapp=True) for _ in range(10)]
    people = {customer.phone: customer.id for customer in made}
    first, *rest = people.values()
    for absorbed in rest:
        merge(session, first, absorbed)
    assert {identity.find_customer(session, whatsapp(number)).id for number in people} == {first}
    assert {("whatsapp", number) for number in people} <= held(session, first).keys()


TAKEN: dict[str, Callable[[str], Any] | str] = {
    "in the same spelling": lambda address: CustomerFactory(email=address),
    "in capitals": lambda address: CustomerFactory(
        email=address.upper(), created_at=datetime.now(UTC) + timedelta(seconds=1)
    ),
    "by the survivor": "UPDATE customers SET email = :email WHERE name = 'Ana'",
}


@pytest.mark.parametrize("take", TAKEN.values(), ids=TAKEN)
def test_an_address_that_was_taken_meanwhile_stays_with_its_new_owner(session, take):
    ana = CustomerFactory(name="Ana", email="ana@example.com").id
    other = CustomerFactory(email="o@example.com").id
    done = merge(session, ana, other)
    if callable(take):
        take("o@example.com")
    else:
        session.execute(text(take), {"email": "o@example.com"})
    report = merging.unmerge(session, done, **UNDO)
    assert report.undecided_fields == ("email",)
    assert session.get_one(Customer, other).email == f"{other}@placeholder.invalid"
    assert session.get_one(Customer, other).name == "Ada Example"


def test_another_spelling_that_was_there_before_takes_nothing(session):
    ana, other = (
        CustomerFactory(email=e, created_at=LONG_AGO).id for e in ("O@example.com", "o@example.com")
    )
    third = CustomerFactory(email="o@EXAMPLE.com", created_at=LONG_AGO).id
    done = merge(session, ana, other)
    assert merging.unmerge(session, done, **UNDO).undecided_fields == ()
    emails = {session.get_one(Customer, id_).email for id_ in (ana, other, third)}
    assert emails == {"O@example.com", "o@example.com", "o@EXAMPLE.com"}


@pytest.mark.parametrize("proven", [False, True])
def test_an_address_that_only_the_profile_told_is_told_by_it_again(session, proven):
    ana, other = CustomerFactory().id, CustomerFactory(email="Other@Example.com").id
    done = merge(session, ana, other)
    address = Identifier(type="email", value="other@example.com", verified=proven)
    assert identity.resolve(session, [address], channel=Channel.EMAIL).customer_id == ana
    assert merging.unmerge(session, done, **UNDO).returned["customer_identifiers"] == proven
    assert list(held(session, other).values()) == [True] * proven
    assert identity.find_customer(session, address).id == other
