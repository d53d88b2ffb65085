"""Functions for backends that write their own SQL."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from app.errors import InvalidValue
from app.normalization import normalize_identifier
from app.services import tickets
from app.testing import ConversationFactory, CustomerFactory, CustomerIdentifierFactory, TicketFactory
from tests.services.privacy.planting import client_program

PAGE = Path(__file__).resolve().parents[2] / "docs" / "sql.md"
CANONICAL = text("SELECT canonical_identifier(:type, :value)")
FIND = text("SELECT id FROM find_customer(:type, :value)")

READ = [
    ("email", " Wanda@Example.COM\n"),
    ("email", "o'neil+news@mail.example.co.uk"),
    ("email", "ana@xn--mnchen-3ya.de"),
    ("phone", "+49 (0)30 901820"),
    ("phone", "+1 (202) 555-0123"),
    ("phone", "0049 151 12345678"),
    ("phone", "+39 06 12345678"),
    ("phone", "+55 31 8888 8888"),
    ("phone", "+52 1 55 1234 5678"),
    ("phone", "+54 9 11 1234 5678"),
    ("phone", "+225 07 01 02 03"),
    ("phone", "+229 97 12 34 56"),
    ("phone", "+20 10 1234 5678"),
    ("whatsapp", "whatsapp:+4915112345678"),
    ("whatsapp", "5531988888888"),
    ("whatsapp", "553188888888"),
    ("whatsapp", "22501020304"),
    ("whatsapp", "US.13491208655302741918"),
]
UNREAD = [
    ("email", "zoë@example.com"),
    ("email", "ana@münchen.de"),
    ("email", '"a b"@example.com'),
    ("email", "no address"),
    ("email", ""),
    ("phone", "030 901820"),
    ("phone", "+49 030 901820"),
    ("phone", "+49 30 901820 ext. 8"),
    ("phone", "+٤٩٣٠٩٠١٨٢٠"),
    ("phone", "+1"),
    ("whatsapp", "+4915112345678901234"),
    ("fax", "+4930901820"),
]


def python_form(type_: str, value: str) -> str | None:
    try:
        return normalize_identifier(type_, value)
    except InvalidValue:
        return None


@pytest.mark.parametrize(("type_", "value"), READ)
def test_sql_and_python_agree(session: Session, type_, value):
    canonical = session.scalar(CANONICAL, {"type": type_, "value": value})

    assert canonical in (None, python_form(type_, value))
    assert canonical is not None or value == "+49 (0)30 901820"


@pytest.mark.parametrize(("type_", "value"), UNREAD)
def test_what_sql_cannot_read_it_does_not_guess(session: Session, type_, value):
    assert session.scalar(CANONICAL, {"type": type_, "value": value}) is None


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        ("email", "WANDA@example.com"),
        ("phone", "+49 151 1234-5678"),
        ("whatsapp", "whatsapp:+4915112345678"),
        ("email", "profile@example.com"),
        ("phone", "00 49 30 901820"),
        ("email", "zoë@example.com"),
    ],
)
def test_a_customer_is_known_by_rows_and_by_profile(session: Session, type_, value):
    customer = CustomerFactory(email="Profile@Example.com", phone="+49 30 90 18 20")
    for stored, address in (
        ("email", "wanda@example.com"),
        ("whatsapp", "+4915112345678"),
        ("email", "zoë@example.com"),
    ):
        CustomerIdentifierFactory(customer=customer, identifier_type=stored, identifier_value=address)

    assert session.scalars(FIND, {"type": type_, "value": value}).all() == [customer.id]


def test_nobody_is_no_row_and_a_proof_counts_before_a_claim(session: Session):
    claimed, proven = CustomerFactory(), CustomerFactory()
    CustomerIdentifierFactory(
        customer=claimed, identifier_type="phone", identifier_value="+4915112345678", verified=False
    )
    CustomerIdentifierFactory(
        customer=proven, identifier_type="whatsapp", identifier_value="+4915112345678", verified=True
    )

    assert session.scalars(FIND, {"type": "phone", "value": "+4915112345678"}).all() == [proven.id]
    assert session.scalars(FIND, {"type": "email", "value": "nobody@example.com"}).all() == []


def change(session: Session, ticket, status: str, **values):
    names = "".join(f", {name} => :{name}" for name in values)
    call = text(f"SELECT status FROM change_ticket_status(:ticket, :status{names})")
    return session.execute(call, {"ticket": ticket.id, "status": status} | values).scalar_one()


def test_a_status_is_changed_with_actor_and_comment(session: Session):
    ticket = TicketFactory()

    assert change(session, ticket, "processing", actor="human:7", comment="mine") == "processing"
    assert change(session, ticket, "processing", comment="still") == "processing"
    assert change(session, ticket, "resolved", resolution_notes="done") == "resolved"

    entries = tickets.status_history(session, ticket.id)[1:]
    user = session.scalar(text("SELECT 'db:' || session_user"))
    assert [(entry.new_status, entry.changed_by, entry.comment) for entry in entries] == [
        ("processing", "human:7", "mine"),
        ("processing", user, "still"),
        ("resolved", user, None),
    ]
    assert tickets.verify_history(session, ticket.id) == []


def test_a_remark_is_of_its_statement_alone(session: Session):
    ticket = TicketFactory()
    change(session, ticket, "open", comment="called")
    session.execute(text("UPDATE tickets SET priority = 'high' WHERE id = :id"), {"id": ticket.id})
    assert [entry.comment for entry in tickets.status_history(session, ticket.id)] == [None, "called"]


def test_a_conversation_is_escalated_and_taken_back_with_its_ticket(session: Session):
    ticket = TicketFactory(conversation=ConversationFactory())
    conversation = text("SELECT status, escalation_reason FROM conversations WHERE id = :id")

    change(session, ticket, "escalated", escalation_reason="angry")
    assert session.execute(conversation, {"id": ticket.conversation_id}).one() == ("escalated", "angry")

    change(session, ticket, "processing")
    assert session.execute(conversation, {"id": ticket.conversation_id}).one().status == "active"


@pytest.mark.parametrize(
    ("status", "problem"), [("escalated", "needs a reason"), ("nonsense", "cannot go"), ("closed", None)]
)
def test_what_the_service_refuses_is_refused(session: Session, status, problem):
    ticket = TicketFactory()
    if problem is None:
        assert change(session, ticket, status) == status
        return
    for values in ({}, {"escalation_reason": " \n"}):
        with pytest.raises(DBAPIError, match=problem), session.begin_nested():
            change(session, ticket, status, **values)


def test_the_sql_of_the_page_runs_in_psql(crm_clone):
    url = crm_clone.url.set(drivername="postgresql").render_as_string(hide_password=False)
    (script,) = re.findall(r"^```sql\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)

    done = subprocess.run(
        [client_program("psql"), "--no-psqlrc", "--set=ON_ERROR_STOP=1", "--dbname", url],
        input=script,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "TKT-0001" in done.stdout
    assert re.search(r"attached +\| human:7", done.stdout)
