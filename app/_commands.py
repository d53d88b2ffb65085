"""The commands of ``crm``. Each reads the settings, opens the database, and calls the services."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import typer
from rich.console import Console, RenderableType
from rich.text import Text
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session, sessionmaker

from . import _demo_show, _render, _tickets_show, migrations
from ._inbox import Worked, files_in, work_through
from ._render import safe
from .backup import restore
from .database import make_engine, make_session_factory, transaction
from .embeddings import Embedder, get_embedder
from .errors import MigrationError, NotFound
from .models import Customer, IdentifierType, KnowledgeBaseEntry, KnowledgeCategory, Ticket, TicketLink
from .schemas import Identifier, Ingested, Outcome, SearchMode
from .services import conversations, identity, knowledge, merging, search, tickets, timeline
from .settings import Settings, load_settings

crm = typer.Typer(
    help="The CRM data layer on the command line. The database is the one that DATABASE_URL names; "
    "without it an embedded PostgreSQL is started.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
db = typer.Typer(help="Bring the database's schema up or down.", no_args_is_help=True)
crm.add_typer(db, name="db")

Limit = Annotated[int, typer.Option(min=1, max=1000, help="How many to show at most.")]


@dataclass(frozen=True)
class _Database:
    settings: Settings
    engine: Engine
    sessions: sessionmaker[Session]


@contextmanager
def _database(*, at_head: bool = True) -> Iterator[_Database]:
    settings = load_settings()
    engine = make_engine(migrations.resolve_url(settings), allow_insecure_tls=settings.allow_insecure_tls)
    try:
        if at_head:
            _require_head(engine, settings)
        yield _Database(settings, engine, make_session_factory(engine))
    finally:
        engine.dispose()


def _require_head(engine: Engine, settings: Settings) -> None:
    revision, head = migrations.current(engine, settings=settings), migrations.head()
    if revision != head:
        raise MigrationError(
            f"the database is at revision {revision or 'none'}, not at {head}; run: crm db upgrade"
        )


def _embedder(settings: Settings) -> Embedder:
    options: dict[str, str | None] = {}
    if settings.embedder != "lexical":
        options["model"] = settings.embedder_model
    if settings.embedder == "openai":
        key = settings.openai_api_key
        options |= {
            "base_url": settings.openai_base_url,
            "api_key": key.get_secret_value() if key else None,
        }
    return get_embedder(settings.embedder, **{name: value for name, value in options.items() if value})


def _version(asked: bool) -> None:
    if asked:
        try:
            typer.echo(f"crm {importlib.metadata.version('crm-digital-fte')}")
        except importlib.metadata.PackageNotFoundError:
            typer.echo("crm, from a checkout that is not installed")
        raise typer.Exit


@crm.callback()
def _options(
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Takes the options that stand before the command."""


@crm.command("demo")
def _demo(
    inbox: Annotated[
        Path | None, typer.Option(help="A folder of payloads, instead of the checkout's examples/inbox.")
    ] = None,
) -> None:
    """Run a small support desk over the example inbox, and show what the database knows then.

    It can be run again and again: what is already there is neither stored nor answered twice.
    """
    folder = inbox or _demo_show.EXAMPLES / "inbox"
    files = files_in([folder])
    if not folder.is_dir() or not files:
        hint = "" if inbox else "; the examples are in the checkout only: pass --inbox"
        raise NotFound(f"{folder} is not a folder with files{hint}")
    with _database(at_head=False) as database:
        settings = database.settings
        worked = _demo_show.run(
            Console(), database.engine, files, embedder=_embedder(settings), settings=settings
        )
    _report(worked)


