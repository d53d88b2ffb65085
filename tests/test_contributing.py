"""CONTRIBUTING.md: what it names is there, and its way to a revision leads there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from app import migrations
from app.testing import Databases

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
PATHS = sorted(
    {
        path
        for path in re.findall(r"`((?:app|alembic|tests|scripts|docs)/[\w/.]*\w/?)`", TEXT)
        if "NAME" not in path
    }
)


@pytest.mark.parametrize("path", PATHS)
def test_every_path_that_it_names_is_there(path):
    assert (ROOT / path).exists()


def test_every_room_of_the_package_is_on_its_map():
    rooms = {path.stem for path in (ROOT / "app").iterdir() if not path.name.startswith(("_", "py."))}

    assert [room for room in sorted(rooms) if f"`app/{room}" not in TEXT] == []


@pytest.mark.own_connection("migrations hold a lock of their session")
def test_its_way_to_a_revision_leads_to_one_that_goes_up_and_down(tmp_path, crm_databases: Databases):
    for name in ("app", "alembic", "scripts", "alembic.ini", "crm_digital_fte.py"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    url = crm_databases.empty()
    environment = os.environ | {"DATABASE_URL": url, "PYTHONPATH": str(tmp_path)}

    def alembic(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "alembic", *arguments],
            cwd=tmp_path, env=environment, capture_output=True, text=True, check=True,
        )  # fmt: skip
        return done.stdout

    alembic("revision", "-m", "greet")
    (revision,) = (tmp_path / "alembic" / "versions").glob("*_greet.py")
    text = revision.read_text(encoding="utf-8")
    (tmp_path / "alembic" / "sql" / "greeting.v1.sql").write_text(
        "CREATE OR REPLACE FUNCTION greeting() RETURNS text LANGUAGE sql AS $$ SELECT 'hello: 100 %' $$;\n"
    )
    text = text.replace("    pass", '    op.execute_file("greeting", version=1)', 1)
    text = text.replace("    pass", '    op.execute("DROP FUNCTION greeting()")', 1)
    revision.write_text(text, encoding="utf-8")

    alembic("upgrade", "head")
    upgraded = alembic("current")
    alembic("downgrade", "-1")

    assert "(head)" in upgraded
    assert migrations.current(url) == migrations.head()
    crm_databases.drop(url)
