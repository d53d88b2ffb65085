"""docs/reliability.md names tests: each is there, and runs by the command of its row."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
ROWS = [line.strip("| ").split(" | ") for line in PAGE.splitlines() if line.startswith("| ")][1:]
TROUBLES = [
    "32 resolvers in 4 processes x 500 people",
    "an insert before, during and after a merge",
    "server killed at 30 points",
    "30 points of ingest",
    "30 moments",
    "a tablespace of 24 MB is written full",
    "all in use",
    "the clock was set back",
    "its replica is promoted",
]


def names(cell: str) -> list[str]:
    return re.findall(r"`(tests/[^`]+)`", cell)


def runs_by(node: str) -> str:
    """The target of make that runs the test; a mark is on it, on its class or on its module."""
    path, *parts = node.split("::")
    tree: ast.AST = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    assert isinstance(tree, ast.Module)
    marks = [ast.unparse(one) for one in tree.body if ast.unparse(one).startswith("pytestmark")]
    place: ast.Module | ast.ClassDef | ast.FunctionDef = tree
    for part in parts:
        assert not isinstance(place, ast.FunctionDef)
        (place,) = (
            one for one in place.body if isinstance(one, ast.ClassDef | ast.FunctionDef) and one.name == part
        )
        marks += [ast.unparse(one) for one in place.decorator_list]
    return "make soak" if any("mark.soak" in mark for mark in marks) else "make test"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_the_tests_of_each_promise_exist_and_run_by_the_command_of_the_row(row):
    assert len(row) == 5
    nodes = names(row[4])
    assert nodes
    assert {f"`{runs_by(node)}`" for node in nodes} == {row[3]}


@pytest.mark.parametrize("trouble", TROUBLES)
def test_every_kind_of_trouble_has_a_row(trouble):
    assert any(trouble in row[1] for row in ROWS)


def test_a_test_that_is_not_there_is_noticed():
    path = "tests/test_reliability.py"
    with pytest.raises(ValueError, match="not enough values"):
        runs_by(f"{path}::test_that_nobody_wrote")
    assert runs_by(f"{path}::test_a_test_that_is_not_there_is_noticed") == "make test"
