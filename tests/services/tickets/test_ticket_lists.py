"""Finding tickets: filters and pages, what is due for closing, and what came back."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from app.errors import InvalidValue
from app.models import Channel, Ticket, TicketCategory, TicketPriority, TicketStatus
from app.schemas import Cursor, RegressionKind, TicketSummary
from app.services import merging, tickets
from app.testing import ConversationFactory, CustomerFactory, TicketFactory, bound_to

T0 = datetime(2026, 3, 1, 9, tzinfo=UTC)
DAY = timedelta(days=1)


def ids(found) -> list:
    return [ticket.id for ticket in getattr(found, "items", found)]


def test_a_list_is_newest_first_and_each_line_is_the_ticket(session):
    old, new = (TicketFactory(created_at=T0 + n * DAY, assigned_to="human:7") for n in range(2))
    page = tickets.list_tickets(session)
    assert (ids(page), page.next) == ([new.id, old.id], None)
    line = page.items[1]
    assert all(getattr(line, name) == getattr(old, name) for name in TicketSummary.model_fields)


FILTERS = [
    ({"status": TicketStatus.WAITING}, {"status": TicketStatus.WAITING}),
    ({"status": "waiting"}, {"status": TicketStatus.WAITING}),
    ({"status": ["waiting", TicketStatus.PROCESSING]}, {"status": TicketStatus.WAITING}),
    ({"priority": {TicketPriority.HIGH}}, {"priority": TicketPriority.HIGH}),
    ({"category": TicketCategory.BILLING}, {"category": TicketCategory.BILLING}),
    ({"source_channel": (Channel.WHATSAPP,)}, {"source_channel": Channel.WHATSAPP}),
    ({"assigned_to": "human:9"}, {"assigned_to": "human:9"}),
    ({"unassigned": True}, {"assigned_to": None}),
    ({"created_from": T0 + DAY}, {"created_at": T0 + DAY}),
    ({"created_before": T0}, {"created_at": T0 - timedelta(microseconds=1)}),
    ({"channel": Channel.WHATSAPP}, {"source_channel": Channel.WHATSAPP}),
    ({"assignee": "human:9"}, {"assigned_to": "human:9"}),
    ({"since": T0 + DAY}, {"created_at": T0 + DAY}),
    ({"until": T0}, {"created_at": T0 - timedelta(microseconds=1)}),
]


@pytest.mark.parametrize(("wanted", "columns"), FILTERS, ids="-".join)
def test_a_filter_finds_what_fits_and_nothing_else(session, wanted, columns):
    usual = {
        "status": TicketStatus.OPEN,
        "priority": TicketPriority.LOW,
        "category": TicketCategory.TECHNICAL,
        "source_channel": Channel.EMAIL,
        "assigned_to": "human:7",
        "created_at": T0,
    }
    TicketFactory(**usual)
    fitting = TicketFactory(**(usual | columns))
    assert ids(tickets.list_tickets(session, **wanted)) == [fitting.id]


def test_filters_add_up(session):
    made = [
        TicketFactory(status=status, priority=priority)
        for status in (TicketStatus.OPEN, TicketStatus.WAITING)
        for priority in (TicketPriority.LOW, TicketPriority.HIGH)
    ]
    assert ids(tickets.list_tickets(session, status="waiting", priority="high")) == [made[3].id]
    assert ids(tickets.list_tickets(session, status=[], priority="high")) == []
    assert set(ids(tickets.list_tickets(session, extra={}))) == {ticket.id for ticket in made}


def test_a_customer_s_tickets_are_found_by_an_absorbed_id_too(session):
    survivor, absorbed = CustomerFactory(), CustomerFactory()
    TicketFactory()
    ticket = TicketFactory(customer=absorbed)
    old_id = absorbed.id
    merging.merge(session, survivor.id, absorbed.id, actor="human:7", reason="the same person")
    for customer_id in (survivor.id, old_id, str(old_id)):
        assert ids(tickets.list_tickets(session, customer_id=customer_id)) == [ticket.id]
    assert ids(tickets.list_tickets(session, customer_id=uuid4())) == []


def test_raw_rows_with_blanks_are_listed(session):
    ticket = TicketFactory()
    session.execute(text("UPDATE tickets SET priority = NULL, metadata = NULL"))
    (line,) = tickets.list_tickets(session).items
    assert (line.id, line.priority) == (ticket.id, None)


def test_pages_give_every_ticket_once_also_where_times_tie_and_new_ones_come(session, queries):
    made = [TicketFactory(created_at=T0 + (n // 3) * DAY) for n in range(10)]
    expected = [ticket.id for ticket in sorted(made, key=lambda one: (one.created_at, one.id), reverse=True)]
    seen, before = [], None
    while True:
        queries.reset()
        page = tickets.list_tickets(session, limit=4, before=before)
        assert queries.count == 1, queries
        seen += ids(page)
        if page.next is None:
            break
        before = page.next
        TicketFactory(created_at=T0 + 100 * DAY)
    assert seen == expected


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"status": "new"}, "status"),
        ({"status": ["open", "new"]}, "status"),
        ({"status": 7}, "status"),
        ({"status": b"open"}, "status"),
        ({"priority": "urgent"}, "priority"),
        ({"category": ""}, "category"),
        ({"source_channel": "fax"}, "source_channel"),
        ({"since": datetime(2026, 3, 1)}, "since"),  # noqa: DTZ001
        ({"assignee": ""}, "assignee"),
        ({"assigned_to": ""}, "assigned_to"),
        ({"assigned_to": "\x00"}, "assigned_to"),
        ({"customer_id": "nobody"}, "customer_id"),
        ({"created_from": datetime(2026, 3, 1)}, "created_from"),  # noqa: DTZ001
        ({"created_before": "yesterday"}, "created_before"),
        ({"channel": "email", "source_channel": "email"}, "channel"),
        ({"channel": "fax"}, "channel"),
        ({"colour": "red"}, "colour"),
        ({"unassigned": "no"}, "unassigned"),
        ({"limit": 0}, "limit"),
        ({"limit": 0, "status": []}, "limit"),
        ({"colour": []}, "colour"),
        ({"limit": 1001}, "limit"),
        ({"limit": True}, "limit"),
        ({"before": "page 2"}, "before"),
        ({"before": Cursor(T0, "x")}, "before"),
        ({"before": Cursor(T0.replace(tzinfo=None), uuid4())}, "before"),
    ],
)
def test_an_ill_formed_question_is_refused_before_the_database_hears_it(session, queries, given, field):
    with pytest.raises(InvalidValue) as caught:
        tickets.list_tickets(session, **given)
    assert caught.value.field == field
    assert queries.count == 0, queries


def test_the_latest_page_is_read_from_an_index(session):
    session.execute(
        text("""
            WITH c AS (INSERT INTO customers (email) VALUES ('many@example.com') RETURNING id)
            INSERT INTO tickets (customer_id, subject, category, source_channel, created_at)
            SELECT id, 'x', 'technical', 'email', now() - n * interval '1 min'
            FROM c, generate_series(1, 2000) AS n
        """)
    )
    session.execute(text("ANALYZE tickets"))
    plan = session.scalars(
        text("EXPLAIN SELECT * FROM tickets ORDER BY created_at DESC, id DESC LIMIT 51")
    ).all()
    assert "idx_tickets_created" in "\n".join(plan)


def resolved(at: datetime, **columns: object) -> Ticket:
    return TicketFactory(status=TicketStatus.RESOLVED, resolved_at=at, **columns)


def test_due_for_closing_is_what_was_resolved_before_and_not_touched_since(session):
    late, early, _ = resolved(T0 + DAY), resolved(T0), resolved(T0 + 3 * DAY)
    reopened = resolved(T0)
    tickets.reopen(session, reopened.id, actor="human:7")
    TicketFactory(closed=True, resolved_at=T0)
    assert ids(tickets.due_for_closing(session, resolved_before=T0 + 2 * DAY)) == [early.id, late.id]
    assert ids(tickets.due_for_closing(session, resolved_before=T0 + 2 * DAY, limit=1)) == [early.id]
    assert ids(tickets.due_for_closing(session, resolved_before=T0)) == []


def test_stale_tickets_are_closed_in_batches_and_each_record_names_the_actor(session, queries):
    made = [resolved(T0 + n * DAY) for n in range(5)]
    kept = resolved(T0 + 9 * DAY)
    close = {"resolved_before": T0 + 8 * DAY, "actor": "system:retention"}
    queries.reset()
    assert tickets.close_stale(session, **close, limit=3) == [ticket.id for ticket in made[:3]]
    assert queries.count == 1, queries
    assert tickets.close_stale(session, **close) == [ticket.id for ticket in made[3:]]
    assert tickets.close_stale(session, **close) == []
    for ticket in made:
        assert (ticket.status, ticket.resolved_at) == (TicketStatus.CLOSED, T0 + made.index(ticket) * DAY)
        entry = tickets.status_history(session, ticket.id)[-1]
        assert (entry.new_status, entry.changed_by) == (TicketStatus.CLOSED, "system:retention")
    assert kept.status is TicketStatus.RESOLVED
    assert tickets.verify_history(session) == []
    session.execute(text("UPDATE tickets SET status = 'closed' WHERE id = :id"), {"id": kept.id})
    assert tickets.status_history(session, kept.id)[-1].changed_by.startswith("db:")


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"resolved_before": datetime(2026, 3, 1)}, "resolved_before"),  # noqa: DTZ001
        ({"actor": "retention"}, "actor"),
        ({"limit": 0}, "limit"),
    ],
)
def test_closing_takes_well_formed_orders_only(session, queries, given, field):
    with pytest.raises(InvalidValue) as caught:
        tickets.close_stale(session, **({"resolved_before": T0, "actor": "system:retention"} | given))
    assert caught.value.field == field
    assert queries.count == 0, queries


def test_a_ticket_that_somebody_holds_is_left_for_the_next_batch(crm_clone):
    with Session(crm_clone) as session, bound_to(session):
        held, free = (resolved(T0).id for _ in range(2))
        session.commit()
    close = {"resolved_before": T0 + DAY, "actor": "system:retention"}
    with Session(crm_clone) as one, Session(crm_clone) as two:
        tickets.change_status(one, held, TicketStatus.OPEN, actor="human:7")
        two.execute(text("SET LOCAL lock_timeout = '1s'"))
        assert tickets.close_stale(two, **close) == [free]
        one.rollback()
        assert tickets.close_stale(two, **close) == [held]
        two.commit()


def test_several_workers_close_every_ticket_once(crm_clone):
    with Session(crm_clone) as session, bound_to(session):
        customer = CustomerFactory()
        made = {resolved(T0, customer=customer).id for _ in range(30)}
        session.commit()
    closed: list = []

    def work() -> None:
        while True:
            with Session(crm_clone) as session:
                batch = tickets.close_stale(
                    session, resolved_before=T0 + DAY, actor="system:retention", limit=4
                )
                session.commit()
            closed.extend(batch)
            if not batch:
                return

    workers = [threading.Thread(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30)
    assert sorted(closed) == sorted(made)
    with Session(crm_clone) as session:
        assert tickets.verify_history(session) == []


def after_days(days: float) -> datetime:
    return T0 + timedelta(days=days)


def test_what_an_ai_resolved_and_came_back_in_time_is_listed_once_for_each_time(session, store_past):
    ticket_id = store_past(
        T0,
        [
            (after_days(0), "open"),
            (after_days(1), "resolved"),
            (after_days(2), "closed"),
            (after_days(3), "open"),
            (after_days(4), "resolved"),
            (after_days(9), "open"),
        ],
        by="ai:support-agent",
    )
    found = tickets.regressions(session, days=3)
    assert [(one.ticket_id, one.kind, one.resolved_at, one.came_back_at) for one in found] == [
        (ticket_id, RegressionKind.REOPENED, after_days(1), after_days(3))
    ]
    assert (found[0].resolved_by, found[0].follow_up_id) == ("ai:support-agent", None)
    assert [one.came_back_at for one in tickets.regressions(session, days=5)] == [
        after_days(9),
        after_days(3),
    ]
    assert len(tickets.regressions(session, days=5, limit=1)) == 1
    assert tickets.regressions(session, days=1) == []


@pytest.mark.parametrize("by", ["human:7", "db:ai", "system:ai:x"])
def test_what_nobody_or_somebody_else_resolved_is_no_regression_of_an_ai(session, store_past, by):
    store_past(T0, [(T0, "open"), (after_days(1), "resolved"), (after_days(2), "open")], by=by)
    store_past(T0, [(T0, "open"), (after_days(1), "resolved"), (after_days(2), "closed")], by="ai:agent")
    assert tickets.regressions(session, days=30) == []


def test_a_follow_up_counts_for_the_last_resolution_before_it(session, queries):
    ticket = TicketFactory(status=TicketStatus.RESOLVED, conversation=ConversationFactory())
    tickets.reopen(session, ticket.id, actor="human:7")
    tickets.change_status(session, ticket.id, TicketStatus.RESOLVED, actor="ai:support-agent")
    tickets.change_status(session, ticket.id, TicketStatus.CLOSED, actor="system:retention")
    follow_up = tickets.reopen(session, ticket.id, actor="human:8", grace=timedelta(0))
    queries.reset()
    late, early = tickets.regressions(session, days=1)
    assert queries.count == 1, queries
    assert (late.kind, late.follow_up_id, late.came_back_by) == ("followed_up", follow_up.id, "human:8")
    assert (early.kind, early.follow_up_id, early.came_back_by) == ("reopened", None, "human:7")
    assert {late.ticket_number, early.ticket_number} == {ticket.ticket_number}


@pytest.mark.parametrize("days", [0, -1, 1.5, True, "7", None, 36_501])
def test_days_are_whole_and_some(session, days):
    with pytest.raises(InvalidValue, match=r"^days: "):
        tickets.regressions(session, days=days)
