"""The layout: rooms on floors, entered by doors, small enough to be read."""

from __future__ import annotations

import ast
import statistics
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
APP = ROOT / "app"
MODULES = sorted(APP.rglob("*.py"))
# The package itself.
NO_ROOMS = {"__init__", "__main__"}


def layers(container: str) -> set[str]:
    """The rooms that the contract of floors names in this package."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    floors = next(
        contract["layers"]
        for contract in contracts
        if contract["type"] == "layers" and contract.get("containers", ["app"]) == [container]
    )
    return {room.strip().removeprefix("app.") for floor in floors for room in floor.split("|")}


def rooms(folder: Path) -> set[str]:
    return {
        entry.stem
        for entry in folder.iterdir()
        if entry.suffix == ".py" or (entry.is_dir() and list(entry.glob("*.py")))
    }


@pytest.mark.parametrize(
    ("container", "folder", "most"), [("app", APP, 16), ("app.services", APP / "services", 18)]
)
def test_every_room_has_a_floor(container, folder, most):
    there = rooms(folder) - NO_ROOMS

    assert there == layers(container) - NO_ROOMS
    assert len(there) <= most


def test_files_are_short():
    lengths = [len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES]

    assert max(lengths) <= 400
    assert statistics.median(lengths) < 150


@pytest.mark.parametrize(
    "door",
    [
        pytest.param(path, id=str(path.parent.relative_to(APP)))
        for path in MODULES
        if path.name == "__init__.py" and path.parent.parent.name == "services"
    ],
)
def test_the_door_of_a_service_only_says_what_is_public(door):
    docstring, *statements = ast.parse(door.read_text(encoding="utf-8")).body

    assert isinstance(docstring, ast.Expr)
    assert all(isinstance(statement, ast.ImportFrom | ast.Assign) for statement in statements)


def test_no_module_bears_the_name_of_a_function_that_its_door_exports():
    hidden = [
        f"{door.parent.relative_to(ROOT)}: {alias.name}"
        for door in MODULES
        if door.name == "__init__.py"
        for node in ast.parse(door.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if node.module is not None and (door.parent / f"{alias.name}.py").exists()
    ]

    assert hidden == []


def test_a_vague_name_is_refused(tmp_path):
    (tmp_path / "app").mkdir()
    (tmp_path / "scripts").mkdir()
    script = tmp_path / "scripts" / "check_names.py"
    script.write_text((ROOT / "scripts" / "check_names.py").read_text())
    (tmp_path / "app" / "desk.py").write_text(
        "def f(given):\n    for found in given:\n        print(found)\n"
    )

    checked = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)

    assert checked.returncode == 1
    assert checked.stderr.splitlines() == [
        "app/desk.py:1: given says nothing: call it what it is",
        "app/desk.py:2: found says nothing: call it what it is",
    ]
