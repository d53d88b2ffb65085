"""The same services and the same transactions for asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from uuid import uuid4

import pytest
from sqlalchemy import Engine, func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker
from sqlalchemy.orm import Session

from app.database import make_async_engine, make_async_session_factory, make_engine, transaction_async
from app.errors import CommitUnknown, DatabaseUnavailable, DuplicateValue, IllegalTransition
from app.models import Channel, Customer, Ticket, TicketCategory, TicketStatus
from app.services import tickets
from app.testing import Databases, QueryRecorder


@pytest.fixture(scope="module")
def engine(crm_databases: Databases) -> Iterator[Engine]:
    url = crm_databases.clone()
    engine = make_engine(url)
    yield engine
    engine.dispose()
    crm_databases.drop(url)


def run(url: object, story: Callable[[async_sessionmaker[AsyncSession]], Awaitable[object]]) -> object:
    """What becomes of the story in an event loop of its own."""

    async def whole_story() -> object:
        there: AsyncEngine = make_async_engine(url)
        try:
            return await story(make_async_session_factory(there))
        finally:
            await there.dispose()

    return asyncio.run(whole_story())


def end_backend(engine: Engine, session: Session) -> None:
    pid = session.scalar(select(func.pg_backend_pid()))
    with engine.connect() as other:
        other.execute(select(func.pg_terminate_backend(pid, 5000)))


def test_objects_stay_readable_after_the_commit(engine):
    def work(session: Session) -> Customer:
        customer = Customer(email=f"{uuid4()}@example.com", name="Ann")
        session.add(customer)
        return customer

    assert run(engine.url, lambda sessions: transaction_async(sessions, work)).name == "Ann"


def test_the_work_is_a_plain_service_and_is_committed(engine):
    email = f"{uuid4()}@example.com"

    def work(session: Session, *, name: str) -> str:
        session.add(Customer(email=email, name=name))
        return name

    assert run(engine.url, lambda sessions: transaction_async(sessions, work, name="Ann")) == "Ann"
    with engine.connect() as connection:
        assert connection.scalar(select(Customer.name).where(Customer.email == email)) == "Ann"


def test_two_tasks_in_a_deadlock_both_end_well(engine):
    emails = [f"{uuid4()}@example.com" for _ in range(2)]
    with engine.begin() as connection:
        connection.execute(insert(Customer), [{"email": email, "name": ""} for email in emails])
    calls = []

    def rename(session: Session, email: str, name: str) -> None:
        session.execute(update(Customer).where(Customer.email == email).values(name=name))

    async def story(sessions: async_sessionmaker[AsyncSession]) -> None:
        async def both(first: str, second: str, name: str) -> None:
            def work(session: Session) -> None:
                calls.append(name)
                rename(session, first, name)
                session.execute(text("SELECT pg_sleep(0.3)"))
                rename(session, second, name)

            await transaction_async(sessions, work)

        await asyncio.gather(both(emails[0], emails[1], "one"), both(emails[1], emails[0], "two"))

    run(engine.url, story)
    assert len(calls) == 3
    with engine.connect() as connection:
        names = connection.scalars(select(Customer.name).where(Customer.email.in_(emails))).all()
    assert names == [calls[2]] * 2


def test_a_connection_that_was_lost_before_the_commit_is_no_error(engine):
    calls = []

    def work(session: Session) -> int | None:
        calls.append(1)
        if len(calls) == 1:
            end_backend(engine, session)
        return session.scalar(select(1))

    assert run(engine.url, lambda sessions: transaction_async(sessions, work)) == 1
    assert len(calls) == 2


def test_a_connection_that_was_lost_during_the_commit_is_not_tried_again(engine):
    calls = []

    async def story(sessions: async_sessionmaker[AsyncSession]) -> None:
        def work(session: Session) -> None:
            calls.append(1)
            session.execute(text("CREATE TEMPORARY TABLE passing (id int) ON COMMIT DROP"))
            pid = session.scalar(select(func.pg_backend_pid()))
            # A deferred trigger runs in the commit itself.
            session.execute(text("CREATE TEMPORARY TABLE last (id int)"))
            session.execute(
                text("""
                CREATE FUNCTION pg_temp.hang_up() RETURNS trigger LANGUAGE plpgsql AS $$
                BEGIN
                    PERFORM pg_terminate_backend(pg_backend_pid()), pg_sleep(5);
                    RETURN NULL;
                END $$;
                CREATE CONSTRAINT TRIGGER hang_up AFTER INSERT ON last DEFERRABLE INITIALLY DEFERRED
                FOR EACH ROW EXECUTE FUNCTION pg_temp.hang_up();
                """)
            )
            session.execute(text("INSERT INTO last VALUES (:pid)"), {"pid": pid})

        await transaction_async(sessions, work)

    with pytest.raises(CommitUnknown):
        run(engine.url, story)
    assert len(calls) == 1


def test_refusals_and_a_server_that_is_down_are_typed(engine, tmp_path):
    email = f"{uuid4()}@example.com"

    def work(session: Session) -> None:
        session.execute(insert(Customer), [{"email": email}])
        session.execute(insert(Customer), [{"email": email}])

    with pytest.raises(DuplicateValue) as caught:
        run(engine.url, lambda sessions: transaction_async(sessions, work))
    assert email not in repr(caught.value)
    assert caught.value.__suppress_context__

    with pytest.raises(DatabaseUnavailable, match="no database server answers"):
        run(f"postgresql://ann@/crm?host={tmp_path}", lambda sessions: transaction_async(sessions, work))


def test_services_run_in_an_async_session(engine):
    async def story() -> tuple[Ticket, int]:
        there = make_async_engine(engine.url)
        try:
            async with AsyncSession(there, expire_on_commit=False) as session, session.begin():
                customer = Customer(email="async@example.com")
                session.add(customer)
                await session.flush()
                opened = await session.run_sync(
                    tickets.open_ticket,
                    customer_id=customer.id,
                    subject="Cannot sign in",
                    category=TicketCategory.ACCOUNT_ACCESS,
                    source_channel=Channel.EMAIL,
                    actor="human:7",
                )
                with QueryRecorder(there) as recorder:
                    ticket = await session.run_sync(
                        tickets.change_status, opened.id, TicketStatus.RESOLVED, actor="human:7"
                    )
                with pytest.raises(IllegalTransition):
                    await session.run_sync(
                        tickets.change_status, opened.id, TicketStatus.WAITING, actor="human:7"
                    )
                return ticket, recorder.count
        finally:
            await there.dispose()

    ticket, statements = asyncio.run(story())
    with Session(engine) as session:
        history = tickets.status_history(session, ticket.id)
    assert [(entry.new_status, entry.changed_by) for entry in history] == [
        (TicketStatus.OPEN, "human:7"),
        (TicketStatus.RESOLVED, "human:7"),
    ]
    assert (ticket.status, statements) == (TicketStatus.RESOLVED, 1)
