"""The roles' rights, by the catalogue's word and by real attempts."""

from __future__ import annotations

import re
import secrets

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from app import migrations, roles
from app.database import make_engine
from app.errors import CRMError, InvalidValue
from app.models import Base

from .conftest import Desk, close_desk

REFUSED = "42501"
WHOLE = ["SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER"]
CELLS = [pytest.param(table, role, id=f"{role}-{table}") for table in roles.TABLES for role in roles.ROLES]


def listed(table: str, role: str) -> dict[str, set[str]]:
    """Privilege -> columns, none for the whole table; read from the line by other means than the code's."""
    line = roles.TABLES[table][role]
    whole = set(filter(None, re.sub(r"\w+ \([^)]*\)", "", line).replace(",", " ").split()))
    parts = {name: set(columns.split(", ")) for name, columns in re.findall(r"(\w+) \(([^)]*)\)", line)}
    return {name: set() for name in whole} | parts


def refusal(desk, role: str, statement: str) -> str | None:
    """The SQLSTATE with which the statement is refused, if it is, for a login as the role; nothing stays."""
    alone = statement.startswith(("CREATE DATABASE", "ALTER SYSTEM"))
    with desk.login(role).connect() as connection:
        if alone:
            connection.execution_options(isolation_level="AUTOCOMMIT")
        # The readers may allow themselves to write; it is no use to them.
        connection.execute(text(f"SET {'default_' if alone else ''}transaction_read_only = off"))
        try:
            connection.exec_driver_sql(statement.replace("%", "%%"))
        except DBAPIError as error:
            return error.orig.sqlstate
        finally:
            connection.rollback()
    return None


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
    for audit in ("ticket_status_changes", "ticket_field_changes", "ticket_record_heads", "identity_events"):
        assert listed(audit, "app") == {"SELECT": set()}
    assert roles.FUNCTIONS == {"record_identity_events": {"app": "EXECUTE", "readonly": "", "auditor": ""}}
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
    assert {name for (name,) in functions} == roles.own_functions()


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
        attempts[f"INSERT INTO {table} ({column}) SELECT NULL WHERE false"] = may("INSERT", column)
        attempts[f"UPDATE {table} SET {column} = NULL"] = may("UPDATE", column)
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


def test_the_owner_cannot_log_in_and_the_migrator_works_as_the_owner(desk):
    with pytest.raises(DBAPIError, match="not permitted to log in"):
        desk.login("owner").connect()
    with desk.login("migrator").connect() as connection:
        names = connection.execute(text("SELECT session_user, current_user")).one()
    assert tuple(names) == (f"{desk.prefix}_migrator", f"{desk.prefix}_owner")


def test_doing_it_again_changes_nothing(desk):
    state = """
        SELECT (SELECT array_agg((relname, relowner, relacl) ORDER BY relname) FROM pg_class
                WHERE relnamespace = 'public'::regnamespace)::text,
            (SELECT array_agg((proname, proowner, proacl) ORDER BY oid) FROM pg_proc
                WHERE pronamespace = 'public'::regnamespace)::text,
            (SELECT array_agg(m ORDER BY roleid, member, grantor) FROM pg_auth_members AS m
                WHERE starts_with(roleid::regrole::text, :prefix))::text,
            (SELECT array_agg((nspname, nspacl) ORDER BY nspname) FROM pg_namespace)::text,
            (SELECT datacl FROM pg_database WHERE datname = current_database())::text,
            (SELECT array_agg(s ORDER BY setrole) FROM pg_db_role_setting AS s
                WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database()))::text
    """
    before = desk.run(state, prefix=desk.prefix)

    assert desk.repair() == []
    with psycopg.connect(desk.admin.url.set(drivername="postgresql").render_as_string(False)) as connection:
        connection.execute(roles.script(desk.prefix))

    assert desk.run(state, prefix=desk.prefix) == before


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        ("GRANT TRUNCATE ON tickets TO {app}", "may TRUNCATE tickets"),
        ("GRANT UPDATE (ticket_number) ON tickets TO {app}", "may UPDATE tickets (ticket_number)"),
        ("GRANT INSERT ON ticket_status_changes TO {app}", "may INSERT ticket_status_changes"),
        ("GRANT INSERT ON identity_events TO {app}", "may INSERT identity_events"),
        ("GRANT INSERT (db_user) ON identity_events TO {app}", "may INSERT identity_events (db_user)"),
        (
            "REVOKE EXECUTE ON FUNCTION record_identity_events FROM {app}",
            "app may EXECUTE record_identity_events: not granted",
        ),
        (
            "GRANT EXECUTE ON FUNCTION record_identity_events TO {readonly}",
            "readonly may EXECUTE record_identity_events, and should not",
        ),
        (
            "GRANT EXECUTE ON FUNCTION record_ticket_status TO {app}",
            "app may EXECUTE record_ticket_status, and should not",
        ),
        ("GRANT SELECT ON customers TO PUBLIC", "public may SELECT customers"),
        ("GRANT UPDATE ON SEQUENCE ticket_number_seq TO {app}", "may UPDATE ticket_number_seq"),
        ("REVOKE INSERT ON messages FROM {app}", "may INSERT messages: not granted"),
        ("REVOKE UPDATE (status) ON tickets FROM {app}", "may UPDATE tickets (status): not granted"),
        ("REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {auditor}", "may SELECT messages: not granted"),
        ("ALTER TABLE tickets OWNER TO {app}", "tickets is not owned by"),
        ("ALTER FUNCTION record_ticket_status() OWNER TO {app}", "record_ticket_status() is not owned by"),
        ("GRANT EXECUTE ON FUNCTION record_ticket_status() TO PUBLIC", "anybody may execute"),
        ("GRANT CREATE ON SCHEMA public TO PUBLIC", "public may create objects"),
        ("GRANT CREATE ON SCHEMA public TO {app}", "app may create objects"),
        ("REVOKE USAGE ON SCHEMA public FROM PUBLIC, {app}", "app may not use the database"),
        ("REVOKE CREATE ON SCHEMA public FROM {owner}", "owner may not create tables"),
        ("ALTER ROLE {app} SUPERUSER", "app is a superuser"),
        ("ALTER ROLE {app} CREATEROLE CREATEDB REPLICATION BYPASSRLS", "app may create roles"),
        ("ALTER ROLE {app} NOLOGIN", "app may not log in"),
        ("ALTER ROLE {owner} LOGIN", "owner may log in"),
        ("GRANT {owner} TO {app}", "can act as"),
        ("GRANT {owner} TO {app} WITH INHERIT FALSE, SET FALSE", "can act as"),
        ("GRANT {app} TO {readonly}", "can act as"),
        ("GRANT pg_write_all_data TO {app}", "app can act as pg_write_all_data"),
        ("GRANT pg_read_all_data TO {readonly}", "readonly can act as pg_read_all_data"),
        ("GRANT pg_execute_server_program TO {migrator}", "migrator can act as pg_execute_server_program"),
        (
            "DROP ROLE IF EXISTS {app}_x; CREATE ROLE {app}_x; GRANT {owner} TO {app}_x; "
            "GRANT {app}_x TO {app} WITH INHERIT FALSE",
            "app can act as",
        ),
        ("ALTER DATABASE {database} OWNER TO {app}", "app owns the database"),
        ("ALTER SCHEMA public OWNER TO {readonly}", "readonly owns the schema public"),
        ("GRANT pg_monitor TO {auditor}", None),
        ("REVOKE {owner} FROM {migrator}", "is not a member of"),
        ("ALTER ROLE {readonly} RESET ALL", None),
        ("ALTER ROLE {readonly} IN DATABASE {database} RESET ALL", "has not the setting"),
        ("ALTER ROLE {migrator} IN DATABASE {database} RESET role", "has not the setting"),
        ("GRANT TEMPORARY ON DATABASE {database} TO PUBLIC", "temporary tables"),
        ("GRANT CREATE ON DATABASE {database} TO {app}", "may create schemas"),
    ],
)
def test_what_was_changed_since_is_named_and_repaired(desk, damage, named):
    desk.run(desk.role(damage.replace("{database}", desk.admin.url.database)))

    found = desk.wrong()

    assert any(named in problem for problem in found) if named else found == []
    assert desk.repair() == found
    assert desk.wrong() == []


