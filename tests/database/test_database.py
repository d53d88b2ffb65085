"""Engines, sessions, and the one place that commits, against a real server with real conflicts."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from uuid import uuid4

import pytest
from sqlalchemy import Connection, Engine, event, func, insert, select, text, update
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.orm import Session, sessionmaker

from app.database import make_engine, make_session_factory, transaction
from app.errors import CommitUnknown, DatabaseUnavailable, DuplicateValue, IllegalTransition
from app.models import Customer
from app.testing import Databases

WAIT = 20


@pytest.fixture(scope="module")
def engine(crm_databases: Databases) -> Iterator[Engine]:
    """An engine on a database where these tests commit, each to rows of its own."""
    url = crm_databases.clone()
    engine = make_engine(url)
    yield engine
    engine.dispose()
    crm_databases.drop(url)


@pytest.fixture
def sessions(engine: Engine) -> sessionmaker[Session]:
    return make_session_factory(engine)


@pytest.fixture
def people(sessions: sessionmaker[Session]) -> list[str]:
    emails = [f"{uuid4()}@example.com" for _ in range(2)]
    with sessions.begin() as session:
        session.add_all([Customer(email=email, name="") for email in emails])
    return emails


def rename(session: Session, email: str, name: str) -> None:
    session.execute(update(Customer).where(Customer.email == email).values(name=name))


def names(sessions: sessionmaker[Session], people: list[str]) -> list[str | None]:
    with sessions() as session:
        found = session.execute(select(Customer.email, Customer.name).where(Customer.email.in_(people)))
        by_email = {row.email: row.name for row in found}
    return [by_email[email] for email in people]


def in_threads(*works: Callable[[], object]) -> list[object]:
    with ThreadPoolExecutor(len(works)) as pool:
        return [future.result(WAIT) for future in [pool.submit(work) for work in works]]


def test_errors_of_an_engine_do_not_show_bound_values(session):
    with pytest.raises(DBAPIError) as caught:
        session.execute(text("SELECT CAST(:value AS int)"), {"value": "8hidden8"})
    assert "parameters hidden" in str(caught.value)


def test_a_connection_names_its_application_unless_the_caller_does(crm_database_url):
    for options, name in (({}, "crm"), ({"connect_args": {"application_name": "desk"}}, "desk")):
        engine = make_engine(crm_database_url, **options)
        with engine.connect() as connection:
            assert connection.scalar(text("SHOW application_name")) == name
        engine.dispose()


def test_json_without_a_spelling_is_refused_before_it_is_sent(session):
    session.add(Customer(email="nan@example.com", extra={"score": float("nan")}))
    with pytest.raises(ValueError, match="JSON compliant"):
        session.flush()


def test_objects_stay_readable_after_the_commit(sessions, people):
    with sessions.begin() as session:
        customer = session.scalars(select(Customer).where(Customer.email == people[0])).one()
    assert customer.email == people[0]


def test_a_transaction_commits_once_and_returns_what_the_work_does(engine, sessions, people):
    commits = []

    @event.listens_for(engine, "commit")
    def count(connection: Connection) -> None:
        commits.append(connection)

    def work(session: Session, email: str, *, name: str) -> str:
        rename(session, email, name)
        return name

    assert transaction(sessions, work, people[0], name="Ann") == "Ann"
    assert len(commits) == 1
    event.remove(engine, "commit", count)
    assert names(sessions, people) == ["Ann", ""]


@pytest.mark.parametrize("error", [RuntimeError(), KeyboardInterrupt(), IllegalTransition("open", "closed")])
def test_any_error_of_the_work_rolls_back_and_is_raised_as_it_is(sessions, people, error):
    calls = []

    def work(session: Session) -> None:
        calls.append(1)
        rename(session, people[0], "Ann")
        raise error

    with pytest.raises(type(error)) as caught:
        transaction(sessions, work)
    assert caught.value is error
    assert (len(calls), names(sessions, people)) == (1, ["", ""])


def test_a_broken_constraint_is_not_tried_again_and_raised_as_what_it_means(sessions, people):
    calls = []

    def work(session: Session) -> None:
        calls.append(1)
        session.execute(insert(Customer).values(email=people[0]))

    with pytest.raises(DuplicateValue, match="customers_email_key") as caught:
        transaction(sessions, work)
    assert len(calls) == 1
    # The database's own text repeats the row.
    assert caught.value.__suppress_context__
    assert caught.value.__cause__ is None


def test_the_work_runs_again_after_a_deadlock(sessions, people):
    barrier, calls = threading.Barrier(2), []

    def work(session: Session, first: str, second: str, name: str) -> None:
        calls.append(name)
        rename(session, first, name)
        if len(calls) <= 2:
            barrier.wait(WAIT)
        rename(session, second, name)

    in_threads(
        lambda: transaction(sessions, work, people[0], people[1], "one"),
        lambda: transaction(sessions, work, people[1], people[0], "two"),
    )
    assert len(calls) == 3
    # The one that was run again was the last.
    assert names(sessions, people) == [calls[2]] * 2


def test_the_work_runs_again_after_a_serialization_failure(engine, sessions, people):
    serial = make_session_factory(engine.execution_options(isolation_level="SERIALIZABLE"))
    barrier, calls = threading.Barrier(2), []

    def count_up(session: Session) -> None:
        calls.append(1)
        name = session.scalar(select(Customer.name).where(Customer.email == people[0]))
        if len(calls) <= 2:
            barrier.wait(WAIT)
        rename(session, people[0], f"{name}+")

    in_threads(lambda: transaction(serial, count_up), lambda: transaction(serial, count_up))
    assert (len(calls), names(sessions, people)) == (3, ["++", ""])


def test_an_error_that_is_no_rule_of_the_database_is_raised_as_it_is(sessions):
    with pytest.raises(DBAPIError, match="division by zero"):
        transaction(sessions, lambda session: session.execute(text("SELECT 1 / 0")))


@pytest.mark.parametrize("freed", [True, False])
def test_the_work_runs_again_after_a_lock_timeout_as_often_as_asked(sessions, people, freed):
    holder, calls = sessions(), []
    rename(holder, people[0], "held")

    def work(session: Session) -> None:
        calls.append(1)
        if freed and len(calls) == 2:
            holder.rollback()
        session.execute(text("SET LOCAL lock_timeout = '30ms'"))
        rename(session, people[0], "Ann")

    if freed:
        transaction(sessions, work)
        assert (len(calls), names(sessions, people)) == (2, ["Ann", ""])
    else:
        with pytest.raises(OperationalError) as caught:
            transaction(sessions, work, retries=2)
        assert (len(calls), caught.value.orig.sqlstate) == (3, "55P03")
    holder.close()


def lose(engine: Engine, connection: Connection) -> None:
    """End the server's side of a connection."""
    pid = connection.scalar(select(func.pg_backend_pid()))
    with engine.connect() as other:
        other.execute(select(func.pg_terminate_backend(pid, 5000)))


