"""Takes the figures of calls: all contenders in one run, in random order, one call at a time."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from statistics import mean, median
from typing import Any
from uuid import UUID

from .base import Base
from .contenders import Client, Contender
from .operations import Merge, Operation, SelectOne, merging_calls
from .wire import Proxy

WARM_UP = 8
"""Calls before the first one that counts: caches are filled, and drivers prepare from the fifth use on."""
_WARMED = 0.1
"""What has a smaller share takes so long that caches make no difference."""

Key = tuple[str, str]
"""An operation's key and a contender's."""


@dataclass
class Figures:
    """Of all calls of one operation by one contender; times are in seconds."""

    seconds: list[float] = field(default_factory=list)
    client: list[float] = field(default_factory=list)
    server: list[float] = field(default_factory=list)
    flights: list[int] = field(default_factory=list)

    def summary(self) -> dict[str, Any]:
        """In milliseconds; ``flights`` only where every call took as many."""
        ranked = sorted(self.seconds)
        figures: dict[str, Any] = {
            "calls": len(ranked),
            "median_ms": round(median(ranked) * 1000, 4),
            "p95_ms": round(percentile(ranked, 0.95) * 1000, 4),
            "p99_ms": round(percentile(ranked, 0.99) * 1000, 4),
            "client_cpu_ms": round(mean(self.client) * 1000, 4),
        }
        if self.server:
            figures["server_cpu_ms"] = round(mean(self.server) * 1000, 4)
        if self.flights:
            figures["flights"] = usual = median(self.flights)
            # A connection that was idle for seconds is checked first: one flight more, now and then.
            others = sum(flights != usual for flights in self.flights)
            figures["flights_vary"] = others > len(self.flights) // 5
        return figures


def percentile(ranked: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of all does not exceed."""
    return ranked[max(0, math.ceil(len(ranked) * share) - 1)]


class Supply:
    """Calls to make, drawn before the clock starts; merges of each contender's own customers."""

    def __init__(self, base: Base, seed: int, add: Callable[[int], UUID] | None = None) -> None:
        self._base = base
        self._seed = seed
        self._add = add
        self._calls: dict[tuple[str, ...], Iterator[Any]] = {}

    def next(self, operation: type[Operation], contender: Contender) -> Any:
        key = (operation.key, contender.key) if issubclass(operation, Merge) else (operation.key,)
        if key not in self._calls:
            self._calls[key] = self._iterator(operation)
        return next(self._calls[key])

    def _iterator(self, operation: type[Operation]) -> Iterator[Any]:
        if not issubclass(operation, Merge):
            return operation.calls(self._base, self._seed)
        if self._add is None:
            raise ValueError("nobody adds customers to be merged")
        return merging_calls(operation, self._add)


class ServerClock:
    """How long the server's processes of one client have run, where this machine's kernel tells."""

    def __init__(self, pids: Iterable[int]) -> None:
        self._paths = [Path(f"/proc/{pid}/schedstat") for pid in pids]
        self.works = all(path.exists() and _is_server(path.parent) for path in self._paths)

    def read(self) -> float:
        return sum(int(path.read_text().split()[0]) for path in self._paths) / 1e9


def _is_server(process: Path) -> bool:
    return (process / "comm").read_text().strip() == "postgres"


@dataclass
class _Turn:
    """One contender at work, with the reading of the server's clock before its last call."""

    url: str
    contender: Contender
    client: Client
    methods: Mapping[str, Callable[[Any], Any]]
    clock: ServerClock
    last: tuple[Figures, float] | None = None

    def settle(self) -> None:
        """Give the last call the server's time since: the server is at work beyond its answer, too."""
        if self.last is not None:
            figures, before = self.last
            figures.server.append(self.clock.read() - before)
            self.last = None

    def call(
        self,
        operation: type[Operation],
        call: Any,
        loop: asyncio.AbstractEventLoop,
        figures: Figures,
        *,
        wire: Proxy | None = None,
    ) -> None:
        method = self.methods[operation.key]
        reading = self.clock.read() if self.clock.works else None
        flown = wire.flights if wire else 0
        if self.contender.asynchronous:
            seconds, client = loop.run_until_complete(_timed_async(method, call))
        else:
            seconds, client = _timed(method, call)
        figures.seconds.append(seconds)
        figures.client.append(client)
        if wire:
            figures.flights.append(wire.flights - flown)
        if reading is not None:
            self.last = figures, reading


def measure(
    url: str,
    operations: Sequence[type[Operation]],
    contenders: Sequence[Contender],
    supply: Supply,
    *,
    calls: int,
    warm_up: int = WARM_UP,
    seed: int = 1,
    wire: Proxy | None = None,
    before: Callable[[type[Operation]], None] = lambda _: None,
) -> dict[Key, Figures]:
    """Make each operation's share of so many calls by each contender, all of them shuffled.

    With ``wire``, through which ``url`` leads, flights are counted. ``before`` runs before each call that
    counts and takes none of its time.
    """
    (figures,) = measure_together(
        {url: supply},
        operations,
        contenders,
        calls=calls,
        warm_up=warm_up,
        seed=seed,
        wire=wire,
        before=before,
    ).values()
    return figures


def measure_together(
    bases: Mapping[str, Supply],
    operations: Sequence[type[Operation]],
    contenders: Sequence[Contender],
    *,
    calls: int,
    warm_up: int = WARM_UP,
    seed: int = 1,
    wire: Proxy | None = None,
    before: Callable[[type[Operation]], None] = lambda _: None,
) -> dict[str, dict[Key, Figures]]:
    """The same on several databases, by their URLs: the calls of all of them are shuffled together."""
    loop = asyncio.new_event_loop()
    with ExitStack() as stack:
        stack.callback(loop.close)
        turns = []
        for url, contender in product(bases, contenders):
            (client,) = contender.connect(url, loop, 1)
            stack.callback(client.close)
            methods = {o.key: client.method(o) for o in (SelectOne, *operations) if contender.does(o)}
            turns.append(_Turn(url, contender, client, methods, ServerClock(client.pids())))
        plan = [
            (turn, operation) for turn in turns for operation in operations if operation.key in turn.methods
        ]
        for turn, operation in plan:
            for _ in range(warm_up if operation.share >= _WARMED else 1):
                turn.call(operation, bases[turn.url].next(operation, turn.contender), loop, Figures())
        figures: dict[str, dict[Key, Figures]] = {url: {} for url in bases}
        for turn, operation in plan:
            figures[turn.url][operation.key, turn.contender.key] = Figures()
        order = [pair for pair in plan for _ in range(max(1, round(calls * pair[1].share)))]
        random.Random(seed).shuffle(order)
        for turn, operation in order:
            call = bases[turn.url].next(operation, turn.contender)
            before(operation)
            if operation.share < _WARMED:
                # After so long the pool would check the connection first: a flight that others do not cost.
                turn.call(SelectOne, bases[turn.url].next(SelectOne, turn.contender), loop, Figures())
            turn.settle()
            some = figures[turn.url][operation.key, turn.contender.key]
            turn.call(operation, call, loop, some, wire=wire)
        for turn in turns:
            turn.settle()
    return figures


def _timed(method: Callable[[Any], Any], call: Any) -> tuple[float, float]:
    since, ran = time.perf_counter(), time.thread_time()
    method(call)
    return time.perf_counter() - since, time.thread_time() - ran


async def _timed_async(method: Callable[[Any], Any], call: Any) -> tuple[float, float]:
    """Inside of the loop: it runs already where such a call is made."""
    since, ran = time.perf_counter(), time.thread_time()
    await method(call)
    return time.perf_counter() - since, time.thread_time() - ran
