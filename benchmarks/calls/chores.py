"""What is measured as the base grows, and by nobody but us: lists, and what workers do all day."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Self
from uuid import UUID

from .base import Base
from .operations import History, Operation


@dataclass(frozen=True)
class Chore(Operation):
    only_ours: ClassVar[bool] = True

    @classmethod
    def calls(cls, base: Base, seed: int) -> Iterator[Self]:  # noqa: ARG003
        return iter(cls, None)


@dataclass(frozen=True)
class Timeline(History):
    key: ClassVar[str] = "timeline"
    title: ClassVar[str] = "timeline, a page of 50"
    only_ours: ClassVar[bool] = True


@dataclass(frozen=True)
class AwaitingUs(Chore):
    key: ClassVar[str] = "awaiting_us"
    work: ClassVar[str] = "awaiting"
    title: ClassVar[str] = "list conversations awaiting us"
    share: ClassVar[float] = 0.015
    awaiting: ClassVar[str] = "us"
    limit: int = 50


@dataclass(frozen=True)
class AwaitingCustomer(AwaitingUs):
    key: ClassVar[str] = "awaiting_customer"
    work: ClassVar[str] = "awaiting"
    title: ClassVar[str] = "list conversations awaiting the customer"
    awaiting: ClassVar[str] = "customer"


@dataclass(frozen=True)
class TicketsOfMany(Chore):
    key: ClassVar[str] = "list_closed_tickets"
    title: ClassVar[str] = "list closed billing tickets"
    limit: int = 20


@dataclass(frozen=True)
class DueForClosing(Chore):
    key: ClassVar[str] = "due_for_closing"
    title: ClassVar[str] = "list tickets due for closing"
    share: ClassVar[float] = 0.5
    limit: int = 20


@dataclass(frozen=True)
class CloseStale(DueForClosing):
    key: ClassVar[str] = "close_stale"
    title: ClassVar[str] = "close ten stale tickets"
    share: ClassVar[float] = 0.2
    writes: ClassVar[bool] = True
    limit: int = 10


@dataclass(frozen=True)
class Regressions(Chore):
    key: ClassVar[str] = "regressions"
    title: ClassVar[str] = "regressions"
    share: ClassVar[float] = 0.5
    limit: int = 20


@dataclass(frozen=True)
class Duplicates(Chore):
    key: ClassVar[str] = "find_duplicates"
    title: ClassVar[str] = "find one customer's duplicates"
    share: ClassVar[float] = 0.005
    customer_id: UUID

    @classmethod
    def calls(cls, base: Base, seed: int) -> Iterator[Self]:
        draw = random.Random(seed)
        while True:
            yield cls(base.customer_id(draw.randrange(base.customers)))


@dataclass(frozen=True)
class Poll(Chore):
    """While nothing waits to be embedded."""

    key: ClassVar[str] = "poll"
    title: ClassVar[str] = "an idle worker's poll"
    share: ClassVar[float] = 0.5


CHORES: tuple[type[Operation], ...] = (
    Timeline, AwaitingUs, AwaitingCustomer, TicketsOfMany, DueForClosing, CloseStale, Regressions, Duplicates,
)  # fmt: skip
