"""``crm customers export``, ``erase``, ``hold`` and ``release``."""

from __future__ import annotations

import json

import pytest
import typer
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from app.models import Customer
from app.testing import ConversationFactory, CustomerFactory, bound_to

WHY = ["--reason", "letter of 3 May"]
KEY = "a key that is kept elsewhere"


@pytest.fixture
def customers(crm, crm_clone: Engine):
    url = crm_clone.url.render_as_string(hide_password=False)

    def run(*arguments: str, **variables: str):
        return crm("customers", *arguments, DATABASE_URL=url, **variables)

    return run


@pytest.fixture
def stored(crm_clone: Engine):
    with Session(crm_clone) as session, bound_to(session):
        customer = CustomerFactory(with_email=True, email="wanda@example.com", name="Wanda Wolf")
        ConversationFactory(customer=customer, with_messages=True)
        session.commit()
        yield session


def names(session: Session) -> list[str | None]:
    session.rollback()
    return [customer.name for customer in session.query(Customer)]


def test_an_erasure_shows_its_plan_and_asks(customers, stored, monkeypatch):
    planned = customers("erase", "wanda@example.com", "--dry-run")
    assert planned.code == 0
    assert "messages" in planned.out
    assert names(stored) == ["Wanda Wolf"]

    def refuse(*_, **__):
        raise typer.Abort

    monkeypatch.setattr(typer, "confirm", refuse)
    assert customers("erase", "wanda@example.com", *WHY).code != 0
    assert names(stored) == ["Wanda Wolf"]

    customer_id = str(stored.query(Customer).one().id)
    done = customers("erase", "wanda@example.com", *WHY, "--yes", CRM_ERASURE_KEY=KEY)
    assert done.code == 0
    assert "erased at" in done.out
    assert names(stored) == [None]

    exported = json.loads(customers("export", customer_id).out)
    assert exported["erased_at"] is not None
    assert "wanda" not in json.dumps(exported).lower()


def test_an_export_is_one_json_document(customers, stored):
    document = json.loads(customers("export", "wanda@example.com").out)

    assert document["format"] == "crm-customer-export/1"
    assert document["identifiers"][0]["identifier_value"] == "wanda@example.com"


def test_a_hold_forbids_it_until_it_is_released(customers, stored):
    held = customers("hold", "wanda@example.com", *WHY)
    hold_id = held.out.split("release ")[1].split()[0]

    refused = customers("erase", "wanda@example.com", *WHY, "--yes")
    assert refused.code == 1
    assert "legal hold" in refused.err
    assert names(stored) == ["Wanda Wolf"]

    assert customers("release", hold_id, *WHY).code == 0
    assert customers("erase", "wanda@example.com", *WHY, "--yes").code == 0


def test_a_reason_is_needed_and_must_not_name_the_person(customers, stored):
    assert customers("erase", "wanda@example.com").code == 2
    refused = customers("erase", "wanda@example.com", "--reason", "Wanda Wolf asked", "--yes")
    assert refused.code == 1
    assert "Wolf" not in refused.err
    assert names(stored) == ["Wanda Wolf"]
