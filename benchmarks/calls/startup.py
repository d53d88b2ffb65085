"""How long a process takes to import the services, and a deployment that has nothing to do.

All code is compiled before the clock starts, as an installed package's is, whatever the environment says.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = {
    "import app.services": ["-c", "from app.services import conversations, merging, search, tickets"],
    "import sqlalchemy.orm, psycopg": ["-c", "import sqlalchemy.orm, psycopg"],
    "python": ["-c", ""],
    "alembic upgrade head": ["-m", "alembic", "upgrade", "head"],
    "alembic current": ["-m", "alembic", "current"],
}


def startup(url: str, *, rounds: int, seed: int = 1) -> dict[str, float]:
    """The median of each command in milliseconds, on a database that is at head; in random order."""
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    with TemporaryDirectory() as compiled:
        environment = os.environ | {"DATABASE_URL": url, "PYTHONPYCACHEPREFIX": compiled}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        for name in COMMANDS:
            _run(name, environment)  # compiles, and fills the system's cache
        order = [name for name in COMMANDS for _ in range(rounds)]
        random.Random(seed).shuffle(order)
        for name in order:
            since = time.perf_counter()
            _run(name, environment)
            times[name].append((time.perf_counter() - since) * 1000)
    return {name: round(median(some), 1) for name, some in times.items()}


def _run(name: str, environment: dict[str, str]) -> None:
    command = [sys.executable, *COMMANDS[name]]
    subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)
