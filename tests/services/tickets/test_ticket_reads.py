"""A limit limits: what a list of tickets reads is in proportion to its page, not to the tickets there are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from sqlalchemy import Engine, event, text
from sqlalchemy.orm import Session

from app.database import make_engine
from app.services import tickets
from app.testing.postgres import Databases

LIMIT = 20
COUNT = 20_000
NOW = datetime.now(UTC)

# Whatever is rare is old: who reads the list from its end, until a page is full, reads it all. The ids are in
# another order than the times.
FILL = """
    ALTER TABLE tickets DISABLE TRIGGER USER;
    ALTER TABLE ticket_status_changes DISABLE TRIGGER USER;
    INSERT INTO customers (email) SELECT n || '@example.com' FROM generate_series(1, 500) AS n;
    INSERT INTO tickets (
        customer_id, ticket_number, subject, category, source_channel, status, priority, assigned_to,
        created_at, resolved_at
    )
    SELECT customer.id, 'N-' || n, 'x', CASE WHEN rare THEN 'complaint' ELSE 'technical' END,
        CASE WHEN rare THEN 'web_form' ELSE 'email' END,
        CASE WHEN rare THEN 'escalated' WHEN n % 5 = 0 THEN 'resolved' ELSE 'closed' END,
        CASE WHEN rare THEN 'critical' ELSE 'low' END,
        CASE WHEN n < 30 THEN 'human:9' WHEN NOT rare THEN 'human:7' END,
        now() - interval '1 year' + n * interval '1 minute',
        CASE WHEN NOT rare THEN now() - interval '300 days' + n * interval '1 minute' END
    FROM generate_series(1, 20000) AS n
    CROSS JOIN LATERAL (SELECT n < 60 AS rare) AS of_those
    JOIN (SELECT id, row_number() OVER () AS place FROM customers) AS customer ON place = 1 + n % 500;
    INSERT INTO ticket_status_changes (
        ticket_id, old_status, new_status, changed_by, changed_at, forced, db_user, prev_hash, hash
    )
    SELECT ticket.id, old, new, actor, created_at + hours * interval '1 hour', false, 'x',
        decode(md5(ticket.id::text || hours), 'hex'), ''
    FROM (SELECT *, row_number() OVER (ORDER BY id) AS place FROM tickets) AS ticket
    JOIN (VALUES
        (NULL, 'open', 'ai:agent', 0), ('open', 'resolved', 'ai:agent', 1), ('resolved', 'open', 'human:7', 2)
    ) AS entry (old, new, actor, hours) ON hours < 2 OR place % 10 = 0;
    INSERT INTO ticket_links (ticket_id, follows_ticket_id, created_at, created_by)
    SELECT second.id, first.id, second.created_at, 'human:7'
    FROM (SELECT *, row_number() OVER (ORDER BY created_at) AS place FROM tickets) AS first
    JOIN (SELECT *, row_number() OVER (ORDER BY created_at) AS place FROM tickets) AS second
        ON second.place = first.place + 61 AND first.place % 10 = 0;
    ALTER TABLE tickets ENABLE TRIGGER USER;
    ALTER TABLE ticket_status_changes ENABLE TRIGGER USER;
    ANALYZE;
