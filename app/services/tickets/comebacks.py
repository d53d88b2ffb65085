"""What an AI had resolved and came back."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import Integer, Interval, bindparam, text
from sqlalchemy.orm import Session

from ...schemas import TicketRegression
from .._shared.checks import checked_count, checked_limit

MAX_DAYS = 36_500

_REGRESSIONS = text("SELECT * FROM ticket_regressions(:within, :max_rows)").bindparams(
    bindparam("within", type_=Interval()), bindparam("max_rows", type_=Integer())
)


def regressions(session: Session, *, days: int, limit: int = 100) -> list[TicketRegression]:
    """What an AI resolved and was reopened or followed up within ``days`` of it, the latest first.

    A ticket that came back several times is listed for each time. One statement, which reads back from the
    latest return until it has ``limit``, whatever the planner believes.

    Raises:
        InvalidValue: ``days`` is not a whole number from 1 to 36,500, or a bad limit.
    """
    within = timedelta(days=checked_count("days", days, maximum=MAX_DAYS))
    window = {"within": within, "max_rows": checked_limit(limit)}
    return [TicketRegression.model_validate(row) for row in session.execute(_REGRESSIONS, window)]
