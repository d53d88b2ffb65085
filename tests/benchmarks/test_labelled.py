"""A labelled set that is none is said in a line, before a server is started."""

from __future__ import annotations

import struct
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def floats(*rows: list[float], kind: str = "<f4") -> bytes:
    shape = (len(rows), len(rows[0])) if rows else (0,)
    return array(kind, shape, b"".join(struct.pack(f"<{len(row)}f", *row) for row in rows))


def texts(*every: str) -> bytes:
    width = max(map(len, every), default=1)
    return array(
        f"<U{width}", (len(every),), b"".join(one.ljust(width, "\0").encode("utf-32-le") for one in every)
    )


def integers(*every: int) -> bytes:
    return array("<i8", (len(every),), struct.pack(f"<{len(every)}q", *every))


def array(kind: str, shape: tuple[int, ...], data: bytes) -> bytes:
    header = repr({"descr": kind, "fortran_order": False, "shape": shape}).encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data


WHOLE = {
    "vectors": floats([1, 0], [0, 1]), "texts": texts("one", "two"), "labels": integers(1, 2),
    "queries": floats([1, 0]), "query_texts": texts("the first"), "query_labels": integers(1),
    "unanswerable": floats([1, 1]), "unanswerable_texts": texts("none"),
}  # fmt: skip


def evaluate(file: Path) -> Any:
    command = [sys.executable, str(BENCHMARKS / "search_quality.py"), "--data", str(file)]
    environment = {
        "PYTHONPATH": str(BENCHMARKS.parent),
        "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
    }
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=100, check=False)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"queries": None}, "has nothing in queries"),
        ({"labels": integers()}, "has nothing in labels"),
        ({"labels": integers(1)}, "2 vectors, 2 texts, 1 labels do not match"),
        ({"unanswerable": None}, "0 unanswerable, 1 unanswerable_texts do not match"),
        ({"texts": integers(1, 2)}, "texts must be texts, none of them empty"),
        ({"vectors": floats([1, 0, 0], [0, 1, 0])}, "must be rows of one width"),
        ({"vectors": floats([1, 0], [0, 1], kind="|O")}, "the array vectors: is of |O"),
        ({"vectors": b"nothing of numpy's"}, "the array vectors: "),
    ],
)
def test_what_is_wrong_with_a_set_is_said(tmp_path, changes, problem):
    file = tmp_path / "set.npz"
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in (WHOLE | changes).items():
            if content is not None:
                archive.writestr(f"{name}.npy", content)
    ran = evaluate(file)
    assert ran.returncode == 1
    assert problem in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize(("content", "problem"), [(b"no archive", "is no .npz file"), (None, "No such file")])
def test_a_file_that_is_none_is_said(tmp_path, content, problem):
    file = tmp_path / "set.npz"
    if content is not None:
        file.write_bytes(content)
    ran = evaluate(file)
    assert ran.returncode == 1
    assert ran.stderr.startswith(f"{file}: {problem}")
