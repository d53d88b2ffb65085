"""A run as Markdown, and the blocks of a page that are made from it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from .bars import Bar, bars
from .contenders import BY_KEY, CONTENDERS

Row = Mapping[str, Any]
_FEWEST = {"p95_ms": 20, "p99_ms": 100}
"""Calls that a percentile takes."""


def markdown(result: Mapping[str, Any], charts: str = "") -> str:
    """All tables of a run; ``charts`` is the folder of its charts, as seen from the page."""
    rows = {(row["operation"], row["contender"]): row for row in reversed(result["rows"])}
    operations = list(dict.fromkeys((row["operation"], row["title"]) for row in result["rows"]))
    crowded = [(key, title) for key, title in operations if rows[key, "ours"]["per_second"]]
    parts = [
        _about(result),
        "### Medians",
        "Milliseconds. The last three columns are what a call of ours costs beyond `SELECT 1` through the "
        "same kind of session, as a multiple of psycopg by hand.",
        _table(operations, rows, _median, _beyond, ("sync", "async", "read-only")),
        _image(charts, "medians", "Medians of every operation by contender"),
        f"### With {result['delay_ms']:g} ms a flight",
        "Milliseconds, and in brackets the flights, those of BEGIN and COMMIT included.",
        _table(operations, rows, _delayed),
        _image(charts, "delayed", "The same with a delay of every flight"),
        "### 95th and 99th percentile",
        "Milliseconds; a percentile of too few calls is left out.",
        _table(operations, rows, _percentiles),
        "### Processor time",
        "Milliseconds a call in the client's process and in the server's.",
        _table(operations, rows, _processor_time),
        "### Calls a second",
        f"One process with {_clients(result)} clients: threads, or tasks of an asynchronous contender.",
        _table(crowded, rows, _rate("per_second")),
        f"With {result['delay_ms']:g} ms a flight; what passes some thousand flights a second is held up by "
        "the proxy, not by the contender:",
        _table(crowded, rows, _rate("delayed_per_second")),
        _image(charts, "rates", "Messages of known senders a second by number of clients"),
        "### Bars",
        _bars(bars(result)),
        "### Where the work is not quite the same",
        _differences(dict(operations)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def replace_block(page: Path, name: str, text: str) -> None:
    """Put the text between the page's markers ``<!-- name -->`` and ``<!-- /name -->``.

    Raises:
        ValueError: the page does not have both markers once.
    """
    pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    replaced, count = pattern.subn(lambda match: f"{match[1]}\n{text}\n{match[2]}", page.read_text())
    if count != 1:
        raise ValueError(f"{page} has {count} blocks named {name}")
    page.write_text(replaced)


def line(cells: Sequence[object]) -> str:
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def _about(result: Mapping[str, Any]) -> str:
    server, packages = result["server"], result["packages"]
    versions = ", ".join(f"{name} {number}" for name, number in packages.items())
    return (
        f"{result['date']}, commit {result['commit']}, {result['machine']}, load before {result['load']:g}; "
        f"Python {result['python']}, {versions}; PostgreSQL {server['server_version']}, shared_buffers "
        f"{server['shared_buffers']}, fsync {server['fsync']}; a base of {result['messages']:,} messages, "
        f"{result['calls']} calls each."
    )


def _table(
    operations: Sequence[tuple[str, str]],
    rows: Mapping[tuple[str, str], Row],
    cell: Callable[[Row], str],
    extra: Callable[[str, Mapping[tuple[str, str], Row]], Sequence[str]] | None = None,
    extra_titles: Sequence[str] = (),
) -> str:
    titles = ["", *(contender.title for contender in CONTENDERS), *extra_titles]
    lines = [line(titles), line(["---", *["---:"] * (len(titles) - 1)])]
    for key, title in operations:
        cells = [
            cell(rows[key, contender.key]) if (key, contender.key) in rows else "" for contender in CONTENDERS
        ]
        lines.append(line([title, *cells, *(extra(key, rows) if extra else ())]))
    return "\n".join(lines)


def number(value: float) -> str:
    """Three digits that count."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _median(row: Row) -> str:
    return number(row["median_ms"])


def _beyond(operation: str, rows: Mapping[tuple[str, str], Row]) -> list[str]:
    hand = rows[operation, "handwritten"]["median_ms"]
    kinds = ("ours", "ours_async", "ours_read_only")
    if operation == "select_one":
        return [""] * len(kinds)
    return [
        f"{rows[operation, kind]['beyond_ms'] / hand:.1f} x" if (operation, kind) in rows else ""
        for kind in kinds
    ]


def _delayed(row: Row) -> str:
    slow = row["delayed"]
    flights = f"{slow['flights']:g}" + ("?" if slow["flights_vary"] else "")
    return f"{number(slow['median_ms'])} ({flights})"


def _percentiles(row: Row) -> str:
    return " / ".join(
        number(row[name]) if row["calls"] >= fewest else "-" for name, fewest in _FEWEST.items()
    )


def _processor_time(row: Row) -> str:
    server = number(row["server_cpu_ms"]) if "server_cpu_ms" in row else "?"
    return f"{number(row['client_cpu_ms'])} + {server}"


def _rate(name: str) -> Callable[[Row], str]:
    return lambda row: " / ".join(f"{rate:,.0f}" for rate in row[name].values())


def _clients(result: Mapping[str, Any]) -> str:
    counts = next(list(row["per_second"]) for row in result["rows"] if row["per_second"])
    return ", ".join(counts[:-1]) + " and " + counts[-1]


def _image(folder: str, name: str, description: str) -> str:
    return f"![{description}]({folder}/{name}.svg)" if folder else ""


def _bars(judged: Sequence[Bar]) -> str:
    met = sum(bar.met for bar in judged)
    lines = [f"{met} of {len(judged)} are met.", "", line(["demand", "of", "figure", "limit", ""])]
    lines.append(line(["---", "---", "---:", "---:", "---"]))
    for bar in judged:
        figures = [
            f"{value:g}" if bar.demand == "flights" else number(value) + bar.unit
            for value in (bar.figure, bar.limit)
        ]
        lines.append(line([bar.demand, bar.subject, *figures, "met" if bar.met else "**not met**"]))
    return "\n".join(lines)


def _differences(titles: Mapping[str, str]) -> str:
    return "\n".join(_notes(titles))


def _notes(titles: Mapping[str, str]) -> Iterator[str]:
    works = {_work(key): title.partition(",")[0] for key, title in titles.items() if _work(key) == "merge"}
    works |= {_work(key): title for key, title in titles.items() if _work(key) != "merge"}
    for contender in BY_KEY.values():
        for work, difference in contender.differs.items():
            if work in works:
                yield f"- {contender.title}, {works[work]}: {difference.note}."


def _work(key: str) -> str:
    return key.partition("_")[0] if key.startswith(("merge_", "search_")) else key
