"""Codes as callers may write them: the plain values are those of the enums, and type checkers take both."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path
from typing import get_args

import pytest

from app import schemas

ALIASES = {name: alias for name, alias in vars(schemas).items() if name.endswith("Code")}
ROOT = Path(__file__).resolve().parents[2]
USE = """
from uuid import UUID
from sqlalchemy.orm import Session
from app.models import Channel, Customer, Ticket, TicketStatus
from app.schemas import (
    CustomerRow, DeliveryReport, Identifier, InboundEvent, InboundMessage, Measurement, OutboundMessage, Page,
    TicketSummary,
)
from app.services import conversations, customers, identity, metrics, outbox, search, tickets
from app.testing import CustomerFactory, TicketFactory


def use(session: Session, id: UUID) -> None:
    ticket: Ticket = TicketFactory(status="open")
    built: Ticket = TicketFactory.build()
    many: list[Customer] = CustomerFactory.create_batch(3)
    moved: Ticket = tickets.change_status(session, id, "processing", actor="human:7", expected_status="open")
    tickets.change_status(session, id, TicketStatus.OPEN, actor="human:7")
    tickets.open_ticket(
        session, customer_id=id, subject="x", category="billing", source_channel="email", actor="human:7"
    )
    page: Page[TicketSummary] = tickets.list_tickets(session, status="open", channel=["email", "whatsapp"])
    search.search_knowledge(session, "x", mode="text", category="faq")
    search.search_tickets(session, "x", mode="hybrid", vector=[1.0], status=["open", TicketStatus.CLOSED])
    conversations.list_conversations(session, awaiting="us", status="active", channel="email")
    conversations.change_status(session, id, "closed", actor="human:7", resolution_type="resolved")
    address = Identifier(type="email", value="a@b.example")
    identity.resolve(session, [address], channel="email", policy="lenient")
    metrics.record(session, "response_latency", 3.0, channel="email")
    customers.update_customer(session, id, actor="human:7", plan="free")
    outbox.claim(session, channel="email")
    tickets.change_status(session, id, "nonsense", actor="human:7")


def build(person: Identifier) -> None:
    mail = InboundMessage(
        channel="email", account="a", provider_message_id="1", sender=(person,), content="x",
        content_type="html", event="reaction",
    )
    InboundMessage(
        channel=Channel.EMAIL, account="a", provider_message_id="1", sender=(person,), content="x",
        event=InboundEvent.EDIT,
    )
    channel: Channel = mail.channel
    event: InboundEvent | None = mail.event
    OutboundMessage(content="x", role="agent", content_type="text")
    report = DeliveryReport(channel="whatsapp", account="a", status="failed")
    name: str = report.status.value
    CustomerRow(channel="web_form", identifiers=(person,))
    Measurement(metric_type="escalation", value=1, channel="email")
    OutboundMessage(content="x", role="nonsense")
    Identifier(type="nonsense", value="x")
"""


@pytest.mark.parametrize("name", ALIASES)
def test_the_plain_values_are_those_of_the_enum(name):
    enum, literal = get_args(ALIASES[name])
    assert name == f"{enum.__name__}Code"
    assert get_args(literal) == tuple(enum)


@pytest.mark.soak
def test_mypy_takes_members_and_plain_values_and_refuses_nonsense(tmp_path):
    (tmp_path / "use.py").write_text(textwrap.dedent(USE))
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file", "", tmp_path / "use.py"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    errors = [line for line in checked.stdout.splitlines() if "use.py" in line]
    assert len(errors) == 3, checked.stdout
    assert all('"nonsense"' in error.replace("'", '"') for error in errors)
