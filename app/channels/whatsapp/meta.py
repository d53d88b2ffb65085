"""Webhooks of Meta's WhatsApp Cloud API -> InboundMessage."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from ...errors import InvalidPayload
from ...models.channel import Channel
from ...models.conversation import ContentType
from ...models.customer import IdentifierType
from ...schemas import Attachment, CustomerProfile, Identifier, InboundEvent, InboundMessage
from .. import _fields
from .._fields import Fields, Lenient
from . import contents, senders, wording

_ABOUT = {"edit": "original_message_id", "reaction": "message_id", "revoke": "original_message_id"}
_EVENTS = {
    "edit": InboundEvent.EDIT,
    "reaction": InboundEvent.REACTION,
    "revoke": InboundEvent.REVOKE,
    "system": InboundEvent.IDENTITY,
}
_WHOLLY_TEXT = frozenset({"text", "system"})


def parse_meta(
    payload: Mapping[str, Any] | bytes,
    *,
    received_at: datetime | None = None,
    on_problem: Callable[[InvalidPayload], object] | None = None,
) -> list[InboundMessage]:
    """Read a webhook of the WhatsApp Cloud API (developers.facebook.com, webhooks reference, ``messages``).

    One webhook carries any number of messages; statuses and other fields than ``messages`` are none. A
    reaction that is taken back is an event like the reaction, and says so. The account is
    ``metadata.phone_number_id``. Somebody who hides the number is known by business-scoped user ids, the
    parent business's too; what is said of one person, be it in ``contacts``, are identifiers of one person. A
    notice that a number or id has changed is an event, with the old ones in ``former``. What has no text
    becomes readable text or a notice; its object is kept in ``extra["object"]``, bounded, the provider's
    media ids in ``extra["media"]``. Without ``received_at`` the webhook came when its ``timestamp`` says.

    One odd message loses no other: what it can do without is named in ``ignored``. A message without a usable
    sender, or for no account, is passed over; ``on_problem`` gets its error, else it is logged.

    Raises:
        InvalidPayload: the webhook is malformed, or none of its messages can be used and there is no
            ``on_problem``.
    """
    messages: list[InboundMessage] = []
    problems: list[InvalidPayload] = []
    for value, item, path in items_of(payload, "messages"):
        try:
            message = Fields(item, path, f"{path}.")
            if not _is_nothing(message):
                messages.append(_message(message, value, received_at))
        except InvalidPayload as error:
            problems.append(error)
    if problems and not messages and on_problem is None:
        raise problems[0]
    for problem in problems:
        (on_problem or _log)(problem)
    return messages


def _log(problem: InvalidPayload) -> None:
    _fields.log.warning("a WhatsApp message was passed over: %s", problem)


def items_of(payload: Mapping[str, Any] | bytes, key: str) -> list[tuple[Fields, object, str]]:
    """The webhook's ``messages`` or ``statuses``, each with the value that it stands in and its path.

    An entry or a change that cannot be read is logged and loses no other.

    Raises:
        InvalidPayload: the webhook is malformed, and nothing in it can be used.
    """
    webhook = Fields(_fields.json_object(payload) if isinstance(payload, bytes) else payload, "payload")
    if webhook.text("object") != "whatsapp_business_account":
        raise InvalidPayload("object", "is not whatsapp_business_account")
    items: list[tuple[Fields, object, str]] = []
    problems: list[InvalidPayload] = []
    changes = [
        change
        for entry in _objects(webhook, "entry", problems)
        for change in _objects(entry, "changes", problems)
    ]
    read = 0
    for change in changes:
        try:
            items += _items_in(change, key)
            read += 1
        except InvalidPayload as problem:
            problems.append(problem)
    if problems and not read:
        raise problems[0]
    for unusable in problems:
        _log(unusable)
    return items


def _objects(fields: Fields, key: str, problems: list[InvalidPayload]) -> list[Fields]:
    """The usable objects of a list; ``problems`` gets an error for each of the others."""
    items = fields.value(key)
    if not isinstance(items, list):
        problems.append(InvalidPayload(fields.path(key), "is missing" if items is None else "is not a list"))
        return []
    objects = []
    for number, item in enumerate(items):
        path = f"{fields.path(key)}[{number}]"
        try:
            objects.append(Fields(item, path, f"{path}."))
        except InvalidPayload as problem:
            problems.append(problem)
    return objects


def _items_in(change: Fields, key: str) -> list[tuple[Fields, object, str]]:
    if change.value("field") not in (None, "messages"):
        return []
    value = Fields(change.value("value"), change.path("value"))
    listed = [] if value.value(key) is None else value.value(key)
    if not isinstance(listed, list):
        raise InvalidPayload(key, "is not a list")
    return [(value, item, f"{key}[{number}]") for number, item in enumerate(listed)]


def _is_nothing(message: Fields) -> bool:
    """A notice of WhatsApp's own that tells of no other number."""
    return message.value("type") == "system" and senders.changed(message) is None


