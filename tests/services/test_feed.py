"""The feed of changes: nothing skipped, nothing twice, whoever commits when."""

from __future__ import annotations

import random
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import psycopg
import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from app.errors import InvalidValue
from app.models import FeedChange
from app.services import feed, merging, privacy, tickets
from app.testing import CustomerFactory, TicketFactory, bound_to
from tests.services._feed import caught_up

INSERT = text("INSERT INTO customers (email) VALUES (:email) RETURNING id")


@pytest.fixture
def committed(crm_clone: Engine):
    """A session whose commits are real."""
    with Session(crm_clone) as session, bound_to(session):
        yield session


def kinds(page) -> list[tuple[str, str]]:
    return [(change.subject, change.change) for change in page.changes]


def test_every_change_is_told_with_ids_and_without_content(committed):
    customer = CustomerFactory(with_email=True, name="Wanda Wolf")
    ticket = TicketFactory(customer=customer)
    committed.commit()
    start = caught_up(committed)
    tickets.change_status(committed, ticket.id, "processing", actor="human:7")
    committed.commit()

    page = caught_up(committed, start.token)

    assert kinds(page) == [("ticket", "update")]
    assert (page.changes[0].id, page.changes[0].customer_id) == (ticket.id, customer.id)
    assert {"customer", "conversation", "message", "ticket"} >= {
        change.subject for change in start.changes
    } - {"identity"}
    assert "Wanda" not in start.model_dump_json()
    again = feed.changes(committed, after=page.token)
    assert (again.changes, again.token) == ((), page.token)


def test_what_is_not_committed_is_not_told(committed, crm_clone):
    CustomerFactory()
    assert feed.changes(committed).changes == ()
    committed.rollback()
    with Session(crm_clone) as other:
        assert feed.changes(other) == feed.changes(committed)


def test_whoever_commits_late_is_not_skipped(crm_clone):
    """The first writer commits after the second one was to be read."""
    with crm_clone.connect() as early, crm_clone.connect() as late, Session(crm_clone) as reader:
        first = late.execute(INSERT, {"email": "late@example.com"}).scalar_one()
        second = early.execute(INSERT, {"email": "early@example.com"}).scalar_one()
        early.commit()
        waiting = feed.changes(reader)
        reader.rollback()
        late.commit()
        page = caught_up(reader, waiting.token)

    assert waiting.changes == ()
    assert [change.id for change in page.changes] == [first, second]


def test_slow_writers_of_any_order_are_read_whole_and_once(crm_clone):
    chance = random.Random(7)
    delays = [[chance.random() / 50 for _ in range(6)] for _ in range(8)]

    def write(writer: int) -> set[str]:
        written = set()
        for turn, delay in enumerate(delays[writer]):
            with crm_clone.begin() as connection:
                for part in range(2):
                    email = f"{writer}-{turn}-{part}@example.com"
                    written.add(str(connection.execute(INSERT, {"email": email}).scalar_one()))
                    time.sleep(delay)
        return written

    read: list[str] = []
    tokens: list[tuple[int, ...]] = []
    with ThreadPoolExecutor(8) as pool, Session(crm_clone) as reader:
        writers = [pool.submit(write, writer) for writer in range(8)]
        token, deadline = None, time.monotonic() + 60
        while len(read) < 8 * 6 * 2 and time.monotonic() < deadline:
            page = feed.changes(reader, after=token, limit=5)
            reader.rollback()
            read += [str(change.id) for change in page.changes]
            tokens += [tuple(map(int, change.token.split("."))) for change in page.changes]
            token = page.token
        assert feed.changes(reader, after=token).changes == ()
    written = set().union(*(writer.result() for writer in writers))

    assert sorted(read) == sorted(written)
    assert all(one < other for one, other in pairwise(tokens))


def test_a_token_is_good_after_the_rows_were_copied_to_another_server(committed):
    """There transactions have smaller numbers: what comes then must not sort before what was read."""
    CustomerFactory()
    committed.commit()
    committed.execute(text("UPDATE change_feed SET transaction_id = transaction_id + 1000000"))
    committed.commit()
    copied = caught_up(committed)
    assert kinds(copied) == [("customer", "insert")]
    for _ in range(2):
        CustomerFactory()
        committed.commit()

    page = caught_up(committed, copied.token)

    assert kinds(page) == [("customer", "insert")] * 2
    assert feed.changes(committed, after=None).changes == (*copied.changes, *page.changes)
    assert {change.life for change in committed.query(FeedChange)} == {1, 2}


def test_merges_and_erasures_are_told_and_name_nobody(committed):
    one, other = CustomerFactory(with_email=True, name="Wanda Wolf"), CustomerFactory(name="W. Wolf")
    committed.commit()
    token = caught_up(committed).token
    merging.merge(committed, one.id, other.id, actor="human:7", reason="one person")
    privacy.erase_customer(committed, one.id, actor="human:7", reason="asked")
    committed.commit()

    page = caught_up(committed, token)

    events = [change.change for change in page.changes if change.subject == "identity"]
    assert [event for event in events if event in ("merged", "erased")] == ["merged", "erased"]
    assert ("customer", "delete") in kinds(page)
    rows = committed.scalars(text("SELECT to_jsonb(f)::text FROM change_feed AS f")).all()
    assert "Wolf" not in "".join(rows)
    assert "@" not in "".join(rows)


@pytest.mark.own_connection("who listens does so in a session")
def test_a_notification_wakes_a_reader(crm_clone):
    url = crm_clone.url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url, autocommit=True) as listener:
        listener.execute(f"LISTEN {feed.CHANNEL}")
        with crm_clone.begin() as connection:
            connection.execute(INSERT, {"email": "ada@example.com"})
        (notification,) = listener.notifies(timeout=30, stop_after=1)

    assert (notification.channel, notification.payload) == (feed.CHANNEL, "")


@pytest.mark.parametrize(
    "token", ["", "1", "1.2", "1.2.3.4", "0.1.1", "1.-2.3", "1.2.x", 7, "1.2." + "9" * 19]
)
def test_what_is_no_token_is_refused(session, token):
    with pytest.raises(InvalidValue, match="after"):
        feed.changes(session, after=token)


@pytest.mark.parametrize("limit", [0, 10_001, True, "5"])
def test_a_limit_that_is_none_is_refused(session, limit):
    with pytest.raises(InvalidValue, match="limit"):
        feed.changes(session, limit=limit)
