"""Whether the revision that the version table names is one of ours, and what to do where it is not."""

from __future__ import annotations

from collections.abc import Collection

from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from ..errors import UnknownRevision

_PRESENT = text(
    "SELECT count(*) FROM unnest(:tables ::text[]) AS name WHERE to_regclass('public.' || name) IS NOT NULL"
)


def unknown(script: ScriptDirectory, revisions: Collection[str]) -> list[str]:
    return sorted(set(revisions) - {step.revision for step in script.walk_revisions()})


def require_known(
    connection: Connection, script: ScriptDirectory, revisions: Collection[str], version_table: str
) -> None:
    """Refuse a database whose version table names a revision that this installation does not have.

    Raises:
        UnknownRevision: it says whether the row is another application's or one of another version of ours.
    """
    for revision in unknown(script, revisions):
        tables = _tables(script)
        if _present(connection, tables) < len(tables):
            whose = (
                f"{version_table} belongs to another application, as it seems: "
                "set CRM_VERSION_TABLE to a name of our own"
            )
        else:
            whose = "a newer version has migrated it, or one that was never released"
        raise UnknownRevision(
            f"the database is at revision {revision}, which this installation does not know "
            f"(its newest is {script.get_current_head()}); {whose}"
        )


def require_tables(
    connection: Connection, script: ScriptDirectory, revisions: Collection[str], version_table: str
) -> None:
    """Refuse to go on from a revision that reads like one of ours where none of our tables exists.

    Raises:
        UnknownRevision: the row is another application's, or somebody has stamped an empty database.
    """
    if revisions and not _present(connection, _tables(script)):
        raise UnknownRevision(
            f"the database is at revision {', '.join(sorted(revisions))} and has none of our tables: set "
            f"CRM_VERSION_TABLE if {version_table} is another application's, else empty it with "
            "alembic stamp --purge base"
        )


def _tables(script: ScriptDirectory) -> list[str]:
    first = script.get_revision(script.get_base() or "")
    tables: list[str] = first.module.TABLES
    return tables


def _present(connection: Connection, tables: list[str]) -> int:
    return connection.scalar(_PRESENT, {"tables": tables}) or 0
