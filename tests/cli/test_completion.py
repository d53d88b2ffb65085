"""The shell completes commands, options and their values."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]


@pytest.mark.parametrize(
    ("words", "completions"),
    [
        ("crm tick", ["ticket", "tickets"]),
        ("crm customers me", ["merge"]),
        ("crm report --ht", ["--html"]),
        ("crm report --by ", ["channel", "category", "priority", "assignee"]),
    ],
)
def test_bash_is_told_what_can_follow(crm: Run, words: str, completions: list[str]) -> None:
    place = str(len(words.split(" ")) - 1)
    ran = crm(_CRM_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=place)

    assert (ran.code, ran.out.split(), ran.err) == (0, completions, "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_can_be_shown_and_installed(
    crm: Run, shell: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    shown = crm("--show-completion", shell)
    installed = crm("--install-completion", shell)

    assert (shown.code, installed.code) == (0, 0)
    assert "_CRM_COMPLETE" in shown.out
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any("_CRM_COMPLETE" in path.read_text() for path in files)
