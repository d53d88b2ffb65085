from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from app.channels import whatsapp
from app.errors import InvalidPayload
from app.models import ContentType
from app.schemas import InboundEvent
from app.services import conversations

from .meta_webhooks import TEXT, one, webhook


def test_an_order_lists_what_is_ordered():
    order = {
        "catalog_id": "C1",
        "text": "By Friday, please",
        "product_items": [
            {"product_retailer_id": "MUG-RED", "quantity": 2, "item_price": 10.5, "currency": "EUR"},
            {"product_retailer_id": "TEA", "quantity": "1"},
        ],
    }
    message = one(type="order", text=None, order=order)

    assert message.content == "Order:\n- 2 x MUG-RED at 10.5 EUR\n- 1 x TEA\nBy Friday, please"
    assert message.extra["object"]["order"] == order


def test_shared_contacts_are_readable():
    card = {
        "name": {"formatted_name": "Zoë Lang", "first_name": "Zoë"},
        "org": {"company": "Lang AG"},
        "phones": [{"phone": "+41 44 668 18 00", "wa_id": "41446681800"}],
        "emails": [{"email": "zoe@lang.example"}],
    }
    plain = {"name": {"first_name": "Max"}, "phones": [{"wa_id": "41446681801"}]}
    (message,) = whatsapp.parse_meta(webhook(TEXT | {"type": "contacts", "contacts": [card, plain]}))

    assert message.content.split("\n") == [
        "Contact: Zoë Lang, Lang AG, +41 44 668 18 00, zoe@lang.example",
        "Contact: Max, 41446681801",
    ]
    assert [identifier.value for identifier in message.sender] == ["447700900123"]


def test_an_edit_names_its_message_and_says_the_new_words():
    edit = {
        "original_message_id": "wamid.0",
        "message": {"type": "text", "text": {"body": "At six, not five"}},
    }
    message = one(type="edit", text=None, edit=edit)

    assert (message.content, message.reaction_to) == ("At six, not five", "wamid.0")
    assert (message.event, message.auto_reply) == (InboundEvent.EDIT, False)


@pytest.mark.parametrize("reaction", [{"emoji": ""}, {"emoji": None}, {}])
def test_a_reaction_that_is_taken_back_says_so_of_its_message(reaction):
    message = one(type="reaction", text=None, reaction={"message_id": "wamid.0"} | reaction)

    assert (message.content, message.reaction_to) == ("The reaction was taken back.", "wamid.0")
    assert (message.event, message.auto_reply) == (InboundEvent.REACTION, True)


@pytest.mark.parametrize(
    ("kind", "body", "event"),
    [
        ("reaction", {"message_id": "wamid.0", "emoji": "👍"}, InboundEvent.REACTION),
        ("revoke", {"original_message_id": "wamid.0"}, InboundEvent.REVOKE),
    ],
)
def test_a_reaction_and_a_revoke_name_their_message_and_wake_nobody(kind, body, event):
    message = one(type=kind, text=None, **{kind: body})

    assert (message.event, message.reaction_to, message.auto_reply) == (event, "wamid.0", True)
    assert message.content_type is ContentType.TEXT


def test_what_whatsapp_does_not_hand_on_says_why():
    errors = [
        {"code": 131051, "title": "Unsupported", "error_data": {"details": "Message type is not shown"}}
    ]
    message = one(type="unsupported", text=None, errors=errors, unsupported={"type": "poll"})

    assert "its type is poll, Unsupported, Message type is not shown" in message.content
    assert message.extra["object"]["errors"] == errors


def test_what_stands_around_a_message_is_told_apart_from_its_words():
    message = one(
        text={"body": "Is it still there?"},
        context={"forwarded": True, "referred_product": {"catalog_id": "C", "product_retailer_id": "MUG"}},
        referral={"headline": "Mugs", "source_url": "https://ad.example/1", "source_type": "ad"},
    )

    assert message.new_text == "Is it still there?"
    assert message.content.split("\n")[1:] == [
        "(forwarded)",
        "(about the product MUG)",
        "(came from: Mugs, https://ad.example/1)",
    ]
    assert message.extra["object"]["referral"]["source_type"] == "ad"


def test_buttons_and_lists_keep_what_they_stand_for():
    button = one(type="button", text=None, button={"text": "Yes", "payload": "CONFIRM_17"})
    row = {"type": "list_reply", "list_reply": {"id": "slot-9", "title": "9:00"}}

    assert button.extra["object"]["button"]["payload"] == "CONFIRM_17"
    interactive = one(type="interactive", text=None, interactive=row)
    assert interactive.extra["object"]["interactive"]["list_reply"]["id"] == "slot-9"


