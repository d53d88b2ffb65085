"""``crm demo``, ``ingest``, ``search`` and ``history``: messages come in, and are found again."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text
from sqlalchemy.orm import Session

from .. import channels, migrations
from ..database import transaction
from ..demo import Handled
from ..embeddings import Embedder
from ..errors import NotFound
from ..models import KnowledgeCategory
from ..schemas import ImportReport, Ingested, Outcome, SearchMode
from ..services import conversations, indexing, knowledge, search, timeline
from . import demo
from .desk import PERSON, Limit, make_embedder, open_database
from .imports import (
    ArchivedOption,
    Mails,
    RejectsOption,
    import_mails,
    problems_of,
    say_how_many,
    say_left_out,
)
from .inbox import Worked, files_in, sorted_out, work_through
from .people import find_customer
from .program import crm, example
from .show import messages as show
from .show.json import BeforeOption, JsonOption, page, print_json
from .show.tables import Patience, console, new_table, plain, safe, watched


@crm.command("demo", epilog=example("demo"))
def _demo(
    inbox: Annotated[
        Path | None, typer.Option(help="A folder of payloads, instead of the checkout's examples/inbox.")
    ] = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Run a small support desk over the example inbox, and show what the database knows then.

    It can be run again and again: what is already there is neither stored nor answered twice.
    """
    folder = inbox or demo.EXAMPLES / "inbox"
    if not folder.is_dir() or not (files := files_in([folder])):
        if inbox is None:
            raise NotFound("the example inbox is in the checkout only; elsewhere pass --inbox FOLDER")
        raise NotFound(f"{folder} is not a folder with files")
    with open_database(at_head=False) as database:
        embedder = make_embedder(database.settings)
        ran = demo.run(database.engine, files, embedder=embedder, settings=database.settings)
        if not as_json:
            demo.show(database.engine, ran, embedder=embedder)
    if as_json:
        print_json(
            before=ran.before,
            revision=migrations.head(),
            embedded=ran.embedded,
            files=_files(ran.worked),
            answers_sent=ran.answers_sent,
        )
    _report_problems(ran.worked)


@crm.command(epilog=example("ingest mails --authserv-id mx.example.com"))
def ingest(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="PATH",
            help="Payloads (.eml, .form, .json), archives of mail (mbox, Maildir, Takeout's zip or tgz), or "
            "folders of them. - is one on standard input.",
        ),
    ],
    *,
    authserv_id: Annotated[
        str | None,
        typer.Option(help="Your mail server's name in Authentication-Results: its word proves a sender."),
    ] = None,
    unnamed_results: Annotated[
        bool, typer.Option("--unnamed-results", help="Believe results that name no server (Microsoft 365).")
    ] = False,
    own_account: Annotated[
        list[str] | None,
        typer.Option(help="An address of yours: its mail is no customer's. Can be repeated."),
    ] = None,
    form_mailer: Annotated[
        list[str] | None,
        typer.Option(help="An address that sends what people typed into a form. Can be repeated."),
    ] = None,
    archived: ArchivedOption = None,
    rejects: RejectsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Store messages as providers deliver them. What was stored before changes nothing."""
    options: channels.MailOptions = {
        "authserv_id": authserv_id,
        "unnamed_results": unnamed_results,
        "own_accounts": own_account or (),
        "form_mailers": form_mailer or (),
    }
    payloads, archives = sorted_out(paths)
    worked: list[Worked[Ingested]] = []
    report = ImportReport()
    with open_database() as database:
        if payloads:
            secret = database.settings.erasure_key
            store = partial(
                conversations.ingest,
                default_region=database.settings.default_region,
                archived=archived is True,
                erasure_key=secret.get_secret_value() if secret else None,
            )
            each = work_through(database.sessions, payloads, store, **options)
            worked = watched(each, "storing", len(payloads))
        if archives:
            mails = Mails(archives, **options)
            report = import_mails(database, mails, archived=archived is not False, rejects=rejects)
            if not as_json:
                say_left_out(mails)
    if not as_json:
        _show_worked(worked)
    of_payloads = [ingested for file in worked for ingested in file.results]
    new = sum(not ingested.duplicate for ingested in of_payloads)
    total = ImportReport(
        rows=report.rows,
        new=report.new + new,
        already_there=report.already_there + len(of_payloads) - new,
        rejected=report.rejected,
        rejects=report.rejects,
        erased_before=report.erased_before,
    )
    if as_json:
        print_json(files=_files(worked), report=total)
    else:
        say_how_many(total)
    _report_problems(worked, problems_of(total, rejects))


def _files(worked: Sequence[Worked[Handled]] | Sequence[Worked[Ingested]]) -> list[dict[str, object]]:
    return [
        {"path": file.path, "messages": [_named(one) for one in file.results], "problem": file.problem}
        for file in worked
    ]


def _named(result: Handled | Ingested) -> object:
    """The demo's is a tuple, which would be an array."""
    return result._asdict() if isinstance(result, Handled) else result