def _message(message: Fields, value: Fields, received_at: datetime | None) -> InboundMessage:
    lenient = Lenient()
    kind = contents.kind_of(message, lenient(message.text, "type", default=None))
    contact = senders.contact_of(message, value, lenient)
    change = senders.changed(message) if kind == "system" else None
    current = list(change.current) if change else senders.senders(message, contact, value, lenient)
    media = contents.media_of(message, kind, lenient)
    files = [_file(media, lenient)] if media else []
    words = lenient(contents.words, message, kind, default="")
    words = lenient(_fields.content, words, message.path(kind), default="")
    around = contents.context(message, lenient)
    notice = _fields.notice(files) or wording.without_text(lenient(message.line, "type", 50, default=None))
    event = _EVENTS.get(kind)
    group = lenient(message.line, "group_id", default=None)
    sent_at = moment(message, lenient)
    extra = _extra(message, kind, media, lenient)
    return InboundMessage(
        channel=Channel.WHATSAPP,
        account=value.object("metadata").address("phone_number_id"),
        provider_message_id=_message_id(message, lenient),
        sender=_identifiers(current + (list(change.former) if change else [])),
        former=_identifiers(change.former) if change else (),
        profile=CustomerProfile(name=lenient(_name, contact, default=None)),
        content=wording.lines(words or notice, around),
        content_type=ContentType.TEXT if words else ContentType.ATTACHMENT_NOTICE,
        new_text=words or notice,
        thread_id=group,
        group_id=group,
        references=_references(message, lenient),
        reaction_to=_about(message, kind, lenient),
        sent_at=sent_at,
        received_at=_fields.not_later_than_now(received_at or sent_at),
        attachments=tuple(files),
        auto_reply=event is not None and event is not InboundEvent.EDIT,
        event=event,
        extra=extra,
        ignored=tuple(lenient.ignored),
    )


def _identifiers(values: list[str] | tuple[str, ...]) -> tuple[Identifier, ...]:
    return tuple(
        Identifier(type=IdentifierType.WHATSAPP, value=value, verified=True)
        for value in dict.fromkeys(values)
    )


def _name(contact: Fields) -> str | None:
    return contact.object_or_empty("profile").line("name")


def _message_id(message: Fields, lenient: Lenient) -> str:
    """The provider's id; without one, a digest of all that the message holds, which a redelivery repeats."""
    message_id = lenient(message.text, "id", default=None)
    if message_id is None:
        return _fields.digest(json.dumps(_fields.bounded(message.whole()), sort_keys=True))
    return _fields.provider_id(message_id)


def _file(media: Fields, lenient: Lenient) -> Attachment:
    return Attachment(
        filename=lenient(media.line, "filename", default=None),
        media_type=_fields.media_type(lenient(media.text_or_none, "mime_type", default=None)),
    )


def _references(message: Fields, lenient: Lenient) -> tuple[str, ...]:
    context = lenient(message.object_or_empty, "context", default=None)
    answered = lenient(context.text_or_none, "id", default=None) if context else None
    return (_fields.provider_id(answered),) if answered else ()


def _about(message: Fields, kind: str, lenient: Lenient) -> str | None:
    if kind not in _ABOUT:
        return None
    details = lenient(message.object, kind, default=None)
    about = lenient(details.text, _ABOUT[kind], default=None) if details else None
    return _fields.provider_id(about) if about else None


def moment(message: Fields, lenient: Lenient) -> datetime | None:
    """``timestamp`` is Unix seconds, as text."""
    value = message.value("timestamp")
    if value is None:
        return None
    seconds = str(value) if isinstance(value, int) and 0 <= value < 10**11 else value
    if not isinstance(seconds, str) or not re.fullmatch("[0-9]{1,11}", seconds.strip(), re.ASCII):
        lenient.note(message.path("timestamp"))
        return None
    return datetime.fromtimestamp(int(seconds), UTC)


def _extra(message: Fields, kind: str, media: Fields | None, lenient: Lenient) -> dict[str, Any]:
    details = {key: message.value(key) for key in ("context", "referral", "errors") if message.value(key)}
    context = details.get("context")
    if isinstance(context, Mapping) and set(context) <= {"from", "id"}:
        del details["context"]
    if kind not in contents.MEDIA and (kind not in _WHOLLY_TEXT or lenient.ignored) and message.value(kind):
        details[kind] = message.value(kind)
    media_id = lenient(media.text, "id", default=None) if media else None
    extra = {"media": [media_id] if media_id else [], "object": _fields.bounded(details)}
    return {key: part for key, part in extra.items() if part}
