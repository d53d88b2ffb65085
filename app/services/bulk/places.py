"""Where the rows of a batch belong: one look for all, then each is placed as ``store_inbound_message`` would.

That function is the rule; this is its second wording, for the cases that fill archives. Whatever else there
is (a closed conversation to reopen, tickets to wake, look-alike addresses) is left to the function itself.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID, uuid4

from sqlalchemy import ARRAY, Boolean, DateTime, Text, Uuid, bindparam, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Session

from ...models import ConversationStatus

_TEXTS = ("channels", "accounts", "ids", "thread_channels", "thread_accounts", "threads")
# OFFSET 0 keeps each look to a key, whatever the planner thinks of the tables' sizes.
_NAMED = (
    text("""
    SELECT 'message' AS kind, r.channel, r.account, r.name, earlier.conversation_id
    FROM unnest(:channels, :accounts, :ids) AS r (channel, account, name)
    CROSS JOIN LATERAL (
        SELECT message_id FROM provider_messages
        WHERE channel = r.channel AND account = r.account AND provider_message_id = r.name OFFSET 0
    ) AS named
    CROSS JOIN LATERAL (
        SELECT conversation_id FROM messages WHERE id = named.message_id OFFSET 0
    ) AS earlier
    UNION ALL
    SELECT 'thread', t.channel, t.account, t.name, route.conversation_id
    FROM unnest(:thread_channels, :thread_accounts, :threads) AS t (channel, account, name)
    CROSS JOIN LATERAL (
        SELECT conversation_id FROM conversation_routes
        WHERE channel = t.channel AND account = t.account AND thread_id = t.name OFFSET 0
    ) AS route
    UNION ALL
    SELECT 'open', NULL, NULL, NULL, active.id
    FROM unnest(:customers) AS c (id)
    CROSS JOIN LATERAL (
        SELECT id FROM conversations
        WHERE customer_id = c.id AND (status IN ('active', 'escalated') OR status IS NULL) OFFSET 0
    ) AS active
""")
    .bindparams(
        *(bindparam(name, type_=ARRAY(Text)) for name in _TEXTS), bindparam("customers", type_=ARRAY(Uuid()))
    )
    .columns(kind=Text(), channel=Text(), account=Text(), name=Text(), conversation_id=Uuid())
)
_CONVERSATIONS = (
    text("""
    SELECT c.id, c.customer_id, c.status, c.created_at,
        EXISTS (SELECT FROM tickets WHERE conversation_id = c.id OFFSET 0) AS has_tickets,
        (
            SELECT COALESCE(
                jsonb_agg(
                    jsonb_build_array(
                        channel, account, identifier_type, identifier_value, thread_id, group_id, used_at
                    )
                ), '[]'
            ) FROM conversation_routes WHERE conversation_id = c.id
        ) AS routes
    FROM unnest(:ids) AS sought (id)
    CROSS JOIN LATERAL (
        SELECT id, customer_id, status, created_at FROM conversations WHERE id = sought.id OFFSET 0
    ) AS c
""")
    .bindparams(bindparam("ids", type_=ARRAY(Uuid())))
    .columns(
        id=Uuid(),
        customer_id=Uuid(),
        status=Text(),
        created_at=DateTime(timezone=True),
        has_tickets=Boolean(),
        routes=JSONB(),
    )
)
_CLOCKS = text("SELECT now(), clock_timestamp()").columns(
    began=DateTime(timezone=True), clock=DateTime(timezone=True)
)

Name = tuple[str, str, str]
"""Channel, account, and what the provider calls it."""


class Route(NamedTuple):
    channel: str
    account: str
    type: str
    value: str
    thread_id: str | None
    group_id: str | None
    used_at: datetime
    address: str = ""
    is_new: bool = False

    @property
    def key(self) -> tuple[str | None, ...]:
        """What makes it the same way: a message by it adds none."""
        return self[:5]


@dataclass
class Conversation:
    """One that there is, or that the batch opens."""

    id: UUID
    customer_id: UUID
    channel: str
    status: str | None
    created_at: datetime | None
    has_tickets: bool = False
    routes: list[Route] = field(default_factory=list)

    @property
    def is_open(self) -> bool:
        return self.status != ConversationStatus.CLOSED

    def has_route(self, key: tuple[str | None, ...]) -> bool:
        return any(route.key == key for route in self.routes)


class Place(NamedTuple):
    """Where one message goes."""

    conversation: Conversation
    is_opened: bool
    answers: UUID | None
    """Somebody else's conversation that it answers, and that lets nobody in."""


