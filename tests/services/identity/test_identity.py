"""One person is one customer on every channel; claims never cross, proof does."""

from __future__ import annotations

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.errors import InvalidValue
from app.models import (
    OWN_TYPE,
    Channel,
    Customer,
    CustomerIdentifier,
    IdentifierType,
    IdentityEvent,
    IdentityEventType,
)
from app.schemas import Assurance, CustomerProfile, Identifier, IdentityPolicy, Outcome, Resolution
from app.services import identity
from app.testing import CustomerFactory, CustomerIdentifierFactory

EMAIL, PHONE, WHATSAPP = Channel.EMAIL, "phone", Channel.WHATSAPP
NUMBER = "+4915112345678"


def email(value: str, *, verified: bool = False) -> Identifier:
    return Identifier(type="email", value=value, verified=verified)


def phone(value: str = NUMBER) -> Identifier:
    return Identifier(type="phone", value=value)


def whatsapp(value: str = NUMBER, *, verified: bool = True) -> Identifier:
    return Identifier(type="whatsapp", value=value, verified=verified)


def resolve(session: Session, *identifiers: Identifier, **options: object) -> Resolution:
    return identity.resolve(session, identifiers, **({"channel": Channel.EMAIL} | options))


def rows(session: Session, customer_id: object) -> dict[str, bool | None]:
    found = select(CustomerIdentifier.identifier_value, CustomerIdentifier.verified)
    return {r[0]: r[1] for r in session.execute(found.where(CustomerIdentifier.customer_id == customer_id))}


def counts(session: Session) -> tuple[int | None, int | None]:
    return tuple(session.scalar(select(func.count()).select_from(m)) for m in (Customer, CustomerIdentifier))


def raw_customer(session: Session, email: str, phone: str | None = None) -> object:
    statement = """
        INSERT INTO customers (email, phone, created_at) VALUES (:email, :phone, now() - interval '1 day')
        RETURNING id
    """
    return session.scalar(text(statement), {"email": email, "phone": phone})


def events(session: Session, customer_id: object) -> list[IdentityEventType]:
    of_services = IdentityEvent.customer_id == customer_id, IdentityEvent.actor.not_like("db:%")
    asked = select(IdentityEvent).where(*of_services).order_by(IdentityEvent.seq)
    return [event.event for event in session.scalars(asked)]


def profile(session: Session, customer_id: object) -> Customer:
    return session.get_one(Customer, customer_id, populate_existing=True)


def test_a_new_person_becomes_a_customer_in_at_most_four_statements(session, queries):
    profile_ = CustomerProfile(name="  Ana \t Silva ", company="Silva & Co")
    queries.reset()
    resolution = resolve(session, email("Ana@Example.COM"), phone("+49 151 12345678"), profile=profile_)
    assert queries.count <= 4, queries
    assert (resolution.outcome, resolution.assurance) == (Outcome.CREATED, Assurance.CLAIMED)
    assert [i.value for i in resolution.attached] == ["ana@example.com", NUMBER]
    ana = profile(session, resolution.customer_id)
    assert (ana.email, ana.phone, ana.name, ana.company) == (
        "ana@example.com",
        NUMBER,
        "Ana Silva",
        "Silva & Co",
    )
    assert rows(session, ana.id) == {"ana@example.com": False, NUMBER: False}
    assert events(session, ana.id) == ["created", "attached", "attached"]


@pytest.mark.parametrize("with_profile", [False, True])
def test_a_known_sender_with_nothing_new_costs_one_statement(session, queries, with_profile):
    known = CustomerFactory(with_whatsapp=True, company="Silva & Co")
    told = CustomerProfile(name="Somebody Else", company="Other") if with_profile else None
    queries.reset()
    resolution = resolve(session, whatsapp(known.phone), channel=WHATSAPP, profile=told)
    assert queries.count == 1, queries
    assert (resolution.customer_id, resolution.outcome) == (known.id, Outcome.MATCHED)
    assert (resolution.assurance, resolution.attached) == (Assurance.VERIFIED, ())
    assert resolution.matched_by == whatsapp(known.phone)


def test_statements_do_not_grow_with_identifiers(session, queries):
    counted = []
    for size in (2, 20):
        known = CustomerFactory(with_email=True)
        more = [CustomerIdentifierFactory(customer=known, verified=True) for _ in range(size - 1)]
        queries.reset()
        resolve(session, email(known.email, verified=True), *(email(row.identifier_value) for row in more))
        counted.append(queries.count)
    assert counted == [1, 1]