@crm.command()
def ingest(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH", help="Files, or folders of them: .eml, .form, .json.")
    ],
    authserv_id: Annotated[
        str | None,
        typer.Option(help="Your mail server's name in Authentication-Results: its word proves a sender."),
    ] = None,
) -> None:
    """Store messages as providers deliver them. A file that was stored before changes nothing."""
    files = files_in(paths)
    with _database() as database:
        region = database.settings.default_region
        store = partial(conversations.ingest, default_region=region)
        worked = _render.watched(
            work_through(database.sessions, files, store, authserv_id=authserv_id), "storing", len(files)
        )
    table = _render.new_table("file", "what happened")
    for file in worked:
        for ingested in file.results:
            table.add_row(safe(file.path.name), _stored(ingested))
        if not file.results and not file.problem:
            table.add_row(safe(file.path.name), "no message in it")
    stored = [ingested for file in worked for ingested in file.results if not ingested.duplicate]
    if table.rows:
        Console().print(table)
    there = sum(len(file.results) for file in worked) - len(stored)
    Console().print(f"{len(stored)} new, {there} already there")
    _report(worked)


def _stored(ingested: Ingested) -> str:
    if ingested.resolution is None:
        return "already there"
    customer = "a new customer" if ingested.resolution.outcome is Outcome.CREATED else "a known customer"
    conversation = "a new conversation" if ingested.conversation_opened else "an open conversation"
    return f"{customer}, {conversation}{', ticket reopened' if ingested.ticket_reopened else ''}"


def _report(worked: Sequence[Worked[Any]]) -> None:
    """One line on stderr for every file that could not be used; then the command has failed."""
    problems = [f"crm: {file.path}: {file.problem}" for file in worked if file.problem]
    for problem in problems:
        typer.echo(_render.plain(problem), err=True)
    if problems:
        raise typer.Exit(1)


@crm.command("search")
def _search(
    text: Annotated[str, typer.Argument(metavar="TEXT", help="A question, in the customer's words.")],
    limit: Limit = 5,
    category: Annotated[KnowledgeCategory | None, typer.Option(help="Only this category's articles.")] = None,
    mode: Annotated[SearchMode, typer.Option(help="By meaning, by words, or by both.")] = SearchMode.HYBRID,
) -> None:
    """Find the articles of the knowledge base that answer a question."""
    with _database() as database:
        embedder = _embedder(database.settings)
        transaction(database.sessions, _embed_if_ours, embedder)
        find = partial(search.search_knowledge, embedder=embedder, limit=limit, category=category, mode=mode)
        found = transaction(database.sessions, find, text)
    Console().print(_render.hits(found, length=300) if found else "no article")


def _embed_if_ours(session: Session, embedder: Embedder) -> None:
    """Bring the embeddings up to date, unless another model made them: that is for its owner to replace."""
    made_by = select(KnowledgeBaseEntry.extra["embedding"]["model"].astext)
    models = set(session.scalars(made_by.where(KnowledgeBaseEntry.embedding.is_not(None)).distinct()))
    if models <= {embedder.model}:
        with _render.Patience() as progress:
            knowledge.embed_missing(session, embedder, progress=progress.counter("embedding"))


@crm.command("history")
def _history(
    customer: Annotated[
        str,
        typer.Argument(metavar="CUSTOMER", help="An email address, a phone or WhatsApp number, or an id."),
    ],
    limit: Limit = 50,
) -> None:
    """Show one customer's messages over all channels."""
    with _database() as database:
        region = database.settings.default_region
        person = transaction(database.sessions, _find_customer, customer, region)
        page = transaction(database.sessions, timeline.history, person.id, limit=limit)
    console = Console()
    console.print(safe(person.name or "(no name)", "bold"), Text(f"customer {person.id}", "dim"), sep="  ")
    console.print(_render.history(page, length=1000) if page.items else "no messages")


def _find_customer(session: Session, wanted: str, region: str | None) -> Customer:
    customer_id = _id(wanted)
    if customer_id is not None:
        return session.get_one(Customer, merging.current_customer_id(session, customer_id))
    if "@" in wanted:
        kind = IdentifierType.EMAIL
    elif region and not any(map(str.isalpha, wanted)):
        # Digits alone are dialled at home; as a WhatsApp id they would begin with the country code.
        kind = IdentifierType.PHONE
    else:
        kind = IdentifierType.WHATSAPP
    found = identity.find_customer(session, Identifier(type=kind, value=wanted), default_region=region)
    if found is None:
        raise NotFound("there is no customer with this address or number")
    return found


