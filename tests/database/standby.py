"""A standby of an embedded server, by PostgreSQL's own programs: a base backup that then follows."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest
from sqlalchemy import make_url

from app import embedded, migrations
from app.errors import EmbeddedUnavailable


class Standby:
    """In a folder beside the data of the server that it follows."""

    def __init__(self, server: embedded.Server, name: str = "standby") -> None:
        self.server = server
        self.folder = server.directory / name
        self.url = f"postgresql://postgres@/crm?host={quote(str(self.folder))}&port=5432"

    def create(self) -> None:
        source = make_url(self.server.url).query["host"]
        self.folder.mkdir(mode=0o700)
        shutil.chown(self.folder, (self.server.directory / "data").stat().st_uid)
        self._run(
            "pg_basebackup", "-R", "-c", "fast", "-D", self.folder, "-d", f"host={source} user=postgres"
        )
        # The copy has the primary's own, which is in use.
        (self.folder / ".s.PGSQL.5432.lock").unlink(missing_ok=True)

    def start(self) -> None:
        # A killed one leaves its lock files, with a pid that may be somebody else's by now.
        for name in ("postmaster.pid", ".s.PGSQL.5432.lock"):
            (self.folder / name).unlink(missing_ok=True)
        options = f"-c unix_socket_directories={self.folder} -c wal_retrieve_retry_interval=100ms"
        self._run("pg_ctl", "start", "-s", "-w", "-D", self.folder, "-o", options)

    def promote(self) -> None:
        self._run("pg_ctl", "promote", "-s", "-w", "-D", self.folder)

    def kill(self) -> None:
        kill(self.folder)

    def stop(self) -> None:
        if (self.folder / "postmaster.pid").exists():
            self._run("pg_ctl", "stop", "-s", "-w", "-m", "immediate", "-D", self.folder, check=False)

    def _run(self, *command: str | Path, check: bool = True) -> None:
        owner = self.folder.stat()
        account = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []}
        # No pipes: the server would hold them open.
        with (self.server.directory / "standby.log").open("a") as log:
            subprocess.run(
                [self.server.bin / command[0], *command[1:]],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                check=check,
                **(account if os.geteuid() == 0 else {}),
            )


def kill(data: Path) -> None:
    """SIGKILL to the server of this folder, whose other processes then end by themselves."""
    os.kill(int((data / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)


@contextmanager
def server_and_standby(folder: Path, *, durable: bool = False) -> Iterator[tuple[embedded.Server, Standby]]:
    """A migrated server of our own, and a standby that follows it; both end with the block."""
    try:
        server = embedded.start(folder, durable=durable)
    except EmbeddedUnavailable as error:
        pytest.skip(str(error))
    standby = Standby(server)
    try:
        migrations.upgrade(server.url)
        standby.create()
        standby.start()
        yield server, standby
    finally:
        standby.stop()
        embedded.release(server)
        shutil.rmtree(server.directory)
