"""The wheel carries everything, under a name that clashes with nobody's."""

from __future__ import annotations

import sys
import textwrap
import zipfile
from pathlib import Path

import pytest

from app import migrations
from app.testing.postgres import Databases

pytestmark = pytest.mark.soak

ROOT = Path(__file__).resolve().parents[2]
DESK = """
    from sqlalchemy.orm import Session

    from crm_digital_fte.models import Channel, IdentifierType, TicketCategory
    from crm_digital_fte.schemas import Identifier
    from crm_digital_fte.services import identity, tickets


    def open_for(session: Session, address: str, subject: str) -> str | None:
        person = identity.resolve(
            session, [Identifier(type=IdentifierType.EMAIL, value=address)], channel=Channel.EMAIL
        )
        ticket = tickets.open_ticket(
            session,
            customer_id=person.customer_id,
            subject=subject,
            category=TicketCategory.TECHNICAL,
            source_channel=Channel.EMAIL,
            actor="human:7",
        )
        return ticket.ticket_number
"""
TESTS = """
    from sqlalchemy.orm import Session

    import app
    from app.services.desk import open_for
    from crm_digital_fte.models import TicketStatus
    from crm_digital_fte.testing import TicketFactory


    def test_the_package_app_is_the_projects_own() -> None:
        assert app.MINE


    def test_services_and_factories_work_beside_it(session: Session) -> None:
        assert open_for(session, "ada@example.com", "Help") == "TKT-0001"
        assert TicketFactory(status=TicketStatus.RESOLVED).ticket_number == "TKT-0002"
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with a package ``app`` of its own."""
    for name, text in {
        "app/__init__.py": "MINE = True\n",
        "app/services/__init__.py": "",
        "app/services/desk.py": textwrap.dedent(DESK),
        "tests/test_desk.py": textwrap.dedent(TESTS),
        "pytest.ini": "[pytest]\npythonpath = .\nfilterwarnings = error\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_the_wheel_holds_every_revision_and_no_package_that_others_have(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    here = {
        path.relative_to(ROOT) for path in (ROOT / "alembic").rglob("*") if path.suffix in {".py", ".sql"}
    }

    assert {f"crm_digital_fte/_migrations/{path}" for path in here} <= names
    assert "crm_digital_fte/_migrations/alembic.ini" in names
    assert "crm_digital_fte/py.typed" in names
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {
        "crm_digital_fte",
        "crm_digital_fte.pth",
    }


def test_a_project_with_a_package_app_of_its_own_has_both(run, programs, project, crm_databases):
    tested = run(
        programs / "python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:asyncio", cwd=project,
        CRM_TEST_DATABASE_URL=crm_databases.server_url,
    )  # fmt: skip
    assert "2 passed" in tested.stdout, tested.stdout + tested.stderr


def test_mypy_in_strict_mode_knows_every_type_of_that_project(run, programs, project):
    checked = run(
        sys.executable, "-m", "mypy", "--strict", "--python-executable", programs / "python",
        "--cache-dir", project / "cache", "app", "tests", cwd=project,
    )  # fmt: skip
    assert checked.returncode == 0, checked.stdout

    (project / "tests" / "wrong.py").write_text(
        "from crm_digital_fte.testing import TicketFactory\n\nreveal_type(TicketFactory())\n"
    )
    revealed = run(
        sys.executable, "-m", "mypy", "--python-executable", programs / "python",
        "--cache-dir", project / "cache", "tests/wrong.py", cwd=project,
    )  # fmt: skip
    assert 'Revealed type is "crm_digital_fte.models.ticket.Ticket"' in revealed.stdout