def test_a_group_is_a_thread_of_its_own():
    message = one(group_id="120363041234567890")

    assert message.group_id == message.thread_id == "120363041234567890"
    assert one().group_id is None


def test_a_kept_object_is_bounded():
    wide = {"type": "x", "x": {"title": "t"}, "rows": [["y" * 5000] * 5000] * 5000}
    kept = one(type="interactive", text=None, interactive=wide).extra["object"]

    assert len(json.dumps(kept)) < 300_000


def system(kind: str, **changes: Any) -> dict[str, Any]:
    message = {"from": "16505551234", "id": "wamid.9", "timestamp": "1794834131", "type": "system"}
    notice = {"type": kind, "body": "User Ann changed from 16505551234 to 12195555358"}
    return message | {"system": notice | changes}


@pytest.mark.parametrize(
    ("message", "current", "former"),
    [
        (system("user_changed_number", wa_id="12195555358"), ["12195555358"], ["16505551234"]),
        (system("customer_changed_number", new_wa_id="12195555358"), ["12195555358"], ["16505551234"]),
        (
            system("user_changed_number", wa_id="12195555358", user_id="US.2") | {"from_user_id": "US.1"},
            ["12195555358", "US.2"],
            ["16505551234", "US.1"],
        ),
        (
            system("user_changed_user_id", wa_id="12195555358", user_id="US.2", previous_user_id="US.1"),
            ["12195555358", "US.2"],
            ["16505551234", "US.1"],
        ),
        (
            system("user_changed_user_id", user_id="US.2", previous_user_id="US.1"),
            ["16505551234", "US.2"],
            ["US.1"],
        ),
        (
            system("user_changed_user_id", user_id="US.2", body="User Ann changed from US.1 to US.2")
            | {"from": None},
            ["US.2"],
            ["US.1"],
        ),
    ],
)
def test_a_changed_number_or_id_is_one_person_s(message, current, former):
    (event,) = whatsapp.parse_meta(webhook(message, contacts=[]))

    assert (event.event, event.auto_reply) == (InboundEvent.IDENTITY, True)
    assert [identifier.value for identifier in event.sender] == current + former
    assert [identifier.value for identifier in event.former] == former
    assert all(identifier.verified for identifier in event.sender)


@pytest.mark.parametrize(
    "message",
    [
        system("user_changed_number"),
        system("user_changed_number", wa_id="16505551234"),
        system("customer_identity_changed", wa_id="12195555358"),
        system("user_changed_user_id", user_id="US.2", body="changed from US.1 to US.3") | {"from": None},
        {"from": "16505551234", "id": "wamid.9", "type": "system", "system": []},
    ],
)
def test_a_notice_that_does_not_name_old_and_new_is_none(message):
    assert whatsapp.parse_meta(webhook(message, contacts=[])) == []


def test_the_parent_s_user_id_is_the_same_person_s(session):
    first = one([{"user_id": "US.1", "parent_user_id": "US.ENT.9"}], **{"from": None})
    second = one([], **{"from": None}, from_user_id="US.7", from_parent_user_id="US.ENT.9", id="wamid.2")

    assert [identifier.value for identifier in first.sender] == ["US.1", "US.ENT.9"]
    assert len({conversations.ingest(session, message).customer_id for message in (first, second)}) == 1


def test_whoever_changes_the_number_stays_one_customer(session):
    before = one([], **{"from": "16505551234"})
    (change,) = whatsapp.parse_meta(webhook(system("user_changed_number", wa_id="12195555358"), contacts=[]))
    after = one([], **{"from": "12195555358"}, id="wamid.2")

    assert len({conversations.ingest(session, m).customer_id for m in (before, change, after)}) == 1


def test_the_webhook_came_when_the_caller_says_else_when_it_was_sent_but_not_later_than_now():
    noon = datetime(2026, 11, 20, 12, tzinfo=UTC)

    assert one(timestamp="1500000000").received_at == datetime(2017, 7, 14, 2, 40, tzinfo=UTC)
    assert one(timestamp="99999999999").received_at <= datetime.now(UTC)
    assert whatsapp.parse_meta(webhook(TEXT), received_at=noon)[0].received_at == noon


