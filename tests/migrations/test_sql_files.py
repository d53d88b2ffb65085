"""``alembic/sql`` against the migrations: each text of a function or trigger stands once, in its own file."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, text

from app import migrations
from app.migrations import sql_files

ALEMBIC = Path(__file__).resolve().parents[2] / "alembic"
FILES = sorted((ALEMBIC / "sql").iterdir())
FIRST, *LATER = sorted((ALEMBIC / "versions").glob("*.py"))
CREATES = re.compile(r"CREATE (?:OR REPLACE )?(FUNCTION|TRIGGER) (\w+)")
OWN_FUNCTIONS = """
    SELECT p.proname, p.oid::regprocedure::text FROM pg_proc p
    WHERE p.pronamespace = 'public'::regnamespace
        AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')
    ORDER BY 1
"""
OWN_TRIGGERS = "SELECT tgname, tgrelid::regclass::text FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1"
ODD = """\
-- ':comment', 100 % of it
CREATE OR REPLACE FUNCTION odd() RETURNS text LANGUAGE sql
AS $$ SELECT ':name %s %(name)s %% \\:x ' || 1::text $$;
COMMENT ON FUNCTION odd() IS 'a second statement';
"""


def today() -> str:
    statements = migrations.own_statements()
    return "\n".join(statements[name] for name in sorted(statements, key=lambda n: (n.startswith("trg_"), n)))


def test_every_function_and_trigger_has_its_text_and_every_text_its_object(server):
    url = server.as_migrated("head")
    functions = {name for name, _ in server.ask(url, OWN_FUNCTIONS)}
    triggers = {name for name, _ in server.ask(url, OWN_TRIGGERS)}
    assert migrations.own_functions() == functions
    assert migrations.own_statements().keys() == functions | triggers


INDEXES_OF_FUNCTIONS = """
    SELECT DISTINCT i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid)
    FROM pg_index i
    JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = i.indexrelid
    JOIN pg_proc p ON d.refclassid = 'pg_proc'::regclass AND p.oid = d.refobjid
    WHERE p.pronamespace = 'public'::regnamespace
