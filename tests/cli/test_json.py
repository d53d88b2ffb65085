"""`--json`: one object on stdout, for every command that shows something, as the documentation says."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from app.database import make_engine
from app.models import TicketStatus
from app.testing import (
    ConversationFactory,
    CustomerFactory,
    Databases,
    KnowledgeBaseEntryFactory,
    TicketFactory,
    bound_to,
)

from .commands import all_commands

Run = Callable[..., Any]
ROOT = Path(__file__).resolve().parents[2]
DOCUMENTED = {
    command: set(fields.split("`, `"))
    for command, fields in re.findall(
        r"^\| `crm ([a-z -]+)` \| `(.*)` \|$", (ROOT / "docs" / "command-line.md").read_text(), re.MULTILINE
    )
}
MERGE, HOLD = "MERGE", "HOLD"
NO_OPTION = {"customers export"}  # is a JSON document as it is
ELSEWHERE = {"db restore"}  # with the server's own programs, in tests/migrations/test_backup.py
UNDOES = {"customers merge": ("customers unmerge", MERGE), "customers hold": ("customers release", HOLD)}
CALLS = {
    "channels show": ["channels", "show"],
    "channels show email": ["channels", "show", "email"],
    "channels edit": ["channels", "edit", "email", "--max-length", "450", "--actor", "human:7"],
    "conversation": ["conversation", "TICKET"],
    "conversations": ["conversations"],
    "customers duplicates": ["customers", "duplicates"],
    "customers erase": ["customers", "erase", "gone@example.com", "--reason", "asked to", "--yes"],
    "customers events": ["customers", "events", "ana@example.com"],
    "customers hold": ["customers", "hold", "held@example.com", "--reason", "a lawsuit"],
    "customers merge": [
        "customers",
        "merge",
        "ana@example.com",
        "eva@example.com",
        "--reason",
        "one",
        "--yes",
    ],
    "customers normalize": ["customers", "normalize", "--dry-run"],
    "customers reject": ["customers", "reject", "ana@example.com", "eva@example.com", "--reason", "two"],
    "customers release": ["customers", "release", HOLD, "--reason", "settled"],
    "customers unmerge": ["customers", "unmerge", MERGE, "--reason", "two", "--yes"],
    "db check": ["db", "check"],
    "db current": ["db", "current"],
    "db downgrade": ["db", "downgrade", "head"],
    "db roles": ["db", "roles", "--prefix", "json"],
    "db upgrade": ["db", "upgrade"],
    "db url": ["db", "url"],
    "db wait": ["db", "wait", "--at-head"],
    "demo": ["demo", "--inbox", "FOLDER/mails"],
    "doctor": ["doctor"],
    "history": ["history", "ana@example.com"],
    "import": ["import", "FOLDER/people.csv"],
    "ingest": ["ingest", "FOLDER/mails"],
    "knowledge calibrate": ["knowledge", "calibrate", "FOLDER/ours.txt", "FOLDER/others.txt"],
    "knowledge deactivate": ["knowledge", "deactivate", "old.md"],
    "knowledge embed": ["knowledge", "embed", "--only", "ticket"],
    "knowledge embed --dry-run": ["knowledge", "embed", "--dry-run"],
    "knowledge ingest": ["knowledge", "ingest", "FOLDER/handbook", "--category", "faq"],
    "knowledge language": ["knowledge", "language"],
    "knowledge list": ["knowledge", "list"],
    "knowledge reindex": ["knowledge", "reindex", "--workers", "0"],
    "knowledge status": ["knowledge", "status"],
    "reply": ["reply", "TICKET", "On its way."],
    "report": ["report"],
    "search": ["search", "invoice"],
    "ticket": ["ticket", "TICKET"],
    "tickets": ["tickets"],
    "tickets close": ["tickets", "close"],
    "tickets regressions": ["tickets", "regressions"],
    "tickets reopen": ["tickets", "reopen", "RESOLVED"],
    "tickets verify": ["tickets", "verify"],
    "timeline": ["timeline", "ana@example.com"],
}


@pytest.fixture(scope="module")
def engine(crm_databases: Databases) -> Iterator[Engine]:
    url = crm_databases.clone()
    engine = make_engine(url)
    yield engine
    engine.dispose()
    crm_databases.drop(url)


@pytest.fixture(scope="module")
def places(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What stands for the words in capitals."""
    folder = tmp_path_factory.mktemp("json")
    (folder / "people.csv").write_text("email,name\nlea@example.com,Lea\n")
    (folder / "ours.txt").write_text("How do I reset my password?\n")
    (folder / "others.txt").write_text("How do zeppelins fly?\n")
    (folder / "mails").mkdir()
    (folder / "mails" / "one.eml").write_text(
        "From: lea@example.com\nTo: support@example.com\nMessage-ID: <one@example.com>\n\nHello"
    )
    (folder / "handbook").mkdir()
    (folder / "handbook" / "seats.md").write_text("# Seats\n\nA seat costs 5.\n")
    with Session(engine) as session, bound_to(session):
        for name in ("ana", "eva", "gone", "held"):
            CustomerFactory(email=f"{name}@example.com", with_email=True)
        listed = [TicketFactory(conversation=ConversationFactory(with_messages=True)) for _ in range(5)]
        resolved = TicketFactory(status=TicketStatus.RESOLVED)
        KnowledgeBaseEntryFactory(source="old.md")
        session.commit()
        return {
            "TICKET": listed[0].ticket_number,
            "RESOLVED": resolved.ticket_number,
            "FOLDER": str(folder),
        }


