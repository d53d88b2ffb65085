"""``crm demo``: it may run as often as anybody likes."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from rich.cells import cell_len
from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from app.database import make_engine
from app.models import (
    Base,
    Channel,
    CustomerIdentifier,
    DeliveryStatus,
    Message,
    MessageDirection,
    Ticket,
    TicketStatus,
    TicketStatusChange,
)
from app.testing import Databases

pytestmark = pytest.mark.own_connection("migrations hold a lock of their session")
Run = Callable[..., Any]
ROOT = Path(__file__).resolve().parents[2]


def row_counts(session: Session) -> dict[str, int]:
    tables = Base.metadata.sorted_tables
    return {table.name: session.scalar(select(func.count()).select_from(table)) or 0 for table in tables}


class TwoRuns(NamedTuple):
    first: str
    second: str
    counts: tuple[dict[str, int], dict[str, int]]
    session: Session


@pytest.fixture(scope="module")
def runs(crm_databases: Databases, process: Run) -> Iterator[TwoRuns]:
    """The demo on an empty database, twice."""
    url = crm_databases.empty()
    engine = make_engine(url)
    outputs, counts = [], []
    for _ in range(2):
        ran = process("demo", DATABASE_URL=url)
        assert (ran.code, len(ran.err.splitlines())) == (0, 1), ran.err
        outputs.append(ran.out)
        with Session(engine) as session:
            counts.append(row_counts(session))
    with Session(engine) as session:
        yield TwoRuns(outputs[0], outputs[1], (counts[0], counts[1]), session)
    engine.dispose()
    crm_databases.drop(url)


def test_a_second_run_writes_nothing(runs: TwoRuns) -> None:
    before, after = runs.counts

    assert after == before
    assert min(before[name] for name in ("customers", "messages", "tickets", "agent_metrics")) > 3


def test_a_second_run_says_what_was_there_and_shows_the_same(runs: TwoRuns) -> None:
    (first, shown_first), (second, shown_second) = (
        output.split("Who is who", maxsplit=1) for output in (runs.first, runs.second)
    )

    assert shown_first == shown_second
    inbound = select(func.count()).where(
        Message.direction == MessageDirection.INBOUND,
        Message.extra["event"].astext.is_distinct_from("delivery"),
    )
    stored = runs.session.scalar(inbound)
    assert f"{stored} new, 1 already there" in first
    assert f"0 new, {stored + 1} already there" in second
    assert "none opened" in second


def test_every_part_is_shown_in_80_columns(runs: TwoRuns) -> None:
    for part in (
        "The inbox",
        "Who is who",
        "One history: Ana Souza",
        "Tickets",
        "A ticket's record",
        "The best articles for a question",
        "The outbox",
        "A bounce",
        "What an agent sees",
        "The channels",
        "Try next",
    ):
        assert f"\n{part} ──" in runs.first
    tables, commands = runs.first.split("Try next", maxsplit=1)
    assert max(map(cell_len, tables.splitlines())) <= 80
    assert "ticket TKT-" in commands


def test_each_ticket_went_through_a_legal_and_signed_life(runs: TwoRuns) -> None:
    opened = runs.session.scalars(select(Ticket)).all()
    record = runs.session.scalars(select(TicketStatusChange).order_by(TicketStatusChange.seq)).all()

    assert {ticket.status for ticket in opened} >= {
        TicketStatus.RESOLVED,
        TicketStatus.WAITING,
        TicketStatus.ESCALATED,
        TicketStatus.CLOSED,
    }
    assert len({ticket.conversation_id for ticket in opened}) == len(opened)
    assert all(ticket.resolution_notes for ticket in opened if ticket.status is TicketStatus.RESOLVED)
    assert all(ticket.escalation_reason for ticket in opened if ticket.status is TicketStatus.ESCALATED)
    assert {entry.changed_by.split(":")[0] for entry in record} == {"ai", "human", "customer"}
    assert not any(entry.forced for entry in record)
    assert any(
        (entry.old_status, entry.new_status) == (TicketStatus.RESOLVED, TicketStatus.OPEN) for entry in record
    )


def test_nobody_answers_a_machine(runs: TwoRuns) -> None:
    by_machines = runs.session.scalars(select(Message).where(Message.extra["auto_reply"].as_boolean())).all()
    inbound = [message for message in by_machines if message.direction is MessageDirection.INBOUND]

    assert len(inbound) == 4
    for message in inbound:
        later = select(Message).where(
            Message.conversation_id == message.conversation_id, Message.created_at > message.created_at
        )
        assert runs.session.scalars(later).all() == []


def test_whoever_claims_to_be_bruno_does_not_become_bruno(runs: TwoRuns) -> None:
    mallory, bruno = (
        runs.session.scalars(
            select(CustomerIdentifier.customer_id).where(CustomerIdentifier.identifier_value == number)
        ).one()
        for number in ("+12025550199", "+447700900123")
    )
    asked, answered = (
        runs.session.scalars(select(Message.content).where(Message.customer_id == customer_id)).all()
        for customer_id in (mallory, bruno)
    )

    assert mallory != bruno
    assert any("What was my last invoice" in content for content in asked)
    assert any("INV-2031" in content for content in answered)
    assert not any("INV-2031" in content for content in asked)


def test_every_answer_is_sent_and_the_one_that_came_back_is_known(runs: TwoRuns) -> None:
    answers = runs.session.scalars(
        select(Message).where(Message.direction == MessageDirection.OUTBOUND)
    ).all()
    failed = [answer for answer in answers if answer.delivery_status is DeliveryStatus.FAILED]

    assert runs.counts[0]["outbox"] == 0
    assert all("sent_at" in answer.extra["delivery"] for answer in answers)
    assert [answer.extra["delivery"]["code"] for answer in failed] == ["5.2.2"]
    assert "5.2.2 552 mailbox full" in runs.first


def test_answers_keep_to_their_channel(runs: TwoRuns) -> None:
    answers = runs.session.scalars(
        select(Message).where(Message.direction == MessageDirection.OUTBOUND)
    ).all()

    assert {answer.channel for answer in answers} == set(Channel)
    assert not any("{{" in answer.content for answer in answers)
    for answer in answers:
        if answer.channel is Channel.EMAIL:
            assert answer.content.startswith("Hi ")
            assert "support@techcorp.io" in answer.content
        if answer.channel is Channel.WEB_FORM:
            assert "Your ticket reference: TKT-" in answer.content


def test_a_broken_file_is_reported_and_the_others_go_on(
    crm: Run, crm_clone: Engine, inbox: Path, tmp_path: Path
) -> None:
    (tmp_path / "1.json").write_text("{")
    (tmp_path / "2.json").write_bytes((inbox / "02-bruno-form.json").read_bytes())
    ran = crm(
        "demo", "--inbox", str(tmp_path), DATABASE_URL=crm_clone.url.render_as_string(hide_password=False)
    )

    assert ran.code == 1
    assert ran.err.splitlines()[1:] == [f"crm: {tmp_path}/1.json: payload: is not JSON"]
    assert "1 new, 0 already there" in ran.out


def test_the_picture_in_the_readme_is_what_the_demo_shows(runs: TwoRuns) -> None:
    spec = importlib.util.spec_from_file_location("picture_demo", ROOT / "scripts" / "picture_demo.py")
    assert spec is not None
    assert spec.loader is not None
    picture_demo = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(picture_demo)
    drawn = picture_demo.PICTURE.read_text(encoding="utf-8")

    lines = map(picture_demo.plain_line, picture_demo.first_sections(runs.first).splitlines())
    assert [*filter(None, picture_demo.words_of(drawn))] == [*filter(None, lines)], (
        "run scripts/picture_demo.py"
    )
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", drawn)
    assert "docs/demo.svg" in (ROOT / "README.md").read_text(encoding="utf-8")