@pytest.mark.parametrize("in_savepoint", [False, True])
def test_the_work_runs_again_after_a_connection_that_was_lost_before_the_commit(
    engine, sessions, people, in_savepoint
):
    calls = []

    def work(session: Session) -> None:
        calls.append(1)
        rename(session, people[0], f"call {len(calls)}")
        if len(calls) == 1:
            lose(engine, session.connection())
            with session.begin_nested() if in_savepoint else nullcontext():
                session.execute(select(1))

    transaction(sessions, work)
    assert (len(calls), names(sessions, people)) == (2, ["call 2", ""])


def test_a_connection_that_is_lost_each_time_is_an_error_in_the_end(engine, sessions):
    calls = []

    def work(session: Session) -> None:
        calls.append(1)
        lose(engine, session.connection())
        session.execute(select(1))

    with pytest.raises(DatabaseUnavailable, match="connection to the database server was lost"):
        transaction(sessions, work, retries=2)
    assert len(calls) == 3


def test_a_server_that_is_down_is_a_typed_error_at_once(tmp_path):
    calls = []
    down = make_session_factory(make_engine(f"postgresql://ann:8hidden8@/crm?host={tmp_path}"))

    def work(session: Session) -> None:
        calls.append(1)
        session.execute(select(1))

    with pytest.raises(DatabaseUnavailable, match="no database server answers") as caught:
        transaction(down, work)
    assert len(calls) == 1
    assert "hidden" not in repr(caught.value)
    assert caught.value.__cause__ is None


def test_a_connection_that_is_lost_during_the_commit_is_not_tried_again(engine, sessions, people):
    calls = []

    def work(session: Session) -> None:
        calls.append(1)
        rename(session, people[0], "Ann")

    @event.listens_for(engine, "commit")
    def cut(connection: Connection) -> None:
        lose(engine, connection)

    try:
        with pytest.raises(CommitUnknown):
            transaction(sessions, work)
    finally:
        event.remove(engine, "commit", cut)
    assert (len(calls), names(sessions, people)) == (1, ["", ""])


def test_a_connection_that_is_lost_before_what_is_pending_is_sent_was_lost_before_the_commit(
    engine, sessions
):
    calls, email = [], f"{uuid4()}@example.com"

    def work(session: Session) -> None:
        calls.append(1)
        session.add(Customer(email=email))
        if len(calls) == 1:
            lose(engine, session.connection())

    transaction(sessions, work)
    assert len(calls) == 2
