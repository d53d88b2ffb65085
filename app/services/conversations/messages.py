"""An inbound message as it is stored: its row, checked before anything is written, and its facts."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from ...errors import InvalidValue, OwnMessage
from ...models import Channel, MessageRole, uuid7
from ...schemas import InboundEvent, InboundMessage
from .._shared.checks import checked_json, checked_kind, checked_text, stored_id
from .redeliveries import DECIDED

EVENTS = frozenset(InboundEvent) - {InboundEvent.EDIT, InboundEvent.IDENTITY}
"""What is about a message and is none itself: it opens nothing and wakes nobody."""
_OF_MACHINES = frozenset({InboundEvent.RECEIPT, InboundEvent.DELIVERY, InboundEvent.CALENDAR})
_FACTS = frozenset(
    {
        "account", "archived", "attachments", "auto_reply", "event", "fingerprint", "former", "group_id",
        "ignored_fields", "new_text", "profile", "provider_message_id", "reaction_to", "received_at",
        "reply_to", "sent_at", "subject",
    }
)  # fmt: skip
RESERVED = _FACTS | DECIDED | {"actor", "answers", "delivery", "erased", "internal"}
"""Names in a message's ``extra`` that are the package's own."""


def values_of(inbound: InboundMessage, account: str, *, archived: bool) -> dict[str, Any]:
    """What ``store_inbound_message`` writes.

    Raises:
        InvalidValue: a field cannot be stored, or ``extra`` has a name that is the package's own.
    """
    message_id = uuid7()
    name = checked_text("provider_message_id", inbound.provider_message_id, max_length=255)
    return {
        "id": str(message_id),
        "new_conversation_id": str(uuid7()),
        "channel": inbound.channel.value,
        "account": account,
        "provider_message_id": stored_id(inbound.channel, name),
        "role": (MessageRole.SYSTEM if inbound.event in _OF_MACHINES else MessageRole.CUSTOMER).value,
        "content": checked_text("content", inbound.content, blank=True),
        "content_type": inbound.content_type.value,
        "extra": checked_json("extra", checked_extra(inbound.extra) | _facts(inbound, archived)),
        "created_at": _isoformat(inbound.received_at or inbound.sent_at) if archived else None,
    }


def refuse_own(channel: Channel, sender: str, accounts: Sequence[str]) -> None:
    """An address of ours identifies nobody, whoever writes in its name.

    Raises:
        OwnMessage: a mail's sender is one of the accounts, with any ``+tag``.
    """
    if channel is Channel.EMAIL and _untagged(sender) in map(_untagged, accounts):
        raise OwnMessage("sender", "is one of our own accounts")


def _untagged(address: str) -> str:
    mailbox, at, domain = address.rpartition("@")
    return f"{mailbox.partition('+')[0]}{at}{domain}"


def checked_extra(extra: dict[str, Any]) -> dict[str, Any]:
    """What a caller keeps beside a message, if it does not pass for what the package keeps there.

    Raises:
        InvalidValue: a name is reserved.
    """
    checked_kind("extra", extra, dict)
    if reserved := RESERVED.intersection(extra):
        raise InvalidValue(
            "extra", f"must not hold {', '.join(sorted(reserved))}: the names are the package's own"
        )
    return extra


def substitute_id(inbound: InboundMessage) -> str:
    """The id of a mail that bears another one's: it is found by it when it is delivered again."""
    return f"sha256:{fingerprint_of(inbound)}"


def fingerprint_of(inbound: InboundMessage) -> str:
    """What tells two mails with one id apart, and is equal when one of them comes again.

    A digest of who wrote what and when: nothing of it can be read in it.
    """
    sent_at = _isoformat(inbound.sent_at) or ""
    parts = [
        stored_id(inbound.channel, inbound.provider_message_id),
        inbound.sender[0].value.strip().casefold(),
        sent_at,
        inbound.content,
    ]
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


def _facts(inbound: InboundMessage, archived: bool) -> dict[str, Any]:
    """Those that a message has; most have few."""
    facts: dict[str, Any] = {
        "account": inbound.account,
        "provider_message_id": inbound.provider_message_id,
        "subject": inbound.subject,
        "sent_at": _isoformat(inbound.sent_at),
        "received_at": _isoformat(inbound.received_at),
        "reply_to": inbound.reply_to,
        "attachments": [attachment.model_dump() for attachment in inbound.attachments],
        "auto_reply": inbound.auto_reply
        or (inbound.event is not None and inbound.event is not InboundEvent.EDIT),
        "event": inbound.event,
        "archived": archived,
        "reaction_to": inbound.reaction_to,
        "group_id": inbound.group_id,
        "new_text": inbound.new_text if inbound.new_text != inbound.content else None,
        "profile": inbound.profile.model_dump(exclude_none=True),
        "former": [identifier.model_dump(mode="json") for identifier in inbound.former],
        "ignored_fields": list(inbound.ignored),
        "fingerprint": fingerprint_of(inbound) if inbound.channel is Channel.EMAIL else None,
    }
    return {name: fact for name, fact in facts.items() if fact}


def _isoformat(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
