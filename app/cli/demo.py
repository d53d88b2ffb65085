"""What ``crm demo`` prints: the work of :mod:`app.demo` on an inbox, and what the database knows then."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from uuid import UUID

from rich.console import Console, Group, RenderableType
from rich.rule import Rule
from sqlalchemy import Engine, exists, func, select
from sqlalchemy.orm import Session, selectinload

from .. import demo, migrations
from ..database import make_session_factory, transaction
from ..demo import Handled
from ..embeddings import Embedder
from ..models import (
    Customer,
    DeliveryStatus,
    Message,
    MessageDirection,
    MessageRole,
    OutboxEntry,
    Ticket,
    TicketStatusChange,
)
from ..schemas import Awaiting
from ..services import conversations, knowledge, metrics, search, tickets, timeline
from ..settings import Settings
from .inbox import Worked, work_through
from .show import conversations as show_conversations
from .show import customers as show_customers
from .show import messages as show_messages
from .show import tickets as show_tickets
from .show.tables import Patience, facts, new_table, on_one_line, safe, watched

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
MAIL_SERVER = "mx.techcorp.io"
"""Whose Authentication-Results in the examples are to be believed."""

_WINDOW = timedelta(days=30)


@dataclass(frozen=True)
class Ran:
    """What one run did."""

    before: str | None
    embedded: int
    worked: list[Worked[Handled]]
    answers_sent: int

    @property
    def handled(self) -> list[Handled]:
        return [one for file in self.worked for one in file.results]


def run(engine: Engine, files: Sequence[Path], *, embedder: Embedder, settings: Settings) -> Ran:
    """Migrate, embed, and work through the files; safe to repeat."""
    before = migrations.current(engine, settings=settings)
    migrations.upgrade(engine, settings=settings)
    sessions = make_session_factory(engine)
    with Patience() as progress:
        embedded = transaction(
            sessions, knowledge.embed_missing, embedder, progress=progress.counter("embedding the articles")
        )
    work = partial(demo.handle, embedder=embedder)
    progressing = work_through(sessions, files, work, authserv_id=MAIL_SERVER)
    worked = watched(progressing, "working through the inbox", len(files))
    tickets = {one.ticket_id for file in worked for one in file.results if one.ticket_id}
    transaction(sessions, demo.finish_work, sorted(tickets))
    answers = transaction(sessions, demo.send_answers)
    transaction(sessions, demo.take_bounce, answers)
    return Ran(before, embedded, worked, len(answers))


def show(engine: Engine, ran: Ran, *, embedder: Embedder) -> None:
    """Print what a run did, and what the database knows then."""
    # Its headings are as wide as the console, so it has the usual width in a pipe too.
    out = Console()
    out.print(_steps(ran, embedder))
    for section in transaction(make_session_factory(engine), _sections, ran.worked, embedder):
        out.print(section)


def _section(title: str, note: str, *body: RenderableType) -> RenderableType:
    return Group(Rule(safe(title, "bold"), align="left", style="dim"), safe(note, "dim"), *body, "")


def _steps(ran: Ran, embedder: Embedder) -> RenderableType:
    """What this run did, and what was there from an earlier one."""
    head = migrations.head()
    there = sum(one.ingested.duplicate for one in ran.handled)
    opened = sum(one.ticket_opened for one in ran.handled)
    is_new = ran.before != head
    run_facts = {
        "schema": f"from {ran.before or 'nothing'} to revision {head}" if is_new else f"was at {head}",
        "knowledge base": f"{ran.embedded} articles embedded" if ran.embedded else "was embedded",
        "messages": f"{len(ran.handled) - there} new, {there} already there",
        "tickets": f"{opened} opened" if opened else "none opened",
        "embedder": embedder.model,
    }
    note = "A support desk works through an inbox, with nothing but the public services."
    return _section("crm demo", note, facts(run_facts))


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
            _section("Tickets", "Category and priority come from a few rules.", show_tickets.tickets(opened)),
            _record(session, opened),
        ]
    sections += [
        *_answers(session, embedder),
        _sent(session),
        *_bounced(session),
        *_context(session, embedder),
    ]
    sections.append(_measured(session))
    if people and opened:
        sections.append(_what_next(people[:2][-1], opened[-1]))
    return sections


def _inbox(worked: Sequence[Worked[Handled]], numbers: Mapping[UUID, str]) -> RenderableType:
    table = new_table("file", "ticket", "what happened")
    for file in worked:
        for one in file.results:
            number = numbers[one.ticket_id] if one.ticket_id else ""
            table.add_row(safe(file.path.name), number, on_one_line(one.outcome))
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
            show_customers.customers(people, written),
        ),
        _section(
            f"One history: {somebody.name or 'a customer'}",
            "All channels in one list, with our answers.",
            show_messages.history(page, length=160),
        ),
    ]


def _messages_by_channel(session: Session, customers: Collection[UUID]) -> Mapping[UUID, Mapping[str, int]]:
    counts: defaultdict[UUID, dict[str, int]] = defaultdict(dict)
    statement = (
        select(Message.customer_id, Message.channel, func.count())
        .where(Message.customer_id.in_(customers), Message.role == MessageRole.CUSTOMER)
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
        show_tickets.ticket(ticket, customer.name, tickets.status_history(session, ticket.id)),
    )


def _answers(session: Session, embedder: Embedder) -> list[RenderableType]:
    file = EXAMPLES / "questions.txt"
    if not file.is_file():
        return []
    question = file.read_text("utf-8").splitlines()[0]
    articles = search.search_knowledge(session, question, embedder=embedder, limit=3)
    return [_section("The best articles for a question", question, show_messages.hits(articles, length=150))]


def _sent(session: Session) -> RenderableType:
    """What became of the answers, by channel."""
    waits = exists().where(OutboxEntry.message_id == Message.id)
    counts = session.execute(
        select(
            Message.channel,
            func.count().filter(~waits, Message.delivery_status != DeliveryStatus.FAILED),
            func.count().filter(Message.delivery_status == DeliveryStatus.FAILED),
            func.count().filter(waits),
        )
        .where(Message.direction == MessageDirection.OUTBOUND)
        .group_by(Message.channel)
        .order_by(Message.channel)
    )
    table = new_table("channel", "sent", "came back", "waiting")
    for channel, *numbers in counts:
        table.add_row(safe(channel), *map(str, numbers))
    note = "Claimed, composed and marked, all but the providers' calls; forms are answered by mail."
    return _section("The outbox", note, table)


def _bounced(session: Session) -> list[RenderableType]:
    """The conversation whose answer came back, as its transcript."""
    failed = session.scalars(
        select(Message)
        .where(
            Message.direction == MessageDirection.OUTBOUND, Message.delivery_status == DeliveryStatus.FAILED
        )
        .order_by(Message.created_at)
        .limit(1)
    ).one_or_none()
    if failed is None:
        return []
    report = (failed.extra or {}).get("delivery", {})
    note = f"A mail server's report made it failed: {report.get('code')} {report.get('reason')}."
    page = conversations.transcript(session, failed.conversation_id, limit=6)
    return [_section("A bounce", note, show_conversations.transcript(page))]


def _context(session: Session, embedder: Embedder) -> list[RenderableType]:
    """What an agent would be told before it answers whoever waits longest."""
    waiting = conversations.list_conversations(session, awaiting=Awaiting.US, limit=1).items
    if not waiting:
        return []
    seen = conversations.context(session, waiting[0].id, embedder=embedder, messages=3, articles=1)
    note = "One call: the prompt of a language model, with what may be told and what may not."
    return [_section("What an agent sees", note, safe(seen.as_text(max_tokens=1_000)))]


def _measured(session: Session) -> RenderableType:
    rows = metrics.channel_metrics(session, window=_WINDOW)
    note = f"What was measured in the last {_WINDOW.days} days."
    return _section("The channels", note, show_messages.metrics(rows))


def _what_next(person: Customer, ticket: Ticket) -> RenderableType:
    address = next((one.identifier_value for one in person.identifiers), str(person.id))
    commands = (
        f"ticket {ticket.ticket_number}",
        f"history {shlex.quote(address)}",
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