def test_alembic_and_crm_work_beside_a_package_app(run, programs, project, crm_databases: Databases):
    url = crm_databases.empty()
    ini = run(
        programs / "python", "-c",
        "from crm_digital_fte import migrations; print(migrations.alembic_config().config_file_name)",
        cwd=project,
    )  # fmt: skip

    upgraded = run(
        programs / "python", "-m", "alembic", "-c", ini.stdout.strip(), "upgrade", "head",
        cwd=project, DATABASE_URL=url,
    )  # fmt: skip
    checked = run(programs / "crm", "db", "check", cwd=project, DATABASE_URL=url)
    downgraded = run(programs / "crm", "db", "downgrade", "base", cwd=project, DATABASE_URL=url)

    assert (upgraded.returncode, upgraded.stderr.count("Traceback")) == (0, 0), upgraded.stderr
    assert (checked.returncode, checked.stdout.strip()) == (
        0,
        f"no difference from revision {migrations.head()}",
    )
    assert downgraded.returncode == 0, downgraded.stderr
    assert migrations.current(url) is None
    crm_databases.drop(url)


def test_the_demo_says_where_its_inbox_is(run, programs, tmp_path):
    ran = run(programs / "crm", "demo", cwd=tmp_path)

    assert ran.returncode == 1
    assert ran.stderr == "crm: the example inbox is in the checkout only; elsewhere pass --inbox FOLDER\n"


def test_where_nobody_has_a_package_app_both_names_are_the_same_modules(run, programs, tmp_path):
    code = """
        from app.services import identity
        from app.testing import TicketFactory
        import app.models.ticket, app.embedded.process
        import crm_digital_fte
        import crm_digital_fte.services.identity as theirs
        from crm_digital_fte.models import Ticket
        from crm_digital_fte.testing import TicketFactory as same

        assert app is crm_digital_fte and identity is theirs
        assert app.models.Ticket is Ticket and TicketFactory is same
        try:
            import app.nothing
        except ModuleNotFoundError as error:
            print(error)
    """
    done = run(programs / "python", "-c", textwrap.dedent(code), cwd=tmp_path)
    version = run(programs / "python", "-m", "app", "--version", cwd=tmp_path)

    assert (done.stdout, done.stderr) == ("No module named 'app.nothing'\n", "")
    assert version.stdout.startswith("crm "), version.stderr


def test_a_module_below_the_projects_app_is_never_ours(run, programs, project):
    done = run(programs / "python", "-c", "import crm_digital_fte, app.models", cwd=project)

    assert "No module named 'app.models'" in done.stderr


@pytest.mark.parametrize("name", ["app.testing.plugin", "crm_digital_fte.testing.plugin"])
@pytest.mark.parametrize("way", ["conftest", "option"])
def test_the_plugin_can_be_named_by_either_name(run, programs, tmp_path, crm_databases, *, name, way):
    line = f"pytest_plugins = [{name!r}]\n" if way == "conftest" else ""
    (tmp_path / "conftest.py").write_text(line)
    (tmp_path / "test_it.py").write_text("def test_it(crm_session):\n    assert crm_session.connection()\n")

    tested = run(
        programs / "python", "-m", "pytest", "-q", "-p", "no:cacheprovider",
        *([] if line else ["-p", name]), cwd=tmp_path, CRM_TEST_DATABASE_URL=crm_databases.server_url,
    )  # fmt: skip
    assert "1 passed" in tested.stdout, tested.stdout + tested.stderr


@pytest.mark.soak
def test_installed_with_the_versions_of_the_constraints_it_says_what_is_missing(run, wheel, tmp_path):
    python = tmp_path / "environment" / "bin" / "python"
    assert run(sys.executable, "-m", "venv", tmp_path / "environment", cwd=tmp_path).returncode == 0
    constraints = ROOT / "constraints.txt"
    installed = run(python, "-m", "pip", "install", "-q", f"{wheel}[cli]", "-c", constraints, cwd=tmp_path)
    assert installed.returncode == 0, installed.stderr

    result = run(python.with_name("crm"), "db", "current", cwd=tmp_path)

    assert result.returncode == 1
    assert "crm-digital-fte[embedded]" in result.stderr
    assert "DATABASE_URL" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
