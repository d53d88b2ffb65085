"""All commands of ``crm``, as the program knows them."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

import typer.main

from app import cli
from app.cli import program


def all_commands() -> dict[str, Any]:
    """Each by its words, groups that do something of their own too."""
    for module in iter_modules(cli.__path__):
        import_module(f"app.cli.{module.name}")
    return dict(_below(typer.main.get_command(program.crm), ""))


def _below(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    children = getattr(command, "commands", {})
    if name and (not children or command.invoke_without_command):
        yield name, command
    for word, child in children.items():
        yield from _below(child, f"{name} {word}".strip())
