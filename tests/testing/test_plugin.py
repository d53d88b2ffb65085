"""The pytest plugin, as another project gets it: a project of its own, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from app.database import make_session_factory, transaction
from app.models import Customer
from app.testing import CustomerFactory

CHECKOUT = Path(__file__).resolve().parents[2]
ONE_LINE = 'pytest_plugins = ["app.testing.plugin"]'
TESTS = """
    from sqlalchemy import func, select, text
    from app.models import Customer, TicketStatus
    from app.testing import CustomerFactory, TicketFactory

    def test_a_factory_builds_into_the_session(session):
        ticket = TicketFactory(status=TicketStatus.CLOSED)
        session.commit()
        assert session.scalar(select(func.count()).select_from(Customer)) == 1

    def test_the_test_before_left_nothing(session):
        assert session.scalar(select(func.count()).select_from(Customer)) == 0

    def test_a_clone_keeps_commits(crm_clone):
        with crm_clone.begin() as connection:
            connection.execute(text("INSERT INTO customers (email) VALUES ('ada@example.com')"))
        with crm_clone.connect() as connection:
            assert connection.scalar(text("SELECT count(*) FROM customers")) == 1

    def test_the_clone_is_not_the_session_s_database(crm_clone, crm_database_url):
        assert crm_clone.url.database not in crm_database_url
"""


@pytest.fixture
def project(tmp_path, crm_databases):
    """Runs pytest in a project that has ``conftest.py`` and ``test_it.py``; gives exit code and output."""

    def run(conftest: str, tests: str, *arguments: str, **environment: str) -> tuple[int, str]:
        (tmp_path / "conftest.py").write_text(conftest + "\n")
        (tmp_path / "test_it.py").write_text(textwrap.dedent(tests))
        # Without pytest-asyncio, which the examples bring and which warns of a setting of its own.
        (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\naddopts = -p no:asyncio\n")
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments],
            cwd=tmp_path,
            env={
                **os.environ,
                "PYTHONPATH": f"{CHECKOUT}{os.pathsep}{tmp_path}",
                "CRM_TEST_DATABASE_URL": crm_databases.server_url,
                **environment,
            },
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    return run


@pytest.fixture
def installed(tmp_path):
    """What an installation adds that pytest looks at: the entry point, as ``pyproject.toml`` has it."""
    declared = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["entry-points"]["pytest11"]
    folder = tmp_path / "crm_digital_fte-0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: crm-digital-fte\nVersion: 0\n")
    lines = "".join(f"{name} = {target}\n" for name, target in declared.items())
    (folder / "entry_points.txt").write_text(f"[pytest11]\n{lines}")


def test_one_line_in_a_conftest_is_enough(project):
    code, output = project(ONE_LINE, TESTS, PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")
    assert (code, "4 passed" in output) == (0, True), output


@pytest.mark.soak
def test_an_installed_package_needs_no_line_at_all(project, installed):
    code, output = project("", TESTS, "-p", "no:xdist")
    assert (code, "4 passed" in output) == (0, True), output


@pytest.mark.soak
def test_the_line_and_the_installation_do_not_clash(project, installed):
    code, output = project(ONE_LINE, TESTS, "-n", "2")
    assert (code, "4 passed" in output) == (0, True), output


def test_without_a_fixture_nothing_is_started_or_imported(project):
    code, output = project(
        ONE_LINE,
        """
        import sys

        def test_nothing_of_ours_is_needed():
            heavy = {"sqlalchemy", "psycopg", "factory", "docker", "testcontainers", "pydantic"}
            assert not heavy & set(sys.modules)
            assert not [name for name in sys.modules if name.startswith("app.") and "testing" not in name]
        """,
        PYTEST_DISABLE_PLUGIN_AUTOLOAD="1",
    )
    assert code == 0, output


def test_a_project_may_have_fixtures_of_the_same_names(project):
    code, output = project(
        ONE_LINE,
        """
        import pytest

        @pytest.fixture
        def session():
            return "mine"

        @pytest.fixture
        def queries():
            return "mine too"

        def test_both(session, queries, crm_session):
            assert (session, queries) == ("mine", "mine too")
            assert crm_session.connection()
            assert False, "so that the report is made"
        """,
        PYTEST_DISABLE_PLUGIN_AUTOLOAD="1",
    )
    assert (code, "so that the report is made" in output, "Recorded" in output) == (1, True, False), output


def test_a_failed_test_shows_the_recorded_statements(project):
    code, output = project(
        ONE_LINE,
        """
        from sqlalchemy import text

        def test_it(session, queries):
            session.execute(text("SELECT 'first'"))
            session.execute(text("SELECT 'second'"))
            assert queries.count == 1
        """,
        PYTEST_DISABLE_PLUGIN_AUTOLOAD="1",
    )
    assert code == 1
    assert "Recorded statements" in output
    assert "  2. SELECT 'second'" in output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["--crm-db-url=postgresql://me:secret@127.0.0.1:1/x"], "cannot be reached", id="down"),
        pytest.param(
            ["--crm-db=url", "--crm-db-url=mysql://me:secret@db/x"], "postgresql://user@", id="wrong"
        ),
        pytest.param(["--crm-db=docker"], "Docker cannot be reached", id="docker"),
        pytest.param(["--crm-db=embedded", "--crm-pg-major=12"], "16 or 18", id="major"),
    ],
)
def test_a_server_that_cannot_be_had_is_one_line_per_test(project, arguments, message):
    code, output = project(
        ONE_LINE,
        "def test_it(session): pass",
        *arguments,
        PYTEST_DISABLE_PLUGIN_AUTOLOAD="1",
        DOCKER_HOST="tcp://127.0.0.1:1",
    )
    assert code == 1
    assert "crm: " in output
    assert message in output
    assert "Traceback" not in output
    assert "secret" not in output


def test_an_unknown_server_kind_is_a_usage_error(project):
    code, output = project(ONE_LINE, "", "--crm-db=oracle", PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")
    assert code == 4
    assert "oracle" in output


@pytest.mark.parametrize("turn", ["first", "second"])
def test_nothing_of_a_test_is_left_for_the_next(session, turn):
    assert session.scalar(select(func.count()).select_from(Customer)) == 0
    CustomerFactory(email="ada@example.com")
    session.commit()


def test_a_rollback_in_a_test_undoes_only_what_came_since_the_commit(session):
    CustomerFactory(email="kept@example.com")
    session.commit()
    CustomerFactory(email="undone@example.com")
    session.rollback()
    assert session.scalars(select(Customer.email)).all() == ["kept@example.com"]


def test_a_test_may_end_in_a_failed_transaction(session):
    with pytest.raises(Exception, match="no_such_table"):
        session.execute(text("SELECT * FROM no_such_table"))


def test_code_that_commits_runs_on_a_clone(crm_clone):
    def work(session: Session) -> None:
        session.add(Customer(email="ada@example.com"))

    transaction(make_session_factory(crm_clone), work)
    with Session(crm_clone) as other:
        assert other.scalar(select(func.count()).select_from(Customer)) == 1


def test_without_the_extra_the_import_names_it():
    script = """
import sys
sys.modules["factory"] = None
import app.testing
try:
    app.testing.CustomerFactory
except ImportError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=CHECKOUT, capture_output=True, text=True, check=False
    )
    assert done.stdout == "app.testing needs factory: pip install 'crm-digital-fte[testing]'\n", done.stderr
