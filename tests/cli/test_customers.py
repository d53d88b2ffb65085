"""``crm customers``: a person sees who is who before anything is changed."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
import typer
from sqlalchemy import Engine, select, text
from sqlalchemy.orm import Session

from app.models import Channel, Customer, CustomerIdentifier, CustomerMerge
from app.schemas import Identifier
from app.services import duplicates, identity, merging
from app.services.identity import backfill
from app.testing import ConversationFactory, CustomerFactory, CustomerIdentifierFactory, bound_to

Run = Callable[..., Any]
HOSTILE = "[bold]x[/] [/] \x1b[31mred \x1b]0;title\x07 \u202egnp.exe\r\nend"
WHY = ["--reason", "the same voice"]


@pytest.fixture
def customers(crm: Run, crm_clone: Engine) -> Run:
    """``crm customers ...`` on a database of this test alone."""
    url = crm_clone.url.render_as_string(hide_password=False)

    def run(*arguments: str, **variables: str) -> Any:
        return crm("customers", *arguments, DATABASE_URL=url, **variables)

    return run


@pytest.fixture
def stored(crm_clone: Engine) -> Any:
    """A session to build in; ``commit()`` before a command is run."""
    with Session(crm_clone, expire_on_commit=False) as session, bound_to(session):
        yield session


@pytest.fixture
def pair(stored: Session) -> tuple[UUID, UUID]:
    """Ana on mail and on WhatsApp."""
    by_mail = CustomerFactory(
        with_email=True, email="ana@example.com", name="Ana Silva", phone="+49 15112345678"
    )
    by_number = CustomerFactory(
        with_whatsapp=True, phone="+4915112345678", name="ana silva 🌸", email="1@placeholder.invalid"
    )
    for customer in (by_mail, by_number):
        ConversationFactory(customer=customer, with_messages=True)
    stored.commit()
    return by_mail.id, by_number.id


def answer(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))


def everything(engine: Engine) -> list[object]:
    with engine.connect() as connection:
        return [
            connection.execute(text(f"SELECT to_jsonb({table}) FROM {table} ORDER BY id")).scalars().all()
            for table in ("customers", "customer_identifiers", "conversations", "identity_events")
        ]


def merged(engine: Engine) -> list[tuple[UUID, UUID]]:
    with Session(engine) as session:
        rows = session.execute(
            select(CustomerMerge.survivor_id, CustomerMerge.absorbed_id).where(
                CustomerMerge.undone_at.is_(None)
            )
        )
        return [tuple(row) for row in rows]


def test_duplicates_shows_both_people_and_evidence_that_adds_up(customers, pair):
    ran = customers("duplicates")
    assert ran.code == 0
    for shown in (*map(str, pair), "Ana Silva", "ana silva 🌸", "✓ ana@example.com", "✓ +4915112345678"):
        assert shown in ran.out
    *weights, whole = (float(bits) for bits in re.findall(r"^ +([+-]\d+\.\d\d) ", ran.out, re.MULTILINE))
    assert len(weights) >= 3
    assert sum(weights) == whole >= duplicates.DEFAULT_MIN_SCORE
    assert f"in all: {2**whole:,.0f} to 1 that they are one person" in ran.out
    assert max(map(len, ran.out.splitlines())) <= 80


def test_duplicates_can_be_asked_for_one_customer_a_score_and_a_number(customers, pair, stored):
    other = CustomerFactory(name="Bruno Costa", email="bruno@example.net")
    stored.commit()
    assert "ana silva" in customers("duplicates", "--customer", "+49 151 12345678").out
    assert customers("duplicates", "--customer", str(other.id)).out == "no duplicates\n"
    assert customers("duplicates", "--min-score", "90").out == "no duplicates\n"
    assert customers("duplicates", "--limit", "1").out.count(" in all: ") == 1


def test_a_dry_run_shows_the_plan_and_changes_nothing(customers, pair, crm_clone):
    before = everything(crm_clone)
    ran = customers("merge", "+4915112345678", "ana@example.com", "--dry-run")
    assert ran.code == 0
    for shown in (
        *map(str, pair),
        "conversations 1",
        "messages 2",
        "fills",
        "email ana@example.com",
        "keeps",
    ):
        assert shown in ran.out
    assert everything(crm_clone) == before


def run_sql(engine: Engine, *statements: str) -> None:
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement.replace("%", "%%"))


def test_rows_of_other_applications_are_shown_and_move(customers, pair, crm_clone):
    run_sql(
        crm_clone,
        "CREATE SCHEMA billing",
        "CREATE TABLE billing.order_lines (n serial PRIMARY KEY, "
        "buyer uuid REFERENCES customers ON DELETE CASCADE)",
        f"INSERT INTO billing.order_lines (buyer) SELECT '{pair[1]}' FROM generate_series(1, 3)",
    )
    assert "billing.order_lines 3" in customers("merge", *map(str, pair), "--dry-run").out
    ran = customers("merge", *map(str, pair), *WHY, "--yes")
    (merge_id,) = re.findall(r"crm customers unmerge (\S+) --reason", ran.out)
    undone = customers("unmerge", merge_id, "--reason", "two voices", "--yes")
    assert re.search(r"went back .*billing\.order_lines\s+3", undone.out, re.DOTALL)


def test_rows_that_cannot_move_are_shown_and_nobody_is_asked(customers, pair, crm_clone, monkeypatch):
    table = "\x1b[31m [bold]100%: rows"
    run_sql(
        crm_clone,
        f'CREATE TABLE "{table}" (buyer uuid REFERENCES customers)',
        f"INSERT INTO \"{table}\" VALUES ('{pair[1]}')",
    )
    before = everything(crm_clone)
    planned = customers("merge", *map(str, pair), "--dry-run")
    assert planned.code == 0
    assert "cannot move" in planned.out
    answer(monkeypatch, "y\n")
    ran = customers("merge", *map(str, pair), *WHY)
    assert (ran.code, everything(crm_clone)) == (1, before)
    assert "Make " not in ran.out
    assert '[bold]100%: rows": it has no primary key); nothing was done' in ran.problem
    assert "\x1b" not in planned.out + ran.out + ran.err


@pytest.mark.parametrize("said", ["n\n", "\n", ""])
def test_without_a_yes_nothing_is_merged(customers, pair, crm_clone, monkeypatch, said):
    before = everything(crm_clone)
    answer(monkeypatch, said)
    ran = customers("merge", *map(str, pair), *WHY)
    assert ran.code == 1
    assert "Ana Silva (ana@example.com)" in ran.out
    assert "ana silva 🌸 (+4915112345678)" in ran.out
    assert everything(crm_clone) == before


@pytest.mark.parametrize("asked", [False, True])
def test_merge_and_unmerge(customers, pair, crm_clone, monkeypatch, asked):
    before = everything(crm_clone)[:3]
    answer(monkeypatch, "y\n" if asked else "")
    ran = customers("merge", *map(str, pair), *WHY, *([] if asked else ["--yes"]))
    assert (ran.code, merged(crm_clone)) == (0, [pair])
    (merge_id,) = re.findall(r"crm customers unmerge (\S+) --reason", ran.out)

    answer(monkeypatch, "y\n")
    undone = customers("unmerge", merge_id, "--reason", "two voices", *([] if asked else ["--yes"]))
    assert undone.code == 0
    assert ("Restore ana silva 🌸 (+4915112345678)" in undone.out) is asked
    for shown in (str(pair[1]), "went back", "conversations 1"):
        assert shown in undone.out
    assert merged(crm_clone) == []
    assert everything(crm_clone)[:3] == before


def test_what_changed_after_the_plan_was_shown_is_not_merged(customers, pair, crm_clone, monkeypatch):
    def change_first(*_: object, **__: object) -> bool:
        with crm_clone.begin() as connection:
            connection.execute(text("UPDATE customers SET company = 'Acme'"))
        return True

    monkeypatch.setattr(typer, "confirm", change_first)
    ran = customers("merge", *map(str, pair), *WHY)
    assert (ran.code, merged(crm_clone)) == (1, [])
    assert ran.problem == "crm: the customers have changed since the merge was planned; plan it again"


def test_open_conversations_of_both_are_pointed_out(customers, stored):
    people = [CustomerFactory(name=name) for name in ("Ana", "Ana")]
    for person in people:
        ConversationFactory(customer=person, channel=Channel.WHATSAPP)
    stored.commit()
    ran = customers("merge", *(str(person.id) for person in people), "--dry-run")
    assert "on whatsapp: both conversations stay open" in ran.out


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["merge", "ana@example.com", "ana@example.com", *WHY], "a customer cannot be merged into itself"),
        (
            ["merge", "ana@example.com", "ben@example.com", *WHY],
            "there is no customer with this address or number",
        ),
        (
            ["merge", "ana@example.com", "1", *WHY, "--yes"],
            "there is no customer with this address or number",
        ),
        (
            ["merge", "ana@example.com", "+4915112345678", *WHY, "--yes", "--actor", "me"],
            "actor: must read like",
        ),
        (["reject", "ana@example.com", "Ana@example.com", *WHY], "b_id: is the same customer as a_id"),
        (["events", "ben@example.com"], "there is no customer with this address or number"),
        (["duplicates", "--customer", str(UUID(int=1))], f"there is no customer {UUID(int=1)}"),
        (["duplicates", "--min-score", "nan"], "min_score: must be a finite number of bits"),
        (["unmerge", str(UUID(int=1)), *WHY], f"there is no merge {UUID(int=1)}"),
    ],
)
def test_what_cannot_be_done_is_one_line(customers, pair, crm_clone, arguments, problem):
    before = everything(crm_clone)
    ran = customers(*arguments)
    assert ran.code == 1
    assert ran.problem.startswith(f"crm: {problem}")
    assert everything(crm_clone) == before


@pytest.mark.parametrize(
    "arguments",
    [
        ["merge", "ana@example.com", "+4915112345678", "--yes"],
        ["merge", "ana@example.com"],
        ["unmerge", "the-last-one", *WHY],
        ["unmerge", str(UUID(int=1))],
        ["reject", "ana@example.com", "+4915112345678"],
    ],
)
def test_wrong_usage_ends_with_2(crm, arguments):
    assert crm("customers", *arguments, DATABASE_URL="postgresql://ada@127.0.0.1:1/crm").code == 2


def test_a_rejected_pair_is_not_shown_again(customers, pair):
    ran = customers("reject", *map(str, reversed(pair)), *WHY)
    assert ran.code == 0
    assert "ana silva 🌸 (+4915112345678) and Ana Silva (ana@example.com) are two people" in ran.out
    assert customers("duplicates", "--min-score", "-90").out == "no duplicates\n"


def test_events_tell_who_decided_what_and_why(customers, stored):
    proof = Identifier(type="email", value="ana@example.com", verified=True)
    ana_id = identity.resolve(stored, [proof], channel=Channel.EMAIL).customer_id
    other_id = CustomerFactory(name="Ana").id
    merge = merging.merge(stored, ana_id, other_id, actor="human:7", reason="the same voice")
    merge_id = merge.id
    stored.commit()
    by_address, by_absorbed_id = customers("events", "ana@example.com"), customers("events", str(other_id))
    assert by_address.code == 0
    assert by_address.out == by_absorbed_id.out
    assert [line.split()[2:] for line in by_address.out.splitlines() if line.startswith("20")] == [
        ["created", "system:identity"],
        ["attached", "system:identity"],
        ["merged", "human:7"],
    ]
    for shown in ("ana@example.com", str(merge_id), str(other_id), "the same voice"):
        assert shown in by_address.out
    assert "only the latest 1 of 3 events" in customers("events", str(ana_id), "--limit", "1").out


def test_a_customer_without_events(customers, stored):
    CustomerFactory(email="eva@example.com")
    stored.commit()
    assert customers("events", "eva@example.com").out.endswith("no events\n")


def test_normalize_shows_first_and_then_rewrites(customers, stored, crm_clone, monkeypatch):
    monkeypatch.setattr(backfill, "MOST_PER_CALL", 2)
    ana, ben = CustomerFactory(phone="0151 12345678"), CustomerFactory(phone="call me")
    for customer, value in (
        (ana, "Ana@Example.com"),
        (ana, "ANA@example.com"),
        (ana, "Info@example.com"),
        (ben, "info@example.com"),
        (ben, "Ben@Example.com"),
    ):
        CustomerIdentifierFactory(customer=customer, identifier_value=value)
    stored.commit()
    before = everything(crm_clone)
    planned = customers("normalize", "--dry-run", CRM_DEFAULT_REGION="DE")
    assert everything(crm_clone) == before
    done = customers("normalize", CRM_DEFAULT_REGION="DE")

    assert (planned.code, done.code) == (0, 0)
    assert re.findall(r"^\d+ .*", planned.out, re.MULTILINE) == [
        "3 to be rewritten",
        "1 to be joined with the customer's other spelling",
        "1 left: other customers have it too",
        "1 left: cannot be read",
        "9 addresses checked",
    ]
    assert "3 rewritten\n" in done.out
    for ran in (planned, done):
        words = " ".join(ran.out.split())
        assert "0151 12345678 → +4915112345678" in words
        assert "call me (phone: may hold digits" in words
        assert str(ben.id) in words
    with Session(crm_clone) as session:
        values = sorted(session.scalars(select(CustomerIdentifier.identifier_value)))
        assert values == ["Info@example.com", "ana@example.com", "ben@example.com", "info@example.com"]
        assert session.get_one(Customer, ana.id).phone == "+4915112345678"


def test_peoples_text_is_shown_as_it_is_and_cannot_steer_the_terminal(customers, stored, monkeypatch):
    people = [CustomerFactory(name=HOSTILE, company=HOSTILE, phone="+4915112345678") for _ in range(2)]
    CustomerIdentifierFactory(customer=people[0], identifier_value=f"{HOSTILE}@example.com")
    stored.commit()
    ids = [str(person.id) for person in people]
    answer(monkeypatch, "n\n")
    runs = [
        customers("duplicates"),
        customers("merge", *ids, *WHY),
        customers("normalize", "--dry-run"),
        customers("merge", *ids, "--reason", HOSTILE, "--yes"),
        customers("events", ids[0]),
    ]
    for ran in runs:
        assert "[bold]x[/] [/]" in " ".join(ran.out.split())
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", ran.out)


def test_without_rapidfuzz_one_line_says_what_to_install(customers, pair, monkeypatch):
    monkeypatch.setitem(sys.modules, "rapidfuzz", None)
    monkeypatch.delitem(sys.modules, "app.services.duplicates.comparing", raising=False)
    ran = customers("duplicates")
    assert ran.code == 1
    assert ran.problem == (
        "crm: finding duplicates needs rapidfuzz: pip install 'crm-digital-fte[duplicates]'"
    )


def test_the_question_about_somebody_without_name_and_address_has_the_id(customers, stored, monkeypatch):
    people = [CustomerFactory(name=None, email=f"{uuid4()}@placeholder.invalid") for _ in range(2)]
    stored.commit()
    answer(monkeypatch, "n\n")
    ran = customers("merge", *(str(person.id) for person in people), *WHY)
    for person in people:
        assert f"(no name) (customer {person.id})" in ran.out
