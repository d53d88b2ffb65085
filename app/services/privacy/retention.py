"""What is too old loses its words, or goes."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from sqlalchemy import DateTime, Uuid, bindparam, text
from sqlalchemy.orm import Session

from ...errors import InvalidValue
from ...schemas import RetentionReport
from .._shared.checks import checked_code, checked_kind, checked_limit, checked_text, checked_time

_NOW = text("SELECT clock_timestamp()")
_MESSAGES = text("SELECT * FROM erase_old_messages(:before, :limit, :after_time, :after_id)").bindparams(
    bindparam("before", type_=DateTime(timezone=True)),
    bindparam("after_time", type_=DateTime(timezone=True)),
    bindparam("after_id", type_=Uuid()),
)
# Each type by its own part of the index: from end to end, it leads through all that is not old yet.
_METRICS = text("""
    WITH RECURSIVE types (metric_type) AS (
        SELECT min(metric_type) FROM agent_metrics
        UNION ALL
        SELECT (SELECT min(m.metric_type) FROM agent_metrics AS m WHERE m.metric_type > types.metric_type)
        FROM types WHERE types.metric_type IS NOT NULL
    ), old AS (
        DELETE FROM agent_metrics WHERE id IN (
            SELECT due.id
            FROM types CROSS JOIN LATERAL (
                SELECT m.id FROM agent_metrics AS m
                WHERE m.metric_type = types.metric_type AND m.recorded_at < :before
                ORDER BY m.recorded_at LIMIT :limit
            ) AS due
            LIMIT :limit
        )
        RETURNING 1
    )
    SELECT count(*) FROM old
""").bindparams(bindparam("before", type_=DateTime(timezone=True)))


class Retained(StrEnum):
    MESSAGES = "messages"
    METRICS = "metrics"


def retain(
    session: Session,
    *,
    older_than: timedelta,
    what: str,
    limit: int = 1000,
    after: str | None = None,
) -> RetentionReport:
    """Let go of what is older than a time, one batch a call: until ``next`` is None, and commit in between.

    ``what="messages"``: the oldest ones lose content, metadata and provider ids, as in an erasure; that they
    were written, when and by whom, stays, and so do statistics. Messages of customers under a legal hold are
    passed over. Delivery reports that found no message are deleted with them. ``what="metrics"``:
    measurements are deleted.

    Work in proportion to ``limit``, as long as each batch goes on ``after`` the last one's ``next``.

    Raises:
        InvalidValue: ``older_than`` is not a positive timedelta, ``what`` is neither of the two, or the limit
            or the place is ill-formed.
    """
    kind, limit = checked_code("what", what, Retained), checked_limit(limit, maximum=10_000)
    if checked_kind("older_than", older_than, timedelta) <= timedelta(0):
        raise InvalidValue("older_than", "must be more than nothing")
    after_time, after_id = _place(after)
    session.flush()
    now = session.execute(_NOW).scalar_one()
    try:
        before = now - older_than
    except OverflowError:
        return RetentionReport(rows=0, next=None)
    if kind is Retained.METRICS:
        rows = session.execute(_METRICS, {"before": before, "limit": limit}).scalar_one()
        return RetentionReport(rows=rows, next=f"{before.isoformat()}/" if rows == limit else None)
    values = {"before": before, "limit": limit, "after_time": after_time, "after_id": after_id}
    batch = session.execute(_MESSAGES, values).one()
    session.expire_all()
    is_full = limit in {batch.message_count, batch.report_count}
    place = f"{(batch.last_time or before).isoformat()}/{batch.last_id or ''}"
    return RetentionReport(rows=batch.message_count, next=place if is_full else None)


def _place(after: str | None) -> tuple[datetime | None, UUID | None]:
    if after is None:
        return None, None
    time, _, id_ = checked_text("after", after, max_length=100).partition("/")
    try:
        return checked_time("after", datetime.fromisoformat(time)), UUID(id_) if id_ else None
    except ValueError:
        raise InvalidValue("after", "must be the next of a report") from None
