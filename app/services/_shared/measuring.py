"""Measurements of the agents' work, as the services and their callers keep them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias
from uuid import UUID

from sqlalchemy import ARRAY, Float, Integer, Text, Uuid, bindparam, select, text
from sqlalchemy.orm import Session

from ...errors import InvalidValue
from ...models import AgentMetric, Channel, Message, MetricType, uuid7
from ...models.base import table_of
from ...schemas import ChannelCode, MetricTypeCode
from .checks import checked_code, checked_json

MAX_COUNT = 10**15

Values: TypeAlias = tuple[MetricTypeCode, float, ChannelCode | None, Mapping[str, Any]]

_INSERT = """
    INSERT INTO agent_metrics (id, metric_type, value, channel, metadata)
    SELECT id, metric_type, value, channel, CAST(extra AS jsonb)
    FROM unnest(:ids, :types, :values, :channels, :extras) AS m (id, metric_type, value, channel, extra)
"""
_ARRAYS = (
    bindparam("ids", type_=ARRAY(Uuid())),
    bindparam("types", type_=ARRAY(Text())),
    bindparam("values", type_=ARRAY(Float())),
    bindparam("channels", type_=ARRAY(Text())),
    bindparam("extras", type_=ARRAY(Text())),
)
_RECORD_ALL = text(_INSERT).bindparams(*_ARRAYS)
# Scalars, since lists cost several times as much; columns by position, which are looked up once.
_METRICS = table_of(AgentMetric)
_RECORD_ONE = select(AgentMetric).from_statement(
    text(f"""
        INSERT INTO agent_metrics (id, metric_type, value, channel, metadata)
        VALUES (:id, :type, :value, :channel, CAST(:extra AS jsonb))
        RETURNING {", ".join(column.name for column in _METRICS.c)}
    """)  # noqa: S608
    .bindparams(
        bindparam("id", type_=Uuid()),
        bindparam("type", type_=Text()),
        bindparam("value", type_=Float()),
        bindparam("channel", type_=Text()),
        bindparam("extra", type_=Text()),
    )
    .columns(*_METRICS.c)
)
# Without the time that its writer took, an answer took as long as the customer waited for one.
_RECORD_REPLY = text("""
    INSERT INTO agent_metrics (id, metric_type, value, channel, metadata)
    SELECT :volume_id, 'message_volume', 1, channel, CAST('{"direction": "outbound"}' AS jsonb)
    FROM messages WHERE id = :message_id
    UNION ALL
    SELECT :latency_id, 'response_latency', latency_ms, m.channel, '{}'
    FROM messages AS m CROSS JOIN LATERAL (
        SELECT COALESCE(:latency_ms, round(extract(epoch FROM m.created_at - min(asked.created_at)) * 1000))
            AS latency_ms
        FROM messages AS asked
        WHERE asked.conversation_id = m.conversation_id AND asked.direction = 'inbound'
            AND asked.created_at <= m.created_at
            AND NOT COALESCE(asked.metadata ?| ARRAY['auto_reply', 'event', 'archived'], false)
            AND asked.created_at > COALESCE((
                SELECT max(answer.created_at) FROM messages AS answer
                WHERE answer.conversation_id = m.conversation_id AND answer.id <> m.id
                    AND answer.direction = 'outbound' AND answer.role = 'agent'
                    AND answer.created_at <= m.created_at
                    AND NOT COALESCE(answer.metadata ?| ARRAY['auto_reply', 'internal'], false)
            ), '-infinity')
    ) AS waited
    WHERE m.id = :message_id AND m.role = 'agent' AND latency_ms IS NOT NULL
        AND NOT COALESCE(m.metadata ? 'auto_reply', false)
""").bindparams(
    bindparam("message_id", type_=Uuid()),
    bindparam("volume_id", type_=Uuid()),
    bindparam("latency_id", type_=Uuid()),
    bindparam("latency_ms", type_=Integer()),
)


def record(session: Session, measurements: Iterable[Values]) -> None:
    """Keep them in one statement.

    Raises:
        InvalidValue: one of them cannot be.
    """
    rows = [_checked(*measurement) for measurement in measurements]
    if rows:
        columns = map(list, zip(*rows, strict=True))
        names = ("ids", "types", "values", "channels", "extras")
        session.execute(_RECORD_ALL, dict(zip(names, columns, strict=True)))


def record_one(session: Session, measurement: Values) -> AgentMetric:
    """Keep one, and return it.

    Raises:
        InvalidValue: it cannot be.
    """
    values = dict(zip(("id", "type", "value", "channel", "extra"), _checked(*measurement), strict=True))
    metric: AgentMetric = session.scalars(_RECORD_ONE, values).one()
    return metric


def record_reply(session: Session, message: Message) -> None:
    """Count an answer, and how long the customer waited for it."""
    session.execute(
        _RECORD_REPLY,
        {
            "message_id": message.id,
            "volume_id": uuid7(),
            "latency_id": uuid7(),
            "latency_ms": message.processing_latency_ms,
        },
    )


def _checked(
    code: MetricTypeCode, value: float, channel: ChannelCode | None, extra: Mapping[str, Any]
) -> tuple[UUID, str, float, str | None, str]:
    """The row of a measurement.

    Raises:
        InvalidValue: a type, channel, number or ``extra`` breaks a rule.
    """
    metric_type = checked_code("metric_type", code, MetricType)
    return (
        uuid7(),
        metric_type.value,
        _checked_value(metric_type, value),
        None if channel is None else checked_code("channel", channel, Channel).value,
        "{}" if extra == {} else json.dumps(checked_json("extra", extra)),
    )


def _checked_value(metric_type: MetricType, value: object) -> float:
    number = _finite(value)
    if metric_type is MetricType.SENTIMENT:
        if not 0 <= number <= 1:
            raise InvalidValue("value", "must be from 0 to 1")
    elif number < 0:
        raise InvalidValue("value", "must not be negative")
    elif metric_type is not MetricType.RESPONSE_LATENCY and not (number.is_integer() and number <= MAX_COUNT):
        raise InvalidValue("value", f"must be a whole number of at most {MAX_COUNT:,}")
    return number


def _finite(value: object) -> float:
    try:
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            return float(value)
    except OverflowError:
        pass
    raise InvalidValue("value", "must be a finite number")
