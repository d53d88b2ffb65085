"""How the command line shows tickets: lists, lives, reports with small bars, and what is wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from ...models import Ticket, TicketField, TicketFieldChange, TicketStatus, TicketStatusChange
from ...schemas import (
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
from .tables import brief, duration, facts, is_pipe, moment, new_table, on_one_line, safe, whole

STATUS_STYLES: Mapping[str, str] = {
    TicketStatus.OPEN: "yellow",
    TicketStatus.PROCESSING: "cyan",
    TicketStatus.WAITING: "magenta",
    TicketStatus.RESOLVED: "green",
    TicketStatus.ESCALATED: "bold red",
    TicketStatus.CLOSED: "dim",
}
FIELDS: Mapping[str, str] = {
    TicketField.ASSIGNED_TO: "assigned to",
    TicketField.CATEGORY: "category",
    TicketField.PRIORITY: "priority",
}
_BAR = 6
_MAX_NAME = 16
_LEAST_SUBJECT, _LEAST_REASON = 20, 16


def status_text(status: str | None) -> Text:
    status = status or TicketStatus.OPEN
    return Text(str(status), STATUS_STYLES.get(status, ""))


def tickets(rows: Sequence[Ticket]) -> Table:
    table = new_table("ticket", "status", "priority", "category", "subject", heads=("",) * 4)
    for column in table.columns[:4]:
        column.no_wrap = True
    for row in rows:
        table.add_row(
            row.ticket_number,
            status_text(row.status),
            row.priority or "medium",
            row.category.value,
            on_one_line(row.subject),
        )
    return table


def listed(page: Page[TicketSummary], now: datetime, console: Console) -> RenderableType:
    """A page of tickets, newest first."""
    table = new_table("ticket", "age", "status", "priority", "assigned to", "subject", heads=("",) * 5)
    for column in table.columns[:4]:
        column.no_wrap = True
    table.columns[1].justify = "right"
    if not is_pipe(console):
        table.columns[4].max_width = _MAX_NAME
    table.columns[5].min_width = _LEAST_SUBJECT
    for one in page.items:
        table.add_row(
            safe(one.ticket_number),
            brief(now - one.created_at),
            status_text(one.status),
            one.priority or "",
            on_one_line(one.assigned_to or ""),
            on_one_line(one.subject),
        )
    if page.next is None:
        return table
    return Group(table, Text(f"the latest {len(page.items)}; there are older ones", "dim"))


def ticket(
    ticket: Ticket,
    customer_name: str | None,
    record: Sequence[TicketStatusChange],
    fields: Sequence[TicketFieldChange] = (),
    more: Mapping[str, str | None] | None = None,
) -> RenderableType:
    """A ticket, and its audit trail with the time that it spent in each status."""
    summary = facts(
        {
            "ticket": ticket.ticket_number,
            "subject": safe(ticket.subject, "bold"),
            "customer": customer_name or "(no name)",
            "status": status_text(ticket.status),
            "category": f"{ticket.category}, {ticket.priority or 'medium'} priority",
            "came by": ticket.source_channel.value,
            "assigned to": ticket.assigned_to,
            "escalation": ticket.escalation_reason,
            "resolution" if ticket.resolved_at else "was resolved": ticket.resolution_notes,
            **(more or {}),
        }
    )
    return Group(summary, "", _trail(ticket, [*record, *fields]))


def _trail(ticket: Ticket, record: Sequence[TicketStatusChange | TicketFieldChange]) -> Table:
    table = new_table("when (UTC)", "after", "status", "by", "why", heads=("", "after ", "", "by "))
    for column in table.columns[:4]:
        column.no_wrap = True
    table.columns[4].min_width = _LEAST_REASON
    table.columns[1].justify = "right"
    earlier = None
    for change in sorted(record, key=lambda change: change.changed_at):
        by = "the customer" if change.changed_by == f"customer:{ticket.customer_id}" else change.changed_by
        if isinstance(change, TicketStatusChange):
            what = Text.assemble(status_text(change.new_status), " (forced)" if change.forced else "")
            after = duration(change.changed_at - earlier) if earlier else ""
            earlier = change.changed_at
        else:
            what, after = safe(f"{FIELDS[change.field]} {change.new_value or 'nobody'}", "dim"), ""
        table.add_row(
            f"{change.changed_at.astimezone(UTC):%Y-%m-%d %H:%M:%S}",
            after,
            what,
            safe(by),
            whole(change.comment or ""),
        )
    return table


def life(lifecycle: TicketLifecycle) -> Mapping[str, str | None]:
    """The figures of a ticket's life, for its summary."""
    return {
        "first response": _after(lifecycle.first_response),
        "first resolution": _after(lifecycle.first_resolution),
        "full resolution": _after(lifecycle.full_resolution) if lifecycle.reopens else None,
        "waiting": f"for the customer {_roughly(lifecycle.waiting_on_customer)}, "
        f"for us {_roughly(lifecycle.waiting_on_us)}",
        "reopened": _times(lifecycle.reopens),
        "reassigned": _times(lifecycle.assignee_changes),
    }


