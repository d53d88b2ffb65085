"""``crm knowledge``: documents become articles, and articles are listed and taken out of use."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer
from rich.console import Group
from rich.table import Table
from rich.text import Text
from sqlalchemy.orm import Session

from ..database import transaction
from ..embeddings import Embedder
from ..errors import NotFound
from ..models import KnowledgeCategory
from ..schemas import ArticleSummary, FolderReport, IngestReport
from ..services import indexing
from ..services import knowledge as service
from .desk import Limit, make_embedder, open_database, uuid_or_none
from .program import example, knowledge
from .show.json import JsonOption, print_json
from .show.tables import Patience, console, new_table, on_one_line, plain, safe

_FATES = ("added", "changed", "unchanged", "removed")


@knowledge.command("ingest", epilog=example("knowledge ingest handbook --category faq"))
def _ingest(
    path: Annotated[
        Path, typer.Argument(metavar="PATH", help="A document, or a folder of them: .md, .html, .txt.")
    ],
    category: Annotated[KnowledgeCategory, typer.Option(help="What the articles are about.")],
    *,
    as_json: JsonOption = False,
) -> None:
    """Store documents as articles, and embed them. What did not change costs nothing.

    Each document is stored in a transaction of its own: run again after an interruption, it goes on. A
    document's source is its path in the folder.
    """
    documents = service.documents_in(path) if path.is_dir() else [service.Document(path.name, path)]
    if not documents:
        raise NotFound(f"{path} has no documents: no .md, .html or .txt")
    with open_database() as database, Patience() as progress:
        embedder = make_embedder(database.settings)
        other_models = transaction(database.sessions, _other_models, embedder)
        on_stored = progress.counter("storing documents")
        on_embedded = progress.counter("embedding articles")

        def store(document: service.Document, embedder: Embedder | None) -> IngestReport:
            return transaction(
                database.sessions,
                service.ingest_document,
                document.path,
                source=document.source,
                category=category,
                embedder=embedder,
                progress=on_embedded,
            )

        report = service.ingest_each(documents, store, None if other_models else embedder, on_stored)
    if as_json:
        print_json(report=report)
    else:
        _show(report)
    _complain(report, other_models)


def _show(report: FolderReport) -> None:
    out = console()
    if report.documents:
        out.print(_fates(report.documents))
        out.print(f"articles embedded: {sum(one.embedded for one in report.documents)}")
    off = sum(one.switched_off for one in report.documents)
    if off:
        out.print(f"articles that stay out of use, since somebody switched them off: {off}")


def _other_models(session: Session, embedder: Embedder) -> list[str]:
    """Models of the embeddings that are there: vectors of two models must not be mixed."""
    models = indexing.models_of_articles(session, only_active=True)
    return sorted({model or "an unknown model" for model in models} - {embedder.model})


def _fates(reports: Sequence[IngestReport]) -> Table:
    table = new_table("document", *_FATES)
    for column in table.columns[1:]:
        column.justify = "right"
    for report in reports:
        table.add_row(on_one_line(report.source), *_counts([report]))
    if len(reports) > 1:
        table.add_section()
        table.add_row(f"{len(reports)} documents", *_counts(reports), style="bold")
    return table


def _counts(reports: Sequence[IngestReport]) -> list[str]:
    return [str(sum(getattr(one, fate) for one in reports)) for fate in _FATES]


def _complain(report: FolderReport, other_models: Sequence[str]) -> None:
    """One line on stderr for every problem; then the command has failed."""
    problems = [f"{one.source}: {one.problem}" for one in report.problems]
    unembedded = sum(one.unembedded for one in report.documents)
    errors = [one.embedding_error for one in report.documents if one.embedding_error]
    if unembedded and errors:
        problems.append(f"articles that are stored and not embedded: {unembedded}; {errors[0]}; run it again")
    elif unembedded and other_models:
        models = ", ".join(other_models)
        problems.append(
            f"articles that are stored and not embedded: {unembedded}; the others are of {models}"
        )
    elif unembedded:
        problems.append(
            f"articles that are stored and not embedded: {unembedded}; crm knowledge status says why"
        )
    for problem in problems:
        typer.echo(plain(f"crm: {problem}"), err=True)
    if problems:
        raise typer.Exit(1)


@knowledge.command("list", epilog=example("knowledge list --category billing"))
def _list(
    source: Annotated[str | None, typer.Option(help="Only this document's articles.")] = None,
    category: Annotated[KnowledgeCategory | None, typer.Option(help="Only this category's.")] = None,
    inactive: Annotated[bool, typer.Option("--inactive", help="Those that are out of use.")] = False,
    limit: Limit = 100,
    *,
    after: Annotated[UUID | None, typer.Option(metavar="ID", help="Go on after this article.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show which articles there are, by source and title."""
    find = partial(service.list_articles, source=source, category=category, active=not inactive)
    with open_database() as database:
        articles = transaction(database.sessions, find, limit=limit, after=after)
        more = articles and transaction(database.sessions, find, limit=1, after=articles[-1].id)
    if as_json:
        print_json(items=articles, next=articles[-1].id if more else None)
        return
    out = console()
    out.print(_articles(articles) if articles else "no articles")
    if more:
        out.print(f"only the first {len(articles)}; --limit shows more", style="dim")


def _articles(articles: Sequence[ArticleSummary]) -> Table:
    table = new_table("article", "category", "embedded by")
    table.columns[0].ratio = 1
    for one in articles:
        origin = Text.assemble((str(one.id), "dim"), "  ", safe(one.source or "no source", "dim"))
        table.add_row(
            Group(safe(one.title, "bold"), origin),
            one.category.value,
            safe(one.embedded_by) if one.embedded_by else Text("not embedded", "yellow"),
        )
    return table


@knowledge.command("deactivate", epilog=example("knowledge deactivate refunds.md"))
def _deactivate(
    article: Annotated[str, typer.Argument(metavar="SOURCE|ID", help="A document's name, or one article.")],
    *,
    as_json: JsonOption = False,
) -> None:
    """Take articles out of every search.

    All of a document are back when it is ingested again; a single one when its text there has changed.
    """
    id_ = uuid_or_none(article)
    with open_database() as database:
        count = transaction(
            database.sessions,
            service.deactivate,
            source=article if id_ is None else None,
            ids=None if id_ is None else [id_],
        )
    if as_json:
        print_json(deactivated=count)
    else:
        typer.echo(f"articles taken out of use: {count}")
