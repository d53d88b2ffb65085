"""A labelled set that is none is said in a line, before a server is started."""

from __future__ import annotations

import struct
import sys
import zipfile
from pathlib import Path

import pytest


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


@pytest.fixture
def problem_of(benchmark, monkeypatch):
    """What the program says of a file, and ends; there is no server where it would look for one."""
    program = benchmark("search_quality")

    def evaluate(file: Path) -> str:
        arguments = ["--data", str(file), "--database-url", "postgresql://nobody@127.0.0.1:1/none"]
        monkeypatch.setattr(sys, "argv", ["search_quality.py", *arguments])
        with pytest.raises(SystemExit) as end:
            program.main()
        return str(end.value)

    return evaluate


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
def test_what_is_wrong_with_a_set_is_said(tmp_path, problem_of, changes, problem):
    file = tmp_path / "set.npz"
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in (WHOLE | changes).items():
            if content is not None:
                archive.writestr(f"{name}.npy", content)
    assert problem in problem_of(file)


@pytest.mark.parametrize(("content", "problem"), [(b"no archive", "is no .npz file"), (None, "No such file")])
def test_a_file_that_is_none_is_said(tmp_path, problem_of, content, problem):
    file = tmp_path / "set.npz"
    if content is not None:
        file.write_bytes(content)
    assert problem_of(file).startswith(f"{file}: {problem}")
