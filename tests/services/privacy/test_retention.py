"""What is too old loses its words, batch by batch."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select, text

from app.errors import InvalidValue
from app.models import AgentMetric, Message
from app.services import privacy
from app.testing import AgentMetricFactory, ConversationFactory, MessageFactory
from tests.services._reading import rows_read

YEAR = timedelta(days=365)
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def all_batches(session, **options) -> list[int]:
    counts, after = [], None
    while True:
        report = privacy.retain(session, after=after, **options)
        counts.append(report.rows)
        if (after := report.next) is None:
            return counts


def test_old_messages_lose_their_words_and_stay_counted(session):
    conversation = ConversationFactory()
    for n in range(5):
        MessageFactory(
            conversation=conversation,
            created_at=LONG_AGO + timedelta(days=n % 3),
            content=f"Old words {n}",
            extra={"auto_reply": True, "subject": "Help"},
        )
    fresh = MessageFactory(conversation=conversation, content="Fresh words")

    assert all_batches(session, older_than=YEAR, what="messages", limit=2) == [2, 2, 1]

    old = session.scalars(select(Message).where(Message.created_at < LONG_AGO + YEAR)).all()
    assert [(message.content, message.extra) for message in old] == [
        ("", {"erased": True, "auto_reply": True})
    ] * 5
    assert session.get_one(Message, fresh.id, populate_existing=True).content == "Fresh words"
    assert all_batches(session, older_than=YEAR, what="messages") == [0]


@pytest.mark.parametrize("extra", ['["erased"]', '"erased"', '{"erased": true}'])
def test_what_only_looks_emptied_loses_its_words_too(session, extra):
    MessageFactory(created_at=LONG_AGO, content="Old words")
    session.execute(text("UPDATE messages SET metadata = CAST(:extra AS jsonb)"), {"extra": extra})
    assert all_batches(session, older_than=YEAR, what="messages") == [1]
    assert all_batches(session, older_than=YEAR, what="messages") == [0]


def test_messages_under_a_legal_hold_keep_their_words(session):
    held = MessageFactory(created_at=LONG_AGO, content="Evidence")
    hold = privacy.place_hold(session, held.customer_id, actor="human:7", reason="a trial")
    assert all_batches(session, older_than=YEAR, what="messages") == [0]

    privacy.release_hold(session, hold.id, actor="human:7", reason="over")
    assert all_batches(session, older_than=YEAR, what="messages") == [1]


def test_reports_that_found_no_message_go_with_the_messages_of_their_time(session):
    MessageFactory(created_at=LONG_AGO)
    reports = text("""
        INSERT INTO early_delivery_reports
            (channel, account, provider_message_id, status, recipient, received_at)
        SELECT 'whatsapp', '+14155238886', n, 'failed', '+5215512345678',
            CASE WHEN n <= 5 THEN CAST(:long_ago AS timestamptz) ELSE now() END
        FROM generate_series(1, 8) AS n
    """)
    session.execute(reports, {"long_ago": LONG_AGO})

    assert sum(all_batches(session, older_than=YEAR, what="messages", limit=2)) == 1

    assert session.scalar(text("SELECT count(*) FROM early_delivery_reports")) == 3


def test_old_measurements_go(session):
    for n, metric_type in enumerate(("escalation", "message_volume", "tool_call")):
        AgentMetricFactory(metric_type=metric_type, recorded_at=LONG_AGO + timedelta(days=n))
    AgentMetricFactory()

    assert sum(all_batches(session, older_than=YEAR, what="metrics", limit=2)) == 3
    assert session.scalar(select(func.count()).select_from(AgentMetric)) == 1


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"older_than": timedelta(0), "what": "messages"}, "older_than"),
        ({"older_than": 365, "what": "messages"}, "older_than"),
        ({"older_than": YEAR, "what": "tickets"}, "what"),
        ({"older_than": YEAR, "what": "messages", "limit": 0}, "limit"),
        ({"older_than": YEAR, "what": "messages", "after": "yesterday"}, "after"),
        ({"older_than": YEAR, "what": "messages", "after": "2026-03-01T12:00:00/"}, "after"),
    ],
)
def test_what_makes_no_sense_is_refused(session, options, field):
    with pytest.raises(InvalidValue) as refused:
        privacy.retain(session, **options)
    assert refused.value.field == field


def test_longer_than_time_itself_is_nothing(session):
    MessageFactory(created_at=LONG_AGO)
    assert privacy.retain(session, older_than=timedelta.max, what="messages").rows == 0


def test_a_batch_reads_no_ways_back_of_others(session):
    one = MessageFactory(created_at=LONG_AGO)
    routes = text("""
        INSERT INTO conversation_routes (
            conversation_id, channel, account, identifier_type, identifier_value, address
        )
        SELECT :id, 'email', 'support@', 'email', n || '@example.com', n || '@example.com'
        FROM generate_series(1, 500) AS n
    """)
    session.execute(routes, {"id": one.conversation_id})
    session.execute(text("ANALYZE conversation_routes"))
    assert rows_read(session, lambda: all_batches(session, older_than=YEAR, what="messages")) < 100


def test_a_batch_reads_no_measurements_that_are_not_old(session):
    fill = text("""
        INSERT INTO agent_metrics (metric_type, value, recorded_at)
        SELECT 'escalation', 1, now() - n * interval '1 second' FROM generate_series(1, 20000) AS n
    """)
    session.execute(fill)
    AgentMetricFactory(metric_type="tool_call", recorded_at=LONG_AGO)
    session.execute(text("ANALYZE agent_metrics"))
    before = pages_of_measurements(session)
    assert all_batches(session, older_than=YEAR, what="metrics") == [1]
    assert pages_of_measurements(session) - before < 30


def pages_of_measurements(session) -> int:
    """Pages of its indexes that this transaction has looked at: what an index leads past is no row read."""
    pages = text("""
        SELECT sum(pg_stat_get_xact_blocks_fetched(indexrelid)) FROM pg_index
        WHERE indrelid = 'agent_metrics'::regclass
    """)
    return int(session.scalar(pages) or 0)
