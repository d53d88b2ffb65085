"""What is demanded of the figures, and whether it is met: a bar for each operation that it is about."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .operations import EVERYDAY, MERGES, Operation, SearchMany, SelectOne

BEYOND = 2.0
"""Times the hand-written statement's whole median that a call may cost beyond SELECT 1."""
INGEST_SHARE = 0.3
"""Of the hand-written rate that one process stores of known senders' messages."""
IMPORT_RATIO = 2.0
UPGRADE_RATIO = 1.5

ALL: Sequence[type[Operation]] = (*EVERYDAY, SearchMany, *MERGES)


@dataclass(frozen=True)
class Bar:
    demand: str
    subject: str
    figure: float
    limit: float
    met: bool
    unit: str = ""


def bars(result: Mapping[str, Any]) -> list[Bar]:
    """All of a run's: an operation that was not measured has none."""
    rows = {(row["operation"], row["contender"]): row for row in reversed(result["rows"])}
    operations = [operation for operation in ALL if (operation.key, "ours") in rows]
    judged: list[Bar] = []
    for operation in operations:
        judged += _of_operation(operation, rows)
    judged += _rates(rows)
    judged += _starts(result["starts"])
    return judged


def _of_operation(operation: type[Operation], rows: Mapping[tuple[str, str], Any]) -> Iterator[Bar]:
    ours, hand, seed, orm = (
        rows[operation.key, key] for key in ("ours", "handwritten", "seed_way", "plain_orm")
    )
    if operation is not SelectOne:
        ratio = ours["beyond_ms"] / hand["median_ms"]
        demand = f"beyond SELECT 1 at most {BEYOND} x psycopg by hand"
        yield Bar(demand, operation.title, ratio, BEYOND, ratio <= BEYOND, " x")
        yield _less("faster than the plain ORM", operation, ours["median_ms"], orm["median_ms"])
    if operation.faster_than_seed:
        figure, limit = ours["delayed"]["median_ms"], seed["delayed"]["median_ms"]
        yield _less("with the delay faster than the seed's way", operation, figure, limit)
    for key, limit in (
        ("ours", operation.flights),
        ("ours_async", operation.flights),
        ("ours_read_only", operation.flights_read_only),
    ):
        if limit is not None and (operation.key, key) in rows:
            flights = rows[operation.key, key]["delayed"]["flights"]
            subject = operation.title + {"ours_async": ", async", "ours_read_only": ", read-only"}.get(
                key, ""
            )
            yield Bar("flights", subject, flights, limit, flights <= limit)


def _less(demand: str, operation: type[Operation], figure: float, limit: float) -> Bar:
    return Bar(demand, operation.title, figure, limit, figure < limit, " ms")


def _rates(rows: Mapping[tuple[str, str], Any]) -> Iterator[Bar]:
    ours, hand = (rows["ingest_known", key]["per_second"] for key in ("ours", "handwritten"))
    if ours:
        most = max(ours, key=int)
        share = ours["1"] / hand["1"]
        demand = "messages of known senders a second, of psycopg by hand's"
        yield Bar(demand, "one client", share, INGEST_SHARE, share >= INGEST_SHARE, " x")
        demand = "messages of known senders a second, no less than one client's"
        yield Bar(demand, f"{most} threads", ours[most], ours["1"], ours[most] >= ours["1"], " /s")


def _starts(starts: Mapping[str, float]) -> Iterator[Bar]:
    bare = starts["python"]
    ratio = (starts["import app.services"] - bare) / (starts["import sqlalchemy.orm, psycopg"] - bare)
    demand = "time of the import, of sqlalchemy.orm's and psycopg's"
    yield Bar(demand, "app.services", ratio, IMPORT_RATIO, ratio <= IMPORT_RATIO, " x")
    ratio = starts["alembic upgrade head"] / starts["alembic current"]
    demand = "time of an upgrade at head, of alembic current's"
    yield Bar(demand, "alembic upgrade head", ratio, UPGRADE_RATIO, ratio < UPGRADE_RATIO, " x")
