"""Customers as records: what is known of them, and changes that have an author."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from app.errors import CustomerNotFound, InvalidValue
from app.models import Customer, CustomerPlan, IdentityEvent
from app.services import customers, identity, merging
from app.testing import CustomerFactory, CustomerIdentifierFactory


def events(session, customer_id):
    return [
        (event.event, event.actor, event.reason, event.details)
        for event in identity.identity_history(session, customer_id).events
    ]


def test_a_customer_is_read_with_its_addresses_in_one_statement(session, queries):
    customer = CustomerFactory(with_whatsapp=True, company="ACME")
    CustomerIdentifierFactory(customer=customer, identifier_value="a@example.com")
    queries.reset()

    details = customers.get_customer(session, customer.id)

    assert queries.count == 1, queries
    assert (details.id, details.company, details.plan) == (customer.id, "ACME", CustomerPlan.FREE)
    assert details.contact_email == customer.email
    assert [(i.type, i.value, i.verified) for i in details.identifiers] == [
        ("whatsapp", customer.phone, True),
        ("email", "a@example.com", False),
    ]


def test_a_placeholder_is_no_address_to_write_to(session):
    customer = CustomerFactory(email=f"{uuid4()}@placeholder.invalid")
    assert customers.get_customer(session, customer.id).contact_email is None


def test_an_absorbed_customer_is_the_living_one(session):
    survivor_id, absorbed_id = CustomerFactory().id, CustomerFactory().id
    merging.merge(session, survivor_id, absorbed_id, actor="human:7", reason="one person")
    assert customers.get_customer(session, absorbed_id).id == survivor_id
    changed = customers.update_customer(session, absorbed_id, actor="human:7", company="ACME")
    assert (changed.id, changed.company) == (survivor_id, "ACME")


def test_a_change_is_on_record_with_its_author_and_without_what_is_personal(session):
    customer = CustomerFactory(name="Ada Example", extra={"tier": 1, "old": True, "kept": "x"})

    changed = customers.update_customer(
        session, customer.id, actor="human:7", reason="asked by phone", name="Ada Secret", company=None,
        plan="enterprise", extra={"tier": 2, "old": None, "vip": [1]},
    )  # fmt: skip

    assert (changed.name, changed.company, changed.plan) == ("Ada Secret", None, "enterprise")
    assert changed.extra == {"tier": 2, "kept": "x", "vip": [1]}
    # The session's own object too.
    assert (customer.name, customer.plan) == ("Ada Secret", CustomerPlan.ENTERPRISE)
    ((event, actor, reason, details),) = events(session, customer.id)
    assert (event, actor, reason) == ("updated", "human:7", "asked by phone")
    assert details == {
        "fields": ["name", "plan", "extra.old", "extra.tier", "extra.vip"],
        "plan": ["free", "enterprise"],
    }


def test_what_is_so_already_is_no_change(session):
    customer = CustomerFactory(name="Ada", extra={"a": 1})
    customers.update_customer(session, customer.id, actor="human:7", name="Ada", extra={"a": 1, "b": None})
    customers.update_customer(session, customer.id, actor="human:7")
    assert events(session, customer.id) == []


def test_true_is_another_value_than_one(session):
    customer = CustomerFactory(extra={"a": 1})
    assert (
        customers.update_customer(session, customer.id, actor="human:7", extra={"a": True}).extra["a"] is True
    )
    assert len(events(session, customer.id)) == 1


def test_what_is_pending_on_a_loaded_customer_is_not_lost(session):
    customer = CustomerFactory()
    customer.company = "ACME"
    assert customers.update_customer(session, customer.id, actor="human:7", name="B").company == "ACME"


@pytest.mark.parametrize(
    "changes",
    [
        {"email": "a@example.com"},
        {"id": UUID(int=1)},
        {"plan": "gold"},
        {"plan": None},
        {"name": "x" * 256},
        {"name": "\x00"},
        {"company": " "},
        {"extra": {"a": float("nan")}},
        {"extra": None},
        {"actor": "Bob"},
    ],
    ids=str,
)
def test_what_cannot_be_stored_or_is_not_changed_here_is_refused(session, queries, changes):
    customer = CustomerFactory()
    queries.reset()
    with pytest.raises(InvalidValue):
        customers.update_customer(session, customer.id, **({"actor": "human:7"} | changes))
    assert queries.count == 0, queries


def test_nobody_cannot_be_read_or_changed(session):
    with pytest.raises(CustomerNotFound):
        customers.get_customer(session, uuid4())
    with pytest.raises(CustomerNotFound):
        customers.update_customer(session, uuid4(), actor="human:7", name="x")
    assert session.query(IdentityEvent).count() == session.query(Customer).count() == 0


@pytest.mark.parametrize(
    ("extra", "again"),
    [
        ({"address": {"street": "Hill", "no": 1}}, {"address": {"no": 1, "street": "Hill"}}),
        ({"tags": ["a", {"bb": 1, "c": 2}]}, {"tags": ["a", {"c": 2, "bb": 1}]}),
        ({"size": 1.0}, {"size": 1.0}),
    ],
)
def test_the_order_of_an_object_s_keys_is_no_change(session, extra, again):
    customer = CustomerFactory()
    customers.update_customer(session, customer.id, actor="human:7", extra=extra)
    kept = events(session, customer.id)

    customers.update_customer(session, customer.id, actor="human:7", extra=extra)
    customers.update_customer(session, customer.id, actor="human:7", extra=again)

    assert events(session, customer.id) == kept


def test_metadata_that_is_no_object_gives_way_to_one(session):
    customer = CustomerFactory()
    session.execute(text("UPDATE customers SET metadata = '[]' WHERE id = :id"), {"id": customer.id})
    assert customers.update_customer(session, customer.id, actor="human:7", extra={"vip": True}).extra == {
        "vip": True
    }


def test_numbers_of_keys_that_stay_are_not_rounded(session):
    customer = CustomerFactory()
    values = {"id": customer.id, "stored": '{"size": 12345678901234567890.123456, "old": 1}'}
    session.execute(text("UPDATE customers SET metadata = :stored WHERE id = :id"), values)

    customers.update_customer(session, customer.id, actor="human:7", extra={"vip": True, "old": None})

    assert set(customer.__dict__["extra"]) == {"size", "vip"}
    kept = text("SELECT CAST(metadata AS text) FROM customers WHERE id = :id")
    assert session.scalar(kept, {"id": customer.id}) == '{"vip": true, "size": 12345678901234567890.123456}'
