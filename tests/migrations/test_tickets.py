"""Ticket numbers, and tickets that exist when their record begins."""

from __future__ import annotations

import pytest
from sqlalchemy.exc import IntegrityError

from app import migrations

CUSTOMER = "INSERT INTO customers (email) VALUES ('ada@example.com')"
OPEN = """
    INSERT INTO tickets (customer_id, subject, category, source_channel)
    SELECT id, 'Help', 'billing', 'email' FROM customers RETURNING ticket_number
"""


def open_tickets(server, url, first, last):
    server.ask(url, "SELECT setval('ticket_number_seq', :first, false)", first=first)
    return [server.one(url, OPEN) for _ in range(first, last + 1)]


@pytest.mark.parametrize(("first", "last"), [(1, 3), (998, 1001), (9_999, 10_005), (99_999, 100_003)])
def test_numbers_are_given_in_full(server, first, last):
    url = server.at("head")
    server.ask(url, CUSTOMER)
    assert open_tickets(server, url, first, last) == [f"TKT-{n:04}" for n in range(first, last + 1)]


def test_the_ddl_s_numbers_collide_beyond_9999(server):
    url = server.at("0003")
    server.ask(url, CUSTOMER)
    open_tickets(server, url, 10_000, 10_000)
    with pytest.raises(IntegrityError, match="tickets_ticket_number_key"):
        open_tickets(server, url, 10_001, 10_001)


def test_numbers_given_already_stay_when_numbering_changes(server):
    url = server.at("0003")
    server.ask(url, CUSTOMER)
    given = open_tickets(server, url, 9_998, 10_000)
    migrations.upgrade(url, "0004")
    given += open_tickets(server, url, 10_001, 10_002)
    assert [
        number for (number,) in server.ask(url, "SELECT ticket_number FROM tickets ORDER BY created_at")
    ] == given
    assert given[-1] == "TKT-10002"


def test_a_number_that_the_client_chose_is_kept(server):
    url = server.at("head")
    server.ask(url, CUSTOMER)
    server.ask(
        url,
        """
        INSERT INTO tickets (ticket_number, customer_id, subject, category, source_channel)
        SELECT 'OLD-7', id, 'Help', 'billing', 'email' FROM customers
        """,
    )
    assert server.one(url, "SELECT ticket_number FROM tickets") == "OLD-7"


def test_a_ticket_that_exists_already_gets_one_first_entry(server):
    url = server.at("0005")
    server.execute(
        url,
        """
        INSERT INTO customers (email) VALUES ('ada@example.com');
        INSERT INTO tickets (customer_id, subject, category, source_channel, status, created_at)
        SELECT id, 'Help', 'billing', 'email', status, now() + n * interval '1 second'
        FROM customers, unnest(
            ARRAY['open', 'processing', 'waiting', 'resolved', 'escalated', 'closed', NULL]
        ) WITH ORDINALITY AS given(status, n);
        """,
    )

    migrations.upgrade(url, "0006")

    entries = server.ask(
        url,
        """
        SELECT e.old_status, e.new_status, t.status, e.changed_by, e.forced, e.db_user = session_user,
            e.prev_hash = decode(repeat('00', 32), 'hex'), e.hash = ticket_status_change_hash(e)
        FROM ticket_status_changes e JOIN tickets t ON t.id = e.ticket_id ORDER BY e.seq
        """,
    )
    statuses = ["open", "processing", "waiting", "resolved", "escalated", "closed", "open"]
    assert [tuple(entry) for entry in entries] == [
        (None, status, status, "system:migration", False, True, True, True) for status in statuses
    ]


def test_the_chain_of_an_old_ticket_goes_on_from_its_first_entry(server):
    url = server.at("0005")
    server.ask(url, CUSTOMER)
    server.one(url, OPEN)
    migrations.upgrade(url, "0006")
    server.ask(url, "UPDATE tickets SET status = 'processing'")
    server.ask(url, "UPDATE tickets SET status = 'resolved'")

    assert server.ask(
        url,
        """
        SELECT new_status, prev_hash = lag(hash) OVER (ORDER BY seq), hash = ticket_status_change_hash(e)
        FROM ticket_status_changes e ORDER BY seq
        """,
    ) == [("open", None, True), ("processing", True, True), ("resolved", True, True)]
