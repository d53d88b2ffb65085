"""Measurements of the agents' work."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import String, and_, column, func, insert, select
from sqlalchemy import values as rows
from sqlalchemy.orm import Session

from ..errors import InvalidValue
from ..models import AgentMetric, Channel, MetricType
from ..schemas import ChannelMetrics
from ._input import checked_code, checked_json, checked_time

MAX_WINDOW = timedelta(days=36_525)


def record(
    session: Session,
    metric_type: MetricType,
    value: float,
    *,
    channel: Channel | None = None,
    extra: Mapping[str, Any] | None = None,
) -> AgentMetric:
    """Keep one measurement: milliseconds for latencies, 0 to 1 for sentiment, else a count.

    Raises:
        InvalidValue: an unknown type or channel, a value that is no finite number, or ill-formed ``extra``.
    """
    values = {
        "metric_type": checked_code("metric_type", metric_type, MetricType),
        "value": _finite(value),
        "channel": None if channel is None else checked_code("channel", channel, Channel),
        "extra": checked_json("extra", extra or {}),
    }
    return session.scalars(insert(AgentMetric).values(values).returning(AgentMetric)).one()


def channel_metrics(
    session: Session, *, window: timedelta = timedelta(hours=24), until: datetime | None = None
) -> list[ChannelMetrics]:
    """The measurements of ``window`` up to ``until`` (now) by channel: every channel, silent ones too.

    One statement, read from an index alone once the table is vacuumed.

    Raises:
        InvalidValue: an empty or endless window, or a time without a zone.
    """
    if not isinstance(window, timedelta) or not timedelta(0) < window <= MAX_WINDOW:
        raise InvalidValue("window", f"must be a positive timedelta of at most {MAX_WINDOW.days:,} days")
    if until is None:
        conditions = [AgentMetric.recorded_at >= func.now() - window]
    else:
        try:
            since = checked_time("until", until) - window
        except OverflowError:
            raise InvalidValue("until", "is too early for the window") from None
        conditions = [AgentMetric.recorded_at >= since, AgentMetric.recorded_at < until]

    channels = rows(column("channel", String), column("position"), name="channels").data(
        [(channel.value, position) for position, channel in enumerate(Channel)]
    )

    def of_type(metric_type: MetricType) -> Any:
        return AgentMetric.metric_type == metric_type

    statement = (
        select(
            channels.c.channel,
            func.count().filter(of_type(MetricType.CONVERSATION_COUNT)).label("total_conversations"),
            func.avg(AgentMetric.value).filter(of_type(MetricType.SENTIMENT)).label("avg_sentiment"),
            func.count().filter(of_type(MetricType.ESCALATION)).label("escalation_count"),
            func.avg(AgentMetric.value).filter(of_type(MetricType.RESPONSE_LATENCY)).label("avg_latency_ms"),
        )
        .select_from(channels)
        .outerjoin(AgentMetric, and_(AgentMetric.channel == channels.c.channel, *conditions))
        .group_by(channels.c.channel, channels.c.position)
        .order_by(channels.c.position)
    )
    return [ChannelMetrics.model_validate(row) for row in session.execute(statement)]


def _finite(value: object) -> float:
    try:
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            return float(value)
    except OverflowError:
        pass
    raise InvalidValue("value", "must be a finite number")
