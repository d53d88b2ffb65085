"""Where an inbound message belongs: what it answers, its thread, and the route that it came by."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Uuid, bindparam, text
from sqlalchemy.orm import Session

from ...errors import ConversationNotFound
from ...models import OWN_TYPE, Channel, IdentifierType
from ...schemas import Identifier, InboundMessage
from .._shared.checks import (
    canonical_accounts,
    checked_duration,
    checked_optional_text,
    checked_text,
    checked_uuid,
    stored_id,
)
from ..identity.reading import Address

MAX_REFERENCES = 100
MAX_THREAD = 1000

_TARGET = text("""
    SELECT identifier_type, address FROM conversation_routes
    WHERE conversation_id = :conversation_id ORDER BY used_at DESC, id DESC LIMIT 1
""").bindparams(bindparam("conversation_id", type_=Uuid()))


def placing(
    inbound: InboundMessage,
    addresses: tuple[Address, ...],
    *,
    account: str,
    aliases: Collection[str],
    idle_after: timedelta | None,
) -> dict[str, Any]:
    """What ``store_inbound_message`` needs in order to find the conversation, or to open it with its routes.

    Raises:
        InvalidValue: a field cannot be stored, or is ill-formed.
    """
    if idle_after is not None:
        idle_after = checked_duration("idle_after", idle_after)
    group_id = checked_optional_text("group_id", inbound.group_id, max_length=255)
    thread_id = checked_optional_text("thread_id", inbound.thread_id, max_length=MAX_THREAD)
    thread_id = None if thread_id is None else stored_id(inbound.channel, thread_id)
    own = addresses[0]
    return {
        "accounts": canonical_accounts(inbound.channel, account, aliases),
        "references": _references(inbound),
        "thread_id": group_id or thread_id,
        "group_id": group_id,
        "identifiers": [
            {
                "rank": rank,
                "type": address.type,
                "value": checked_text("sender", address.mailbox, max_length=255),
                "address": checked_text("sender", address.spelling, max_length=255),
            }
            for rank, address in enumerate(_reachable(inbound.channel, addresses))
        ],
        "mailbox": own.mailbox,
        "canonical": own.canonical,
        "idle_after": None if idle_after is None else f"{idle_after.total_seconds()} seconds",
    }


def reply_target(session: Session, conversation_id: UUID) -> Identifier:
    """The address that the conversation's last message came from, as its provider spells it.

    Never the profile's: that may have changed, or be another person's by a merge.

    Raises:
        ConversationNotFound: no such conversation, or one that another backend opened without a route.
    """
    conversation_id = checked_uuid("conversation_id", conversation_id)
    route = session.execute(_TARGET, {"conversation_id": conversation_id}).one_or_none()
    if route is None:
        raise ConversationNotFound(conversation_id)
    return Identifier(type=IdentifierType(route.identifier_type), value=route.address)


def _reachable(channel: Channel, addresses: tuple[Address, ...]) -> list[Address]:
    """The first one, where answers go, and the provider's other names for the same person.

    A WhatsApp sender has a number and an id, and the next message may come with the id alone.
    """
    first, *others = addresses
    if channel is not Channel.WHATSAPP:
        return [first]
    return [first, *(other for other in others if other.type is OWN_TYPE[channel])]


def _references(inbound: InboundMessage) -> list[str]:
    """Ids of what the message answers or is about, nearest first; what cannot be an id is passed over."""
    reported = [report.provider_message_id for report in inbound.delivery_reports]
    about = [id_ for id_ in (inbound.reaction_to, *reported) if id_]
    # What an event is about decides: what else it names could be a way to somebody else's message.
    ids = about if about and inbound.event is not None else [*about, *inbound.references[:MAX_REFERENCES]]
    usable = [id_ for id_ in ids if len(id_) <= 255 and "\x00" not in id_]
    return list(dict.fromkeys(stored_id(inbound.channel, id_) for id_ in usable))
