"""``crm db url`` and ``crm db wait``, and what is piped in and out."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, make_url, text
from sqlalchemy.orm import Session

from app import migrations
from app.database import make_engine, normalize_url
from app.testing import Databases, TicketFactory, bound_to

Run = Callable[..., Any]


@pytest.fixture(scope="module")
def unreleased(crm_databases: Databases) -> Iterator[str]:
    """A database of ours, at a revision that was never released."""
    url = crm_databases.clone()
    engine = make_engine(url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0021'"))
    engine.dispose()
    yield url
    crm_databases.drop(url)


@pytest.mark.parametrize("value", ["", " ", "\n"])
@pytest.mark.parametrize("command", ["db upgrade", "db url", "db wait", "ticket 1", "doctor"])
def test_a_url_that_is_set_and_empty_starts_no_server(
    crm: Run, tmp_path: Path, command: str, value: str
) -> None:
    ran = crm(*command.split(), DATABASE_URL=value, CRM_EMBEDDED_DIR=str(tmp_path))

    assert (ran.code, ran.out) == (1, "")
    assert ran.problem.startswith("crm: DATABASE_URL: is set and empty")
    assert list(tmp_path.iterdir()) == []


def test_the_alembic_command_refuses_it_too(environment: dict[str, str], tmp_path: Path) -> None:
    ran = subprocess.run(
        [Path(sys.executable).with_name("alembic"), "upgrade", "head"],
        env=environment | {"DATABASE_URL": "", "CRM_EMBEDDED_DIR": str(tmp_path)},
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 1
    assert "DATABASE_URL: is set and empty" in ran.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "command",
    [
        "db upgrade",
        "db downgrade -1",
        "db current",
        "db check",
        "db wait --at-head",
        "tickets",
        "search hello",
    ],
)
def test_a_revision_that_does_not_exist_gets_one_clear_line_of_every_command(
    crm: Run, unreleased: str, command: str
) -> None:
    ran = crm(*command.split(), DATABASE_URL=unreleased)

    assert (ran.code, ran.out) == (1, "")
    assert ran.problem == (
        "crm: the database is at revision 0021, which this installation does not know (its newest is "
        f"{migrations.head()}); a newer version has migrated it, or one that was never released"
    )


def test_doctor_says_of_a_revision_that_does_not_exist_whose_it_may_be(crm: Run, unreleased: str) -> None:
    ran = crm("doctor", DATABASE_URL=unreleased)

    assert ran.code == 4
    assert "0021, which this installation does not know" in " ".join(ran.out.split())
    assert "or one that was never released" in " ".join(ran.out.split())


def test_the_url_that_is_printed_is_one_that_connects(crm: Run, url: str) -> None:
    ran = crm("db", "url", DATABASE_URL=url)

    assert ran.code == 0
    assert normalize_url(ran.out) == normalize_url(url)


def test_the_embedded_server_has_one_url_for_all(environment: dict[str, str], tmp_path: Path) -> None:
    """In a process of its own, which stops the server again."""
    code = """
import os, pathlib, subprocess, sys
from app import embedded
from app.database import make_engine, normalize_url
url = embedded.url()
printed = subprocess.run([sys.executable, "-m", "app", "db", "url"], capture_output=True, text=True).stdout
assert normalize_url(printed) == normalize_url(url), printed
assert embedded.start(pathlib.Path(os.environ["CRM_EMBEDDED_DIR"])).url == url
with make_engine(url).connect():
    pass
