"""What docker-compose.yml says of the replica, done without Docker: its commands, by the same programs."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import make_url, text
from sqlalchemy.pool import NullPool

from app import embedded
from app.database import make_engine
from app.errors import EmbeddedUnavailable

ROOT = Path(__file__).resolve().parents[2]
SERVICES: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))[
    "services"
]
PROFILE = {"replication", "replica", "pgbouncer", "pgbouncer_replica"}
FOLLOWS = text("SELECT pg_is_in_recovery() AND EXISTS (SELECT FROM pg_stat_wal_receiver)")


def test_without_the_profile_there_is_one_server():
    assert {name for name, service in SERVICES.items() if service.get("profiles") == ["replica"]} == PROFILE
    assert SERVICES.keys() - PROFILE == {"db", "migrate", "desk"}


def test_every_port_is_open_to_this_machine_alone_and_used_once():
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert all(port.startswith("127.0.0.1:") for port in ports)
    assert len({port.split(":-")[1] for port in ports}) == len(ports)


def test_whoever_is_waited_for_exists_and_can_be_waited_for():
    for service in SERVICES.values():
        for name, wait in service.get("depends_on", {}).items():
            if wait["condition"] == "service_healthy":
                assert "healthcheck" in SERVICES[name]
            else:
                assert wait["condition"] == "service_completed_successfully"
                assert name in {"replication", "migrate"}


def command(service: str) -> list[str]:
    """As Compose runs it: ``$$`` is its spelling of ``$``."""
    return [
        part.replace("$$", "$") for part in [*SERVICES[service]["entrypoint"], *SERVICES[service]["command"]]
    ]


@contextmanager
def as_owner_of(folder: Path) -> Iterator[dict[str, Any]]:
    owner = folder.stat()
    account = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []}
    yield account if os.geteuid() == 0 else {}


@pytest.mark.soak
def test_the_commands_make_a_replica_that_follows_and_may_be_repeated(tmp_path_factory):
    try:
        server = embedded.start(tmp_path_factory.mktemp("compose"), durable=False)
    except EmbeddedUnavailable as error:
        pytest.skip(str(error))
    home, data = server.directory, server.directory / "data"
    home.chmod(0o777)
    # The copy has the socket's lock of the primary, which no container has.
    programs = home / "programs"
    programs.mkdir(mode=0o755)
    for program in ("psql", "pg_basebackup"):
        (programs / program).symlink_to(server.bin / program)
    starter = programs / "postgres"
    starter.write_text(f'#!/bin/sh\nrm -f "$PGDATA"/.s.PGSQL*.lock\nexec {server.bin}/postgres\n')
    starter.chmod(0o755)
    environment = os.environ | {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PGHOST": str(make_url(server.url).query["host"]),
        "PGUSER": "postgres",
        "PGDATABASE": "crm",
        "PGDATA": str(home / "replica"),
    }
    hba = data / "pg_hba.conf"
    try:
        with as_owner_of(data) as account:
            for _ in range(2):
                subprocess.run(
                    command("replication"), env=environment, check=True, stdout=subprocess.DEVNULL, **account
                )
            added = "host replication crm samenet scram-sha-256"
            assert hba.read_text().splitlines().count(added) == 1
            half = home / "replica.new" / "half"
            half.parent.mkdir()
            half.touch()
            for path in (half, half.parent):
                os.chown(path, data.stat().st_uid, data.stat().st_gid)
            for _ in range(2):
                with (home / "replica.log").open("w") as log:
                    replica = subprocess.Popen(
                        command("replica"), env=environment, cwd="/", stdout=log, stderr=log, **account
                    )
                try:
                    engine = make_engine(
                        f"postgresql://postgres@/crm?host={home / 'replica'}", poolclass=NullPool
                    )
                    assert wait_until_it_follows(engine)
                finally:
                    replica.terminate()
                    replica.wait(30)
                assert not (home / "replica.new").exists()
    finally:
        embedded.release(server)
        shutil.rmtree(home)


def wait_until_it_follows(engine) -> bool:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            with engine.connect() as connection:
                if connection.scalar(FOLLOWS):
                    return True
        except Exception:
            time.sleep(0.1)
    return False
