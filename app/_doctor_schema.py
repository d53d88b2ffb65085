"""What ``app.doctor`` looks up in the catalogue: revision, triggers, indexes, rights, and plans."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.resources import files

from alembic.script import ScriptDirectory
from sqlalchemy import text

from . import migrations, roles
from .doctor import Patient

_GUARD = re.compile(r"(?:trigger \w+\.|function )(\w+)")
_LEFTOVER = re.compile(r"_cc(new|old)\d*$")
# The search works on as many articles as it likes without its index; from here on it must not.
_LARGE = 1000
_INVALID = """
    SELECT i.indexrelid::regclass::text FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indrelid
    WHERE c.relnamespace = 'public'::regnamespace AND NOT (i.indisvalid AND i.indisready)
        AND i.indexrelid NOT IN (SELECT index_relid FROM pg_stat_progress_create_index)
"""
_HNSW = "idx_knowledge_base_embedding"
_AN_ARTICLE = text("""
    SELECT embedding::text AS vector,
        (SELECT count(*) FROM knowledge_base WHERE embedding IS NOT NULL) AS others
    FROM knowledge_base WHERE embedding IS NOT NULL AND is_active LIMIT 1
""")
_SEARCH = text("SELECT count(*) FROM search_knowledge_base(CAST(:vector AS vector), 5)")


def wrong_revision(patient: Patient) -> Iterator[str]:
    if patient.revision != migrations.head():
        script = ScriptDirectory.from_config(migrations.alembic_config())
        known = patient.revision in {None, *(step.revision for step in script.walk_revisions())}
        note = "" if known else ", which this installation does not know: it is older than the database"
        yield f"{patient.revision or 'none'} and not {migrations.head()}{note}"


def guards(patient: Patient) -> list[str]:
    """What differs in triggers and functions: they keep the rules."""
    return [line for line in patient.differences if _GUARD.match(line)]


def other_differences(patient: Patient) -> list[str]:
    return [line for line in patient.differences if not _GUARD.match(line)]


def repair_guards(patient: Patient) -> None:
    """Put back what is missing or another, from the text of today; what is not expected is left alone."""
    wrong = [_GUARD.match(line) for line in guards(patient) if " is not expected: " not in line]
    names = {match[1] for match in wrong if match}
    folder = files(__package__).joinpath("sql")
    texts = {file.name.removesuffix(".sql"): file.read_text() for file in folder.iterdir()}
    # Functions first: triggers call them.
    for name in sorted(names & texts.keys(), key=lambda name: (name.startswith("trg_"), name)):
        patient.run(texts[name])


def invalid_indexes(patient: Patient) -> list[str]:
    with patient.reading() as session:
        return list(session.scalars(text(_INVALID)))


def repair_indexes(patient: Patient) -> None:
    for name in invalid_indexes(patient):
        done = "DROP INDEX CONCURRENTLY" if _LEFTOVER.search(name) else "REINDEX INDEX CONCURRENTLY"
        patient.run(f"{done} {name}", alone=True)


def unused_hnsw(patient: Patient) -> Iterator[str]:
    """Search for an article that is there, and look whether the index was read."""
    with patient.reading() as session:
        article = session.execute(_AN_ARTICLE).one_or_none()
        if article is None:
            return
        if article.others < _LARGE:
            # With a few articles the plan is free to do without it; it must only be able to use it.
            for way in ("enable_seqscan", "enable_bitmapscan", "enable_sort"):
                session.execute(text(f"SET LOCAL {way} = off"))
        session.execute(_SEARCH, {"vector": article.vector})
        if not session.scalar(text("SELECT pg_stat_get_xact_numscans(to_regclass(:name))"), {"name": _HNSW}):
            yield _HNSW


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
