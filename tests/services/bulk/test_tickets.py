"""Tickets of another system keep their numbers, their times and the figures of their life there."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, text

from app.database import make_session_factory, transaction
from app.models import Channel, Customer, Ticket, TicketCategory, TicketStatus
from app.schemas import Identifier
from app.services import bulk, identity, tickets

OPENED = datetime(2020, 1, 1, 9, tzinfo=UTC)
RESOLVED, CLOSED = OPENED + timedelta(hours=5), OPENED + timedelta(days=3)


def row(number="ZD-1", **fields):
    default = {
        "ticket_number": number, "email": "ana@example.com", "subject": "Cannot sign in",
        "category": "technical", "created_at": OPENED.isoformat(),
    }  # fmt: skip
    return default | fields


@pytest.fixture
def session(crm_clone):
    with make_session_factory(crm_clone)() as session:
        yield session


STORED = {
    "open": ({"status": "open"}, [("open", OPENED)], None),
    "waiting": ({"status": "waiting"}, [("waiting", OPENED)], None),
    "resolved": (
        {"status": "resolved", "resolved_at": RESOLVED.isoformat()},
        [("open", OPENED), ("resolved", RESOLVED)],
        timedelta(hours=5),
    ),
    "closed": (
        {"status": "closed", "resolved_at": RESOLVED.isoformat(), "closed_at": CLOSED.isoformat()},
        [("open", OPENED), ("resolved", RESOLVED), ("closed", CLOSED)],
        timedelta(hours=5),
    ),
    "closed without a word": (
        {"status": "closed", "closed_at": CLOSED.isoformat()},
        [("open", OPENED), ("closed", CLOSED)],
        timedelta(days=3),
    ),
}


@pytest.mark.parametrize(("fields", "history", "resolution"), STORED.values(), ids=STORED)
def test_the_record_has_the_times_of_the_row_and_says_that_it_is_imported(
    crm_clone, session, fields, history, resolution
):
    assert bulk.import_tickets(crm_clone, [row(**fields)], actor="human:7").new == 1
    ticket = tickets.get_ticket(session, "ZD-1")
    record = tickets.status_history(session, ticket.id)
    life = tickets.lifecycle(session, ticket.id)

    assert [(entry.new_status, entry.changed_at) for entry in record] == history
    assert {(entry.changed_by, entry.comment, entry.forced) for entry in record} == {
        ("human:7", "imported", False)
    }
    assert (life.opened_at, life.full_resolution) == (OPENED, resolution)
    assert tickets.verify_history(session) == []
    assert ticket.status == fields["status"]
    assert session.get_one(Customer, ticket.customer_id).email == "ana@example.com"


RAW = text("""
    INSERT INTO tickets (customer_id, subject, category, source_channel, status, created_at, resolved_at)
    SELECT id, 'Old', 'technical', 'email', :status, :created_at, :resolved_at FROM customers RETURNING id
""")


def test_so_it_is_for_plain_sql(crm_clone, session):
    bulk.import_customers(crm_clone, [{"email": "ana@example.com"}])
    times = {"created_at": OPENED, "resolved_at": RESOLVED}
    stored = session.scalar(RAW, {"status": "resolved", **times})
    life = tickets.lifecycle(session, stored)

    assert (life.first_resolution, life.full_resolution) == (timedelta(hours=5), timedelta(hours=5))
    assert life.time_in[TicketStatus.OPEN] == timedelta(hours=5)


def test_an_imported_ticket_s_resolution_may_be_told_afterwards(crm_clone, session):
    bulk.import_tickets(crm_clone, [row()])
    ticket = tickets.get_ticket(session, "ZD-1")
    resolve = text("UPDATE tickets SET status = 'resolved', resolved_at = :at WHERE id = :id")
    session.execute(resolve, {"at": RESOLVED, "id": ticket.id})

    assert tickets.lifecycle(session, ticket.id).full_resolution == timedelta(hours=5)


def test_nobody_dates_back_what_happened_here(crm_clone, session):
    customer = identity.resolve(session, [Identifier(type="email", value="a@x.example")], channel="email")
    ticket = opened(session, customer.customer_id)
    earlier = text("UPDATE tickets SET status = 'resolved', resolved_at = :at WHERE id = :id")
    before = datetime.now(UTC)
    session.execute(earlier, {"at": RESOLVED, "id": ticket.id})
    last = tickets.status_history(session, ticket.id)[-1]

    assert last.changed_at >= before
    assert last.comment is None


def test_a_number_is_stored_once_and_no_new_ticket_gets_it(crm_clone, session):
    rows = [row("TKT-0001"), row("TKT-0003"), row("TKT-0001", subject="Again"), row("ZD-4711")]
    first = bulk.import_tickets(crm_clone, rows, batch_size=2)
    second = bulk.import_tickets(crm_clone, rows)
    customer_id = session.scalar(select(Customer.id))
    numbers = [opened(session, customer_id).ticket_number for _ in range(3)]

    assert (first.new, first.already_there, second.new) == (3, 1, 0)
    assert numbers == ["TKT-0002", "TKT-0004", "TKT-0005"]
    assert tickets.get_ticket(session, "1").subject == "Cannot sign in"
    assert tickets.get_ticket(session, "ZD-4711").ticket_number == "ZD-4711"


def opened(session, customer_id):
    return tickets.open_ticket(
        session,
        customer_id=customer_id,
        subject="New",
        category=TicketCategory.TECHNICAL,
        source_channel=Channel.EMAIL,
        actor="human:7",
    )


def test_numbers_do_not_collide_with_tickets_that_are_opened_meanwhile(crm_clone, session):
    bulk.import_customers(crm_clone, [{"email": "ana@example.com"}])
    customer_id = session.scalar(select(Customer.id))
    session.rollback()
    sessions = make_session_factory(crm_clone)
    rows = [row(f"TKT-{number:04}") for number in range(1, 61, 2)]
    with ThreadPoolExecutor(4) as pool:
        imported = pool.submit(bulk.import_tickets, crm_clone, rows, batch_size=5)
        opening = [pool.submit(transaction, sessions, opened, customer_id) for _ in range(40)]
        for future in opening:
            future.result(60)
        report = imported.result(60)

    # A number that was given here first stays here.
    assert report.new + report.already_there == 30
    assert session.query(Ticket).count() == 40 + report.new


def test_rows_that_cannot_be_are_rejected_with_the_reason(crm_clone):
    rows = [
        row("A", category="weather"),
        row("B", status="resolved"),
        row("C", status="open", resolved_at=RESOLVED.isoformat()),
        row("D", created_at="2999-01-01T00:00:00Z"),
        row("E", created_at="2020-01-01T00:00:00"),
        row("F" * 21),
        row("G", email="ana at example.com"),
        row("H"),
    ]
    report = bulk.import_tickets(crm_clone, rows)

    assert [reject.row for reject in report.rejects] == [1, 2, 3, 4, 5, 6, 7]
    assert report.new == 1
    assert [reject.reason.partition(":")[0] for reject in report.rejects] == [
        "category", "resolved_at", "status", "created_at", "created_at", "ticket_number", "email",
    ]  # fmt: skip
