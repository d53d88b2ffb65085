"""WhatsApp webhooks, from Twilio or from Meta's Cloud API -> InboundMessage.

Both providers know who the sender is, so senders are verified; check the request's signature before parsing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from ..errors import InvalidPayload
from ..models.channel import Channel
from ..models.conversation import ContentType
from ..models.customer import IdentifierType
from ..schemas import Attachment, CustomerProfile, Identifier, InboundMessage
from . import _fields
from ._fields import Fields

_PREFIX = "whatsapp:"
_INCOMING = frozenset({"received", "receiving"})
_MEDIA = frozenset({"audio", "document", "image", "sticker", "video"})
_TEXT_FIELDS = {"button": "text", "reaction": "emoji", "text": "body"}


def parse_twilio(form: Mapping[str, str]) -> InboundMessage:
    """Read the form of Twilio's incoming-message webhook (twilio.com/docs/messaging/guides/webhook-request).

    The account is our number, To. Without text, button and location the content is a notice of the media,
    whose addresses are in ``extra["media"]``. The profile's name is cut to 255 characters.

    Raises:
        InvalidPayload: a field is missing or cannot be used, or it is a status callback or an SMS.
    """
    fields = Fields(form, "form")
    if (fields.text_or_none("MessageStatus") or "received").lower() not in _INCOMING:
        raise InvalidPayload("MessageStatus", "belongs to a status callback, not to a message")
    sender = fields.address("From")
    if not sender.startswith(_PREFIX) or sender == _PREFIX:
        raise InvalidPayload("From", "is not a WhatsApp sender")
    message_id = fields.text_or_none("MessageSid") or fields.text_or_none("SmsMessageSid")
    files, urls = _twilio_media(fields)
    content = _lines(
        fields.text_or_none("Body") or fields.text_or_none("ButtonText"), _twilio_location(fields)
    )
    if not content and not files:
        raise InvalidPayload("Body", "is missing, and so are media, button and location")
    return _message(
        account=_fields.address(fields.text("To").removeprefix(_PREFIX), "To"),
        message_id=message_id or fields.text("MessageSid"),
        senders=[sender],
        name=fields.line("ProfileName"),
        content=_fields.content(content, "Body"),
        notice=_fields.notice(files),
        files=files,
        extra={"media": urls, "reply_to": fields.line("OriginalRepliedMessageSid")},
    )


def parse_meta(payload: Mapping[str, Any] | bytes) -> list[InboundMessage]:
    """Read a webhook of the WhatsApp Cloud API (developers.facebook.com, webhooks reference, ``messages``).

    One webhook carries any number of messages; delivery statuses, system notices and fields other than
    ``messages`` are none. The account is ``metadata.phone_number_id``. Somebody who hides the number is known
    by a business-scoped user id; where both are told, both are identifiers. What has no text becomes a
    notice; the provider's media ids are in ``extra["media"]``. The profile's name is cut to 255 characters.

    Raises:
        InvalidPayload: a field is missing or cannot be used; then no message of the webhook is returned.
    """
    webhook = Fields(_fields.json_object(payload) if isinstance(payload, bytes) else payload, "payload")
    if webhook.text("object") != "whatsapp_business_account":
        raise InvalidPayload("object", "is not whatsapp_business_account")
    changes = [change for entry in webhook.objects("entry") for change in entry.objects("changes")]
    values = [
        Fields(change.value("value"), change.path("value"))
        for change in changes
        if change.value("field") in (None, "messages")
    ]
    return [
        _meta_message(message, value)
        for value in values
        if value.value("messages") is not None
        for message in value.objects("messages")
        if not _is_event(message)
    ]


def _message(
    *,
    account: str,
    message_id: str,
    senders: list[str],
    name: str | None,
    content: str,
    notice: str,
    files: list[Attachment],
    extra: dict[str, Any],
    sent_at: datetime | None = None,
) -> InboundMessage:
    return InboundMessage(
        channel=Channel.WHATSAPP,
        account=account,
        provider_message_id=_fields.provider_id(message_id),
        sender=tuple(
            Identifier(type=IdentifierType.WHATSAPP, value=value, verified=True) for value in senders
        ),
        profile=CustomerProfile(name=name),
        content=content or notice,
        content_type=ContentType.TEXT if content else ContentType.ATTACHMENT_NOTICE,
        sent_at=sent_at,
        attachments=tuple(files),
        extra={key: value for key, value in extra.items() if value},
    )


def _lines(*parts: str | None) -> str:
    return "\n".join(part for part in parts if part)


def _location(*parts: str | None) -> str:
    return f"Location: {', '.join(part for part in parts if part)}"


def _twilio_media(fields: Fields) -> tuple[list[Attachment], list[str]]:
    count = fields.text_or_none("NumMedia") or "0"
    if not re.fullmatch("[0-9]{1,2}", count):
        raise InvalidPayload("NumMedia", "is not a number below 100")
    kinds = [fields.text_or_none(f"MediaContentType{number}") for number in range(int(count))]
    urls = [fields.text(f"MediaUrl{number}") for number in range(int(count))]
    return [Attachment(media_type=_fields.media_type(kind)) for kind in kinds], urls


def _twilio_location(fields: Fields) -> str | None:
    latitude, longitude = fields.line("Latitude"), fields.line("Longitude")
    if latitude is None or longitude is None:
        return None
    return _location(fields.line("Label"), fields.line("Address"), f"{latitude}, {longitude}")


def _is_event(message: Fields) -> bool:
    """WhatsApp's own notices and a reaction that was taken back: nothing that the customer says."""
    kind = message.value("type")
    return kind == "system" or (kind == "reaction" and not message.object("reaction").text_or_none("emoji"))


