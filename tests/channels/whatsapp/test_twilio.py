from __future__ import annotations

from typing import Any

import pytest

from app.channels import whatsapp
from app.errors import InvalidPayload
from app.models import Channel, ContentType
from app.schemas import InboundMessage

FORM = {
    "SmsMessageSid": "SM1",
    "MessageSid": "SM1",
    "AccountSid": "AC1",
    "From": "whatsapp:+15551234567",
    "To": "whatsapp:+14155238886",
    "Body": "Hi",
    "ProfileName": "Ann",
    "WaId": "15551234567",
    "NumMedia": "0",
    "SmsStatus": "received",
}


def parsed(**changes: Any) -> InboundMessage:
    return whatsapp.parse_twilio({key: value for key, value in (FORM | changes).items() if value is not None})


def test_a_form_becomes_a_message():
    message = parsed()

    assert message.channel is Channel.WHATSAPP
    assert message.account == "+14155238886"
    assert message.provider_message_id == "SM1"
    assert [(s.type, s.value, s.verified) for s in message.sender] == [
        ("whatsapp", "whatsapp:+15551234567", True)
    ]
    assert message.profile.name == "Ann"
    assert (message.content, message.content_type) == ("Hi", ContentType.TEXT)
    assert message.sent_at is None
    assert message.thread_id is None
    assert message.extra == {}


@pytest.mark.parametrize(
    ("changes", "content"),
    [
        ({"Body": "one\ntwo 🚀"}, "one\ntwo 🚀"),
        ({"Body": "a\0b\udc00"}, "a\ufffdb\ufffd"),
        ({"Body": "", "ButtonText": "Yes"}, "Yes"),
        ({"Body": "Yes", "ButtonText": "Yes"}, "Yes"),
        ({"Body": "", "Latitude": "50.9", "Longitude": "6.9"}, "Location: 50.9, 6.9"),
        (
            {"Body": "Here", "Latitude": "50.9", "Longitude": "6.9", "Label": "Dom", "Address": "Köln"},
            "Here\nLocation: Dom, Köln, 50.9, 6.9",
        ),
    ],
)
def test_text_button_and_location_are_the_content(changes, content):
    message = parsed(**changes)

    assert (message.content, message.content_type) == (content, ContentType.TEXT)


def test_media_alone_become_a_notice():
    message = parsed(
        Body="", NumMedia="2", MediaContentType0="image/jpeg", MediaUrl0="https://a.example/0", MediaUrl1="https://a.example/1"
    )  # fmt: skip

    assert message.content_type is ContentType.ATTACHMENT_NOTICE
    assert message.content == "The message has no text, only 2 files: image/jpeg, application/octet-stream"
    assert [file.media_type for file in message.attachments] == ["image/jpeg", "application/octet-stream"]
    assert message.extra == {"media": ["https://a.example/0", "https://a.example/1"]}


def test_an_answer_names_what_it_answers():
    message = parsed(OriginalRepliedMessageSid="SM0")

    assert (message.references, message.extra) == (("SM0",), {})


def test_the_older_name_of_the_id_will_do():
    assert parsed(MessageSid=None, SmsMessageSid="SM2").provider_message_id == "SM2"


def test_an_id_that_does_not_fit_is_replaced_by_its_digest():
    assert parsed(MessageSid="S" * 256).provider_message_id.startswith("sha256:")
    assert parsed(MessageSid="a\0").provider_message_id != parsed(MessageSid="b\0").provider_message_id


def test_the_oldest_name_of_the_id_will_do():
    assert parsed(MessageSid=None, SmsMessageSid=None, SmsSid="SM9").provider_message_id == "SM9"


