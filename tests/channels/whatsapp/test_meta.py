from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from app.channels import whatsapp
from app.errors import InvalidPayload
from app.models import Channel, ContentType
from app.services import conversations

from .meta_webhooks import CONTACT, TEXT, one, webhook


def test_a_text_becomes_a_message():
    (message,) = whatsapp.parse_meta(json.dumps(webhook(TEXT)).encode())

    assert message.channel is Channel.WHATSAPP
    assert message.account == "431276509870142"
    assert message.provider_message_id == "wamid.1"
    assert [(s.type, s.value, s.verified) for s in message.sender] == [("whatsapp", "447700900123", True)]
    assert message.profile.name == "Ann"
    assert (message.content, message.content_type) == ("Hi", ContentType.TEXT)
    assert message.sent_at == datetime(2026, 11, 16, 13, 2, 11, tzinfo=UTC)
    assert message.thread_id is None
    assert message.extra == {}


@pytest.mark.parametrize(
    ("kind", "body", "content"),
    [
        ("image", {"id": "7", "caption": "See"}, "See"),
        ("button", {"text": "Yes", "payload": "yes"}, "Yes"),
        ("reaction", {"emoji": "👍", "message_id": "wamid.0"}, "👍"),
        ("interactive", {"type": "button_reply", "button_reply": {"id": "1", "title": "Yes"}}, "Yes"),
        ("interactive", {"type": "list_reply", "list_reply": {"title": "A", "description": "B"}}, "A\nB"),
        (
            "interactive",
            {"type": "nfm_reply", "nfm_reply": {"body": "Sent", "response_json": "{}"}},
            "Sent\n{}",
        ),
        ("location", {"latitude": 50.9413, "longitude": -6, "name": "Dom"}, "Location: Dom, 50.9413, -6"),
    ],
)
def test_every_kind_that_says_something_is_text(kind, body, content):
    message = one(type=kind, text=None, **{kind: body})

    assert (message.content, message.content_type) == (content, ContentType.TEXT)


@pytest.mark.parametrize(
    ("kind", "body", "content", "file"),
    [
        ("audio", {"id": "7", "mime_type": "audio/ogg; codecs=opus"}, "audio/ogg", (None, "audio/ogg")),
        ("document", {"id": "7", "filename": "a.c", "mime_type": "text/x-c"}, "a.c", ("a.c", "text/x-c")),
        ("video", {"id": "7", "mime_type": "video/mp4"}, "video/mp4", (None, "video/mp4")),
        ("sticker", {"id": "7"}, "application/octet-stream", (None, "application/octet-stream")),
    ],
)  # fmt: skip
def test_media_without_a_caption_become_a_notice(kind, body, content, file):
    message = one(type=kind, text=None, **{kind: body})

    assert message.content_type is ContentType.ATTACHMENT_NOTICE
    assert message.content == f"The message has no text, only 1 file: {content}"
    assert [(attached.filename, attached.media_type) for attached in message.attachments] == [file]
    assert message.extra == {"media": ["7"]}


@pytest.mark.parametrize("kind", ["unsupported", "contacts", "order", "a kind of next year"])
def test_kinds_without_text_leave_a_trace(kind):
    message = one(type=kind, text=None)

    assert message.content == f"The message has no text; its type is {kind}"
    assert message.content_type is ContentType.ATTACHMENT_NOTICE


def test_an_album_gives_several_messages():
    messages = whatsapp.parse_meta(webhook(TEXT, TEXT | {"id": "wamid.2"}))

    assert [message.provider_message_id for message in messages] == ["wamid.1", "wamid.2"]


@pytest.mark.parametrize(
    "payload",
    [
        webhook(statuses=[{"id": "wamid.1", "status": "read"}]),
        webhook(messages=[]),
        webhook(TEXT, field="account_update"),
        webhook(
            {"type": "system", "from": "447700900123", "id": "wamid.1", "system": {"body": "new number"}}
        ),
        {"object": "whatsapp_business_account", "entry": []},
    ],
    ids=["statuses", "empty", "another field", "system", "no entry"],
)
def test_webhooks_in_which_nobody_writes_give_no_message(payload):
    assert whatsapp.parse_meta(payload) == []


@pytest.mark.parametrize(
    ("changes", "contact", "senders"),
    [
        ({"from_user_id": "GB.42"}, CONTACT, ["447700900123", "GB.42"]),
        ({"from_user_id": "GB.42", "user_id": "GB.42"}, CONTACT, ["447700900123", "GB.42"]),
        ({"from": None, "from_user_id": "GB.42"}, {"user_id": "GB.42"}, ["GB.42"]),
        ({"from": None, "user_id": "GB.42"}, {}, ["GB.42"]),
        ({"from": None}, {"user_id": "GB.42"}, ["GB.42"]),
        ({"from": None}, CONTACT, ["447700900123"]),
        ({}, CONTACT | {"user_id": "GB.42"}, ["447700900123", "GB.42"]),
        ({"from_user_id": "GB.42"}, CONTACT | {"user_id": "GB.43"}, ["447700900123", "GB.42"]),
        ({}, {"user_id": "GB.42"}, ["447700900123", "GB.42"]),
        ({}, {"wa_id": "447700900124", "user_id": "GB.43"}, ["447700900123"]),
        ({"from": "5215512345678"}, {"wa_id": "525512345678", "user_id": "MX.4"}, ["5215512345678", "MX.4"]),
        ({"from": None}, CONTACT | {"user_id": "GB.42"}, ["447700900123", "GB.42"]),
    ],
)
def test_a_hidden_number_leaves_the_business_scoped_id(changes, contact, senders):
    message = one([contact], **changes)

    assert [(identifier.value, identifier.verified) for identifier in message.sender] == [
        (s, True) for s in senders
    ]