"""


def test_functions_and_triggers_made_anew_from_their_files_are_those_of_the_migrations(server):
    url = server.at("head")
    migrated = server.dump(url)
    indexes = server.ask(url, INDEXES_OF_FUNCTIONS)
    drops = [f"DROP INDEX {name};" for name, _ in indexes]
    drops += [f"DROP TRIGGER {name} ON {table};" for name, table in server.ask(url, OWN_TRIGGERS)]
    drops += [f"DROP FUNCTION {signature};" for _, signature in server.ask(url, OWN_FUNCTIONS)]
    server.execute(url, "\n".join(drops))
    assert server.dump(url) != migrated

    server.execute(url, today())
    server.execute(url, "".join(f"{definition};" for _, definition in indexes))

    assert server.dump(url).splitlines() == migrated.splitlines()


def test_the_texts_of_today_can_be_applied_again_and_again(server):
    url = server.at("head")
    migrated = server.dump(url)
    server.execute(url, today())
    server.execute(url, today())
    assert server.dump(url) == migrated


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_file_is_one_function_or_the_triggers_of_one_subject(path):
    name, _, version = path.name.removesuffix(".sql").rpartition(".v")
    created = CREATES.findall(path.read_text())
    assert path.read_text().count("CREATE ") == path.read_text().count("CREATE OR REPLACE ") == len(created)
    if name.endswith(".triggers"):
        assert {kind for kind, _ in created} == {"TRIGGER"}
    else:
        assert created == [("FUNCTION", name)]
    assert int(version) == 1 or path.with_name(f"{name}.v{int(version) - 1}.sql") in FILES


def test_no_revision_after_the_ddl_has_such_a_text_of_its_own():
    assert CREATES.search(FIRST.read_text())
    assert [path.name for path in LATER if CREATES.search(path.read_text())] == []


def test_the_first_version_of_what_the_ddl_has_is_the_ddl_s():
    revision = ScriptDirectory.from_config(migrations.alembic_config()).get_revision("0001").module
    ddl = [" ".join(statement.split()) for statement in revision.STATEMENTS]
    created = dict(CREATES.findall(statement)[0][::-1] for statement in ddl if CREATES.search(statement))
    assert sorted(created.values()) == ["FUNCTION"] * 2 + ["TRIGGER"] * 6
    triggers = sql_files.read("schema.triggers", 1).replace("CREATE OR REPLACE TRIGGER", "CREATE TRIGGER")
    functions = [sql_files.read(name, 1) for name, kind in created.items() if kind == "FUNCTION"]
    texts = " ".join(" ".join([triggers, *functions]).split())
    assert [statement for statement in ddl if CREATES.search(statement) and statement not in texts] == []


def test_every_file_is_made_by_some_revision(alembic):
    up, down = alembic("upgrade", "head", "--sql"), alembic("downgrade", "head:base", "--sql")
    assert (up.returncode, down.returncode) == (0, 0)
    unused = [path.name for path in FILES if path.read_text() not in up.stdout + down.stdout]
    # The first revision is the DDL itself; these are here for whoever puts its triggers back.
    assert unused == ["schema.triggers.v1.sql"]
    assert "generate_ticket_number.v1.sql" not in unused
    assert sql_files.read("generate_ticket_number", 1) not in up.stdout


@pytest.fixture
def odd(tmp_path, monkeypatch):
    """A file with what drivers and SQLAlchemy take for parameters."""
    folder = tmp_path / "alembic" / "sql"
    folder.mkdir(parents=True)
    (folder / "odd.v1.sql").write_text(ODD)
    monkeypatch.setattr(sql_files, "home", lambda: tmp_path)


def test_a_text_is_run_as_it_stands_without_alembic_s_environment_too(server, odd):
    engine = create_engine(server.empty())
    with engine.begin() as connection:
        Operations(MigrationContext.configure(connection)).execute_file("odd", version=1)
        assert connection.scalar(text("SELECT odd()")) == r":name %s %(name)s %% \:x 1"
        comment = connection.scalar(text("SELECT obj_description('odd'::regproc)"))
    engine.dispose()
    assert comment == "a second statement"


def test_a_text_is_printed_as_it_stands(odd):
    buffer = io.StringIO()
    offline = {"as_sql": True, "output_buffer": buffer, "literal_binds": True}
    context = MigrationContext.configure(dialect_name="postgresql", opts=offline)
    Operations(context).execute_file("odd", version=1)
    assert buffer.getvalue().strip() == ODD.strip()


def test_a_file_that_is_not_there_is_an_error_and_not_an_empty_text(odd):
    with pytest.raises(FileNotFoundError, match=r"odd\.v2\.sql"):
        sql_files.read("odd", 2)


def test_the_tenth_version_comes_after_the_ninth(odd, tmp_path):
    for version in (2, 9, 10):
        (tmp_path / "alembic" / "sql" / f"odd.v{version}.sql").write_text(
            ODD.replace("|| 1", f"|| {version}")
        )
    assert sql_files.newest() == {"odd": 10}
    assert "|| 10::text" in migrations.own_statements()["odd"]


def test_triggers_that_guard_fire_in_replica_mode_too(server):
    ordinary = {
        name
        for name, kind in server.ask(
            server.as_migrated("head"),
            "SELECT tgname, tgenabled FROM pg_trigger WHERE NOT tgisinternal AND tgenabled <> 'A'",
        )
    }
    assert all(
        name.endswith(("_updated_at", "_follow_redirect")) or name == "trg_ticket_number" for name in ordinary
    )


def test_functions_with_the_owner_s_rights_have_no_public_caller(server):
    rows = server.ask(
        server.as_migrated("head"),
        """
        SELECT proname, has_function_privilege('public', oid, 'EXECUTE') FROM pg_proc
        WHERE prosecdef AND pronamespace = 'public'::regnamespace
        """,
    )
    assert rows
    assert [name for name, public in rows if public] == []