def _meta_message(message: Fields, value: Fields) -> InboundMessage:
    kind = message.text("type")
    contact = _meta_contact(message, value)
    media = message.object(kind) if kind in _MEDIA else None
    files = [_meta_file(media)] if media else []
    return _message(
        account=value.object("metadata").address("phone_number_id"),
        message_id=message.text("id"),
        senders=_meta_senders(message, contact),
        name=contact.object_or_empty("profile").line("name"),
        content=_fields.content(_meta_content(message, kind), message.path(kind)),
        notice=_fields.notice(files) or f"The message has no text; its type is {message.line('type', 50)}",
        files=files,
        sent_at=_meta_time(message),
        extra={
            "media": [media.text("id")] if media else [],
            "reply_to": message.object_or_empty("context").line("id"),
        },
    )


def _meta_file(media: Fields) -> Attachment:
    media_type = _fields.media_type(media.text_or_none("mime_type"))
    return Attachment(filename=media.line("filename"), media_type=media_type)


def _meta_contact(message: Fields, value: Fields) -> Fields:
    """The sender's entry in ``contacts``, or the only one: ``wa_id`` may be written unlike ``from``."""
    contacts = value.objects("contacts") if value.value("contacts") is not None else []
    known = [message.text_or_none(key) for key in ("from", "from_user_id", "user_id")]
    for contact in contacts:
        if any(
            contact.text_or_none(key) in known for key in ("wa_id", "user_id") if contact.text_or_none(key)
        ):
            return contact
    return contacts[0] if len(contacts) == 1 else Fields({}, "contacts")


def _meta_senders(message: Fields, contact: Fields) -> list[str]:
    told = [message.address(key) for key in ("from", "from_user_id", "user_id") if message.text_or_none(key)]
    told = told or [contact.address(key) for key in ("wa_id", "user_id") if contact.text_or_none(key)]
    return list(dict.fromkeys(told)) or [message.text("from")]


def _meta_content(message: Fields, kind: str) -> str:
    if kind in _TEXT_FIELDS:
        return message.object(kind).text(_TEXT_FIELDS[kind])
    if kind in _MEDIA:
        return message.object(kind).text_or_none("caption") or ""
    if kind == "interactive":
        interactive = message.object("interactive")
        reply = interactive.object(interactive.text("type"))
        return _lines(*(reply.text_or_none(key) for key in ("title", "description", "body", "response_json")))
    if kind == "location":
        location = message.object("location")
        degrees = [_degrees(location, key) for key in ("latitude", "longitude")]
        return _location(location.line("name"), location.line("address"), *degrees)
    return ""


def _degrees(location: Fields, key: str) -> str:
    value = location.value(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not -180 <= value <= 180:
        raise InvalidPayload(location.path(key), "is not a number of degrees")
    return f"{value:g}"


def _meta_time(message: Fields) -> datetime | None:
    """``timestamp`` is text with Unix seconds."""
    value = message.text_or_none("timestamp")
    if value is None:
        return None
    if not re.fullmatch("[0-9]{1,11}", value):
        raise InvalidPayload(message.path("timestamp"), "is not a number of Unix seconds")
    return datetime.fromtimestamp(int(value), UTC)
