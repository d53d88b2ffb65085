"""What every call costs as the base grows, and what a row takes on disk.

    python benchmarks/growth.py [--sizes 10000,100000,1000000,10000000] [--output FOLDER] [--database-url URL]

Fills a database of its own for each size by COPY, everything in proportion, and measures every operation of
ours on it, with psycopg by hand beside it. Ten million messages take some 15 GB and most of an hour. Writes
growth.json, growth.md and a chart into the folder after every size, so that a run can be cut short.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from _articles import connect
from _server import roomy_server
from calls import charts
from calls.base import Base
from calls.contenders import BY_KEY
from calls.fill import add_to_merge, fill
from calls.machine import describe
from calls.measure import Supply, measure
from calls.operations import EVERYDAY, Merge, Operation, Search
from calls.report import line, number
from calls.run import timed
from calls.sizes import savings, sizes

from app.testing import Databases, provision

OPERATIONS: Sequence[type[Operation]] = (*(o for o in EVERYDAY if not issubclass(o, Search)), Merge)
"""All but the search of articles, of which a larger desk has no more."""
LIMIT = 1.5
"""Times its median at the smaller size that a call may take at the larger one."""
COMPARED = 100_000, 10_000_000
_SEEN = ("ours", "handwritten")


def grow(databases: Databases, messages: int, *, calls: int, seed: int = 1) -> dict[str, Any]:
    """Fill a database, measure everything on it, and drop it."""
    url = databases.clone()
    try:
        base = Base(messages)
        with timed(f"a base of {messages:,} messages"):
            fill(url, base, seed=seed)
        contenders = [BY_KEY[key] for key in _SEEN]
        with connect(url) as side:
            measured = sizes(side)
            spared = savings(side, measured)
            supply = Supply(base, seed, lambda written: add_to_merge(side, written))
            with timed("calls"):
                figures = measure(url, OPERATIONS, contenders, supply, calls=calls, seed=seed)
        return describe(url) | {
            "messages": messages,
            "rows": [
                {"operation": operation, "contender": contender} | some.summary()
                for (operation, contender), some in figures.items()
            ],
            "sizes": measured,
            "savings": spared,
        }
    finally:
        databases.drop(url)


def medians(results: Sequence[Mapping[str, Any]], contender: str = "ours") -> dict[str, list[float]]:
    """The medians of each operation, by its title, in the order of the sizes."""
    return {
        operation.title: [
            row["median_ms"]
            for result in results
            for row in result["rows"]
            if (row["operation"], row["contender"]) == (operation.key, contender)
        ]
        for operation in OPERATIONS
    }


def markdown(results: Sequence[Mapping[str, Any]], charts_folder: str = "") -> str:
    last = results[-1]
    titles = [f"{result['messages']:,}" for result in results]
    ours, by_hand = medians(results), medians(results, "handwritten")
    lines = [
        f"{last['date']}, commit {last['commit']}, {last['machine']}, PostgreSQL "
        f"{last['server']['server_version']}, shared_buffers {last['server']['shared_buffers']}.",
        "",
        "Milliseconds, median, at so many messages; in brackets psycopg by hand.",
        "",
        line(["", *titles, "largest by smaller"]),
        line(["---", *["---:"] * (len(titles) + 1)]),
    ]
    for title, values in ours.items():
        cells = [f"{number(a)} ({number(b)})" for a, b in zip(values, by_hand[title], strict=True)]
        lines.append(line([title, *cells, _growth(results, values)]))
    lines += ["", _chart(charts_folder), "", f"Bytes a row at {titles[-1]} messages:", ""]
    lines += [line(["table", "rows", "a row", "its indexes, a row"]), line(["---", "---:", "---:", "---"])]
    for table in last["sizes"]:
        rows = table["rows"]
        indexes = ", ".join(f"{name} {size / rows:.0f}" for name, size in table["indexes"].items())
        lines.append(line([table["table"], f"{rows:,}", f"{table['bytes'] / rows:.0f}", indexes]))
    lines += ["", "What could be saved:", ""]
    total = sum(table["bytes"] + sum(table["indexes"].values()) for table in last["sizes"])
    lines += [
        f"- {what}: {size / 2**20:,.1f} MB, {size / total:.1%} of all"
        for what, size in last["savings"].items()
    ]
    return "\n".join(lines) + "\n"


def _growth(results: Sequence[Mapping[str, Any]], values: Sequence[float]) -> str:
    """The last median by that at the smaller of the compared sizes, and whether that is within the limit."""
    by_size = dict(zip((result["messages"] for result in results), values, strict=True))
    smaller, larger = COMPARED
    if smaller not in by_size or results[-1]["messages"] <= smaller:
        return ""
    ratio = values[-1] / by_size[smaller]
    verdict = "" if larger not in by_size else ", met" if ratio <= LIMIT else ", **not met**"
    return f"{ratio:.2f} x{verdict}"


def _chart(folder: str) -> str:
    return f"![Medians over the number of messages]({folder}/growth.svg)" if folder else ""


def main() -> None:
    parser = argparse.ArgumentParser(description="What every call costs as the base grows.")
    parser.add_argument("--sizes", default="10000,100000,1000000,10000000", help="numbers of messages")
    parser.add_argument("--calls", type=int, default=200, help="measured calls of each operation")
    parser.add_argument("--output", type=Path, default=Path("build/benchmarks"), metavar="FOLDER")
    parser.add_argument("--database-url", help="a server on which databases may be created and dropped")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    url = options.database_url
    results: list[dict[str, Any]] = []
    own = provision("url", url=url) if url else roomy_server()
    with own as server, closing(Databases(server)) as databases:
        for messages in sorted(map(int, options.sizes.split(","))):
            results.append(grow(databases, messages, calls=options.calls))
            (options.output / "growth.json").write_text(json.dumps(results, indent=1) + "\n")
            (options.output / "growth.md").write_text(markdown(results, "."))
            done = [result["messages"] for result in results]
            charts.draw_growth(done, medians(results), options.output / "growth.svg")
    print(markdown(results))


if __name__ == "__main__":
    main()
