"""What the schema should be, object by object, and how a database differs from it.

Autogenerate does not see triggers, the text of checks and functions, operator classes, predicates or grants.
So ``catalogue.json`` has one line for every object of the first revision and of head, as PostgreSQL itself
describes it; ``scripts/describe_catalogue.py`` writes it, and a test keeps it equal to the migrations.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Connection

from ..errors import MigrationError

FILE = Path(__file__).with_name("catalogue.json")
_QUERY = Path(__file__).with_name("catalogue.sql").read_text(encoding="utf-8")
_TITLE = re.compile(r"(?P<kind>materialized view|\w+) (?P<owner>[^.(]+)(?P<name>.*)", re.DOTALL)


class Item(NamedTuple):
    """One object of a schema, as PostgreSQL describes it."""

    kind: str
    owner: str
    """The table, sequence or function that it belongs to, or is."""
    name: str
    """What follows the owner's: ``.subject``, or a function's arguments; empty for a table."""
    definition: str

    @property
    def title(self) -> str:
        return f"{self.kind} {self.owner}{self.name}"

    @property
    def is_table(self) -> bool:
        return self.kind == "table"


def read(connection: Connection) -> list[Item]:
    """Everything in the connection's schema, ours or not, however the session has names displayed."""
    # As it stands: neither ":name" nor "%" of the text is a parameter.
    quotes_all = connection.exec_driver_sql("SHOW quote_all_identifiers").scalar() == "on"
    if quotes_all:
        connection.exec_driver_sql("SET quote_all_identifiers = off")
    rows = connection.exec_driver_sql(_QUERY, execution_options={"no_parameters": True}).all()
    if quotes_all:
        connection.exec_driver_sql("SET quote_all_identifiers = on")
    return [Item(*row) for row in rows]


def expected(revision: str) -> list[Item]:
    """The objects at ``revision``, which is the first one or head.

    Raises:
        MigrationError: it is neither.
    """
    revisions: dict[str, dict[str, str]] = json.loads(FILE.read_text(encoding="utf-8"))
    if revision not in revisions:
        raise MigrationError(
            f"{FILE.name} does not describe revision {revision}: run scripts/describe_catalogue.py"
        )
    return [_parsed(title, definition) for title, definition in revisions[revision].items()]


def _parsed(title: str, definition: str) -> Item:
    match = _TITLE.fullmatch(title)
    assert match is not None, title
    return Item(match["kind"], match["owner"], match["name"], definition)


def tables(items: Iterable[Item]) -> set[str]:
    return {item.owner for item in items if item.is_table}


def differences(expected: Iterable[Item], actual: Iterable[Item]) -> list[str]:
    """One line for each object that is missing, not expected, or another; others' objects are ignored."""
    should_be = {item.title: item for item in expected}
    owners = {item.owner for item in should_be.values()}
    is_there = {item.title: item for item in actual if item.owner in owners}
    return [
        *_missing(should_be, is_there),
        *(
            f"{title} is not expected: {item.definition}"
            for title, item in is_there.items()
            if title not in should_be
        ),
        *(
            f"{title} is {is_there[title].definition}; expected: {item.definition}"
            for title, item in should_be.items()
            if title in is_there and is_there[title].definition != item.definition
        ),
        *_reordered(should_be, is_there),
    ]


def _missing(should_be: dict[str, Item], is_there: dict[str, Item]) -> Iterator[str]:
    missing = [item for title, item in should_be.items() if title not in is_there]
    # A table that is not there has no columns either: one line is enough.
    absent = tables(missing)
    for item in missing:
        if item.is_table or item.owner not in absent:
            yield f"{item.title} is missing: {item.definition}"


def _reordered(should_be: dict[str, Item], is_there: dict[str, Item]) -> Iterator[str]:
    for table in sorted(tables(should_be.values())):
        columns, ordered = _columns(table, is_there), _columns(table, should_be)
        if columns != ordered and set(columns) == set(ordered):
            yield f"table {table} has its columns in another order: {', '.join(columns)}"


def _columns(table: str, items: dict[str, Item]) -> list[str]:
    return [
        item.name.removeprefix(".")
        for item in items.values()
        if item.kind == "column" and item.owner == table
    ]
