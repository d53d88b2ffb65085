"""How the command line shows things: tables that fit 80 columns, and plain text in a pipe."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeVar
from uuid import UUID

from rich import box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from .models import (
    Customer,
    MessageDirection,
    Ticket,
    TicketField,
    TicketFieldChange,
    TicketStatus,
    TicketStatusChange,
)
from .schemas import ChannelMetrics, HistoryEntry, KnowledgeHit, Page

T = TypeVar("T")

STATUS_STYLES = {
    TicketStatus.OPEN: "yellow",
    TicketStatus.PROCESSING: "cyan",
    TicketStatus.WAITING: "magenta",
    TicketStatus.RESOLVED: "green",
    TicketStatus.ESCALATED: "bold red",
    TicketStatus.CLOSED: "dim",
}
_FIELDS = {
    TicketField.ASSIGNED_TO: "assigned to",
    TicketField.CATEGORY: "category",
    TicketField.PRIORITY: "priority",
}
# Control characters steer the terminal, marks of direction turn lines round. Joiners stay: emoji need them.
_UNSAFE = {code: 0x2400 + code for code in range(0x20) if chr(code) not in "\n\t"} | dict.fromkeys(
    [*range(0x7F, 0xA0), 0x061C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A)], 0xFFFD
)


class Patience(Progress):
    """A progress bar on stderr that shows itself only after a second, and is gone in the end."""

    def __init__(self) -> None:
        self._since = time.monotonic()
        console = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        super().__init__(*columns, console=console, transient=True, disable=not console.is_terminal)

    def counter(self, description: str) -> Callable[[int, int], None]:
        """What services take as ``progress``."""
        task = self.add_task(description, total=None)
        return lambda done, total: self.update(task, completed=done, total=total)

    def get_renderables(self) -> Iterable[RenderableType]:
        return super().get_renderables() if time.monotonic() - self._since > 1 else ()


def watched(items: Iterable[T], description: str, total: int) -> list[T]:
    with Patience() as progress:
        return list(progress.track(items, total, description=description))


def safe(value: str, style: str = "") -> Text:
    """Somebody's text as it is: no markup, and nothing in it that could steer the terminal."""
    return Text(value.replace("\r\n", "\n").translate(_UNSAFE), style)


def on_one_line(value: str) -> Text:
    """The same without line breaks, cut with an ellipsis where the line ends."""
    text = safe(" ".join(value.split()))
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


def plain(value: str) -> str:
    """The same for a line that is printed without rich."""
    return "".join(character if character.isprintable() else "\ufffd" for character in value)


def excerpt(value: str, length: int, style: str = "") -> Text:
    """The beginning of somebody's text, without blank lines."""
    text = "\n".join(filter(None, (" ".join(line.split()) for line in value.splitlines())))
    if len(text) > length:
        words = text[:length].rsplit(maxsplit=1)
        text = f"{words[0]} …" if len(words) > 1 else f"{text[:length]}…"
    return safe(text, style)


def duration(span: timedelta) -> str:
    """The two largest units that matter: 12 ms, 3.4 s, 5 min, 2 h 5 min, 3 days."""
    seconds = max(span.total_seconds(), 0)
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = int(seconds // 60)
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes // (24 * 60)} days"


def moment(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M}"


def status_text(status: TicketStatus | None) -> Text:
    status = status or TicketStatus.OPEN
    return Text(status.value, STATUS_STYLES[status])


def new_table(*columns: str) -> Table:
    return Table(*columns, box=box.SIMPLE_HEAD, show_edge=False, header_style="dim", padding=(0, 2, 0, 0))


def customers(people: Sequence[Customer], messages: Mapping[UUID, Mapping[str, int]]) -> Table:
    """Who is known by what, and how many messages came through which channel."""
    table = new_table("customer", "known by", "wrote through")
    for person in people:
        known = Text("\n").join(
            Text.assemble(("✓ ", "green") if one.verified else ("? ", "yellow"), safe(one.identifier_value))
            for one in sorted(person.identifiers, key=lambda one: (not one.verified, one.identifier_value))
        )
        table.add_row(
            safe(person.name or "(no name)"),
            known or Text("nothing that identifies anybody", "dim"),
            ", ".join(f"{channel} {count}" for channel, count in sorted(messages[person.id].items())),
        )
    return table


def history(page: Page[HistoryEntry], *, length: int) -> RenderableType:
    """A page of messages in the order in which they were written."""
    lines: list[RenderableType] = []
    if page.next is not None:
        lines.append(Text(f"only the latest {len(page.items)} messages; there are older ones", "dim"))
    for entry in reversed(page.items):
        inbound = entry.direction is MessageDirection.INBOUND
        style = "bold" if inbound else "cyan"
        head = f"{moment(entry.created_at)}  {entry.channel:8}  {entry.role}"
        lines += [Text(head, style), Padding(excerpt(entry.content, length), (0, 0, 0, 2), expand=False)]
    return Group(*lines)


def facts(named: Mapping[str, str | Text | None]) -> Table:
    """One fact a line; those that are None are left out."""
    grid = Table.grid(padding=(0, 2))
    for name, fact in named.items():
        if fact is not None:
            grid.add_row(Text(name, "dim"), safe(fact) if isinstance(fact, str) else fact)
    return grid


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
    table = new_table("when (UTC)", "after", "status", "by", "why")
    for column in table.columns[:4]:
        column.no_wrap = True
    table.columns[1].justify = "right"
    earlier = None
    for change in sorted(record, key=lambda change: change.changed_at):
        by = "the customer" if change.changed_by == f"customer:{ticket.customer_id}" else change.changed_by
        if isinstance(change, TicketStatusChange):
            what = Text.assemble(status_text(change.new_status), " (forced)" if change.forced else "")
            after = duration(change.changed_at - earlier) if earlier else ""
            earlier = change.changed_at
        else:
            what, after = safe(f"{_FIELDS[change.field]} {change.new_value or 'nobody'}", "dim"), ""
        table.add_row(
            f"{change.changed_at.astimezone(UTC):%Y-%m-%d %H:%M:%S}",
            after,
            what,
            safe(by),
            excerpt(change.comment or "", 200),
        )
    return table


def tickets(rows: Sequence[Ticket]) -> Table:
    table = new_table("ticket", "status", "priority", "category", "subject")
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


def hits(found: Sequence[KnowledgeHit], *, length: int) -> Table:
    """Articles, the best first."""
    table = new_table("match", "article", "category")
    table.columns[1].ratio = 1
    for hit in found:
        table.add_row(
            f"{hit.score if hit.similarity is None else hit.similarity:.2f}",
            Group(safe(hit.title, "bold"), excerpt(hit.content, length, "dim")),
            hit.category.value,
        )
    return table


def metrics(rows: Sequence[ChannelMetrics]) -> Table:
    table = new_table("channel", "conversations", "escalations", "sentiment", "response time")
    for column in table.columns[1:]:
        column.justify = "right"
    for row in rows:
        table.add_row(
            row.channel.value,
            str(row.total_conversations),
            str(row.escalation_count),
            "-" if row.avg_sentiment is None else f"{row.avg_sentiment:.2f}",
            "-" if row.avg_latency_ms is None else duration(timedelta(milliseconds=row.avg_latency_ms)),
        )
    return table
