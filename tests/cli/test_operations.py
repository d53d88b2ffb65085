"""``crm doctor`` and ``crm db roles``: what people and cron see of them."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.pool import NullPool

from app.database import make_engine
from app.testing import Databases
from tests.operations.conftest import call_pgvector_new

Run = Callable[..., Any]


@pytest.fixture
def engine(crm_databases: Databases) -> Iterator[Engine]:
    """A database of this test alone."""
    url = crm_databases.clone()
    engine = make_engine(url, poolclass=NullPool, allow_insecure_tls=True)
    call_pgvector_new(engine)
    yield engine
    crm_databases.drop(url)


@pytest.fixture
def run(crm: Run, engine: Engine) -> Run:
    url = engine.url.render_as_string(hide_password=False)
    return lambda *arguments, **variables: crm(*arguments, DATABASE_URL=url, **variables)


def damage(engine: Engine, statement: str) -> None:
    with engine.begin() as connection:
        connection.execute(text(statement))


def test_the_doctor_of_a_sound_database_ends_well(run):
    ran = run("doctor", "--role-prefix", "crm_none")

    assert ran.code == 0
    assert "info no_roles (1): the database has no roles" in ran.out
    assert ran.out.splitlines()[-1].endswith(": 1 info")


def test_the_doctor_names_counts_and_tells_how_to_mend(run, engine):
    damage(engine, "ALTER TABLE tickets DISABLE TRIGGER ALL")

    ran = run("doctor", "--check", "guards")

    assert ran.code == 4
    lines = ran.out.splitlines()
    assert lines[0].startswith("error guards (")
    # One line each, with only the part that is not as it should be.
    shown = [line for line in lines if line.startswith("    trigger tickets.trg_")]
    assert len(shown) == 5
    assert [line for line in shown if "DISABLED; expected: ... " not in line] == []
    assert "    and " in ran.out
    assert "    -> crm doctor --fix" in ran.out
    assert lines[-1].endswith(": 1 error")


def test_the_doctor_mends(run, engine):
    damage(engine, "SELECT setval('ticket_number_seq', 1)")
    damage(
        engine,
        "INSERT INTO customers (id, email) VALUES ('00000000-0000-0000-0000-000000000001', 'a@example.com')",
    )
    damage(
        engine,
        "INSERT INTO tickets (ticket_number, customer_id, subject, category, source_channel) "
        "VALUES ('TKT-0077', '00000000-0000-0000-0000-000000000001', 'x', 'billing', 'email')",
    )

    ran = run("doctor", "--check", "ticket_numbers", "--fix")

    assert ran.code == 0
    assert ran.out.startswith("mended ticket_numbers (1): ")
    assert run("doctor", "--check", "ticket_numbers").out.endswith(": nothing to report\n")


def test_the_doctor_speaks_json(run, engine):
    damage(engine, "UPDATE alembic_version SET version_num = '0003'")

    ran = run("doctor", "--json")

    report = json.loads(ran.out)
    assert (ran.code, report["exit_code"], report["severity"]) == (4, 4, "error")
    assert [finding["check"] for finding in report["findings"]] == ["revision"]
    assert {examined["outcome"] for examined in report["checks"]} == {"good", "found", "skipped"}


def test_a_database_that_is_down_is_a_finding_of_the_doctor(crm, tmp_path):
    ran = crm("doctor", "--json", DATABASE_URL=f"postgresql://ann:8hidden8@/crm?host={tmp_path}")

    assert ran.code == 4
    assert [finding["check"] for finding in json.loads(ran.out)["findings"]] == ["connection"]
    assert "8hidden8" not in ran.out + ran.err


def test_a_check_that_does_not_exist_is_one_line(run):
    ran = run("doctor", "--check", "stars")

    assert (ran.code, ran.problem) == (1, "crm: check: there is no check named stars")


def test_a_remote_server_without_proof_is_refused_unless_that_is_accepted(crm):
    url = "postgresql://ann:8hidden8@db.invalid/crm?connect_timeout=2"
    ran = crm("db", "current", DATABASE_URL=url)
    assert (ran.code, "sslmode=verify-full" in ran.problem) == (1, True)

    ran = crm("db", "current", DATABASE_URL=url, CRM_ALLOW_INSECURE_TLS="true")
    assert (ran.code, "host name is unknown" in ran.problem) == (1, True)


def test_roles_are_made_once_and_printed_as_sql(run, engine):
    prefix = f"crm_t_{secrets.token_hex(4)}"
    try:
        ran = run("db", "roles", "--prefix", prefix)
        assert f"repaired: there is no role {prefix}_app" in ran.out

        assert run("db", "roles", "--prefix", prefix).out == "nothing to repair\n"
        assert run("doctor", "--role-prefix", prefix).out.endswith(": nothing to report\n")
        script = run("db", "roles", "--prefix", prefix, "--script", CRM_VERSION_TABLE="versions")
        assert script.out.startswith("BEGIN;\n")
        assert f"('TABLE', 'versions', '{prefix}_app', 'SELECT')" in script.out
        assert script.err == ""
    finally:
        with engine.begin() as connection:
            for role in ("app", "readonly", "auditor", "migrator", "owner"):
                connection.execute(text(f"REASSIGN OWNED BY {prefix}_{role} TO CURRENT_USER"))
                connection.execute(text(f"DROP OWNED BY {prefix}_{role}"))
                connection.execute(text(f"DROP ROLE {prefix}_{role}"))


def test_a_bad_prefix_is_one_line(run):
    ran = run("db", "roles", "--prefix", "Crm'")

    assert (ran.code, ran.problem.startswith("crm: prefix: must be lower-case")) == (1, True)
