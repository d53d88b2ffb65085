"""`make elsewhere` on a machine that cannot; where it can, it runs these tests."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[1] / "scripts" / "elsewhere.py"


def test_where_it_cannot_be_done_one_line_says_so_and_nothing_fails():
    ran = subprocess.run(
        [sys.executable, SCRIPT],
        env=os.environ | {"PATH": "/nowhere"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert re.fullmatch(
        r"not tested elsewhere: needs (root|apt-get, debootstrap, unshare, setpriv)\n", ran.stdout
    )
