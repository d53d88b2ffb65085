from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from app.channels import whatsapp
from app.errors import InvalidPayload
from app.models import Channel, ContentType
from app.schemas import InboundMessage

METADATA = {"display_phone_number": "12025550100", "phone_number_id": "431276509870142"}
CONTACT = {"profile": {"name": "Ann"}, "wa_id": "447700900123"}
TEXT = {
    "from": "447700900123",
    "id": "wamid.1",
    "timestamp": "1794834131",
    "type": "text",
    "text": {"body": "Hi"},
}


def webhook(
    *messages: Any, contacts: Any = (CONTACT,), field: Any = "messages", **value: Any
) -> dict[str, Any]:
    body = {"messaging_product": "whatsapp", "metadata": METADATA, "contacts": list(contacts)}
    body |= {"messages": list(messages)} if messages else {}
    change = {"field": field, "value": body | value}
    return {"object": "whatsapp_business_account", "entry": [{"id": "1", "changes": [change]}]}


def one(contacts: Any = (CONTACT,), **changes: Any) -> InboundMessage:
    message = {name: value for name, value in (TEXT | changes).items() if value is not None}
    (parsed,) = whatsapp.parse_meta(webhook(message, contacts=contacts))
    return parsed


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
        webhook({**TEXT, "type": "reaction", "reaction": {"message_id": "wamid.0", "emoji": ""}}),
        {"object": "whatsapp_business_account", "entry": []},
    ],
    ids=["statuses", "empty", "another field", "system", "reaction taken back", "no entry"],
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
    ],
)
def test_a_hidden_number_leaves_the_business_scoped_id(changes, contact, senders):
    message = one([contact], **changes)

    assert [(identifier.value, identifier.verified) for identifier in message.sender] == [
        (s, True) for s in senders
    ]


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
    assert one(context={"from": "12025550100", "id": "wamid.0"}).extra == {"reply_to": "wamid.0"}


def test_what_the_database_cannot_store_is_replaced():
    assert one(text={"body": "a\0b\ud83dc"}).content == "a\ufffdb\ufffdc"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"id": None}, "messages[0].id"),
        ({"id": ""}, "messages[0].id"),
        ({"id": 5}, "messages[0].id"),
        ({"from": 447700900123}, "messages[0].from"),
        ({"from": "4477\x00"}, "messages[0].from"),
        ({"from": "4" * 256}, "messages[0].from"),
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
        ({"timestamp": 1794834131}, "messages[0].timestamp"),
        ({"context": []}, "messages[0].context"),
        ({"context": {"id": 5}}, "messages[0].context.id"),
        ({"type": "image"}, "messages[0].image"),
        ({"type": "image", "image": {}}, "messages[0].image.id"),
        ({"type": "image", "image": {"id": "7", "mime_type": 5}}, "messages[0].image.mime_type"),
        ({"type": "interactive", "interactive": {"type": "new"}}, "messages[0].interactive.new"),
        ({"type": "location", "location": "here"}, "messages[0].location"),
        ({"type": "reaction", "reaction": "👍"}, "messages[0].reaction"),
    ],
)  # fmt: skip
def test_a_malformed_message_is_refused_by_its_field(changes, field):
    with pytest.raises(InvalidPayload) as refused:
        one(**changes)

    assert refused.value.field == field


@pytest.mark.parametrize(
    "degrees", [None, "50.9", True, 181, float("nan"), float("inf"), pytest.param(10**5000, id="huge")]
)
def test_a_location_needs_degrees(degrees):
    with pytest.raises(InvalidPayload, match=r"^messages\[0\]\.location\.longitude: "):
        one(type="location", location={"latitude": 1, "longitude": degrees})


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
        (webhook(TEXT, {}), "messages[1].type"),
        (webhook(TEXT, metadata=None), "metadata"),
        (webhook(TEXT, metadata={}), "metadata.phone_number_id"),
        (webhook(TEXT, contacts=[1]), "contacts[0]"),
        (webhook(TEXT, contacts=[{"profile": 1}]), "contacts[0].profile"),
        (webhook(TEXT, contacts=[{"profile": {"name": ["Ann"]}}]), "contacts[0].profile.name"),
    ],
)
def test_a_malformed_webhook_is_refused_by_its_field(payload, field):
    with pytest.raises(InvalidPayload) as refused:
        whatsapp.parse_meta(payload)

    assert refused.value.field == field


def test_one_bad_message_refuses_the_whole_webhook():
    with pytest.raises(InvalidPayload):
        whatsapp.parse_meta(webhook(TEXT, {**TEXT, "id": None}))
