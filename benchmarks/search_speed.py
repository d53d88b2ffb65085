"""How fast ``search_knowledge`` is, beside psycopg by hand and other vector stores, and how right.

    python benchmarks/search_speed.py [--rows 20000,100000] [--words N] [--ef-search N] [--quick] [--no-peers]

Loads articles of 1536 dimensions into a database of its own and asks every contender the same queries for ten
articles, in turns, so that whatever disturbs the machine disturbs all of them alike. Prints the median, the
95th percentile, the share of the true ten nearest that were found (an exact search tells them), the ratio to
psycopg by hand, and what the server read. Then the same in one category, from half of all articles to one in
two thousand, without psycopg, by whose hand each would be another statement.

The first run installs langchain-postgres, vecs and LlamaIndex's PGVectorStore into environments of their own
in the user's cache folder. "tuned" is the peer on a server with the settings of our revision 0011: whether
the planner takes a peer's index otherwise depends on how large its table is beside it, which ``--words``, the
length of an article, decides. All look at as many candidates as ours; with ``--ef-search`` the others look
at so many (pgvector's default is 40). ``--quick`` is 2,000 articles and 50 queries; with ``--no-peers`` it
takes less than a minute.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from statistics import median, quantiles

import _peers
from _articles import LIMIT, SHARES, Vectors, candidates, connect, exact_answers, load
from _contenders import Contender, Filtering, Found, Ours, Raw
from _server import roomy_server

from app.testing import Databases, provision

WARM_UP = 10


@dataclass(frozen=True)
class Task:
    rows: int
    words: int
    queries: int
    ef_search: int
    seed: int
    peers: bool


@dataclass
class Figures:
    name: str
    path: str = ""
    seconds: list[float] = field(default_factory=list)
    recalls: list[float] = field(default_factory=list)
    fewest: int = LIMIT

    def add(self, found: Found, nearest: set[str]) -> None:
        self.seconds.append(found.seconds)
        self.recalls.append(len(nearest.intersection(found.ids)) / len(nearest))
        self.fewest = min(self.fewest, len(found.ids))

    @property
    def median(self) -> float:
        return median(self.seconds) * 1000

    @property
    def p95(self) -> float:
        return quantiles(self.seconds, n=20)[-1] * 1000

    @property
    def recall(self) -> float:
        return sum(self.recalls) / len(self.recalls)


def turns(contenders: int, queries: int) -> Iterator[list[tuple[int, int]]]:
    """Rounds of (contender, query): each asks every query once, all of one round ask different ones.

    So nobody finds the pages that the query needs fresh in the server's memory because somebody else has just
    asked it, and nobody is always the first.
    """
    apart = max(1, queries // contenders)
    for number in range(queries):
        order = [(number + place) % contenders for place in range(contenders)]
        yield [(who, (number + who * apart) % queries) for who in order]


def compare(contenders: Sequence[Contender], queries: int, nearest: Sequence[set[str]]) -> list[Figures]:
    figures = [Figures(contender.name, contender.path()) for contender in contenders]
    for number in range(min(WARM_UP, queries)):
        for contender in contenders:
            contender.search(number)
    for turn in turns(len(contenders), queries):
        for who, number in turn:
            figures[who].add(contenders[who].search(number), nearest[number])
    return figures


def compare_in(
    category: str, contenders: Sequence[Filtering], url: str, queries: Sequence[list[float]]
) -> list[Figures]:
    nearest = exact_answers(url, queries, category)
    figures = [Figures(contender.name, contender.path(category)) for contender in contenders]
    for turn in turns(len(contenders), len(queries)):
        for who, number in turn:
            figures[who].add(contenders[who].search(number, category), nearest[number])
    return figures


def report(figures: Sequence[Figures]) -> None:
    """Print them: psycopg and ours; last, what is to be compared with each other."""
    raw, ours, raw_transactions, own_sessions = figures[:4]
    print(f"{'':42} {'median':>9} {'p95':>9}  recall  x psycopg  reads")
    for one in figures:
        print(
            f"{one.name:42} {one.median:6.2f} ms {one.p95:6.2f} ms   {one.recall:5.3f} "
            f"{one.median / raw.median:10.2f}  {one.path}"
        )
    print(
        f"{own_sessions.name}: {own_sessions.median / raw_transactions.median:.2f} x {raw_transactions.name}"
    )
    for variant in _peers.VARIANTS:
        names = [peer.package + variant for peer in _peers.PEERS]
        others = [one for one in figures if one.name in names]
        if others:
            fastest = min(others, key=lambda one: one.median)
            print(f"{fastest.name}: {fastest.median / ours.median:.2f} x {ours.name}")


def report_category(category: str, figures: Sequence[Figures], rows: int) -> None:
    """Print how they searched in one category; "rows" is the shortest page."""
    matching = max(1, round(SHARES[category] * rows))
    share = f"{SHARES[category]:.2%} of the articles ({matching:,})"
    print(f"\n{share:42} {'median':>9} {'p95':>9}  recall    x ours  rows      reads")
    for one in figures:
        rows_found = f"{one.fewest} of {min(LIMIT, matching)}"
        print(
            f"{one.name:42} {one.median:6.2f} ms {one.p95:6.2f} ms   {one.recall:5.3f} "
            f"{one.median / figures[0].median:9.2f}  {rows_found:8}  {one.path}"
        )


def measure(url: str, task: Task) -> tuple[list[Figures], dict[str, list[Figures]]]:
    """Load the articles into the database and measure everybody on them, then in the categories."""
    vectors = Vectors(task.seed)
    with timed(f"{task.rows:,} articles"):
        load(url, vectors, task.rows, task.words)
    asked = [vectors.draw() for _ in range(task.queries)]
    with timed("exact answers"):
        nearest = exact_answers(url, asked)
    with ExitStack() as stack:
        ours = Ours(url, asked, read_only=True)
        raw = Raw(url, asked, task.ef_search)
        contenders: list[Contender] = [
            raw,
            ours,
            Raw(url, asked, task.ef_search, transactions=True),
            Ours(url, asked, read_only=False),
        ]
        peers: list[_peers.Measured] = []
        if task.peers:
            for peer in _peers.PEERS:
                with timed(peer.package):
                    _peers.build(peer, url, task.rows)
            peers = _peers.measured(url, asked, task.ef_search)
            contenders += peers
        for contender in contenders:
            stack.callback(contender.close)
        assert ours.statements() == 1, "a search is one statement"
        with timed("searches"):
            figures = compare(contenders, task.queries, nearest)
        filtered = {}
        for category in SHARES:
            with timed(f"searches in {category}"):
                filtered[category] = compare_in(category, [ours, *peers], url, asked[:50])
        return figures, filtered


@contextmanager
def timed(what: str) -> Iterator[None]:
    """Tell on the error output how far the run is, and how long that took."""
    since = time.perf_counter()
    yield
    print(f"  {what}: {time.perf_counter() - since:.0f} s", file=sys.stderr, flush=True)


def describe(url: str, task: Task) -> None:
    with connect(url) as connection:
        row = connection.execute(
            "SELECT current_setting('server_version'), extversion, current_setting('shared_buffers')"
            " FROM pg_extension WHERE extname = 'vector'"
        ).fetchone()
    assert row is not None
    print(
        f"\n{task.rows:,} articles of {task.words} words, {task.queries} queries each, "
        f"ef_search {task.ef_search}, PostgreSQL {row[0]}, pgvector {row[1]}, shared_buffers {row[2]}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Speed and recall of search_knowledge beside others.")
    parser.add_argument("--rows", default="20000,100000", help="numbers of articles")
    parser.add_argument("--words", type=int, default=80, help="in an article; the planner minds")
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--ef-search", type=int, help="of all but ours; otherwise as many as ours")
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--no-peers", action="store_true", help="psycopg and ours only")
    parser.add_argument("--quick", action="store_true", help="2,000 articles and 50 queries")
    parser.add_argument("--database-url", help="a server on which a database may be created and dropped")
    options = parser.parse_args()
    sizes, queries = ("2000", 50) if options.quick else (options.rows, options.queries)
    given = options.database_url
    server = provision("url", url=given) if given else roomy_server()
    with server as url, closing(Databases(url)) as databases:
        for rows in map(int, sizes.split(",")):
            width = options.ef_search or candidates(rows)
            task = Task(rows, options.words, queries, width, options.seed, not options.no_peers)
            database = databases.clone()
            describe(database, task)
            figures, filtered = measure(database, task)
            report(figures)
            for category, some in filtered.items():
                report_category(category, some, rows)
            databases.drop(database)


if __name__ == "__main__":
    main()
