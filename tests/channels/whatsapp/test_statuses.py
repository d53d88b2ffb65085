from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from app.channels import whatsapp
from app.errors import InvalidPayload
from app.models import DeliveryStatus

STATUS = {"id": "wamid.1", "status": "read", "timestamp": "1794834131", "recipient_id": "447700900123"}
ERROR = {"code": 131026, "title": "Message undeliverable", "error_data": {"details": "No WhatsApp there"}}


def webhook(*statuses: Any) -> dict[str, Any]:
    value = {"metadata": {"phone_number_id": "431276509870142"}, "statuses": list(statuses)}
    return {
        "object": "whatsapp_business_account",
        "entry": [{"changes": [{"value": value, "field": "messages"}]}],
    }


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("sent", DeliveryStatus.PENDING),
        ("delivered", DeliveryStatus.DELIVERED),
        ("read", DeliveryStatus.READ),
        ("played", DeliveryStatus.READ),
        ("failed", DeliveryStatus.FAILED),
    ],
)
def test_a_status_of_meta_says_what_became_of_our_message(word, status):
    (report,) = whatsapp.parse_meta_statuses(webhook(STATUS | {"status": word}))

    assert (report.provider_message_id, report.status) == ("wamid.1", status)
    assert (report.account, report.recipient) == ("431276509870142", "447700900123")
    assert report.occurred_at == datetime(2026, 11, 16, 13, 2, 11, tzinfo=UTC)


def test_a_failure_says_why():
    (report,) = whatsapp.parse_meta_statuses(webhook(STATUS | {"status": "failed", "errors": [ERROR]}))

    assert (report.code, report.reason) == ("131026", "Message undeliverable, No WhatsApp there")


@pytest.mark.parametrize(
    "odd", ["read", {}, STATUS | {"status": "teleported"}, STATUS | {"status": []}, STATUS | {"id": None}]
)
def test_an_odd_status_loses_no_other(odd):
    reports = whatsapp.parse_meta_statuses(webhook(odd, STATUS))

    assert [report.provider_message_id for report in reports] == ["wamid.1"]


def test_statuses_are_no_messages_and_messages_no_statuses():
    assert whatsapp.parse_meta(webhook(STATUS)) == []
    with pytest.raises(InvalidPayload, match=r"^object: "):
        whatsapp.parse_meta_statuses({"object": "page"})


FORM = {
    "MessageSid": "SM1",
    "MessageStatus": "delivered",
    "From": "whatsapp:+12025550100",
    "To": "whatsapp:+447700900123",
}


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("queued", DeliveryStatus.PENDING),
        ("sent", DeliveryStatus.PENDING),
        ("Delivered", DeliveryStatus.DELIVERED),
        ("read", DeliveryStatus.READ),
        ("failed", DeliveryStatus.FAILED),
        ("undelivered", DeliveryStatus.FAILED),
        ("canceled", DeliveryStatus.FAILED),
        ("scheduled", DeliveryStatus.PENDING),
    ],
)
def test_a_status_of_twilio_says_what_became_of_our_message(word, status):
    report = whatsapp.parse_twilio_status(FORM | {"MessageStatus": word, "ErrorCode": "63016"})

    assert (report.account, report.provider_message_id, report.status) == ("+12025550100", "SM1", status)
    assert (report.recipient, report.code) == ("whatsapp:+447700900123", "63016")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"MessageStatus": "received"}, "MessageStatus"),
        ({"MessageStatus": ""}, "MessageStatus"),
        ({"MessageSid": ""}, "MessageSid"),
        ({"From": "whatsapp:"}, "From"),
    ],
)
def test_what_is_no_status_is_refused_by_its_field(changes, field):
    with pytest.raises(InvalidPayload) as refused:
        whatsapp.parse_twilio_status(FORM | changes)

    assert refused.value.field == field
