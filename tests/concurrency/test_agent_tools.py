"""A tool's call that several processes make at once is done once."""

from __future__ import annotations

import pytest
from sqlalchemy import func, select

from app.database import transaction
from app.models import Message, Ticket, ToolCall
from app.schemas import Identifier, InboundMessage
from app.services import agent, conversations

TICKET = {"subject": "Cannot sign in", "category": "technical"}


@pytest.fixture
def box(sessions):
    sender = Identifier(type="whatsapp", value="+4915112345678", verified=True)
    inbound = InboundMessage(
        channel="whatsapp", account="+14155238886", provider_message_id="SM1", sender=(sender,), content="?"
    )
    return agent.tools(transaction(sessions, conversations.ingest, inbound).conversation_id)


def count(sessions, model):
    with sessions() as session:
        return session.scalar(select(func.count()).select_from(model))


@pytest.mark.parametrize("isolation", ["READ COMMITTED", "REPEATABLE READ"])
def test_a_call_with_one_key_is_done_once_by_many_at_once(sessions, at_once, box, isolation):
    def call():
        def work(session):
            session.connection(execution_options={"isolation_level": isolation})
            return box.call(session, "open_ticket", TICKET, idempotency_key="call_1")

        return transaction(sessions, work, retries=20)

    results = at_once([call] * 12)

    assert sorted(result.repeated for result in results) == [False] + [True] * 11
    assert len({result.content["ticket_number"] for result in results}) == 1
    assert (count(sessions, Ticket), count(sessions, ToolCall)) == (1, 1)


def test_who_waits_for_a_call_that_fails_does_it(sessions, box, until_it_waits):
    def answer():
        return transaction(sessions, box.call, "reply", {"content": "Ok."}, idempotency_key="call_1")

    with sessions() as failing:
        assert box.call(failing, "reply", {"content": "Ok."}, idempotency_key="call_1").ok
        waiting = until_it_waits(answer)
        failing.rollback()

    result = waiting.result(20)
    assert (result.ok, result.repeated) == (True, False)
    assert (count(sessions, Message), count(sessions, ToolCall)) == (2, 1)
