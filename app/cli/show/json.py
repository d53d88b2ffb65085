"""What ``--json`` prints: one object on stdout, with the names that the services' results have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic_core import to_json
from sqlalchemy import inspect

if TYPE_CHECKING:
    from ...schemas import Page

JsonOption = Annotated[bool, typer.Option("--json", help="For programs: one JSON object on stdout.")]
BeforeOption = Annotated[
    str | None, typer.Option(metavar="TOKEN", help="Go on after a page: what --json calls next.")
]


def print_json(**facts: object) -> None:
    """Times are ISO 8601 with their zone, durations ISO 8601, ids and codes texts, unknown is null."""
    typer.echo(to_json(facts, bytes_mode="hex", fallback=_columns, indent=2).decode())


def page(page: Page[Any]) -> dict[str, object]:
    """``items``, and ``next`` for ``--before``: null on the last page."""
    return {"items": page.items, "next": page.token()}


def _columns(entity: object) -> dict[str, object]:
    state = inspect(entity, raiseerr=True)
    return {
        attribute.key: getattr(entity, attribute.key)
        for attribute in state.mapper.column_attrs
        if attribute.key not in state.unloaded
    }