"""


@pytest.fixture(scope="module")
def many(crm_databases: Databases) -> Iterator[Engine]:
    """An engine on a database with many tickets."""
    url = crm_databases.clone()
    engine = make_engine(url, allow_insecure_tls=True)
    with engine.begin() as connection:
        connection.connection.cursor().execute(FILL)
    yield engine
    engine.dispose()
    crm_databases.drop(url)


def rows_read(node: dict[str, Any]) -> int:
    """The rows of tables that a plan has read, those that it threw away too."""
    own = 0
    if "Relation Name" in node:
        removed = (node.get(f"Rows Removed by {by}", 0) for by in ("Filter", "Index Recheck", "Join Filter"))
        own = node["Actual Loops"] * (node["Actual Rows"] + sum(removed))
    return own + sum(rows_read(part) for part in node.get("Plans", []))


def read_by(session: Session, call: Any, mode: str) -> int:
    """How many rows the call's one statement reads, planned in this way."""
    sent: list[tuple[str, Any]] = []

    def keep(_connection, _cursor, statement, parameters, *_) -> None:
        sent.append((statement, parameters))

    event.listen(session.get_bind(), "before_cursor_execute", keep)
    savepoint = session.begin_nested()
    call(session)
    savepoint.rollback()
    event.remove(session.get_bind(), "before_cursor_execute", keep)
    (statement, parameters) = next(one for one in sent if "SAVEPOINT" not in one[0])
    names: list[str] = []

    def numbered(placeholder: re.Match[str]) -> str:
        if placeholder[1] not in names:
            names.append(placeholder[1])
        return f"${names.index(placeholder[1]) + 1}"

    prepared = re.sub(r"%\((\w+)\)s", numbered, statement).replace("%%", "%")
    cursor = psycopg.ClientCursor(session.connection().connection.driver_connection)
    cursor.execute(f"DEALLOCATE ALL; SET LOCAL plan_cache_mode = {mode}; PREPARE read AS {prepared}")
    values = f"({', '.join(['%s'] * len(names))})" if names else ""
    cursor.execute(
        f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE read {values}", [parameters[name] for name in names]
    )
    return rows_read(cursor.fetchone()[0][0]["Plan"])


FILTERS: dict[str, dict[str, Any]] = {
    "nothing": {},
    "a page later": {"before": (NOW - timedelta(days=364), UUID(int=0))},
    "status": {"status": "escalated"},
    "a status that none has": {"status": "waiting"},
    "statuses": {"status": ["escalated", "open"]},
    "priority": {"priority": "critical"},
    "priorities": {"priority": ["critical", "high"]},
    "category": {"category": "complaint"},
    "categories": {"category": ["complaint", "billing"]},
    "channel": {"source_channel": "web_form"},
    "channels": {"source_channel": ["web_form", "whatsapp"]},
    "assignee": {"assigned_to": "human:9"},
    "assignees": {"assigned_to": ["human:9", "human:8"]},
    "unassigned": {"unassigned": True},
    "customer": {"customer_id": 1},
    "customers": {"customer_id": 3},
    "number": {"ticket_number": "N-7"},
    "created": {"created_before": NOW - timedelta(days=364)},
    "assignee and status": {"assigned_to": "human:9", "status": "escalated"},
    "statuses and priorities": {"status": ["escalated", "open"], "priority": ["critical", "high"]},
}


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
@pytest.mark.parametrize("name", FILTERS)
def test_a_page_of_tickets_reads_in_proportion_to_its_length(many, name, mode):
    filters = dict(FILTERS[name])
    with Session(many) as session:
        if "customer_id" in filters:
            some = text("SELECT id FROM customers ORDER BY id LIMIT :count")
            filters["customer_id"] = session.scalars(some, {"count": filters["customer_id"]}).all()
        read = read_by(session, lambda s: tickets.list_tickets(s, limit=LIMIT, **filters), mode)
    assert read <= 4 * (LIMIT + 1), f"{read} of {COUNT:,} tickets"


DUE = {
    "due_for_closing": lambda session: tickets.due_for_closing(session, resolved_before=NOW, limit=LIMIT),
    "close_stale": lambda session: tickets.close_stale(
        session, resolved_before=NOW, actor="system:retention", limit=LIMIT
    ),
    # Two halves; for each return its ticket, the resolution, and what came between them.
    "regressions": lambda session: tickets.regressions(session, days=30, limit=LIMIT),
}


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
@pytest.mark.parametrize("name", DUE)
def test_what_is_due_or_came_back_is_read_in_proportion_to_the_limit(many, name, mode):
    with Session(many) as session:
        read = read_by(session, DUE[name], mode)
        assert read <= (20 if name == "regressions" else 4) * LIMIT, f"{read} of {COUNT:,} tickets"
        assert len(DUE[name](session)) == LIMIT
        session.rollback()
