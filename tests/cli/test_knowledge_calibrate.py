"""``crm knowledge calibrate``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from app.cli import calibration
from app.embeddings import LexicalEmbedder
from app.services import knowledge, search

Run = Callable[..., Any]
OURS = ["how do I reset my password", "two-factor code", "refund of an annual plan", "import a csv file"]
OTHERS = ["my washing machine leaks", "will it rain tomorrow", "a recipe for apple pie"]


@pytest.fixture
def calibrate(crm: Run, crm_clone: Engine, tmp_path: Path) -> Run:
    """The command with two files, whose content is bytes or lines; the articles are embedded."""
    with Session(crm_clone) as session:
        knowledge.embed_missing(session, LexicalEmbedder())
        session.commit()
    url = crm_clone.url.render_as_string(hide_password=False)

    def run(ours: bytes | list[str], others: bytes | list[str], *options: str) -> Any:
        paths = []
        for name, content in (("ours", ours), ("others", others)):
            path = tmp_path / f"{name}.txt"
            path.write_bytes(content if isinstance(content, bytes) else "\n".join(content).encode())
            paths.append(str(path))
        return crm("knowledge", "calibrate", *paths, *options, DATABASE_URL=url)

    return run


@pytest.mark.parametrize("mode", ["hybrid", "vector", "text"])
def test_a_threshold_is_measured_kept_and_said(calibrate, crm_clone, mode):
    ran = calibrate(["", *OURS, "  "], OTHERS, "--mode", mode, "--json")
    kept = json.loads(ran.out)

    embedder = None if mode == "text" else LexicalEmbedder()
    with Session(crm_clone) as session:
        assert search.find_threshold(session, embedder=embedder, mode=mode) == kept["threshold"]
        hit = search.search_knowledge(session, OURS[0], embedder=embedder, mode=mode)[0]
    assert hit.confident
    assert (kept["answerable"], kept["unanswerable"], kept["answered"]) == (4, 3, 1.0)
    assert 0 <= kept["refused"] <= 1


def test_it_is_said_in_words_with_a_warning_where_questions_are_few(calibrate, monkeypatch):
    ran = calibrate(OURS, OTHERS, "--answered", "0.75")
    assert ran.code == 0
    assert "of 4 questions 75.0% are answered, of 3 others 100.0% are refused" in ran.out
    assert "with fewer than 100 questions" in ran.err
    monkeypatch.setattr(calibration, "_FEW", len(OTHERS))
    assert "with fewer than" not in calibrate(OURS, OTHERS).err


@pytest.mark.parametrize(
    ("ours", "others", "options", "problem"),
    [
        ([], OTHERS, (), "answerable: has no question"),
        (OURS, [" ", ""], (), "unanswerable: has no question"),
        (b"caf\xe9", OTHERS, (), "answerable: is not UTF-8"),
        (OURS, ["x" * 10_001], (), "unanswerable: must"),
        (OURS, ["a\0b"], (), "unanswerable: "),
        (OURS * 3000, OTHERS, (), "answerable: must have from 1 to 10,000 questions"),
        (OURS, OTHERS, ("--answered", "0"), "answered: must be above 0 and at most 1"),
        (OURS, OTHERS, ("--answered", "nan"), "answered: must be above 0 and at most 1"),
        (["zzz qqq"], OTHERS, ("--mode", "text"), "answerable: has no question for which anything is found"),
    ],
)
def test_what_cannot_be_measured_is_said_in_one_line(calibrate, ours, others, options, problem):
    ran = calibrate(ours, others, *options)
    assert ran.code == 1
    assert ran.problem.startswith(f"crm: {problem}")


def test_files_that_cannot_be_read_are_named(crm, tmp_path):
    ran = crm("knowledge", "calibrate", str(tmp_path), str(tmp_path / "none.txt"))
    assert (ran.code, ran.problem) == (1, "crm: answerable: cannot be read: Is a directory")
