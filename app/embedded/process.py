"""The process behind ``app.embedded``: its locks, its socket, how it is started, found again and stopped."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg.errors import DuplicateDatabase, ObjectInUse, UniqueViolation

from ..errors import EmbeddedUnavailable

if sys.platform != "win32":
    import fcntl
    import pwd

ACCOUNT = "crm-postgres"
DATABASE = "crm"
PORT = 5432
_SOCKET = f".s.PGSQL.{PORT}"
_LONGEST_SOCKET_PATH = 103  # macOS; Linux takes 107
_SETTINGS = """\
listen_addresses = ''
unix_socket_directories = '.'
unix_socket_permissions = 0700
max_connections = 200
shared_buffers = '128MB'
timezone = 'UTC'
log_timezone = 'UTC'
"""
_NOT_DURABLE = """\
fsync = off
synchronous_commit = off
full_page_writes = off
max_wal_size = '128MB'
min_wal_size = '32MB'
"""


@dataclass(frozen=True)
class Server:
    """A server that this process uses; ``directory`` holds its data, its locks and its log."""

    directory: Path
    major: int
    bin: Path
    url: str


def short_hash(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:12]


def socket_folder(home: Path) -> Path:
    """Where clients find the socket: the data, or a link to it if its path does not fit a socket or a URL."""
    data = home / "data"
    if re.fullmatch(r"[\w./-]+", str(data), re.ASCII) and len(str(data / _SOCKET)) <= _LONGEST_SOCKET_PATH:
        return data
    return Path(tempfile.gettempdir()) / f"crm-{os.geteuid()}-{short_hash(data)}" / "data"


def _link_socket_folder(home: Path) -> None:
    link = socket_folder(home)
    if link == home / "data":
        return
    if len(str(link / _SOCKET)) > _LONGEST_SOCKET_PATH:
        raise EmbeddedUnavailable(
            "the temporary folder's path is too long for a socket; set TMPDIR to another"
        )
    private = link.parent
    private.mkdir(mode=0o700, exist_ok=True)
    status = private.lstat()
    is_private = stat.S_ISDIR(status.st_mode) and not stat.S_IMODE(status.st_mode) & 0o077
    if not is_private or status.st_uid != os.geteuid():
        raise EmbeddedUnavailable(f"{private} is not a private folder of this user; remove it, or set TMPDIR")
    if not link.is_symlink():
        link.symlink_to(home / "data")


def unlink_socket_folder(home: Path) -> None:
    link = socket_folder(home)
    if link != home / "data" and link.is_symlink():
        link.unlink()
        link.parent.rmdir()


def open_lock(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)


def try_lock(descriptor: int) -> bool:
    with suppress(BlockingIOError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


@contextmanager
def locked(path: Path, deadline: float) -> Iterator[None]:
    descriptor = open_lock(path)
    try:
        while not try_lock(descriptor):
            if time.monotonic() > deadline:
                raise EmbeddedUnavailable(
                    f"another process is still starting or stopping a server: it holds {path}"
                )
            time.sleep(0.02)
        try:
            yield
        finally:
            # Closing is not enough: a child that another thread forked meanwhile would keep the lock.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
    finally:
        os.close(descriptor)


def require_no_detour() -> None:
    """Refuse variables by which libpq passes by the socket that it is told of, to a server of somebody else.

    Raises:
        EmbeddedUnavailable: one of them is set.
    """
    for name in ("PGHOSTADDR", "PGSERVICE"):
        if os.environ.get(name):
            raise EmbeddedUnavailable(
                f"{name} leads every connection to another server; unset it, or set DATABASE_URL"
            )


def ensure_running(server: Server, durable: bool, deadline: float) -> None:
    _link_socket_folder(server.directory)
    connection = _connect(server, deadline)
    if connection is None:
        _launch(server, durable, deadline)
        connection = _connect(server, deadline)
    if connection is None:
        raise _failed(server, "start")
    try:
        with connection:
            _create_database(connection, deadline)
    except psycopg.Error:
        raise _failed(server, "create its database") from None


def _create_database(connection: psycopg.Connection, deadline: float) -> None:
    while not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone():
        try:
            connection.execute(f"CREATE DATABASE {DATABASE}")
        except (DuplicateDatabase, ObjectInUse, UniqueViolation):
            # What a killed process asked for may still be under way in the server.
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def _connect(server: Server, deadline: float) -> psycopg.Connection | None:
    """Connect, waiting for a server that is on its way up or down; None where nobody listens."""
    folder = socket_folder(server.directory)
    while True:
        try:
            return psycopg.connect(
                host=str(folder),
                port=PORT,
                user="postgres",
                dbname="postgres",
                autocommit=True,
                connect_timeout=5,
            )
        except psycopg.OperationalError:
            if not _listens(folder / _SOCKET):
                return None
            if time.monotonic() > deadline:
                raise _failed(server, "answer") from None
            time.sleep(0.05)


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return False
    return True


def _launch(server: Server, durable: bool, deadline: float) -> None:
    data = server.directory / "data"
    log = os.open(server.directory / "log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
    try:
        for half in server.directory.glob("data.new-*"):
            shutil.rmtree(half, ignore_errors=True)
        if data.exists():
            _clear_remains(server, deadline)
        else:
            _create_data(server, durable, log, deadline)
        settings = server.directory / "crm.conf"
        settings.write_text(_SETTINGS if durable else _SETTINGS + _NOT_DURABLE)
        settings.chmod(0o644)
        # The mark is all that goes through pg_ctl's shell; paths travel by the environment.
        wait = str(_seconds(deadline))
        command = ["pg_ctl", "start", "-s", "-w", "-t", wait, "-o", f"-c cluster_name={mark(data)}"]
        if not _run(server, data, command, log, deadline):
            with suppress(EmbeddedUnavailable):
                stop(server, "immediate", time.monotonic() + 10)
            raise _failed(server, "start")
    finally:
        os.close(log)


def _create_data(server: Server, durable: bool, log: int, deadline: float) -> None:
    """Make the data beside its place and move it in when it is complete, so that half a one is never used."""
    # A name of its own each time: an initdb whose parent was killed may still be writing to the last one.
    new = Path(tempfile.mkdtemp(prefix="data.new-", dir=server.directory))
    if os.geteuid() == 0:
        account = pwd.getpwnam(ACCOUNT)
        os.chown(new, account.pw_uid, account.pw_gid)
    command = ["initdb", "--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-locale"]
    if not _run(server, new, command if durable else [*command, "--no-sync"], log, deadline):
        raise _failed(server, "create its data")
    with (new / "postgresql.conf").open("a") as settings:
        settings.write("include '../crm.conf'\n")
    new.rename(server.directory / "data")


def _clear_remains(server: Server, deadline: float) -> None:
    """Remove what a dead or unreachable server left: orphaned processes, lock files with a stale pid."""
    data = server.directory / "data"
    stop(server, "fast", deadline)
    while orphans := (data / "postmaster.pid").exists() and _processes(data):
        if time.monotonic() > deadline:
            raise _failed(server, "stop")
        for pid in orphans:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)
    for name in ("postmaster.pid", f"{_SOCKET}.lock"):
        (data / name).unlink(missing_ok=True)


def stop(server: Server, mode: str, deadline: float) -> None:
    """Stop the server if it runs; a process that only has its pid is left alone."""
    data = server.directory / "data"
    try:
        pid = int((data / "postmaster.pid").read_text().split("\n")[0])
    except (FileNotFoundError, ValueError):
        return
    command = ["pg_ctl", "stop", "-s", "-w", "-m", mode, "-t", str(_seconds(deadline))]
    if _processes(data, [pid]) and not _run(server, data, command, subprocess.DEVNULL, deadline):
        raise _failed(server, "stop")


def _processes(data: Path, pids: list[int] | None = None) -> list[int]:
    """Which of all pids, or of ``pids``, are live processes of the server of ``data``."""
    import psutil  # noqa: PLC0415 - comes with the extra

    live = []
    for pid in psutil.pids() if pids is None else pids:
        with suppress(psutil.Error):
            process = psutil.Process(pid)
            alive = process.name() == "postgres" and process.status() != psutil.STATUS_ZOMBIE
            if alive and mark(data) in " ".join(process.cmdline()):
                live.append(pid)
    return live


def mark(data: Path) -> str:
    """The name of the server of ``data`` in its command line; other servers and copies of the data differ."""
    status = data.stat()
    return f"crm-{status.st_dev:x}-{status.st_ino:016x}"


def _run(server: Server, data: Path, command: list[str], output: int, deadline: float) -> bool:
    """Run one of the server's programs as the data's owner. No pipes: the server would hold them open."""
    owner = data.stat()
    identity: dict[str, Any] = {}
    if os.geteuid() == 0:
        identity = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []}
    try:
        done = subprocess.run(  # noqa: S603 - our own programs, no shell
            [server.bin / command[0], *command[1:]],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd="/",
            env={"PATH": os.defpath, "LC_ALL": "C", "PGDATA": str(data)},
            timeout=_seconds(deadline) + 5,
            check=False,
            **identity,
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def _seconds(deadline: float) -> int:
    return max(1, round(deadline - time.monotonic()))


def _failed(server: Server, what: str) -> EmbeddedUnavailable:
    return EmbeddedUnavailable(f"the embedded server did not {what}; see {server.directory / 'log'}")
