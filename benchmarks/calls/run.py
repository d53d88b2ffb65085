"""One run of everything: databases are filled, all contenders measured, and what came of it is one object."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from statistics import median
from typing import Any

from _articles import Vectors, connect, load
from sqlalchemy import URL

from app.database import normalize_url
from app.testing import Databases

from . import throughput
from .base import Base
from .contenders import CONTENDERS
from .fill import add_to_merge, fill
from .machine import describe, load_average
from .measure import Figures, Key, Supply, measure
from .operations import (
    ARTICLES_SEED,
    EVERYDAY,
    MERGES,
    History,
    IngestKnown,
    Merge,
    Operation,
    Search,
    SearchMany,
    SelectOne,
)
from .startup import startup
from .wire import Proxy, proxy

DELAY = 0.001
"""Seconds that a flight takes longer in the second half of the run."""


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    messages: int = 100_000
    calls: int = 200
    delayed_calls: int = 40
    seconds: float = 0.2
    """For which clients call as often as they can, for each number of clients."""
    clients: Sequence[int] = throughput.CLIENTS
    crowded: Sequence[type[Operation]] = (*EVERYDAY, SearchMany)
    """Operations with several clients."""
    most_turns: int = 5
    merges: Sequence[type[Merge]] = MERGES
    many_articles: bool = True
    words: int = 80
    rounds: int = 7
    """Starts of each command."""
    seed: int = 1


QUICK = Plan(
    messages=10_000,
    calls=10,
    delayed_calls=5,
    seconds=0.05,
    clients=(1, 4),
    crowded=(IngestKnown, History),
    most_turns=2,
    merges=MERGES[:1],
    many_articles=False,
    rounds=1,
)
"""Too little for figures, enough to see that everything works: about half a minute."""


@contextmanager
def delayed(url: str, delay: float = DELAY) -> Iterator[tuple[str, Proxy]]:
    """The same database through a proxy that counts and delays flights."""
    address = normalize_url(url)
    host, port = _place(address)
    with proxy(host, port, delay=delay) as wire:
        through = address.set(host=None, port=None).difference_update_query(["host", "port"])
        through = through.update_query_dict({"host": str(wire.folder), "port": "5432"})
        yield through.render_as_string(hide_password=False), wire


def _place(address: URL) -> tuple[str, int]:
    host = address.host or str(address.query.get("host", "localhost"))
    return host, address.port or int(str(address.query.get("port", 5432)))


def run(databases: Databases, plan: Plan) -> dict[str, Any]:
    """Measure everything on databases of its own, which are dropped; see ``report`` for what is returned."""
    busy = load_average()
    base = Base(plan.messages)
    desk = databases.clone()
    rows: list[dict[str, Any]] = []
    try:
        with timed(f"a base of {plan.messages:,} messages"):
            fill(desk, base, seed=plan.seed)
            load(desk, Vectors(ARTICLES_SEED), Search.articles, plan.words)
        rows += _group(desk, base, EVERYDAY, plan)
        if plan.merges:
            rows += _merges(desk, base, plan)
        with timed("starts"):
            starts = startup(desk, rounds=plan.rounds, seed=plan.seed)
        about = describe(desk)
    finally:
        databases.drop(desk)
    if plan.many_articles:
        library = databases.clone()
        try:
            with timed(f"{SearchMany.articles:,} articles"):
                load(library, Vectors(ARTICLES_SEED), SearchMany.articles, plan.words)
            rows += _group(library, base, (SelectOne, SearchMany), plan)
        finally:
            databases.drop(library)
    return about | {
        "load": busy,
        "messages": plan.messages,
        "delay_ms": DELAY * 1000,
        "calls": plan.calls,
        "seed": plan.seed,
        "rows": rows,
        "starts": starts,
    }


def _group(url: str, base: Base, operations: Sequence[type[Operation]], plan: Plan) -> list[dict[str, Any]]:
    supply = Supply(base, plan.seed)
    with timed("calls"):
        direct = measure(url, operations, CONTENDERS, supply, calls=plan.calls, seed=plan.seed)
    with delayed(url) as (through, wire):
        with timed("calls with a delay"):
            slow = measure(
                through,
                operations,
                CONTENDERS,
                supply,
                calls=plan.delayed_calls,
                seed=plan.seed,
                wire=wire,
            )
        crowded = [operation for operation in operations if operation in plan.crowded]
        with timed("calls a second"):
            rates = _rates(url, crowded, supply, plan)
        with timed("calls a second with a delay"):
            slow_rates = _rates(through, crowded, supply, plan)
    return _rows(operations, direct, slow, rates, slow_rates)


def _merges(url: str, base: Base, plan: Plan) -> list[dict[str, Any]]:
    operations = (SelectOne, *plan.merges)
    with connect(url) as side:
        supply = Supply(base, plan.seed, lambda messages: add_to_merge(side, messages))

        def clean(operation: type[Operation]) -> None:
            if issubclass(operation, Merge) and operation.messages >= 1_000:
                side.execute("VACUUM messages, conversations, customer_merge_moves")

        with timed("merges"):
            direct = measure(
                url, operations, CONTENDERS, supply, calls=plan.calls, seed=plan.seed, before=clean
            )
        with delayed(url) as (through, wire), timed("merges with a delay"):
            slow = measure(
                through,
                operations,
                CONTENDERS,
                supply,
                calls=plan.delayed_calls,
                seed=plan.seed,
                wire=wire,
                before=clean,
            )
    return _rows(operations, direct, slow, {}, {})


def _rates(
    url: str, operations: Sequence[type[Operation]], supply: Supply, plan: Plan
) -> dict[Key, dict[str, float]]:
    """The median of an operation's turns, which the contenders take one after the other."""
    rates: dict[Key, dict[str, float]] = {}
    for operation, clients in product(operations, plan.clients):
        contenders = [contender for contender in CONTENDERS if contender.does(operation)]
        turns: dict[str, list[float]] = {contender.key: [] for contender in contenders}
        for contender in contenders * min(operation.turns, plan.most_turns):
            rate = throughput.calls_per_second(
                url, operation, contender, supply, clients=clients, seconds=plan.seconds
            )
            turns[contender.key].append(rate)
        for key, several in turns.items():
            rates.setdefault((operation.key, key), {})[str(clients)] = round(median(several), 1)
    return rates


def _rows(
    operations: Sequence[type[Operation]],
    direct: Mapping[Key, Figures],
    slow: Mapping[Key, Figures],
    rates: Mapping[Key, Mapping[str, float]],
    slow_rates: Mapping[Key, Mapping[str, float]],
) -> list[dict[str, Any]]:
    """One for each operation and contender; ``beyond_ms`` is the median less that of SELECT 1 beside it."""
    rows = []
    for (operation_key, contender_key), figures in direct.items():
        (operation,) = (o for o in operations if o.key == operation_key)
        key = operation_key, contender_key
        summary = figures.summary()
        base = direct[SelectOne.key, contender_key].summary()["median_ms"]
        rows.append(
            {"operation": operation_key, "title": operation.title, "contender": contender_key}
            | summary
            | {"beyond_ms": round(summary["median_ms"] - base, 4)}
            | {"delayed": slow[key].summary()}
            | {"per_second": rates.get(key, {}), "delayed_per_second": slow_rates.get(key, {})}
        )
    return rows


@contextmanager
def timed(what: str) -> Iterator[None]:
    """Tell on the error output how far the run is, and how long that took."""
    since = time.perf_counter()
    yield
    print(f"  {what}: {time.perf_counter() - since:.0f} s", file=sys.stderr, flush=True)