def test_the_prefix_must_be_a_plain_name(desk):
    for prefix in (
        "",
        "Crm",
        "crm-",
        "crm app",
        "crm\n",
        "crm'; DROP ROLE postgres; --",
        "c" * 51,
        "pg",
        "pg_a",
    ):
        with pytest.raises(InvalidValue, match=r"^prefix: "):
            roles.script(prefix)


@pytest.mark.parametrize("role", roles.ROLES)
def test_who_may_not_repair_is_told_so_and_changes_nothing(desk, role):
    desk.run(desk.role("GRANT TRUNCATE ON tickets TO {auditor}"))
    found = desk.wrong()

    with pytest.raises(CRMError, match=r"(may not repair the roles|that only reads); nothing was changed$"):
        desk.repair(role)

    assert desk.wrong() == found != []
    assert desk.repair() == found


def test_the_migrator_can_migrate_and_repairs_the_rights_of_new_tables(own_desk):
    engine = own_desk.login("migrator")
    migrations.downgrade(engine, "0006", allow_data_loss=True)
    migrations.upgrade(engine)

    found = own_desk.wrong()
    assert f"{own_desk.prefix}_app may SELECT identity_events: not granted" in found
    assert f"{own_desk.prefix}_app may EXECUTE record_identity_events: not granted" in found
    assert not [problem for problem in found if "owned" in problem]

    assert own_desk.repair("migrator") == found
    assert own_desk.wrong() == []


def test_roles_can_be_made_before_the_tables(crm_databases):
    url = crm_databases.empty()
    desk = Desk(make_engine(url, allow_insecure_tls=True), f"crm_t_{secrets.token_hex(4)}")
    try:
        desk.run("CREATE EXTENSION vector")
        assert desk.repair() != []
        assert desk.wrong() == []

        migrations.upgrade(desk.login("migrator"))
        assert desk.repair("migrator") != []
        assert desk.wrong() == []
    finally:
        close_desk(crm_databases, desk)


def test_on_a_managed_server_the_administrator_need_not_be_a_superuser(own_desk):
    administrator = f"{own_desk.prefix}_admin"
    with own_desk.admin.begin() as connection:
        connection.execute(text(f"CREATE ROLE {administrator} LOGIN CREATEROLE"))
        connection.execute(text(f"ALTER DATABASE {own_desk.admin.url.database} OWNER TO {administrator}"))
    own_desk.run(f"ALTER SCHEMA public OWNER TO {administrator}")
    own_desk.run(own_desk.role(f"REASSIGN OWNED BY {{owner}} TO {administrator}"))
    managed = Desk(own_desk.admin, f"{own_desk.prefix}_m")
    engine = make_engine(own_desk.admin.url.set(username=administrator), poolclass=NullPool)

    with engine.connect() as connection:
        assert roles.apply(connection, managed.prefix) != []
        assert roles.apply(connection, managed.prefix) == []

    assert managed.wrong() == []


def test_the_schema_stays_the_one_of_the_migrations(desk):
    migrations.check(desk.admin)