def test_statements_do_not_grow_with_customers_in_conflict(session, queries):
    counted = []
    for size in (4, 8):
        people = [CustomerFactory(with_email=True) for _ in range(size)]
        for _ in range(2):
            queries.reset()
            resolve(session, *(email(person.email, verified=True) for person in people))
            counted.append(queries.count)
    # The second time there is nothing left to tell.
    assert counted[:2] == counted[2:]
    assert counted[1] <= 2


def test_a_person_is_known_on_every_channel_once_proven(session):
    first = resolve(session, email("ana@example.com"), phone(), channel=Channel.WEB_FORM)
    by_number = resolve(session, whatsapp(), channel=WHATSAPP)
    assert (by_number.customer_id, by_number.assurance) == (first.customer_id, Assurance.VERIFIED)
    assert rows(session, first.customer_id) == {"ana@example.com": False, NUMBER: True}


@pytest.mark.parametrize(
    ("stored", "asked"),
    [
        ("whatsapp:+4915112345678", "+49 (151) 1234-5678"),
        ("4915112345678", "0049 151 12345678"),
        ("whatsapp:+553188888888", "+55 31 98888-8888"),
        ("5215512345678", "+52 55 1234 5678"),
        ("5491123456789", "+54 11 2345 6789"),
    ],
)
def test_a_phone_and_a_whatsapp_number_are_one_key(session, stored, asked):
    first = resolve(session, whatsapp(stored), channel=WHATSAPP)
    again = resolve(session, phone(asked), channel=Channel.WEB_FORM)
    assert again.customer_id == first.customer_id
    assert len(rows(session, first.customer_id)) == 1
    assert identity.find_customer(session, phone(asked)).id == first.customer_id


def test_one_address_twice_in_a_call_is_one_and_the_proof_counts(session):
    resolution = resolve(session, phone(), whatsapp(), email("A@example.com"), email("a@EXAMPLE.com"))
    assert [i.value for i in resolution.attached] == [NUMBER, "a@example.com"]
    assert rows(session, resolution.customer_id) == {NUMBER: True, "a@example.com": False}


def test_a_claim_is_attached_to_the_match_and_stays_a_claim(session):
    known = CustomerFactory(with_email=True)
    resolution = resolve(session, email(known.email), phone(), channel=Channel.WEB_FORM)
    assert (resolution.customer_id, resolution.assurance) == (known.id, Assurance.CLAIMED)
    assert rows(session, known.id) == {known.email: True, NUMBER: False}


def test_proof_of_a_mere_claim_verifies_it_in_place(session, queries):
    first = resolve(session, email("ana@example.com"), channel=Channel.WEB_FORM)
    proven = resolve(session, email("ana@example.com", verified=True))
    assert (proven.customer_id, proven.assurance) == (first.customer_id, Assurance.VERIFIED)
    assert rows(session, first.customer_id) == {"ana@example.com": True}
    assert events(session, first.customer_id) == ["created", "attached", "verified"]
    queries.reset()
    resolve(session, email("ana@example.com", verified=True))
    assert queries.count == 1, queries


def test_who_types_a_victims_address_and_his_own_number_gets_no_history(session):
    victim = CustomerFactory(with_email=True)
    typed = resolve(session, email(victim.email), phone(), channel=Channel.WEB_FORM)
    assert (typed.customer_id, typed.assurance) == (victim.id, Assurance.CLAIMED)
    intruder = resolve(session, whatsapp(), channel=WHATSAPP)
    assert intruder.customer_id != victim.id
    assert (intruder.outcome, intruder.candidates) == (Outcome.CREATED, (victim.id,))
    assert rows(session, victim.id) == {victim.email: True}
    assert rows(session, intruder.customer_id) == {NUMBER: True}
    assert events(session, intruder.customer_id) == ["created", "reassigned"]


def test_the_owner_of_an_address_takes_it_from_who_only_claimed_it(session):
    squatter = resolve(session, email("ana@example.com"), channel=Channel.WEB_FORM)
    # Known by a proof of his own, without any proof of the address.
    CustomerIdentifierFactory(
        customer_id=squatter.customer_id, channel=WHATSAPP, identifier_value=NUMBER, verified=True
    )
    owner = resolve(session, email("ana@example.com", verified=True))
    assert owner.customer_id != squatter.customer_id
    assert profile(session, owner.customer_id).email == "ana@example.com"
    left = profile(session, squatter.customer_id)
    assert left.contact_email is None
    assert left.email == f"{left.id}@placeholder.invalid"
    assert rows(session, left.id) == {NUMBER: True}


