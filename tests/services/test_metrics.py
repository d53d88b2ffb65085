"""Measurements: kept as they are, and summed up for every channel, the silent ones too."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import func, select, text

from app.errors import InvalidValue
from app.models import AgentMetric, Channel, MetricType
from app.schemas import Measurement
from app.services import metrics
from app.testing import AgentMetricFactory

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
SILENT = (0, None, 0, None)


def measured(session, **options):
    found = metrics.channel_metrics(session, **options)
    assert [of.channel for of in found] == list(Channel)
    return {
        of.channel: (of.total_conversations, of.avg_sentiment, of.escalation_count, of.avg_latency_ms)
        for of in found
    }


def at(
    when: datetime, metric_type: MetricType, value: float, channel: Channel | None = Channel.EMAIL
) -> None:
    AgentMetricFactory(recorded_at=when, metric_type=metric_type, value=value, channel=channel)


def test_a_measurement_is_kept_in_one_statement(session, queries):
    metric = metrics.record(
        session, MetricType.RESPONSE_LATENCY, 850, channel=Channel.EMAIL, extra={"tool": "search"}
    )
    assert queries.count == 1, queries
    session.refresh(metric)
    assert (metric.metric_type, metric.channel, metric.value) == ("response_latency", "email", 850.0)
    assert (metric.extra, metric.recorded_at is not None) == ({"tool": "search"}, True)
    everywhere = metrics.record(session, "tool_call", 1)
    assert (everywhere.channel, everywhere.extra) == (None, {})


@pytest.mark.parametrize(
    ("field", "arguments"),
    [
        *(("value", {"value": bad}) for bad in (float("nan"), float("inf"), -float("inf"), 10**400)),
        *(("value", {"value": bad}) for bad in ("1", None, True, 1j)),
        ("metric_type", {"metric_type": "mood"}),
        ("channel", {"channel": "fax"}),
        ("extra", {"extra": {"n": float("nan")}}),
        ("extra", {"extra": ["x"]}),
        ("extra", {"extra": {"key": "\x00"}}),
    ],
)
def test_a_bad_measurement_is_refused_and_nothing_is_sent(session, queries, field, arguments):
    given = {"metric_type": MetricType.SENTIMENT, "value": 0.5} | arguments
    with pytest.raises(InvalidValue) as caught:
        metrics.record(session, given.pop("metric_type"), given.pop("value"), **given)
    assert caught.value.field == field
    assert queries.count == 0, queries
    assert session.scalar(select(func.count()).select_from(AgentMetric)) == 0


NO_MEASUREMENTS = [
    (MetricType.RESPONSE_LATENCY, -5),
    (MetricType.SENTIMENT, 7.5),
    (MetricType.SENTIMENT, -0.01),
    *((count, bad) for count in ("conversation_count", "escalation", "tool_call", "message_volume") for bad in
      (-1, 2.5, 10**16)),
]  # fmt: skip
MEASUREMENTS = [
    (MetricType.RESPONSE_LATENCY, 0),
    (MetricType.RESPONSE_LATENCY, 850.25),
    (MetricType.SENTIMENT, 0),
    (MetricType.SENTIMENT, 1.0),
    *((count, good) for count in ("conversation_count", "message_volume") for good in (0, 25, 3.0)),
]


@pytest.mark.parametrize(("metric_type", "value"), NO_MEASUREMENTS)
def test_a_value_that_its_type_cannot_have_is_refused(session, queries, metric_type, value):
    with pytest.raises(InvalidValue, match=r"^value: "):
        metrics.record(session, metric_type, value)
    assert queries.count == 0, queries


@pytest.mark.parametrize(("metric_type", "value"), MEASUREMENTS)
def test_a_value_that_its_type_can_have_is_kept(session, metric_type, value):
    assert metrics.record(session, metric_type, value).value == value


SEED_QUERY = text("""
    SELECT
        channel,
        COUNT(*) FILTER (WHERE metric_type = 'conversation_count') AS total_conversations,
        AVG(value) FILTER (WHERE metric_type = 'sentiment') AS avg_sentiment,
        COUNT(*) FILTER (WHERE metric_type = 'escalation') AS escalation_count,
        AVG(value) FILTER (WHERE metric_type = 'response_latency') AS avg_latency_ms
    FROM agent_metrics
    WHERE recorded_at >= NOW() - INTERVAL '24 hours' AND channel IS NOT NULL
    GROUP BY channel
