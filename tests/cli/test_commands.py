"""Each command of ``crm``, on a database with the example inbox."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, func, select, text, update
from sqlalchemy.orm import Session

from app import migrations
from app.channels import parse_file
from app.models import Customer, KnowledgeBaseEntry, Message, ProviderMessage, TicketStatus
from app.services import merging, tickets
from app.testing import ConversationFactory, CustomerFactory, MessageFactory, TicketFactory, bound_to

Run = Callable[..., Any]


def count(engine: Engine, *tables: type) -> list[int]:
    with Session(engine) as session:
        return [session.scalar(select(func.count()).select_from(table)) or 0 for table in tables]


def test_ingest_stores_every_message_once(crm: Run, url: str, engine: Engine, inbox: Path) -> None:
    messages = [message for file in sorted(inbox.iterdir()) for message in parse_file(file)]
    before = count(engine, Message, ProviderMessage)
    ran = crm("ingest", str(inbox), DATABASE_URL=url)

    assert ran.code == 0
    assert f"0 new, {len(messages)} already there" in ran.out
    assert count(engine, Message, ProviderMessage) == before
    assert min(before) >= len({(one.channel, one.account, one.provider_message_id) for one in messages})


def test_ingest_reports_bad_files_and_stores_the_others(
    crm: Run, url: str, engine: Engine, tmp_path: Path
) -> None:
    write_form(tmp_path / "a.json", "good-1", "zoe@example.com")
    (tmp_path / "b.json").write_text("{")
    (tmp_path / "c.txt").write_text("hello")
    (tmp_path / "d\x1b[31m.json").write_text("[]")
    write_form(tmp_path / "e.json", "bad-email", "yan @example.com")
    write_form(tmp_path / "f.json", "good-2", "zoe@example.com")
    (tmp_path / ".hidden").write_text("ignored")
    before = count(engine, Message, ProviderMessage, Customer)
    ran = crm("ingest", str(tmp_path), str(tmp_path / "gone.eml"), DATABASE_URL=url)

    assert ran.code == 1
    assert "2 new, 0 already there" in ran.out
    assert "a new customer, a new conversation" in ran.out
    assert "a known customer, an open conversation" in ran.out
    assert count(engine, Message, ProviderMessage, Customer) == [
        before[0] + 2,
        before[1] + 2,
        before[2] + 1,
    ]
    assert ran.err.splitlines()[1:] == [
        f"crm: {tmp_path}/b.json: payload: is not JSON",
        f"crm: {tmp_path}/c.txt: file: does not end in .eml, .form, .json or .urlencoded",
        f"crm: {tmp_path}/d\ufffd[31m.json: payload: is not an object",
        f"crm: {tmp_path}/e.json: email: contains a space",
        f"crm: {tmp_path}/gone.eml: there is no such file or folder",
    ]


def write_form(path: Path, submission: str, email: str) -> None:
    form = {"submission_id": submission, "email": email, "message": "Hello"}
    path.write_text(json.dumps(form))


def test_of_a_file_that_fails_half_way_nothing_is_stored(
    crm: Run, url: str, engine: Engine, inbox: Path, tmp_path: Path
) -> None:
    album = json.loads((inbox / "13-daniel-album.json").read_text())
    first, second = album["entry"][0]["changes"][0]["value"]["messages"]
    first["id"], second["id"] = "wamid.half.1", "wamid.half.2"
    del second["from_user_id"]
    second["from"] = "+nobody"
    (tmp_path / "album.json").write_text(json.dumps(album))
    before = count(engine, Message, ProviderMessage, Customer)
    ran = crm("ingest", str(tmp_path), DATABASE_URL=url)

    assert ran.code == 1
    assert count(engine, Message, ProviderMessage, Customer) == before


@pytest.mark.own_connection("migrations hold a lock of their session")
def test_the_schema_goes_up_and_down(crm: Run, empty: str) -> None:
    head = migrations.head()

    assert crm("db", "current", DATABASE_URL=empty).out == "base\n"
    assert crm("db", "upgrade", "0001", DATABASE_URL=empty).out == "base -> 0001\n"
    assert crm("db", "upgrade", DATABASE_URL=empty).out == f"0001 -> {head} (head)\n"
    assert crm("db", "upgrade", DATABASE_URL=empty).out == f"already at {head} (head)\n"
    assert crm("db", "current", DATABASE_URL=empty).out == f"{head} (head)\n"
    assert crm("db", "check", DATABASE_URL=empty).out == f"no difference from revision {head}\n"
    assert crm("db", "downgrade", "-1", DATABASE_URL=empty).code == 0
    behind = crm("db", "check", DATABASE_URL=empty).problem
    assert behind.startswith("crm: the database is not up to date: it is at revision ")
    assert behind.endswith(f", and the newest is {head}")
    assert crm("db", "downgrade", "base", DATABASE_URL=empty).out.endswith(" -> base\n")


def test_check_fails_on_a_database_that_was_changed_by_hand(crm: Run, crm_clone: Engine) -> None:
    with crm_clone.begin() as connection:
        connection.execute(text("ALTER TABLE customers ADD COLUMN shoe_size int"))
    ran = crm("db", "check", DATABASE_URL=crm_clone.url.render_as_string(hide_password=False))

    assert ran.code == 1
    assert ran.err.splitlines()[-2:] == [
        f"crm: the database differs from revision {migrations.head()}:",
        "  column customers.shoe_size is not expected: integer",
    ]


def test_search_works_on_a_base_that_was_never_embedded(crm: Run, url: str, engine: Engine) -> None:
    question = "Importing tasks from a CSV file"
    ran = crm("search", question, "--limit", "2", DATABASE_URL=url)
    feature = crm("search", question, "--limit", "3", "--category", "billing", DATABASE_URL=url)

    assert ran.code == 0
    assert ran.out.splitlines()[2].split(maxsplit=1)[1].startswith(question)
    assert len(re.findall(r"^0\.", ran.out, re.MULTILINE)) == 2
    assert re.findall(r"^\S+ .* (\w+) *$", feature.out, re.MULTILINE)[1:] == ["billing"] * 3


def test_search_never_replaces_the_vectors_of_another_model(crm: Run, crm_clone: Engine) -> None:
    entry = KnowledgeBaseEntry
    with Session(crm_clone) as session:
        one = session.scalars(select(entry.id).limit(1)).one()
        made_elsewhere = {"embedding": {"model": "text-embedding-3-small"}}
        session.execute(
            update(entry).where(entry.id == one).values(embedding=[1.0] + [0.0] * 1535, extra=made_elsewhere)
        )
        session.commit()
    ran = crm("search", "refund", DATABASE_URL=crm_clone.url.render_as_string(hide_password=False))

    assert ran.code == 1
    assert "text-embedding-3-small" in ran.problem
    with Session(crm_clone) as session:
        embedded = session.execute(select(entry.id, entry.extra).where(entry.embedding.is_not(None))).all()
    assert embedded == [(one, made_elsewhere)]


@pytest.mark.parametrize(
    "wanted", ["Bruno.Keller@Example.org", "+44 7700 900123", "447700900123", "whatsapp:+447700900123"]
)
def test_history_finds_a_customer_in_any_spelling(crm: Run, url: str, wanted: str) -> None:
    ran = crm("history", wanted, DATABASE_URL=url)

    assert ran.code == 0
    assert ran.out.startswith("Bruno Keller")
    assert "whatsapp  customer" in ran.out
    assert "web_form  customer" in ran.out
    words = " ".join(ran.out.split())
    assert words.index("Where can I download it") < words.index("our VAT ID is missing")


def test_history_reads_a_number_of_the_default_region(crm: Run, url: str) -> None:
    ran = crm("history", "07700 900123", DATABASE_URL=url, CRM_DEFAULT_REGION="GB")

    assert ran.out.startswith("Bruno Keller")


def test_history_by_id_says_that_there_are_older_messages(crm: Run, url: str, engine: Engine) -> None:
    with Session(engine) as session:
        named = select(Customer.id).where(Customer.name == "Bruno Keller")
        # The first of them; somebody else uses his name too.
        bruno = session.scalars(named.order_by(Customer.created_at).limit(1)).one()
    ran = crm("history", str(bruno), "--limit", "1", DATABASE_URL=url)

    assert "only the latest 1 messages; there are older ones" in ran.out
    assert ran.out.count(" customer\n") == 1


def test_history_follows_the_id_of_an_absorbed_customer(crm: Run, url: str, engine: Engine) -> None:
    with Session(engine, expire_on_commit=False) as session, bound_to(session):
        survivor_id, absorbed_id = CustomerFactory(name="Rosa Meier").id, CustomerFactory().id
        merging.merge(session, survivor_id, absorbed_id, actor="human:7", reason="the same person")
        session.commit()
    ran = crm("history", str(absorbed_id), DATABASE_URL=url)

    assert (ran.code, ran.out.startswith("Rosa Meier")) == (0, True)


def test_ticket_shows_who_changed_it_when_and_why(crm: Run, url: str, engine: Engine) -> None:
    with Session(engine, expire_on_commit=False) as session, bound_to(session):
        ticket = TicketFactory(subject="The export is empty")
        tickets.change_status(
            session, ticket.id, TicketStatus.ESCALATED, actor="ai:support-agent", escalation_reason="a bug"
        )
        tickets.change_status(
            session,
            ticket.id,
            TicketStatus.RESOLVED,
            actor="human:7",
            comment="found it",
            resolution_notes="fixed",
        )
        customer = f"customer:{ticket.customer_id}"
        tickets.change_status(session, ticket.id, TicketStatus.OPEN, actor=customer)
        session.commit()
        number = ticket.ticket_number
    by_number = crm("ticket", number.removeprefix("TKT-"), DATABASE_URL=url)
    by_id = crm("ticket", str(ticket.id), DATABASE_URL=url)

    assert by_number.code == 0
    assert by_number.out == by_id.out
    for shown in (number, "The export is empty", "a bug", "fixed", "found it"):
        assert shown in by_number.out
    record = re.findall(r"^\d{4}-\d\d-\d\d [\d:]{8} +(\d+ ms|) +(\w+) +(\S+)", by_number.out, re.MULTILINE)
    assert [(status, by) for _, status, by in record][1:3] == [
        ("escalated", "ai:support-agent"),
        ("resolved", "human:7"),
    ]
    assert record[3][1:] == ("open", "the")
    assert [bool(after) for after, *_ in record] == [False, True, True, True]


HOSTILE = "[bold]x[/] [/] [link=http://a]b :boom: \x1b[31mred \x1b]0;title\x07 \x9b2J \u202egnp.exe \r\nend"


def test_text_of_customers_is_shown_as_it_is_and_cannot_steer_the_terminal(
    crm: Run, url: str, engine: Engine
) -> None:
    with Session(engine, expire_on_commit=False) as session, bound_to(session):
        customer = CustomerFactory(name=HOSTILE)
        ticket = TicketFactory(customer=customer, subject=HOSTILE, status=TicketStatus.PROCESSING)
        tickets.change_status(session, ticket.id, TicketStatus.CLOSED, actor="human:7", comment=HOSTILE)
        conversation = ConversationFactory(customer=customer)
        MessageFactory(conversation=conversation, content=HOSTILE)
        session.commit()
    for ran in (
        crm("history", str(customer.id), DATABASE_URL=url),
        crm("ticket", ticket.ticket_number, DATABASE_URL=url),
    ):
        assert ran.code == 0
        assert "[bold]x[/] [/] [link=http://a]b :boom: ␛[31mred" in " ".join(ran.out.split())
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", ran.out)


def test_a_terminal_without_unicode_gets_what_it_can_show(process: Run, url: str) -> None:
    ran = process("history", "+12025550143", DATABASE_URL=url, PYTHONIOENCODING="ascii")

    assert ran.code == 0
    assert ran.out.isascii()
    assert "How many requests per minute" in ran.out


def test_without_arguments_the_commands_are_listed(crm: Run) -> None:
    asked, bare = crm("--help"), crm()

    assert (asked.code, bare.code) == (0, 2)
    for command in ("demo", "ingest", "search", "history", "ticket", "db"):
        assert re.search(rf"^│ {command} ", asked.out, re.MULTILINE)


def test_the_version_is_told(crm: Run) -> None:
    ran = crm("--version")

    assert ran.code == 0
    assert ran.out.startswith("crm")
