"""``app/sql`` against the migrations: each function and trigger has its file, with today's text."""

from __future__ import annotations

from pathlib import Path

import pytest

SQL = Path(__file__).resolve().parents[2] / "app" / "sql"
FILES = sorted(SQL.glob("*.sql"))
FUNCTIONS = [path for path in FILES if not path.stem.startswith("trg_")]
TRIGGERS = [path for path in FILES if path.stem.startswith("trg_")]
OWN_FUNCTIONS = """
    SELECT p.proname, p.oid::regprocedure::text FROM pg_proc p
    WHERE p.pronamespace = 'public'::regnamespace
        AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')
    ORDER BY 1
"""
OWN_TRIGGERS = "SELECT tgname, tgrelid::regclass::text FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1"


def test_every_function_and_trigger_has_its_file_and_every_file_its_object(server):
    url = server.as_migrated("head")
    assert [name for name, _ in server.ask(url, OWN_FUNCTIONS)] == [path.stem for path in FUNCTIONS]
    assert [name for name, _ in server.ask(url, OWN_TRIGGERS)] == [path.stem for path in TRIGGERS]


def test_functions_and_triggers_made_anew_from_their_files_are_those_of_the_migrations(server):
    url = server.at("head")
    migrated = server.dump(url)
    drops = [f"DROP TRIGGER {name} ON {table};" for name, table in server.ask(url, OWN_TRIGGERS)]
    drops += [f"DROP FUNCTION {signature};" for _, signature in server.ask(url, OWN_FUNCTIONS)]
    server.execute(url, "\n".join(drops))
    assert server.dump(url) != migrated

    server.execute(url, "\n".join(path.read_text() for path in [*FUNCTIONS, *TRIGGERS]))

    assert server.dump(url).splitlines() == migrated.splitlines()


def test_the_files_can_be_applied_again_and_again(server):
    url = server.at("head")
    migrated = server.dump(url)
    script = "\n".join(path.read_text() for path in [*FUNCTIONS, *TRIGGERS])
    server.execute(url, script)
    server.execute(url, script)
    assert server.dump(url) == migrated


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_holds_one_object_named_as_the_file(path):
    text = path.read_text()
    assert text.count("CREATE ") == text.count("CREATE OR REPLACE ") == 1
    assert f" {path.stem}" in text.split("CREATE OR REPLACE ")[1].splitlines()[0]


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


def test_functions_with_the_owner_s_rights_have_a_pinned_path_and_no_public_caller(server):
    rows = server.ask(
        server.as_migrated("head"),
        """
        SELECT proname, proconfig, has_function_privilege('public', oid, 'EXECUTE') FROM pg_proc
        WHERE prosecdef AND pronamespace = 'public'::regnamespace
        """,
    )
    assert rows
    for name, settings, public in rows:
        assert "search_path=pg_catalog, public, pg_temp" in settings, name
        assert not public, name