@pytest.mark.parametrize(
    "odd",
    [
        {"id": "2"},
        {"id": "2", "changes": None},
        {"id": "2", "changes": [None]},
        {"id": "2", "changes": [{"field": "messages", "value": None}]},
        {"id": "2", "changes": [{"field": "messages", "value": {"messages": {}, "statuses": {}}}]},
        None,
    ],
)
def test_an_odd_entry_loses_no_other(odd):
    payload = webhook(TEXT)
    payload["entry"].insert(0, odd)

    assert [message.content for message in whatsapp.parse_meta(payload)] == ["Hi"]
    assert whatsapp.parse_meta_statuses(payload) == []
    with pytest.raises(InvalidPayload):
        whatsapp.parse_meta(payload | {"entry": [odd]})


@pytest.mark.parametrize(
    ("kind", "value", "content"),
    [
        ("button", {"payload": "CANCEL_17"}, "CANCEL_17"),
        ("interactive", {"button_reply": {"id": "1", "title": "Yes"}}, "Yes"),
        ("interactive", {"type": "list_reply", "list_reply": {"id": "ROW_2"}}, "ROW_2"),
        (
            "interactive",
            {"type": "call_permission_reply", "call_permission_reply": {"response": "accept"}},
            "accept",
        ),
        (
            "interactive",
            {"type": "nfm_reply", "nfm_reply": {"body": "Sent", "response_json": {"größe": "M"}}},
            'Sent\n{"größe": "M"}',
        ),
        (
            "order",
            {"product_items": [None, {"product_retailer_id": "A7", "quantity": "2"}]},
            "Order:\n- 2 x A7",
        ),
    ],
)
def test_what_an_answer_lacks_loses_nothing_else_of_it(kind, value, content):
    message = one(type=kind, text=None, **{kind: value})

    assert (message.content, message.ignored) == (content, ())


def test_an_unknown_message_says_why_it_is_not_handed_on():
    message = one(type="unknown", text=None, errors=[{"code": 131051, "title": "Not supported"}])

    assert "Not supported" in message.content


def test_a_message_that_names_no_sender_is_not_the_contact_s_if_it_is_not_alone():
    nameless = {name: value for name, value in TEXT.items() if name != "from"} | {"id": "wamid.2"}

    assert [message.provider_message_id for message in whatsapp.parse_meta(webhook(TEXT, nameless))] == [
        "wamid.1"
    ]
    assert [message.provider_message_id for message in whatsapp.parse_meta(webhook(nameless))] == ["wamid.2"]


@pytest.mark.parametrize(
    ("message", "content"),
    [
        ({"text": {"body": "Hi"}}, "Hi"),
        ({"text": None, "image": {"id": "1", "caption": "Broken"}}, "Broken"),
        ({"text": None, "location": {"latitude": 1.5, "longitude": 2}}, "Location: 1.5, 2"),
    ],
)
def test_a_message_without_a_type_is_what_it_holds(message, content):
    assert one(type=None, **message).content == content


@pytest.mark.parametrize("kind", ["unknown", "unsupported", "greeting"])
def test_what_a_message_of_an_unknown_type_holds_is_read(kind):
    assert one(type=kind).content == "Hi"
    assert one(type=kind, text=None, location={"latitude": 1, "longitude": 2}).content == "Location: 1, 2"


@pytest.mark.parametrize("kind", ["voice", "video_note", "gif"])
def test_a_file_of_an_unknown_kind_is_a_file(kind):
    media = {"id": "M1", "mime_type": "video/mp4"}
    message = one(type=kind, text=None, **{kind: media})
    captioned = one(type=kind, text=None, **{kind: media | {"caption": "It rattles"}})

    assert (message.content_type, message.attachments[0].media_type) == (
        ContentType.ATTACHMENT_NOTICE,
        "video/mp4",
    )
    assert message.extra == {"media": ["M1"], "object": {kind: media}}
    assert (captioned.content, len(captioned.attachments)) == ("It rattles", 1)


@pytest.mark.parametrize(
    ("value", "content"),
    [
        ({"name": "Which day?", "options": [{"name": "Monday"}]}, "Which day?"),
        ({"body": "Hello", "name": "x"}, "Hello"),
        ({"body": 7}, "The message has no text; its type is greeting"),
        ({}, "The message has no text; its type is greeting"),
        ([], "The message has no text; its type is greeting"),
    ],
)
def test_an_unknown_kind_says_what_it_has_in_words(value, content):
    assert one(type="greeting", text=None, greeting=value).content == content
