"""With ``measure`` services count what they do, in the transaction that does it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from sqlalchemy import select, text

from app.errors import InvalidValue
from app.models import AgentMetric, Channel
from app.schemas import InboundEvent, OutboundMessage
from app.services import conversations, metrics, tickets
from app.testing import TicketFactory
from tests.services.conversations._messages import ACCOUNT, mail, whatsapp

STAFF = {"actor": "human:7"}
COUNTED = {"measure": True}


def kept(session):
    rows = session.execute(
        select(AgentMetric.metric_type, AgentMetric.channel, AgentMetric.value).order_by(
            AgentMetric.metric_type, AgentMetric.value
        )
    )
    return [(row.metric_type.value, row.channel.value, row.value) for row in rows]


def answer(session, ingested, **facts):
    outbound = OutboundMessage(content="Open Settings.", **facts)
    return conversations.reply(session, ingested.conversation_id, outbound, **STAFF, **COUNTED)


def age(session, seconds):
    statement = "UPDATE messages SET created_at = created_at - make_interval(secs => :seconds)"
    session.execute(text(statement), {"seconds": seconds})


def test_a_day_is_counted_by_itself(session):
    first = conversations.ingest(session, mail(id="<1@x>"), **COUNTED)
    conversations.ingest(session, mail(references=("<1@x>",)), **COUNTED)
    answer(session, first, processing_latency_ms=1200)
    conversations.change_status(
        session, first.conversation_id, "escalated", escalation_reason="angry", **STAFF, **COUNTED
    )

    day = {of.channel: of for of in metrics.channel_metrics(session)}[Channel.EMAIL]

    assert (day.total_conversations, day.escalation_count, day.avg_latency_ms) == (1, 1, 1200)
    assert (day.conversations, day.messages, day.escalations) == (1, 3, 1)
    directions = session.scalars(
        select(AgentMetric.extra["direction"].astext).where(AgentMetric.metric_type == "message_volume")
    )
    assert sorted(directions) == ["inbound", "inbound", "outbound"]


def test_nothing_is_counted_unasked_and_nothing_twice(session):
    first = conversations.ingest(session, mail(id="<1@x>"))
    conversations.reply(session, first.conversation_id, OutboundMessage(content="Yes."))
    assert kept(session) == []
    assert conversations.ingest(session, mail(id="<1@x>"), **COUNTED).duplicate
    assert kept(session) == []


def test_an_archive_and_events_are_not_of_today(session):
    old = whatsapp(id="wamid.1", received_at=datetime(2020, 1, 1, tzinfo=UTC))
    conversations.ingest(session, old, archived=True, **COUNTED)
    conversations.ingest(
        session, whatsapp(event=InboundEvent.REACTION, reaction_to="wamid.1", content="!"), **COUNTED
    )
    assert kept(session) == []


def test_what_is_rolled_back_was_never_counted(session):
    with session.begin_nested() as savepoint:
        conversations.ingest(session, mail(), **COUNTED)
        assert kept(session)
        savepoint.rollback()
    assert kept(session) == []


def test_an_answer_without_a_latency_of_its_own_took_as_long_as_the_customer_waited(session):
    first = conversations.ingest(session, mail(id="<1@x>"))
    age(session, 60)
    conversations.ingest(session, mail(references=("<1@x>",)))
    answer(session, first, auto_reply=True)
    answer(session, first)
    answer(session, first, processing_latency_ms=0)
    answer(session, first)

    latencies = [value for kind, _, value in kept(session) if kind == "response_latency"]

    assert latencies[0] == 0
    assert 60_000 <= latencies[1] < 120_000
    assert len(latencies) == 2


def test_who_writes_first_answers_nobody(session):
    customer_id = conversations.ingest(session, mail()).customer_id
    to = mail().sender[0]
    started = conversations.start(session, customer_id, channel="email", account=ACCOUNT, to=to)
    conversations.reply(session, started.id, OutboundMessage(content="News."), **COUNTED)
    assert [kind for kind, *_ in kept(session)] == ["message_volume"]


@pytest.mark.parametrize("by_ticket", [True, False])
def test_an_escalation_is_counted_once_however_it_is_said(session, by_ticket):
    first = conversations.ingest(session, whatsapp())
    ticket = TicketFactory(
        conversation_id=first.conversation_id, customer_id=first.customer_id, source_channel="whatsapp"
    )
    for _ in range(2):
        if by_ticket:
            tickets.change_status(
                session, ticket.id, "escalated", escalation_reason="angry", with_conversation=True,
                comment="again", **STAFF, **COUNTED,
            )  # fmt: skip
        else:
            conversations.change_status(
                session, first.conversation_id, "escalated", escalation_reason="angry", with_ticket=True,
                **STAFF, **COUNTED,
            )  # fmt: skip
    assert kept(session) == [("escalation", "whatsapp", 1)]
    tickets.change_status(session, ticket.id, "processing", **STAFF, **COUNTED)
    assert len(kept(session)) == 1


def test_measure_is_true_or_false(session):
    first = conversations.ingest(session, mail())
    for call in (
        lambda: conversations.ingest(session, mail(), measure="yes"),
        lambda: conversations.reply(session, first.conversation_id, OutboundMessage(content="x"), measure=1),
        lambda: conversations.change_status(session, first.conversation_id, "closed", measure=None, **STAFF),
        lambda: tickets.change_status(session, first.conversation_id, "open", measure=0, **STAFF),
    ):
        with pytest.raises(InvalidValue, match=r"^measure: "):
            call()
