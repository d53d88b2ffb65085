"""How the command line shows tickets: lists, lives, reports with small bars, and what is wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from ._render import duration, moment, new_table, on_one_line, safe, status_text
from .schemas import (
    HistoryFinding,
    Page,
    RegressionKind,
    Spread,
    TicketLifecycle,
    TicketRegression,
    TicketReport,
    TicketReportRow,
    TicketSummary,
)

_BAR = 6
_UNITS = {
    "d": timedelta(days=1),
    "h": timedelta(hours=1),
    "m": timedelta(minutes=1),
    "s": timedelta(seconds=1),
}


def listed(page: Page[TicketSummary], now: datetime) -> RenderableType:
    """A page of tickets, newest first."""
    table = new_table("ticket", "age", "status", "priority", "assigned to", "subject")
    for column in table.columns[:4]:
        column.no_wrap = True
    table.columns[1].justify = "right"
    table.columns[4].max_width = 16
    for one in page.items:
        table.add_row(
            safe(one.ticket_number),
            _short(now - one.created_at),
            status_text(one.status),
            one.priority or "",
            on_one_line(one.assigned_to or ""),
            on_one_line(one.subject),
        )
    if page.next is None:
        return table
    return Group(table, Text(f"the latest {len(page.items)}; there are older ones", "dim"))


def life(told: TicketLifecycle) -> Mapping[str, str | None]:
    """The figures of a ticket's life, for its summary."""
    return {
        "first response": _after(told.first_response),
        "first resolution": _after(told.first_resolution),
        "full resolution": _after(told.full_resolution) if told.reopens else None,
        "waiting": f"for the customer {_roughly(told.waiting_on_customer)}, "
        f"for us {_roughly(told.waiting_on_us)}",
        "reopened": _times(told.reopens),
        "reassigned": _times(told.assignee_changes),
    }


def report(told: TicketReport, console: Console) -> RenderableType:
    """A line for each group and one for the total; the bars compare the numbers of tickets."""
    table = new_table(told.group_by.value, "tickets", "done", "back", "answered in", "resolved in", "on us")
    for column in table.columns[1:]:
        column.no_wrap = True
    for column in table.columns[2:]:
        column.justify = "right"
    table.columns[0].max_width = 16
    most = max((row.tickets for row in told.rows), default=1)
    block = "#" if console.options.ascii_only else "█"
    for row in told.rows:
        bar = block * max(1, round(_BAR * row.tickets / most))
        count = Text.assemble((bar.ljust(_BAR), "cyan"), f" {row.tickets}")
        _add(table, row, on_one_line(row.group or f"(no {told.group_by})"), count)
    table.add_section()
    _add(table, told.total, Text("all", "bold"), Text(f"{'':{_BAR}} {told.total.tickets}"))
    opened = f"opened {_day(told.since)} to {_day(told.until)}, as of {moment(told.as_of)} UTC"
    note = Text("done: resolved or closed; back: reopened; times: median / 90th percentile", "dim")
    return Group(Text(f"Tickets {opened}", "bold"), "", table, note)


def _add(table: Table, row: TicketReportRow, name: Text, tickets: Text) -> None:
    spreads = (row.first_response, row.full_resolution, row.waiting_on_us)
    table.add_row(name, tickets, str(row.finished), str(row.reopened), *map(_spread, spreads))


def findings(found: Sequence[HistoryFinding]) -> Table:
    table = new_table("ticket", "record", "entry", "what is wrong")
    for one in found:
        entry = "" if one.seq is None else str(one.seq)
        table.add_row(safe(one.ticket_number), one.record, entry, f"{one.fault}: {one.problem}")
    return table


def regressions(found: Sequence[TicketRegression], numbers: Mapping[UUID | None, str]) -> Table:
    """What came back; the follow-ups by their numbers."""
    table = new_table("ticket", "resolved by", "came back", "how")
    for one in found:
        by = "the customer" if one.came_back_by.startswith("customer:") else one.came_back_by
        how = f"reopened by {by}"
        if one.kind is RegressionKind.FOLLOWED_UP:
            how = f"followed up as {numbers[one.follow_up_id]} by {by}"
        table.add_row(
            safe(one.ticket_number),
            safe(one.resolved_by),
            f"after {_short(one.came_back_at - one.resolved_at)}",
            safe(how),
        )
    return table


def _day(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%d}"


def _spread(spread: Spread | None) -> str:
    return "" if spread is None else f"{_short(spread.median)} / {_short(spread.p90)}"


def _short(span: timedelta) -> str:
    """In whole units, the largest that fits twice, for a narrow column: 90m, 25h, 3d."""
    for unit, length in _UNITS.items():
        if span >= 2 * length:
            return f"{span // length}{unit}"
    return f"{max(span, timedelta(0)).total_seconds():.0f}s"


def _after(span: timedelta | None) -> str | None:
    return None if span is None else f"after {_roughly(span)}"


def _roughly(span: timedelta) -> str:
    if not span:
        return "never"
    return "under a minute" if span < timedelta(minutes=1) else duration(span)


def _times(count: int) -> str | None:
    if not count:
        return None
    return "once" if count == 1 else f"{count} times"
