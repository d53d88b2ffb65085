"""The agents' measurements, and aggregates over them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from ..models.channel import Channel
from ..models.metric import MetricType
from .base import Coded, Schema, default
from .codes import ChannelCode, MetricTypeCode


class Measurement(Schema):
    """One measurement, for ``metrics.record_batch``, which checks it by its type."""

    metric_type: Coded[MetricType, MetricTypeCode]
    value: float
    """Milliseconds for latencies, 0 to 1 for sentiment, else a count."""
    channel: Coded[Channel | None, ChannelCode | None] = default(None)
    extra: Mapping[str, Any] = Field(default_factory=dict)


class ChannelMetrics(Schema):
    """One channel over a window of time; averages are None where nothing was measured.

    ``total_conversations`` and ``escalation_count`` count rows, as a plain query does: one for
    ``record("conversation_count", 25)``. The sums beside them say 25. Both agree where each record is a one.
    """

    channel: Channel
    total_conversations: int
    """Rows of type conversation_count."""
    avg_sentiment: float | None
    escalation_count: int
    """Rows of type escalation."""
    avg_latency_ms: float | None
    conversations: int
    """The sum of conversation_count."""
    escalations: int
    """The sum of escalation."""
    messages: int
    """The sum of message_volume."""
    tool_calls: int
    """The sum of tool_call."""