@pytest.fixture
def run(crm: Run, engine: Engine, places: dict[str, str]) -> Run:
    url = engine.url.render_as_string(hide_password=False)

    def call(*arguments: str) -> Any:
        words = [
            re.sub("TICKET|RESOLVED|FOLDER|MERGE|HOLD", lambda word: places[word[0]], word)
            for word in arguments
        ]
        return crm(*words, DATABASE_URL=url)

    return call


def test_every_command_has_json_is_documented_and_called_here() -> None:
    commands = all_commands()
    with_json = {
        name
        for name, command in commands.items()
        if any("--json" in parameter.opts for parameter in command.params)
    }

    assert commands.keys() - with_json == NO_OPTION
    assert {re.sub(" (email|--dry-run)$", "", name) for name in DOCUMENTED} == with_json
    assert CALLS.keys() | ELSEWHERE == DOCUMENTED.keys()


def marked(command: str) -> Any:
    """A build's settings are a session's."""
    own = [pytest.mark.own_connection("a build's settings are a session's")]
    return pytest.param(command, marks=own if command == "knowledge reindex" else [])


@pytest.mark.parametrize("command", [marked(name) for name in CALLS if name not in dict(UNDOES.values())])
def test_what_a_command_shows_is_the_documented_object(
    run: Run, places: dict[str, str], command: str
) -> None:
    ran = run(*CALLS[command], "--json")

    shown = json.loads(ran.out)
    assert ran.code in (0, 3), ran.err
    assert shown.keys() == DOCUMENTED[command]
    if command in UNDOES:
        undoing, place = UNDOES[command]
        places[place] = shown[f"{place.lower()}_id"]
        undone = json.loads(run(*CALLS[undoing], "--json").out)
        assert undone.keys() == DOCUMENTED[undoing]


def test_what_would_be_done_is_one_object_too(run: Run) -> None:
    merge = run("customers", "merge", "ana@example.com", "eva@example.com", "--dry-run", "--json")
    erase = run("customers", "erase", "eva@example.com", "--dry-run", "--json")

    assert (json.loads(merge.out)["merge_id"], merge.code) == (None, 0)
    assert (json.loads(erase.out)["report"], erase.code) == (None, 0)


def test_a_question_is_no_part_of_the_object(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    import io
    import sys

    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    ran = run("customers", "merge", "ana@example.com", "eva@example.com", "--reason", "one", "--json")

    merge_id = json.loads(ran.out)["merge_id"]
    assert "Make" in ran.err
    assert run("customers", "unmerge", merge_id, "--reason", "two", "--yes").code == 0


def test_differences_are_one_object_and_exit_code_1(crm: Run, crm_clone: Engine) -> None:
    from sqlalchemy import text

    with crm_clone.begin() as connection:
        connection.execute(text("DROP INDEX idx_tickets_status_created"))
    ran = crm("db", "check", "--json", DATABASE_URL=crm_clone.url.render_as_string(hide_password=False))

    assert ran.code == 1
    assert any("idx_tickets_status_created" in line for line in json.loads(ran.out)["differences"])


def test_pages_follow_each_other_by_their_token(run: Run) -> None:
    whole = json.loads(run("tickets", "--json").out)["items"]
    seen: list[str] = []
    options: list[str] = []
    while True:
        page = json.loads(run("tickets", "--limit", "2", *options, "--json").out)
        seen += [ticket["id"] for ticket in page["items"]]
        if page["next"] is None:
            break
        options = ["--before", page["next"]]

    assert len(seen) >= 6
    assert seen == [ticket["id"] for ticket in whole]


def test_a_token_of_nothing_is_one_line(run: Run) -> None:
    ran = run("tickets", "--before", "no-token")

    assert (ran.code, ran.out) == (1, "")
    assert "before" in ran.problem
