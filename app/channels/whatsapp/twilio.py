"""Twilio's incoming-message webhook -> InboundMessage."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from ...errors import InvalidPayload
from ...models.channel import Channel
from ...models.conversation import ContentType
from ...models.customer import IdentifierType
from ...schemas import Attachment, CustomerProfile, Identifier, InboundMessage
from .. import _fields
from .._fields import Fields, Lenient
from . import wording

_PREFIX = "whatsapp:"
_INCOMING = frozenset({"received", "receiving"})
_KEPT = ("ButtonPayload", "InteractiveData", "FlowData", "ListId", "ListTitle")
# What the person wrote or saw comes first; a flow's answers and a button without words are known by no other.
_SAID = ("Body", "ButtonText", "ListTitle", "FlowData", "InteractiveData", "ButtonPayload", "ListId")
_IDS = ("MessageSid", "SmsMessageSid", "SmsSid")
_MAX_MEDIA = 100


def parse_twilio(form: Mapping[str, str], *, received_at: datetime | None = None) -> InboundMessage:
    """Read the form of Twilio's incoming-message webhook (twilio.com/docs/messaging/guides/webhook-request).

    The account is our number, To. ``ExternalUserId`` is another identifier of the sender. Without text,
    button and location the content is a notice of the media, whose addresses are in ``extra["media"]``, or of
    the message's type. Fields that a message can do without and that cannot be used are named in ``ignored``.
    ``received_at`` is when the webhook came, which the form does not say.

    Raises:
        InvalidPayload: id, sender or account is missing or unusable, or it is a status callback or an SMS.
    """
    fields, lenient = Fields(form, "form"), Lenient()
    statuses = (lenient(fields.text_or_none, key, default=None) for key in ("MessageStatus", "SmsStatus"))
    if (next(filter(None, statuses), None) or "received").lower() not in _INCOMING:
        raise InvalidPayload("MessageStatus", "belongs to a status callback, not to a message")
    sender = fields.address("From")
    if not sender.startswith(_PREFIX) or sender == _PREFIX:
        raise InvalidPayload("From", "is not a WhatsApp sender")
    account = _fields.address(fields.text("To").removeprefix(_PREFIX), "To")
    message_id = next(filter(None, map(fields.text_or_none, _IDS)), None)
    files, urls = _media(fields, lenient)
    words = wording.lines(_words(fields, lenient), _location(fields, lenient))
    words = lenient(_fields.content, words, "Body", default="")
    around = _context(fields, lenient)
    answered = lenient(fields.text_or_none, "OriginalRepliedMessageSid", default=None)
    notice = _fields.notice(files) or wording.without_text(
        lenient(fields.line, "MessageType", 50, default=None)
    )
    return InboundMessage(
        channel=Channel.WHATSAPP,
        account=account,
        provider_message_id=_fields.provider_id(message_id or fields.text("MessageSid")),
        sender=_senders(sender, fields, lenient),
        profile=CustomerProfile(name=lenient(fields.line, "ProfileName", default=None)),
        content=wording.lines(words or notice, around),
        content_type=ContentType.TEXT if words else ContentType.ATTACHMENT_NOTICE,
        new_text=words or notice,
        references=(_fields.provider_id(answered),) if answered else (),
        received_at=_fields.not_later_than_now(received_at),
        attachments=tuple(files),
        extra=_extra(fields, urls),
        ignored=tuple(lenient.ignored),
    )


def _senders(sender: str, fields: Fields, lenient: Lenient) -> tuple[Identifier, ...]:
    values = [sender]
    if fields.value("ExternalUserId"):
        values.append(lenient(fields.address, "ExternalUserId", default=sender))
    return tuple(
        Identifier(type=IdentifierType.WHATSAPP, value=value, verified=True)
        for value in dict.fromkeys(values)
    )


def _words(fields: Fields, lenient: Lenient) -> str | None:
    texts = (lenient(fields.text_or_none, key, default=None) for key in _SAID)
    return next((text for text in texts if text), None)


def _media(fields: Fields, lenient: Lenient) -> tuple[list[Attachment], list[str]]:
    """The files, as many as are announced or as have an address."""
    count = lenient(fields.text_or_none, "NumMedia", default=None) or "0"
    announced = int(count) if re.fullmatch("[0-9]{1,2}", count) else 0
    if count != str(announced):
        lenient.note("NumMedia")
    files, urls = [], []
    for number in itertools.takewhile(
        lambda number: number < announced or fields.value(f"MediaUrl{number}"), range(_MAX_MEDIA)
    ):
        kind = lenient(fields.text_or_none, f"MediaContentType{number}", default=None)
        files.append(Attachment(media_type=_fields.media_type(kind)))
        url = lenient(fields.text, f"MediaUrl{number}", default=None)
        urls += [url] if url else []
    return files, urls


def _location(fields: Fields, lenient: Lenient) -> str | None:
    latitude, longitude = (lenient(fields.line, key, default=None) for key in ("Latitude", "Longitude"))
    if latitude is None or longitude is None:
        return None
    place = (lenient(fields.line, key, default=None) for key in ("Label", "Address"))
    return wording.location(*place, f"{latitude}, {longitude}")


def _context(fields: Fields, lenient: Lenient) -> str:
    def line(key: str) -> str | None:
        return lenient(fields.line, key, default=None)

    return wording.context(
        forwarded="true" in (line("Forwarded"), line("FrequentlyForwarded")),
        product=line("ReferredProductRetailerId"),
        headline=line("ReferralHeadline"),
        source=line("ReferralSourceUrl"),
    )


def _extra(fields: Fields, urls: list[str]) -> dict[str, Any]:
    """The media's addresses, and the fields of buttons, lists and advertisements."""
    keys = [
        *_KEPT,
        *(key for key in fields.names() if key.startswith("Referral") and key != "ReferralNumMedia"),
    ]
    details = {key: _fields.bounded(fields.value(key)) for key in keys if fields.value(key)}
    extra = {"media": urls, "object": _fields.bounded(details)}
    return {key: value for key, value in extra.items() if value}
