"""What a release contains of revisions and SQL files stays as it is; what came since may still be edited."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for folder in ("versions", "sql"):
        shutil.copytree(ROOT / "alembic" / folder, tmp_path / "alembic" / folder)
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "freeze_migrations.py", tmp_path / "scripts")
    return tmp_path


def run(checkout: Path, *arguments: str) -> list[str]:
    """What it objects to; nothing means that the exit code is 0."""
    script = [sys.executable, checkout / "scripts" / "freeze_migrations.py", *arguments]
    done = subprocess.run(script, capture_output=True, text=True, check=False)
    assert done.returncode == bool(done.stderr)
    return done.stderr.splitlines()


def edit(path: Path) -> None:
    path.write_text(path.read_text(encoding="utf-8") + "\n", encoding="utf-8")


def test_this_checkout_has_changed_nothing_that_is_released():
    assert run(ROOT, "--check") == []


def test_before_a_release_everything_may_be_edited(checkout):
    edit(checkout / "alembic" / "versions" / "0007_provider_messages_and_routes.py")

    assert run(checkout, "--check") == []


@pytest.mark.parametrize(
    "name", ["versions/0007_provider_messages_and_routes.py", "sql/search_objects.v1.sql"]
)
@pytest.mark.parametrize("harm", [edit, Path.unlink], ids=["edited", "gone"])
def test_what_is_released_is_neither_edited_nor_gone(checkout, name, harm):
    assert run(checkout) == []
    harm(checkout / "alembic" / name)

    objection = (
        f"alembic/{name} is released and has changed, or is gone: put it back, and write the next version"
    )
    assert run(checkout, "--check") == [objection]
    # Nor is it frozen anew, as it is.
    assert run(checkout) == [objection]
    assert run(checkout, "--check") == [objection]


def test_what_came_since_is_free_until_the_next_release(checkout):
    assert run(checkout) == []
    later = checkout / "alembic" / "sql" / "search_objects.v2.sql"
    later.write_text("SELECT 1;\n")
    edit(later)
    assert run(checkout, "--check") == []

    assert run(checkout) == []
    edit(later)

    assert len(run(checkout, "--check")) == 1


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="sha256sum is not installed")
def test_the_list_is_one_that_sha256sum_reads(checkout):
    assert run(checkout) == []

    done = subprocess.run(
        ["sha256sum", "--check", "--quiet", "--strict", "released.sha256"],
        cwd=checkout / "alembic",
        check=False,
    )

    assert done.returncode == 0
