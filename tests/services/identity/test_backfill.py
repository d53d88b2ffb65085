"""Addresses in another backend's spelling: rewritten where nobody else has them, otherwise reported."""

from __future__ import annotations

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from app.errors import InvalidValue
from app.models import Channel, Customer, CustomerIdentifier, IdentityEvent, IdentityEventType
from app.schemas import Fate, Identifier, NormalizationReport
from app.services import identity
from app.services.identity import backfill
from app.testing import CustomerFactory, CustomerIdentifierFactory

ACTOR = "system:backfill"


def row(customer: Customer, value: str, kind: str = "email", *, verified: bool = False) -> CustomerIdentifier:
    return CustomerIdentifierFactory(
        customer=customer, identifier_type=kind, identifier_value=value, verified=verified
    )


def normalize(session: Session, **options: object) -> NormalizationReport:
    return backfill.normalize_identifiers(session, actor=ACTOR, **options)


def stored(session: Session, customer: Customer) -> list[str]:
    found = select(CustomerIdentifier.identifier_value).where(CustomerIdentifier.customer_id == customer.id)
    return sorted(session.scalars(found))


def profile(session: Session, customer: Customer) -> tuple[str, str | None]:
    found = select(Customer.email, Customer.phone).where(Customer.id == customer.id)
    return tuple(session.execute(found).one())


def everything(session: Session) -> list[object]:
    return [
        session.execute(text(f"SELECT to_jsonb({table}) FROM {table} ORDER BY id")).scalars().all()
        for table in ("customers", "customer_identifiers", "identity_events")
    ]


def fates(report: NormalizationReport) -> list[tuple[str, Fate]]:
    return sorted((value.stored, value.fate) for value in report.values)


def test_a_base_in_canonical_form_stays_as_it_is(session):
    CustomerFactory(with_email=True, with_whatsapp=True)
    CustomerFactory(email="4@placeholder.invalid")
    before = everything(session)
    report = normalize(session)
    assert (report.checked, report.values) == (4, ())
    assert everything(session) == before


@pytest.mark.parametrize(
    ("kind", "spelling", "canonical"),
    [
        ("email", "  Ana@Example.COM ", "ana@example.com"),
        ("email", "ana@MÜNCHEN.de", "ana@xn--mnchen-3ya.de"),
        ("phone", "+49 (151) 1234-5678", "+4915112345678"),
        ("whatsapp", "whatsapp:+553188888888", "+5531988888888"),
    ],
)
def test_a_spelling_is_rewritten_and_the_address_is_then_found(session, kind, spelling, canonical):
    customer = CustomerFactory()
    kept = row(customer, spelling, kind, verified=True)
    report = normalize(session)
    assert fates(report) == [(spelling, Fate.REWRITTEN)]
    assert report.values[0].canonical == canonical
    session.expire_all()
    assert (kept.identifier_value, kept.verified) == (canonical, True)
    found = identity.find_customer(session, Identifier(type=kind, value=spelling))
    assert found == customer
    assert normalize(session).values == ()


def test_profiles_are_rewritten_too(session):
    customer = CustomerFactory(email="Ana@Example.com", phone="+49 151 12345678")
    assert len(normalize(session).of(Fate.REWRITTEN)) == 2
    assert profile(session, customer) == ("ana@example.com", "+4915112345678")


def test_spelling_alone_is_no_event(session):
    row(CustomerFactory(email="Ana@Example.com"), "Ana@Example.com")
    count = select(func.count()).select_from(IdentityEvent)
    before = session.scalar(count)
    normalize(session)
    assert session.scalar(count) == before


def test_a_dry_run_changes_nothing_and_tells_what_would_be_done(session, queries):
    row(CustomerFactory(email="Ana@Example.com"), "Ana@Example.com")
    before = everything(session)
    queries.reset()
    planned = normalize(session, dry_run=True)
    assert not any("UPDATE" in statement for statement in queries.statements), queries
    assert everything(session) == before
    assert planned == backfill.find_uncanonical(session)
    assert fates(normalize(session)) == fates(planned)


def test_what_somebody_else_has_is_reported_and_left(session):
    ana, ben = CustomerFactory(), CustomerFactory()
    row(ana, "Info@Example.com")
    row(ben, "info@example.com")
    before = everything(session)
    (value,) = normalize(session).values
    assert (value.stored, value.fate, value.holders) == ("Info@Example.com", Fate.COLLISION, (ben.id,))
    assert everything(session) == before


@pytest.mark.parametrize(
    "theirs",
    [
        {"email": "Info@example.com"},
        {"email": "info@example.com"},
        {"email": "other@example.com", "phone": "+49 151 12345678"},
    ],
)
def test_a_profile_holds_an_address_as_well(session, theirs):
    ana, ben = CustomerFactory(), CustomerFactory(**theirs)
    kind, spelling = ("phone", "+49/151/12345678") if "phone" in theirs else ("email", "INFO@Example.com")
    row(ana, spelling, kind)
    report = normalize(session)
    assert [
        (value.stored, value.holders) for value in report.of(Fate.COLLISION) if value.customer_id == ana.id
    ] == [(spelling, (ben.id,))]
    assert stored(session, ana) == [spelling]


def test_of_two_strange_spellings_at_two_customers_neither_wins(session):
    ana, ben = CustomerFactory(), CustomerFactory()
    row(ana, "Info@Example.com")
    row(ben, "INFO@Example.com")
    report = normalize(session)
    assert {value.customer_id: value.holders for value in report.of(Fate.COLLISION)} == {
        ana.id: (ben.id,),
        ben.id: (ana.id,),
    }
    assert (stored(session, ana), stored(session, ben)) == (["Info@Example.com"], ["INFO@Example.com"])