def report(report: TicketReport, console: Console) -> RenderableType:
    """A line for each group and one for the total; the bars compare the numbers of tickets."""
    table = new_table(report.group_by.value, "tickets", "done", "back", "answered in", "resolved in", "on us")
    for column in table.columns[1:]:
        column.no_wrap = True
    for column in table.columns[2:]:
        column.justify = "right"
    most = max((row.tickets for row in report.rows), default=1)
    block = "#" if console.options.ascii_only else "█"
    # A pipe gets whole names and no bars.
    width = 0 if is_pipe(console) else _BAR
    if width:
        table.columns[0].max_width = _MAX_NAME
    for row in report.rows:
        bar = block * max(1, round(width * row.tickets / most)) if width else ""
        count = Text.assemble((bar.ljust(width), "cyan"), f" {row.tickets}")
        _add(table, row, on_one_line(row.group or f"(no {report.group_by})"), count)
    table.add_section()
    _add(table, report.total, Text("all", "bold"), Text(f"{'':{width}} {report.total.tickets}"))
    opened = f"opened {_day(report.since)} to {_day(report.until)}, as of {moment(report.as_of)} UTC"
    note = Text("done: resolved or closed; back: reopened; times: median / 90th percentile", "dim")
    return Group(Text(f"Tickets {opened}", "bold"), "", table, note)


def _add(table: Table, row: TicketReportRow, name: Text, tickets: Text) -> None:
    spreads = (row.first_response, row.full_resolution, row.waiting_on_us)
    table.add_row(name, tickets, str(row.finished), str(row.reopened), *map(_spread, spreads))


def findings(rows: Sequence[HistoryFinding]) -> Table:
    table = new_table("ticket", "record", "entry", "what is wrong")
    for one in rows:
        entry = "" if one.seq is None else str(one.seq)
        table.add_row(safe(one.ticket_number), one.record, entry, f"{one.fault}: {one.problem}")
    return table


def regressions(rows: Sequence[TicketRegression], numbers: Mapping[UUID, str]) -> Table:
    """What came back; the follow-ups by their numbers."""
    table = new_table("ticket", "resolved by", "came back", "how")
    for one in rows:
        by = "the customer" if one.came_back_by.startswith("customer:") else one.came_back_by
        how = f"reopened by {by}"
        if one.kind is RegressionKind.FOLLOWED_UP and one.follow_up_id is not None:
            how = f"followed up as {numbers[one.follow_up_id]} by {by}"
        table.add_row(
            safe(one.ticket_number),
            safe(one.resolved_by),
            f"after {brief(one.came_back_at - one.resolved_at)}",
            safe(how),
        )
    return table


def _day(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%d}"


def _spread(spread: Spread | None) -> str:
    return "" if spread is None else f"{brief(spread.median)} / {brief(spread.p90)}"


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