def test_two_customers_in_one_call_are_told_and_not_merged(session):
    ana, ben = CustomerFactory(with_email=True), CustomerFactory(with_whatsapp=True)
    before = {c.id: rows(session, c.id) for c in (ana, ben)}
    resolution = resolve(session, whatsapp(ben.phone, verified=False), email(ana.email))
    assert (resolution.outcome, resolution.customer_id, resolution.candidates) == (
        Outcome.CONFLICT,
        ana.id,
        (ben.id,),
    )
    on_whatsapp = resolve(session, email(ana.email), whatsapp(ben.phone, verified=False), channel=WHATSAPP)
    assert (on_whatsapp.customer_id, on_whatsapp.candidates) == (ben.id, (ana.id,))
    assert {c.id: rows(session, c.id) for c in (ana, ben)} == before
    assert events(session, ana.id) == events(session, ben.id) == ["conflict"]


def test_the_lenient_policy_believes_every_identifier(session):
    victim = CustomerFactory(with_email=True)
    resolution = resolve(
        session, whatsapp(), email(victim.email), channel=WHATSAPP, policy=IdentityPolicy.LENIENT
    )
    assert (resolution.customer_id, resolution.assurance) == (victim.id, Assurance.VERIFIED)


@pytest.mark.parametrize(
    "value", ["noreply@example.com", "MAILER-DAEMON@example.com", "x@placeholder.invalid"]
)
def test_a_robots_address_identifies_nobody_and_is_reported(session, value):
    resolution = resolve(session, email(value, verified=True), whatsapp())
    assert [i.value for i in resolution.ignored] == [value.lower()]
    assert rows(session, resolution.customer_id) == {NUMBER: True}
    assert profile(session, resolution.customer_id).contact_email is None
    assert identity.find_customer(session, email(value)) is None


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("zo\u00eb@example.com", "ZOE\u0308@example.com", True),
        ("ana@m\u00fcnchen.example", "ana@xn--mnchen-3ya.example", True),
        ("\uff41na@example.com", "ana@example.com", True),
        ("\u0430na@example.com", "ana@example.com", False),
        ("ana+news@example.com", "ana@example.com", False),
        ("a.na@example.com", "ana@example.com", False),
    ],
    ids=["accents", "domain", "width", "cyrillic", "tag", "dot"],
)
def test_spellings_of_one_address_are_one_person_and_look_alikes_are_not(session, one, other, same):
    first, second = (resolve(session, email(value, verified=True)) for value in (one, other))
    assert (first.customer_id == second.customer_id) is same


def test_a_dummy_number_identifies_nobody(session):
    one = resolve(session, email("a@example.com"), phone("000000000"))
    other = resolve(session, email("b@example.com"), phone("000000000"))
    assert one.customer_id != other.customer_id
    assert profile(session, one.customer_id).phone is None


def test_a_customer_without_an_address_gets_one_that_nobody_writes_to(session):
    customer = profile(session, resolve(session, whatsapp(), channel=WHATSAPP).customer_id)
    assert customer.email == f"{customer.id}@placeholder.invalid"
    assert (customer.contact_email, customer.phone) == (None, NUMBER)


def test_a_later_call_fills_blanks_and_overwrites_nothing(session):
    known = resolve(session, whatsapp(), channel=WHATSAPP)
    told = CustomerProfile(name="Ana", company="")
    resolve(session, whatsapp(), email("ana@example.com"), channel=WHATSAPP, profile=told)
    customer = profile(session, known.customer_id)
    assert (customer.name, customer.company, customer.email) == ("Ana", None, "ana@example.com")
    resolve(session, whatsapp(), channel=WHATSAPP, profile=CustomerProfile(name="Eve", company="Co"))
    customer = profile(session, known.customer_id)
    assert (customer.name, customer.company) == ("Ana", "Co")


def test_who_only_claims_to_be_a_proven_customer_writes_nothing_into_the_profile(session):
    victim = CustomerFactory(with_email=True, name=None)
    resolve(session, email(victim.email), phone(), profile=CustomerProfile(name="Eve"))
    assert (profile(session, victim.id).name, victim.phone) == (None, None)


