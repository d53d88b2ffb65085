"""Write the pages of docs/reference that follow from the code: run it after a change of what they list."""

from __future__ import annotations

import ast
import inspect
import pkgutil
import re
import textwrap
from collections.abc import Iterator
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

import typer.cli
import typer.main
from pydantic import AliasChoices
from pydantic.fields import FieldInfo
from sqlalchemy import Table
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Mapper

from app import cli, errors
from app.cli import program
from app.errors import CRMError
from app.models import TRANSITIONS, Base
from app.settings import Settings
from scripts import diagrams, sql_functions

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "reference"
POSTGRESQL = postgresql.dialect()  # type: ignore[no-untyped-call]
NOTE = "<!-- Written by scripts/describe_docs.py. -->\n\n"


def pages() -> dict[str, str]:
    """The text of each page by its file's name."""
    return {
        "errors.md": describe_errors(),
        "settings.md": describe_settings(),
        "commands.md": describe_commands(),
        "tables.md": describe_tables(),
        "functions.md": sql_functions.describe(),
        "tables.svg": diagrams.relations(_tables()),
        "ticket-states.svg": diagrams.states(
            {status.value: [target.value for target in targets] for status, targets in TRANSITIONS.items()}
        ),
    }


def describe_errors() -> str:
    rows = [
        f"| `{error.__name__}` | `{error.code}` | {error.http_status} | {'yes' if error.retryable else 'no'} "
        f"| {_first_line(error)} |"
        for error in _family(CRMError)
    ]
    return (
        "# Errors\n\n"
        "Everything that the package raises on purpose is a `CRMError`: `code` names the kind for programs,\n"
        "and `http_status` is what a web service answers with. `errors.problem(error)` makes a problem\n"
        "document (RFC 9457) of it. *Retry* says whether the same call may succeed a little later as it is;\n"
        "`database.transaction` and `transaction_async` retry by themselves what is safe to run again.\n"
        "After `commit_unknown`, look whether the work was done before you do it again.\n\n"
        "| error | code | HTTP | retry | meaning |\n|---|---|---|---|---|\n" + "\n".join(rows) + "\n\n"
        "## Exit codes of `crm`\n\n"
        "| code | meaning |\n|---|---|\n"
        "| 0 | done |\n"
        "| 1 | not done; one line on stderr says why, and nothing is half done |\n"
        "| 2 | wrong usage: an option or an argument is missing or cannot be read |\n"
        "| 3 | `crm doctor`: something should be seen to |\n"
        "| 4 | `crm doctor`: something that must hold does not |\n"
        "| 130 | Ctrl-C |\n"
    )


def describe_settings() -> str:
    rows = [
        f"| `{_variable(name, field)}` | {_default(field)} | {field.description or ''} |"
        for name, field in Settings.model_fields.items()
    ]
    return (
        "# Settings\n\n"
        "The command line and Alembic read them from the environment; services read none.\n\n"
        "| variable | default | meaning |\n|---|---|---|\n" + "\n".join(rows) + "\n"
    )


def describe_commands() -> str:
    for module in pkgutil.iter_modules(cli.__path__):
        # They add their commands.
        import_module(f"app.cli.{module.name}")
    command = _in_order(typer.main.get_command(program.crm))
    text = typer.cli.get_docs_for_click(
        obj=command, ctx=command.make_context("crm", [], resilient_parsing=True), name="crm"
    )
    text = re.sub(r"^Example: (.*)$", r"Example: `\1`", text, flags=re.MULTILINE)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def _in_order(command: Any) -> Any:
    """By name, as the order of adding is that of whoever imported the modules first; no summary is cut."""
    command.short_help = (command.help or "").partition("\n\n")[0].replace("\n", " ")
    commands = getattr(command, "commands", None)
    if commands is not None:
        command.commands = {name: _in_order(commands[name]) for name in sorted(commands)}
    return command


def describe_tables() -> str:
    tables = _tables()
    return (
        "# Tables\n\n"
        "The columns, as the models have them. The project began with `customers`,\n"
        "`customer_identifiers`, `conversations`, `messages`, `tickets`, `knowledge_base`,\n"
        "`channel_configs` and `agent_metrics`; the other tables stand beside them. The column `metadata`\n"
        "is the attribute `extra` in Python. Write to a table only as [plain SQL](../sql.md) says.\n\n"
        "[![The tables and their foreign keys](tables.svg)](tables.svg)\n\n"
        "Each line is a foreign key, from the table on its right to the one on its left.\n"
        "A dashed one may be NULL.\n\n"
        "## A ticket's status\n\n"
        "These steps are allowed; the database refuses every other one, whoever tries it.\n\n"
        "![The states of a ticket](ticket-states.svg)\n\n"
        "| from | to |\n|---|---|\n"
        + "\n".join(
            f"| `{status.value}` | {', '.join(f'`{target.value}`' for target in sorted(targets))} |"
            for status, targets in TRANSITIONS.items()
        )
        + "\n\n"
        + "\n".join(_columns(table) for table in tables)
    )


def _family(error: type[CRMError]) -> Iterator[type[CRMError]]:
    yield error
    public = vars(errors).values()
    for kind in sorted(error.__subclasses__(), key=lambda kind: (kind.http_status, kind.__name__)):
        if kind in public:
            yield from _family(kind)


def _first_line(thing: object) -> str:
    return (inspect.getdoc(thing) or "").partition("\n")[0]


def _variable(name: str, field: FieldInfo) -> str:
    alias = field.validation_alias
    return str(alias.choices[0]) if isinstance(alias, AliasChoices) else f"CRM_{name.upper()}"


def _default(field: FieldInfo) -> str:
    return "" if field.default is None else f"`{field.default}`"


def _tables() -> list[Table]:
    return [table for _, table in sorted(Base.metadata.tables.items())]


def _columns(table: Table) -> str:
    mapper = next(mapper for mapper in Base.registry.mappers if mapper.local_table is table)
    meanings = _meanings(mapper)
    rows = [
        f"| `{column.name}` | {type_}{'' if column.nullable else ' not null'} | {meaning} |"
        for column in table.columns
        for type_ in [column.type.compile(POSTGRESQL).lower()]
        for meaning in [meanings.get(column.name, "")]
    ]
    title = f"## {table.name}\n\n" + (f"{_first_line(mapper.class_)}\n\n" if mapper.class_.__doc__ else "")
    return f"{title}| column | type | meaning |\n|---|---|---|\n" + "\n".join(rows) + "\n"


def _meanings(mapper: Mapper[Any]) -> dict[str, str]:
    """What stands under the attributes of a model, by their columns' names."""
    meanings = {}
    for kind in mapper.class_.__mro__:
        if not issubclass(kind, Base):
            continue
        body = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0].body  # type: ignore[attr-defined]
        for attribute, text in pairwise(body):
            match attribute, text:
                case (
                    ast.AnnAssign(target=ast.Name(id=name)),
                    ast.Expr(value=ast.Constant(value=str(words))),
                ) if name in mapper.columns:
                    meanings[mapper.columns[name].name] = " ".join(words.split())
    return meanings


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(NOTE + text, encoding="utf-8")


if __name__ == "__main__":
    main()