def _show_worked(worked: Sequence[Worked[Ingested]]) -> None:
    table = new_table("file", "what happened")
    for file in worked:
        for ingested in file.results:
            table.add_row(safe(file.path.name), _stored(ingested))
        if not file.results and not file.problem:
            table.add_row(safe(file.path.name), "no message in it")
    if table.rows:
        console().print(table)


def _stored(ingested: Ingested) -> str:
    if ingested.duplicate:
        return "already there"
    customer = "a new customer" if ingested.resolution.outcome is Outcome.CREATED else "a known customer"
    if ingested.resolution.erased_before:
        customer += ", erased before"
    conversation = "a new conversation" if ingested.conversation_opened else "an open conversation"
    return f"{customer}, {conversation}{', ticket reopened' if ingested.ticket_reopened else ''}"


def _report_problems(worked: Sequence[Worked[Any]], others: Sequence[str] = ()) -> None:
    """One line on stderr for every file that could not be used; then the command has failed."""
    problems = [f"crm: {file.path}: {file.problem}" for file in worked if file.problem]
    problems += others
    for problem in problems:
        typer.echo(plain(problem), err=True)
    if problems:
        raise typer.Exit(1)


@crm.command("search", epilog=example('search "How do I get an invoice?" --limit 3'))
def _search(
    text: Annotated[str, typer.Argument(metavar="TEXT", help="A question, in the customer's words.")],
    limit: Limit = 5,
    category: Annotated[KnowledgeCategory | None, typer.Option(help="Only this category's articles.")] = None,
    mode: Annotated[SearchMode, typer.Option(help="By meaning, by words, or by both.")] = SearchMode.HYBRID,
    *,
    as_json: JsonOption = False,
) -> None:
    """Find the articles of the knowledge base that answer a question."""
    with open_database() as database:
        embedder = make_embedder(database.settings)
        transaction(database.sessions, _embed_if_ours, embedder)
        find = partial(search.search_knowledge, embedder=embedder, limit=limit, category=category, mode=mode)
        articles = transaction(database.sessions, find, text)
    if as_json:
        print_json(items=articles)
    else:
        console().print(show.hits(articles, length=300) if articles else "no article")


def _embed_if_ours(session: Session, embedder: Embedder) -> None:
    """Bring the embeddings up to date, unless another model made them: that is for its owner to replace."""
    if indexing.models_of_articles(session) <= {embedder.model}:
        with Patience() as progress:
            knowledge.embed_missing(session, embedder, progress=progress.counter("embedding"))


@crm.command("history", epilog=example("history ana@example.com"))
def _history(
    customer: Annotated[str, typer.Argument(metavar="CUSTOMER", help=PERSON)],
    limit: Limit = 50,
    before: BeforeOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Show one customer's messages over all channels."""
    with open_database() as database:
        person = transaction(database.sessions, find_customer, customer, database.settings.default_region)
        history = transaction(database.sessions, timeline.history, person.id, limit=limit, before=before)
    if as_json:
        print_json(customer_id=person.id, **page(history))
        return
    out = console()
    out.print(safe(person.name or "(no name)", "bold"), Text(f"customer {person.id}", "dim"), sep="  ")
    out.print(show.history(history, length=1000) if history.items else "no messages")