def test_a_long_name_is_cut():
    assert parsed(ProfileName="n" * 300).profile.name == "n" * 255


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"MessageSid": None, "SmsMessageSid": None}, "MessageSid"),
        ({"MessageSid": "", "SmsMessageSid": ""}, "MessageSid"),
        ({"MessageSid": 1}, "MessageSid"),
        ({"From": None}, "From"),
        ({"From": "+15551234567"}, "From"),
        ({"From": "whatsapp:"}, "From"),
        ({"From": "whatsapp:+1555\0"}, "From"),
        ({"From": ["whatsapp:+15551234567"]}, "From"),
        ({"From": "whatsapp:" + "1" * 255}, "From"),
        ({"To": None}, "To"),
        ({"To": "whatsapp:"}, "To"),
        ({"MessageStatus": "delivered", "SmsStatus": "delivered"}, "MessageStatus"),
        ({"SmsStatus": "undelivered"}, "MessageStatus"),
    ],
)
def test_a_malformed_form_is_refused_by_its_field(changes, field):
    with pytest.raises(InvalidPayload) as refused:
        parsed(**changes)

    assert refused.value.field == field
    assert "555" not in str(refused.value)


ODD = [
    ({"Body": 5}, "Body"),
    ({"Body": "x" * 1_000_001}, "Body"),
    ({"ProfileName": 5}, "ProfileName"),
    ({"NumMedia": "many"}, "NumMedia"),
    ({"NumMedia": "-1"}, "NumMedia"),
    ({"NumMedia": "999999999"}, "NumMedia"),
    ({"NumMedia": "²"}, "NumMedia"),
    ({"NumMedia": 1}, "NumMedia"),
    ({"NumMedia": "1"}, "MediaUrl0"),
    ({"ExternalUserId": "US.1\0"}, "ExternalUserId"),
    ({"Latitude": 5.5, "Longitude": "6"}, "Latitude"),
]


@pytest.mark.parametrize(("changes", "field"), ODD)
def test_an_odd_field_is_named_and_the_message_goes_on(changes, field):
    message = parsed(**changes)

    assert message.ignored == (field,)
    assert [identifier.value for identifier in message.sender] == ["whatsapp:+15551234567"]
    assert message.content


@pytest.mark.parametrize("body", [None, "", " \n"])
def test_a_message_without_any_text_is_a_notice_of_its_type(body):
    message = parsed(Body=body, MessageType="contacts")

    assert message.content == "The message has no text; its type is contacts"
    assert message.content_type is ContentType.ATTACHMENT_NOTICE


def test_the_user_id_is_another_identifier_of_the_sender():
    message = parsed(ExternalUserId="US.13491208655302741918")

    assert [(sender.value, sender.verified) for sender in message.sender] == [
        ("whatsapp:+15551234567", True),
        ("US.13491208655302741918", True),
    ]


def test_what_a_button_and_an_advertisement_carry_is_kept():
    message = parsed(
        ButtonText="Yes", ButtonPayload="CONFIRM_17", Body="Yes", Forwarded="true",
        ReferralHeadline="Mugs", ReferralSourceUrl="https://ad.example/1", ReferralNumMedia="0",
    )  # fmt: skip

    assert message.new_text == "Yes"
    assert message.content == "Yes\n(forwarded)\n(came from: Mugs, https://ad.example/1)"
    assert message.extra["object"] == {
        "ButtonPayload": "CONFIRM_17",
        "ReferralHeadline": "Mugs",
        "ReferralSourceUrl": "https://ad.example/1",
    }


@pytest.mark.parametrize("form", [None, [], "From=x", b"From=x", 5])
def test_what_is_no_form_is_refused(form):
    with pytest.raises(InvalidPayload, match=r"^form: "):
        whatsapp.parse_twilio(form)


@pytest.mark.parametrize(
    ("changes", "content"),
    [
        ({"MessageType": "interactive", "FlowData": '{"size": "M"}'}, '{"size": "M"}'),
        ({"MessageType": "interactive", "InteractiveData": '{"size": "M"}'}, '{"size": "M"}'),
        ({"ButtonPayload": "CANCEL_17"}, "CANCEL_17"),
        ({"ListId": "ROW_2"}, "ROW_2"),
        ({"ButtonText": "Cancel", "ButtonPayload": "CANCEL_17"}, "Cancel"),
    ],
)
def test_an_answer_without_words_is_read_by_what_it_carries(changes, content):
    message = parsed(Body=None, **changes)

    assert (message.content, message.content_type) == (content, ContentType.TEXT)
