"""``crm channels``: what people see of a channel's settings, and what they change."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from app.testing import Databases

Run = Callable[..., Any]


@pytest.fixture
def run(crm: Run, crm_databases: Databases) -> Iterator[Run]:
    """``crm`` on a database of this test alone."""
    url = crm_databases.clone()
    yield lambda *arguments: crm(*arguments, DATABASE_URL=url)
    crm_databases.drop(url)


def test_all_channels_are_shown_with_what_their_length_is_counted_in(run: Run) -> None:
    out = " ".join(run("channels", "show").out.split())
    for shown in ("email yes 500 words formal", "whatsapp yes 1,600 characters conversational"):
        assert shown in out


def test_a_change_is_shown_with_its_record(run: Run, tmp_path: Path) -> None:
    template = tmp_path / "template.txt"
    template.write_text("Hi {{customer_name}}!\n\n{{response_body}}\n")
    edit = ("channels", "edit", "whatsapp", "--actor", "human:7")

    run(*edit, "--disable", "--max-length", "900", "--comment", "a strike")
    done = run(*edit, "--template", str(template))

    assert done.code == 0
    out = " ".join(run("channels", "show", "whatsapp").out.split())
    assert "on no answers of at most 900 characters" in out
    assert "Hi {{customer_name}}! {{response_body}}" in out
    assert "human:7 is_enabled, max_response_length a strike" in out
    assert "Hi {{" not in run(*edit, "--enable", "--no-template").out


def test_what_cannot_be_is_said_in_one_line(run: Run, tmp_path: Path) -> None:
    template = tmp_path / "template.txt"
    template.write_text("Hi {{first_name}}, {{response_body}}")
    edit = ("channels", "edit", "email", "--actor", "human:7")

    unknown = run(*edit, "--template", str(template))
    missing = run(*edit, "--template", str(tmp_path / "none.txt"))

    assert (unknown.code, missing.code) == (1, 1)
    assert unknown.problem.startswith("crm: response_template: has a placeholder that is none of")
    assert missing.problem == "crm: template: cannot be read: No such file or directory"
    assert run("channels", "edit", "email", "--actor", "me", "--tone", "formal").code == 1
