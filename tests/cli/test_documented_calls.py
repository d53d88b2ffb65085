"""What the pages tell people to type is what the program takes."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer
import typer.main

from app.cli import program

from .commands import all_commands

ROOT = Path(__file__).resolve().parents[2]
CONSOLE = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
CALLS = sorted(
    {
        call.strip()
        for page in PAGES
        if page.name != "commands.md"
        for block in CONSOLE.findall(page.read_text(encoding="utf-8"))
        for call in re.findall(r"(?:^|\| )(?:[A-Z_]+=\S+ )*crm ([^|\n>#]+)", block, re.MULTILINE)
    }
)

UsageError: type[Exception] = typer.BadParameter.__bases__[0]


def taken(words: list[str]) -> None:
    """The words are parsed as the program does, down to the last command."""
    all_commands()
    command = typer.main.get_command(program.crm)
    context = command.make_context("crm", words)
    while getattr(command, "commands", None) and context._protected_args:
        name, command, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        context = command.make_context(name, rest, parent=context)


@pytest.mark.parametrize("call", CALLS)
def test_a_call_in_a_console_block_is_one(call: str) -> None:
    taken(shlex.split(re.sub("MERGE|HOLD", "8a0c3d53-2bb0-4b4c-9e43-9f6a3c1d2e4f", call)))


@pytest.mark.parametrize("call", ["tickets --nonsense", "sell", "db sideways", "reply TKT-1"])
def test_a_call_that_is_none_is_noticed(call: str) -> None:
    with pytest.raises(UsageError):
        taken(shlex.split(call))


def test_there_are_calls() -> None:
    assert len(CALLS) > 20
