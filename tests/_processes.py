"""Commands, each in a process of its own that need not import everything again.

A process that has imported what they need waits for calls, and forks one of itself for each: a second of work
less than an interpreter that starts from nothing. What is read as an interpreter starts (``PYTHON*``, the
locale) is that of the tests.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]

_WAITING = """
import gc, json, os, runpy, signal, sys
gc.disable()
import alembic.autogenerate, alembic.config, sqlalchemy.dialects.postgresql.psycopg
import crm_digital_fte.migrations, crm_digital_fte.schemas
gc.freeze()
gc.enable()
for line in sys.stdin:
    module, arguments, variables, files = json.loads(line)
    pid = os.fork()
    if pid == 0:
        signal.alarm(60)
        os.environ.clear()
        os.environ.update(variables)
        for number, name in enumerate(files):
            os.dup2(os.open(name, os.O_RDWR), number)
        sys.argv = [module, *arguments]
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        sys.exit()
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


class Processes:
    """Runs modules as ``python -m`` does, with the checkout as working directory."""

    def __init__(self) -> None:
        self._waiting = subprocess.Popen(
            [sys.executable, "-c", _WAITING],
            cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def run(self, module: str, *arguments: str, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        with tempfile.NamedTemporaryFile("r+") as out, tempfile.NamedTemporaryFile("r+") as err:
            call = module, arguments, dict(env), ("/dev/null", out.name, err.name)
            print(json.dumps(call), file=self._waiting.stdin, flush=True)
            code = int(self._waiting.stdout.readline())
            return subprocess.CompletedProcess([module, *arguments], code, out.read(), err.read())

    def close(self) -> None:
        self._waiting.communicate()
