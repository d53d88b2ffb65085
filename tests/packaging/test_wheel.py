"""The wheel carries everything: installed in an empty environment, it migrates a database."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from app import migrations
from app.testing.postgres import Databases

ROOT = Path(__file__).resolve().parents[2]
CLEAN = {
    name: value for name, value in os.environ.items() if not name.startswith(("CRM_", "PYTHON", "DATABASE_"))
}


def run(*command: object, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    arguments = [str(part) for part in command]
    return subprocess.run(
        arguments, cwd=cwd, env=CLEAN | env, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    built = run(sys.executable, "-m", "pip", "wheel", "--no-deps", "-q", "-w", folder, ROOT, cwd=folder)
    assert built.returncode == 0, built.stderr
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def crm(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("environment")
    assert run(sys.executable, "-m", "venv", folder, cwd=folder).returncode == 0
    python = folder / "bin" / "python"
    constraints = ROOT / "constraints.txt"
    installed = run(python, "-m", "pip", "install", "-q", f"{wheel}[cli]", "-c", constraints, cwd=folder)
    assert installed.returncode == 0, installed.stderr
    return folder / "bin" / "crm"


def test_the_wheel_holds_every_revision_and_no_package_that_shadows_alembic(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    revisions = {path.name for path in (ROOT / "alembic" / "versions").glob("*.py")}

    assert {f"app/_migrations/alembic/versions/{name}" for name in revisions} <= names
    assert "app/_migrations/alembic.ini" in names
    assert "app/py.typed" in names
    assert not [name for name in names if name.endswith("alembic/__init__.py")]


@pytest.mark.soak
def test_the_installed_command_migrates_a_database_and_takes_it_back(crm, crm_databases: Databases, tmp_path):
    url = crm_databases.empty()

    upgraded = run(crm, "db", "upgrade", cwd=tmp_path, DATABASE_URL=url)
    current = run(crm, "db", "current", cwd=tmp_path, DATABASE_URL=url)
    checked = run(crm, "db", "check", cwd=tmp_path, DATABASE_URL=url)
    downgraded = run(crm, "db", "downgrade", "base", cwd=tmp_path, DATABASE_URL=url)

    assert (upgraded.returncode, upgraded.stderr.count("Traceback")) == (0, 0), upgraded.stderr
    assert str(migrations.head()) in current.stdout
    assert checked.returncode == 0, checked.stderr
    assert downgraded.returncode == 0, downgraded.stderr
    assert migrations.current(url) is None
    crm_databases.drop(url)


def test_without_a_database_and_without_the_extra_one_line_says_what_to_do(crm, tmp_path):
    result = run(crm, "db", "current", cwd=tmp_path)

    assert result.returncode == 1
    assert "crm-digital-fte[embedded]" in result.stderr
    assert "DATABASE_URL" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
