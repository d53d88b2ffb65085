"""Many people at once become the customers that they become one by one."""

from __future__ import annotations

import random

import pytest
from sqlalchemy import text

from app.database import make_engine, make_session_factory, transaction
from app.errors import CRMError
from app.models import Channel
from app.schemas import CustomerProfile, CustomerRow, Identifier
from app.services import bulk, identity
from tests.services.bulk.worlds import contents

RAW = text(
    "INSERT INTO customers (email, phone, name) VALUES (' Person3@Example.com', '+49 30 901824', 'Raw')"
)


@pytest.fixture
def other_clone(crm_databases):
    url = crm_databases.clone()
    engine = make_engine(url, allow_insecure_tls=True)
    yield engine
    engine.dispose()
    crm_databases.drop(url)


def people(count: int) -> list[CustomerRow]:
    """Rows about people who occur again, with other spellings, other proofs and others' addresses."""
    rng = random.Random(7)
    rows = []
    for _ in range(count):
        person = rng.randrange(count // 3)
        address = rng.choice([f"person{person}@example.com", f" PERSON{person}@Example.com"])
        identifiers = [Identifier(type="email", value=address, verified=rng.random() < 0.4)]
        if rng.random() < 0.5:
            owner = person if rng.random() < 0.8 else rng.randrange(count // 3)
            identifiers.append(
                Identifier(type="phone", value=f"+4930{901820 + owner}", verified=rng.random() < 0.3)
            )
        rng.shuffle(identifiers)
        name = f"Person {person}" if rng.random() < 0.5 else None
        rows.append(
            CustomerRow(
                identifiers=tuple(identifiers), channel=Channel.EMAIL, profile=CustomerProfile(name=name)
            )
        )
    return rows


def test_they_are_the_same_as_one_by_one(crm_clone, other_clone):
    rows = people(120)
    for engine in (crm_clone, other_clone):
        with engine.begin() as connection:
            connection.execute(RAW)
    sessions = make_session_factory(other_clone)
    for row in rows:
        transaction(sessions, identity.resolve, row.identifiers, channel=row.channel, profile=row.profile)
    report = bulk.import_customers(crm_clone, rows, batch_size=50)

    assert contents(crm_clone) == contents(other_clone)
    assert report.new == len(contents(crm_clone)["customers"]) - 1
    before = contents(crm_clone)
    assert bulk.import_customers(crm_clone, rows).new == 0
    assert contents(crm_clone)["conversations"] == before["conversations"] == []


def test_flat_fields_are_a_person(crm_clone):
    rows = [
        {"email": "ana@example.com", "phone": "+49 30 901820", "name": "Ana", "company": ""},
        {"whatsapp": "+15551234567", "verified": "true"},
        {"email": "", "name": "Nobody"},
        {"email": "ana@example.com", "shoe_size": 42},
        {"email": "ana@example.com", "verified": "perhaps"},
    ]
    report = bulk.import_customers(crm_clone, rows)
    customers = contents(crm_clone)["customers"]

    assert (report.new, report.customers_created) == (2, 2)
    assert [(reject.row, reject.reason) for reject in report.rejects] == [
        (3, "identifiers: must be at least one: email, phone or whatsapp"),
        (4, "shoe_size: extra inputs are not permitted"),
        (5, "verified: must be true or false"),
    ]
    assert '["whatsapp", "+15551234567", "whatsapp", true]' in "".join(customers)
    assert '["email", "ana@example.com", "email", false]' in "".join(customers)


def test_an_ill_formed_address_is_refused_as_resolve_refuses_it(crm_clone):
    row = {"email": "ana at example.com"}
    report = bulk.import_customers(crm_clone, [row])
    with pytest.raises(CRMError) as refused, make_session_factory(crm_clone)() as session:
        identity.resolve(session, [Identifier(type="email", value=row["email"])], channel=Channel.EMAIL)

    assert report.rejects[0].reason == str(refused.value)
