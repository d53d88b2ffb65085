"""The owner who is no superuser, as on a managed server: migrates, and restores whatever was saved."""

from __future__ import annotations

import re
import secrets
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import URL, Engine, make_url, text
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from app import migrations
from app.database import make_engine
from app.errors import BackupError
from app.migrations import back_up, restore
from app.operations.doctor import examine
from app.services import tickets
from app.settings import Settings
from app.testing import TicketFactory, bound_to
from tests.migrations.test_backup import fake
from tests.operations.conftest import call_pgvector_new

pytestmark = pytest.mark.parametrize("server_of_major", [16], ids=["pg16"], indirect=True, scope="session")
DOCS = Path(__file__).resolve().parents[2] / "docs" / "operations.md"
# What the operator runs before data alone is restored.
(TRIGGERS_OFF,) = re.findall(r"^(DO \$\$.*?END \$\$);$", DOCS.read_text(), re.MULTILINE | re.DOTALL)
STRICT = ("-qX", "-v", "ON_ERROR_STOP=1", "-o", "/dev/null")
RECORD = "SELECT * FROM ticket_status_changes ORDER BY seq"


@dataclass
class Owner:
    """What a role without superuser's rights does in databases of its own."""

    server: object
    name: str

    def empty(self) -> Engine:
        """Its own database, with the extension, which it may not create here."""
        url = make_url(self.server.empty())
        self.server.ask(str_of(url), "CREATE EXTENSION vector")
        call_pgvector_new(make_engine(url, poolclass=NullPool, allow_insecure_tls=True))
        self.server.ask(str_of(url), f"ALTER DATABASE {url.database} OWNER TO {self.name}")
        return make_engine(url.set(username=self.name), poolclass=NullPool, allow_insecure_tls=True)

    def filled(self) -> Engine:
        engine = self.empty()
        migrations.upgrade(engine)
        with Session(engine) as session, session.begin(), bound_to(session):
            for status in ("waiting", "resolved"):
                tickets.change_status(session, TicketFactory().id, status, actor="human:7", comment="so")
        return engine

    def run(
        self, program: str, *options: str | Path, of: Engine, script: str | None = None
    ) -> tuple[int, str]:
        """The program's exit code, and what it printed or else complained of."""
        address = of.url.set(drivername="postgresql")
        done = subprocess.run(
            [self.server.programs / program, *options, "--dbname", str_of(address)],
            input=script,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout or done.stderr


def str_of(url: URL) -> str:
    return url.render_as_string(hide_password=False)


@pytest.fixture
def owner(server) -> Iterator[Owner]:
    # Not of the names that the roles' tests sweep.
    name = f"crm_owner_{secrets.token_hex(4)}"
    admin = server.databases.server_url
    server.ask(admin, f"CREATE ROLE {name} {server.login} CREATEDB")
    yield Owner(server, name)
    server.tidy()
    server.ask(admin, f"DROP ROLE {name}")


def same_record(old: Engine, new: Engine) -> None:
    with old.connect() as before, new.connect() as after:
        entries = before.execute(text(RECORD)).all()
        assert len(entries) == 4
        assert after.execute(text(RECORD)).all() == entries
    migrations.check(new)
    report = examine(new, only=["guards", "tickets", "records", "ticket_numbers"])
    assert report.exit_code == 0, report.findings


def test_a_backup_is_restored(owner, tmp_path):
    old, new = owner.filled(), owner.empty()
    settings = Settings(pg_bin=owner.server.programs)
    with old.connect() as connection:
        backup = back_up(connection, tmp_path, settings=settings)

    restore(new, backup.path, settings=settings)

    same_record(old, new)


def test_a_backup_that_may_not_be_restored_for_proof_is_read_to_its_end_and_counted(owner, tmp_path):
    engine = owner.filled()
    with engine.begin() as connection:
        connection.exec_driver_sql('CREATE TABLE "a (b) ""c" AS SELECT \'\\.\' FROM generate_series(1, 9)')
    with engine.connect() as connection:
        backup = back_up(connection, tmp_path, settings=Settings(pg_bin=owner.server.programs))
    assert not backup.restored
    assert "read to its end and its rows counted; not restored for proof" in str(backup)


# A pg_dump whose file lacks its end.
CUT = """
[ "$1" = --version ] && exec {programs}/pg_dump "$@"
{programs}/pg_dump "$@" || exit 1
for a; do case $a in --file=*) truncate -s -2000 "${{a#--file=}}";; esac; done
"""


def test_what_is_not_whole_is_refused_there_too(owner, tmp_path):
    engine, programs = owner.filled(), tmp_path / "programs"
    programs.mkdir()
    (programs / "pg_restore").symlink_to(owner.server.programs / "pg_restore")
    fake(programs, CUT.format(programs=owner.server.programs))
    with engine.connect() as connection, pytest.raises(BackupError, match="cannot be read to its end"):
        back_up(connection, tmp_path / "to", settings=Settings(pg_bin=programs))
    assert list((tmp_path / "to").iterdir()) == []


def test_a_plain_dump_is_restored_by_psql(owner):
    old, new = owner.filled(), owner.empty()
    _, script = owner.run("pg_dump", of=old)

    code, complaints = owner.run("psql", "-qX", "-o", "/dev/null", of=new, script=script)

    assert code == 0
    errors = re.findall(r"ERROR:  (.*)", complaints)
    assert errors == ["must be owner of extension vector"]
    same_record(old, new)


def test_data_alone_keeps_the_record_as_documented(owner):
    old, new = owner.filled(), owner.empty()
    _, data = owner.run("pg_dump", "--data-only", of=old)
    migrations.upgrade(new)

    with new.begin() as connection:
        connection.exec_driver_sql(TRIGGERS_OFF.replace("%", "%%"))
    code, complaint = owner.run("psql", *STRICT, of=new, script=data)
    assert code == 0, complaint
    assert examine(new, fix=True).exit_code == 0

    same_record(old, new)


def test_data_alone_with_the_triggers_on_stops_at_the_record(owner):
    old, new = owner.filled(), owner.empty()
    _, data = owner.run("pg_dump", "--data-only", "--table=ticket_status_changes", of=old)
    migrations.upgrade(new)

    code, complaint = owner.run("psql", *STRICT, of=new, script=data)

    assert code == 3
    assert "ticket_status_changes is written by triggers only" in complaint
