"""What providers report of messages whose sender has died, is late, or has given up."""

from __future__ import annotations

import pytest
from sqlalchemy import func, select

from app.models import DeliveryStatus, EarlyDeliveryReport, OutboxEntry
from app.schemas import DeliveryReport
from app.services import conversations, outbox
from tests.services.conversations._messages import BEN, mail, whatsapp
from tests.services.outbox._answers import MAIL, WHATSAPP, answer, pass_time


def test_what_a_provider_reports_on_has_left_although_nobody_lived_to_say_so(session):
    message = answer(session, conversations.ingest(session, mail()).conversation_id)
    (delivery,) = outbox.claim(session)
    report = DeliveryReport(provider_message_id=delivery.provider_message_id, status="delivered", **MAIL)

    assert outbox.record_delivery(session, report) is message

    pass_time(session, hours=1)
    assert outbox.claim(session) == []
    outbox.sent(session, message.id, provider_message_id=delivery.provider_message_id)
    assert message.delivery_status is DeliveryStatus.DELIVERED


def test_a_report_finds_the_message_by_our_own_id_where_the_provider_repeats_it(session):
    message = answer(session, conversations.ingest(session, whatsapp()).conversation_id)
    other = answer(session, conversations.ingest(session, mail(sender=(BEN,))).conversation_id)
    outbox.claim(session)
    facts = {**WHATSAPP, "provider_message_id": "wamid.1", "status": "delivered"}

    # Another account's message is not this webhook's affair.
    assert outbox.record_delivery(session, DeliveryReport(message_id=other.id, **facts)) is None
    assert outbox.record_delivery(session, DeliveryReport(message_id=message.id, **facts)) is message
    assert outbox.record_delivery(session, DeliveryReport(**facts | {"status": "read"})) is message
    assert message.delivery_status is DeliveryStatus.READ
    assert session.get(OutboxEntry, message.id) is None


@pytest.mark.parametrize("status", ["delivered", "read"])
def test_a_bounce_after_delivery_is_told_and_not_lost(session, status):
    message = answer(session, conversations.ingest(session, whatsapp()).conversation_id)
    outbox.sent(session, message.id, provider_message_id="SM1")
    facts = {**WHATSAPP, "provider_message_id": "SM1"}
    outbox.record_delivery(session, DeliveryReport(status=status, **facts))
    outbox.record_delivery(session, DeliveryReport(status="failed", code="63016", reason="blocked", **facts))
    outbox.record_delivery(session, DeliveryReport(status="read", **facts))

    delivery = message.extra["delivery"]
    assert (message.delivery_status, delivery["status"]) == ("read", "read")
    assert delivery["late_failure"] == {"status": "failed", "code": "63016", "reason": "blocked"}
    assert "reason" not in delivery


def test_a_bounce_that_is_quicker_than_the_sender_stays_a_bounce(session):
    message = answer(session, conversations.ingest(session, mail()).conversation_id)
    (delivery,) = outbox.claim(session)
    name = delivery.provider_message_id.strip("<>")
    bounce = DeliveryReport(provider_message_id=name, status="failed", code="5.1.1", reason="unknown", **MAIL)

    outbox.record_delivery(session, bounce)
    for _ in range(2):
        outbox.sent(session, message.id, provider_message_id=delivery.provider_message_id)

    assert message.delivery_status is DeliveryStatus.FAILED
    assert message.extra["delivery"]["reason"] == "unknown"
    assert session.scalar(select(func.count()).select_from(EarlyDeliveryReport)) == 0


def test_what_was_given_up_and_left_all_the_same_is_no_failure(session):
    message = answer(session, conversations.ingest(session, whatsapp()).conversation_id)
    outbox.claim(session)
    outbox.failed(session, message.id, reason="timeout", permanent=True)
    outbox.sent(session, message.id, provider_message_id="SM1")

    assert message.delivery_status is DeliveryStatus.PENDING
    assert set(message.extra["delivery"]) == {"sent_at"}
