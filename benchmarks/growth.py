"""What every call costs as the base grows, what a row takes on disk, and how long the doctor looks.

    python benchmarks/growth.py [--sizes 10000,100000,1000000,10000000] [--output FOLDER] [--database-url URL]

Fills a database of its own for each size by COPY, everything in proportion. Then it measures every operation
of ours on all of them, with psycopg by hand beside it, in one random order: what else the machine does slows
all sizes alike. Ten million messages take some 15 GB and half an hour. Writes growth.json, growth.md and a
chart into the folder.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
from _articles import connect
from _server import roomy_server
from calls import charts
from calls.base import Base
from calls.chores import CHORES, Poll
from calls.contenders import BY_KEY
from calls.fill import add_to_merge, fill
from calls.machine import describe, load_average
from calls.measure import ServerClock, Supply, measure_together
from calls.operations import EVERYDAY, Merge, Operation, Search
from calls.report import line, number
from calls.run import timed
from calls.sizes import savings, sizes
from sqlalchemy import text

from app.database import make_engine
from app.operations.doctor import examine
from app.testing import Databases, provision

OPERATIONS: Sequence[type[Operation]] = (*(o for o in EVERYDAY if not issubclass(o, Search)), Merge, *CHORES)
"""All but the search of articles, of which a larger desk has no more."""
_PID = text("SELECT pg_backend_pid()")
LIMIT = 1.5
"""Times its median at the smaller size that a call may take at the larger one."""
COMPARED = 100_000, 10_000_000
_SEEN = ("ours", "handwritten")


def grow(databases: Databases, sizes: Sequence[int], *, calls: int, seed: int = 1) -> list[dict[str, Any]]:
    """Fill a database of each size, measure everything on all of them, and drop them; a result for each."""
    bases = {databases.clone(): Base(messages) for messages in sizes}
    load = [load_average()]
    try:
        with ThreadPoolExecutor(len(bases)) as pool:
            list(pool.map(lambda one: _fill(*one, seed), bases.items()))
        load.append(load_average())
        with ExitStack() as stack, timed("calls"):
            sides = {url: stack.enter_context(closing(connect(url))) for url in bases}
            disk = {url: _disk(side) for url, side in sides.items()}
            supplies = {
                url: Supply(base, seed, partial(add_to_merge, sides[url])) for url, base in bases.items()
            }
            contenders = [BY_KEY[key] for key in _SEEN]
            # By itself: what the others write is work for a worker.
            figures = measure_together(supplies, (Poll,), contenders, calls=calls, seed=seed)
            for url, others in measure_together(
                supplies, OPERATIONS, contenders, calls=calls, seed=seed
            ).items():
                figures[url] |= others
        load.append(load_average())
        with timed("doctor"):
            doctors = {url: _examine(url) for url in bases}
        return [
            describe(url)
            | {
                "messages": base.messages,
                "load": load,
                "rows": [
                    {"operation": operation, "contender": contender} | some.summary()
                    for (operation, contender), some in figures[url].items()
                ],
                "doctor": doctors[url],
            }
            | disk[url]
            for url, base in bases.items()
        ]
    finally:
        for url in bases:
            databases.drop(url)


def _fill(url: str, base: Base, seed: int) -> None:
    with timed(f"a base of {base.messages:,} messages"):
        fill(url, base, seed=seed)


def _disk(side: psycopg.Connection) -> dict[str, Any]:
    measured = sizes(side)
    return {"sizes": measured, "savings": savings(side, measured)}


def _examine(url: str) -> dict[str, Any]:
    """How long the doctor looked, at what the longest, and what it left out."""
    engine = make_engine(url, pool_size=1, max_overflow=0)
    with engine.connect() as connection:
        clock = ServerClock([connection.execute(_PID).scalar_one()])

    def processor() -> float:
        return time.process_time() + clock.read() if clock.works else 0.0

    since, used = time.perf_counter(), processor()
    report = examine(engine)
    seconds, used = time.perf_counter() - since, processor() - used
    engine.dispose()
    return {
        "seconds": round(seconds, 2),
        "cpu_seconds": round(used, 2),
        "checks": {one.check: round(one.seconds, 2) for one in report.checks},
        "notes": sorted({one.note for one in report.checks if one.note}),
        "findings": {finding.check: finding.count for finding in report.findings},
    }


def medians(results: Sequence[Mapping[str, Any]], contender: str = "ours") -> dict[str, list[float]]:
    """The medians of each operation, by its title, in the order of the sizes."""
    return _by_title(results, contender, lambda row: row["median_ms"])


def _by_title(
    results: Sequence[Mapping[str, Any]], contender: str, value: Callable[[Mapping[str, Any]], float]
) -> dict[str, list[float]]:
    return {
        operation.title: [
            value(row)
            for result in results
            for row in result["rows"]
            if (row["operation"], row["contender"]) == (operation.key, contender)
        ]
        for operation in (*OPERATIONS, Poll)
    }


def markdown(results: Sequence[Mapping[str, Any]], charts_folder: str = "") -> str:
    last = results[-1]
    titles = [f"{result['messages']:,}" for result in results]
    before, filled, after = (f"{load:g}" for load in last["load"])
    parts = [
        f"{last['date']}, commit {last['commit']}, {last['machine']}, PostgreSQL "
        f"{last['server']['server_version']}, shared_buffers {last['server']['shared_buffers']}; "
        f"load {before} before, {filled} when the bases were filled, {after} after the calls.",
        "Milliseconds, median, at so many messages; in brackets psycopg by hand.",
        _medians(results, titles),
        "Milliseconds of the processor, client and server together, the mean of a call of ours; what else "
        "the machine does counts little here:",
        _processor(results, titles),
        f"![Medians over the number of messages]({charts_folder}/growth.svg)" if charts_folder else "",
        "`crm doctor`, all checks, seconds:",
        _doctors(results),
        f"Bytes a row at {titles[-1]} messages:",
        _bytes(last["sizes"]),
        "What could be saved:",
        _savings(last),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _medians(results: Sequence[Mapping[str, Any]], titles: Sequence[str]) -> str:
    by_hand = medians(results, "handwritten")
    lines = [
        line(["", *titles, "largest by smaller"]),
        line(["---", *["---:"] * (len(titles) + 1)]),
    ]
    for title, values in medians(results).items():
        cells = [number(value) for value in values]
        if by_hand[title]:
            cells = [f"{cell} ({number(value)})" for cell, value in zip(cells, by_hand[title], strict=True)]
        lines.append(line([title, *cells, _growth(results, values)]))
    return "\n".join(lines)


def _processor(results: Sequence[Mapping[str, Any]], titles: Sequence[str]) -> str:
    used = _by_title(results, "ours", lambda row: row["client_cpu_ms"] + row.get("server_cpu_ms", 0))
    lines = [line(["", *titles, "largest by smaller"]), line(["---", *["---:"] * (len(titles) + 1)])]
    lines += [line([title, *map(number, values), _growth(results, values)]) for title, values in used.items()]
    return "\n".join(lines)


def _doctors(results: Sequence[Mapping[str, Any]]) -> str:
    lines = [
        line(["messages", "all", "of the processor", "the longest checks", "left out"]),
        line(["---:", "---:", "---:", "---", "---"]),
    ]
    for result in results:
        doctor = result["doctor"]
        longest = sorted(doctor["checks"].items(), key=lambda one: -one[1])[:4]
        told = ", ".join(f"{name} {number(seconds)}" for name, seconds in longest)
        left_out = "; ".join(doctor["notes"]) or "nothing"
        processor = number(cpu) if (cpu := doctor.get("cpu_seconds")) else "?"
        lines.append(line([f"{result['messages']:,}", number(doctor["seconds"]), processor, told, left_out]))
    return "\n".join(lines)


def _bytes(tables: Sequence[Mapping[str, Any]]) -> str:
    lines = [line(["table", "rows", "a row", "its indexes, a row"]), line(["---", "---:", "---:", "---"])]
    for table in tables:
        rows = table["rows"]
        indexes = ", ".join(f"{name} {size / rows:.0f}" for name, size in table["indexes"].items())
        lines.append(line([table["table"], f"{rows:,}", f"{table['bytes'] / rows:.0f}", indexes]))
    return "\n".join(lines)


def _savings(result: Mapping[str, Any]) -> str:
    total = sum(table["bytes"] + sum(table["indexes"].values()) for table in result["sizes"])
    return "\n".join(
        f"- {what}: {size / 2**20:,.1f} MB, {size / total:.1%} of all"
        for what, size in result["savings"].items()
    )


def _growth(results: Sequence[Mapping[str, Any]], values: Sequence[float]) -> str:
    """The last median by that at the smaller of the compared sizes, and whether that is within the limit."""
    by_size = dict(zip((result["messages"] for result in results), values, strict=True))
    smaller, larger = COMPARED
    if smaller not in by_size or results[-1]["messages"] <= smaller:
        return ""
    ratio = values[-1] / by_size[smaller]
    verdict = "" if larger not in by_size else ", met" if ratio <= LIMIT else ", **not met**"
    return f"{ratio:.2f} x{verdict}"


def main() -> None:
    parser = argparse.ArgumentParser(description="What every call costs as the base grows.")
    parser.add_argument("--sizes", default="10000,100000,1000000,10000000", help="numbers of messages")
    parser.add_argument("--calls", type=int, default=200, help="measured calls of each operation")
    parser.add_argument("--output", type=Path, default=Path("build/benchmarks"), metavar="FOLDER")
    parser.add_argument("--database-url", help="a server on which databases may be created and dropped")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    url = options.database_url
    own = provision("url", url=url) if url else roomy_server()
    with own as server, closing(Databases(server)) as databases:
        messages = sorted(map(int, options.sizes.split(",")))
        results = grow(databases, messages, calls=options.calls)
    (options.output / "growth.json").write_text(json.dumps(results, indent=1) + "\n")
    (options.output / "growth.md").write_text(markdown(results, "."))
    charts.draw_growth(messages, medians(results), options.output / "growth.svg")
    print(markdown(results))


if __name__ == "__main__":
    main()
