"""``crm`` on a real database: in this process, which is fast, or in one of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, NamedTuple

import pytest
from sqlalchemy import Engine, make_url

from app import cli
from app.database import make_engine
from app.testing import Databases

ROOT = Path(__file__).resolve().parents[2]
PASSWORD = "s%c@r:e/t#9"
NOT_OURS = ("DATABASE_URL", "CRM_", "OPENAI_", "FORCE_COLOR", "TTY_")


class Ran(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def problem(self) -> str:
        """The last line of stderr; before it the database is named, and nothing else is said."""
        *before, last = self.err.splitlines()
        assert all(line.startswith("crm: database ") for line in before), self.err
        return last


@pytest.fixture(scope="session")
def environment() -> dict[str, str]:
    """What a process of ours gets; DATABASE_URL is for the test to add."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(NOT_OURS)}
    return ours | {"PYTHONPATH": str(ROOT), "COLUMNS": "80"}


@pytest.fixture(scope="session")
def process(environment: dict[str, str]) -> Callable[..., Ran]:
    """Run ``python -m app`` with these arguments and variables."""

    def run(*arguments: str, stdin: IO[str] | None = None, **variables: str) -> Ran:
        done = subprocess.run(
            [sys.executable, "-m", "app", *arguments],
            stdin=stdin,
            env=environment | variables,
            capture_output=True,
            encoding="utf-8",
            timeout=120,
            check=False,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def crm(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """The same without the process; anything but an orderly end fails the test."""

    def run(*arguments: str, **variables: str) -> Ran:
        with monkeypatch.context() as patch:
            for name in os.environ:
                if name.startswith(NOT_OURS):
                    patch.delenv(name)
            for name, value in {"COLUMNS": "80", **variables}.items():
                patch.setenv(name, value)
            patch.setattr(sys, "argv", ["crm", *arguments])
            capfd.readouterr()
            with pytest.raises(SystemExit) as end:
                cli.main()
        assert isinstance(end.value.code, int)
        return Ran(end.value.code, *capfd.readouterr())

    return run


@pytest.fixture(scope="session")
def inbox() -> Path:
    return ROOT / "examples" / "inbox"


@pytest.fixture(scope="session")
def password() -> str:
    """One that every careless quoting breaks."""
    return PASSWORD


@pytest.fixture(scope="session")
def url(crm_databases: Databases, process: Callable[..., Ran], inbox: Path) -> Iterator[str]:
    """A database at head with the example inbox, stored by ``crm ingest``."""
    clone = crm_databases.clone()
    with_password = _with_password(clone)
    ran = process("ingest", str(inbox), "--authserv-id", "mx.techcorp.io", DATABASE_URL=with_password)
    assert ran.code == 0, ran.err
    yield with_password
    crm_databases.drop(clone)


@pytest.fixture(scope="session")
def engine(url: str) -> Iterator[Engine]:
    engine = make_engine(url)
    yield engine
    engine.dispose()


@pytest.fixture
def empty(crm_databases: Databases) -> Iterator[str]:
    """A database without a schema."""
    made = crm_databases.empty()
    yield _with_password(made)
    crm_databases.drop(made)


def _with_password(url: str) -> str:
    """The embedded server asks for no password, and takes any."""
    parsed = make_url(url)
    return parsed.set(password=parsed.password or PASSWORD).render_as_string(hide_password=False)
