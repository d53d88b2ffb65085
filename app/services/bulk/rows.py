"""What a row of a file or of another system's table says, as the schema of what it is about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from ...errors import InvalidValue
from ...models import OWN_TYPE, Channel, IdentifierType
from ...schemas import CustomerRow, InboundMessage, TicketRow
from .running import invalid

S = TypeVar("S", bound=BaseModel)

_PROFILE = ("name", "company")
_TRUE, _FALSE = frozenset({"true", "1", "yes"}), frozenset({"false", "0", "no", ""})
_FLAGS = ("verified", "auto_reply")


def message_of(row: Any) -> InboundMessage:
    """The message of a row: one itself, its fields, or flat fields as in a CSV file.

    Flat are ``email``, ``phone`` and ``whatsapp`` beside or instead of ``sender``, ``verified`` for the
    channel's own one, ``name`` and ``company``, and ``references`` with spaces between them.

    Raises:
        InvalidValue: it is none, or a field is missing or ill-formed.
    """
    if isinstance(row, InboundMessage):
        return row
    fields = _fields(row)
    channel = fields.get("channel")
    own_type = next((type_ for own, type_ in OWN_TYPE.items() if own == channel), None)
    sender = fields.get("sender")
    if sender is None or isinstance(sender, str):
        own = [] if sender is None or own_type is None else [{"type": own_type, "value": sender}]
        fields["sender"] = own + _addresses(fields, own_type)
        verified = fields.pop("verified", False)
        if fields["sender"]:
            fields["sender"][0]["verified"] = verified
    _gather_profile(fields)
    if isinstance(fields.get("references"), str):
        fields["references"] = fields["references"].split()
    return _validated(InboundMessage, fields)


def customer_of(row: Any) -> CustomerRow:
    """The person of a row: one itself, its fields, or flat fields as in a CSV file.

    Flat are ``email``, ``phone``, ``whatsapp``, ``verified`` for all of them, ``name`` and ``company``.
    Without a ``channel`` it is the one whose own identifier stands first.

    Raises:
        InvalidValue: it is none, or a field is missing or ill-formed.
    """
    if isinstance(row, CustomerRow):
        return row
    return _validated(CustomerRow, _of_somebody(_fields(row), "channel"))


def ticket_of(row: Any) -> TicketRow:
    """The ticket of a row: one itself, its fields, or flat fields; whose it is, as ``customer_of`` reads it.

    Raises:
        InvalidValue: it is none, or a field is missing or ill-formed.
    """
    if isinstance(row, TicketRow):
        return row
    return _validated(TicketRow, _of_somebody(_fields(row), "source_channel"))


def _of_somebody(fields: dict[str, Any], channel: str) -> dict[str, Any]:
    """Flat fields about a person, and the channel that follows from them, in the schemas' form."""
    if "identifiers" not in fields:
        verified = fields.pop("verified", False)
        fields["identifiers"] = [address | {"verified": verified} for address in _addresses(fields, None)]
        if not fields["identifiers"]:
            raise InvalidValue("identifiers", "must be at least one: email, phone or whatsapp")
    if fields.get(channel) is None and isinstance(fields["identifiers"], list):
        types = [entry.get("type") for entry in fields["identifiers"] if isinstance(entry, Mapping)]
        fields[channel] = Channel.WHATSAPP if types[:1] == ["whatsapp"] else Channel.EMAIL
    _gather_profile(fields)
    return fields


def _fields(row: Any) -> dict[str, Any]:
    """A copy without what is empty: a CSV file has no other way to say nothing."""
    if not isinstance(row, Mapping) or not all(isinstance(name, str) for name in row):
        raise InvalidValue("row", f"must be an object, not {type(row).__name__}")
    fields = {name: value for name, value in row.items() if value not in ("", None)}
    if "content" in row:
        fields["content"] = row["content"]
    return fields | {name: _flag(name, fields[name]) for name in _FLAGS if name in fields}


def _flag(name: str, value: Any) -> bool:
    text = value.strip().lower() if isinstance(value, str) else None
    if value is True or text in _TRUE:
        return True
    if value is False or text in _FALSE:
        return False
    raise InvalidValue(name, "must be true or false")


def _addresses(fields: dict[str, Any], first: IdentifierType | None) -> list[dict[str, Any]]:
    """What the row says of them, that of the channel's own type first."""
    named = [(type_, fields.pop(type_.value)) for type_ in IdentifierType if type_.value in fields]
    named.sort(key=lambda entry: entry[0] != first)
    return [{"type": type_, "value": value} for type_, value in named]


def _gather_profile(fields: dict[str, Any]) -> None:
    flat = {name: fields.pop(name) for name in _PROFILE if name in fields}
    if flat and "profile" not in fields:
        fields["profile"] = flat


def _validated(schema: type[S], fields: dict[str, Any]) -> S:
    try:
        return schema.model_validate(fields)
    except ValidationError as error:
        raise invalid(error) from None
