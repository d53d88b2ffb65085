"""What goes wrong: one clear line and the right exit code, with nothing secret and nothing half done."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from sqlalchemy import Engine, func, make_url, select, text

from app import migrations
from app.database import make_engine
from app.testing import Databases

Run = Callable[..., Any]


def assert_nothing_secret(ran: Any, password: str) -> None:
    shown = ran.out + ran.err
    assert not [secret for secret in (password, quote(password), "t#9", "t%239") if secret in shown]
    assert not re.search(r"Traceback|SELECT|INSERT|psycopg\.|sqlalchemy", shown)


UNREACHABLE = "no database server answers at this address: it is down, or the address is wrong"
BEHIND = "the database is at revision none, not at HEAD; run: crm db upgrade"
NOBODY = "there is no customer with this address or number"
UNKNOWN = "8a0c3d53-2bb0-4b4c-9e43-9f6a3c1d2e4f"

FAILURES = [
    ("no-url", ["ticket", "1"], "DATABASE_URL: is not a URL such as postgresql://user@host/database"),
    ("mysql", ["ticket", "1"], "DATABASE_URL: must be a postgresql:// URL, not mysql://"),
    ("down", ["ticket", "1"], UNREACHABLE),
    ("down", ["db", "upgrade"], UNREACHABLE),
    ("missing", ["db", "check"], "there is no such database on the server"),
    ("unknown-host", ["db", "check"], "the database server's host name is unknown"),
    ("stranger", ["db", "check"], "the database server refused the user or the password"),
    ("empty", ["ticket", "1"], BEHIND),
    ("empty", ["search", "a"], BEHIND),
    ("empty", ["history", "a@b.c"], BEHIND),
    ("empty", ["ingest", "examples"], BEHIND),
    ("good", ["db", "upgrade", "novel"], "Can't locate revision identified by 'novel'"),
    ("good", ["db", "downgrade", "-99"], "Relative revision -99 didn't produce 99 migrations"),
    ("good", ["ticket", "TKT-9999"], "there is no ticket TKT-9999"),
    ("good", ["ticket", "\x1b[31mred"], "there is no ticket  [31mred"),
    ("good", ["history", "nobody@b.c"], NOBODY),
    ("good", ["history", "+491700000000"], NOBODY),
    ("good", ["history", UNKNOWN], f"there is no customer {UNKNOWN}"),
    ("good", ["history", "a@b@c"], "email: is not an email address"),
    ("good", ["history", "0170 1"], "whatsapp: needs a + and a country code, or a default region"),
    ("good", ["history", " "], "customer: is empty"),
    ("good", ["timeline", ""], "customer: is empty"),
    ("good", ["conversation", "nope"], "conversation: is neither an id nor a ticket's number"),
    ("good", ["reply", "nope", "Hello."], "conversation: is neither an id nor a ticket's number"),
    ("good", ["search", " "], "query: must not be empty"),
    ("good", ["search", "\udcff"], "query: holds a character that cannot be stored"),
    ("good", ["demo", "--inbox", "/nowhere"], "/nowhere is not a folder with files"),
]


@pytest.fixture(scope="module")
def urls(url: str, crm_databases: Databases, password: str) -> Iterator[dict[str, str]]:
    empty = crm_databases.empty()
    yield {
        "no-url": f"ada:{quote(password)}@host/crm",
        "mysql": f"mysql://ada:{quote(password)}@host/crm",
        "down": f"postgresql://ada:{quote(password)}@127.0.0.1:1/crm",
        "missing": make_url(url).set(database="nowhere").render_as_string(hide_password=False),
        "unknown-host": f"postgresql://ada:{quote(password)}@no-such-host.invalid/crm?sslmode=verify-full",
        "stranger": make_url(url).set(username="stranger").render_as_string(hide_password=False),
        "empty": make_url(empty).set(password=make_url(url).password).render_as_string(hide_password=False),
        "good": url,
        "password": password,
    }
    crm_databases.drop(empty)


@pytest.mark.own_connection("the pooler answers for logins and databases")
@pytest.mark.parametrize(("database", "arguments", "line"), FAILURES)
def test_what_goes_wrong_is_one_line_and_exit_code_1(
    crm: Run, urls: dict[str, str], database: str, arguments: list[str], line: str
) -> None:
    ran = crm(*arguments, DATABASE_URL=urls[database])

    assert ran.code == 1
    assert ran.out == ""
    assert ran.problem == f"crm: {line}".replace("HEAD", str(migrations.head()))
    assert_nothing_secret(ran, urls["password"])


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["sell"], "No such command 'sell'"),
        (["ticket"], "Missing argument"),
        (["search", "refund", "--limit", "0"], "Invalid value for '--limit'"),
        (["search", "refund", "--category", "novels"], "'novels' is not one of"),
        (["history", "a@b.c", "--limit", "many"], "Invalid value for '--limit'"),
        (["db", "downgrade"], "Missing argument"),
    ],
)
def test_wrong_usage_is_explained_with_exit_code_2(crm: Run, arguments: list[str], line: str) -> None:
    ran = crm(*arguments, DATABASE_URL="postgresql://ada@127.0.0.1:1/crm")

    assert ran.code == 2
    assert line in ran.err


def test_a_process_ends_in_order_without_a_server(process: Run, password: str) -> None:
    ran = process("db", "current", DATABASE_URL=f"postgresql://ada:{quote(password)}@127.0.0.1:1/crm")

    assert (ran.code, ran.out) == (1, "")
    assert ran.problem == f"crm: {UNREACHABLE}"
    assert_nothing_secret(ran, password)


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk_is_one_line(environment: dict[str, str], crm_database_url: str, unbuffered: str) -> None:
    with Path("/dev/full").open("w") as full:
        ran = subprocess.run(
            [sys.executable, "-m", "app", "db", "url"],
            env=environment | {"DATABASE_URL": crm_database_url, "PYTHONUNBUFFERED": unbuffered},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert ran.returncode == 1
    assert ran.stderr.splitlines()[1:] == [
        "crm: the input cannot be read or the output not be written: No space left on device"
    ]


@pytest.mark.parametrize(("closed", "lines"), [("<&-", 1), (">&-", 0), ("2>&-", 1)])
def test_a_closed_stream_is_an_empty_one(
    environment: dict[str, str], crm_database_url: str, closed: str, lines: int
) -> None:
    command = f'"$0" -m app db url {closed}'
    ran = subprocess.run(
        ["/bin/sh", "-c", command, sys.executable],
        env=environment | {"DATABASE_URL": crm_database_url},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, len(ran.stdout.splitlines())) == (0, lines), ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.own_connection("migrations hold a lock of their session")
def test_ctrl_c_ends_with_130_and_no_traceback(empty: str, environment: dict[str, str]) -> None:
    engine = make_engine(empty)
    with engine.connect() as connection:
        connection.execute(select(func.pg_advisory_xact_lock(migrations.LOCK_KEY)))
        waiting = subprocess.Popen(
            [sys.executable, "-m", "app", "db", "upgrade"],
            env=environment | {"DATABASE_URL": empty},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # A test run in the background would pass on that it ignores Ctrl-C.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
        )
        assert waiting.stderr is not None
        assert waiting.stderr.readline().startswith("crm: database ")
        assert waiting.stderr.readline().startswith("crm: waiting for another migration job (server process ")
        waiting.send_signal(signal.SIGINT)
        out, err = waiting.communicate(timeout=30)

    engine.dispose()
    assert (waiting.returncode, out, err) == (130, "", "")


def python(code: str, environment: dict[str, str]) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout, done.stderr


def test_without_its_extra_the_command_line_names_it(environment: dict[str, str]) -> None:
    code = "import sys; sys.modules['typer'] = None; from app.cli import main; main()"

    assert python(code, environment) == (
        1,
        "",
        "crm: the command line is not installed: pip install 'crm-digital-fte[cli]'\n",
    )


def test_models_are_not_imported_before_they_are_used(environment: dict[str, str]) -> None:
    code = "import sys, app.cli, app.cli.messages; print({'openai', 'fastembed', 'numpy'} & {*sys.modules})"

    assert python(code, environment) == (0, "set()\n", "")


@pytest.mark.own_connection("migrations hold a lock of their session")
def test_a_statement_that_the_database_refuses_is_not_shown(crm: Run, crm_clone: Engine) -> None:
    with crm_clone.begin() as connection:
        connection.execute(text("ALTER TABLE customer_identifiers RENAME TO gone"))
    ran = crm("history", "ada@example.com", DATABASE_URL=crm_clone.url.render_as_string(hide_password=False))

    assert ran.code == 1
    assert ran.problem == "crm: the database refused a statement (42P01)"


@pytest.mark.own_connection("settings of a database reach only new connections to the server")
def test_a_read_only_database_is_told_for_each_file(crm: Run, crm_clone: Engine, inbox: Path) -> None:
    with crm_clone.begin() as connection:
        connection.execute(
            text(f"ALTER DATABASE {crm_clone.url.database} SET default_transaction_read_only = on")
        )
    files = [str(file) for file in sorted(inbox.iterdir())[:2]]
    ran = crm("ingest", *files, DATABASE_URL=crm_clone.url.render_as_string(hide_password=False))

    assert ran.code == 1
    assert ran.err.splitlines()[1:] == [
        f"crm: {file}: the server is a standby, or this user may only read" for file in files
    ]


def test_when_the_server_goes_away_the_file_at_work_is_not_stored(
    crm: Run, crm_clone: Engine, inbox: Path
) -> None:
    with crm_clone.begin() as connection:
        connection.execute(
            text("""
            CREATE FUNCTION hang_up() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                PERFORM pg_terminate_backend(pg_backend_pid()) FROM messages LIMIT 1;
                RETURN NULL;
            END $$;
            CREATE TRIGGER hang_up BEFORE INSERT ON messages EXECUTE FUNCTION hang_up();
            """)
        )
    ran = crm("ingest", str(inbox), DATABASE_URL=crm_clone.url.render_as_string(hide_password=False))

    assert (ran.code, ran.out) == (1, "")
    assert ran.problem == "crm: the connection to the database server was lost"
    with crm_clone.connect() as connection:
        stored = connection.execute(
            text("SELECT count(*), (SELECT count(*) FROM provider_messages) FROM messages")
        ).one()
    assert stored == (1, 1)