"""
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        env=environment | {"CRM_EMBEDDED_DIR": str(tmp_path)},
        check=True,
        cwd=Path(__file__).resolve().parents[2],
    )


def test_wait_ends_when_the_database_answers(crm: Run, crm_databases: Databases, url: str) -> None:
    """A database that is created while the command waits."""
    name = "crm_wait_" + os.urandom(4).hex()
    later = make_url(url).set(database=name).render_as_string(hide_password=False)
    admin = make_engine(url, isolation_level="AUTOCOMMIT")

    def create() -> None:
        with admin.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))

    timer = threading.Timer(1, create)
    timer.start()
    ran = crm("db", "wait", "--timeout", "60", DATABASE_URL=later)
    timer.join()
    try:
        assert (ran.code, ran.out) == (0, "the database answers\n")
    finally:
        admin.dispose()
        crm_databases.drop(later)


@pytest.mark.own_connection("the pooler answers for logins and databases")
@pytest.mark.parametrize(
    ("change", "timeout", "problem"),
    [
        ({"database": "nowhere"}, "0.1", "there is no such database on the server"),
        (
            {"host": "127.0.0.1", "port": 1, "query": {}},
            "0.1",
            "no database server answers at this address: it is down, or the address is wrong",
        ),
        (
            {"host": "no-such-host.invalid", "query": {"sslmode": "verify-full"}},
            "0.1",
            "the database server's host name is unknown",
        ),
        # Waiting does not help here.
        ({"username": "stranger"}, "3600", "the database server refused the user or the password"),
    ],
)
def test_wait_says_why_it_was_in_vain(
    crm: Run, url: str, change: dict[str, Any], timeout: str, problem: str
) -> None:
    wrong = make_url(url).set(**change).render_as_string(hide_password=False)
    ran = crm("db", "wait", "--timeout", timeout, DATABASE_URL=wrong)

    assert (ran.code, ran.out, ran.problem) == (1, "", f"crm: {problem}")


def test_wait_can_wait_for_the_migrations_too(crm: Run, url: str, empty: str) -> None:
    assert crm("db", "wait", "--at-head", DATABASE_URL=url).code == 0
    ran = crm("db", "wait", "--at-head", "--timeout", "0.1", DATABASE_URL=empty)
    assert (ran.code, "still at revision none" in ran.problem) == (1, True)


MAIL = b"From: Zoe <zoe.piped@example.com>\nTo: help@example.com\nMessage-ID: <piped@example.com>\n\nHello\n"
FORM = b"MessageSid=SM9&From=whatsapp%3A%2B12025550199&To=whatsapp%3A%2B12025550100&Body=Hello"
JSON = b'{"submission_id": "piped", "email": "zoe.piped@example.com", "message": "Hello"}'


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(MAIL, id="mail"),
        pytest.param(FORM, id="form", marks=pytest.mark.soak),
        pytest.param(JSON, id="json", marks=pytest.mark.soak),
    ],
)
def test_a_payload_can_come_by_standard_input(
    environment: dict[str, str], crm_clone: Engine, payload: bytes
) -> None:
    url = crm_clone.url.render_as_string(hide_password=False)

    def pipe() -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [sys.executable, "-m", "app", "ingest", "-"],
            input=payload,
            env=environment | {"DATABASE_URL": url},
            capture_output=True,
            check=False,
        )

    first, again = pipe(), pipe()
    assert (first.returncode, again.returncode) == (0, 0), first.stderr
    assert b"1 new, 0 already there" in first.stdout
    assert b"0 new, 1 already there" in again.stdout


@pytest.mark.parametrize("name", ["/nonexistent", "/nonexistent.eml", "no\x1bwhere"])
def test_what_is_not_there_is_not_found(crm: Run, url: str, name: str) -> None:
    ran = crm("ingest", name, DATABASE_URL=url)

    assert ran.code == 1
    assert ran.err.splitlines()[-1].endswith(": there is no such file or folder")
    assert "\x1b" not in ran.err


def test_in_a_pipe_lines_are_whole(environment: dict[str, str], crm_clone: Engine) -> None:
    subject = "The export of all tasks of the year is empty, " * 5 + "and the last word is zebra"
    with Session(crm_clone) as session, bound_to(session):
        TicketFactory(subject=subject[:255])
        session.commit()
    there = {"DATABASE_URL": crm_clone.url.render_as_string(hide_password=False)}
    whole = {name: value for name, value in environment.items() if name != "COLUMNS"} | there

    def listed(variables: dict[str, str]) -> list[str]:
        command = [sys.executable, "-m", "app", "tickets"]
        output = subprocess.run(command, env=variables, capture_output=True, text=True, check=True).stdout
        return [line for line in output.splitlines() if line.startswith("TKT-")]

    assert [line.rstrip().endswith(subject[:255].rstrip()) for line in listed(whole)] == [True]
    # Who wants tables of a width says so.
    assert all(len(line) <= 80 for line in listed(environment | there))


def test_in_a_pipe_help_has_no_boxes_and_no_line_of_it_is_cut(environment: dict[str, str]) -> None:
    whole = {name: value for name, value in environment.items() if name != "COLUMNS"}
    command = [sys.executable, "-m", "app", "tickets", "--help"]
    output = subprocess.run(command, env=whole, capture_output=True, text=True, check=True).stdout
    assert "exit code 1 if somebody has tampered with it." in output
    assert set(output) & set("╭╮╰╯│─…") == set()
