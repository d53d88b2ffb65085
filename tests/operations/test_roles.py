"""The roles' rights, by the catalogue's word and by real attempts."""

from __future__ import annotations

import re

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from app import migrations
from app.models import Base
from app.operations import roles

from .conftest import REFUSED, refusal

WHOLE = ["SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER"]
CELLS = [pytest.param(table, role, id=f"{role}-{table}") for table in roles.TABLES for role in roles.ROLES]


def listed(table: str, role: str) -> dict[str, set[str]]:
    """Privilege -> columns, none for the whole table; read from the line by other means than the code's."""
    line = roles.TABLES[table][role]
    whole = set(filter(None, re.sub(r"\w+ \([^)]*\)", "", line).replace(",", " ").split()))
    parts = {name: set(columns.split(", ")) for name, columns in re.findall(r"(\w+) \(([^)]*)\)", line)}
    return {name: set() for name in whole} | parts


def test_every_table_of_the_models_has_a_line():
    assert set(roles.TABLES) == {*Base.metadata.tables, "alembic_version"}
    assert all(tuple(line) == roles.ROLES for line in roles.TABLES.values())


def test_the_lines_keep_to_what_the_roles_are_for():
    """What the matrix itself must never say, whoever edits it."""
    for table in roles.TABLES:
        rights = {role: listed(table, role) for role in roles.ROLES}
        assert rights["auditor"] == {"SELECT": set()}, table
        assert rights["readonly"] in ({}, {"SELECT": set()}), table
        assert rights["app"].keys() <= {"SELECT", "INSERT", "UPDATE", "DELETE"}, table
    for audit in (
        "ticket_status_changes",
        "ticket_field_changes",
        "ticket_record_heads",
        "identity_events",
        "change_feed",
    ):
        assert listed(audit, "app") == {"SELECT": set()}
    for rights in roles.FUNCTIONS.values():
        assert rights == {"app": "EXECUTE", "readonly": "", "auditor": ""}
    assert roles.FUNCTIONS.keys() == {"record_identity_events", "erase_old_messages"}
    assert "DELETE" not in listed("tickets", "app")


def test_every_table_and_sequence_of_the_database_has_a_line(desk):
    own = "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind "
    assert {name for (name,) in desk.run(f"{own} IN ('r', 'p', 'v', 'm', 'f')")} == set(roles.TABLES)
    # Those of identity columns need no right: who may insert may have the default.
    of_columns = "(SELECT objid FROM pg_depend WHERE deptype = 'i' AND refobjsubid > 0)"
    assert {name for (name,) in desk.run(f"{own} = 'S' AND oid NOT IN {of_columns}")} == set(roles.SEQUENCES)


def test_every_function_of_the_database_is_one_that_the_owner_gets(desk):
    functions = desk.run("""
        SELECT DISTINCT proname FROM pg_proc AS p WHERE pronamespace = 'public'::regnamespace
            AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = p.oid AND d.deptype = 'e')
    """)
    assert {name for (name,) in functions} == migrations.own_functions()


@pytest.mark.parametrize(("table", "role"), CELLS)
def test_the_catalogue_has_the_rights_of_the_line_and_no_other(desk, table, role):
    line = listed(table, role)
    values = {"role": f"{desk.prefix}_{role}", "table": table}
    for privilege in WHOLE:
        ((held,),) = desk.run("SELECT has_table_privilege(:role, :table, :right)", right=privilege, **values)
        assert held == (line.get(privilege) == set()), privilege
    for privilege in ["SELECT", "INSERT", "UPDATE", "REFERENCES"]:
        columns = desk.run(
            "SELECT attname, has_column_privilege(:role, :table, attnum, :right) FROM pg_attribute "
            "WHERE attrelid = CAST(:table AS regclass) AND attnum > 0 AND NOT attisdropped",
            right=privilege,
            **values,
        )
        held = {name for name, is_held in columns if is_held}
        named = line.get(privilege, {""}) - {""}
        assert held == (named or ({name for name, _ in columns} if privilege in line else set())), privilege


@pytest.mark.parametrize(("table", "role"), CELLS)
def test_real_attempts_have_the_rights_of_the_line_and_no_other(desk, table, role):
    line = listed(table, role)
    columns = [
        name
        for (name,) in desk.run(
            "SELECT attname FROM pg_attribute "
            "WHERE attrelid = CAST(:table AS regclass) AND attnum > 0 AND NOT attisdropped",
            table=table,
        )
    ]

    def may(privilege: str, column: str) -> bool:
        return privilege in line and (not line[privilege] or column in line[privilege])

    attempts = {
        f"SELECT FROM {table}": "SELECT" in line,
        f"DELETE FROM {table} WHERE false": "DELETE" in line,
        f"TRUNCATE {table} CASCADE": False,
        f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE": any(
            line.get(right) == set() for right in ("UPDATE", "DELETE")
        ),
        f"CREATE TRIGGER t AFTER INSERT ON {table} EXECUTE FUNCTION update_updated_at()": False,
        f"COPY {table} FROM PROGRAM 'true'": False,
    }
    for column in columns:
        attempts[f"INSERT INTO {table} ({column}) OVERRIDING SYSTEM VALUE SELECT NULL WHERE false"] = may(
            "INSERT", column
        )
        attempts[f"UPDATE {table} SET {column} = DEFAULT"] = may("UPDATE", column)
    for statement, allowed in attempts.items():
        assert (refusal(desk, role, statement) != REFUSED) == allowed, statement


