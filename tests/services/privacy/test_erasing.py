"""Erasing a person: nothing is left of what was written about it, and all else is as it was."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.errors import (
    CustomerErased,
    CustomerNotFound,
    InvalidValue,
    UnderLegalHold,
    from_database,
)
from app.models import Customer
from app.schemas import DeliveryReport, Identifier, OutboundMessage
from app.services import conversations, customers, identity, merging, metrics, outbox, privacy, tickets
from app.testing import CustomerFactory, TicketFactory
from tests.services.conversations._messages import whatsapp
from tests.services.privacy.planting import person_of

BY = {"actor": "human:7", "reason": "asked by letter of 3 May"}
KEY = "a key that is kept elsewhere"


def test_what_is_left_is_counted_and_repeating_it_tells_the_same(session):
    customer_id = person_of(session)
    plan = privacy.plan_erasure(session, customer_id)
    assert session.get_one(Customer, customer_id).name == "Wanda Wolf"

    report = privacy.erase_customer(session, customer_id, **BY)

    assert plan.rows == report.rows
    counted = {"customers": 1, "messages": 1, "tickets": 1, "ticket_status_changes": 1}
    assert report.rows.items() >= counted.items()
    assert privacy.erase_customer(session, customer_id, actor="human:8", reason="once more") == report
    assert privacy.plan_erasure(session, customer_id).erased_at == report.erased_at
    customer = session.get_one(Customer, customer_id)
    assert (customer.contact_email, customer.name) == (None, None)


def test_the_record_of_tickets_holds_and_an_erased_word_cannot_be_put_back(session):
    customer_id = person_of(session)
    ticket_id = session.scalars(
        text("SELECT id FROM tickets WHERE customer_id = :id"), {"id": customer_id}
    ).one()

    privacy.erase_customer(session, customer_id, **BY)

    entries = tickets.status_history(session, ticket_id)
    assert [entry.comment for entry in entries] == [None] * len(entries)
    assert "human:7" in {entry.changed_by for entry in entries}
    tickets.change_status(session, ticket_id, "resolved", actor="human:7", comment="Closed for good")
    assert tickets.verify_history(session, ticket_id) == []
    session.execute(text("ALTER TABLE ticket_status_changes DISABLE TRIGGER USER"))
    for tampering in (
        "UPDATE ticket_status_changes SET comment = 'She was kind' WHERE salt IS NULL",
        "UPDATE ticket_status_changes SET changed_by = 'human:8' WHERE salt IS NULL",
        "UPDATE ticket_status_changes SET erasure_id = gen_random_uuid() WHERE salt IS NULL",
        """
        UPDATE ticket_status_changes
        SET words_hash = record_words_hash(salt, changed_by, ARRAY[comment]), salt = NULL, comment = NULL
        WHERE comment IS NOT NULL
        """,
    ):
        savepoint = session.begin_nested()
        session.execute(text(tampering))
        findings = tickets.verify_history(session, ticket_id)
        assert [finding.fault for finding in findings] == ["edited"], tampering
        savepoint.rollback()


def test_a_legal_hold_refuses_until_it_is_released(session):
    customer_id, other_id = person_of(session), CustomerFactory().id
    hold = privacy.place_hold(session, customer_id, actor="human:7", reason="a trial")
    merging.merge(session, other_id, customer_id, actor="human:7", reason="one")

    for id_ in (customer_id, other_id):
        with pytest.raises(UnderLegalHold):
            privacy.erase_customer(session, id_, **BY)
        assert privacy.plan_erasure(session, id_).is_held
    assert privacy.export_customer(session, customer_id).is_held

    privacy.release_hold(session, hold.id, actor="human:8", reason="it is over")
    assert privacy.erase_customer(session, customer_id, **BY).rows


@pytest.mark.parametrize("reason", ["asked by Wanda  WOLF.", "who is {email}", "", "\x00"])
def test_a_reason_that_names_the_person_is_refused(session, reason):
    customer_id = person_of(session)
    email = session.get_one(Customer, customer_id).email

    with pytest.raises(InvalidValue) as refused:
        privacy.erase_customer(session, customer_id, actor="human:7", reason=reason.format(email=email))

    assert refused.value.field == "reason"
    assert "wolf" not in str(refused.value).lower()
    assert session.get_one(Customer, customer_id).name == "Wanda Wolf"


def test_nobody_to_erase(session):
    with pytest.raises(CustomerNotFound):
        privacy.erase_customer(session, uuid4(), **BY)


WRITES = {
    "an identifier": """
        INSERT INTO customer_identifiers (customer_id, identifier_type, identifier_value, channel)
        VALUES (:id, 'email', 'back@post.example', 'email')
    """,
    "a conversation": "INSERT INTO conversations (customer_id, channel) VALUES (:id, 'email')",
    "a message": """
        INSERT INTO messages (conversation_id, customer_id, channel, direction, role, content)
        SELECT id, :id, 'email', 'inbound', 'customer', 'Hello' FROM conversations LIMIT 1
    """,
    "a message's words": "UPDATE messages SET content = 'Hello' WHERE customer_id = :id",
    "a profile": "UPDATE customers SET name = 'Wanda' WHERE id = :id",
    "a ticket": "UPDATE tickets SET customer_id = :id",
    "another reason": "UPDATE erasures SET reason = 'none' WHERE customer_id = :id",
    "the words of an event": "UPDATE identity_events SET reason = 'x'",
    "the words of an entry": "UPDATE ticket_status_changes SET comment = NULL",
}


@pytest.mark.parametrize("statement", WRITES.values(), ids=WRITES)
def test_nothing_is_written_for_an_erased_customer(session, statement):
    customer_id = person_of(session)
    TicketFactory()
    privacy.erase_customer(session, customer_id, **BY)

    with pytest.raises(IntegrityError) as refused, session.begin_nested():
        session.execute(text(statement), {"id": customer_id})

    assert from_database(refused.value) is not None


def test_services_refuse_an_erased_customer_and_leave_the_transaction_usable(session):
    asked = conversations.ingest(session, whatsapp())
    customer_id, conversation_id, other_id = asked.customer_id, asked.conversation_id, CustomerFactory().id
    privacy.erase_customer(session, customer_id, **BY)
    address = Identifier(type="email", value="back@post.example")
    ticket = {"subject": "Back", "category": "billing", "source_channel": "email", "actor": "human:7"}

    for call in (
        lambda: merging.merge(session, other_id, customer_id, actor="human:7", reason="one"),
        lambda: merging.plan_merge(session, customer_id, other_id),
        lambda: privacy.place_hold(session, customer_id, actor="human:7", reason="late"),
        lambda: conversations.note(session, conversation_id, "She called", actor="human:7"),
        lambda: conversations.reply(session, conversation_id, OutboundMessage(content="Hello")),
        lambda: conversations.start(session, customer_id, channel="email", account="us@x.org", to=address),
        lambda: identity.attach_identifier(session, customer_id, address, channel="email", actor="human:7"),
        lambda: customers.update_customer(session, customer_id, actor="human:7", name="Wanda"),
        lambda: customers.update_customer(session, customer_id, plan="free", actor="human:7", reason="x"),
        lambda: tickets.open_ticket(session, customer_id=customer_id, **ticket),
        lambda: tickets.open_ticket(
            session, customer_id=customer_id, conversation_id=conversation_id, **ticket
        ),
    ):
        with pytest.raises(CustomerErased):
            call()
    assert session.scalar(text("SELECT count(*) FROM messages WHERE content <> ''")) == 0


def test_a_former_hold_keeps_no_words(session):
    customer_id = person_of(session)
    hold = privacy.place_hold(session, customer_id, actor="human:7", reason="Wolf against us")
    privacy.release_hold(session, hold.id, actor="human:8", reason="Wolf won")
    (exported,) = privacy.export_customer(session, customer_id).holds
    assert (exported.reason, exported.release_reason) == ("Wolf against us", "Wolf won")

    privacy.erase_customer(session, customer_id, **BY)

    session.refresh(hold)
    assert (hold.actor, hold.reason, hold.released_by, hold.release_reason) == (
        "human:7", "[erased]", "human:8", "[erased]",
    )  # fmt: skip


def test_facts_beside_measurements_that_give_the_full_name_go(session):
    customer_id = person_of(session)
    facts = ["Wanda Wolf", "WOLF: wanda wolf!", "Wanda Wolfson", "Wanda"]
    for fact in facts:
        metrics.record(session, "sentiment", 0.5, extra={"said": fact})

    privacy.erase_customer(session, customer_id, **BY)

    left = session.scalars(text("SELECT metadata ->> 'said' FROM agent_metrics")).all()
    assert set(left) == {None, "Wanda Wolfson", "Wanda"}


def test_a_report_on_an_erased_message_is_not_kept(session):
    asked = conversations.ingest(session, whatsapp())
    message = conversations.reply(session, asked.conversation_id, OutboundMessage(content="Hello"))
    message_id = message.id
    (delivery,) = outbox.claim(session)
    privacy.erase_customer(session, asked.customer_id, **BY)
    report = DeliveryReport(
        channel="whatsapp", account=delivery.account, provider_message_id="SM1", message_id=message_id,
        status="failed", recipient="+5215512345678",
    )  # fmt: skip

    assert outbox.record_delivery(session, report) is None

    assert session.scalar(text("SELECT count(*) FROM early_delivery_reports")) == 0


def test_who_comes_back_is_somebody_new_and_a_caller_with_the_key_is_told(session):
    email = Identifier(type="email", value="wanda@post.example", verified=True)
    number = Identifier(type="whatsapp", value="whatsapp:+4915112345678", verified=True)
    first = identity.resolve(session, [email], channel="email", erasure_key=KEY)
    identity.attach_identifier(session, first.customer_id, number, channel="whatsapp", actor="human:7")
    report = privacy.erase_customer(session, first.customer_id, **BY, erasure_key=KEY)
    assert report.remembered == 2

    phone = Identifier(type="phone", value="+49 151 12345678")
    again = identity.resolve(session, [email, phone], channel="web_form", erasure_key=KEY)

    assert again.customer_id != first.customer_id
    (erased,) = again.erased_before
    assert (erased.customer_id, erased.erased_at) == (first.customer_id, report.erased_at)
    assert {identifier.value for identifier in erased.identifiers} == {"wanda@post.example", "+4915112345678"}
    (same,) = privacy.find_erasures(session, [phone], erasure_key=KEY)
    assert same.erasure_id == erased.erasure_id
    assert privacy.find_erasures(session, [phone], erasure_key="another key, as long") == ()
    assert identity.resolve(session, [email], channel="email").erased_before == ()


def test_a_redelivery_tells_again_who_was_erased(session):
    first = conversations.ingest(session, whatsapp())
    privacy.erase_customer(session, first.customer_id, **BY, erasure_key=KEY)
    back = whatsapp(id="wamid.2")

    told = conversations.ingest(session, back, erasure_key=KEY).resolution.erased_before
    again = conversations.ingest(session, back, erasure_key=KEY)

    assert (again.duplicate, len(told)) == (True, 1)
    assert again.resolution.erased_before == told
    assert conversations.ingest(session, back).resolution.erased_before == ()
    later = conversations.ingest(session, whatsapp(id="wamid.3"), erasure_key=KEY)
    assert later.resolution.erased_before == ()


def test_without_a_key_no_address_is_remembered(session):
    assert privacy.erase_customer(session, person_of(session), **BY).remembered == 0
    with pytest.raises(InvalidValue, match="erasure_key"):
        privacy.erase_customer(session, person_of(session), **BY, erasure_key="short")


def test_rows_of_other_applications_are_named_and_left(session):
    customer_id: UUID = person_of(session)
    session.execute(text("CREATE TABLE orders (id int PRIMARY KEY, buyer uuid REFERENCES customers)"))
    orders = "INSERT INTO orders SELECT n, :id FROM generate_series(1, 3) AS n"
    session.execute(text(orders), {"id": customer_id})

    plan = privacy.plan_erasure(session, customer_id)
    report = privacy.erase_customer(session, customer_id, **BY)

    assert plan.foreign_rows == report.foreign_rows == {"orders": 3}


def test_plain_sql_erases_as_well(session: Session):
    customer_id = person_of(session)

    session.execute(
        text("INSERT INTO erasures (customer_id, actor, reason) VALUES (:id, 'human:7', 'asked')"),
        {"id": customer_id},
    )
    session.expire_all()

    assert session.get_one(Customer, customer_id).name is None


@pytest.mark.parametrize(
    "written",
    ["+525512345678", "5215512345678", "whatsapp:+5215512345678", "+52 1 55 1234-5678", "(52) 55.1234.5678"],
)
def test_a_number_is_found_in_whatever_form_providers_and_people_write_it(session, written):
    person = conversations.ingest(session, whatsapp()).customer_id
    metrics.record(session, "message_volume", 1, extra={"to": [written]})
    metrics.record(session, "message_volume", 1, extra={"to": "+525512345679", "order": "15525512345678"})
    report = DeliveryReport(
        channel="whatsapp",
        account="+14155238886",
        provider_message_id="SM9",
        status="failed",
        recipient=written,
    )
    outbox.record_delivery(session, report)

    privacy.erase_customer(session, person, actor="human:7", reason="asked")

    facts = text("SELECT metadata FROM agent_metrics ORDER BY metadata")
    assert session.scalars(facts).all() == [{}, {"to": "+525512345679", "order": "15525512345678"}]
    assert session.scalar(text("SELECT count(*) FROM early_delivery_reports")) == 0
