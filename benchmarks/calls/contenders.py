"""Who is measured, and where the work is not quite the same."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from .handwritten import HandWritten
from .operations import Operation
from .ours import Ours, OursAsync
from .plain_orm import PlainORM
from .seed_way import SeedWay


class Client(Protocol):
    def method(self, operation: type[Operation]) -> Callable[[Any], Any]:
        """What does the operation: a function, or a coroutine function of an asynchronous contender."""

    def pids(self) -> list[int]:
        """The server's processes that work for a client that makes one call at a time."""

    def close(self) -> None: ...


@dataclass(frozen=True)
class Difference:
    """Where a contender does less, or something else, than ours."""

    note: str
    tables: frozenset[str] = frozenset()
    """Those in which it leaves other rows; all others are equal."""


@dataclass(frozen=True)
class Contender:
    key: str
    title: str
    connect: Callable[[str, asyncio.AbstractEventLoop, int], Sequence[Client]]
    """So many clients of the database at this URL, which may be one for all threads or tasks."""
    asynchronous: bool = False
    read_only: bool = False
    differs: Mapping[str, Difference] = field(default_factory=dict)
    """By the operation's work."""

    def does(self, operation: type[Operation]) -> bool:
        if operation.only_ours:
            return self.key == "ours"
        return not (self.read_only and operation.flights_read_only is None)


def _tables(*names: str) -> frozenset[str]:
    return frozenset(names)


_MERGE = Difference(
    "moves the rows and deletes the customer: no journal, no before-image, no redirect, no event: nothing "
    "can be undone and the old id leads nowhere; updated_at changes",
    _tables(
        "customer_merges",
        "customer_merge_moves",
        "customer_redirects",
        "identity_events",
        "change_feed",
        "conversations",
    ),
)
_NO_LOCK = Difference("takes no lock, so two callers can make two customers of one person")
_BY_CHANNEL = Difference(
    "finds the conversation by customer and channel, not by its route; locks nothing; raises where the "
    "message was stored before",
)
_NO_OUTBOX = Difference("puts nothing into the outbox", _tables("outbox"))
_NO_REDIRECT = Difference("an absorbed customer's id finds nothing; entities or whole rows, no cursor")
_PERSON = Difference("an address that only a profile names is not found; email only")

HAND_WRITTEN = {
    "find": Difference("an address is canonical once it is stripped and in lower case; email only"),
    "resolve_known": Difference("reads what a decision needs, and decides nothing; email only"),
    "resolve_new": Difference("raises where somebody has the address; email only"),
    "ingest_known": Difference(
        "one statement for a sender with an active conversation whose ticket is not to be woken; anything "
        "else writes nothing and would need the long way; decides nothing",
    ),
    "ingest_new": Difference("raises where somebody has the address or the message was stored before"),
    "reply": Difference("automatic answers are not counted"),
    "change_status": Difference("an illegal step is refused by the trigger alone"),
    "assign": Difference("a ticket that is the assignee's already is written again"),
    "search": Difference(
        "knows no filters, no models and no short pages; ef_search is set for the connection"
    ),
    "merge": Difference("refuses where a profile would have to be filled; the fingerprint is not read"),
}
_OTHERS = {
    "find": _PERSON,
    "resolve_new": _NO_LOCK,
    "ingest_known": _BY_CHANNEL,
    "ingest_new": _BY_CHANNEL,
    "reply": _NO_OUTBOX,
    "open_ticket": Difference("does not check whose conversation it is; an absorbed id is refused"),
    "history": _NO_REDIRECT,
    "channel_metrics": Difference("channels without a measurement are left out"),
    "lifecycle": Difference("the entries are added up in Python; automatic answers count as responses"),
}
SEED_WAY = _OTHERS | {
    "search": Difference(
        "compares the 40 candidates that pgvector looks at by default, and not as many as ours: fewer of the "
        "true nearest are found; no filters, no models"
    ),
    "merge": _MERGE,
}
PLAIN_ORM = _OTHERS | {
    "search": Difference(
        "no filters, no models and no short pages; ef_search is set for the connection, so that it finds as "
        "much as ours: with pgvector's default of 40 it would be quicker and find less"
    ),
    "merge": Difference(
        "locks in no order, so two merges of a pair can meet in a deadlock; fills no profile; knows no "
        "tables of other applications"
    ),
}

CONTENDERS = (
    Contender("ours", "ours", lambda url, _, clients: [Ours(url, clients)] * clients),
    Contender(
        "ours_async",
        "ours, async",
        lambda url, loop, clients: [OursAsync(url, loop, clients)] * clients,
        asynchronous=True,
    ),
    Contender(
        "ours_read_only",
        "ours, read-only engine",
        lambda url, _, clients: [Ours(url, clients, read_only=True)] * clients,
        read_only=True,
    ),
    Contender(
        "handwritten",
        "psycopg by hand",
        lambda url, _, clients: [HandWritten(url) for _ in range(clients)],
        differs=HAND_WRITTEN,
    ),
    Contender(
        "seed_way",
        "the seed's way (asyncpg)",
        lambda url, loop, clients: [SeedWay(url, loop) for _ in range(clients)],
        asynchronous=True,
        differs=SEED_WAY,
    ),
    Contender(
        "plain_orm",
        "plain ORM",
        lambda url, _, clients: [PlainORM(url, clients)] * clients,
        differs=PLAIN_ORM,
    ),
)
BY_KEY = {contender.key: contender for contender in CONTENDERS}
