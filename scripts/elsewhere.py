"""Run the suite on Debian trixie's PostgreSQL 17 over TCP with passwords, then through its PgBouncer.

    python scripts/elsewhere.py [--only direct|pooled] [arguments for pytest]

Debian lives in ``.crm/trixie``, made once by debootstrap from the mirror that this machine's apt has. Its
server and PgBouncer run in namespaces of their own, with their data in memory: they end with this process,
however it ends, and nothing is left of them. Where that cannot be, one line says so.
"""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import psycopg

from app.testing import Databases

ROOT = Path(__file__).resolve().parents[1]
DEBIAN = ROOT / ".crm" / "trixie"
PLENTY = 6 * 2**30

# Its installation starts nothing and makes no cluster.
_INSTALL = """
mount -t proc proc /proc
printf '#!/bin/sh\\nexit 101\\n' >/usr/sbin/policy-rc.d
chmod +x /usr/sbin/policy-rc.d
mkdir -p /etc/postgresql-common
echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf
export DEBIAN_FRONTEND=noninteractive
apt-get install -y -qq --no-install-recommends postgresql-17 postgresql-17-pgvector pgbouncer
apt-get clean
"""
_SERVER = """
mount -t tmpfs tmpfs /dev/shm
[ "$IN_MEMORY" ] && mount -t tmpfs tmpfs /var/lib/postgresql || rm -rf /var/lib/postgresql/*
chown postgres /var/lib/postgresql
exec setpriv --pdeathsig keep --reuid postgres --regid postgres --clear-groups sh -ec '
    umask 077
    cd /var/lib/postgresql
    echo "$PASSWORD" >password
    programs=/usr/lib/postgresql/17/bin
    $programs/initdb -N -U postgres --auth=scram-sha-256 --pwfile=password --locale=C.UTF-8 -D data
    echo "$SETTINGS" >>data/postgresql.conf
    exec $programs/postgres -D data
'
"""
_SERVER_SETTINGS = """
port = {port}
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 300
max_wal_size = 128MB
fsync = off
synchronous_commit = off
full_page_writes = off
"""
_POOLER = """
mount -t tmpfs tmpfs /run
chown postgres /run
exec setpriv --pdeathsig keep --reuid postgres --regid postgres --clear-groups sh -ec '
    umask 077
    echo "\\"postgres\\" \\"$PASSWORD\\"" >/run/users
    echo "$SETTINGS" >/run/pgbouncer.ini
    exec pgbouncer /run/pgbouncer.ini
'
"""
# The tests create and drop their databases by sessions of `postgres`, which needs one; in these they work.
_POOLER_SETTINGS = """
[databases]
postgres = host=127.0.0.1 port={server} pool_mode=session
* = host=127.0.0.1 port={server}
[pgbouncer]
pool_mode = transaction
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = /run/users
auth_user = postgres
auth_dbname = postgres
ignore_startup_parameters = lock_timeout
max_client_conn = 1000
default_pool_size = 60
server_idle_timeout = 1
"""
# Whatever happens to whoever waits for it, the program ends, and with it its processes and its mounts.
_ALONE = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child"]


class Impossible(Exception):
    """Why this machine cannot."""


def make_debian() -> None:
    """Debian, PostgreSQL, pgvector and PgBouncer in their folder, unless they are there."""
    if os.geteuid() != 0:
        raise Impossible("needs root")
    missing = [
        name for name in ("apt-get", "debootstrap", "unshare", "setpriv") if shutil.which(name) is None
    ]
    if missing:
        raise Impossible(f"needs {', '.join(missing)}")
    if subprocess.run([*_ALONE, "true"], stderr=subprocess.DEVNULL, check=False).returncode:
        raise Impossible("needs the right to mount")
    if DEBIAN.exists():
        return
    print("==> making Debian trixie with PostgreSQL 17 (once, about two minutes)", flush=True)
    new, log = Path(f"{DEBIAN}.new"), Path(f"{DEBIAN}.log")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    bootstrap = ["debootstrap", "--variant=minbase", "--force-check-gpg", "trixie", str(new), *_mirror()]
    try:
        with log.open("w") as output:
            for command in (bootstrap, ["chroot", str(new), "sh", "-ec", _INSTALL]):
                subprocess.run([*_ALONE, *command], stdout=output, stderr=output, check=True)
        new.rename(DEBIAN)
    except subprocess.CalledProcessError:
        raise Impossible(f"Debian could not be made, see {log}") from None
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _mirror() -> list[str]:
    """Where this machine's apt has Debian from; if from nowhere, debootstrap knows where."""
    of_debian = ["Created-By: Packages", "Origin: Debian", "Label: Debian"]
    question = ["apt-get", "indextargets", "--format", "$(REPO_URI)", *of_debian]
    return subprocess.run(question, capture_output=True, text=True, check=True).stdout.split()[:1]


@contextmanager
def _running(script: str, settings: str, log: Path, *, password: str, server: int = 0) -> Iterator[str]:
    """The URL of a program in Debian, which ends with the block; what it says is in ``log``."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "LANG": "C.UTF-8",
        "PASSWORD": password,
        "SETTINGS": settings.format(port=port, server=server),
        "IN_MEMORY": "yes" if psutil.virtual_memory().available > PLENTY else "",
    }
    command = [*_ALONE, "chroot", str(DEBIAN), "sh", "-ec", script]
    with log.open("w") as output:
        process = subprocess.Popen(
            command, env=environment, stdout=output, stderr=output, start_new_session=True
        )
    try:
        url = f"postgresql://postgres:{password}@127.0.0.1:{port}/postgres"
        _wait(url, log)
        yield url
    finally:
        process.kill()
        process.wait()


def _wait(url: str, log: Path) -> None:
    for _ in range(300):
        with suppress(psycopg.OperationalError):
            psycopg.connect(url).close()
            return
        time.sleep(0.2)
    raise SystemExit(f"no answer within a minute, see {log}")


def _suite(url: str, arguments: list[str]) -> int:
    environment = os.environ | {"CRM_TEST_DATABASE_URL": url}
    command = [sys.executable, "-m", "pytest", "-n", "2", "-m", "not soak", *arguments]
    command = ["setpriv", "--pdeathsig", "INT", *command]
    with subprocess.Popen(command, cwd=ROOT, env=environment, start_new_session=True) as tests:
        try:
            return tests.wait()
        finally:
            if tests.poll() is None:
                os.killpg(tests.pid, signal.SIGINT)


def _run(only: str | None, arguments: list[str]) -> int:
    password, folder = secrets.token_hex(16), DEBIAN.parent
    with _running(_SERVER, _SERVER_SETTINGS, folder / "trixie-server.log", password=password) as direct:
        if only != "pooled":
            print("==> on PostgreSQL 17 over TCP with passwords", flush=True)
            failed = _suite(direct, arguments)
            if failed or only:
                return failed
        # Migrations need a direct connection: the template of the tests' databases is made by one.
        with closing(Databases(direct)) as databases:
            databases.drop(databases.clone())
        log, server = folder / "trixie-pooler.log", urlsplit(direct).port or 0
        with _running(_POOLER, _POOLER_SETTINGS, log, password=password, server=server) as pooled:
            print("==> the same through PgBouncer in transaction mode", flush=True)
            return _suite(pooled, ["--pooled", *arguments])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=["direct", "pooled"], help="one of the two runs")
    options, arguments = parser.parse_known_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        make_debian()
        return _run(options.only, arguments)
    except Impossible as reason:
        print(f"not tested elsewhere: {reason}")
        return 0
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
