"""The report on tickets: counts, medians and 90th percentiles by group, as of any instant."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from random import Random
from uuid import UUID

import pytest

from app.errors import InvalidValue, TicketNotFound
from app.models import FINISHED, Channel, TicketCategory, TicketPriority, TicketStatus
from app.schemas import Spread, TicketGrouping
from app.services import metrics, tickets
from app.testing import TicketFactory

T0 = datetime(2026, 3, 1, 9, tzinfo=UTC)
LATER = T0 + timedelta(days=30)
SPREADS = ["first_response", "first_resolution", "full_resolution", "waiting_on_customer", "waiting_on_us"]
COLUMN = {
    TicketGrouping.CHANNEL: "source_channel",
    TicketGrouping.CATEGORY: "category",
    TicketGrouping.PRIORITY: "priority",
    TicketGrouping.ASSIGNEE: "assigned_to",
}


def hours(count: float) -> timedelta:
    return timedelta(hours=count)


def after(count: float) -> datetime:
    return T0 + hours(count)


def report(session, group_by="channel", **given):
    return metrics.ticket_report(session, **({"since": T0, "until": LATER, "group_by": group_by} | given))


def test_a_report_counts_and_measures_by_group_and_in_total(session, store_past):
    for wait, channel in [(1, "email"), (2, "email"), (6, "email"), (4, "whatsapp")]:
        store_past(
            T0,
            [(T0, "open"), (after(1), "waiting"), (after(1 + wait), "resolved")],
            source_channel=channel,
            messages=[(after(1), "agent", {})],
        )
    store_past(T0, [(T0, "open"), (after(1), "resolved"), (after(2), "open")], source_channel="whatsapp")
    found = report(session, as_of=after(10))

    assert (found.since, found.until, found.as_of) == (T0, LATER, after(10))
    email, whatsapp = found.rows
    assert (email.group, email.tickets, email.answered, email.finished) == ("email", 3, 3, 3)
    assert (email.reopened, email.reopens, email.assignee_changes) == (0, 0, 0)
    assert email.first_response == Spread(median=hours(1), p90=hours(1))
    assert email.full_resolution == Spread(median=hours(3), p90=hours(3 + 0.8 * 4))
    assert email.waiting_on_customer == Spread(median=hours(2), p90=hours(2 + 0.8 * 4))
    assert (whatsapp.tickets, whatsapp.answered, whatsapp.finished) == (2, 1, 1)
    assert (whatsapp.reopened, whatsapp.reopens) == (1, 1)
    assert whatsapp.first_resolution == Spread(median=hours(3), p90=hours(1 + 0.9 * 4))
    assert whatsapp.full_resolution == Spread(median=hours(5), p90=hours(5))
    total = found.total
    assert (total.group, total.tickets, total.finished, total.reopened) == (None, 5, 4, 1)
    assert total.first_resolution.median == hours(3)


def test_an_empty_report_has_a_total_of_nothing(session):
    found = report(session)
    assert found.rows == ()
    assert (found.total.tickets, found.total.reopens, found.total.first_response) == (0, 0, None)
    assert found.total.waiting_on_us is None


def test_the_window_takes_what_was_opened_in_it(session, store_past):
    for at in (T0 - timedelta(microseconds=1), T0, after(5), LATER):
        store_past(at, [(at, "open")])
    assert report(session).total.tickets == 2
    assert report(session, until=T0).total.tickets == 0


def test_groups_come_in_the_order_of_their_codes_and_nobody_last(session, store_past):
    for priority, assignee in [
        ("critical", None),
        ("low", "human:7"),
        (None, "ai:agent"),
        ("medium", "human:7"),
    ]:
        store_past(T0, [(T0, "open")], priority=priority, assigned_to=assignee)
    assert [row.group for row in report(session, "priority").rows] == ["low", "medium", "critical", None]
    assert [row.group for row in report(session, "assignee").rows] == ["ai:agent", "human:7", None]


def test_a_ticket_belongs_to_the_group_that_it_was_in_at_the_time(session, store_past):
    store_past(
        T0,
        [(T0, "open")],
        assigned_to=None,
        priority="critical",
        category="billing",
        fields=[
            (after(1), "assigned_to", None, "human:7"),
            (after(2), "priority", "low", "critical"),
            (after(3), "assigned_to", "human:7", "human:8"),
            (after(4), "assigned_to", "human:8", None),
            (after(5), "category", "technical", "billing"),
        ],
    )

    def groups(hour: float) -> list[str | None]:
        return [report(session, by, as_of=after(hour)).rows[0].group for by in TicketGrouping]

    assert groups(0.5) == ["email", "technical", "low", None]
    assert groups(1) == ["email", "technical", "low", "human:7"]
    assert groups(2.5) == ["email", "technical", "critical", "human:7"]
    assert groups(3) == ["email", "technical", "critical", "human:8"]
    assert groups(9) == ["email", "billing", "critical", None]


@pytest.mark.parametrize("group_by", TicketGrouping)
def test_a_report_is_one_statement_however_many_tickets(session, queries, group_by):
    now = datetime.now(UTC)
    counts = []
    for _ in range(2):
        TicketFactory.create_batch(3, status=TicketStatus.RESOLVED)
        queries.reset()
        found = report(session, group_by, since=now - hours(1), until=now + hours(1))
        counts.append((queries.count, found.total.tickets))
    assert counts == [(1, 3), (1, 6)]


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"group_by": "customer"}, "group_by"),
        ({"group_by": None}, "group_by"),
        ({"since": datetime(2026, 3, 1)}, "since"),  # noqa: DTZ001
        ({"until": "2026-03-01"}, "until"),
        ({"until": T0 - hours(1)}, "until"),
        ({"as_of": 7}, "as_of"),
    ],
)
def test_a_bad_question_is_refused_before_the_database_hears_it(session, queries, given, field):
    with pytest.raises(InvalidValue) as caught:
        report(session, **given)
    assert caught.value.field == field
    assert queries.count == 0, queries


def random_tickets(random: Random, store_past, count: int) -> dict[UUID, dict]:
    """Tickets whose fields and statuses changed at random, with what was where and when."""
    codes = {"priority": list(TicketPriority), "category": list(TicketCategory)}
    made = {}
    for _ in range(count):
        created = after(random.uniform(0, 200))
        times = [created + hours(random.uniform(0, 100)) for _ in range(random.randint(0, 8))]
        steps = [(at, random.choice(list(TicketStatus))) for at in sorted([created, *times])]
        columns = {"source_channel": random.choice(list(Channel))}
        fields, values = [], []
        for field in ("assigned_to", "priority", "category"):
            at, value = created, random.choice(codes.get(field, [None, "human:1", "human:2"]))
            values.append((at, field, value))
            for _ in range(random.randint(0, 3)):
                at += hours(random.uniform(1, 60))
                new = random.choice(codes.get(field, [None, "human:1", "human:2"]))
                fields.append((at, field, value, new))
                values.append((at, field, new))
                value = new
            columns[field] = value
        messages = [
            (created + hours(random.expovariate(0.1)), "agent", {}) for _ in range(random.randint(0, 2))
        ]
        ticket_id = store_past(created, steps, fields=fields, messages=messages, **columns)
        made[ticket_id] = {"values": values, "source_channel": columns["source_channel"]}
    return made


def group_then(ticket: dict, group_by: TicketGrouping, as_of: datetime) -> str | None:
    if group_by is TicketGrouping.CHANNEL:
        return ticket["source_channel"]
    return [value for at, field, value in ticket["values"] if field == COLUMN[group_by] and at <= as_of][-1]


def percentile(values: list[timedelta], share: float) -> timedelta:
    """The value at that share of the way, between two neighbours in proportion."""
    values = sorted(values)
    place = share * (len(values) - 1)
    low, high = values[int(place)], values[min(int(place) + 1, len(values) - 1)]
    return low + (high - low) * (place % 1)


@pytest.mark.parametrize("seed", [1, 2])
def test_the_database_sums_up_as_a_plain_loop_over_the_lives_does(session, store_past, seed):
    random = Random(seed)
    made = random_tickets(random, store_past, 40)
    for group_by in TicketGrouping:
        as_of = after(random.uniform(20, 320))
        lives = defaultdict(list)
        for ticket_id, ticket in made.items():
            try:
                life = tickets.lifecycle(session, ticket_id, as_of=as_of)
            except TicketNotFound:
                continue
            for group in (group_then(ticket, group_by, as_of), "total"):
                lives[group].append(life)
        found = report(session, group_by, as_of=as_of)
        assert {row.group for row in found.rows} == lives.keys() - {"total"}
        for name, row in [(row.group, row) for row in found.rows] + [("total", found.total)]:
            group = lives[name]
            assert row.tickets == len(group)
            assert row.answered == sum(life.first_response is not None for life in group)
            assert row.finished == sum(life.status in FINISHED for life in group)
            assert row.reopened == sum(life.reopens > 0 for life in group)
            assert row.reopens == sum(life.reopens for life in group)
            assert row.assignee_changes == sum(life.assignee_changes for life in group)
            for spread in SPREADS:
                values = [getattr(life, spread) for life in group if getattr(life, spread) is not None]
                said = getattr(row, spread)
                assert (said is None) is (not values)
                if said is not None:
                    assert abs(said.median - percentile(values, 0.5)) < timedelta(milliseconds=1)
                    assert abs(said.p90 - percentile(values, 0.9)) < timedelta(milliseconds=1)
