"""Aggregates over the agents' measurements."""

from __future__ import annotations

from ..models.channel import Channel
from .base import Schema


class ChannelMetrics(Schema):
    """One channel over a window of time; averages are None where nothing was measured."""

    channel: Channel
    total_conversations: int
    avg_sentiment: float | None
    escalation_count: int
    avg_latency_ms: float | None
