"""What figures depend on: the machine, the server, the versions, and the day."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
from _articles import connect

_SETTINGS = ("server_version", "shared_buffers", "fsync", "synchronous_commit")
_PACKAGES = ("sqlalchemy", "psycopg", "asyncpg", "pgvector", "pydantic")


def describe(url: str) -> dict[str, Any]:
    with connect(url) as connection:
        server = {
            name: connection.execute("SELECT current_setting(%s)", [name]).fetchone()[0]  # type: ignore[index]
            for name in _SETTINGS
        }
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "commit": _commit(),
        "machine": (
            f"{_processor()}, {os.cpu_count()} cores, {round(psutil.virtual_memory().total / 2**30)} GB"
        ),
        "python": platform.python_version(),
        "server": server,
        "packages": {name: version(name) for name in _PACKAGES},
    }


def load_average() -> float:
    """How many processes have wanted to run during the last minute: ask before a run."""
    return round(os.getloadavg()[0], 1)


def _processor() -> str:
    try:
        model = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        model = None
    return model[1] if model else platform.processor() or platform.machine()


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty"]
    try:
        done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()
