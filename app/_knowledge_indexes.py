"""``crm knowledge embed``, ``status``, ``reindex`` and ``language``: what searches stand on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from . import _render, search_indexes
from ._commands import _database, _embedder
from ._knowledge import knowledge
from ._render import safe
from .database import transaction
from .errors import Conflict
from .schemas import EmbeddingStatus, ObjectType
from .services import indexing

# Objects that are embedded in one transaction: one batch, so that a failing embedder costs no other.
_AT_ONCE = 100
_NAMES = {
    ObjectType.KNOWLEDGE: "articles",
    ObjectType.MESSAGE: "messages",
    ObjectType.TICKET: "tickets",
}


@knowledge.command("embed")
def _embed(
    only: Annotated[list[ObjectType] | None, typer.Option(help="Only these; may be repeated.")] = None,
    switch: Annotated[
        bool, typer.Option("--switch", help="Prepare another model beside the present one, then switch.")
    ] = False,
) -> None:
    """Embed articles, messages and tickets that have no embedding of their present text.

    Several workers may run at once, and an interrupted run goes on where it was.
    """
    with _database() as database, _render.Patience() as progress:
        embedder = _embedder(database.settings)
        statuses = transaction(database.sessions, indexing.embedding_status)
        wanted = [status for status in statuses if only is None or status.object_type in only]
        others = [status for status in wanted if status.model not in (None, embedder.model)]
        if others and not switch:
            found = " and ".join(f"{_NAMES[one.object_type]} are of {one.model}" for one in others)
            raise Conflict(f"{found}; --switch prepares {embedder.model} beside them, and then switches")
        counts = {}
        for status in wanted:
            name = _NAMES[status.object_type]
            told = progress.counter(f"embedding {name}")
            counts[name] = 0
            transaction(database.sessions, indexing.fill_queue, embedder, object_types=[status.object_type])
            while count := transaction(
                database.sessions,
                indexing.embed_missing,
                embedder,
                object_types=[status.object_type],
                limit=_AT_ONCE,
                progress=told,
            ):
                counts[name] += count
    typer.echo(", ".join(f"{name} embedded: {count}" for name, count in counts.items()))


@knowledge.command("status")
def _status() -> None:
    """Show what is embedded by which model, and what is stale or missing."""
    with _database() as database:
        statuses = transaction(database.sessions, indexing.embedding_status)
        with database.engine.connect() as connection:
            language = search_indexes.language(connection)
    console = Console()
    console.print(_statuses(statuses))
    console.print(f"words are read as {language or 'somebody has configured'}", style="dim")


def _statuses(statuses: Sequence[EmbeddingStatus]) -> Table:
    table = _render.new_table("", "total", "current", "stale", "missing", "model")
    for column in table.columns[1:5]:
        column.justify = "right"
    for one in statuses:
        model = safe(one.model) if one.model else Text("none" if not one.models else "unknown", "yellow")
        others = [f"{name} ({count})" for name, count in one.models.items() if name != one.model]
        if others:
            model.append_text(safe(f"; beside it: {', '.join(others)}", "dim"))
        todo = [Text(str(count), "yellow" if count else "") for count in (one.stale, one.missing)]
        table.add_row(_NAMES[one.object_type], str(one.total), str(one.current), *todo, model)
    return table


@knowledge.command("reindex")
def _reindex(
    index: Annotated[
        list[str] | None, typer.Argument(help="By default the three indexes of vectors.")
    ] = None,
    memory: Annotated[str, typer.Option(help="For the build; more than the graph's size is fast.")] = "1GB",
    workers: Annotated[int, typer.Option(min=0, max=64, help="Besides the one that leads.")] = 2,
) -> None:
    """Build search indexes anew while reads and writes go on."""
    names = index or search_indexes.VECTOR_INDEXES
    with _database() as database, _render.Patience() as progress:
        search_indexes.reindex(
            database.engine, names, memory=memory, workers=workers, progress=_phases(progress)
        )
    typer.echo(f"built anew, and valid: {', '.join(names)}")


@knowledge.command("language")
def _language(
    name: Annotated[
        str | None, typer.Argument(metavar="LANGUAGE", help="portuguese, spanish, ..., or simple for none.")
    ] = None,
) -> None:
    """Show the language in which searches read words, or choose another and build their indexes anew."""
    with _database() as database, _render.Patience() as progress:
        if name is not None:
            search_indexes.set_language(database.engine, name, progress=_phases(progress))
        with database.engine.connect() as connection:
            language = search_indexes.language(connection)
    typer.echo(language or "a configuration of your own")


def _phases(progress: _render.Patience) -> search_indexes.Progress:
    task = progress.add_task("", total=None)

    def tell(phase: str, done: int, total: int) -> None:
        progress.update(task, description=phase, completed=done, total=total or None)

    return tell
