"""The examples are what a reader copies: each README is followed, with the wheel and not the checkout."""

from __future__ import annotations

import ast
import os
import re
import shutil
import socket
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from app.testing.postgres import Databases
from tests.packaging.conftest import once

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "examples"
EXAMPLES = sorted(path.parent for path in FOLDER.glob("*/pyproject.toml"))
COMMANDS = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)
CACHES = shutil.ignore_patterns(".*", "__pycache__", "build", "dist")
# What the background has is ended with the shell, however that ends.
SHELL = "set -euo pipefail; trap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n"

each = pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)


def commands(readme: Path) -> str:
    return "".join(COMMANDS.findall(readme.read_text(encoding="utf-8")))


def own_files(example: Path, *, tests: bool = True) -> list[Path]:
    return [path for path in sorted(example.rglob("*.py")) if tests or not path.name.startswith("test_")]


def declared(example: Path) -> set[str]:
    """The distributions that its pyproject.toml names, its tests' too."""
    project = tomllib.loads((example / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    requirements = [*project["dependencies"], *project["optional-dependencies"]["test"]]
    return {re.split(r"[\[<>=]", requirement)[0] for requirement in requirements}


def free_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return str(server.getsockname()[1])


def test_every_example_that_is_promised_is_there():
    assert {example.name for example in EXAMPLES} == {
        "agent_tools",
        "asyncpg_raw",
        "consumer_tests",
        "fastapi_async",
        "fastapi_sync",
        "own_models",
        "worker",
    }


@each
def test_it_is_small_and_its_readme_fits_a_screen(example):
    sources = [path.read_text(encoding="utf-8") for path in own_files(example, tests=False)]

    assert sum(len(source.splitlines()) for source in sources) < 200
    assert len((example / "README.md").read_text(encoding="utf-8").splitlines()) <= 60


@each
def test_it_declares_what_it_imports_and_takes_the_name_that_nobody_else_has(example):
    modules = {
        module.partition(".")[0]
        for path in own_files(example)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        for module in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom) and not node.level
            else []
        )
    }
    own = {path.stem for path in example.iterdir()} | {"crm_digital_fte"} | sys.stdlib_module_names
    brought = {"alembic", "factory", "pydantic", "pydantic_settings", "pytest", "sqlalchemy"}  # by our wheel
    others = {
        name.lower().replace("_", "-")
        for module in modules - own - brought
        for name in packages_distributions()[module]
    }

    assert "app" not in modules
    assert others <= declared(example)
    assert "crm-digital-fte" in declared(example)


def test_an_examples_tests_pass_in_the_checkout_too():
    tested = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=FOLDER / "agent_tools", capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert " passed" in tested.stdout, tested.stdout + tested.stderr


@pytest.fixture(scope="module")
def types(common: Path, programs: Path, run) -> Path:
    """What mypy has read of the libraries, once for all test processes: most of what an example costs."""
    folder = common / "types"
    with once(folder) as is_first:
        if is_first:
            own = folder / "fastapi_async"
            shutil.copytree(FOLDER / own.name, own, ignore=CACHES)
            read = run(programs / "python", "-m", "mypy", cwd=own, MYPY_CACHE_DIR=str(folder / "cache"))
            assert read.returncode == 0, read.stdout + read.stderr
    return folder / "cache"


@pytest.mark.soak
@each
def test_its_readme_works_to_the_letter(
    example, run, programs, wheel, *, types, tmp_path, crm_databases: Databases
):
    """Only the port is another one. Every dependency is there, as after an earlier example."""
    project = tmp_path / example.name
    shutil.copytree(example, project, ignore=CACHES)
    shutil.copytree(types, tmp_path / "types")
    url, port = crm_databases.empty(), free_port()
    followed = run(
        "bash", "-c", SHELL + re.sub(r"\b8000\b", port, commands(example / "README.md")), cwd=project,
        PATH=f"{programs}{os.pathsep}{os.environ['PATH']}",
        DATABASE_URL=url,
        CRM_TEST_DATABASE_URL=crm_databases.server_url,
        PIP_FIND_LINKS=str(wheel.parent),
        PIP_CONSTRAINT=str(ROOT / "constraints.txt"),
        PIP_NO_BUILD_ISOLATION="0",  # which means: none
        MYPY_CACHE_DIR=str(tmp_path / "types"),
        PYTEST_ADDOPTS="-p no:cacheprovider",
    )  # fmt: skip

    assert followed.returncode == 0, followed.stdout + followed.stderr
    assert " passed" in followed.stdout
    assert "Success: no issues found" in followed.stdout
    crm_databases.drop(url)


@pytest.mark.soak
def test_from_nothing_an_example_installs_what_it_needs(run, tmp_path, crm_databases: Databases):
    """What is done once, and then one example, in an environment that has nothing of this one's."""
    for name in ("pyproject.toml", "README.md", "alembic.ini"):
        shutil.copy(ROOT / name, tmp_path)
    for name in ("alembic", "app", "scripts", "examples"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=CACHES)
    once, example = commands(FOLDER / "README.md"), commands(FOLDER / "consumer_tests" / "README.md")

    followed = run(
        "bash", "-c", f"{SHELL}{once}cd consumer_tests\n{example}", cwd=tmp_path / "examples",
        CRM_TEST_DATABASE_URL=crm_databases.server_url,
        PIP_CONSTRAINT=str(ROOT / "constraints.txt"),
        PYTEST_ADDOPTS="-p no:cacheprovider",
    )  # fmt: skip

    assert followed.returncode == 0, followed.stdout + followed.stderr
    assert " passed" in followed.stdout
    assert "Success: no issues found" in followed.stdout
