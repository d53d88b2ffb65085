"""The roles of one database: what differs from the table of rights, and its repair.

The owner of the tables is nobody's login; migrations work as the owner through ``migrator``. ``script`` is
plain SQL, so that it can be read, and run by hand on a managed server; running it again repairs what has
changed since.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from textwrap import indent
from typing import NamedTuple

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from ... import migrations
from ...errors import CRMError, InvalidValue, explain
from .rights import FUNCTIONS, ROLES, SEQUENCES, TABLES

_RULES = (Path(__file__).parent / "rules.sql").read_text(encoding="utf-8")
"""Every rule: what breaks it in words, and the statement that repairs it; names in braces are filled in."""
_RULE = re.compile(r"((?:^--[^\n]*\n)+)^((?:SELECT|WITH)\b.*?);$", re.MULTILINE | re.DOTALL)
_HEAD = """\
BEGIN;
-- Creates or repairs the roles of one database: {roles}.
-- Whatever is right already is left alone, so that who may not create roles can repair rights.
-- Passwords are yours to give: ALTER ROLE {app} PASSWORD ..., or \\password in psql.
SET LOCAL lock_timeout = '5s';
DO $crm$ BEGIN PERFORM pg_advisory_xact_lock(hashtextextended('crm/roles', 0)); END $crm$;
"""
_REPAIR = """
{comment}DO $crm$
DECLARE
    statement text;
BEGIN
    -- All of them before the first one is run: a repair changes what the rule sees.
    FOREACH statement IN ARRAY ARRAY(
        SELECT DISTINCT fault.repair FROM (
{query}
        ) AS fault (problem, repair) WHERE fault.repair IS NOT NULL
    ) LOOP
        EXECUTE statement;
    END LOOP;
END
$crm$;
"""
_POWERS = [
    "pg_create_subscription",
    "pg_execute_server_program",
    "pg_maintain",
    "pg_read_all_data",
    "pg_read_server_files",
    "pg_write_all_data",
    "pg_write_server_files",
]
"""PostgreSQL's own roles that go past the rights on tables."""

_PREFIX = re.compile(r"[a-z_][a-z0-9_]{0,49}")


class _Rule(NamedTuple):
    comment: str
    query: str
    """Rows of a problem and its repair."""


def script(prefix: str = "crm", *, version_table: str = "alembic_version") -> str:
    """The SQL that creates the roles of this database, or repairs them: for psql, on any server.

    Raises:
        InvalidValue: the prefix is no plain lower-case name.
    """
    rules = _rules(prefix, version_table)
    head = _HEAD.format(roles=", ".join(_names(prefix)), app=f"{prefix}_app")
    repairs = [_REPAIR.format(comment=rule.comment, query=indent(rule.query, " " * 12)) for rule in rules]
    return "".join([head, *repairs, "COMMIT;\n"])


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
    problems = differences(connection, prefix, version_table=version_table)
    if problems:
        try:
            connection.exec_driver_sql(script(prefix, version_table=version_table).replace("%", "%%"))
        except DBAPIError as error:
            connection.rollback()
            raise CRMError(f"the roles were not repaired: {explain(error)}; nothing was changed") from None
    connection.commit()
    return problems


def differences(
    connection: Connection, prefix: str = "crm", *, version_table: str = "alembic_version"
) -> list[str]:
    """What the database's roles may do and should not, or should and may not; reads only.

    Raises:
        InvalidValue: the prefix is no plain lower-case name.
    """
    presence, *others = _rules(prefix, version_table)
    # The queries of the others name the roles.
    return _problems(connection, [presence]) or _problems(connection, others)


def check_prefix(prefix: str) -> None:
    """Refuse what would need quotes, and what PostgreSQL keeps for itself.

    Raises:
        InvalidValue: the prefix is no plain lower-case name.
    """
    if not _PREFIX.fullmatch(prefix) or f"{prefix}_".startswith("pg_"):
        problem = "must be lower-case letters, digits and underscores, at most 50, and not begin with pg_"
        raise InvalidValue("prefix", problem)


def _rules(prefix: str, version_table: str) -> list[_Rule]:
    check_prefix(prefix)
    tables = {version_table if name == "alembic_version" else name: line for name, line in TABLES.items()}
    kinds = {"TABLE": tables, "SEQUENCE": SEQUENCES, "FUNCTION": FUNCTIONS}
    lines = [
        f"({', '.join(map(_literal, (kind, name, f'{prefix}_{role}', line)))})"
        for kind, objects in kinds.items()
        for name, by_role in objects.items()
        for role, line in by_role.items()
    ]
    names = _names(prefix)
    text = _RULES.format(
        **{role: _literal(f"{prefix}_{role}") for role in ("owner", "migrator", *ROLES)},
        ours=_array(names),
        others=_array(f"{prefix}_{role}" for role in ROLES),
        powers=_array(_POWERS),
        relations=_array([*tables, *SEQUENCES]),
        functions=_array(sorted(migrations.own_functions())),
        rights=",\n        ".join(lines),
    )
    return [_Rule(*rule) for rule in _RULE.findall(text)]


def _problems(connection: Connection, rules: list[_Rule]) -> list[str]:
    queries = "\nUNION ALL\n".join(f"({rule.query})" for rule in rules)
    statement = f"SELECT DISTINCT problem FROM ({queries}) AS fault (problem, repair)"  # noqa: S608 - our own
    return sorted(
        problem for problem in connection.exec_driver_sql(statement.replace("%", "%%")).scalars() if problem
    )


def _names(prefix: str) -> list[str]:
    return [f"{prefix}_{role}" for role in ("owner", "migrator", *ROLES)]


def _literal(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _array(values: Iterable[str]) -> str:
    return f"ARRAY[{', '.join(map(_literal, values))}]"
