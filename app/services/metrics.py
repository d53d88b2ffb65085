"""Measurements of the agents' work, and figures from the tickets' record."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cache
from typing import Any

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    DateTime,
    Interval,
    Numeric,
    Row,
    Select,
    Text,
    and_,
    bindparam,
    cast,
    column,
    func,
    literal,
    select,
    text,
    tuple_,
)
from sqlalchemy.dialects.postgresql import array
from sqlalchemy.orm import Session

from ..errors import InvalidValue
from ..models import (
    FINISHED,
    AgentMetric,
    Channel,
    MetricType,
    TicketCategory,
    TicketPriority,
)
from ..models.base import table_of
from ..schemas import (
    ChannelCode,
    ChannelMetrics,
    Measurement,
    MetricTypeCode,
    Spread,
    TicketFlow,
    TicketGrouping,
    TicketGroupingCode,
    TicketReport,
    TicketReportRow,
    TimeUnit,
    TimeUnitCode,
)
from ._shared import measuring
from ._shared.checks import checked_code, checked_kind, checked_moment, checked_time
from ._shared.lists import read
from ._shared.measuring import MAX_COUNT
from .tickets.facts import AS_OF, checked_as_of, facts, group_at
from .tickets.rows import TICKETS

MAX_WINDOW = timedelta(days=36_525)
MAX_BATCH = 10_000

_SPREADS = ("first_response", "first_resolution", "full_resolution", "waiting_on_customer", "waiting_on_us")
_CODES: Mapping[TicketGrouping, type[StrEnum]] = {
    TicketGrouping.CHANNEL: Channel,
    TicketGrouping.CATEGORY: TicketCategory,
    TicketGrouping.PRIORITY: TicketPriority,
}


_TIME = DateTime(timezone=True)
_METRICS = table_of(AgentMetric)


def _of(metric_type: MetricType) -> ColumnElement[bool]:
    return _METRICS.c.metric_type == metric_type


def _sum(metric_type: MetricType) -> ColumnElement[Any]:
    # Raw SQL can have stored what is no count; an infinite one has no sum.
    is_count = _METRICS.c.value.between(0, MAX_COUNT)
    total = func.sum(_METRICS.c.value).filter(_of(metric_type), is_count)
    return cast(func.round(func.coalesce(total, 0)), Numeric)


_UNTIL = bindparam("until", type_=_TIME)
_SINCE = func.coalesce(_UNTIL, func.now()) - bindparam("window", type_=Interval())
# In Python's order, and with those that measured nothing.
_CHANNELS = (
    func.unnest(literal([channel.value for channel in Channel], ARRAY(Text())))
    .table_valued(column("channel", Text()), with_ordinality="position", name="channels")
    .render_derived()
)
_IN_WINDOW = and_(
    _METRICS.c.channel == _CHANNELS.c.channel,
    _METRICS.c.recorded_at >= _SINCE,
    _METRICS.c.recorded_at < func.coalesce(_UNTIL, cast("infinity", _TIME)),
)
_CHANNEL_METRICS = (
    select(
        _CHANNELS.c.channel,
        func.count().filter(_of(MetricType.CONVERSATION_COUNT)).label("total_conversations"),
        func.avg(_METRICS.c.value).filter(_of(MetricType.SENTIMENT)).label("avg_sentiment"),
        func.count().filter(_of(MetricType.ESCALATION)).label("escalation_count"),
        func.avg(_METRICS.c.value).filter(_of(MetricType.RESPONSE_LATENCY)).label("avg_latency_ms"),
        _sum(MetricType.CONVERSATION_COUNT).label("conversations"),
        _sum(MetricType.ESCALATION).label("escalations"),
        _sum(MetricType.MESSAGE_VOLUME).label("messages"),
        _sum(MetricType.TOOL_CALL).label("tool_calls"),
    )
    .select_from(_CHANNELS)
    .outerjoin(_METRICS, _IN_WINDOW)
    .group_by(_CHANNELS.c.channel, _CHANNELS.c.position)
    .order_by(_CHANNELS.c.position)
)


_FLOW = (
    text("""
    SELECT bucket AT TIME ZONE 'UTC' AS starts_at, COALESCE(opened, 0) AS opened,
        COALESCE(resolved, 0) AS resolved, COALESCE(reopened, 0) AS reopened
    FROM generate_series(
        date_trunc(:unit, :since AT TIME ZONE 'UTC'), :until AT TIME ZONE 'UTC' - interval '1 microsecond',
        CAST('1 ' || :unit AS interval)
    ) AS bucket
    LEFT JOIN (
        SELECT date_trunc(:unit, step.at AT TIME ZONE 'UTC') AS bucket,
            count(*) FILTER (WHERE step.was_finished IS NULL) AS opened,
            count(*) FILTER (WHERE NOT step.was_finished AND step.is_finished) AS resolved,
            count(*) FILTER (WHERE step.was_finished AND NOT step.is_finished) AS reopened
        FROM (
            SELECT created_at AS at, NULL::boolean AS was_finished, NULL::boolean AS is_finished FROM tickets
            WHERE created_at >= :since AND created_at < :until
            UNION ALL
            SELECT changed_at, old_status IN ('resolved', 'closed'), new_status IN ('resolved', 'closed')
            FROM ticket_status_changes
            WHERE changed_at >= :since AND changed_at < :until AND old_status IS NOT NULL
        ) AS step
        GROUP BY 1
    ) AS steps USING (bucket)
    WHERE :since < :until
    ORDER BY bucket
    """)
    .bindparams(
        bindparam("since", type_=_TIME), bindparam("until", type_=_TIME), bindparam("unit", type_=Text())
    )
    .columns(starts_at=_TIME)
)


def record(
    session: Session,
    metric_type: MetricTypeCode,
    value: float,
    *,
    channel: ChannelCode | None = None,
    extra: Mapping[str, Any] | None = None,
) -> AgentMetric:
    """Keep one measurement: milliseconds for latencies, 0 to 1 for sentiment, else a count. One statement.

    Raises:
        InvalidValue: an unknown type or channel; a number that is not finite, a latency below 0, a sentiment
            outside of 0 to 1, a count that is not whole or below 0; or ill-formed ``extra``.
    """
    return measuring.record_one(session, (metric_type, value, channel, extra or {}))


def record_batch(session: Session, measurements: Iterable[Measurement]) -> int:
    """Keep many measurements, all or none; returns how many. One statement.

    Raises:
        InvalidValue: one of them is ill-formed, as for ``record``; or they are more than 10,000.
    """
    if isinstance(measurements, str | bytes) or not isinstance(measurements, Iterable):
        raise InvalidValue("measurements", "must be a list of measurements")
    batch = [checked_kind("measurements", measurement, Measurement) for measurement in measurements]
    if len(batch) > MAX_BATCH:
        raise InvalidValue("measurements", f"must not be more than {MAX_BATCH:,}")
    measuring.record(session, [(one.metric_type, one.value, one.channel, one.extra) for one in batch])
    return len(batch)


def channel_metrics(
    session: Session, *, window: timedelta = timedelta(hours=24), until: datetime | None = None
) -> list[ChannelMetrics]:
    """The measurements of ``window`` up to ``until`` (now) by channel: every channel, silent ones too.

    Counted as rows, as a plain query of the table does, and beside it the sums of what counts count.

    One statement, read from an index alone once the table is vacuumed.

    Raises:
        InvalidValue: an empty or endless window, or a time without a zone.
    """
    if not isinstance(window, timedelta) or not timedelta(0) < window <= MAX_WINDOW:
        raise InvalidValue("window", f"must be a positive timedelta of at most {MAX_WINDOW.days:,} days")
    if until is not None:
        try:
            checked_time("until", until) - window
        except OverflowError:
            raise InvalidValue("until", "is too early for the window") from None
    channels = read(session, _CHANNEL_METRICS, {"window": window, "until": until})
    return [ChannelMetrics.model_validate(channel) for channel in channels]


def ticket_report(
    session: Session,
    *,
    since: datetime,
    until: datetime,
    group_by: TicketGroupingCode,
    as_of: datetime | None = None,
) -> TicketReport:
    """How the tickets opened in ``[since, until)`` fared up to ``as_of`` (now), by group and in total.

    Medians and 90th percentiles of the times that ``tickets.lifecycle`` defines, over the tickets that have
    them. Groups without tickets are left out. One statement, right for any past ``as_of``.

    Raises:
        InvalidValue: no such grouping, a time without a zone, or ``until`` before ``since``.
    """
    group_by = checked_code("group_by", group_by, TicketGrouping)
    if checked_time("until", until) < checked_time("since", since):
        raise InvalidValue("until", "must not be before since")
    values = {"since": since, "until": until, "as_of": checked_as_of(as_of)}
    session.flush()
    rows = session.execute(_report(group_by), values).all()
    (total,) = (row for row in rows if row.is_total)
    groups = [_report_row(row) for row in rows if not row.is_total]
    return TicketReport(
        since=since,
        until=until,
        as_of=total.as_of,
        group_by=group_by,
        rows=tuple(sorted(groups, key=lambda row: _place(group_by, row.group))),
        total=_report_row(total),
    )


def ticket_flow(
    session: Session, *, since: datetime, until: datetime, unit: TimeUnitCode = TimeUnit.DAY
) -> list[TicketFlow]:
    """How many tickets were opened, resolved and reopened in each day, week or month of ``[since, until)``.

    By UTC, in their order, the empty ones too; the first one begins before ``since`` where that is within
    it, and counts from ``since`` on. One statement.

    Raises:
        InvalidValue: no such unit, a time without a zone, ``until`` before ``since``, or over 100 years.
    """
    unit = checked_code("unit", unit, TimeUnit)
    since, until = checked_moment("since", since), checked_moment("until", until)
    if until < since:
        raise InvalidValue("until", "must not be before since")
    if until - since > MAX_WINDOW:
        raise InvalidValue("since", f"must be at most {MAX_WINDOW.days:,} days before until")
    rows = read(session, _FLOW, {"since": since, "until": until, "unit": unit.value})
    return [TicketFlow.model_validate(row) for row in rows]


@cache
def _report(group_by: TicketGrouping) -> Select[*tuple[Any, ...]]:
    since, until = (bindparam(name, type_=DateTime(timezone=True)) for name in ("since", "until"))
    life = facts(TICKETS.c.created_at >= since, TICKETS.c.created_at < until).subquery()
    grouped = select(life, group_at(group_by).label("group")).join(TICKETS, TICKETS.c.id == life.c.ticket_id)
    ticket = grouped.subquery().c
    return select(
        ticket.group,
        func.grouping(ticket.group).label("is_total"),
        AS_OF.label("as_of"),
        func.count(ticket.ticket_id).label("tickets"),
        func.count(ticket.first_response).label("answered"),
        func.count().filter(ticket.status.in_(FINISHED)).label("finished"),
        func.count().filter(ticket.reopens > 0).label("reopened"),
        func.coalesce(func.sum(ticket.reopens), 0).label("reopens"),
        func.coalesce(func.sum(ticket.assignee_changes), 0).label("assignee_changes"),
        *(_spread(ticket[name]).label(name) for name in _SPREADS),
    ).group_by(func.grouping_sets(tuple_(ticket.group), tuple_()))


def _spread(duration: ColumnElement[timedelta]) -> ColumnElement[Any]:
    return func.percentile_cont(array([0.5, 0.9])).within_group(duration)


def _report_row(row: Row[Any]) -> TicketReportRow:
    values = {name: getattr(row, name) for name in TicketReportRow.model_fields}
    for name in _SPREADS:
        if values[name] is not None:
            values[name] = Spread(median=values[name][0], p90=values[name][1])
    return TicketReportRow(**values)


def _place(group_by: TicketGrouping, group: str | None) -> tuple[bool, int, str]:
    """Codes in their own order, names by the alphabet, nobody last."""
    codes = [str(code) for code in _CODES.get(group_by, ())]
    return group is None, codes.index(group) if group in codes else 0, group or ""