def _id(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


@crm.command("ticket")
def _ticket(
    number: Annotated[str, typer.Argument(metavar="NUMBER", help="TKT-0042, 42, or the ticket's id.")],
) -> None:
    """Show a ticket and its audit trail: who changed its status, when and why."""
    with _database() as database:
        Console().print(transaction(database.sessions, _ticket_and_record, number))


def _ticket_and_record(session: Session, number: str) -> RenderableType:
    ticket = tickets.get_ticket(session, number)
    name = session.get_one(Customer, ticket.customer_id).name
    record = tickets.status_history(session, ticket.id), tickets.field_history(session, ticket.id)
    life = _tickets_show.life(tickets.lifecycle(session, ticket.id))
    return _render.ticket(ticket, name, *record, more={**_links(session, ticket.id), **life})


def _links(session: Session, ticket_id: UUID) -> dict[str, str | None]:
    """The tickets before and after this one."""
    number, link = Ticket.ticket_number, TicketLink
    before = select(number).join(link, link.follows_ticket_id == Ticket.id).where(link.ticket_id == ticket_id)
    after = select(number).join(link, link.ticket_id == Ticket.id).where(link.follows_ticket_id == ticket_id)
    found = {"follows": session.scalars(before), "followed by": session.scalars(after)}
    return {name: ", ".join(sorted(numbers)) or None for name, numbers in found.items()}


Revision = Annotated[str, typer.Argument(metavar="REVISION", help="A revision, or a step such as +1 or -1.")]
_STEPS = {"ignore_unknown_options": True}  # -1 is a revision here


@db.command(context_settings=_STEPS)
def upgrade(
    revision: Revision = "head",
    backup: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Make a backup first, and prove that it restores.")
    ] = None,
) -> None:
    """Bring the database to a revision, by default to the newest."""
    with _database(at_head=False) as database:
        _move(database, partial(migrations.upgrade, backup_folder=backup), revision)


@db.command(context_settings=_STEPS)
def downgrade(
    revision: Revision,
    allow_data_loss: Annotated[
        bool, typer.Option("--allow-data-loss", help="Drop tables with rows.")
    ] = False,
) -> None:
    """Take the database back to a revision; "base" removes everything."""
    with _database(at_head=False) as database:
        _move(database, partial(migrations.downgrade, allow_data_loss=allow_data_loss), revision)


def _move(database: _Database, move: Callable[..., None], revision: str) -> None:
    before = migrations.current(database.engine, settings=database.settings)
    move(database.engine, revision, settings=database.settings)
    after = migrations.current(database.engine, settings=database.settings)
    if before == after:
        typer.echo(f"already at {_named(after)}")
    else:
        typer.echo(f"{_named(before)} -> {_named(after)}")


def _named(revision: str | None) -> str:
    return f"{revision or 'base'}{' (head)' if revision == migrations.head() else ''}"


@db.command()
def current() -> None:
    """Show the database's revision."""
    with _database(at_head=False) as database:
        typer.echo(_named(migrations.current(database.engine, settings=database.settings)))


@db.command()
def check() -> None:
    """Compare the database with what the migrations make; exit code 1 and a list if it differs."""
    with _database(at_head=False) as database:
        migrations.check(database.engine, settings=database.settings)
    typer.echo(f"no difference from revision {migrations.head()}")


@db.command("restore")
def _restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A backup that upgrade --backup made.")],
    replace: Annotated[
        bool, typer.Option("--replace", help="Put it in the place of a database that is not empty.")
    ] = False,
) -> None:
    """Put a backup into the database, which must be empty. A replaced one stays under another name."""
    with _database(at_head=False) as database:
        aside = restore(database.engine, file, settings=database.settings, replace=replace)
        typer.echo(f"restored: {_named(migrations.current(database.engine, settings=database.settings))}")
    if aside is not None:
        typer.echo(f"the database that was there is now {aside}")
