"""The module of a command is imported when it is called; what lists of commands show is in a table."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import typer.main

from app.cli import program
from app.cli.commands import COMMANDS, Entry

from .commands import all_commands

Run = Callable[..., Any]
_REPORTING = """
import gc, json, sys
from app import cli
try:
    cli.main()
finally:
    ours = {"app", "alembic", "psycopg", "sqlalchemy"}
    modules = [name for name in sys.modules if name.partition(".")[0] in ours]
    print(json.dumps([modules, gc.isenabled(), gc.get_freeze_count()]), file=sys.stderr)
"""


def reported(*arguments: str, **variables: str) -> tuple[set[str], bool, int]:
    """What a process of its own has imported in the end, and the state of its collector."""
    ran = subprocess.run(
        [sys.executable, "-c", _REPORTING, *arguments],
        env={**os.environ, **variables}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    modules, is_on, frozen = json.loads(ran.stderr.splitlines()[-1])
    return set(modules), is_on, frozen


def registered(group: Any, above: str = "") -> Iterator[tuple[str, Entry]]:
    for name, command in group.commands.items():
        words = f"{above} {name}".strip()
        brought_by = command.callback or program.crm
        summary = command.help.partition("\n\n")[0].replace("\n", " ")
        yield words, Entry(brought_by.__module__.rpartition(".")[2], summary)
        if hasattr(command, "commands"):
            yield from registered(command, words)


def test_the_table_has_every_command_with_its_module_and_what_its_help_begins_with() -> None:
    all_commands()

    expected = dict(registered(typer.main.get_command(program.crm)))

    assert {words: entry for words, entry in COMMANDS.items() if entry.module != "program"} == {
        words: entry for words, entry in expected.items() if entry.module != "main"
    }
    groups = {words: entry.summary for words, entry in expected.items() if entry.module == "main"}
    assert {words: entry.summary for words, entry in COMMANDS.items() if entry.module == "program"} == groups


@pytest.mark.parametrize("words", COMMANDS)
def test_a_loaded_command_is_the_registered_one(words: str) -> None:
    loaded, command = program.load(words), typer.main.get_command(program.crm)
    for word in words.split():
        command = command.commands[word]

    assert (loaded.name, loaded.help, loaded.epilog) == (command.name, command.help, command.epilog)
    assert [parameter.name for parameter in loaded.params] == [parameter.name for parameter in command.params]
    assert list(getattr(loaded, "commands", ())) == [
        below.removeprefix(f"{words} ") for below in COMMANDS if below.startswith(f"{words} ")
    ]


@pytest.mark.parametrize(
    ("arguments", "variables"),
    [
        (["--version"], {}),
        (["--help"], {}),
        (["db", "--help"], {}),
        (["dbb"], {}),
        ([], {"_CRM_COMPLETE": "complete_bash", "COMP_WORDS": "crm customers ", "COMP_CWORD": "2"}),
    ],
    ids=["version", "help", "help of a group", "wrong usage", "completion"],
)
def test_what_runs_no_command_imports_none(arguments: list[str], variables: dict[str, str]) -> None:
    modules, _, _ = reported(*arguments, **variables)

    assert modules == {"app", "app.cli", "app.cli.entry", "app.cli.program", "app.cli.commands"}


def test_commands_about_the_schema_need_neither_models_nor_services(url: str) -> None:
    modules, is_collecting, frozen = reported("db", "current", DATABASE_URL=url)

    assert "app.migrations" in modules
    rooms = {name.split(".")[1] for name in modules if name.startswith("app.")}
    assert rooms.isdisjoint({"channels", "models", "schemas", "services"})
    assert is_collecting
    assert frozen > 0
