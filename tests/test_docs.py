"""What the documents show is what happens: their Python blocks run, and their links lead somewhere."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from app.testing.postgres import Databases

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?://|#|mailto:)([^)#\s]+)")


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def marked(page: Path) -> object:
    """These two connect as one does without a pooler."""
    own = [pytest.mark.own_connection("settings of a session do not pass")]
    return pytest.param(page, marks=own if page.stem in ("connections", "scaling") else [])


@pytest.mark.parametrize("page", [marked(page) for page in PAGES if BLOCK.search(page.read_text())], ids=name)
def test_the_python_of_a_page_runs_from_top_to_bottom(page, crm_databases: Databases, monkeypatch):
    url = crm_databases.clone()
    monkeypatch.setenv("DATABASE_URL", url)
    namespace: dict[str, object] = {"__name__": "page"}
    try:
        for block in BLOCK.finditer(page.read_text()):
            line = page.read_text().count("\n", 0, block.start()) + 1
            exec(compile("\n" * line + block[1], str(page), "exec"), namespace)
    finally:
        for value in namespace.values():
            if hasattr(value, "dispose"):
                value.dispose()
        crm_databases.drop(url)


@pytest.mark.soak
def test_the_python_of_the_pages_passes_mypy_in_strict_mode(tmp_path):
    for page in PAGES:
        lines: list[str] = []
        text = page.read_text()
        for block in BLOCK.finditer(text):
            # In its place, so that an error names the page's own line.
            lines += [""] * (text.count("\n", 0, block.start()) + 1 - len(lines)) + block[1].splitlines()
        if lines:
            module = f"{page.parent.name}_{page.stem}".replace("-", "_").replace(".", "_")
            (tmp_path / f"{module}.py").write_text("\n".join(lines) + "\n")

    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file", "pyproject.toml", *tmp_path.iterdir()],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert checked.returncode == 0, checked.stdout


def test_the_pages_that_follow_from_the_code_are_up_to_date():
    spec = importlib.util.spec_from_file_location("describe_docs", ROOT / "scripts" / "describe_docs.py")
    assert spec is not None
    assert spec.loader is not None
    describe_docs = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(describe_docs)

    stale = [
        page
        for page, description in describe_docs.pages().items()
        if (describe_docs.FOLDER / page).read_text(encoding="utf-8") != describe_docs.NOTE + description
    ]

    assert stale == [], "run scripts/describe_docs.py"


@pytest.mark.soak
def test_the_first_example_runs_as_a_reader_runs_it_with_nothing_set(tmp_path):
    """In a process of its own, which starts a server and, as its last user, stops it."""
    example = BLOCK.search((ROOT / "README.md").read_text())
    plain = {key: value for key, value in os.environ.items() if not key.startswith(("DATABASE_URL", "CRM_"))}

    done = subprocess.run(
        [sys.executable, "-c", example[1]],
        cwd=ROOT, env=plain | {"CRM_EMBEDDED_DIR": str(tmp_path / "server")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["created claimed"]


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_inside_the_project_lead_somewhere(page):
    missing = [link for link in LINK.findall(page.read_text()) if not (page.parent / link).exists()]

    assert missing == []
