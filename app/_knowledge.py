"""``crm knowledge``: documents become articles, and articles are listed and taken out of use."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text
from sqlalchemy import select
from sqlalchemy.orm import Session

from . import _render
from ._commands import Limit, _database, _embedder, _id, crm
from ._render import safe
from .database import transaction
from .embeddings import Embedder
from .errors import NotFound
from .models import KnowledgeBaseEntry, KnowledgeCategory
from .schemas import ArticleSummary, FolderReport, IngestReport
from .services import knowledge as service

knowledge = typer.Typer(help="The articles that questions are answered from.", no_args_is_help=True)
crm.add_typer(knowledge, name="knowledge")

_FATES = ("added", "changed", "unchanged", "removed")


@knowledge.command("ingest")
def _ingest(
    path: Annotated[
        Path, typer.Argument(metavar="PATH", help="A document, or a folder of them: .md, .html, .txt.")
    ],
    category: Annotated[KnowledgeCategory, typer.Option(help="What the articles are about.")],
) -> None:
    """Store documents as articles, and embed them. What did not change costs nothing.

    Each document is stored in a transaction of its own: run again after an interruption, it goes on. A
    document's source is its path in the folder.
    """
    documents = service.documents_in(path) if path.is_dir() else [service.Document(path.name, path)]
    if not documents:
        raise NotFound(f"{path} has no documents: no .md, .html or .txt")
    with _database() as database, _render.Patience() as progress:
        embedder = _embedder(database.settings)
        others = transaction(database.sessions, _other_models, embedder)
        stored, embedded = progress.counter("storing documents"), progress.counter("embedding articles")

        def ingest(document: service.Document, embedder: Embedder | None) -> IngestReport:
            return transaction(
                database.sessions,
                service.ingest_document,
                document.path,
                source=document.source,
                category=category,
                embedder=embedder,
                progress=embedded,
            )

        report = service.ingest_each(documents, ingest, None if others else embedder, stored)
    console = Console()
    if report.documents:
        console.print(_fates(report.documents))
        console.print(f"articles embedded: {sum(one.embedded for one in report.documents)}")
    off = sum(one.switched_off for one in report.documents)
    if off:
        console.print(f"articles that stay out of use, since somebody switched them off: {off}")
    _complain(report, others)


def _other_models(session: Session, embedder: Embedder) -> list[str]:
    """Models of the embeddings that are there: vectors of two models must not be mixed."""
    row = KnowledgeBaseEntry
    made_by = select(row.extra["embedding"]["model"].astext).distinct()
    found = session.scalars(made_by.where(row.embedding.is_not(None), row.is_active.is_(True)))
    return sorted({model or "an unknown model" for model in found} - {embedder.model})


def _fates(reports: Sequence[IngestReport]) -> Table:
    table = _render.new_table("document", *_FATES)
    for column in table.columns[1:]:
        column.justify = "right"
    for report in reports:
        table.add_row(_render.on_one_line(report.source), *_counts([report]))
    if len(reports) > 1:
        table.add_section()
        table.add_row(f"{len(reports)} documents", *_counts(reports), style="bold")
    return table


def _counts(reports: Sequence[IngestReport]) -> list[str]:
    return [str(sum(getattr(one, fate) for one in reports)) for fate in _FATES]


def _complain(report: FolderReport, others: Sequence[str]) -> None:
    """One line on stderr for every problem; then the command has failed."""
    problems = [f"{one.source}: {one.problem}" for one in report.problems]
    unembedded = sum(one.unembedded for one in report.documents)
    errors = [one.embedding_error for one in report.documents if one.embedding_error]
    if unembedded and errors:
        problems.append(f"articles that are stored and not embedded: {unembedded}; {errors[0]}; run it again")
    elif unembedded and others:
        models = ", ".join(others)
        problems.append(
            f"articles that are stored and not embedded: {unembedded}; the others are of {models}"
        )
    for problem in problems:
        typer.echo(_render.plain(f"crm: {problem}"), err=True)
    if problems:
        raise typer.Exit(1)


@knowledge.command("list")
def _list(
    source: Annotated[str | None, typer.Option(help="Only this document's articles.")] = None,
    category: Annotated[KnowledgeCategory | None, typer.Option(help="Only this category's.")] = None,
    inactive: Annotated[bool, typer.Option("--inactive", help="Those that are out of use.")] = False,
    limit: Limit = 100,
) -> None:
    """Show which articles there are, by source and title."""
    find = partial(service.list_articles, source=source, category=category, active=not inactive)
    with _database() as database:
        found = transaction(database.sessions, find, limit=limit)
        more = found and transaction(database.sessions, find, limit=1, after=found[-1].id)
    console = Console()
    console.print(_articles(found) if found else "no articles")
    if more:
        console.print(f"only the first {len(found)}; --limit shows more", style="dim")


def _articles(found: Sequence[ArticleSummary]) -> Table:
    table = _render.new_table("article", "category", "embedded by")
    table.columns[0].ratio = 1
    for one in found:
        origin = Text.assemble((str(one.id), "dim"), "  ", safe(one.source or "no source", "dim"))
        table.add_row(
            Group(safe(one.title, "bold"), origin),
            one.category.value,
            safe(one.embedded_by) if one.embedded_by else Text("not embedded", "yellow"),
        )
    return table


@knowledge.command("deactivate")
def _deactivate(
    article: Annotated[str, typer.Argument(metavar="SOURCE|ID", help="A document's name, or one article.")],
) -> None:
    """Take articles out of every search.

    All of a document are back when it is ingested again; a single one when its text there has changed.
    """
    id_ = _id(article)
    with _database() as database:
        count = transaction(
            database.sessions,
            service.deactivate,
            source=article if id_ is None else None,
            ids=None if id_ is None else [id_],
        )
    typer.echo(f"articles taken out of use: {count}")