""")


def sums(session, channel=Channel.EMAIL):
    (of,) = (one for one in metrics.channel_metrics(session) if one.channel == channel)
    return of.conversations, of.escalations, of.messages, of.tool_calls


def test_rows_are_counted_and_beside_it_what_they_count_is_summed(session):
    for count in (25, 1, 0):
        for metric_type, times in (("conversation_count", 1), ("escalation", 2), ("message_volume", 3)):
            metrics.record(session, metric_type, count * times, channel=Channel.EMAIL)
    assert measured(session)[Channel.EMAIL] == (3, None, 3, None)
    assert sums(session) == (26, 52, 78, 0)


def test_figures_are_those_of_a_plain_query(session):
    values = {"sentiment": [0.25, 0.5, 1], "response_latency": [850.5, 120, 0]}
    batch = [
        Measurement(metric_type=metric_type, value=value, channel=channel)
        for channel in (Channel.EMAIL, Channel.WHATSAPP, None)
        for metric_type in MetricType
        for value in values.get(metric_type, [3, 1, 0])[: 3 if channel is Channel.EMAIL else 2]
    ]
    metrics.record_batch(session, batch)
    at(datetime.now(UTC) - timedelta(days=2), MetricType.ESCALATION, 1)
    by_hand = {row.channel: tuple(row)[1:] for row in session.execute(SEED_QUERY)}
    assert measured(session) == {channel: by_hand.get(channel, SILENT) for channel in Channel}
    assert by_hand["email"][0] == 3


@pytest.mark.parametrize("value", ["'NaN'", "'Infinity'", "'-Infinity'", "-3", "1e300"])
def test_what_raw_sql_stored_as_a_count_and_is_none_is_in_no_sum(session, value):
    session.execute(
        text(
            "INSERT INTO agent_metrics (metric_type, value, channel) VALUES "
            f"('conversation_count', {value}, 'email'), ('conversation_count', 2, 'email')"
        )
    )
    assert measured(session)[Channel.EMAIL] == (2, None, 0, None)
    assert sums(session) == (2, 0, 0, 0)


def test_many_are_kept_in_one_statement_all_or_none(session, queries):
    good = [Measurement(metric_type="tool_call", value=n, extra={"n": n}) for n in range(300)]
    queries.reset()
    assert metrics.record_batch(session, iter(good)) == 300
    assert queries.count == 1, queries
    kept = select(func.count(), func.sum(AgentMetric.value)).where(AgentMetric.extra["n"].is_not(None))
    assert tuple(session.execute(kept).one()) == (300, sum(range(300)))
    queries.reset()
    for bad in (
        [*good, Measurement(metric_type="sentiment", value=7.5)],
        [*good, Measurement(metric_type="response_latency", value=-5)],
        [*good, {"metric_type": "tool_call", "value": 1}],
        good[:1] * 10_001,
    ):
        with pytest.raises(InvalidValue):
            metrics.record_batch(session, bad)
    assert metrics.record_batch(session, []) == 0
    assert queries.count == 0, queries


def test_channels_are_summed_up_each_by_itself(session):
    at(NOON, MetricType.CONVERSATION_COUNT, 1)
    at(NOON, MetricType.CONVERSATION_COUNT, 1)
    at(NOON, MetricType.SENTIMENT, 0.2)
    at(NOON, MetricType.SENTIMENT, 0.4)
    at(NOON, MetricType.ESCALATION, 1, Channel.WHATSAPP)
    at(NOON, MetricType.RESPONSE_LATENCY, 900, Channel.WHATSAPP)
    at(NOON, MetricType.TOOL_CALL, 1, Channel.WEB_FORM)
    at(NOON, MetricType.RESPONSE_LATENCY, 1, None)
    found = measured(session, until=NOON + HOUR)
    assert found[Channel.EMAIL] == (2, pytest.approx(0.3), 0, None)
    assert found[Channel.WHATSAPP] == (0, None, 1, 900.0)
    assert found[Channel.WEB_FORM] == SILENT


def test_nothing_measured_is_every_channel_in_silence(session):
    assert measured(session) == dict.fromkeys(Channel, SILENT)


@pytest.mark.parametrize(
    ("when", "counted"),
    [
        (NOON - HOUR - timedelta(microseconds=1), False),
        (NOON - HOUR, True),
        (NOON - timedelta(microseconds=1), True),
        (NOON, False),
    ],
)
def test_a_window_holds_its_beginning_and_not_its_end(session, when, counted):
    at(when, MetricType.ESCALATION, 1)
    assert measured(session, window=HOUR, until=NOON)[Channel.EMAIL] == (0, None, int(counted), None)


def test_the_window_ends_now_and_is_a_day_unless_said_otherwise(session):
    now = session.scalar(text("SELECT now()"))
    for age in (0, 23, 25, 100):
        at(now - age * HOUR, MetricType.ESCALATION, 1)
    assert measured(session)[Channel.EMAIL][2] == 2
    assert measured(session, window=26 * HOUR)[Channel.EMAIL][2] == 3
    assert measured(session, window=metrics.MAX_WINDOW)[Channel.EMAIL][2] == 4


def test_a_time_means_the_same_in_every_zone(session):
    at(NOON - HOUR / 2, MetricType.ESCALATION, 1)
    session.execute(text("SET LOCAL timezone = 'Asia/Kathmandu'"))
    there = NOON.astimezone(timezone(timedelta(hours=-9, minutes=-30)))
    assert measured(session, window=HOUR, until=there)[Channel.EMAIL][2] == 1


def test_the_report_is_one_statement_however_much_was_measured(session, queries):
    counted = []
    for _ in range(2):
        for _ in range(5):
            AgentMetricFactory()
        queries.reset()
        metrics.channel_metrics(session)
        counted.append(queries.count)
    assert counted == [1, 1], queries


@pytest.mark.parametrize(
    "window", [timedelta(0), -HOUR, timedelta.max, timedelta.min, metrics.MAX_WINDOW + HOUR, 24, None]
)
def test_a_bad_window_is_refused(session, queries, window):
    with pytest.raises(InvalidValue, match=r"^window: "):
        metrics.channel_metrics(session, window=window)
    assert queries.count == 0, queries


@pytest.mark.parametrize("until", [NOON.replace(tzinfo=None), NOON.date(), "now", 0])
def test_a_time_without_a_zone_is_refused(session, queries, until):
    with pytest.raises(InvalidValue, match=r"^until: .*time zone"):
        metrics.channel_metrics(session, until=until)
    assert queries.count == 0, queries


def test_the_ends_of_time_are_refused_or_silent(session):
    with pytest.raises(InvalidValue, match=r"^until: "):
        metrics.channel_metrics(session, until=datetime.min.replace(tzinfo=UTC))
    west = timezone(-timedelta(hours=12))
    assert measured(session, until=datetime.max.replace(tzinfo=west)) == dict.fromkeys(Channel, SILENT)


def test_a_session_is_usable_after_a_refusal(session):
    with pytest.raises(InvalidValue):
        metrics.record(session, MetricType.SENTIMENT, float("nan"))
    metrics.record(session, MetricType.SENTIMENT, 0.5, channel=Channel.EMAIL)
    assert measured(session)[Channel.EMAIL] == (0, 0.5, 0, None)
