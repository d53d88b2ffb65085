"""Where the migrations are, and the SQL of functions and triggers beside them: each text stands once.

``alembic/sql/NAME.vN.sql`` is one function, or the triggers of one subject (``NAME.triggers.vN.sql``). A
revision makes version N of it, its downgrade version N - 1, and the highest number is the one of today.
"""

from __future__ import annotations

import re
from pathlib import Path

from alembic.operations import MigrateOperation, Operations

from ..errors import MigrationError

_PACKAGE = Path(__file__).resolve().parents[1]
_VERSIONED = re.compile(r"(?P<name>[a-z_]+(?:\.triggers)?)\.v(?P<version>[1-9][0-9]*)\.sql")
_OBJECT = re.compile(r"^CREATE OR REPLACE (?:FUNCTION|TRIGGER) (\w+)", re.MULTILINE)


def home() -> Path:
    """The folder with ``alembic.ini``: the checkout, or a folder inside the wheel."""
    for folder in (_PACKAGE / "_migrations", _PACKAGE.parent):
        if (folder / "alembic.ini").is_file() and (folder / "alembic").is_dir():
            return folder
    raise MigrationError("the migrations are missing from this installation")


def schema_files() -> list[Path]:
    """Every file that the migrated schema depends on."""
    return sorted([*home().glob("alembic/versions/*.py"), *home().glob("alembic/sql/*.sql")])


def read(name: str, version: int) -> str:
    return (home() / "alembic" / "sql" / f"{name}.v{version}.sql").read_text(encoding="utf-8")


def newest() -> dict[str, int]:
    """The version of today of each file."""
    versions: dict[str, int] = {}
    for path in (home() / "alembic" / "sql").iterdir():
        if match := _VERSIONED.fullmatch(path.name):
            name, version = match["name"], int(match["version"])
            versions[name] = max(version, versions.get(name, 0))
    return versions


def own_functions() -> set[str]:
    """The names of the functions that the migrations create."""
    return {name for name in newest() if not name.endswith(".triggers")}


def own_statements() -> dict[str, str]:
    """What makes each function and each trigger of today, by its name."""
    statements: dict[str, str] = {}
    for file, version in newest().items():
        text = read(file, version)
        objects = list(_OBJECT.finditer(text))
        # What stands before the first object is its comment; what follows an object belongs to it.
        starts = [0, *(match.start() for match in objects[1:])]
        for match, start, end in zip(objects, starts, [*starts[1:], len(text)], strict=True):
            statements[match[1]] = text[start:end]
    return statements


@Operations.register_operation("execute_file")
class ExecuteFile(MigrateOperation):
    """``op.execute_file("search_words", version=1)``: all that revisions know of the files."""

    def __init__(self, name: str, version: int) -> None:
        self.name = name
        self.version = version

    @classmethod
    def execute_file(cls, operations: Operations, name: str, *, version: int) -> None:
        operations.invoke(cls(name, version))


@Operations.implementation_for(ExecuteFile)
def _execute_file(operations: Operations, operation: ExecuteFile) -> None:
    text = read(operation.name, operation.version)
    if operations.migration_context.as_sql:
        operations.migration_context.impl.static_output(text)
    else:
        # As it stands: neither ":name" nor "%" of the text is a parameter.
        operations.get_bind().exec_driver_sql(text, execution_options={"no_parameters": True})
