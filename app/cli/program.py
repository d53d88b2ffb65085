"""The program and its groups. The module of a command is imported when it is called, and no other."""

from __future__ import annotations

import copy
import gc
import sys
from importlib import import_module
from typing import Annotated, Any

import typer
import typer.main
from typer.core import TyperCommand, TyperGroup

from .commands import COMMANDS


def example(arguments: str) -> str:
    """How the help of a command shows one call of it."""
    return f"Example: crm {arguments}"


class Listed(TyperCommand):
    """A command of which no more is known than what a list of commands shows."""

    def __init__(self, words: str) -> None:
        super().__init__(words.rpartition(" ")[2], help=COMMANDS[words].summary)
        self.words = words


class Group(TyperGroup):
    """Lists commands, and loads the one that is called or whose options are completed."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, command, rest = super().resolve_command(ctx, args)
        return name, load(command.words) if isinstance(command, Listed) else command, rest


crm = typer.Typer(
    cls=Group,
    help="The CRM data layer on the command line. The database is the one that DATABASE_URL names; "
    "without it an embedded PostgreSQL is started.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
)
knowledge = typer.Typer(
    cls=Group, help="The articles that questions are answered from.", no_args_is_help=True
)
channels = typer.Typer(
    cls=Group, help="How we talk on each channel: length, tone, template.", no_args_is_help=True
)
customers = typer.Typer(
    cls=Group,
    help="Customers who are one person, and what was decided about them.",
    no_args_is_help=True,
)
db = typer.Typer(
    cls=Group,
    help="The database: where it is, its schema, its roles, a backup put back.",
    no_args_is_help=True,
)
tickets = typer.Typer(
    cls=Group,
    help="List tickets, and look after them.",
    invoke_without_command=True,
    epilog=example("tickets --status open --priority high"),
)
_GROUPS = {"knowledge": knowledge, "channels": channels, "customers": customers, "db": db, "tickets": tickets}
for _name, _typer in _GROUPS.items():
    crm.add_typer(_typer, name=_name)


def load(words: str) -> Any:
    """The command itself, or the group with its commands listed."""
    _import(f"{__package__}.{COMMANDS[words].module}")
    above, _, name = words.rpartition(" ")
    if words in _GROUPS:
        group = typer.main.get_group(_without_commands(_GROUPS[words]))
        group.name = name
        group.commands = _listed(below=words)
        return group
    parent = _GROUPS.get(above, crm)
    alone = _without_commands(parent)
    alone.registered_commands = [info for info in parent.registered_commands if _name_of(info) == name]
    return typer.main.get_group(alone).commands[name]


def program() -> Any:
    """``crm`` with its commands listed."""
    group: Any = typer.main.get_command(_without_commands(crm))
    group.commands = _listed(below="")
    return group


def _listed(below: str) -> dict[str, Any]:
    return {
        words.rpartition(" ")[2]: Listed(words) for words in COMMANDS if words.rpartition(" ")[0] == below
    }


def _without_commands(parent: typer.Typer) -> typer.Typer:
    alone = copy.copy(parent)
    alone.registered_commands, alone.registered_groups = [], []
    alone.rich_markup_mode = crm.rich_markup_mode
    return alone


def _name_of(info: Any) -> str:
    return info.name or typer.main.get_command_name(info.callback.__name__)


def _import(module: str) -> None:
    """What a module brings stays until the end: the collector need not look through it meanwhile or later."""
    if module in sys.modules:
        return
    is_on = gc.isenabled()
    gc.disable()
    try:
        import_module(module)
    finally:
        if is_on:
            gc.enable()
    gc.freeze()


def _show_version(is_wanted: bool) -> None:
    if is_wanted:
        import importlib.metadata  # noqa: PLC0415 - it is slow to import

        try:
            typer.echo(f"crm {importlib.metadata.version('crm-digital-fte')}")
        except importlib.metadata.PackageNotFoundError:
            typer.echo("crm, from a checkout that is not installed")
        raise typer.Exit


@crm.callback()
def _options(
    _: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    """Takes the options that stand before the command."""
