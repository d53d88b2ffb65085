"""``record_identity_events`` as the app's role calls it: what it believes, and what it refuses."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import Row, text
from sqlalchemy.exc import DBAPIError

CUSTOMER, OTHER = UUID(int=1), UUID(int=2)
GOOD = {"customer_id": str(CUSTOMER), "event": "conflict", "actor": "human:7"}


@pytest.fixture
def app(desk):
    """The app's own login, whose work is undone."""
    with desk.login("app").connect() as connection:
        yield connection
        connection.rollback()


def record(app, events: object) -> list[Row]:
    """What is written then, in the table's order."""
    app.execute(text("SELECT record_identity_events(CAST(:events AS jsonb))"), {"events": json.dumps(events)})
    return list(app.execute(text("SELECT * FROM identity_events ORDER BY seq")))


def test_an_event_is_written_as_it_is_told(app):
    told = GOOD | {
        "id": str(UUID(int=3)),
        "identifier_id": str(UUID(int=4)),
        "other_customer_id": str(OTHER),
        "merge_id": str(UUID(int=5)),
        "reason": "she called",
        "details": {"by": ["phone"]},
    }

    (event,) = record(app, [told])

    assert {name: value for name, value in event._mapping.items() if name in told} == {
        name: UUID(value) if name.endswith("id") else value for name, value in told.items()
    }


def test_events_keep_their_order_and_what_is_not_told_stays_blank(app):
    events = record(app, [GOOD | {"reason": str(n)} for n in range(20)] + [GOOD | {"details": None}])

    assert [event.reason for event in events] == [*map(str, range(20)), None]
    assert len({event.id for event in events}) == 21
    assert (events[-1].details, events[-1].merge_id, events[-1].other_customer_id) == ({}, None, None)


def test_order_time_and_database_user_are_not_the_callers_to_say(desk, app):
    forged = GOOD | {"seq": 10**9, "created_at": "2001-01-01T00:00:00Z", "db_user": "postgres"}

    first, second = record(app, [forged, forged])

    assert first.seq < second.seq < 10**9
    assert datetime.now(UTC) - first.created_at < timedelta(minutes=5)
    assert first.db_user == second.db_user == f"{desk.prefix}_app"


def test_a_table_of_ones_own_is_not_written_in_its_place(desk, app):
    desk.run(f"GRANT TEMPORARY ON DATABASE {desk.admin.url.database} TO {desk.prefix}_app")
    try:
        with desk.login("app").connect() as connection:
            connection.execute(text("CREATE TEMPORARY TABLE identity_events (LIKE public.identity_events)"))
            connection.execute(text("SET LOCAL search_path = pg_temp, public"))
            assert record(connection, [GOOD]) == []
            assert connection.scalar(text("SELECT count(*) FROM public.identity_events")) == 1
            connection.rollback()
    finally:
        desk.repair()


@pytest.mark.parametrize(
    "events",
    [
        pytest.param(GOOD, id="an event outside an array"),
        pytest.param("created", id="a string"),
        pytest.param(None, id="JSON null"),
        pytest.param([None], id="null for an event"),
        pytest.param(["created"], id="a string for an event"),
        pytest.param([GOOD, [GOOD]], id="an array for an event"),
        pytest.param([GOOD, {}], id="an empty event"),
        pytest.param([GOOD | {"customer_id": None}], id="no customer"),
        pytest.param([GOOD | {"customer_id": "7"}], id="a customer's id that is none"),
        pytest.param([GOOD | {"event": "gone"}], id="an unknown event"),
        pytest.param([GOOD | {"event": None}], id="no event"),
        pytest.param([GOOD | {"actor": None}], id="no actor"),
        pytest.param([GOOD | {"actor": "x" * 256}], id="an actor that is too long"),
        pytest.param([GOOD | {"reason": "\0"}], id="a NUL byte"),
        pytest.param([GOOD | {"id": str(CUSTOMER)}] * 2, id="an id twice"),
    ],
)
def test_what_is_malformed_is_refused_and_nothing_is_written(desk, app, events):
    with pytest.raises(DBAPIError):
        record(app, events)

    app.rollback()
    assert desk.run("SELECT FROM identity_events") == []


def test_no_events_at_all_is_refused_where_an_empty_list_is_not(app):
    assert record(app, []) == []
    with pytest.raises(DBAPIError, match="an array of objects"):
        app.execute(text("SELECT record_identity_events(NULL)"))
