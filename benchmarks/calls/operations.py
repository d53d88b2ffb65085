"""What is called: one class per operation, whose instances hold what one call needs."""

from __future__ import annotations

import hashlib
import random
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count, cycle
from typing import Any, ClassVar, Self
from uuid import UUID

from _articles import Vectors

from .base import ACCOUNT, AGENTS, Base, email

ARTICLES_SEED = 5


@dataclass(frozen=True)
class Operation:
    """``work`` names the contenders' method. ``flights`` is what a call of ours may take at most."""

    key: ClassVar[str]
    work: ClassVar[str]
    title: ClassVar[str]
    writes: ClassVar[bool] = False
    flights: ClassVar[int | None] = None
    flights_read_only: ClassVar[int | None] = None
    faster_than_seed: ClassVar[bool] = False
    """One millisecond a flight, it is to be faster than the seed's way."""
    share: ClassVar[float] = 1
    """Of the usual number of measured calls; what takes long is called less often."""
    turns: ClassVar[int] = 1
    """In which calls a second are counted: more where a bar is about them."""
    only_ours: ClassVar[bool] = False
    """Nobody else does it."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "key" in vars(cls) and "work" not in vars(cls):
            cls.work = cls.key

    @classmethod
    def calls(cls, base: Base, seed: int) -> Iterator[Self]:
        """Calls without end, that many contenders can take from."""
        raise NotImplementedError


@dataclass(frozen=True)
class Read(Operation):
    flights: ClassVar[int | None] = 3
    flights_read_only: ClassVar[int | None] = 2


@dataclass(frozen=True)
class SelectOne(Read):
    key: ClassVar[str] = "select_one"
    title: ClassVar[str] = "SELECT 1"

    @classmethod
    def calls(cls, base: Base, seed: int) -> Iterator[Self]:  # noqa: ARG003
        return iter(cls, None)


@dataclass(frozen=True)
class Find(Read):
    key: ClassVar[str] = "find"
    title: ClassVar[str] = "find a customer"
    address: str

    @classmethod
    def calls(cls, base: Base, seed: int) -> Iterator[Self]:
        draw = random.Random(seed)
        while True:
            yield cls(email(draw.randrange(base.customers)))


@dataclass(frozen=True)
class ResolveKnown(Find):
    key: ClassVar[str] = "resolve_known"
    title: ClassVar[str] = "resolve a known sender"
    flights_read_only: ClassVar[int | None] = None


@dataclass(frozen=True)
class ResolveNew(Operation):
    key: ClassVar[str] = "resolve_new"
    title: ClassVar[str] = "resolve a new person"
    writes: ClassVar[bool] = True
    flights: ClassVar[int | None] = 5
    faster_than_seed: ClassVar[bool] = True
    address: str
    name: str = "Ada Example"

    @classmethod
    def calls(cls, base: Base, seed: int) -> Iterator[Self]:  # noqa: ARG003
        run = secrets.token_hex(4)
        return (cls(f"new{run}-{number}@example.com") for number in count())


@dataclass(frozen=True)
class Ingest(Operation):
    writes: ClassVar[bool] = True
    faster_than_seed: ClassVar[bool] = True
    address: str
    provider_message_id: str
    subject: str = "Cannot sign in"
    content: str = "The link in your message has expired, and the new one does not arrive. What can I do?"

    def facts(self) -> dict[str, Any]:
        """The metadata, for whoever writes it by hand; the fingerprint tells mails with one id apart."""
        parts = [self.provider_message_id.strip("<>"), self.address.strip(), "", self.content]
        return {
            "account": ACCOUNT,
            "provider_message_id": self.provider_message_id,
            "subject": self.subject,
            "fingerprint": hashlib.sha256("\0".join(parts).encode()).hexdigest(),
            "assurance": "verified",
        } | self.decision()

    def decision(self) -> dict[str, Any]:
        """Who was taken for the writer."""
        raise NotImplementedError


@dataclass(frozen=True)
class IngestKnown(Ingest):
    """The sender is known, has an active conversation, and its ticket is open."""

    key: ClassVar[str] = "ingest_known"
    title: ClassVar[str] = "ingest, known sender"
    flights: ClassVar[int | None] = 4
    turns: ClassVar[int] = 5

    @classmethod
    def calls(cls, base: Base, seed: int) -> Iterator[Self]:
        draw, run = random.Random(seed), secrets.token_hex(4)
        writers = [base.writer(number) for number in base.active_by_email(with_ticket=True)]
        for number in count():
            yield cls(email(draw.choice(writers)), f"{run}.{number}@mail.example")

    def decision(self) -> dict[str, Any]:
        matched_by = {"type": "email", "value": self.address.strip().lower(), "verified": True}
        return {"outcome": "matched", "matched_by": matched_by}


@dataclass(frozen=True)
class IngestNew(Ingest):
    key: ClassVar[str] = "ingest_new"
    title: ClassVar[str] = "ingest, new person"
    flights: ClassVar[int | None] = 7

    @classmethod
    def calls(cls, base: Base, seed: int) -> Iterator[Self]:  # noqa: ARG003
        run = secrets.token_hex(4)
        return (cls(f"writer{run}-{n}@example.com", f"{run}.{n}@mail.example") for n in count())

    def decision(self) -> dict[str, Any]:
        return {"outcome": "created"}


@dataclass(frozen=True)
class OpenTicket(Operation):
    key: ClassVar[str] = "open_ticket"
    title: ClassVar[str] = "open a ticket"
    writes: ClassVar[bool] = True
    flights: ClassVar[int | None] = 3
    faster_than_seed: ClassVar[bool] = True
    customer_id: UUID
    conversation_id: UUID
    subject: str = "Cannot sign in"
    actor: str = "ai:support-agent"

    @classmethod
    def calls(cls, base: Base, seed: int) -> Iterator[Self]:
        draw = random.Random(seed)
        conversations = base.active_by_email(with_ticket=False)
        while True:
            number = draw.choice(conversations)
            yield cls(base.customer_id(base.writer(number)), base.conversation_id(number))


@dataclass(frozen=True)
class ChangeStatus(Operation):
    """Back and forth between open and processing: every call is a change."""

    key: ClassVar[str] = "change_status"
    title: ClassVar[str] = "change a ticket's status"
    writes: ClassVar[bool] = True
    flights: ClassVar[int | None] = 3
    faster_than_seed: ClassVar[bool] = True
    ticket_id: UUID
    status: str
    actor: str = "human:7"
    comment: str = "looked at"

    @classmethod
    def calls(cls, base: Base, seed: int) -> Iterator[Self]:  # noqa: ARG003
        tickets = _open_tickets(base)[1::2]
        for status in cycle(("processing", "open")):
            yield from (cls(ticket, status) for ticket in tickets)


@dataclass(frozen=True)
class Assign(Operation):
    key: ClassVar[str] = "assign"
    title: ClassVar[str] = "assign a ticket"
    writes: ClassVar[bool] = True
    flights: ClassVar[int | None] = 3
    faster_than_seed: ClassVar[bool] = True
    ticket_id: UUID
    assignee: str
    actor: str = "human:7"

    @classmethod
    def calls(cls, base: Base, seed: int) -> Iterator[Self]:  # noqa: ARG003
        tickets = _open_tickets(base)[::2]
        for agent in count(AGENTS):
            yield from (cls(ticket, f"human:{agent}") for ticket in tickets)


@dataclass(frozen=True)
class Reply(Operation):
    key: ClassVar[str] = "reply"
    title: ClassVar[str] = "reply"
    writes: ClassVar[bool] = True
    flights: ClassVar[int | None] = 3
    faster_than_seed: ClassVar[bool] = True
    conversation_id: UUID
    content: str = "Open Settings, press Reset, and follow the link in the message that arrives."

    @classmethod
    def calls(cls, base: Base, seed: int) -> Iterator[Self]:
        draw = random.Random(seed)
        conversations = base.active_by_email(with_ticket=False)
        while True:
            yield cls(base.conversation_id(draw.choice(conversations)))


@dataclass(frozen=True)
class History(Read):
    key: ClassVar[str] = "history"
    title: ClassVar[str] = "history, a page of 50"
    customer_id: UUID
    limit: int = 50

    @classmethod
    def calls(cls, base: Base, seed: int) -> Iterator[Self]:
        draw = random.Random(seed)
        while True:
            yield cls(base.customer_id(draw.randrange(base.frequent)))


@dataclass(frozen=True)
class ChannelMetrics(Read):
    key: ClassVar[str] = "channel_metrics"
    title: ClassVar[str] = "channel metrics, 24 hours"

    @classmethod
    def calls(cls, base: Base, seed: int) -> Iterator[Self]:  # noqa: ARG003
        return iter(cls, None)


@dataclass(frozen=True)
class Record(Operation):
    key: ClassVar[str] = "record"
    title: ClassVar[str] = "record a measurement"
    writes: ClassVar[bool] = True
    value: float

    @classmethod
    def calls(cls, base: Base, seed: int) -> Iterator[Self]:  # noqa: ARG003
        draw = random.Random(seed)
        return iter(lambda: cls(draw.uniform(100, 5000)), None)


@dataclass(frozen=True)
class ListTickets(Read):
    key: ClassVar[str] = "list_tickets"
    title: ClassVar[str] = "list an agent's open tickets"
    assignee: str
    limit: int = 20

    @classmethod
    def calls(cls, base: Base, seed: int) -> Iterator[Self]:  # noqa: ARG003
        draw = random.Random(seed)
        while True:
            yield cls(f"human:{draw.randrange(AGENTS)}")


@dataclass(frozen=True)
class Lifecycle(Read):
    key: ClassVar[str] = "lifecycle"
    title: ClassVar[str] = "a ticket's lifecycle"
    ticket_id: UUID

    @classmethod
    def calls(cls, base: Base, seed: int) -> Iterator[Self]:
        draw, tickets = random.Random(seed), base.with_long_record()
        while True:
            yield cls(base.ticket_id(draw.choice(tickets)))


@dataclass(frozen=True)
class Search(Read):
    key: ClassVar[str] = "search_2000"
    work: ClassVar[str] = "search"
    title: ClassVar[str] = "search 2,000 articles"
    share: ClassVar[float] = 0.5
    articles: ClassVar[int] = 2_000
    query: Sequence[float]
    limit: int = 5

    @classmethod
    def calls(cls, base: Base, seed: int) -> Iterator[Self]:  # noqa: ARG003
        vectors = Vectors(ARTICLES_SEED)  # the articles' aspects, other vectors
        vectors.random.seed(seed)
        return iter(lambda: cls(vectors.draw()), None)


@dataclass(frozen=True)
class SearchMany(Search):
    key: ClassVar[str] = "search_20000"
    work: ClassVar[str] = "search"
    title: ClassVar[str] = "search 20,000 articles"
    articles: ClassVar[int] = 20_000


@dataclass(frozen=True)
class Merge(Operation):
    """Each contender merges customers of its own: see ``merging_calls``."""

    key: ClassVar[str] = "merge_10"
    work: ClassVar[str] = "merge"
    title: ClassVar[str] = "merge, 10 messages"
    writes: ClassVar[bool] = True
    flights: ClassVar[int | None] = 7
    share: ClassVar[float] = 0.2
    messages: ClassVar[int] = 10
    survivor_id: UUID
    absorbed_id: UUID
    actor: str = "human:7"
    reason: str = "the same person"


@dataclass(frozen=True)
class MergeMany(Merge):
    key: ClassVar[str] = "merge_1000"
    work: ClassVar[str] = "merge"
    title: ClassVar[str] = "merge, 1,000 messages"
    share: ClassVar[float] = 0.05
    messages: ClassVar[int] = 1_000


@dataclass(frozen=True)
class MergeMost(Merge):
    key: ClassVar[str] = "merge_100000"
    work: ClassVar[str] = "merge"
    title: ClassVar[str] = "merge, 100,000 messages"
    share: ClassVar[float] = 0.015
    messages: ClassVar[int] = 100_000


def merging_calls(operation: type[Merge], add: Callable[[int], UUID], chain: int = 8) -> Iterator[Merge]:
    """Merges of a customer with so many messages: what one merge has moved, the next one moves on.

    After ``chain`` merges it begins with a new one, so that redirects and identifiers do not pile up.
    """
    while True:
        absorbed = add(operation.messages)
        for _ in range(chain):
            survivor = add(0)
            yield operation(survivor, absorbed)
            absorbed = survivor


def _open_tickets(base: Base) -> list[UUID]:
    return [base.ticket_id(number) for number in base.active_by_email(with_ticket=True)]


EVERYDAY: tuple[type[Operation], ...] = (
    SelectOne, Find, ResolveKnown, ResolveNew, IngestKnown, IngestNew, OpenTicket, ChangeStatus, Assign,
    Reply, History, ChannelMetrics, Record, ListTickets, Lifecycle, Search,
)  # fmt: skip
MERGES: tuple[type[Merge], ...] = (Merge, MergeMany, MergeMost)
