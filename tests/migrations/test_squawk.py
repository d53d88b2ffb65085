"""squawk, the linter for PostgreSQL migrations, has nothing to say about any revision after the first."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from alembic import command
from alembic.script import ScriptDirectory

from app import migrations

# What does not hold here, and why.
EXCEPTIONS = {
    "prefer-bigint-over-int": "dimensions of vectors and counts up to three; nothing that a sequence counts",
    "prefer-text-field": "the tables keep the types of the DDL, and those beside them go along",
    "prefer-robust-stmts": "a step is a transaction; the concurrent builds drop an invalid leftover first",
    "renaming-object": "only indexes are renamed, which nobody's statements name",
    "require-statement-timeout": "a setting, off by default: an index takes as long as its table is large",
}
# Concurrent builds wait outside a transaction, without anybody queueing behind them.
CONCURRENT = {"require-lock-timeout"}
FIRST, *LATER = [*ScriptDirectory.from_config(migrations.alembic_config()).walk_revisions()][::-1]


@pytest.fixture(scope="module")
def squawk() -> str:
    found = shutil.which("squawk", path=Path(sys.executable).parent)
    if found is None:
        pytest.skip("needs squawk-cli")
    return found


@pytest.mark.parametrize("script", LATER, ids=[script.revision for script in LATER])
def test_squawk_accepts(squawk, script):
    config = migrations.alembic_config("postgresql://")
    config.output_buffer = io.StringIO()
    command.upgrade(config, f"{script.down_revision}:{script.revision}", sql=True)
    sql = config.output_buffer.getvalue()
    excluded = EXCEPTIONS.keys() | (CONCURRENT if " CONCURRENTLY " in sql else set())

    done = subprocess.run(
        [
            squawk,
            "--pg-version=16",
            f"--exclude={','.join(sorted(excluded))}",
            "--stdin-filepath=revision.sql",
        ],
        input=sql,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_squawk_would_notice(squawk):
    done = subprocess.run(
        [squawk, "--stdin-filepath=revision.sql"],
        input="ALTER TABLE tickets ADD COLUMN n int NOT NULL; CREATE INDEX i ON tickets (subject);",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "require-concurrent-index-creation" in done.stdout
