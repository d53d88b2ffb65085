"""What ``crm demo`` prints: the work of :mod:`app.demo` on an inbox, and what the database knows then."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path
from uuid import UUID

from rich.console import Console, Group, RenderableType
from rich.rule import Rule
from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session, selectinload

from . import _render, demo, migrations
from ._inbox import Worked, work_through
from ._render import safe
from .database import make_session_factory, transaction
from .demo import Handled
from .embeddings import Embedder
from .models import Customer, Message, MessageDirection, Ticket, TicketStatusChange
from .services import knowledge, metrics, search, tickets, timeline
from .settings import Settings

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
MAIL_SERVER = "mx.techcorp.io"
"""Whose Authentication-Results in the examples are to be believed."""

_WINDOW = timedelta(days=30)


def run(
    console: Console, engine: Engine, files: Sequence[Path], *, embedder: Embedder, settings: Settings
) -> list[Worked[Handled]]:
    """Migrate, embed, work through the files, and show the outcome; safe to repeat."""
    before = migrations.current(engine, settings=settings)
    migrations.upgrade(engine, settings=settings)
    sessions = make_session_factory(engine)
    with _render.Patience() as progress:
        embedded = transaction(
            sessions, knowledge.embed_missing, embedder, progress=progress.counter("embedding the articles")
        )
    work = partial(demo.handle, embedder=embedder)
    done = work_through(sessions, files, work, authserv_id=MAIL_SERVER)
    worked = _render.watched(done, "working through the inbox", len(files))
    handled = [one for file in worked for one in file.results]
    transaction(sessions, demo.finish_work, sorted({one.ticket_id for one in handled if one.ticket_id}))

    console.print(_steps(before, embedded, embedder, handled))
    for section in transaction(sessions, _sections, worked, embedder):
        console.print(section)
    return worked


def _section(title: str, note: str, *body: RenderableType) -> RenderableType:
    return Group(Rule(safe(title, "bold"), align="left", style="dim"), safe(note, "dim"), *body, "")


def _steps(
    before: str | None, embedded: int, embedder: Embedder, handled: Sequence[Handled]
) -> RenderableType:
    """What this run did, and what was there from an earlier one."""
    head = migrations.head()
    there = sum(one.ingested.duplicate for one in handled)
    opened = sum(one.ticket_opened for one in handled)
    facts = {
        "schema": f"was at {head}" if before == head else f"from {before or 'nothing'} to revision {head}",
        "knowledge base": f"{embedded} articles embedded" if embedded else "was embedded",
        "messages": f"{len(handled) - there} new, {there} already there",
        "tickets": f"{opened} opened" if opened else "none opened",
        "embedder": embedder.model,
    }
    note = "A support desk works through an inbox, with nothing but the public services."
    return _section("crm demo", note, _render.facts(facts))


def _sections(
    session: Session, worked: Sequence[Worked[Handled]], embedder: Embedder
) -> list[RenderableType]:
    handled = [one for file in worked for one in file.results]
    customer_ids = {one.ingested.customer_id for one in handled}
    ticket_ids = {one.ticket_id for one in handled if one.ticket_id}
    people = session.scalars(
        select(Customer)
        .where(Customer.id.in_(customer_ids))
        .options(selectinload(Customer.identifiers))
        .order_by(Customer.created_at, Customer.id)
    ).all()
    opened = session.scalars(
        select(Ticket).where(Ticket.id.in_(ticket_ids)).order_by(Ticket.created_at, Ticket.id)
    ).all()
    sections = []
    if not all(one.ingested.duplicate for one in handled):
        sections.append(_inbox(worked, {ticket.id: ticket.ticket_number for ticket in opened}))
    if people:
        sections += _who_is_who(session, people)
    if opened:
        sections += [
            _section("Tickets", "Category and priority come from a few rules.", _render.tickets(opened)),
            _record(session, opened),
        ]
    sections += [*_answers(session, embedder), _measured(session)]
    if people and opened:
        sections.append(_what_next(people[:2][-1], opened[-1]))
    return sections


def _inbox(worked: Sequence[Worked[Handled]], numbers: Mapping[UUID, str]) -> RenderableType:
    table = _render.new_table("file", "ticket", "what happened")
    for file in worked:
        for one in file.results:
            number = numbers[one.ticket_id] if one.ticket_id else ""
            table.add_row(safe(file.path.name), number, _render.on_one_line(one.outcome))
        if not file.results:
            table.add_row(safe(file.path.name), "", "cannot be used" if file.problem else "no message in it")
    return _section("The inbox", "Mail, WhatsApp webhooks and web forms, as providers deliver them.", table)


def _who_is_who(session: Session, people: Sequence[Customer]) -> list[RenderableType]:
    """All customers, and the history of the one who uses the most channels."""
    written = _messages_by_channel(session, [person.id for person in people])
    somebody = max(people, key=lambda person: (len(written[person.id]), sum(written[person.id].values())))
    page = timeline.history(session, somebody.id, limit=10)
    return [
        _section(
            "Who is who",
            "One person, one customer, on every channel. ✓ proved by the channel, ? claimed.",
            _render.customers(people, written),
        ),
        _section(
            f"One history: {somebody.name or 'a customer'}",
            "All channels in one list, with our answers.",
            _render.history(page, length=160),
        ),
    ]


def _messages_by_channel(session: Session, customers: Collection[UUID]) -> Mapping[UUID, Mapping[str, int]]:
    counts: defaultdict[UUID, dict[str, int]] = defaultdict(dict)
    statement = (
        select(Message.customer_id, Message.channel, func.count())
        .where(Message.customer_id.in_(customers), Message.direction == MessageDirection.INBOUND)
        .group_by(Message.customer_id, Message.channel)
    )
    for customer_id, channel, count in session.execute(statement):
        counts[customer_id][channel.value] = count
    return counts


def _record(session: Session, opened: Sequence[Ticket]) -> RenderableType:
    """The ticket that most hands went through."""
    entry = TicketStatusChange
    ticket_id = session.scalars(
        select(entry.ticket_id)
        .where(entry.ticket_id.in_([ticket.id for ticket in opened]))
        .group_by(entry.ticket_id)
        .order_by(func.count(entry.changed_by.distinct()).desc(), func.count().desc(), func.min(entry.seq))
        .limit(1)
    ).one()
    ticket = tickets.get_ticket(session, ticket_id)
    customer = session.get_one(Customer, ticket.customer_id)
    return _section(
        "A ticket's record",
        "The database writes it at every change of status, and lets nobody alter it.",
        _render.ticket(ticket, customer.name, tickets.status_history(session, ticket.id)),
    )


def _answers(session: Session, embedder: Embedder) -> list[RenderableType]:
    file = EXAMPLES / "questions.txt"
    if not file.is_file():
        return []
    question = file.read_text("utf-8").splitlines()[0]
    found = search.search_knowledge(session, question, embedder=embedder, limit=3)
    return [_section("The best articles for a question", question, _render.hits(found, length=150))]


def _measured(session: Session) -> RenderableType:
    rows = metrics.channel_metrics(session, window=_WINDOW)
    note = f"What was measured in the last {_WINDOW.days} days."
    return _section("The channels", note, _render.metrics(rows))


def _what_next(person: Customer, ticket: Ticket) -> RenderableType:
    known_by = next((one.identifier_value for one in person.identifiers), str(person.id))
    commands = (
        f"ticket {ticket.ticket_number}",
        f"history {shlex.quote(known_by)}",
        'search "Can I import tasks from a CSV file?"',
    )
    return _section(
        "Try next",
        "Each command works on its own.",
        *(safe(f"  {_program()} {command}") for command in commands),
    )


def _program() -> str:
    """How the user can call this program."""
    if shutil.which("crm"):
        return "crm"
    script = Path(sys.argv[0])
    return os.path.relpath(script) if script.name == "crm" else f"{os.path.relpath(sys.executable)} -m app"
