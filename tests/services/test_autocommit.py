"""Calls that lock and write are refused where every statement is a transaction of its own."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest
from sqlalchemy import Engine, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from app.database import make_async_engine, make_engine
from app.errors import InvalidValue
from app.models import Channel, Customer
from app.schemas import DeliveryReport, Identifier, InboundMessage
from app.services import agent, conversations, identity, merging, outbox
from app.testing import QueryRecorder

WHO = Identifier(type="email", value="ann.alone@example.com", verified=True)
INBOUND = InboundMessage(
    channel=Channel.EMAIL, account="help@example.com", provider_message_id="1", sender=[WHO], content="Hello"
)
REPORT = DeliveryReport(
    channel=Channel.EMAIL, account="help@example.com", provider_message_id="1", status="delivered"
)
TOOLS = agent.tools(uuid4())
CALLS = {
    "resolve": lambda session: identity.resolve(session, [WHO], channel=Channel.EMAIL),
    "ingest": lambda session: conversations.ingest(session, INBOUND),
    "sent": lambda session: outbox.sent(session, uuid4(), provider_message_id="SM1"),
    "record_delivery": lambda session: outbox.record_delivery(session, REPORT),
    "a tool that writes": lambda session: TOOLS.call(session, "add_note", {}, idempotency_key="1"),
    "merge": lambda session: merging.merge(session, uuid4(), uuid4(), actor="human:7", reason="one"),
    "unmerge": lambda session: merging.unmerge(session, uuid4(), actor="human:7", reason="two"),
}


def engines(url: object) -> dict[str, Engine]:
    return {
        "engine": make_engine(url, isolation_level="AUTOCOMMIT"),
        "execution options": make_engine(url).execution_options(isolation_level="AUTOCOMMIT"),
        "read only": make_engine(url, read_only=True),
    }


READ_ONLY = pytest.param(
    "read only", marks=pytest.mark.own_connection("settings of a session do not pass"), id="read only"
)


@pytest.mark.parametrize("kind", ["engine", "execution options", READ_ONLY])
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_it_is_refused_before_anything_is_sent(crm_clone: Engine, call, kind):
    engine = engines(crm_clone.url)[kind]
    with Session(engine) as session, QueryRecorder(engine) as recorder:
        with pytest.raises(InvalidValue, match=r"^session: needs a transaction"):
            call(session)
        assert recorder.count == 0
    engine.dispose()
    with Session(crm_clone) as session:
        assert session.scalar(select(func.count()).select_from(Customer)) == 0


@pytest.mark.own_connection("settings of a session do not pass")
def test_tools_that_read_work_without_a_transaction(crm_clone: Engine):
    with Session(crm_clone) as session, session.begin():
        tools = agent.tools(conversations.ingest(session, INBOUND).conversation_id)
    engine = make_engine(crm_clone.url, read_only=True)
    with Session(engine) as session:
        assert tools.call(session, "read_conversation", {}).content["messages"][0]["text"] == "Hello"
        assert not tools.call(session, "read_ticket", {"ticket_number": "TKT-1"}).ok
    engine.dispose()


def test_an_asyncio_engine_is_no_exception(crm_clone: Engine):
    async def story() -> None:
        engine = make_async_engine(crm_clone.url, isolation_level="AUTOCOMMIT")
        async with AsyncSession(engine) as session:
            with pytest.raises(InvalidValue, match=r"^session: needs a transaction"):
                await session.run_sync(CALLS["resolve"])
        await engine.dispose()

    asyncio.run(story())


def test_in_a_transaction_the_question_costs_nothing(crm_clone: Engine):
    with Session(crm_clone) as session, session.begin():
        CALLS["resolve"](session)
        with QueryRecorder(crm_clone) as recorder:
            CALLS["resolve"](session)
        assert recorder.count == 1
