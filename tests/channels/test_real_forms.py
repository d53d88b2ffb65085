"""Messages in the form in which providers deliver them, whole, each with what an agent has to see of it."""

from __future__ import annotations

from typing import Any

import pytest

from app.channels import web_form, whatsapp
from app.schemas import InboundMessage

BASE = {"from": "447700900123", "id": "wamid.1", "timestamp": "1794834131"}


def meta(**message: Any) -> InboundMessage:
    value = {
        "messaging_product": "whatsapp",
        "metadata": {"display_phone_number": "12025550100", "phone_number_id": "431276509870142"},
        "contacts": [{"profile": {"name": "Ann"}, "wa_id": "447700900123", "user_id": "GB.1"}],
        "messages": [BASE | message],
    }
    change = {"value": value, "field": "messages"}
    payload = {"object": "whatsapp_business_account", "entry": [{"id": "1", "changes": [change]}]}
    (parsed,) = whatsapp.parse_meta(payload)
    return parsed


def reply(kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": "interactive", "interactive": {"type": kind, kind: fields}}


WHATSAPP = {
    "text": ({"type": "text", "text": {"body": "Where is it?"}}, "Where is it?"),
    "image": ({"type": "image", "image": {"id": "1", "mime_type": "image/jpeg", "sha256": "x", "caption": "Broken"}}, "Broken"),
    "voice": ({"type": "audio", "audio": {"id": "1", "mime_type": "audio/ogg; codecs=opus", "voice": True}}, "The message has no text, only 1 file: audio/ogg"),
    "video": ({"type": "video", "video": {"id": "1", "mime_type": "video/mp4"}}, "The message has no text, only 1 file: video/mp4"),
    "document": ({"type": "document", "document": {"id": "1", "filename": "bill.pdf", "mime_type": "application/pdf"}}, "The message has no text, only 1 file: bill.pdf"),
    "sticker": ({"type": "sticker", "sticker": {"id": "1", "animated": False, "mime_type": "image/webp"}}, "The message has no text, only 1 file: image/webp"),
    "location": ({"type": "location", "location": {"latitude": -33.8567844, "longitude": 151.2152967, "name": "Opera", "address": "Sydney", "url": "https://x.example"}}, "Location: Opera, Sydney, -33.8567844, 151.2152967"),
    "live location": ({"type": "location", "location": {"latitude": 0, "longitude": 0.5}}, "Location: 0, 0.5"),
    "contact": ({"type": "contacts", "contacts": [{"name": {"formatted_name": "Max"}, "phones": [{"phone": "+44 7700 900124", "type": "CELL"}]}]}, "Contact: Max, +44 7700 900124"),
    "contact without a name": ({"type": "contacts", "contacts": [{"phones": [{"wa_id": "447700900124"}]}]}, "Contact: 447700900124"),
    "shared number": ({"type": "contacts", "origin": "contact_request", "contacts": [{"vcard": "BEGIN:VCARD", "phones": [{"phone": "+447700900123"}]}]}, "Contact: +447700900123"),
    "order": ({"type": "order", "order": {"catalog_id": "1", "product_items": [{"product_retailer_id": "MUG", "quantity": 1, "item_price": 5, "currency": "USD"}]}}, "Order:\n- 1 x MUG at 5 USD"),
    "order without items": ({"type": "order", "order": {"text": "As last time"}}, "Order:\nAs last time"),
    "button": ({"type": "button", "button": {"payload": "NO", "text": "No"}, "context": {"from": "12025550100", "id": "wamid.0"}}, "No"),
    "button reply": (reply("button_reply", id="no", title="No"), "No"),
    "list reply": (reply("list_reply", id="a", title="Monday", description="9:00"), "Monday\n9:00"),
    "flow reply": (reply("nfm_reply", name="flow", body="Sent", response_json='{"a": "b"}'), 'Sent\n{"a": "b"}'),
    "permission reply": (reply("call_permission_reply", response="accept"), "accept"),
    "reaction": ({"type": "reaction", "reaction": {"message_id": "wamid.0", "emoji": "\N{THUMBS UP SIGN}\N{EMOJI MODIFIER FITZPATRICK TYPE-4}"}}, "\N{THUMBS UP SIGN}\N{EMOJI MODIFIER FITZPATRICK TYPE-4}"),
    "revoke": ({"type": "revoke", "revoke": {"original_message_id": "wamid.0"}}, "The message was deleted by its sender."),
    "edited caption": ({"type": "edit", "edit": {"original_message_id": "wamid.0", "message": {"type": "image", "image": {"id": "1", "caption": "New words"}}}}, "New words"),
    "poll": ({"type": "unsupported", "errors": [{"code": 131051, "title": "Message type unknown", "message": "Message type unknown"}], "unsupported": {"type": "poll"}}, "The message is of a kind that WhatsApp does not hand on: its type is poll, Message type unknown"),
    "unsupported, bare": ({"type": "unsupported"}, "The message has no text; its type is unsupported"),
    "welcome": ({"type": "request_welcome"}, "The message has no text; its type is request_welcome"),
    "unknown next year": ({"type": "hologram", "hologram": {"id": "1"}}, "The message has no text; its type is hologram"),
    "advertisement": ({"type": "text", "text": {"body": "Price?"}, "referral": {"source_url": "https://fb.example/1", "source_type": "ad", "headline": "Mugs"}}, "Price?\n(came from: Mugs, https://fb.example/1)"),
    "product": ({"type": "text", "text": {"body": "Price?"}, "context": {"referred_product": {"catalog_id": "1", "product_retailer_id": "MUG"}}}, "Price?\n(about the product MUG)"),
    "forwarded often": ({"type": "text", "text": {"body": "Look"}, "context": {"frequently_forwarded": True}}, "Look\n(forwarded)"),
    "number instead of text": ({"type": "text", "text": {"body": "Hi"}, "timestamp": 1794834131}, "Hi"),
    "emoji only": ({"type": "text", "text": {"body": "\N{FACE WITH TEARS OF JOY}"}}, "\N{FACE WITH TEARS OF JOY}"),
}  # fmt: skip


@pytest.mark.parametrize(("message", "content"), WHATSAPP.values(), ids=WHATSAPP)
def test_a_whatsapp_message_as_meta_delivers_it(message, content):
    parsed = meta(**message)

    assert (parsed.content, parsed.ignored) == (content, ())
    assert [identifier.value for identifier in parsed.sender] == ["447700900123", "GB.1"]


TWILIO = {"SmsMessageSid": "SM1", "MessageSid": "SM1", "AccountSid": "AC1", "From": "whatsapp:+447700900123", "To": "whatsapp:+12025550100", "NumMedia": "0", "NumSegments": "1", "ProfileName": "Ann", "WaId": "447700900123", "SmsStatus": "received", "ApiVersion": "2010-04-01"}  # fmt: skip
FORMS = {
    "text": ({"Body": "Hi", "MessageType": "text"}, "Hi"),
    "voice": ({"Body": "", "NumMedia": "1", "MediaUrl0": "https://api.example/1", "MediaContentType0": "audio/ogg", "MessageType": "audio"}, "The message has no text, only 1 file: audio/ogg"),
    "picture with words": ({"Body": "Broken", "NumMedia": "1", "MediaUrl0": "https://api.example/1", "MediaContentType0": "image/jpeg"}, "Broken"),
    "card": ({"Body": "", "NumMedia": "1", "MediaUrl0": "https://api.example/1", "MediaContentType0": "text/vcard", "MessageType": "contacts"}, "The message has no text, only 1 file: text/vcard"),
    "location": ({"Body": "", "Latitude": "-33.8567844", "Longitude": "151.2152967", "MessageType": "location"}, "Location: -33.8567844, 151.2152967"),
    "button": ({"Body": "Yes", "ButtonText": "Yes", "ButtonPayload": "y", "MessageType": "button"}, "Yes"),
    "list": ({"Body": "", "ListId": "a", "ListTitle": "Monday", "MessageType": "interactive"}, "Monday"),
    "order": ({"Body": "", "MessageType": "order"}, "The message has no text; its type is order"),
    "forwarded": ({"Body": "Look", "Forwarded": "true"}, "Look\n(forwarded)"),
    "advertisement": ({"Body": "Price?", "ReferralHeadline": "Mugs", "ReferralSourceUrl": "https://fb.example/1"}, "Price?\n(came from: Mugs, https://fb.example/1)"),
}  # fmt: skip


@pytest.mark.parametrize(("form", "content"), FORMS.values(), ids=FORMS)
def test_a_whatsapp_message_as_twilio_delivers_it(form, content):
    message = whatsapp.parse_twilio(TWILIO | form)

    assert (message.content, message.ignored) == (content, ())


SUBMISSIONS = {
    "bare": ({}, ()),
    "local time": ({"submitted_at": "2026-11-16T09:20:05"}, ("submitted_at",)),
    "copied number": ({"phone": "\u202a+44 7700 900123\u202c"}, ()),
    "number as a number": ({"phone": 447700900123}, ("phone",)),
    "unticked": ({"phone": False, "company": []}, ("phone", "company")),
    "long number": ({"phone": "+44 7700 900123 " * 30}, ("phone",)),
    "number of a company": ({"company": 42, "category": {"id": 1}}, ("company", "category")),
    "emoji": ({"name": "Ann \N{ROCKET}", "subject": "Help\N{HEAVY EXCLAMATION MARK SYMBOL}"}, ()),
}  # fmt: skip


@pytest.mark.parametrize(("fields", "ignored"), SUBMISSIONS.values(), ids=SUBMISSIONS)
def test_a_form_as_people_fill_it(fields, ignored):
    message = web_form.parse(
        {"submission_id": "1", "email": "ann@example.com", "message": "Where is it?"} | fields
    )

    assert (message.content, message.ignored) == ("Where is it?", ignored)
