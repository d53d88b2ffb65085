"""Delivery -> the parameters of a provider's call, for Twilio and for Meta's Cloud API. Nothing is called."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from itertools import chain
from typing import Any
from urllib.parse import SplitResult, quote, urlsplit, urlunsplit

from ...errors import InvalidValue, WindowClosed
from ...models.channel import Channel
from ...schemas import Attachment, Delivery

_PREFIX = "whatsapp:"
_DIGITS = re.compile(r"\+?([0-9]{5,20})")
_LONGEST_OF_TWILIO = 1600
_LONGEST_OF_META = 4096
_LONGEST_CAPTION = 1024
# What the Cloud API takes as a picture or a film; everything else goes as a document.
_MEDIA = {"image/jpeg": "image", "image/png": "image", "video/mp4": "video", "video/3gpp": "video"}


def compose_twilio(
    delivery: Delivery,
    *,
    content_sid: str | None = None,
    content_variables: Mapping[str, str] | None = None,
    status_callback: str | None = None,
    outside_window: bool = False,
) -> dict[str, Any]:
    """The form of Twilio's ``Messages`` call; its answer's ``sid`` is for ``outbox.sent``.

    ``content_sid`` sends a template with its variables instead of free text. ``status_callback`` is called
    with the message's id in its query (``message_id``), which ``parse_twilio_status`` takes: so that a report
    finds the message although its sender died before ``sent``. Twilio has no key that stops a second send.

    Raises:
        WindowClosed: free text, and the customer has not written for 24 hours. ``outside_window=True``
            leaves that to Twilio.
        InvalidValue: the delivery is no WhatsApp message, or it does not fit into one of Twilio's: at most
            1,600 characters, one file that has an address on the web, no group; or an option is ill-formed.
    """
    _check(delivery, is_free=content_sid is None, outside_window=outside_window)
    if delivery.group_id is not None:
        raise InvalidValue("group_id", "names a group, which Twilio cannot write to")
    form: dict[str, Any] = {
        "From": _PREFIX + _with_plus(delivery.account),
        "To": _PREFIX + _with_plus(delivery.to.value),
    }
    if content_sid is not None:
        if not isinstance(content_sid, str) or not content_sid.strip():
            raise InvalidValue("content_sid", "must be the id of a template")
        form["ContentSid"] = content_sid
        if content_variables:
            form["ContentVariables"] = _variables(content_variables)
    else:
        form["Body"] = _text(delivery, _LONGEST_OF_TWILIO)
        if (file := _file(delivery)) is not None:
            form["MediaUrl"] = [_address(file)]
    if status_callback is not None:
        form["StatusCallback"] = _with_our_id(status_callback, delivery)
    return form


def compose_meta(
    delivery: Delivery,
    *,
    template: Mapping[str, Any] | None = None,
    outside_window: bool = False,
) -> dict[str, Any]:
    """The JSON of the Cloud API's ``messages`` call; its answer's ``messages[0].id`` is for ``outbox.sent``.

    ``template`` (name, language, components) is sent instead of free text. The delivery's key goes along as
    ``biz_opaque_callback_data``, which Meta repeats in its statuses: so that a report finds the message
    although its sender died before ``sent``. Meta has no key that stops a second send.

    Raises:
        WindowClosed: free text, and the customer has not written for 24 hours. ``outside_window=True``
            leaves that to Meta.
        InvalidValue: the delivery is no WhatsApp message, or it does not fit into one of Meta's: at most
            4,096 characters, 1,024 beside a file, and one file that has an address on the web.
    """
    _check(delivery, is_free=template is None, outside_window=outside_window)
    message: dict[str, Any] = {"messaging_product": "whatsapp", **_recipient(delivery)}
    if template is not None:
        if not isinstance(template, Mapping):
            raise InvalidValue("template", "must be an object")
        message |= {"type": "template", "template": dict(template)}
    elif (file := _file(delivery)) is not None:
        kind = _MEDIA.get(file.media_type.lower(), "document")
        media = {"link": _address(file), "caption": _text(delivery, _LONGEST_CAPTION)}
        if kind == "document" and file.filename:
            media["filename"] = file.filename
        message |= {"type": kind, kind: media}
    else:
        message |= {"type": "text", "text": {"body": _text(delivery, _LONGEST_OF_META)}}
    if delivery.in_reply_to is not None and template is None:
        message["context"] = {"message_id": delivery.in_reply_to}
    return message | {"biz_opaque_callback_data": delivery.idempotency_key}


def _variables(values: Mapping[str, str]) -> str:
    """A template's, as Twilio takes them: numbers would be refused there."""
    if not isinstance(values, Mapping) or not all(isinstance(text, str) for text in chain(*values.items())):
        raise InvalidValue("content_variables", "must be an object of texts")
    return json.dumps(dict(values), ensure_ascii=False)


def _with_our_id(callback: str, delivery: Delivery) -> str:
    address = _web_address("status_callback", callback, "must be an address on the web, which Twilio calls")
    query = "&".join(filter(None, [address.query, f"message_id={quote(delivery.idempotency_key)}"]))
    return urlunsplit(address._replace(query=query, fragment=""))


def _check(delivery: Delivery, *, is_free: bool, outside_window: bool) -> None:
    if not isinstance(delivery, Delivery):
        raise InvalidValue("delivery", "must be a Delivery")
    if delivery.channel is not Channel.WHATSAPP:
        raise InvalidValue("channel", "is not whatsapp")
    if is_free and not delivery.window_open and not outside_window:
        raise WindowClosed(delivery.conversation_id)


def _recipient(delivery: Delivery) -> dict[str, str]:
    """A group, a number, or the id of somebody whose number we do not know."""
    if delivery.group_id is not None:
        return {"recipient_type": "group", "to": delivery.group_id}
    address = delivery.to.value.removeprefix(_PREFIX)
    number = _DIGITS.fullmatch(address)
    return {"recipient_type": "individual"} | ({"to": number[1]} if number else {"recipient": address})


def _with_plus(address: str) -> str:
    bare = address.removeprefix(_PREFIX)
    number = _DIGITS.fullmatch(bare)
    return f"+{number[1]}" if number else bare


def _text(delivery: Delivery, longest: int) -> str:
    text = delivery.text.strip()
    if not text:
        raise InvalidValue("content", "has no text")
    if len(text) > longest:
        raise InvalidValue("content", f"is longer than the {longest:,} characters that the provider takes")
    return text


def _file(delivery: Delivery) -> Attachment | None:
    if len(delivery.attachments) > 1:
        raise InvalidValue("attachments", "are more than one, and a WhatsApp message has one file")
    return delivery.attachments[0] if delivery.attachments else None


def _address(file: Attachment) -> str:
    _web_address("attachments", file.url, "must have an address on the web, where the provider fetches them")
    return str(file.url)


def _web_address(field: str, value: object, problem: str) -> SplitResult:
    try:
        address = urlsplit(value if isinstance(value, str) else "")
    except ValueError:
        raise InvalidValue(field, problem) from None
    if address.scheme not in {"http", "https"} or not address.netloc:
        raise InvalidValue(field, problem)
    return address