def test_one_contact_for_two_writers_is_taken_for_neither():
    other = TEXT | {"id": "wamid.2", "from": "447700900124"}
    messages = whatsapp.parse_meta(webhook(TEXT, other, contacts=[{"user_id": "GB.42"}]))

    assert [[identifier.value for identifier in message.sender] for message in messages] == [
        ["447700900123"],
        ["447700900124"],
    ]


def test_who_hides_the_number_from_the_second_message_on_is_the_same_customer(session):
    first = one([CONTACT | {"user_id": "GB.42"}])
    second = one([{"user_id": "GB.42"}], id="wamid.2", **{"from": None})

    customers = {conversations.ingest(session, message).customer_id for message in (first, second)}

    assert len(customers) == 1


def test_the_name_is_that_of_the_sender_among_several_contacts():
    other = {"profile": {"name": "Bob"}, "wa_id": "447700900124"}

    assert one([other, CONTACT]).profile.name == "Ann"
    assert (
        one([other, {"profile": {"name": "Ann"}, "user_id": "GB.42"}], from_user_id="GB.42").profile.name
        == "Ann"
    )
    assert one([other, other]).profile.name is None


def test_a_wa_id_written_unlike_from_still_gives_the_name():
    assert one([{"profile": {"name": "Camila"}, "wa_id": "5531988888888"}]).profile.name == "Camila"


def test_an_answer_names_what_it_answers():
    message = one(context={"from": "12025550100", "id": "wamid.0"})

    assert (message.references, message.extra) == (("wamid.0",), {})


def test_what_the_database_cannot_store_is_replaced():
    assert one(text={"body": "a\0b\ud83dc"}).content == "a\ufffdb\ufffdc"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"from": 447700900123}, "messages[0].from"),
        ({"from": "4477\x00"}, "messages[0].from"),
        ({"from": "4" * 256}, "messages[0].from"),
    ],
)
def test_a_message_of_nobody_is_refused_by_its_field(changes, field):
    with pytest.raises(InvalidPayload) as refused:
        one([], **changes)

    assert refused.value.field == field


ODD = [
    ({"id": None}, "messages[0].id"),
    ({"id": ""}, "messages[0].id"),
    ({"id": 5}, "messages[0].id"),
    ({"type": None}, "messages[0].type"),
    ({"type": ["text"]}, "messages[0].type"),
    ({"text": None}, "messages[0].text"),
    ({"text": "Hi"}, "messages[0].text"),
    ({"text": {}}, "messages[0].text.body"),
    ({"text": {"body": " "}}, "messages[0].text.body"),
    ({"text": {"body": 1}}, "messages[0].text.body"),
    ({"text": {"body": "x" * 1_000_001}}, "messages[0].text"),
    ({"timestamp": "soon"}, "messages[0].timestamp"),
    ({"timestamp": "9" * 12}, "messages[0].timestamp"),
    ({"timestamp": "٣"}, "messages[0].timestamp"),
    ({"timestamp": -1}, "messages[0].timestamp"),
    ({"timestamp": True}, "messages[0].timestamp"),
    ({"timestamp": 1.5}, "messages[0].timestamp"),
    ({"context": []}, "messages[0].context"),
    ({"context": {"id": 5}}, "messages[0].context.id"),
    ({"referral": "ad"}, "messages[0].referral"),
    ({"group_id": 7}, "messages[0].group_id"),
    ({"type": "image"}, "messages[0].image"),
    ({"type": "image", "image": {}}, "messages[0].image.id"),
    ({"type": "image", "image": {"id": "7", "mime_type": 5}}, "messages[0].image.mime_type"),
    ({"type": "interactive"}, "messages[0].interactive"),
    ({"type": "interactive", "interactive": {"type": "new"}}, "messages[0].interactive.new"),
    ({"type": "location", "location": "here"}, "messages[0].location"),
    ({"type": "reaction", "reaction": "👍"}, "messages[0].reaction"),
    ({"type": "contacts", "contacts": {}}, "messages[0].contacts"),
    ({"type": "order", "order": []}, "messages[0].order"),
    ({"type": "edit", "edit": {}}, "messages[0].edit.message"),
    ({"type": "revoke"}, "messages[0].revoke"),
]


@pytest.mark.parametrize(("changes", "field"), ODD)
def test_an_odd_message_says_what_it_can_and_names_what_is_odd(changes, field):
    message = one(**changes)

    assert field in message.ignored
    assert message.sender[0].value == "447700900123"
    assert message.content


