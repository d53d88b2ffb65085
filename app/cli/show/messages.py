"""How the command line shows messages, articles and what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ...models import MessageDirection
from ...schemas import ChannelMetrics, HistoryEntry, KnowledgeHit, Page
from .tables import duration, excerpt, moment, new_table, safe


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


def hits(articles: Sequence[KnowledgeHit], *, length: int) -> Table:
    """Articles, the best first."""
    table = new_table("match", "article", "category")
    table.columns[1].ratio = 1
    for hit in articles:
        table.add_row(
            f"{hit.score:.2f}",
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
