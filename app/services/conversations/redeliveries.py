"""What was decided about a message is kept on it, and told again when it is delivered again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from pydantic import ValidationError
from sqlalchemy import ARRAY, Boolean, Text, Uuid, bindparam, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Session

from ...models import Channel
from ...schemas import Assurance, Identifier, Ingested, Outcome, Resolution
from .waking import as_tickets, to_go_on_with

_NAMED = ("channel", "account", "accounts", "provider_message_id")
DECIDED = frozenset({"assurance", "candidates", "ignored", "matched_by", "outcome"})

_EARLIER = (
    text("""
    SELECT earlier.id, earlier.conversation_id, earlier.customer_id, earlier.direction,
        earlier.content, earlier.metadata AS extra, (
            SELECT COALESCE(jsonb_agg(jsonb_build_array(id, status) ORDER BY created_at, id), '[]')
            FROM tickets WHERE conversation_id = earlier.conversation_id
        ) AS tickets
    FROM provider_messages AS named JOIN messages AS earlier ON earlier.id = named.message_id
    WHERE named.channel = :channel AND named.account = ANY (:accounts)
        AND named.provider_message_id = :provider_message_id
        AND (named.account = :account OR earlier.direction = 'outbound')
    ORDER BY earlier.direction = 'inbound' DESC LIMIT 1
""")
    .bindparams(bindparam("accounts", type_=ARRAY(Text)))
    .columns(
        id=Uuid(),
        conversation_id=Uuid(),
        customer_id=Uuid(),
        direction=Text(),
        content=Text(),
        extra=JSONB(),
        tickets=JSONB(),
    )
)


# OFFSET 0 keeps each look to a key, whatever the planner thinks of the tables' sizes.
_STORED = (
    text("""
    SELECT n.channel, n.account, n.id, earlier.direction = 'outbound' AS is_ours, earlier.fingerprint
    FROM unnest(:channels, :accounts, :ids) AS n (channel, account, id)
    CROSS JOIN LATERAL (
        SELECT message_id FROM provider_messages
        WHERE channel = n.channel AND account = n.account AND provider_message_id = n.id OFFSET 0
    ) AS named
    CROSS JOIN LATERAL (
        SELECT direction, metadata ->> 'fingerprint' AS fingerprint FROM messages
        WHERE id = named.message_id OFFSET 0
    ) AS earlier
""")
    .bindparams(*(bindparam(name, type_=ARRAY(Text)) for name in ("channels", "accounts", "ids")))
    .columns(channel=Text(), account=Text(), id=Text(), is_ours=Boolean(), fingerprint=Text())
)


class Earlier(NamedTuple):
    """The message that has the provider's id already."""

    ingested: Ingested
    our_words: str | None
    """Of a message of ours: what it says."""
    fingerprint: str | None

    def is_another(self, message: Mapping[str, Any]) -> bool:
        """Whether this mail only bears its id.

        What we sent comes back by a list or a blind copy: as it was, with what a list adds below it.
        """
        is_ours = self.our_words is not None
        if is_ours and _letters(message["content"]).startswith(_letters(self.our_words or "")):
            return False
        return is_another(message["extra"], is_ours=is_ours, fingerprint=self.fingerprint)


def is_another(extra: Mapping[str, Any], *, is_ours: bool, fingerprint: str | None) -> bool:
    """Whether a mail only bears the id of an earlier one: its sender chose it; ours was never received."""
    if "fingerprint" not in extra:
        return False
    return is_ours or fingerprint not in (None, extra["fingerprint"])


def decided(resolution: Resolution) -> dict[str, Any]:
    """What a resolution decided, for the message's ``extra``."""
    facts: dict[str, Any] = {"assurance": resolution.assurance.value, "outcome": resolution.outcome.value}
    if resolution.matched_by is not None:
        facts["matched_by"] = _as_json(resolution.matched_by)
    if resolution.candidates:
        facts["candidates"] = [str(customer_id) for customer_id in resolution.candidates]
    if resolution.ignored:
        facts["ignored"] = [_as_json(identifier) for identifier in resolution.ignored]
    return facts


def find_earlier(session: Session, message: Mapping[str, Any]) -> Earlier:
    """Where the message with this provider's id went; somebody has stored it."""
    row = session.execute(_EARLIER, {name: message[name] for name in _NAMED}).one()
    extra = row.extra if isinstance(row.extra, dict) else {}
    present = as_tickets(row.tickets)
    ticket = to_go_on_with(present)
    ingested = Ingested(
        message_id=row.id,
        conversation_id=row.conversation_id,
        customer_id=row.customer_id,
        duplicate=True,
        tickets=present,
        ticket_id=None if ticket is None else ticket.id,
        ticket_status=None if ticket is None else ticket.status,
        resolution=_resolution(row.customer_id, extra),
    )
    is_ours = row.direction == "outbound"
    return Earlier(ingested, row.content if is_ours else None, extra.get("fingerprint"))


def _letters(text: str) -> str:
    """A text without what programs on its way change: spaces, marks, line ends."""
    return "".join(filter(str.isalnum, text)).casefold() or text.strip()


class StoredMessage(NamedTuple):
    """What tells the message that has a provider's id from another one."""

    is_ours: bool
    fingerprint: str | None


def find_stored(
    session: Session, messages: Sequence[Mapping[str, Any]]
) -> dict[tuple[str, str, str], StoredMessage]:
    """What is stored under the messages' names, by channel, account and id. One statement."""
    names = {name for message in messages for name in (own_name(message), *other_names(message))}
    channels, accounts, ids = map(list, zip(*names, strict=True)) if names else ([],) * 3
    rows = session.execute(_STORED, {"channels": channels, "accounts": accounts, "ids": ids})
    return {(row.channel, row.account, row.id): StoredMessage(row.is_ours, row.fingerprint) for row in rows}


def own_name(message: Mapping[str, Any]) -> tuple[str, str, str]:
    """What makes the message unique."""
    return message["channel"], message["account"], message["provider_message_id"]


def other_names(message: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Under which a mail of ours may be stored that comes back as this one."""
    if message["channel"] == Channel.EMAIL:
        for account in message["accounts"]:
            yield message["channel"], account, message["provider_message_id"]


def _resolution(customer_id: UUID, extra: Mapping[str, Any]) -> Resolution:
    """As it was; of a message that another backend stored nothing is known, and nothing may be disclosed."""
    unknown = {"customer_id": customer_id, "outcome": Outcome.MATCHED, "assurance": Assurance.CLAIMED}
    try:
        return Resolution.model_validate(unknown | {name: extra[name] for name in DECIDED & extra.keys()})
    except ValidationError:
        return Resolution.model_validate(unknown)


def _as_json(identifier: Identifier) -> dict[str, Any]:
    return {"type": identifier.type.value, "value": identifier.value, "verified": identifier.verified}
