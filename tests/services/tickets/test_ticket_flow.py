"""Tickets over time: what came in and went out in each day, week or month."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import text

from app.errors import InvalidValue
from app.services import metrics

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
DAY = timedelta(days=1)
INSTANT = timedelta(microseconds=1)
# By UTC, the day before the calendar begins, and the day after it ends.
FIRST_DAY = datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=5)))
LAST_DAY = datetime(9999, 12, 31, 22, tzinfo=timezone(timedelta(hours=-5)))


@pytest.fixture
def life(store_past):
    """Opened on Monday, resolved on Wednesday, reopened on Thursday, resolved in its last moment, closed."""
    return store_past(
        MONDAY + DAY / 2,
        [
            (MONDAY + DAY / 2, "open"),
            (MONDAY + 2 * DAY, "resolved"),
            (MONDAY + 3 * DAY, "open"),
            (MONDAY + 4 * DAY - INSTANT, "resolved"),
            (MONDAY + 5 * DAY, "closed"),
        ],
    )


def flow(session, since=MONDAY, until=MONDAY + 7 * DAY, **options):
    rows = metrics.ticket_flow(session, since=since, until=until, **options)
    return {row.starts_at: (row.opened, row.resolved, row.reopened) for row in rows}


def test_every_day_has_its_steps_and_the_empty_ones_are_there(session, life):
    days = flow(session)

    assert [*days] == [MONDAY + n * DAY for n in range(7)]
    # That a resolved ticket is closed is no second resolution.
    assert [*days.values()] == [(1, 0, 0), (0, 0, 0), (0, 1, 0), (0, 1, 1), (0, 0, 0), (0, 0, 0), (0, 0, 0)]


def test_weeks_begin_on_monday_and_months_on_the_first(session, life):
    week = flow(session, since=MONDAY - DAY, unit="week")
    months = flow(session, since=MONDAY - 5 * DAY, unit="month")

    assert week == {MONDAY - 7 * DAY: (0, 0, 0), MONDAY: (1, 2, 1)}
    assert months == {
        datetime(2026, 2, 1, tzinfo=UTC): (0, 0, 0),
        datetime(2026, 3, 1, tzinfo=UTC): (1, 2, 1),
    }


def test_the_first_day_counts_from_since_and_the_last_one_up_to_until(session, life):
    noon = MONDAY + DAY / 2

    assert flow(session, since=noon, until=noon + INSTANT) == {MONDAY: (1, 0, 0)}
    assert flow(session, since=noon + INSTANT, until=MONDAY + DAY) == {MONDAY: (0, 0, 0)}
    assert flow(session, since=noon, until=noon) == {}


def test_a_day_is_one_of_utc_whatever_the_zone_of_the_arguments_and_of_the_session(session, life):
    session.execute(text("SET LOCAL timezone = 'Asia/Tokyo'"))
    tokyo = timezone(timedelta(hours=9))

    assert flow(session, since=MONDAY.astimezone(tokyo), until=(MONDAY + DAY).astimezone(tokyo)) == {
        MONDAY: (1, 0, 0)
    }


def test_the_work_is_one_statement(session, queries, life):
    before = queries.count
    flow(session, until=MONDAY + 365 * DAY)

    assert queries.count - before == 1, queries


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"since": datetime(2026, 3, 2)}, "since"),  # noqa: DTZ001
        ({"until": MONDAY - DAY}, "until"),
        ({"unit": "hour"}, "unit"),
        ({"since": MONDAY - 40_000 * DAY}, "since"),
        ({"since": FIRST_DAY, "until": FIRST_DAY + DAY}, "since"),
        ({"since": LAST_DAY - DAY, "until": LAST_DAY}, "until"),
    ],
)
def test_what_cannot_be_counted_is_refused(session, options, field):
    with pytest.raises(InvalidValue) as refusal:
        flow(session, **options)

    assert refusal.value.field == field