@pytest.mark.parametrize(("changes", "field"), ODD)
def test_an_odd_message_loses_no_other(changes, field):
    good = TEXT | {"id": "wamid.2", "text": {"body": "Where is my order?"}}
    odd = {name: value for name, value in (TEXT | changes).items() if value is not None}
    messages = whatsapp.parse_meta(webhook(odd, good))

    assert [message.content for message in messages][1:] == ["Where is my order?"]


def test_a_message_without_an_id_has_one_that_a_redelivery_repeats():
    assert one(id=None).provider_message_id == one(id=None).provider_message_id
    assert one(id=None).provider_message_id != one(id=None, text={"body": "Other"}).provider_message_id


@pytest.mark.parametrize("seconds", ["1794834131", 1794834131, " 1794834131 "])
def test_a_timestamp_may_be_a_number(seconds):
    assert one(timestamp=seconds).sent_at == datetime(2026, 11, 16, 13, 2, 11, tzinfo=UTC)


@pytest.mark.parametrize(
    ("latitude", "longitude", "content"),
    [
        (-33.8567844, 151.2092955, "Location: -33.8567844, 151.2092955"),
        (1, -6, "Location: 1, -6"),
        ("50.94130", "6.95", "Location: 50.94130, 6.95"),
    ],
)
def test_a_location_is_told_to_the_last_digit(latitude, longitude, content):
    location = {"latitude": latitude, "longitude": longitude}

    assert one(type="location", text=None, location=location).content == content


@pytest.mark.parametrize(
    "degrees", [None, "north", True, 181, float("nan"), float("inf"), pytest.param(10**5000, id="huge")]
)
def test_a_location_without_degrees_is_a_notice(degrees):
    message = one(type="location", location={"latitude": 1, "longitude": degrees})

    assert message.content == "The message has no text; its type is location"
    assert message.ignored == ("messages[0].location.longitude",)


def test_without_any_sender_from_is_missing():
    with pytest.raises(InvalidPayload, match=r"^messages\[0\]\.from: is missing"):
        one([], **{"from": None})


@pytest.mark.parametrize(
    ("payload", "field"),
    [
        (None, "payload"),
        ([], "payload"),
        ("{}", "payload"),
        (b"", "payload"),
        (b"[]", "payload"),
        (b"\xff", "payload"),
        (b"[" * 20_000, "payload"),
        (b'{"object": NaN}', "payload"),
        (b'{"object": ' + b"9" * 5000 + b"}", "payload"),
        ({}, "object"),
        ({"object": None}, "object"),
        ({"object": "page"}, "object"),
        ({"object": "whatsapp_business_account"}, "entry"),
        ({"object": "whatsapp_business_account", "entry": {}}, "entry"),
        ({"object": "whatsapp_business_account", "entry": [1]}, "entry[0]"),
        ({"object": "whatsapp_business_account", "entry": [{}]}, "entry[0].changes"),
        ({"object": "whatsapp_business_account", "entry": [{"changes": [None]}]}, "entry[0].changes[0]"),
        ({"object": "whatsapp_business_account", "entry": [{"changes": [{}]}]}, "entry[0].changes[0].value"),
        (webhook(messages={}), "messages"),
        (webhook(messages=["Hi"]), "messages[0]"),
        (webhook({"type": "text"}, contacts=[]), "messages[0].from"),
        (webhook(TEXT, metadata=None), "metadata"),
        (webhook(TEXT, metadata={}), "metadata.phone_number_id"),
    ],
)
def test_a_malformed_webhook_is_refused_by_its_field(payload, field):
    with pytest.raises(InvalidPayload) as refused:
        whatsapp.parse_meta(payload)

    assert refused.value.field == field


@pytest.mark.parametrize("bad", ["Hi", {}, {**TEXT, "from": None}, {**TEXT, "from": "4477\x00"}])
def test_a_message_of_nobody_is_passed_over_and_reported(bad, caplog):
    problems: list[InvalidPayload] = []
    payload = webhook(bad, TEXT, contacts=[])

    assert [message.content for message in whatsapp.parse_meta(payload)] == ["Hi"]
    assert "messages[0]" in caplog.text
    assert "4477" not in caplog.text
    assert len(whatsapp.parse_meta(payload, on_problem=problems.append)) == 1
    assert [problem.field.partition(".")[0] for problem in problems] == ["messages[0]"]


@pytest.mark.parametrize(
    ("contacts", "field"),
    [
        ([1], "contacts[0]"),
        ([{"profile": 1}], "contacts[0].profile"),
        ([{"profile": {"name": ["Ann"]}}], "contacts[0].profile.name"),
        ("Ann", "contacts"),
    ],
)
def test_odd_contacts_lose_no_message(contacts, field):
    payload = webhook(TEXT)
    payload["entry"][0]["changes"][0]["value"]["contacts"] = contacts
    (message,) = whatsapp.parse_meta(payload)

    assert (message.content, message.profile.name) == ("Hi", None)
    assert field in message.ignored