class Places:
    """The conversations that a batch may belong to, with those that its rows open. Customers are locked."""

    def __init__(self, session: Session, rows: Sequence[tuple[dict[str, Any], UUID]]) -> None:
        """Look for all of ``rows``: what is known of each message, and its customer."""
        self.opened: list[Conversation] = []
        self._by_id: dict[UUID, Conversation] = {}
        self._messages: dict[Name, UUID] = {}
        self._threads: dict[Name, list[UUID]] = defaultdict(list)
        self._of_customer: dict[UUID, list[UUID]] = defaultdict(list)
        self._left: set[UUID | tuple[str, str]] = set()
        began, clock = session.execute(_CLOCKS).one()
        self.began: datetime = began
        self.clock: datetime = clock
        self._ticks = 0
        for row in session.execute(_NAMED, _sought(rows)):
            name = (row.channel, row.account, row.name)
            self._by_id[row.conversation_id] = _UNREAD
            if row.kind == "message":
                self._messages[name] = row.conversation_id
            elif row.kind == "thread" and row.conversation_id not in self._threads[name]:
                self._threads[name].append(row.conversation_id)
        if self._by_id:
            for row in session.execute(_CONVERSATIONS, {"ids": list(self._by_id)}):
                routes = [_stored(way) for way in row.routes]
                self._by_id[row.id] = Conversation(
                    row.id, row.customer_id, "", row.status, row.created_at, row.has_tickets, routes
                )
                self._of_customer[row.customer_id].append(row.id)

    def place(self, message: dict[str, Any], customer_id: UUID) -> Place | None:
        """Where it goes, and keep that for the rows after it; None: left to ``store_inbound_message``."""
        names = {
            (message["channel"], id_) for id_ in (*message["references"], message["provider_message_id"])
        }
        if customer_id in self._left or not self._left.isdisjoint(names) or not _is_plain(message):
            self._leave(customer_id, names)
            return None
        candidates = [
            (way, nearness, self._by_id[id_])
            for way, nearness, id_ in self._candidates(message, customer_id)
            if self._by_id[id_].customer_id == customer_id
        ]
        conversations = [conversation for _, _, conversation in candidates]
        if not all(map(_is_simple, conversations)):
            self._leave(customer_id, names)
            return None
        candidates = [entry for entry in candidates if _lets_in(entry[2], message)]
        if not candidates:
            place = self._open(message, customer_id)
        else:
            # Of several by the same way the newest.
            best = min(entry[:2] for entry in candidates)
            tied = [conversation for *way, conversation in candidates if tuple(way) == best]
            conversation = max(tied, key=lambda c: (c.created_at, c.id))
            if message["may_wake"] and (conversation.has_tickets or not conversation.is_open):
                self._leave(customer_id, names)
                return None
            place = Place(conversation, False, None)
        if not self._come_by(place.conversation, message):
            self._leave(customer_id, names)
            return None
        own = (message["channel"], message["account"], message["provider_message_id"])
        self._messages[own] = place.conversation.id
        return place

    def _leave(self, customer_id: UUID, names: Iterable[tuple[str, str]]) -> None:
        """No place for a row, nor for any later one that may have to do with it."""
        self._left.add(customer_id)
        self._left.update(names)

    def _candidates(self, message: dict[str, Any], customer_id: UUID) -> Iterable[tuple[int, int, UUID]]:
        channel, accounts, thread_id = message["channel"], message["accounts"], message["thread_id"]
        for nearness, id_ in enumerate(message["references"]):
            for account in accounts:
                if (channel, account, id_) in self._messages:
                    yield 1, nearness, self._messages[channel, account, id_]
        if thread_id is not None:
            for account in accounts:
                for conversation_id in self._threads.get((channel, account, thread_id), ()):
                    yield 2, 0, conversation_id
            return
        own = {(entry["type"], entry["value"]) for entry in message["identifiers"]}
        for conversation_id in self._of_customer.get(customer_id, ()):
            conversation = self._by_id[conversation_id]
            if conversation.is_open and any(
                route.channel == channel and route.account in accounts and (route.type, route.value) in own
                for route in conversation.routes
            ):
                yield 3, 0, conversation_id

    def _open(self, message: dict[str, Any], customer_id: UUID) -> Place:
        written_at = message["created_at"]
        conversation = Conversation(
            UUID(message["new_conversation_id"]),
            customer_id,
            message["channel"],
            ConversationStatus.ACTIVE,
            self.began if written_at is None else min(datetime.fromisoformat(written_at), self.began),
        )
        named = (
            self._messages.get((message["channel"], account, id_))
            for id_ in message["references"]
            for account in message["accounts"]
        )
        answers = next((id_ for id_ in named if id_ is not None), None)
        self.opened.append(conversation)
        self._by_id[conversation.id] = conversation
        self._of_customer[customer_id].append(conversation.id)
        return Place(conversation, True, answers)

    def _come_by(self, conversation: Conversation, message: dict[str, Any]) -> bool:
        """Add the routes that it came by, or date the one that it came by anew, where answers go there now.

        False: that is a stored one, which somebody else has to change.
        """
        channel, account, thread_id = message["channel"], message["account"], message["thread_id"]
        came_at = self._came_at(message)
        ways = [
            Route(
                channel,
                account,
                entry["type"],
                entry["value"],
                thread_id,
                message["group_id"],
                came_at - timedelta(microseconds=entry["rank"]),
                entry["address"],
                is_new=True,
            )
            for entry in message["identifiers"]
        ]
        added = [route for route in ways if not conversation.has_route(route.key)]
        if added:
            conversation.routes += added
            if thread_id is not None:
                ids = self._threads[channel, account, thread_id]
                ids += [] if conversation.id in ids else [conversation.id]
            return True
        (used,) = [route for route in conversation.routes if route.key == ways[0].key][-1:]
        # A message of an archive may be older than what was said since: answers go on to where they went.
        if used.used_at < came_at and any(route.used_at > used.used_at for route in conversation.routes):
            if not used.is_new:
                return False
            conversation.routes.remove(used)
            conversation.routes.append(used._replace(used_at=came_at))
        return True

    def _came_at(self, message: dict[str, Any]) -> datetime:
        """When it was written, or the next moment of a clock that goes on with each of its addresses."""
        self._ticks += len(message["identifiers"])
        now = self.clock + timedelta(microseconds=self._ticks)
        written_at = message["created_at"]
        return now if written_at is None else min(datetime.fromisoformat(written_at), now)

    def new_routes(self) -> Iterable[tuple[UUID, UUID, Route]]:
        """Id, conversation and route of each that the batch adds."""
        for conversation in self._by_id.values():
            for route in conversation.routes:
                if route.is_new:
                    yield uuid4(), conversation.id, route


