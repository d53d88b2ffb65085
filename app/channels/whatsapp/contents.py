"""What a message of the Cloud API says, kind by kind, as readable text."""

from __future__ import annotations

import json
import math
from collections.abc import Callable

from ...errors import InvalidPayload
from .. import _fields
from .._fields import Fields, Lenient
from . import wording

MEDIA = frozenset({"audio", "document", "image", "sticker", "video"})
_UNKNOWN = ("unknown", "unsupported")
_WORDS = ("body", "text", "caption", "title", "name")
_MAX_LISTED = 50


def kind_of(message: Fields, written: str | None) -> str:
    """What a message is: what its type says, or the objects in it where that is not known."""
    is_known = written in _READERS and written not in _UNKNOWN
    if written is not None and (is_known or isinstance(message.value(written), dict | list)):
        return written
    held = (kind for kind in _READERS if isinstance(message.value(kind), dict | list))
    return next(held, written or "unknown")


def media_of(message: Fields, kind: str, lenient: Lenient) -> Fields | None:
    """The file that a message is, also one of a kind that is not known yet."""
    value = message.value(kind)
    is_file = kind in MEDIA or (kind not in _READERS and isinstance(value, dict) and "mime_type" in value)
    return lenient(message.object, kind, default=None) if is_file else None


def words(message: Fields, kind: str) -> str:
    """The text of a message; empty where its kind has none.

    Raises:
        InvalidPayload: the object of its kind is missing or cannot be used.
    """
    return _READERS.get(kind, _unfamiliar(kind))(message)


def context(message: Fields, lenient: Lenient) -> str:
    """What stands around the words: forwarded, an advertisement that was followed, a product asked about."""
    around = lenient(message.object_or_empty, "context", default=None) or Fields({}, "context")
    referral = lenient(message.object_or_empty, "referral", default=None) or Fields({}, "referral")
    product = lenient(around.object_or_empty, "referred_product", default=None) or Fields({}, "product")
    return wording.context(
        forwarded=True in (around.value("forwarded"), around.value("frequently_forwarded")),
        product=lenient(product.line, "product_retailer_id", default=None),
        headline=lenient(referral.line, "headline", default=None),
        source=lenient(referral.line, "source_url", default=None),
    )


def _text(message: Fields) -> str:
    return message.object("text").text("body")


def _button(message: Fields) -> str:
    button = message.object("button")
    return button.text_or_none("text") or button.text("payload")


def _reaction(message: Fields) -> str:
    return message.object("reaction").text_or_none("emoji") or wording.REACTION_TAKEN_BACK


def _caption(kind: str) -> Callable[[Fields], str]:
    return lambda message: message.object(kind).text_or_none("caption") or ""


def _unfamiliar(kind: str) -> Callable[[Fields], str]:
    """Of a kind that is not known yet: the words by the names that they have in others."""

    def reader(message: Fields) -> str:
        if not isinstance(message.value(kind), dict):
            return ""
        texts = map(message.object(kind).text_or_none, _WORDS)
        return next((text for text in texts if text), "")

    return reader


def _interactive(message: Fields) -> str:
    interactive = message.object("interactive")
    objects = [name for name in interactive.names() if isinstance(interactive.value(name), dict)]
    reply = interactive.object(interactive.text_or_none("type") or next(iter(objects), "type"))
    said = wording.lines(*(reply.text_or_none(key) for key in ("title", "description", "body")), _form(reply))
    return said or reply.text_or_none("response") or reply.text_or_none("id") or ""


def _form(reply: Fields) -> str | None:
    """What was filled in: JSON as text, or as it is."""
    answers = reply.value("response_json")
    if isinstance(answers, dict | list):
        return json.dumps(_fields.bounded(answers), ensure_ascii=False)
    return reply.text_or_none("response_json")


def _location(message: Fields) -> str:
    location = message.object("location")
    degrees = [_degrees(location, key) for key in ("latitude", "longitude")]
    return wording.location(location.line("name"), location.line("address"), *degrees)


def _degrees(location: Fields, key: str) -> str:
    """As it was sent: no digit is rounded away."""
    value = location.value(key)
    try:
        degrees = float(value) if isinstance(value, str | int | float) and value is not True else math.nan
    except (OverflowError, ValueError):
        degrees = math.nan
    if not -180 <= degrees <= 180:
        raise InvalidPayload(location.path(key), "is not a number of degrees")
    return str(value).strip()


def _contacts(message: Fields) -> str:
    return wording.lines(*(_contact(card) for card in message.objects("contacts")[:_MAX_LISTED]))


def _contact(card: Fields) -> str:
    name, organisation = card.object_or_empty("name"), card.object_or_empty("org")
    whole = name.line("formatted_name") or " ".join(
        filter(None, (name.line("first_name"), name.line("last_name")))
    )
    ways = [
        *(phone.line("phone") or phone.line("wa_id") for phone in _several(card, "phones")),
        *(mail.line("email") for mail in _several(card, "emails")),
        *(page.line("url") for page in _several(card, "urls")),
    ]
    return f"Contact: {wording.listed((whole, organisation.line('company'), *ways))}"


def _order(message: Fields) -> str:
    order = message.object("order")
    items = [_ordered(item) for item in _several(order, "product_items")]
    return wording.lines("Order:", *items, order.text_or_none("text"))


def _ordered(item: Fields) -> str:
    quantity, price, currency = (_printed(item.value(key)) for key in ("quantity", "item_price", "currency"))
    name = item.line("product_retailer_id") or "a product"
    return f"- {quantity or '?'} x {name}" + (f" at {price} {currency}".rstrip() if price else "")


def _edit(message: Fields) -> str:
    edited = message.object("edit").object("message")
    return words(edited, edited.text("type"))


def _revoke(message: Fields) -> str:
    return wording.REVOKED if message.object("revoke") else ""


def _unsupported(message: Fields) -> str:
    """WhatsApp hands on only that there was one, and why it does not say what."""
    errors = [
        wording.listed(
            dict.fromkeys(
                (
                    error.line("title"),
                    error.line("message"),
                    error.object_or_empty("error_data").line("details"),
                )
            )
        )
        for error in _several(message, "errors")
    ]
    kind = message.object_or_empty("unsupported").line("type", 50)
    why = wording.listed((f"its type is {kind}" if kind and kind != "unknown" else None, *errors))
    return f"The message is of a kind that WhatsApp does not hand on: {why}" if why else ""


def _system(message: Fields) -> str:
    return message.object("system").text_or_none("body") or "The person has another number."


def _several(fields: Fields, key: str) -> list[Fields]:
    """The objects of a list; what else is in it says nothing, and loses nothing."""
    items = fields.value(key)
    if not isinstance(items, list):
        return []
    path = fields.path(key)
    return [Fields(item, path, f"{path}.") for item in items[:_MAX_LISTED] if isinstance(item, dict)]


def _printed(value: object) -> str | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    return _fields.one_line(str(value) if not isinstance(value, int) or abs(value) < 10**18 else None, 50)


_READERS: dict[str, Callable[[Fields], str]] = {
    "button": _button,
    "contacts": _contacts,
    "edit": _edit,
    "interactive": _interactive,
    "location": _location,
    "order": _order,
    "reaction": _reaction,
    "revoke": _revoke,
    "system": _system,
    "text": _text,
    **dict.fromkeys(_UNKNOWN, _unsupported),
    **{kind: _caption(kind) for kind in MEDIA},
}
