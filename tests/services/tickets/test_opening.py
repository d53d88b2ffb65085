"""Tickets are opened, numbered, and found by their id or number."""

from __future__ import annotations

from uuid import uuid4

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from app.errors import ConversationNotFound, CustomerNotFound, InvalidValue, TicketNotFound
from app.models import Channel, Ticket, TicketCategory, TicketPriority, TicketStatus
from app.services import tickets
from app.testing import ConversationFactory, CustomerFactory, TicketFactory


def open_ticket(session: Session, **fields: object) -> Ticket:
    given = {
        "subject": "Cannot sign in",
        "category": TicketCategory.ACCOUNT_ACCESS,
        "source_channel": Channel.EMAIL,
        "actor": "ai:support-agent",
    } | fields
    return tickets.open_ticket(session, **given)


def test_a_ticket_is_opened_numbered_and_recorded_in_one_statement(session, queries):
    conversation = ConversationFactory()
    queries.reset()
    ticket = open_ticket(
        session,
        customer_id=conversation.customer_id,
        conversation_id=conversation.id,
        priority=TicketPriority.HIGH,
    )
    assert (ticket.status, ticket.priority, ticket.extra) == (TicketStatus.OPEN, TicketPriority.HIGH, {})
    assert ticket.ticket_number.startswith("TKT-")
    assert ticket.created_at is not None
    assert queries.count == 1, queries
    (entry,) = tickets.status_history(session, ticket.id)
    assert (entry.old_status, entry.new_status, entry.changed_by) == (
        None,
        TicketStatus.OPEN,
        "ai:support-agent",
    )


def test_plain_values_and_texts_of_ids_will_do(session):
    customer = CustomerFactory()
    ticket = open_ticket(
        session, customer_id=str(customer.id), category="billing", source_channel="whatsapp", priority="low"
    )
    assert (ticket.category, ticket.source_channel) == (TicketCategory.BILLING, Channel.WHATSAPP)
    assert (ticket.priority, ticket.customer_id) == (TicketPriority.LOW, customer.id)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("customer_id", "nobody"),
        ("conversation_id", "none"),
        ("subject", ""),
        ("subject", "x" * 501),
        ("subject", "a\x00b"),
        ("subject", b"bytes"),
        ("category", "other"),
        ("source_channel", "fax"),
        ("priority", "urgent"),
        ("actor", "somebody"),
        ("actor", ""),
    ],
)
def test_a_bad_field_is_named_and_nothing_is_sent(session, queries, field, value):
    with pytest.raises(InvalidValue) as caught:
        open_ticket(session, **{"customer_id": uuid4(), field: value})
    assert caught.value.field == field
    assert queries.count == 0, queries


def test_a_ticket_needs_its_customer_and_that_customers_conversation(session):
    customer, of_another = CustomerFactory(), ConversationFactory()
    before = session.scalar(select(func.count()).select_from(Ticket))
    with pytest.raises(CustomerNotFound):
        open_ticket(session, customer_id=uuid4())
    for conversation_id in (uuid4(), of_another.id):
        with pytest.raises(ConversationNotFound):
            open_ticket(session, customer_id=customer.id, conversation_id=conversation_id)
    assert session.scalar(select(func.count()).select_from(Ticket)) == before


def test_a_ticket_is_found_by_its_id_and_number_in_any_spelling(session, queries):
    ticket = TicketFactory(ticket_number="TKT-0042")
    TicketFactory(ticket_number="TKT-4200")
    long = TicketFactory(ticket_number="TKT-123456")
    for spelling in ("TKT-0042", "tkt-42", " Tkt 42 ", "#42", "42", "TKT-00042", str(ticket.id), ticket.id):
        queries.reset()
        assert tickets.get_ticket(session, spelling) is ticket
        assert queries.count == 1, queries
    assert tickets.get_ticket(session, "tkt-123456") is long


@pytest.mark.parametrize("value", ["", "TKT-", "foo", "٤٢", "1" * 21, "\x00", b"42", 42, None])
def test_what_is_neither_an_id_nor_a_number_is_refused(session, value):
    with pytest.raises(InvalidValue, match=r"^ticket: "):
        tickets.get_ticket(session, value)


def test_the_refusal_of_a_word_says_what_would_be_taken(session):
    with pytest.raises(InvalidValue, match=r"^ticket: is neither a number nor an id$"):
        tickets.get_ticket(session, "foo")


@pytest.mark.parametrize("number", ["ZD-4711", "2024/17 b", "#A1", "INC0012345", "42a", "TKT-42", "42"])
def test_a_number_of_another_system_is_found_as_it_is_written(session, number):
    imported = TicketFactory(ticket_number=number)
    TicketFactory(ticket_number="TKT-0042")
    assert tickets.get_ticket(session, f" {number} ") is imported
    with pytest.raises(TicketNotFound):
        tickets.get_ticket(session, "ZD-4712")


@pytest.mark.parametrize("ahead", [["TKT-{:04}"], ["TKT-{:04}"] * 3])
def test_numbers_that_raw_sql_has_used_are_passed_over(session, ahead):
    customer = CustomerFactory()
    last = session.scalar(text("SELECT nextval('ticket_number_seq')"))
    for place, form in enumerate(ahead, 1):
        TicketFactory(ticket_number=form.format(last + place))
    ticket = open_ticket(session, customer_id=customer.id)
    assert ticket.ticket_number == f"TKT-{last + len(ahead) + 1:04}"
