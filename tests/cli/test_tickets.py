"""``crm tickets`` and ``crm report``: what people see of tickets, and what the commands change."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from app.database import make_engine
from app.models import Channel, TicketStatus
from app.services import tickets
from app.testing import (
    ConversationFactory,
    CustomerFactory,
    Databases,
    MessageFactory,
    TicketFactory,
    bound_to,
)

Run = Callable[..., Any]


@pytest.fixture
def engine(crm_databases: Databases) -> Iterator[Engine]:
    """A database of this test alone."""
    url = crm_databases.clone()
    engine = make_engine(url)
    yield engine
    engine.dispose()
    crm_databases.drop(url)


@pytest.fixture
def run(crm: Run, engine: Engine) -> Run:
    """``crm`` on that database."""
    url = engine.url.render_as_string(hide_password=False)
    return lambda *arguments, **variables: crm(*arguments, DATABASE_URL=url, **variables)


@pytest.fixture
def session(engine: Engine) -> Iterator[Session]:
    with Session(engine, expire_on_commit=False) as session, bound_to(session):
        yield session
        session.commit()


def numbers(out: str) -> list[str]:
    return re.findall(r"^TKT-\d+", out, re.MULTILINE)


def test_a_list_shows_the_newest_first_and_takes_filters(run: Run, session: Session) -> None:
    ada = CustomerFactory(email="ada@example.com", with_email=True)
    one = TicketFactory(customer=ada, subject="The export\nis empty", priority="high")
    two = TicketFactory(status=TicketStatus.WAITING, source_channel=Channel.WHATSAPP, assigned_to="human:9")
    three = TicketFactory(status=TicketStatus.RESOLVED)
    one.created_at = datetime(2026, 3, 1, tzinfo=UTC)
    two.created_at = datetime(2026, 3, 2, tzinfo=UTC)
    session.commit()

    everything = run("tickets")
    assert (everything.code, numbers(everything.out)) == (
        0,
        [three.ticket_number, two.ticket_number, one.ticket_number],
    )
    assert re.search(r"\d+d +open +high +The export is empty", everything.out)
    for options, found in {
        ("--status", "waiting", "--status", "open"): [two, one],
        ("--priority", "high"): [one],
        ("--category", "account_access", "--channel", "whatsapp"): [two],
        ("--assignee", "human:9"): [two],
        ("--unassigned",): [three, one],
        ("--customer", "Ada@Example.com"): [one],
        ("--since", "2026-03-02", "--until", "2026-03-03"): [two],
        ("--until", "2026-03-02"): [one],
    }.items():
        assert numbers(run("tickets", *options).out) == [ticket.ticket_number for ticket in found], options
    short = run("tickets", "--limit", "2")
    assert numbers(short.out) == [three.ticket_number, two.ticket_number]
    assert "there are older ones" in short.out
    assert run("tickets", "--status", "closed").out == "no tickets\n"


@pytest.mark.parametrize(
    ("arguments", "code", "problem"),
    [
        (["tickets", "--status", "new"], 2, "'new' is not one of"),
        (["tickets", "--since", "yesterday"], 2, "does not match the format"),
        (["tickets", "--limit", "0"], 2, "greater than or equal to 1"),
        (["tickets", "--customer", "nobody@example.com"], 1, "there is no customer"),
        (["tickets", "verify", "TKT-9999"], 1, "there is no ticket TKT-9999"),
        (["tickets", "reopen", "TKT-9999"], 1, "there is no ticket TKT-9999"),
        (["tickets", "close", "--actor", "me"], 1, "actor: must read like human:7"),
        (["tickets", "close", "--days", "0"], 2, "greater than or equal to 1"),
        (["report", "--by", "customer"], 2, "'customer' is not one of"),
        (["report", "--until", "2026-02-30"], 2, "does not match the format"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    run: Run, arguments: list[str], code: int, problem: str
) -> None:
    ran = run(*arguments)
    assert ran.code == code
    assert problem in " ".join(ran.err.replace("│", " ").split())
    assert "Traceback" not in ran.err


def test_a_ticket_s_trail_has_its_fields_and_its_life(run: Run, session: Session) -> None:
    conversation = ConversationFactory()
    ticket = TicketFactory(conversation=conversation)
    ticket.created_at -= timedelta(hours=3)
    session.flush()
    MessageFactory(conversation=conversation, outbound=True)
    tickets.assign(session, ticket.id, "human:9", actor="human:7", comment="knows exports")
    tickets.change_status(session, ticket.id, TicketStatus.RESOLVED, actor="human:9")
    tickets.reopen(session, ticket.id, actor="human:7", comment="it came back")
    tickets.change_priority(session, ticket.id, "critical", actor="human:7")
    tickets.assign(session, ticket.id, None, actor="human:7")
    session.commit()
    ran = run("ticket", ticket.ticket_number, COLUMNS="120")

    assert ran.code == 0
    trail = re.findall(
        r"^\d{4}-\d\d-\d\d [\d:]{8} +(?:[\d.]+ m?s +)?(\S.*?) {2,}(\S+)", ran.out, re.MULTILINE
    )
    assert trail == [
        ("open", "ai:support-agent"),
        ("assigned to human:9", "human:7"),
        ("resolved", "human:9"),
        ("open", "human:7"),
        ("priority critical", "human:7"),
        ("assigned to nobody", "human:7"),
    ]
    for shown in ("after 3 h 0 min", "knows exports", "reopened", "once", "2 times"):
        assert shown in ran.out


def test_a_sound_record_is_said_to_be_and_tampering_ends_with_1(run: Run, session: Session) -> None:
    one, two = TicketFactory(status=TicketStatus.CLOSED), TicketFactory()
    session.commit()
    for arguments in (["tickets", "verify"], ["tickets", "verify", one.ticket_number]):
        assert (run(*arguments).code, run(*arguments).out) == (0, "the record is sound\n")
    session.execute(text("ALTER TABLE ticket_status_changes DISABLE TRIGGER USER"))
    session.execute(
        text("UPDATE ticket_status_changes SET changed_by = 'human:1' WHERE ticket_id = :id"), {"id": one.id}
    )
    session.commit()
    ran = run("tickets", "verify")
    assert ran.code == 1
    assert set(numbers(ran.out)) == {one.ticket_number}
    assert len(re.findall("edited: the entry does not match its own hash", ran.out)) == 4
    assert run("tickets", "verify", two.ticket_number).code == 0


def test_a_ticket_is_reopened_within_the_grace_that_the_environment_sets(run: Run, session: Session) -> None:
    ticket = TicketFactory(closed=True)
    session.commit()
    late = run("tickets", "reopen", ticket.ticket_number, CRM_REOPEN_GRACE_DAYS="0")
    follow_up = late.out.split()[0]
    assert late.out == f"{follow_up} is open; it follows {ticket.ticket_number}\n"
    assert follow_up != ticket.ticket_number
    assert re.search(rf"^followed by +{follow_up} *$", run("ticket", ticket.ticket_number).out, re.MULTILINE)
    assert re.search(rf"^follows +{ticket.ticket_number} *$", run("ticket", follow_up).out, re.MULTILINE)
    other = TicketFactory(closed=True)
    session.commit()
    ran = run("tickets", "reopen", other.ticket_number, "--actor", "human:7", "--comment", "again")
    assert ran.out == f"{other.ticket_number} is open\n"
    entry = tickets.status_history(session, other.id)[-1]
    assert (entry.changed_by, entry.comment) == ("human:7", "again")
    bad = run("tickets", "reopen", other.ticket_number, CRM_REOPEN_GRACE_DAYS="-1")
    assert (bad.code, bad.problem.startswith("crm: CRM_REOPEN_GRACE_DAYS: ")) == (1, True)


def test_stale_tickets_are_closed(run: Run, session: Session) -> None:
    long_ago = datetime.now(UTC) - timedelta(days=20)
    stale = [TicketFactory(status=TicketStatus.RESOLVED, resolved_at=long_ago) for _ in range(3)]
    TicketFactory(status=TicketStatus.RESOLVED)
    session.commit()
    assert run("tickets", "close", "--days", "30").out == "0 closed\n"
    assert run("tickets", "close").out == "3 closed\n"
    assert run("tickets", "close").out == "0 closed\n"
    assert tickets.status_history(session, stale[0].id)[-1].changed_by == "system:retention"


def test_what_an_ai_resolved_and_came_back_is_listed(run: Run, session: Session) -> None:
    assert run("tickets", "regressions").out == "none\n"
    again, followed = TicketFactory(status=TicketStatus.RESOLVED), TicketFactory(closed=True)
    tickets.reopen(session, again.id, actor="human:7")
    follow_up = tickets.reopen(session, followed.id, actor="human:8", grace=timedelta(0))
    session.commit()
    ran = run("tickets", "regressions", "--days", "1")
    assert numbers(ran.out) == [followed.ticket_number, again.ticket_number]
    said = " ".join(ran.out.split())
    assert "reopened by human:7" in said
    assert f"followed up as {follow_up.ticket_number} by human:8" in said


def test_a_report_has_a_line_and_a_bar_for_each_group_and_a_total(run: Run, session: Session) -> None:
    for channel, count in {Channel.EMAIL: 4, Channel.WHATSAPP: 2}.items():
        for _ in range(count):
            TicketFactory(source_channel=channel, status=TicketStatus.RESOLVED)
    TicketFactory(source_channel=Channel.EMAIL, assigned_to="human:9")
    session.commit()
    ran = run("report")
    assert ran.code == 0
    assert re.search(r"^email +█{6} 5 +4 +0 ", ran.out, re.MULTILINE)
    assert re.search(r"^whatsapp +█{2} +2 +2 +0 ", ran.out, re.MULTILINE)
    assert re.search(r"^all +7 +6 +0 ", ran.out, re.MULTILINE)
    assert all(len(line) <= 80 for line in ran.out.splitlines())
    assert re.search(r"^\(no assignee\) +█{6} 6 ", run("report", "--by", "assignee").out, re.MULTILINE)
    past = run("report", "--until", "2026-01-01")
    assert re.search(r"^all +0 +0 +0", past.out, re.MULTILINE)
    assert "opened 2025-12-02 to 2026-01-01" in past.out


def test_a_report_on_a_plain_terminal_has_plain_bars(process: Run, engine: Engine, session: Session) -> None:
    TicketFactory()
    session.commit()
    url = engine.url.render_as_string(hide_password=False)
    ran = process("report", DATABASE_URL=url, PYTHONIOENCODING="ascii")
    assert ran.code == 0
    assert ran.out.isascii()
    assert re.search(r"^email +#{6} 1 ", ran.out.replace("|", " "), re.MULTILINE)


HOSTILE = "[bold]x[/] \x1b[31mred \u202egnp.exe \r\nend"


def test_text_of_others_is_shown_as_it_is_and_cannot_steer_the_terminal(run: Run, session: Session) -> None:
    ticket = TicketFactory(subject=HOSTILE, assigned_to=HOSTILE)
    session.execute(text("UPDATE tickets SET assigned_to = :assignee || 'x'"), {"assignee": HOSTILE})
    session.commit()
    for arguments in (["tickets"], ["ticket", ticket.ticket_number], ["report", "--by", "assignee"]):
        ran = run(*arguments, COLUMNS="200")
        assert ran.code == 0
        assert "[bold]x[/] ␛[31" in ran.out
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", ran.out)
