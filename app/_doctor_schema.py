"""What ``app.doctor`` looks up in the catalogue: revision, triggers, indexes, and rights."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.resources import files
from itertools import takewhile

from alembic.script import ScriptDirectory
from sqlalchemy import text

from . import migrations, roles
from .doctor import Patient
from .errors import MigrationError
from .models import Base

_GUARD = re.compile(r"(?:trigger \w+\.|function )(\w+)")
_LEFTOVER = re.compile(r"_cc(new|old)\d*$")
_INVALID = """
    SELECT i.indexrelid::regclass::text FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indrelid
    WHERE c.relnamespace = 'public'::regnamespace AND NOT (i.indisvalid AND i.indisready)
        AND c.relname = ANY (:tables) AND NOT EXISTS (
            SELECT FROM pg_stat_progress_create_index WHERE index_relid = i.indexrelid
        )
"""


def wrong_revision(patient: Patient) -> Iterator[str]:
    try:
        behind = patient.revision != migrations.head()
    except MigrationError as error:
        yield str(error)
        return
    if behind:
        script = ScriptDirectory.from_config(migrations.alembic_config())
        known = patient.revision in {None, *(step.revision for step in script.walk_revisions())}
        note = "" if known else ", which this installation does not know: it is older than the database"
        yield f"{patient.revision or 'none'} and not {migrations.head()}{note}"


def guards(patient: Patient) -> list[str]:
    """What differs in triggers and functions: they keep the rules."""
    return [_short(line) for line in patient.differences if _GUARD.match(line)]


def other_differences(patient: Patient) -> list[str]:
    return [_short(line) for line in patient.differences if not _GUARD.match(line)]


def _short(line: str) -> str:
    """Of what an object is and what it should be, only the part where the two differ."""
    named, is_, both = line.partition(" is ")
    found, expected_, wanted = both.partition("; expected: ")
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(found, wanted, strict=False)))
    common = found.rfind(" ", 0, same) + 1
    if not expected_ or not common:
        return line
    return f"{named}{is_}... {found[common:]}{expected_}... {wanted[common:]}"


def repair_guards(patient: Patient) -> None:
    """Put back what is missing or another, from the text of today; what is not expected is left alone."""
    wrong = [_GUARD.match(line) for line in guards(patient) if " is not expected: " not in line]
    names = {match[1] for match in wrong if match}
    folder = files(__package__).joinpath("sql")
    texts = {file.name.removesuffix(".sql"): file.read_text() for file in folder.iterdir()}
    # Functions first: triggers call them. Which function calls which is of no concern while they are made.
    ordered = sorted(names & texts.keys(), key=lambda name: (name.startswith("trg_"), name))
    patient.run("\n".join(["SET LOCAL check_function_bodies = off;", *(texts[name] for name in ordered)]))


def invalid_indexes(patient: Patient) -> list[str]:
    with patient.reading() as session:
        return list(session.scalars(text(_INVALID), {"tables": list(Base.metadata.tables)}))


def repair_indexes(patient: Patient) -> None:
    for name in invalid_indexes(patient):
        done = "DROP INDEX CONCURRENTLY" if _LEFTOVER.search(name) else "REINDEX INDEX CONCURRENTLY"
        patient.run(f"{done} {name}", alone=True)


def _any_role(patient: Patient) -> bool:
    with patient.reading() as session:
        names = [f"{patient.role_prefix}_{role}" for role in ("owner", "migrator", *roles.ROLES)]
        found = text("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = ANY (:names))")
        return bool(session.scalar(found, {"names": names}))


def missing_roles(patient: Patient) -> Iterator[str]:
    if not _any_role(patient):
        yield f"{patient.role_prefix}_app and the others"


def wrong_rights(patient: Patient) -> list[str]:
    if not _any_role(patient):
        return []
    with patient.engine.connect() as connection:
        return roles.differences(
            connection, patient.role_prefix, version_table=patient.settings.version_table
        )


def repair_roles(patient: Patient) -> None:
    with patient.engine.connect() as connection:
        roles.apply(connection, patient.role_prefix, version_table=patient.settings.version_table)
