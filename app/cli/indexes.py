"""``crm knowledge embed``, ``status``, ``reindex`` and ``language``: what searches stand on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from ..database import transaction
from ..errors import Conflict
from ..operations import search_indexes
from ..schemas import EmbeddingEstimate, EmbeddingStatus, ObjectType
from ..services import indexing
from .desk import make_embedder, open_database
from .program import example, knowledge
from .show.json import JsonOption, print_json
from .show.tables import Patience, console, new_table, safe

# Objects that are embedded in one transaction: one batch, so that a failing embedder costs no other.
_AT_ONCE = 100
_NAMES = {
    ObjectType.KNOWLEDGE: "articles",
    ObjectType.MESSAGE: "messages",
    ObjectType.TICKET: "tickets",
}


@knowledge.command("embed", epilog=example("knowledge embed --only ticket"))
def _embed(
    only: Annotated[list[ObjectType] | None, typer.Option(help="Only these; may be repeated.")] = None,
    switch: Annotated[
        bool, typer.Option("--switch", help="Prepare another model beside the present one, then switch.")
    ] = False,
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say how many texts and about how many tokens it would be.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Embed articles, messages and tickets that have no embedding of their present text.

    Several workers may run at once, and an interrupted run goes on where it was.
    """
    with open_database() as database, Patience() as progress:
        embedder = make_embedder(database.settings)
        if dry_run:
            types = only or list(ObjectType)
            estimates = transaction(database.sessions, indexing.estimate, embedder, object_types=types)
            _show_estimates(estimates, as_json=as_json)
            return
        statuses = transaction(database.sessions, indexing.embedding_status)
        chosen = [status for status in statuses if only is None or status.object_type in only]
        others = [status for status in chosen if status.model not in (None, embedder.model)]
        if others and not switch:
            models = " and ".join(f"{_NAMES[one.object_type]} are of {one.model}" for one in others)
            raise Conflict(f"{models}; --switch prepares {embedder.model} beside them, and then switches")
        counts = {}
        for status in chosen:
            name = _NAMES[status.object_type]
            on_progress = progress.counter(f"embedding {name}")
            counts[name] = 0
            transaction(
                database.sessions,
                indexing.fill_queue,
                embedder,
                object_types=[status.object_type],
                switch_back=switch,
            )
            while count := transaction(
                database.sessions,
                indexing.embed_missing,
                embedder,
                object_types=[status.object_type],
                limit=_AT_ONCE,
                progress=on_progress,
                switch_back=switch,
            ):
                counts[name] += count
    if as_json:
        print_json(embedded=counts)
    else:
        typer.echo(", ".join(f"{name} embedded: {count}" for name, count in counts.items()))


def _show_estimates(estimates: Sequence[EmbeddingEstimate], *, as_json: bool) -> None:
    if as_json:
        print_json(items=estimates)
        return
    table = new_table("", "not embedded", "texts", "tokens, about")
    for column in table.columns[1:]:
        column.justify = "right"
    for one in estimates:
        table.add_row(_NAMES[one.object_type], *(f"{n:,}" for n in (one.objects, one.texts, one.tokens)))
    console().print(table)


@knowledge.command("status", epilog=example("knowledge status"))
def _status(*, as_json: JsonOption = False) -> None:
    """Show what is embedded by which model, what is stale or missing, and what an embedder has refused.

    A refused text is tried again after a minute, and then after twice as long each time, at most a day;
    when it has changed, at once. --json says which they are.
    """
    with open_database() as database:
        statuses = transaction(database.sessions, indexing.embedding_status)
        with database.engine.connect() as connection:
            language = search_indexes.language(connection)
    if as_json:
        print_json(items=statuses, language=language)
        return
    out = console()
    out.print(_statuses(statuses))
    out.print(f"words are read as {language or 'somebody has configured'}", style="dim")


def _statuses(statuses: Sequence[EmbeddingStatus]) -> Table:
    table = new_table("", "total", "current", "stale", "missing", "refused", "model")
    for column in table.columns[1:6]:
        column.justify = "right"
    for one in statuses:
        model = safe(one.model) if one.model else Text("none" if not one.models else "unknown", "yellow")
        others = [f"{name} ({count})" for name, count in one.models.items() if name != one.model]
        if others:
            model.append_text(safe(f"; beside it: {', '.join(others)}", "dim"))
        todo = [
            Text(str(count), "yellow" if count else "") for count in (one.stale, one.missing, one.refused)
        ]
        table.add_row(_NAMES[one.object_type], str(one.total), str(one.current), *todo, model)
    return table


@knowledge.command("reindex", epilog=example("knowledge reindex --memory 2GB"))
def _reindex(
    index: Annotated[
        list[str] | None, typer.Argument(help="By default the three indexes of vectors.")
    ] = None,
    memory: Annotated[str, typer.Option(help="For the build; more than the graph's size is fast.")] = "1GB",
    workers: Annotated[int, typer.Option(min=0, max=64, help="Besides the one that leads.")] = 2,
    *,
    as_json: JsonOption = False,
) -> None:
    """Build search indexes anew while reads and writes go on."""
    names = index or search_indexes.VECTOR_INDEXES
    with open_database() as database, Patience() as progress:
        search_indexes.reindex(
            database.engine, names, memory=memory, workers=workers, progress=_phases(progress)
        )
    if as_json:
        print_json(rebuilt=names)
    else:
        typer.echo(f"built anew, and valid: {', '.join(names)}")


@knowledge.command("language", epilog=example("knowledge language portuguese --fold-accents"))
def _language(
    name: Annotated[
        str | None, typer.Argument(metavar="LANGUAGE", help="portuguese, spanish, ..., or simple for none.")
    ] = None,
    fold_accents: Annotated[
        bool, typer.Option("--fold-accents", help="A letter is the same with and without its accents.")
    ] = False,
    *,
    as_json: JsonOption = False,
) -> None:
    """Show the language in which searches read words, or choose another and build their indexes anew."""
    with open_database() as database, Patience() as progress:
        if name is not None:
            search_indexes.set_language(
                database.engine, name, fold_accents=fold_accents, progress=_phases(progress)
            )
        with database.engine.connect() as connection:
            language = search_indexes.language(connection)
            folds_accents = search_indexes.folds_accents(connection)
    if as_json:
        print_json(language=language, folds_accents=folds_accents)
        return
    words = language or "a configuration of your own"
    typer.echo(f"{words}, accents folded" if folds_accents else words)


def _phases(progress: Patience) -> search_indexes.Progress:
    task = progress.add_task("", total=None)

    def tell(phase: str, done: int, total: int) -> None:
        progress.update(task, description=phase, completed=done, total=total or None)

    return tell
