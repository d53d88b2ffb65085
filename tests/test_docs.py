"""What the documents show is what happens: their Python blocks run, and their links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from app.testing.postgres import Databases

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?://|#|mailto:)([^)#\s]+)")


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", [page for page in PAGES if BLOCK.search(page.read_text())], ids=name)
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


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_inside_the_project_lead_somewhere(page):
    missing = [link for link in LINK.findall(page.read_text()) if not (page.parent / link).exists()]

    assert missing == []
