"""A page of tickets is read in proportion to its length, also where only old ones fit two common filters."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import text

from app.services import tickets
from app.testing import CustomerFactory
from tests.services._reading import rows_read

OLD = {
    "assigned_to": "human:1",
    "priority": "low",
    "category": "billing",
    "source_channel": "web_form",
}
OTHERS = OLD | {"assigned_to": "human:2", "priority": "high", "category": "how_to", "source_channel": "email"}
FILL = text("""
    INSERT INTO tickets (
        subject, created_at, resolved_at, status, customer_id, assigned_to, priority, category, source_channel
    )
    SELECT 'x', timestamptz '2026-01-01' + n * interval '1 minute',
        CASE WHEN n <= 800 THEN timestamptz '2026-01-01' END,
        CASE WHEN n <= 800 THEN 'closed' ELSE 'open' END,
        kind.customer_id, kind.assigned_to, kind.priority, kind.category, kind.source_channel
    FROM generate_series(1, 1600) AS n
    JOIN jsonb_to_recordset(CAST(:kinds AS jsonb)) AS kind (
        is_old boolean, customer_id uuid, assigned_to text, priority text, category text, source_channel text
    ) ON is_old = (n <= 50 OR n > 800 AND n % 5 = 0)
""")


@pytest.fixture
def old(session) -> dict[str, object]:
    """What some open tickets have and the oldest of the closed ones, but none that was closed later."""
    first = OLD | {"customer_id": str(CustomerFactory().id)}
    others = OTHERS | {"customer_id": str(CustomerFactory().id)}
    kinds = json.dumps([first | {"is_old": True}, others | {"is_old": False}])
    session.execute(FILL, {"kinds": kinds})
    session.execute(text("ANALYZE tickets"))
    return first


def test_a_page_of_a_status_and_another_filter_reads_no_other_tickets(session, old):
    cases = [{"status": "closed"}]
    for column, value in old.items():
        cases += [
            {column: value},
            {"status": "closed", column: value},
            {"status": ["closed", "resolved"], column: value},
            {"status": ["closed", "resolved"], column: [value, OTHERS.get(column, value)]},
        ]
    for filters in cases:
        page, read = listed(session, filters)
        assert len(page.items) == 10
        assert read < 100, filters


def listed(session, filters):
    pages = []
    read = rows_read(session, lambda: pages.append(tickets.list_tickets(session, limit=10, **filters)))
    return pages[0], read


RETURNS = """
    WITH back AS (
        INSERT INTO tickets (customer_id, subject, category, source_channel)
        SELECT :customer_id, 'x', 'billing', 'email' FROM generate_series(1, 600) RETURNING id
    ), recorded AS (
        INSERT INTO ticket_status_changes (
            ticket_id, old_status, new_status, changed_by, changed_at, forced, db_user, prev_hash, hash
        )
        SELECT id, old_status, new_status, 'ai:agent', changed_at, false, 'test',
            decode(md5(new_status), 'hex'), ''
        FROM back CROSS JOIN (VALUES
            ('open', 'resolved', timestamptz '2026-01-01'), ('resolved', 'open', timestamptz '2026-01-02')
        ) AS entry (old_status, new_status, changed_at)
    )
    INSERT INTO ticket_links (ticket_id, follows_ticket_id, created_by, created_at)
    SELECT lead(id) OVER (ORDER BY id), id, 'ai:agent', '2026-01-02' FROM back LIMIT 599
"""


@pytest.mark.parametrize("analyzed", ["before", "after"])
def test_what_came_back_is_read_from_the_latest_on_also_with_statistics_of_before_it(session, analyzed):
    tables = "tickets, ticket_status_changes, ticket_links"
    customer_id = CustomerFactory().id
    for table in ("ticket_status_changes", "tickets"):
        session.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER USER"))
    session.execute(text("ALTER TABLE tickets ENABLE TRIGGER trg_ticket_number"))
    fill = [text(f"ANALYZE {tables}"), text(RETURNS).bindparams(customer_id=customer_id)]
    for statement in fill if analyzed == "before" else reversed(fill):
        session.execute(statement)
    regressions = []

    read = rows_read(session, lambda: regressions.extend(tickets.regressions(session, days=5, limit=10)))

    assert len(regressions) == 10
    assert read < 300