def test_a_phone_collides_with_somebodys_whatsapp_number(session):
    ana, ben = CustomerFactory(), CustomerFactory(with_whatsapp=True)
    row(ana, f"{ben.phone[:3]} {ben.phone[3:]}", "phone")
    assert normalize(session).of(Fate.COLLISION)[0].holders == (ben.id,)


def test_two_spellings_of_one_customer_become_one_row_that_keeps_the_proof(session):
    customer = CustomerFactory()
    claim, proof = row(customer, "ana@example.com"), row(customer, "Ana@Example.com", verified=True)
    report = normalize(session)
    assert fates(report) == [("Ana@Example.com", Fate.JOINED)]
    assert stored(session, customer) == ["ana@example.com"]
    session.expire_all()
    assert claim.verified
    events = session.execute(
        select(IdentityEvent.event, IdentityEvent.identifier_id, IdentityEvent.actor)
        .where(IdentityEvent.actor == ACTOR)
        .order_by(IdentityEvent.seq)
    ).all()
    assert events == [
        (IdentityEventType.DETACHED, proof.id, ACTOR),
        (IdentityEventType.VERIFIED, claim.id, ACTOR),
    ]


def test_of_two_strange_spellings_of_one_customer_one_is_rewritten_and_one_joined(session):
    customer = CustomerFactory()
    for spelling in ("Ana@Example.com", "ANA@Example.com"):
        row(customer, spelling)
    assert sorted(fate for _, fate in fates(normalize(session))) == [Fate.JOINED, Fate.REWRITTEN]
    assert stored(session, customer) == ["ana@example.com"]


def test_a_phone_and_a_whatsapp_row_of_one_number_stay_two_rows(session):
    customer = CustomerFactory(with_whatsapp=True)
    row(customer, f"{customer.phone[:3]} {customer.phone[3:]}", "phone")
    assert [value.fate for value in normalize(session).values] == [Fate.REWRITTEN]
    assert stored(session, customer) == [customer.phone] * 2


@pytest.mark.parametrize(
    ("kind", "value", "problem"),
    [
        ("email", "call me", "email: contains a space"),
        ("phone", "0151 12345678", "phone: needs a + and a country code, or a default region"),
        ("email", "No-Reply@Example.com", "email: identifies nobody"),
    ],
)
def test_what_cannot_be_read_is_reported_and_left(session, kind, value, problem):
    customer = CustomerFactory()
    row(customer, value, kind)
    (found,) = normalize(session).values
    assert (found.fate, found.canonical, found.problem) == (Fate.UNREADABLE, None, problem)
    assert stored(session, customer) == [value]


def test_a_region_makes_local_numbers_readable(session):
    customer = CustomerFactory(phone="0151 12345678")
    assert len(normalize(session, default_region="DE").of(Fate.REWRITTEN)) == 1
    assert profile(session, customer)[1] == "+4915112345678"


def test_a_call_does_a_part_and_tells_how_much_is_left(session, monkeypatch):
    monkeypatch.setattr(backfill, "MOST_PER_CALL", 2)
    customers = [CustomerFactory(email=f"Person.{number}@example.com") for number in range(5)]
    done = [normalize(session) for _ in range(4)]
    assert [(len(report.of(Fate.REWRITTEN)), report.remaining) for report in done] == [
        (2, 3),
        (2, 1),
        (1, 0),
        (0, 0),
    ]
    assert all(profile(session, customer)[0].islower() for customer in customers)


def test_searching_takes_few_statements_however_much_is_found(session, queries):
    counted = []
    for size in (4, 40):
        for number in range(size):
            row(CustomerFactory(), f"Person.{size}.{number}@Example.com")
        queries.reset()
        assert len(backfill.find_uncanonical(session).values) >= size
        counted.append(queries.count)
    assert counted == [3, 3]


def test_a_report_shows_no_addresses(session):
    row(CustomerFactory(email="Ana@Example.com", phone="call me"), "Info@Example.com")
    shown = repr(normalize(session))
    assert "example" not in shown.lower()
    assert "call me" not in shown


@pytest.mark.parametrize(
    ("options", "field"),
    [({"actor": "me"}, "actor"), ({"default_region": "Germany"}, "default_region")],
)
def test_bad_arguments_change_nothing(session, options, field):
    row(CustomerFactory(), "Ana@Example.com")
    before = everything(session)
    with pytest.raises(InvalidValue) as error:
        backfill.normalize_identifiers(session, **({"actor": ACTOR} | options))
    assert error.value.field == field
    assert everything(session) == before


def test_a_new_customer_with_the_address_waits_for_the_rewriting(crm_clone):
    with Session(crm_clone) as first, Session(crm_clone) as second:
        with first.begin():
            customer = Customer(email="Ana@Example.com")
            first.add(customer)
            first.flush()
            first.add(
                CustomerIdentifier(
                    customer_id=customer.id,
                    identifier_type="phone",
                    identifier_value="+49 151 12345678",
                    channel=Channel.WEB_FORM,
                )
            )
        theirs = [Identifier(type="whatsapp", value="+4915112345678", verified=True)]
        with first.begin():
            normalize(first)
            second.execute(text("SET LOCAL lock_timeout = '200ms'"))
            with pytest.raises(OperationalError, match="lock timeout"):
                identity.resolve(second, theirs, channel=Channel.WHATSAPP)
            second.rollback()
        found = identity.resolve(second, theirs, channel=Channel.WHATSAPP)
        assert found.customer_id == customer.id