@pytest.mark.parametrize("stored", ["ana@example.com", "Ana@Example.com", "ANA@EXAMPLE.COM"])
@pytest.mark.parametrize("verified", [False, True])
def test_a_customer_of_raw_sql_is_found_in_any_letter_case_and_gets_a_row(session, queries, stored, verified):
    raw_id = raw_customer(session, stored)
    queries.reset()
    assert identity.find_customer(session, email("ana@example.com")).id == raw_id
    assert queries.count == 1, queries
    resolution = resolve(session, email("aNA@example.com", verified=verified))
    assert (resolution.customer_id, resolution.outcome) == (raw_id, Outcome.MATCHED)
    assert rows(session, raw_id) == {"ana@example.com": verified}
    assert profile(session, raw_id).email == stored


@pytest.mark.parametrize("stored", [NUMBER, "+49 151 12345678", "+49 (151) 1234-5678", "4915112345678"])
@pytest.mark.parametrize("asked", [phone(), whatsapp(), whatsapp("whatsapp:4915112345678", verified=False)])
def test_a_customer_of_raw_sql_is_found_by_the_digits_of_its_number(session, stored, asked):
    raw_id = raw_customer(session, "raw@example.com", stored)
    assert identity.find_customer(session, asked).id == raw_id
    assert resolve(session, asked, channel=WHATSAPP).customer_id == raw_id
    assert rows(session, raw_id) == {NUMBER: asked.verified}


def test_two_raw_customers_with_one_address_are_a_conflict_once_and_then_the_older_one(session):
    older, newer = raw_customer(session, "Ana@example.com"), raw_customer(session, "ana@EXAMPLE.com")
    session.execute(text("UPDATE customers SET created_at = now() WHERE id = :id"), {"id": newer})
    first = resolve(session, email("ana@example.com"))
    assert (first.customer_id, first.outcome, first.candidates) == (older, Outcome.CONFLICT, (newer,))
    again = resolve(session, email("ana@example.com"))
    assert (again.customer_id, again.outcome) == (older, Outcome.MATCHED)


def test_a_row_counts_more_than_a_profile(session):
    raw_customer(session, "Ana@example.com")
    holder = CustomerIdentifierFactory(identifier_value="ana@example.com").customer_id
    assert identity.find_customer(session, email("ana@example.com")).id == holder
    assert resolve(session, email("ana@example.com")).customer_id == holder


def test_a_verified_holder_is_found_before_a_claiming_one(session):
    claimed = CustomerIdentifierFactory(identifier_type="phone", identifier_value=NUMBER)
    proven = CustomerIdentifierFactory(channel=WHATSAPP, identifier_value=NUMBER, verified=True)
    assert claimed.customer_id != proven.customer_id
    assert identity.find_customer(session, phone()).id == proven.customer_id
    assert identity.find_customer(session, whatsapp()).id == proven.customer_id


def test_nobody_is_found_in_one_statement(session, queries):
    assert identity.find_customer(session, email("nobody@example.com")) is None
    assert queries.count == 1, queries


def test_a_local_number_needs_a_region(session):
    first = resolve(session, phone("0151 12345678"), default_region="DE")
    assert rows(session, first.customer_id) == {NUMBER: False}
    assert (
        identity.find_customer(session, phone("0151/12345678"), default_region="DE").id == first.customer_id
    )
    with pytest.raises(InvalidValue, match="country code"):
        resolve(session, phone("0151 12345678"))


def test_what_the_session_has_not_sent_yet_counts(session):
    pending = Customer(email="ana@example.com")
    with session.no_autoflush:
        session.add(pending)
        resolution = resolve(session, email("ana@example.com"))
        assert (resolution.customer_id, resolution.outcome) == (pending.id, Outcome.MATCHED)
        # What the caller added and the database refuses is the caller's error, and no conflict of ours.
        session.add(Customer(email="ana@example.com"))
        with pytest.raises(IntegrityError):
            resolve(session, email("eve@example.com"))


def test_a_pending_change_of_an_identifier_is_sent_and_not_lost(session):
    claim = CustomerIdentifierFactory(channel=Channel.EMAIL)
    with session.no_autoflush:
        claim.channel = Channel.WEB_FORM
        identity.verify_identifier(session, claim.id, actor="human:7")
    assert (claim.channel, claim.verified) == (Channel.WEB_FORM, True)


def test_what_a_caller_rolls_back_was_never_there(session):
    before = counts(session)
    savepoint = session.begin_nested()
    first = resolve(session, email("ana@example.com"))
    savepoint.rollback()
    assert counts(session) == before
    again = resolve(session, email("ana@example.com"))
    assert (again.outcome, again.customer_id != first.customer_id) == (Outcome.CREATED, True)


def test_types_of_identifiers_are_those_of_the_channels():
    assert set(OWN_TYPE) == set(Channel)
    assert set(OWN_TYPE.values()) <= set(IdentifierType)
