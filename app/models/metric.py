"""Measurements of the agents' work over time."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Index, func, text
from sqlalchemy.orm import Mapped, mapped_column

from .base import Base, UUIDPrimaryKey, code, code_check, metadata_column
from .channel import Channel


class MetricType(StrEnum):
    RESPONSE_LATENCY = "response_latency"
    ESCALATION = "escalation"
    SENTIMENT = "sentiment"
    TOOL_CALL = "tool_call"
    CONVERSATION_COUNT = "conversation_count"
    MESSAGE_VOLUME = "message_volume"


class AgentMetric(Base):
    """One measurement of how agents do on a channel."""

    __tablename__ = "agent_metrics"
    __table_args__ = (
        code_check("metric_type", MetricType),
        code_check("channel", Channel, nullable=True),
        Index("idx_metrics_type_time", "metric_type", "recorded_at"),
        Index(
            "idx_metrics_channel_time", "channel", "recorded_at", postgresql_where=text("channel IS NOT NULL")
        ),
        Index(
            "idx_metrics_time",
            "recorded_at",
            postgresql_include=["channel", "metric_type", "value"],
            postgresql_where=text("channel IS NOT NULL"),
        ),
    )

    id: Mapped[UUIDPrimaryKey]
    metric_type: Mapped[MetricType] = mapped_column(code(MetricType, 100))
    channel: Mapped[Channel | None] = mapped_column(code(Channel, 50))
    value: Mapped[float]
    """Milliseconds for latencies, 0 to 1 for sentiment, else a count."""
    extra: Mapped[dict[str, Any] | None] = metadata_column()
    recorded_at: Mapped[datetime | None] = mapped_column(server_default=func.now())
