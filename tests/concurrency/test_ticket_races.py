"""Everybody at one ticket at once, and backends that die in the middle: change and record, both or none."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from random import Random
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine, func, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, sessionmaker

from app.errors import CRMError
from app.models import (
    TRANSITIONS,
    Ticket,
    TicketFieldChange,
    TicketLink,
    TicketPriority,
    TicketStatus,
    TicketStatusChange,
)
from app.schemas import Identifier, InboundMessage
from app.services import conversations, tickets
from app.testing import TicketFactory, bound_to

RAW = "UPDATE tickets SET priority = :priority, assigned_to = :assignee WHERE id = :id"


@pytest.fixture
def ticket_id(crm_clone: Engine) -> UUID:
    with Session(crm_clone) as session, bound_to(session):
        ticket_id = TicketFactory().id
        session.commit()
    return ticket_id


def change_something(session: Session, ticket_id: UUID, random: Random, actor: str) -> None:
    """One change of a ticket that is locked, so that it is known to be one."""
    ticket = session.scalars(select(Ticket).where(Ticket.id == ticket_id).with_for_update()).one()
    way = random.randrange(4)
    if way == 0:
        status = random.choice(sorted(TRANSITIONS[ticket.status]))
        tickets.change_status(session, ticket_id, status, actor=actor, escalation_reason="angry")
    elif way == 1:
        tickets.assign(session, ticket_id, f"human:{random.randrange(10**9)}", actor=actor)
    elif way == 2:
        others = [priority for priority in TicketPriority if priority is not ticket.priority]
        tickets.change_priority(session, ticket_id, random.choice(others), actor=actor)
    else:
        values = {"id": ticket_id, "priority": ticket.priority, "assignee": str(random.random())}
        session.execute(text(RAW), values)


def contend(sessions: sessionmaker[Session], at_once, ticket_id: UUID, *, rounds: int) -> None:
    def work(number: int) -> None:
        random = Random(number)
        for _ in range(rounds):
            with sessions.begin() as session:
                change_something(session, ticket_id, random, f"human:{number}")

    at_once([lambda number=number: work(number) for number in range(8)])
    with sessions() as session:
        entries = len(tickets.status_history(session, ticket_id)) - 1
        entries += len(tickets.field_history(session, ticket_id))
        assert entries == 8 * rounds
        assert tickets.verify_history(session) == []


def test_eight_writers_lose_no_change_and_break_no_chain(sessions, at_once, ticket_id):
    contend(sessions, at_once, ticket_id, rounds=15)


@pytest.mark.soak
def test_eight_writers_make_two_hundred_changes_each_and_lose_none(sessions, at_once, ticket_id):
    contend(sessions, at_once, ticket_id, rounds=200)


def test_of_eight_who_reopen_too_late_one_opens_the_follow_up(sessions, at_once, crm_clone):
    with Session(crm_clone) as session, bound_to(session):
        ticket_id = TicketFactory(closed=True).id
        session.commit()

    def ask(number: int) -> UUID:
        with sessions.begin() as session:
            return tickets.reopen(session, ticket_id, actor=f"human:{number}", grace=timedelta(0)).id

    opened = at_once([lambda number=number: ask(number) for number in range(8)])
    assert len(set(opened)) == 1
    with sessions() as session:
        assert session.scalar(select(func.count()).select_from(TicketLink)) == 1
        assert session.scalar(select(func.count()).select_from(Ticket)) == 2


def test_escalating_both_ways_and_messages_coming_in_do_not_block_each_other(sessions, at_once):
    def message(number: int) -> InboundMessage:
        return InboundMessage(
            channel="email",
            account="support@techcorp.example",
            provider_message_id=f"<{number}-{uuid4()}@mail.example.com>",
            sender=[Identifier(type="email", value="ada@example.com", verified=True)],
            content="Hello?",
        )

    with sessions.begin() as session:
        first = conversations.ingest(session, message(0))
        ticket_id = tickets.open_ticket(
            session,
            customer_id=first.customer_id,
            conversation_id=first.conversation_id,
            subject="Hello?",
            category="technical",
            source_channel="email",
            actor="ai:agent",
        ).id

    def from_the_ticket(session: Session, number: int) -> None:
        status = (TicketStatus.ESCALATED, TicketStatus.WAITING)[number % 2]
        with_it = {"escalation_reason": "angry", "with_conversation": True}
        tickets.change_status(session, ticket_id, status, actor="ai:agent", **with_it)

    def from_the_conversation(session: Session, number: int) -> None:
        status = ("escalated", "active")[number % 2]
        with_it = {"escalation_reason": "angry", "with_ticket": True}
        conversations.change_status(session, first.conversation_id, status, actor="human:7", **with_it)

    def repeat(step: Callable[[Session, int], Any]) -> None:
        for number in range(15):
            with sessions.begin() as session:
                step(session, number)

    def from_outside(session: Session, number: int) -> None:
        conversations.ingest(session, message(number))

    # A deadlock would be an error in one of them.
    steps = [from_the_ticket, from_the_conversation, from_outside] * 2
    at_once([lambda step=step: repeat(step) for step in steps])
    with sessions() as session:
        assert tickets.verify_history(session) == []


def counted(session: Session, ticket_id: UUID) -> tuple[Any, ...]:
    """The ticket as it is, and how many entries its records have."""
    ticket = session.execute(
        select(Ticket.status, Ticket.priority, Ticket.assigned_to).where(Ticket.id == ticket_id)
    ).one()
    entries = (
        session.scalar(select(func.count()).where(model.ticket_id == ticket_id))
        for model in (TicketStatusChange, TicketFieldChange)
    )
    return (*ticket, *entries)


@contextmanager
def condemned(engine: Engine) -> Iterator[tuple[Session, Callable[[], None]]]:
    """A session that keeps its one backend over commits, and what ends that backend."""
    with engine.connect() as connection:
        session = Session(connection)
        pid = session.scalar(text("SELECT pg_backend_pid()"))
        session.commit()

        def kill() -> None:
            with engine.connect() as killer:
                assert killer.scalar(text("SELECT pg_terminate_backend(:pid, 10000)"), {"pid": pid})

        yield session, kill
        connection.invalidate()


@pytest.mark.own_connection("server processes are not the client's own")
def test_a_backend_that_dies_leaves_change_and_record_both_or_none(crm_clone, sessions, ticket_id):
    for seed in range(20):
        random = Random(seed)
        errors: list[DBAPIError] = []
        at_work = threading.Event()
        with condemned(crm_clone) as (victim, kill):

            def work(victim=victim, random=random, errors=errors, at_work=at_work) -> None:
                try:
                    while True:
                        change_something(victim, ticket_id, random, "human:7")
                        victim.commit()
                        at_work.set()
                except DBAPIError as error:
                    errors.append(error)

            worker = threading.Thread(target=work)
            worker.start()
            assert at_work.wait(30)
            time.sleep(random.random() * 0.03)
            kill()
            worker.join(30)
        assert len(errors) == 1, seed
        with sessions() as session:
            assert tickets.verify_history(session) == [], seed
    with sessions() as session:
        *_, changes, field_changes = counted(session, ticket_id)
        assert changes + field_changes > 20


@pytest.mark.own_connection("server processes are not the client's own")
@pytest.mark.parametrize("step", ["lock", "status", "fields", "commit"])
def test_what_a_dying_backend_had_not_committed_is_gone_and_the_rest_is_there(
    crm_clone, sessions, ticket_id, step
):
    with sessions() as session:
        before = counted(session, ticket_id)
    with condemned(crm_clone) as (victim, kill):
        victim.scalars(select(Ticket).where(Ticket.id == ticket_id).with_for_update()).one()
        if step != "lock":
            tickets.change_status(victim, ticket_id, TicketStatus.WAITING, actor="human:7")
        if step in {"fields", "commit"}:
            victim.execute(text(RAW), {"id": ticket_id, "priority": "low", "assignee": "human:9"})
        if step == "commit":
            victim.commit()
        kill()
    with sessions() as session:
        expected = ("waiting", "low", "human:9", 2, 2) if step == "commit" else before
        assert counted(session, ticket_id) == expected
        assert tickets.verify_history(session) == []
        tickets.change_status(session, ticket_id, TicketStatus.RESOLVED, actor="human:7")


def test_a_refusal_leaves_the_lock_to_its_owner_and_the_session_usable(sessions, ticket_id):
    with sessions() as one, sessions() as two:
        tickets.change_status(one, ticket_id, TicketStatus.RESOLVED, actor="human:1")
        two.execute(text("SET LOCAL lock_timeout = '100ms'"))
        with pytest.raises(DBAPIError, match="lock timeout"), two.begin_nested():
            tickets.change_status(two, ticket_id, TicketStatus.WAITING, actor="human:2")
        one.commit()
        with pytest.raises(CRMError):
            tickets.change_status(two, ticket_id, TicketStatus.WAITING, actor="human:2")
        tickets.change_status(two, ticket_id, TicketStatus.CLOSED, actor="human:2")
        two.commit()
        assert tickets.verify_history(one) == []
