"""Measurements of the agents' work, and figures from the tickets' record."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    DateTime,
    Row,
    Select,
    String,
    and_,
    bindparam,
    column,
    func,
    insert,
    select,
    tuple_,
)
from sqlalchemy import values as rows
from sqlalchemy.dialects.postgresql import array
from sqlalchemy.orm import Session

from ..errors import InvalidValue
from ..models import FINISHED, AgentMetric, Channel, MetricType, Ticket, TicketCategory, TicketPriority
from ..schemas import ChannelMetrics, Spread, TicketGrouping, TicketReport, TicketReportRow
from ._input import checked_code, checked_json, checked_time
from ._ticket_facts import AS_OF, checked_as_of, facts, group_at

MAX_WINDOW = timedelta(days=36_525)

_SPREADS = ("first_response", "first_resolution", "full_resolution", "waiting_on_customer", "waiting_on_us")
_CODES: Mapping[TicketGrouping, type[StrEnum]] = {
    TicketGrouping.CHANNEL: Channel,
    TicketGrouping.CATEGORY: TicketCategory,
    TicketGrouping.PRIORITY: TicketPriority,
}


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


def ticket_report(
    session: Session,
    *,
    since: datetime,
    until: datetime,
    group_by: TicketGrouping,
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
    found = session.execute(_report(group_by), values).all()
    (total,) = (row for row in found if row.is_total)
    groups = [_report_row(row) for row in found if not row.is_total]
    return TicketReport(
        since=since,
        until=until,
        as_of=total.as_of,
        group_by=group_by,
        rows=tuple(sorted(groups, key=lambda row: _place(group_by, row.group))),
        total=_report_row(total),
    )


@cache
def _report(group_by: TicketGrouping) -> Select[*tuple[Any, ...]]:
    since, until = (bindparam(name, type_=DateTime(timezone=True)) for name in ("since", "until"))
    life = facts(Ticket.created_at >= since, Ticket.created_at < until).subquery()
    grouped = select(life, group_at(group_by).label("group")).join(Ticket, Ticket.id == life.c.ticket_id)
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


def _finite(value: object) -> float:
    try:
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            return float(value)
    except OverflowError:
        pass
    raise InvalidValue("value", "must be a finite number")
