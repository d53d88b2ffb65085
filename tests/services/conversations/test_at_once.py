"""What the database decides in one statement is what identity.resolve decides about the same message."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.models import Customer, CustomerIdentifier, IdentityEvent, Message
from app.schemas import CustomerProfile, Identifier, IdentityPolicy, InboundMessage, Outcome
from app.services import conversations, identity
from app.services.conversations import storing
from app.services.identity.holdings import find_matches
from app.testing import CustomerFactory, CustomerIdentifierFactory
from tests.services.conversations._messages import mail, whatsapp

NUMBER = "+4915100000001"
NOBODY = Identifier(type="email", value="nobody@example.com")
ROWS = (None, ("ana", True), ("ana", False), ("ben", True), ("ben", False))
TOLD = CustomerProfile(name="Ann", company="Example Ltd")
PROFILES = (CustomerProfile(), TOLD, CustomerProfile(name="Ann"), CustomerProfile(company="A"))
POLICIES = [IdentityPolicy.STRICT, IdentityPolicy.LENIENT]


@pytest.fixture
def people(session: Session) -> dict[str, Customer]:
    """Ana's name is blank, Ben's company."""
    return {
        "ana": CustomerFactory(name=None, company="Ana Ltd", phone=None, email="ana@example.com"),
        "ben": CustomerFactory(name="Ben", company=None, phone=None, email="ben@example.com"),
        "cat": CustomerFactory(name="Cat", company="Cat Ltd", phone=NUMBER, email="cat@example.com"),
    }


def hold(people: dict[str, Customer], row: tuple[str, bool] | None, type_: str, value: str) -> None:
    if row is not None:
        holder, verified = row
        CustomerIdentifierFactory(
            customer_id=people[holder].id, identifier_type=type_, identifier_value=value, verified=verified
        )


def store_in_steps(session: Session, call: Any, message: Any) -> Any:
    """In place of the short way: only the claim, and the long way does the rest."""
    session.execute(storing._CLAIM, message)
    return storing._Answer("unsettled")


def outcome_of(session: Session, inbound: InboundMessage, policy: IdentityPolicy) -> dict[str, Any]:
    """All that a message changes and tells, without the ids that are new each time; nothing of it stays."""
    savepoint = session.begin_nested()
    before = set(session.scalars(select(Customer.id)))
    ingested = conversations.ingest(session, inbound, policy=policy)
    session.expire_all()

    def who(id_: UUID | None) -> UUID | str | None:
        return id_ if id_ in before or id_ is None else "somebody new"

    extra = session.get_one(Message, ingested.message_id).extra
    outcome = {
        "resolution": ingested.resolution.model_dump() | {"customer_id": who(ingested.customer_id)},
        "same customer": ingested.customer_id == ingested.resolution.customer_id,
        "extra": {name: value for name, value in extra.items() if name != "candidates"},
        "profiles": {(who(c.id), c.name, c.company) for c in session.scalars(select(Customer))},
        "rows": {
            (who(i.customer_id), i.identifier_type, i.identifier_value, i.verified)
            for i in session.scalars(select(CustomerIdentifier))
        },
        "events": sorted(
            (e.event, str(who(e.customer_id)), str(who(e.other_customer_id)))
            for e in session.scalars(select(IdentityEvent))
        ),
    }
    savepoint.rollback()
    return outcome


def compare(
    session: Session, monkeypatch: pytest.MonkeyPatch, inbound: InboundMessage, policy: IdentityPolicy
) -> Outcome:
    at_once = outcome_of(session, inbound, policy)
    with monkeypatch.context() as patch:
        patch.setattr(storing, "_store_at_once", store_in_steps)
        assert at_once == outcome_of(session, inbound, policy)
    outcome: Outcome = at_once["resolution"]["outcome"]
    return outcome


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("verified", [True, False], ids=["proof", "claim"])
def test_a_number_is_whose_it_would_be_in_steps(session, people, monkeypatch, verified, policy):
    sender = (Identifier(type="whatsapp", value=NUMBER, verified=verified),)
    outcomes = set()
    for as_phone, as_whatsapp in product(ROWS, ROWS):
        held = session.begin_nested()
        hold(people, as_phone, "phone", NUMBER)
        hold(people, as_whatsapp, "whatsapp", NUMBER)
        is_proven = all(row is None or row[1] for row in (as_phone, as_whatsapp))
        for profile in (CustomerProfile(), TOLD) if is_proven else (TOLD,):
            inbound = whatsapp(sender=sender, profile=profile)
            outcomes.add(compare(session, monkeypatch, inbound, policy))
        held.rollback()
    assert {Outcome.MATCHED, Outcome.CONFLICT} <= outcomes


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("verified", [True, False], ids=["proof", "claim"])
def test_an_email_is_whose_it_would_be_in_steps(session, people, monkeypatch, verified, policy):
    outcomes = set()
    for address, row in product(("new@example.com", "cat@example.com"), ROWS):
        held = session.begin_nested()
        hold(people, row, "email", address)
        for told in PROFILES if row is not None and row[1] else (TOLD,):
            sender = (Identifier(type="email", value=address, verified=verified),)
            outcomes.add(compare(session, monkeypatch, mail(sender=sender, profile=told), policy))
        held.rollback()
    assert {Outcome.MATCHED, Outcome.CREATED} <= outcomes


@pytest.mark.parametrize("rows", list(product(ROWS, ROWS)), ids=str)
def test_one_number_is_held_by_whom_several_addresses_would_find(session, people, rows):
    """A second address, which nobody holds, leads around the short way."""
    for type_, row in zip(("phone", "whatsapp"), rows, strict=True):
        hold(people, row, type_, NUMBER)
    number = Identifier(type="whatsapp", value=NUMBER)
    assert find_matches(session, [number]).held == find_matches(session, [number, NOBODY]).held
    best = identity.find_customer(session, number)
    held = find_matches(session, [number, NOBODY]).held
    assert best is not None
    assert best.id == min(held, key=lambda h: not h.verified).customer_id


@pytest.mark.parametrize(
    "in_between",
    [
        pytest.param(lambda address: CustomerFactory(email=address), id="only in a profile"),
        pytest.param(
            lambda address: CustomerIdentifierFactory(identifier_type="email", identifier_value=address),
            id="as a claim",
        ),
    ],
)
def test_a_new_person_who_is_somebody_by_now_is_not_made_twice(
    session, monkeypatch, in_between: Callable[[str], object]
):
    address = "eva@example.com"
    prepare = storing.new_person

    def meanwhile(*args: Any) -> dict[str, Any]:
        in_between(address)
        return prepare(*args)

    monkeypatch.setattr(storing, "new_person", meanwhile)
    sender = (Identifier(type="email", value=address, verified=True),)
    inbound = mail(sender=sender)
    first = conversations.ingest(session, inbound)
    assert first.resolution.outcome is Outcome.MATCHED
    assert conversations.ingest(session, inbound).duplicate
    assert identity.find_customer(session, sender[0]).id == first.customer_id
