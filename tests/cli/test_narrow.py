"""What commands look like: on 60 columns, without colours, in a pipe; and what their help says."""

from __future__ import annotations

import io
import shlex
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from app.cli.show.tables import console, new_table
from app.database import make_engine
from app.models import Channel, TicketStatus
from app.services import channel_settings, merging, tickets
from app.testing import (
    AgentMetricFactory,
    ConversationFactory,
    CustomerFactory,
    Databases,
    KnowledgeBaseEntryFactory,
    MessageFactory,
    TicketFactory,
    bound_to,
)

from .commands import all_commands

Run = Callable[..., Any]
REASON = (
    "The second invoice was issued before the tax number had been corrected, so that accounting asked for "
    "it a third time; see the call of Monday, which the team lead took herself, and the letter after it. "
    "END-OF-REASON"
)
LONG_NAME = "Maximiliana Konstantinopolitanska-Featherstonehaugh of Llanfairpwllgwyngyll"
SHOWS = [
    "channels show",
    "channels show email",
    "conversation TICKET",
    "conversations",
    "customers duplicates --min-score -20",
    "customers erase long@example.com --dry-run",
    "customers events long@example.com",
    "customers merge long@example.com other@example.com --dry-run",
    "customers normalize --dry-run",
    "db check",
    "db current",
    "doctor",
    "history long@example.com",
    "knowledge language",
    "knowledge list",
    "knowledge status",
    "reply TICKET Certainly! --dry-run",
    "report --by assignee",
    "report --by category",
    "search password --mode text",
    "ticket TICKET",
    "tickets",
    "tickets regressions",
    "tickets verify",
    "timeline long@example.com",
]


@pytest.fixture(scope="module")
def engine(crm_databases: Databases) -> Iterator[Engine]:
    url = crm_databases.clone()
    engine = make_engine(url)
    yield engine
    engine.dispose()
    crm_databases.drop(url)


@pytest.fixture(scope="module")
def number(engine: Engine) -> str:
    """A ticket's, whose record, conversation and customer have long words in all places."""
    with Session(engine) as session, bound_to(session):
        person = CustomerFactory(
            email="long@example.com", with_email=True, with_whatsapp=True, name=LONG_NAME, company="x" * 70
        )
        other = CustomerFactory(email="other@example.com", with_email=True, name=LONG_NAME)
        third = CustomerFactory(email="third@example.com", with_email=True)
        conversation = ConversationFactory(customer=person)
        MessageFactory(conversation=conversation, content=f"{REASON}\nhttps://example.com/{'long' * 30}")
        MessageFactory(conversation=conversation, outbound=True)
        ConversationFactory(customer=other, with_messages=True)
        ticket = TicketFactory(conversation=conversation, subject=f"{REASON} {'word' * 30}"[:255])
        tickets.assign(session, ticket.id, f"human:{'seven' * 12}", actor="human:7", comment=REASON)
        for status in (TicketStatus.RESOLVED, TicketStatus.OPEN, TicketStatus.ESCALATED):
            tickets.change_status(
                session,
                ticket.id,
                status,
                actor=f"ai:{'agent' * 12}",
                comment=REASON,
                escalation_reason=REASON,
            ) if status is TicketStatus.ESCALATED else tickets.change_status(
                session, ticket.id, status, actor="ai:agent", comment=REASON
            )
        channel_settings.change(
            session, Channel.EMAIL, actor="human:7", comment=REASON, max_response_length=400
        )
        merging.merge(session, person.id, third.id, actor="human:7", reason=REASON)
        KnowledgeBaseEntryFactory(title=f"password {'title' * 30}", source=f"{'folder/' * 20}a.md")
        AgentMetricFactory()
        session.commit()
        return ticket.ticket_number


@pytest.fixture
def run(crm: Run, engine: Engine, number: str) -> Run:
    url = engine.url.render_as_string(hide_password=False)

    def call(command: str, **variables: str) -> Any:
        return crm(*command.replace("TICKET", number).split(), DATABASE_URL=url, **variables)

    return call


@pytest.mark.parametrize("command", SHOWS)
def test_on_60_columns_no_line_is_longer(run: Run, command: str) -> None:
    ran = run(command, COLUMNS="60")

    assert ran.code in (0, 3), ran.err
    assert ran.out.strip()
    assert [line for line in ran.out.splitlines() if len(line) > 60] == []


@pytest.mark.parametrize("columns", ["40", "60", "80", "100", "160"])
@pytest.mark.parametrize(
    ("command", "times"),
    [
        ("ticket TICKET", 4),
        ("timeline long@example.com", 4),
        ("channels show email", 1),
        ("customers events long@example.com", 1),
    ],
)
def test_a_reason_is_whole_at_every_width(run: Run, command: str, times: int, columns: str) -> None:
    shown = run(command, COLUMNS=columns).out

    assert shown.count("END-OF-REASON") >= times
    assert [word for word in REASON.split() if shown.count(word) < times] == []


@pytest.mark.parametrize("command", SHOWS)
def test_a_pipe_gets_whole_lines_without_colours_or_bars(run: Run, command: str) -> None:
    shown = run(command, COLUMNS="").out

    assert [line for line in shown.splitlines() if line.endswith(" ")] == []

    assert shown.strip()
    assert "\x1b" not in shown
    assert "█" not in shown
    # Only of an article or a message is a part shown.
    assert "…" not in shown or command.startswith(("history", "search"))


def test_the_bars_of_a_report_are_for_people(run: Run) -> None:
    assert "█" in run("report").out
    assert "█" not in run("report", COLUMNS="").out


def test_no_color_is_honoured_where_colours_would_be(run: Run) -> None:
    coloured = run("tickets", FORCE_COLOR="1").out
    plain = run("tickets", FORCE_COLOR="1", NO_COLOR="1").out

    assert "\x1b[1;31mescalated" in coloured
    assert not any(f"\x1b[{code}" in plain for code in (*range(30, 38), "1;3"))


def test_a_table_is_one_where_its_words_fit_and_paragraphs_where_not() -> None:
    from rich.console import Console

    table = new_table("ticket", "status", "why", heads=("", "is "))
    table.add_row("TKT-1", "open", "a word")
    table.add_row("TKT-2", "", "")

    def shown(width: int) -> list[str]:
        out = io.StringIO()
        Console(file=out, width=width).print(table)
        return [line.rstrip() for line in out.getvalue().splitlines()]

    assert shown(40)[0].split() == ["ticket", "status", "why"]
    assert shown(16) == ["TKT-1  is open", "  a word", "TKT-2"]


def test_every_command_has_an_example_that_it_takes() -> None:
    for name, command in all_commands().items():
        lead = f"Example: crm {name}"
        assert (command.epilog or "").startswith(lead), name
        words = shlex.split(command.epilog.removeprefix(lead))
        # It raises where the example is none.
        command.make_context(name, words)


@pytest.mark.parametrize("command", ["", *all_commands()])
def test_help_fits_60_columns_and_has_the_example(crm: Run, command: str) -> None:
    ran = crm(*command.split(), "--help", COLUMNS="60", TERMINAL_WIDTH="60")

    assert ran.code == 0
    assert [line for line in ran.out.splitlines() if len(line.rstrip()) > 60] == []
    assert not command or "Example: crm" in ran.out


def test_what_goes_on_in_its_line_keeps_its_space(monkeypatch, capsys):
    monkeypatch.delenv("COLUMNS", raising=False)
    out = console()
    out.print("tickets: ", end="")
    out.print("2   ")

    assert capsys.readouterr().out == "tickets: 2\n"
