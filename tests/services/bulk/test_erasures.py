"""Imports tell of erased customers who are customers again by their rows, as ``identity.resolve`` does."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from app.database import make_session_factory
from app.schemas import CustomerRow, Identifier, InboundMessage, TicketRow
from app.services import bulk, identity, privacy

KEY = "k" * 32
WANDA, OTHER = "wanda@example.com", "other@example.com"


def identifiers(address: str) -> tuple[Identifier, ...]:
    return (Identifier(type="email", value=address),)


def customer(address: str, number: int) -> CustomerRow:
    return CustomerRow(channel="email", identifiers=identifiers(address))


def message(address: str, number: int) -> InboundMessage:
    return InboundMessage(
        channel="email", account="support@us.example", provider_message_id=f"{number}@x", content="Hello",
        sender=identifiers(address),
    )  # fmt: skip


def ticket(address: str, number: int) -> TicketRow:
    return TicketRow(
        ticket_number=f"ZD-{number}", identifiers=identifiers(address), source_channel="email",
        subject="Login", category="technical", created_at=datetime(2020, 1, 1, tzinfo=UTC),
    )  # fmt: skip


IMPORTS = [
    pytest.param(bulk.import_customers, customer, id="customers"),
    pytest.param(bulk.import_messages, message, id="messages"),
    pytest.param(bulk.import_tickets, ticket, id="tickets"),
]


@pytest.fixture
def erasure(crm_clone):
    with make_session_factory(crm_clone).begin() as session:
        wanda = identity.resolve(session, list(identifiers(WANDA)), channel="email").customer_id
        report = privacy.erase_customer(
            session, wanda, actor="human:7", reason="asked for it", erasure_key=KEY
        )
        return report.erasure_id


@pytest.mark.parametrize(("store", "row"), IMPORTS)
def test_an_import_tells_once_who_was_erased_before(crm_clone, erasure, store, row):
    rows = [row(address, number) for number, address in enumerate([OTHER, WANDA, " Wanda@Example.com"])]

    report = store(crm_clone, rows, erasure_key=KEY)

    (before,) = report.erased_before
    assert (before.erasure_id, [identifier.value for identifier in before.identifiers]) == (erasure, [WANDA])
    assert store(crm_clone, rows, erasure_key=KEY).erased_before == ()


@pytest.mark.parametrize(("store", "row"), IMPORTS)
def test_a_row_that_is_stored_by_itself_tells_it_too(crm_clone, erasure, store, row):
    with make_session_factory(crm_clone).begin() as session:
        identity.resolve(session, list(identifiers(OTHER)), channel="email")
    name = "identifiers" if store is not bulk.import_messages else "sender"
    both = (Identifier(type="email", value=OTHER, verified=True), *identifiers(WANDA))

    report = store(crm_clone, [row(OTHER, 1).model_copy(update={name: both})], erasure_key=KEY)

    assert report.customers_created == 0
    assert [before.erasure_id for before in report.erased_before] == [erasure]


@pytest.mark.parametrize(("store", "row"), IMPORTS)
def test_without_the_key_nobody_is_told(crm_clone, erasure, store, row):
    assert store(crm_clone, [row(WANDA, 1)]).erased_before == ()
