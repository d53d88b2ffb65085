"""What an AI had resolved and came back."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import Integer, Interval, bindparam, text
from sqlalchemy.orm import Session

from ...schemas import TicketRegression
from .._shared.checks import checked_count, checked_limit

MAX_DAYS = 36_500

# Both halves begin with what came back last, and look for the resolution before it: no more is read than it
# takes to fill the list. A remark (old and new status are the same) is no resolution.
_REGRESSIONS = text(
    """
    (
        SELECT came_back.ticket_id, ticket.ticket_number, resolution.changed_by AS resolved_by,
            resolution.changed_at AS resolved_at, 'reopened' AS kind, came_back.changed_at AS came_back_at,
            came_back.changed_by AS came_back_by, CAST(NULL AS uuid) AS follow_up_id
        FROM ticket_status_changes AS came_back
        JOIN tickets AS ticket ON ticket.id = came_back.ticket_id
        JOIN ticket_status_changes AS resolution ON resolution.ticket_id = came_back.ticket_id
            AND resolution.seq < came_back.seq
        WHERE came_back.old_status IN ('resolved', 'closed')
            AND came_back.new_status NOT IN ('resolved', 'closed')
            AND resolution.new_status = 'resolved' AND resolution.old_status IS DISTINCT FROM 'resolved'
            AND resolution.changed_by LIKE 'ai:%' AND came_back.changed_at <= resolution.changed_at + :within
            AND NOT EXISTS (
                SELECT FROM ticket_status_changes AS between_them
                WHERE between_them.ticket_id = came_back.ticket_id AND between_them.seq > resolution.seq
                    AND between_them.seq < came_back.seq
                    AND between_them.new_status NOT IN ('resolved', 'closed')
            )
        ORDER BY came_back.changed_at DESC, came_back.ticket_id
        LIMIT :max_rows
    )
    UNION ALL
    (
        SELECT resolution.ticket_id, ticket.ticket_number, resolution.changed_by, resolution.changed_at,
            'followed_up', link.created_at, link.created_by, link.ticket_id
        FROM ticket_links AS link
        JOIN tickets AS ticket ON ticket.id = link.follows_ticket_id
        JOIN ticket_status_changes AS resolution ON resolution.ticket_id = link.follows_ticket_id
        WHERE resolution.new_status = 'resolved' AND resolution.old_status IS DISTINCT FROM 'resolved'
            AND resolution.changed_by LIKE 'ai:%'
            AND link.created_at BETWEEN resolution.changed_at AND resolution.changed_at + :within
            AND NOT EXISTS (
                SELECT FROM ticket_status_changes AS later
                WHERE later.ticket_id = resolution.ticket_id AND later.seq > resolution.seq
                    AND later.new_status = 'resolved' AND later.old_status IS DISTINCT FROM 'resolved'
                    AND later.changed_at <= link.created_at
            )
        ORDER BY link.created_at DESC, link.follows_ticket_id
        LIMIT :max_rows
    )
    ORDER BY came_back_at DESC, ticket_id
    LIMIT :max_rows
    """
).bindparams(bindparam("within", type_=Interval()), bindparam("max_rows", type_=Integer()))


def regressions(session: Session, *, days: int, limit: int = 100) -> list[TicketRegression]:
    """What an AI resolved and was reopened or followed up within ``days`` of it, the latest first.

    A ticket that came back several times is listed for each time. One statement, which reads back from the
    latest return until it has ``limit``.

    Raises:
        InvalidValue: ``days`` is not a whole number from 1 to 36,500, or a bad limit.
    """
    within = timedelta(days=checked_count("days", days, maximum=MAX_DAYS))
    window = {"within": within, "max_rows": checked_limit(limit)}
    return [TicketRegression.model_validate(row) for row in session.execute(_REGRESSIONS, window)]