def _stored(way: list[Any]) -> Route:
    channel, account, type_, value, thread_id, group_id, used_at = way
    return Route(channel, account, type_, value, thread_id, group_id, datetime.fromisoformat(used_at))


_UNREAD = Conversation(UUID(int=0), UUID(int=0), "", None, None)


def _sought(rows: Sequence[tuple[dict[str, Any], UUID]]) -> dict[str, Any]:
    messages = {
        (message["channel"], account, id_)
        for message, _ in rows
        for account in message["accounts"]
        for id_ in message["references"]
    }
    threads = {
        (message["channel"], account, message["thread_id"])
        for message, _ in rows
        if message["thread_id"] is not None
        for account in message["accounts"]
    }
    columns = [
        list(column)
        for names in (messages, threads)
        for column in (zip(*names, strict=True) if names else [()] * 3)
    ]
    without_thread = {customer_id for message, customer_id in rows if message["thread_id"] is None}
    return dict(zip(_TEXTS, columns, strict=True)) | {"customers": list(without_thread)}


def _is_plain(message: dict[str, Any]) -> bool:
    """Whether nothing about it needs the database's own clock or letters."""
    if message["idle_after"] is not None and message["thread_id"] is None:
        return False
    mailbox: str = message["mailbox"]
    return mailbox == message["canonical"] and mailbox.isascii()


def _is_simple(conversation: Conversation) -> bool:
    return conversation.created_at is not None and all(route.value.isascii() for route in conversation.routes)


def _lets_in(conversation: Conversation, message: dict[str, Any]) -> bool:
    """Neither into a group from outside, nor the other way; and no look-alike of its address."""
    return not any(
        route.group_id != message["group_id"]
        or (
            route.type == "email"
            and route.value != message["mailbox"]
            and route.value.lower() == message["canonical"]
        )
        for route in conversation.routes
    )
