"""Tickets in lists, in figures, and what is wrong with their record."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from ..models.channel import Channel
from ..models.ticket import TicketCategory, TicketPriority, TicketStatus
from .base import OrText, Schema


class TicketSummary(Schema):
    """One line of a list."""

    id: UUID
    ticket_number: str
    customer_id: UUID
    conversation_id: UUID | None
    subject: str
    status: OrText[TicketStatus]
    priority: OrText[TicketPriority] | None
    category: OrText[TicketCategory]
    source_channel: OrText[Channel]
    assigned_to: str | None
    created_at: datetime
    resolved_at: datetime | None


class TicketLifecycle(Schema):
    """A ticket's life up to ``as_of``, read from its record.

    Times to something count from ``opened_at`` by the clock; None where it has not happened. A resolution is
    a step from an unfinished status to resolved or closed; what was stored as finished already has none.
    """

    ticket_id: UUID
    ticket_number: str
    as_of: datetime
    opened_at: datetime
    status: OrText[TicketStatus]
    """The status at ``as_of``."""
    first_response_at: datetime | None
    """The first message by an agent that was no automatic one, and whose delivery has not failed."""
    first_response: timedelta | None
    first_resolved_at: datetime | None
    first_resolution: timedelta | None
    resolved_at: datetime | None
    """The last resolution, if nobody has reopened the ticket since."""
    full_resolution: timedelta | None
    time_in: Mapping[TicketStatus, timedelta]
    """How long the ticket has been in each status, all visits together."""
    waiting_on_customer: timedelta
    """In ``waiting``."""
    waiting_on_us: timedelta
    """In ``open``, ``processing`` and ``escalated``."""
    reopens: int
    assignee_changes: int


class TicketGrouping(StrEnum):
    CHANNEL = "channel"
    CATEGORY = "category"
    PRIORITY = "priority"
    ASSIGNEE = "assignee"


class Spread(Schema):
    """The middle and the slow end of a set of durations."""

    median: timedelta
    p90: timedelta


class TicketReportRow(Schema):
    """The tickets of one group; a spread is None where no ticket of the group got so far."""

    group: str | None
    """A channel, category, priority or assignee at ``as_of``; None for nobody, and in the total."""
    tickets: int
    answered: int
    finished: int
    """Resolved or closed at ``as_of``."""
    reopened: int
    """Tickets that were reopened at least once."""
    reopens: int
    assignee_changes: int
    first_response: Spread | None
    first_resolution: Spread | None
    full_resolution: Spread | None
    waiting_on_customer: Spread | None
    waiting_on_us: Spread | None


class TicketReport(Schema):
    """The tickets that were opened in ``[since, until)``, as they were at ``as_of``."""

    since: datetime
    until: datetime
    as_of: datetime
    group_by: TicketGrouping
    rows: tuple[TicketReportRow, ...]
    total: TicketReportRow


class TimeUnit(StrEnum):
    DAY = "day"
    WEEK = "week"
    """From Monday."""
    MONTH = "month"


class TicketFlow(Schema):
    """What came in and went out in one day, week or month, by UTC."""

    starts_at: datetime
    opened: int
    resolved: int
    """Steps from an unfinished status to resolved or closed."""
    reopened: int
    """Steps back."""


class RegressionKind(StrEnum):
    REOPENED = "reopened"
    FOLLOWED_UP = "followed_up"


class TicketRegression(Schema):
    """A ticket that an AI resolved and that came back."""

    ticket_id: UUID
    ticket_number: str
    resolved_by: str
    resolved_at: datetime
    kind: RegressionKind
    came_back_at: datetime
    came_back_by: str
    """Who reopened it, or opened the follow-up."""
    follow_up_id: UUID | None


class HistoryFault(StrEnum):
    EDITED = "edited"
    DELETED = "deleted"
    CUT_OFF = "cut_off"
    INSERTED = "inserted"
    SWAPPED = "swapped"
    FORKED = "forked"
    UNRECORDED = "unrecorded"


_PROBLEMS = {
    HistoryFault.EDITED: "the entry does not match its own hash",
    HistoryFault.DELETED: "the entry before this one is gone",
    HistoryFault.CUT_OFF: "what came after this entry is gone",
    HistoryFault.INSERTED: "the entry is no link of the chain",
    HistoryFault.SWAPPED: "the entry is not in its place",
    HistoryFault.FORKED: "two entries claim the same predecessor",
    HistoryFault.UNRECORDED: "the ticket is not what its last entry says",
}


class HistoryFinding(Schema):
    """Something is wrong with a ticket's record: the entry where it shows, and what it is."""

    ticket_id: UUID
    ticket_number: str
    record: str
    """``status`` or ``fields``: which of the ticket's two chains."""
    fault: HistoryFault
    entry_id: UUID | None
    """None where no entry is left."""
    seq: int | None

    @property
    def problem(self) -> str:
        """The fault in words."""
        if self.entry_id is None:
            return "the whole record is gone"
        return _PROBLEMS[self.fault]
