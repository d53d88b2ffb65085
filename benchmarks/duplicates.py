"""How well, and how fast, ``find_duplicates`` finds the duplicates of a labelled base.

    python benchmarks/duplicates.py [--sizes 10000,100000] [--seed 2] [--database-url URL]

Generates customers, loads them with COPY into a database of its own, and prints precision, recall and time.
Some people are two or three customers (typing errors, names swapped, a new employer, a second address, a
number that another backend spelled its own way). Others only look so: families on one telephone, offices on
one mailbox, recycled numbers, namesakes, fathers and sons. The weights and the default threshold were chosen
on seed 1; the figures to quote are those of other seeds.
"""

from __future__ import annotations

import argparse
import random
import time
from contextlib import closing
from dataclasses import dataclass
from statistics import median
from uuid import UUID

from _people import World, load
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from app.database import make_engine
from app.services.duplicates import DEFAULT_MIN_SCORE, find_duplicates
from app.testing import Databases, provision

THRESHOLDS = (-4.0, -2.0, 0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0)


@dataclass(frozen=True)
class Figures:
    size: int
    pairs: int
    seconds: float
    seconds_of_one: float
    """The median of the search for one customer's."""
    found: list[tuple[float, bool]]

    def at(self, threshold: float) -> tuple[float, float, int]:
        """Precision, recall and the number of pairs that score at least the threshold."""
        offered = [same for score, same in self.found if score >= threshold]
        right = sum(offered)
        return (right / len(offered) if offered else 1.0), right / self.pairs, len(offered)


def measure(engine: Engine, size: int, seed: int) -> Figures:
    """Load a world of ``size`` customers into the empty database and search it."""
    world = World(seed, size)
    load(engine, world)
    same = world.same_people()
    with Session(engine) as session:
        since = time.perf_counter()
        candidates = find_duplicates(session, min_score=min(THRESHOLDS), limit=100_000)
        seconds = time.perf_counter() - since
        ones = [
            _seconds_of_one(session, account.id) for account in random.Random(seed).sample(world.accounts, 5)
        ]
    found = [
        (candidate.score, frozenset((candidate.a_id, candidate.b_id)) in same) for candidate in candidates
    ]
    return Figures(size, len(same), seconds, median(ones), found)


def _seconds_of_one(session: Session, customer_id: UUID) -> float:
    since = time.perf_counter()
    find_duplicates(session, customer_id=customer_id)
    return time.perf_counter() - since


def main() -> None:
    parser = argparse.ArgumentParser(description="Precision, recall and time of find_duplicates.")
    parser.add_argument("--sizes", default="10000,100000", help="numbers of customers")
    parser.add_argument("--seed", type=int, default=2)
    parser.add_argument("--database-url", help="a server on which a database may be created and dropped")
    options = parser.parse_args()
    with provision("auto", url=options.database_url) as url, closing(Databases(url)) as databases:
        for size in map(int, options.sizes.split(",")):
            database = databases.clone()
            engine = make_engine(database)
            report(measure(engine, size, options.seed))
            engine.dispose()
            databases.drop(database)


def report(figures: Figures) -> None:
    print(
        f"{figures.size:,} customers, {figures.pairs:,} pairs are one person: {figures.seconds:.1f} s; "
        f"one customer's: {figures.seconds_of_one:.2f} s"
    )
    print("  min_score   pairs  precision  recall")
    for threshold in THRESHOLDS:
        precision, recall, pairs = figures.at(threshold)
        mark = " (default)" if threshold == DEFAULT_MIN_SCORE else ""
        print(f"  {threshold:9.1f}  {pairs:6,}     {precision:6.3f}  {recall:6.3f}{mark}")


if __name__ == "__main__":
    main()
