"""Whether the schema is the one that the migrations make: its revision, triggers, functions and indexes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import takewhile

from sqlalchemy import text

from ... import migrations
from ...errors import MigrationError
from ...models import Base
from .patient import Patient, Severity, check

_GUARD = re.compile(r"(?:trigger \w+\.|function )(\w+)")
_LEFTOVER = re.compile(r"_cc(new|old)\d*$")
_INVALID = """
    SELECT i.indexrelid::regclass::text FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indrelid
    WHERE c.relnamespace = 'public'::regnamespace AND NOT (i.indisvalid AND i.indisready)
        AND c.relname = ANY (:tables) AND NOT EXISTS (
            SELECT FROM pg_stat_progress_create_index WHERE index_relid = i.indexrelid
        )
"""


@check(
    "revision",
    Severity.ERROR,
    what="the schema is not at the newest revision; what rests on it was not looked at",
    mend="crm db upgrade, or a newer version of this package",
    needs_schema=False,
)
def revision(patient: Patient) -> Iterator[str]:
    try:
        revision = migrations.known_revision(patient.engine, settings=patient.settings)
    except MigrationError as error:
        yield str(error)
        return
    if revision != migrations.head():
        yield f"{revision or 'none'} and not {migrations.head()}"


def _short(line: str) -> str:
    """Of what an object is and what it should be, only the part where the two differ."""
    named, is_, both = line.partition(" is ")
    actual, separator, expected = both.partition("; expected: ")
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(actual, expected, strict=False)))
    common = actual.rfind(" ", 0, same) + 1
    if not separator or not common:
        return line
    return f"{named}{is_}... {actual[common:]}{separator}... {expected[common:]}"


def _repair_guards(patient: Patient) -> None:
    """Put back what is missing or another, from the text of today; what is not expected is left alone."""
    wrong = [_GUARD.match(line) for line in patient.differences if " is not expected: " not in line]
    names = {match[1] for match in wrong if match}
    texts = migrations.own_statements()
    # Functions first: triggers call them. Which function calls which is of no concern while they are made.
    ordered = sorted(names & texts.keys(), key=lambda name: (name.startswith("trg_"), name))
    patient.run("\n".join(["SET LOCAL check_function_bodies = off;", *(texts[name] for name in ordered)]))


@check(
    "guards",
    Severity.ERROR,
    what="triggers or functions that keep the rules are missing, disabled or changed",
    mend="crm doctor --fix puts them back; then look for what went past them in the meantime",
    fix=_repair_guards,
)
def guards(patient: Patient) -> list[str]:
    return [_short(line) for line in patient.differences if _GUARD.match(line)]


@check(
    "catalogue",
    Severity.ERROR,
    what="the schema is not the one that the migrations make",
    mend="crm db check shows every difference; put back what was changed by hand",
)
def catalogue(patient: Patient) -> list[str]:
    return [_short(line) for line in patient.differences if not _GUARD.match(line)]


def _invalid(patient: Patient) -> list[str]:
    with patient.reading() as session:
        return list(session.scalars(text(_INVALID), {"tables": list(Base.metadata.tables)}))


def _rebuild(patient: Patient) -> None:
    for name in _invalid(patient):
        statement = "DROP INDEX CONCURRENTLY" if _LEFTOVER.search(name) else "REINDEX INDEX CONCURRENTLY"
        patient.run(f"{statement} {name}", alone=True)


indexes = check(
    "indexes",
    Severity.ERROR,
    what="indexes are invalid: a build was interrupted, and searches do without them",
    mend="crm doctor --fix, or REINDEX INDEX CONCURRENTLY",
    fix=_rebuild,
)(_invalid)
