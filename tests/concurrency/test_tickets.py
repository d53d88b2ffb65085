"""Agents and raw SQL fight over one ticket: one of them wins each round, and the record tells it all."""

from __future__ import annotations

from itertools import pairwise
from uuid import UUID

import pytest
from sqlalchemy import Engine, select, text
from sqlalchemy.orm import Session, sessionmaker

from app.errors import StaleStatus
from app.models import Ticket, TicketStatus
from app.services import tickets
from app.testing import CustomerFactory, TicketFactory, bound_to

NEXT = {
    TicketStatus.OPEN: TicketStatus.PROCESSING,
    TicketStatus.PROCESSING: TicketStatus.WAITING,
    TicketStatus.WAITING: TicketStatus.OPEN,
}
RAW_STEP = text("""
    UPDATE tickets SET status = CASE status
        WHEN 'open' THEN 'processing' WHEN 'processing' THEN 'waiting' ELSE 'open'
    END WHERE id = :id
""")
IS_SOUND = text("""
    SELECT bool_and(is_sound AND is_linked) FROM (
        SELECT hash = ticket_status_change_hash(c) AS is_sound,
            prev_hash = lag(hash, 1, decode(repeat('00', 32), 'hex')) OVER (ORDER BY seq) AS is_linked
        FROM ticket_status_changes c WHERE ticket_id = :id
    ) AS entries
""")


@pytest.fixture
def ticket_id(crm_clone: Engine) -> UUID:
    with Session(crm_clone) as session, bound_to(session):
        ticket_id = TicketFactory().id
        session.commit()
    return ticket_id


def fight(sessions: sessionmaker[Session], at_once, ticket_id: UUID, *, rounds: int) -> None:
    """Four agents and four raw clients move the ticket ``rounds`` times each, as fast as they can."""

    def agent(number: int) -> None:
        for _ in range(rounds):
            with sessions.begin() as session:
                locked = select(Ticket.status).where(Ticket.id == ticket_id).with_for_update()
                status = NEXT[session.scalars(locked).one()]
                tickets.change_status(session, ticket_id, status, actor=f"human:{number}")

    def raw() -> None:
        for _ in range(rounds):
            with sessions.begin() as session:
                session.execute(RAW_STEP, {"id": ticket_id})

    at_once([*(lambda number=number: agent(number) for number in range(4)), *[raw] * 4])
    with sessions() as session:
        history = tickets.status_history(session, ticket_id)
        assert len(history) == 1 + 8 * rounds
        assert all(later.old_status is earlier.new_status for earlier, later in pairwise(history))
        assert history[-1].new_status is tickets.get_ticket(session, ticket_id).status
        actors = [entry.changed_by for entry in history[1:]]
        user = session.scalar(text("SELECT session_user"))
        assert {actor: actors.count(actor) for actor in actors} == {
            **{f"human:{number}": rounds for number in range(4)},
            f"db:{user}": 4 * rounds,
        }
        assert session.scalar(IS_SOUND, {"id": ticket_id}) is True


def test_eight_clients_make_fifty_changes_each_and_the_chain_is_unbroken(sessions, at_once, ticket_id):
    fight(sessions, at_once, ticket_id, rounds=50)


@pytest.mark.soak
def test_eight_clients_make_a_thousand_changes_each_and_the_chain_is_unbroken(sessions, at_once, ticket_id):
    fight(sessions, at_once, ticket_id, rounds=1_000)


def test_of_eight_agents_with_one_stale_read_one_wins(sessions, at_once, ticket_id):
    def take(number: int) -> bool:
        with sessions() as session:
            try:
                tickets.change_status(
                    session,
                    ticket_id,
                    TicketStatus.PROCESSING,
                    actor=f"human:{number}",
                    expected_status=TicketStatus.OPEN,
                )
            except StaleStatus:
                return False
            session.commit()
            return True

    won = at_once([lambda number=number: take(number) for number in range(8)])
    assert sum(won) == 1
    with sessions() as session:
        history = tickets.status_history(session, ticket_id)
        assert [entry.changed_by for entry in history[1:]] == [f"human:{won.index(True)}"]


def test_tickets_opened_at_once_have_numbers_of_their_own(sessions, at_once, crm_clone):
    with Session(crm_clone) as session, bound_to(session):
        customer_id = CustomerFactory().id
        session.commit()

    def open_some() -> list[str]:
        with sessions.begin() as session:
            return [
                tickets.open_ticket(
                    session,
                    customer_id=customer_id,
                    subject="Cannot sign in",
                    category="technical",
                    source_channel="email",
                    actor="ai:agent",
                ).ticket_number
                for _ in range(10)
            ]

    numbers = [number for made in at_once([open_some] * 8) for number in made]
    assert len(set(numbers)) == 80
