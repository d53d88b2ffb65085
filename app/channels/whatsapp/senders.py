"""Who sent a message of the Cloud API: numbers, business-scoped user ids, and what became of old ones."""

from __future__ import annotations

import re
from typing import NamedTuple

from ...errors import InvalidValue
from ...normalization import normalize_whatsapp
from .._fields import Fields, Lenient

_NUMBERS = ("from",)
_USER_IDS = ("from_user_id", "user_id", "from_parent_user_id", "parent_user_id")
_CONTACT_USER_IDS = ("user_id", "parent_user_id")
_NUMBER_CHANGES = frozenset({"customer_changed_number", "user_changed_number"})
_FROM_TO = re.compile(r"\bchanged from (\S+) to (\S+?)\.?\Z")


class Change(NamedTuple):
    """A person's identifiers after a change, and those that are no longer theirs."""

    current: tuple[str, ...]
    former: tuple[str, ...]


def contact_of(message: Fields, value: Fields, lenient: Lenient) -> Fields:
    """The sender's entry in ``contacts``, or the only one: ``wa_id`` may be written unlike ``from``."""
    contacts = _contacts(value, lenient)
    ids = {message.value(key) for key in (*_NUMBERS, *_USER_IDS) if isinstance(message.value(key), str)}
    for contact in contacts:
        if any(contact.value(key) in ids for key in ("wa_id", "user_id") if _is_text(contact.value(key))):
            return contact
    return contacts[0] if len(contacts) == 1 else Fields({}, "contacts")


def senders(message: Fields, contact: Fields, value: Fields, lenient: Lenient) -> list[str]:
    """The sender's numbers, then user ids.

    Raises:
        InvalidPayload: there is none that can be used.
    """
    numbers = _addresses(message, _NUMBERS, lenient)
    user_ids = _addresses(message, _USER_IDS, lenient)
    if not numbers and not user_ids and _is_alone(value):
        numbers = _addresses(contact, ("wa_id",), lenient)
        user_ids = _addresses(contact, _CONTACT_USER_IDS, lenient)
    elif _is_the_sender(contact, user_ids, numbers, value, lenient):
        user_ids += _addresses(contact, _CONTACT_USER_IDS, lenient)
    return list(dict.fromkeys([*numbers, *user_ids])) or [message.address("from")]


def changed(message: Fields) -> Change | None:
    """What a system notice says about the sender's number or id; None if it does not tell old and new.

    Meta writes these notices: old and new are one person's, as far as both are named.
    """
    system = message.value("system")
    if not isinstance(system, dict):
        return None
    notice, lenient = Fields(system, "system", "system."), Lenient()
    kind = notice.value("type")
    if kind not in _NUMBER_CHANGES and kind != "user_changed_user_id":
        return None
    numbers = _addresses(notice, ("wa_id", "new_wa_id"), lenient)
    user_ids = _addresses(notice, ("user_id", "parent_user_id"), lenient)
    old = _addresses(message, (*_NUMBERS, *_USER_IDS), lenient)
    old += _addresses(notice, ("previous_user_id", "previous_parent_user_id"), lenient)
    old += _named_as_old(notice, {*numbers, *user_ids})
    current = list(dict.fromkeys([*numbers, *user_ids]))
    former = [value for value in dict.fromkeys(old) if not any(_same(value, new) for new in current)]
    if kind == "user_changed_user_id" and not numbers:
        # The id has changed; nothing says that the number has.
        still = _addresses(message, _NUMBERS, lenient)
        current = [value for value in former if value in still] + current
        former = [value for value in former if value not in still]
    return Change(tuple(current), tuple(former)) if current and former else None


def _named_as_old(notice: Fields, current: set[str]) -> list[str]:
    """The old id that the notice's sentence names, if the new one in it is the new one beside it."""
    body = notice.value("body")
    sentence = _FROM_TO.search(body[-600:]) if isinstance(body, str) else None
    if not sentence or sentence[2] not in current or len(sentence[1]) > 255 or not sentence[1].isprintable():
        return []
    return [sentence[1]]


def _contacts(value: Fields, lenient: Lenient) -> list[Fields]:
    items = value.value("contacts")
    if items is None:
        return []
    if not isinstance(items, list):
        lenient.note("contacts")
        return []
    paths = [(item, f"contacts[{number}]") for number, item in enumerate(items)]
    contacts = [lenient(Fields, item, path, f"{path}.", default=None) for item, path in paths]
    return [contact for contact in contacts if contact is not None]


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _addresses(fields: Fields, keys: tuple[str, ...], lenient: Lenient) -> list[str]:
    present = [key for key in keys if fields.value(key) not in (None, "")]
    addresses = [lenient(fields.address, key, default=None) for key in present]
    return [address for address in addresses if address]


def _is_the_sender(
    contact: Fields, user_ids: list[str], numbers: list[str], value: Fields, lenient: Lenient
) -> bool:
    """Whether the contact's ids are surely the sender's: two people's ids in one message make them one."""
    if user_ids:
        return contact.value("user_id") in user_ids
    number = contact.value("wa_id")
    if _is_text(number):
        return any(_same(str(number), mine) for mine in numbers)
    items = value.value("messages")
    froms = [item.get("from") for item in items if isinstance(item, dict)] if isinstance(items, list) else []
    return len(_contacts(value, lenient)) == len({writer for writer in froms if _is_text(writer)}) == 1


def _is_alone(value: Fields) -> bool:
    """Whether nobody else's message stands beside a contact: only then is the contact surely the sender."""
    items = value.value("messages")
    return isinstance(items, list) and len(items) == 1


def _same(one: str, other: str) -> bool:
    try:
        return normalize_whatsapp(one) == normalize_whatsapp(other)
    except InvalidValue:
        return one == other
