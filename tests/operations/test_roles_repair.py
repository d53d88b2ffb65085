"""What became of the roles' rights is named and repaired, by whoever may."""

from __future__ import annotations

import re
import secrets
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.pool import NullPool

from app import migrations
from app.database import make_engine
from app.errors import CRMError, InvalidValue
from app.operations import roles

from .conftest import REFUSED, Desk, close_desk, give_passwords, refusal


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
        (
            # Who owns the database may create in public by that.
            "ALTER DATABASE {database} OWNER TO CURRENT_USER; ALTER SCHEMA public OWNER TO CURRENT_USER; "
            "REVOKE CREATE ON SCHEMA public FROM {owner}",
            "owner may not create tables",
        ),
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
        ("GRANT CREATE ON DATABASE {database} TO PUBLIC", "public may create schemas"),
        ("ALTER FUNCTION record_ticket_status() RESET search_path", "without a pinned search_path"),
    ],
)
def test_what_was_changed_since_is_named_and_repaired(desk, damage, named):
    desk.run(desk.role(damage.replace("{database}", desk.admin.url.database)))

    found = desk.wrong()

    assert any(named in problem for problem in found) if named else found == []
    assert desk.repair() == found
    assert desk.wrong() == []


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (
            "CREATE TABLE notes (id int); GRANT UPDATE ON notes TO {app}; ALTER TABLE notes OWNER TO {owner}",
            "table notes is not listed in the table of rights",
        ),
        (
            "CREATE FUNCTION theirs() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'",
            "anybody may execute theirs(), which runs as its owner",
        ),
    ],
)
def test_what_only_a_person_can_decide_is_named_and_left(own_desk, damage, problem):
    own_desk.run(own_desk.role(damage))

    assert problem in own_desk.repair()

    left = own_desk.wrong()
    assert problem in left
    assert not [other for other in left if "may UPDATE notes" in other]


def test_vector_in_a_schema_of_its_own_is_open_to_the_roles(own_desk):
    own_desk.run("CREATE SCHEMA extensions")
    own_desk.run("ALTER EXTENSION vector SET SCHEMA extensions")
    app = f"{own_desk.prefix}_app"
    in_words = f"{app} may not use the schema extensions, where vector is"
    assert refusal(own_desk, "app", "SELECT '[1]'::extensions.vector") == REFUSED

    assert in_words in own_desk.repair()

    assert own_desk.wrong() == []
    assert refusal(own_desk, "app", "SELECT '[1]'::extensions.vector") is None


def test_each_rule_stands_in_the_script_once():
    rules = (Path(roles.__file__).parent / "rules.sql").read_text(encoding="utf-8")
    script = roles.script("crm")

    comments = re.findall(r"^-- .+(?=\n(?:SELECT|WITH)\b)", rules, re.MULTILINE)
    assert len(comments) == rules.count(";\n") > 15
    assert [comment for comment in comments if script.count(comment) != 1] == []


def test_the_version_table_has_whatever_name_it_has(own_desk):
    own_desk.run("""ALTER TABLE alembic_version RENAME TO "Crm's versions" """)

    with own_desk.admin.connect() as connection:
        roles.apply(connection, own_desk.prefix, version_table="Crm's versions")
        assert roles.differences(connection, own_desk.prefix, version_table="Crm's versions") == []

    assert refusal(own_desk, "app", """SELECT FROM "Crm's versions" """) is None
    assert refusal(own_desk, "app", """DELETE FROM "Crm's versions" """) == REFUSED


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

    with pytest.raises(CRMError, match=r"(has not the rights|may only read); nothing was changed$"):
        desk.repair(role)

    assert desk.wrong() == found != []
    assert desk.repair() == found


@pytest.mark.own_connection("migrations hold a lock of their session")
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


@pytest.mark.own_connection("migrations hold a lock of their session")
def test_roles_can_be_made_before_the_tables(crm_databases):
    url = crm_databases.empty()
    desk = Desk(make_engine(url, allow_insecure_tls=True), f"crm_t_{secrets.token_hex(4)}")
    try:
        desk.run("CREATE EXTENSION vector")
        assert desk.repair() != []
        assert desk.wrong() == []
        give_passwords(desk)

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
    if password := own_desk.admin.url.password:
        own_desk.run(f"ALTER ROLE {administrator} PASSWORD '{password}'")
    managed = Desk(own_desk.admin, f"{own_desk.prefix}_m")
    engine = make_engine(own_desk.admin.url.set(username=administrator), poolclass=NullPool)

    with engine.connect() as connection:
        assert roles.apply(connection, managed.prefix) != []
        assert roles.apply(connection, managed.prefix) == []

    assert managed.wrong() == []


def test_the_schema_stays_the_one_of_the_migrations(desk):
    migrations.check(desk.admin)
