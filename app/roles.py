"""Who may do what: the database's roles, and the one list of their rights on every object.

A role gets what its line says and nothing else. The owner of the tables is nobody's login; migrations work
as the owner through ``migrator``. ``script`` is plain SQL, so that it can be read, and run by hand on a
managed server; running it again repairs what has changed since.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.resources import files
from typing import NamedTuple

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from ._roles_script import render
from ._roles_state import EXISTING, POWERS, RIGHTS, WRONG
from .errors import CRMError, InvalidValue

TABLES: dict[str, dict[str, str]] = {
    # In the words of GRANT. The app writes business rows, and triggers and functions the audit.
    "agent_metrics": {"app": "SELECT, INSERT", "readonly": "SELECT", "auditor": "SELECT"},
    "alembic_version": {"app": "SELECT", "readonly": "SELECT", "auditor": "SELECT"},
    "channel_configs": {"app": "SELECT", "readonly": "SELECT", "auditor": "SELECT"},
    "conversation_routes": {"app": "SELECT, INSERT", "readonly": "SELECT", "auditor": "SELECT"},
    "conversations": {"app": "SELECT, INSERT, UPDATE", "readonly": "SELECT", "auditor": "SELECT"},
    "customer_identifiers": {
        "app": "SELECT, INSERT, UPDATE, DELETE",
        "readonly": "SELECT",
        "auditor": "SELECT",
    },
    "customer_merge_moves": {
        "app": "SELECT, INSERT, UPDATE (returned_at)",
        "readonly": "",
        "auditor": "SELECT",
    },
    "customer_merges": {
        "app": "SELECT, INSERT (id, survivor_id, absorbed_id, actor, reason, absorbed, filled), "
        "UPDATE (absorbed, filled, undone_at, undone_by, undo_reason, undo_report)",
        "readonly": "",
        "auditor": "SELECT",
    },
    "customer_redirects": {
        "app": "SELECT, INSERT, UPDATE (customer_id), DELETE",
        "readonly": "SELECT",
        "auditor": "SELECT",
    },
    "customers": {"app": "SELECT, INSERT, UPDATE, DELETE", "readonly": "SELECT", "auditor": "SELECT"},
    "embedding_models": {
        "app": "SELECT, INSERT, UPDATE",
        "readonly": "SELECT",
        "auditor": "SELECT",
    },
    "embedding_queue": {"app": "SELECT, INSERT, UPDATE, DELETE", "readonly": "SELECT", "auditor": "SELECT"},
    "identity_events": {"app": "SELECT", "readonly": "", "auditor": "SELECT"},
    "inbound_receipts": {"app": "SELECT, INSERT", "readonly": "SELECT", "auditor": "SELECT"},
    "knowledge_base": {"app": "SELECT, INSERT, UPDATE", "readonly": "SELECT", "auditor": "SELECT"},
    "knowledge_embeddings": {
        "app": "SELECT, INSERT, UPDATE, DELETE",
        "readonly": "SELECT",
        "auditor": "SELECT",
    },
    "message_embeddings": {
        "app": "SELECT, INSERT, UPDATE, DELETE",
        "readonly": "SELECT",
        "auditor": "SELECT",
    },
    "messages": {"app": "SELECT, INSERT, UPDATE", "readonly": "SELECT", "auditor": "SELECT"},
    "ticket_embeddings": {
        "app": "SELECT, INSERT, UPDATE, DELETE",
        "readonly": "SELECT",
        "auditor": "SELECT",
    },
    "ticket_field_changes": {"app": "SELECT", "readonly": "", "auditor": "SELECT"},
    "ticket_links": {"app": "SELECT, INSERT", "readonly": "SELECT", "auditor": "SELECT"},
    "ticket_record_heads": {"app": "SELECT", "readonly": "", "auditor": "SELECT"},
    "ticket_status_changes": {"app": "SELECT", "readonly": "", "auditor": "SELECT"},
    # The record belongs to the id, and people name tickets by their number: neither changes.
    "tickets": {
        "app": "SELECT, INSERT, UPDATE (conversation_id, customer_id, subject, category, priority, status, "
        "assigned_to, escalation_reason, resolution_notes, metadata, updated_at, resolved_at)",
        "readonly": "SELECT",
        "auditor": "SELECT",
    },
}
SEQUENCES: dict[str, dict[str, str]] = {
    "ticket_number_seq": {"app": "USAGE", "readonly": "", "auditor": "SELECT"},
}
FUNCTIONS: dict[str, dict[str, str]] = {
    # Of those that run as their owner; triggers call the others.
    "record_identity_events": {"app": "EXECUTE", "readonly": "", "auditor": ""},
}
ROLES = ("app", "readonly", "auditor")

_REFUSALS = {
    "25006": "the roles cannot be repaired on a server, or by a user, that only reads",
    "42501": "this database user may not repair the roles",
    "55P03": "the roles were not repaired, because others hold a lock on a table",
}

_RIGHT = re.compile(r"(\w+)(?: \(([^)]*)\))?(?:, |$)")
_PREFIX = re.compile(r"[a-z_][a-z0-9_]{0,49}")
_FUNCTION = re.compile(r"^CREATE OR REPLACE FUNCTION (\w+)\(", re.MULTILINE)

_PRESENT = text("SELECT rolname FROM pg_roles WHERE rolname = ANY (:names)")


class Right(NamedTuple):
    role: str
    object: str
    privilege: str
    column: str
    """Empty for a right on the whole object."""

    def __str__(self) -> str:
        return f"{self.role} may {self.privilege} {self.object}{f' ({self.column})' if self.column else ''}"


def script(prefix: str = "crm", *, version_table: str = "alembic_version") -> str:
    """The SQL that creates the roles of this database, or repairs them: for psql, on any server.

    Raises:
        InvalidValue: the prefix is no plain lower-case name.
    """
    return f"BEGIN;\n{_statements(prefix, version_table)}COMMIT;\n"


def apply(
    connection: Connection, prefix: str = "crm", *, version_table: str = "alembic_version"
) -> list[str]:
    """Create or repair the roles, commit, and return what was wrong before.

    The first time it needs a superuser, or somebody who may create roles and owns the tables; afterwards the
    migrator is enough, as long as only rights on tables and functions are to be repaired.

    Raises:
        CRMError: the database user may not do it, or did not get its locks.
        InvalidValue: the prefix is no plain lower-case name.
    """
    found = differences(connection, prefix, version_table=version_table)
    if found:
        try:
            connection.exec_driver_sql(_statements(prefix, version_table).replace("%", "%%"))
        except DBAPIError as error:
            reason = _REFUSALS.get(getattr(error.orig, "sqlstate", None) or "")
            if reason is None:
                raise
            connection.rollback()
            raise CRMError(f"{reason}; nothing was changed") from None
    connection.commit()
    return found


def differences(
    connection: Connection, prefix: str = "crm", *, version_table: str = "alembic_version"
) -> list[str]:
    """What the database's roles may do and should not, or should and may not; reads only.

    Raises:
        InvalidValue: the prefix is no plain lower-case name.
    """
    check_prefix(prefix)
    names = {role: f"{prefix}_{role}" for role in ("owner", "migrator", *ROLES)}
    present = set(connection.scalars(_PRESENT, {"names": list(names.values())}))
    missing = [f"there is no role {name}" for name in names.values() if name not in present]
    if missing:
        return missing
    lines = {**_tables(version_table), **SEQUENCES, **FUNCTIONS}
    values = {
        "owner": names["owner"],
        "migrator": names["migrator"],
        "app": names["app"],
        "others": [names[role] for role in ROLES],
        "relations": list(lines),
        "functions": list(own_functions()),
        "powers": POWERS,
    }
    found = list(connection.scalars(WRONG, values))
    actual = {Right(*row) for row in connection.execute(RIGHTS, values)}
    existing = set(connection.scalars(EXISTING, values))
    expected = {
        Right(names[role], relation, privilege, column)
        for relation, by_role in lines.items()
        if relation in existing
        for role, rights in by_role.items()
        for privilege, column in _parsed(rights)
    }
    found += sorted(f"{right}, and should not" for right in actual - expected)
    found += sorted(f"{right}: not granted" for right in expected - actual)
    return found


def check_prefix(prefix: str) -> None:
    """Refuse what would need quotes, and what PostgreSQL keeps for itself.

    Raises:
        InvalidValue: the prefix is no plain lower-case name.
    """
    if not _PREFIX.fullmatch(prefix) or f"{prefix}_".startswith("pg_"):
        problem = "must be lower-case letters, digits and underscores, at most 50, and not begin with pg_"
        raise InvalidValue("prefix", problem)


def own_functions() -> set[str]:
    """The names of the functions that the migrations create."""
    texts = (file.read_text() for file in files(__package__).joinpath("sql").iterdir())
    return {name for sql in texts for name in _FUNCTION.findall(sql)}


def _statements(prefix: str, version_table: str) -> str:
    check_prefix(prefix)
    lines = {"TABLE": _tables(version_table), "SEQUENCE": SEQUENCES, "FUNCTION": FUNCTIONS}
    return render(prefix, lines=lines, functions=sorted(own_functions()))


def _tables(version_table: str) -> dict[str, dict[str, str]]:
    return {version_table if name == "alembic_version" else name: line for name, line in TABLES.items()}


def _parsed(rights: str) -> Iterator[tuple[str, str]]:
    """Privilege and column of each right in a line."""
    for privilege, columns in _RIGHT.findall(rights):
        for column in columns.split(", "):
            yield privilege, column
