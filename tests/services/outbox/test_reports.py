"""Reports in any order, before and after the sender's word: nothing is taken back, and no failure is lost."""

from __future__ import annotations

from itertools import permutations

import pytest
from sqlalchemy import text

from app.errors import InvalidValue
from app.schemas import DeliveryReport, OutboundMessage
from app.services import conversations, outbox
from tests.services.conversations._messages import whatsapp

RANKS = ["pending", "failed", "delivered", "read"]
WHY = {"code": "131026", "reason": "Message undeliverable"}
ORDERS = [
    order
    for count in (2, 3, 4)
    for order in permutations([*RANKS, "the sender's word"], count)
    if "the sender's word" in order
]


def on_whatsapp(status, **facts):
    return DeliveryReport(
        channel="whatsapp", account="+14155238886", provider_message_id="SM1", status=status, **facts
    )


def delivery_after(session, order):
    message = conversations.reply(
        session, conversations.ingest(session, whatsapp()).conversation_id, OutboundMessage(content="Yes.")
    )
    outbox.claim(session)
    for said in order:
        if said == "failed":
            outbox.record_delivery(session, on_whatsapp(said, **WHY))
        elif said in RANKS:
            outbox.record_delivery(session, on_whatsapp(said))
        else:
            outbox.sent(session, message.id, provider_message_id="SM1")
    session.refresh(message)
    return message.delivery_status, message.extra["delivery"]


def expected_after(order):
    """The highest status, and of a failure whether it is what stands, or came too late."""
    reports = [said for said in order if said in RANKS]
    best = max(reports, key=RANKS.index)
    earlier = reports[: reports.index("failed")] if "failed" in reports else []
    return best, best == "failed", bool({"delivered", "read"} & set(earlier))


@pytest.mark.parametrize("first", [*RANKS, "the sender's word"])
def test_every_order_of_reports_ends_in_the_same_status_and_tells_every_failure(session, first):
    for order in (order for order in ORDERS if order[0] == first):
        savepoint = session.begin_nested()
        status, delivery = delivery_after(session, order)
        best, is_failed, is_late = expected_after(order)
        assert status == best, order
        if is_failed:
            assert WHY.items() <= delivery.items(), order
        assert ("late_failure" in delivery) is is_late, order
        if is_late:
            assert WHY.items() <= delivery["late_failure"].items(), order
        savepoint.rollback()


def test_whoever_tells_a_reason_no_address_is_kept_in_it(session):
    asked = conversations.ingest(session, whatsapp())
    message = conversations.reply(session, asked.conversation_id, OutboundMessage(content="Yes."))
    outbox.claim(session)
    told = "550 <ana@example.com> or +52 1 55 1234 5678 is unknown"
    expected = "550 (address) or (address) is unknown"

    outbox.failed(session, message.id, reason=told)
    assert message.extra["delivery"]["reason"] == expected

    outbox.sent(session, message.id, provider_message_id="SM1")
    report = {"channel": "whatsapp", "account": "+14155238886", "status": "failed", "reason": told}
    outbox.record_delivery(session, DeliveryReport(**report, provider_message_id="SM1"))
    assert message.extra["delivery"]["reason"] == expected
    outbox.record_delivery(session, DeliveryReport(**report, provider_message_id="SM2"))
    assert session.scalars(text("SELECT reason FROM early_delivery_reports")).all() == [expected]


def test_an_early_report_is_not_lost_where_another_one_found_the_message_by_our_own_id(session):
    message = conversations.reply(
        session, conversations.ingest(session, whatsapp()).conversation_id, OutboundMessage(content="Yes.")
    )
    outbox.claim(session)
    assert outbox.record_delivery(session, on_whatsapp("read")) is None
    outbox.record_delivery(session, on_whatsapp("delivered", message_id=message.id))
    outbox.sent(session, message.id, provider_message_id="SM1")
    assert message.delivery_status == "read"


def test_a_message_that_was_given_up_and_is_reported_on_has_left(session):
    message = conversations.reply(
        session, conversations.ingest(session, whatsapp()).conversation_id, OutboundMessage(content="Yes.")
    )
    outbox.claim(session)
    outbox.failed(session, message.id, reason="no answer", permanent=True)
    outbox.record_delivery(session, on_whatsapp("pending", message_id=message.id))
    assert message.delivery_status == "pending"
    assert "given_up" not in message.extra["delivery"]


@pytest.mark.parametrize(
    "facts", [{"reason": "x" * 10_001}, {"recipient": "a\0b"}, {"code": "\ud800"}, {"account": "a\0b"}]
)
def test_of_a_batch_with_a_report_that_cannot_be_stored_nothing_is(session, facts):
    message = conversations.reply(
        session, conversations.ingest(session, whatsapp()).conversation_id, OutboundMessage(content="Yes.")
    )
    outbox.sent(session, message.id, provider_message_id="SM1")
    before = dict(message.extra)

    with pytest.raises(InvalidValue):
        outbox.record_deliveries(
            session,
            [
                on_whatsapp("read"),
                on_whatsapp("failed").model_copy(update={"provider_message_id": "SM2"} | facts),
            ],
        )

    session.refresh(message)
    assert (message.delivery_status, message.extra) == ("pending", before)
