"""The page of the database's functions: signature and comment of each newest file in ``alembic/sql``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).resolve().parents[1] / "alembic" / "sql"
FUNCTION = re.compile(
    r"((?:--[^\n]*\n)+)CREATE OR REPLACE FUNCTION (\w+)(\(.*?\))\s+RETURNS (.*?)\s+LANGUAGE", re.DOTALL
)
INTRODUCTION = """# SQL functions

Every function that the migrations make, as it is now. What a backend of your own may rely on is told in
[plain SQL](../sql.md), [search](../search.md#plain-sql) and [identity](../identity.md#tables-of-your-own);
the others serve triggers and services.
"""


class Function(NamedTuple):
    name: str
    arguments: str
    returns: str
    meaning: str


def describe() -> str:
    functions = sorted(_functions())
    called = [
        f"## {one.name}\n\n```sql\n{one.name}{one.arguments} RETURNS {one.returns}\n```\n\n{one.meaning}\n"
        for one in functions
        if one.returns != "trigger"
    ]
    of_triggers = [f"| `{one.name}` | {one.meaning} |" for one in functions if one.returns == "trigger"]
    return (
        f"{INTRODUCTION}\n" + "\n".join(called) + "\n"
        "## Of triggers\n\n| function | what it does |\n|---|---|\n" + "\n".join(of_triggers) + "\n"
    )


def _functions() -> Iterator[Function]:
    newest: dict[str, tuple[int, Path]] = {}
    for path in FOLDER.glob("*.sql"):
        name, version = re.fullmatch(r"(.+)\.v(\d+)\.sql", path.name).groups()  # type: ignore[union-attr]
        newest[name] = max(newest.get(name, (0, path)), (int(version), path))
    for name, (_, path) in newest.items():
        if name.endswith(".triggers"):
            continue
        head = FUNCTION.search(path.read_text(encoding="utf-8"))
        if head is None:
            raise ValueError(f"alembic/sql/{path.name}: a comment above CREATE says what the function does")
        comment, _, arguments, returns = head.groups()
        paragraph = comment.partition("\n--\n")[0]
        meaning = " ".join(line.removeprefix("--").strip() for line in paragraph.splitlines())
        yield Function(name, arguments, returns, _as_markdown(meaning))


def _as_markdown(text: str) -> str:
    return re.sub(r"([|<*_])", r"\\\1", text)