@pytest.mark.parametrize("role", roles.ROLES)
def test_only_the_app_draws_ticket_numbers_and_nobody_sets_them(desk, role):
    assert (refusal(desk, role, "SELECT nextval('ticket_number_seq')") is None) == (role == "app")
    assert refusal(desk, role, "SELECT setval('ticket_number_seq', 1)") == REFUSED
    assert refusal(desk, role, "SELECT nextval('ticket_status_changes_seq_seq')") == REFUSED
    assert refusal(desk, role, "SELECT nextval('identity_events_seq_seq')") == REFUSED


@pytest.mark.parametrize("role", roles.ROLES)
@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE mine (id int)",
        "CREATE TEMPORARY TABLE mine (id int)",
        "CREATE TABLE mine () INHERITS (tickets)",
        "CREATE VIEW mine AS SELECT 1",
        "CREATE MATERIALIZED VIEW mine AS SELECT 1",
        "CREATE SEQUENCE mine",
        "CREATE TEMPORARY SEQUENCE ticket_number_seq",
        "CREATE TYPE mine AS (id int)",
        "CREATE DOMAIN mine AS int",
        "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE FUNCTION pg_temp.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE OPERATOR public.=== (LEFTARG = int, RIGHTARG = int, FUNCTION = int4eq)",
        'CREATE COLLATION mine FROM "C"',
        "CREATE SCHEMA mine",
        "ALTER EXTENSION vector UPDATE",
        "CREATE INDEX mine ON tickets (subject)",
        "CREATE RULE mine AS ON UPDATE TO tickets DO INSTEAD NOTHING",
        "CREATE POLICY mine ON tickets USING (true)",
        "CREATE STATISTICS mine ON status, priority FROM tickets",
        "CREATE EVENT TRIGGER mine ON ddl_command_start EXECUTE FUNCTION record_ticket_status()",
        "CREATE PUBLICATION mine FOR ALL TABLES",
        "CREATE ROLE mine",
        "CREATE DATABASE mine",
        "CREATE FUNCTION mine() RETURNS int LANGUAGE c AS '$libdir/none'",
        "ALTER SYSTEM SET fsync = off",
        "ALTER TABLE tickets ADD mine int",
        "DROP TABLE messages",
        "COMMENT ON TABLE tickets IS 'mine'",
        "SELECT lo_import('/etc/passwd')",
        "SELECT pg_read_file('/etc/passwd')",
    ],
)
def test_no_role_creates_objects_or_leaves_the_database(desk, role, statement):
    assert refusal(desk, role, statement) == REFUSED


@pytest.mark.own_connection("settings of a role reach only new connections to the server")
def test_the_readers_begin_read_only_transactions(desk):
    for role in ("readonly", "auditor"):
        with desk.login(role).connect() as connection:
            assert connection.scalar(text("SHOW transaction_read_only")) == "on"


def test_every_function_that_runs_as_its_owner_is_pinned_and_open_to_whom_its_line_names(desk):
    functions = desk.run(
        """
        SELECT proname, proconfig, has_function_privilege('public', oid, 'EXECUTE') AS is_public, ARRAY(
            SELECT role FROM unnest(CAST(:roles AS text[])) AS role
            WHERE has_function_privilege(concat(CAST(:prefix AS text), '_', role), oid, 'EXECUTE')
        ) AS callers
        FROM pg_proc WHERE prosecdef AND pronamespace = 'public'::regnamespace
    """,
        roles=list(roles.ROLES),
        prefix=desk.prefix,
    )
    assert {"record_ticket_status", "follow_customer_redirect", *roles.FUNCTIONS} <= {
        f.proname for f in functions
    }
    for function in functions:
        line = roles.FUNCTIONS.get(function.proname, {})
        assert function.proconfig == ["search_path=pg_catalog, public, pg_temp"], function.proname
        assert not function.is_public, function.proname
        assert function.callers == [role for role in roles.ROLES if line.get(role)], function.proname


@pytest.mark.parametrize("role", roles.ROLES)
def test_only_the_app_records_identity_events_and_only_through_the_function(desk, role):
    may = role == "app"
    assert (refusal(desk, role, "SELECT record_identity_events('[]')") is None) == may
    insert = "INSERT INTO identity_events (customer_id, event, actor) SELECT id, 'created', 'human:7'"
    assert refusal(desk, role, f"{insert} FROM customers") == REFUSED


@pytest.mark.own_connection("the pooler answers for logins and databases")
def test_the_owner_cannot_log_in_and_the_migrator_works_as_the_owner(desk):
    with pytest.raises(DBAPIError, match="not permitted to log in"):
        desk.login("owner").connect()
    with desk.login("migrator").connect() as connection:
        names = connection.execute(text("SELECT session_user, current_user")).one()
    assert tuple(names) == (f"{desk.prefix}_migrator", f"{desk.prefix}_owner")
