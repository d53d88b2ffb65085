"""``crm report --html``: how the tickets fared, as one page that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from html import escape
from typing import NamedTuple

from ...schemas import QuestionReport, Spread, TicketFlow, TicketReport, TimeUnit
from .charts import Series, columns, legend, rows
from .tables import duration, moment

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2430; --pale: #5b6675; --line: #d9dee5; --paper: #fff;
  --s0: #2563a8; --s1: #c77414; --s2: #4b8b3b; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ee; --pale: #9aa5b4; --line: #39414d;
  --paper: #14181f; --s0: #6aa5e8; --s1: #e5a04c; --s2: #86c472; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 860px; padding: 24px 16px 48px; color: var(--ink); background: var(--paper);
  font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 0; } h2 { font-size: 1.1rem; margin: 36px 0 4px; }
p { color: var(--pale); margin: 4px 0 12px; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(125px, 1fr)); gap: 12px;
  margin: 24px 0 0; }
.figures div { border: 1px solid var(--line); border-radius: 8px; padding: 10px 14px; }
.figures dt { color: var(--pale); font-size: .85rem; } .figures dd { margin: 0; font-size: 1.4rem; }
.chart { display: block; width: 100%; height: auto; } .chart text { fill: var(--ink); font-size: 13px; }
.grid { stroke: var(--line); } .s0 { fill: var(--s0); } .s1 { fill: var(--s1); } .s2 { fill: var(--s2); }
.key { color: var(--pale); font-size: .9rem; margin-right: 16px; white-space: nowrap; }
.numbers { overflow-wrap: anywhere; color: var(--ink); }
footer { margin-top: 40px; border-top: 1px solid var(--line); padding-top: 8px; }
@media (max-width: 600px) { .chart text { font-size: 18px; } h1 { font-size: 1.3rem; } }
@media print { body { max-width: none; } }
"""
_MOST_NUMBERS = 40


class Facts(NamedTuple):
    """All that the page shows."""

    report: TicketReport
    channels: TicketReport
    flow: Sequence[TicketFlow]
    unit: TimeUnit
    questions: QuestionReport


def unit_for(span: timedelta) -> TimeUnit:
    """Days, weeks or months: of none so many that a chart cannot be read."""
    if span <= timedelta(days=62):
        return TimeUnit.DAY
    return TimeUnit.WEEK if span <= timedelta(days=366) else TimeUnit.MONTH


def html(facts: Facts) -> str:
    """The page. It has no script, and asks for nothing from elsewhere."""
    report = facts.report
    title = f"Tickets, {_day(report.since)} to {_day(report.until)}"
    body = [
        f"<h1>{escape(title)}</h1>",
        f"<p>Tickets opened in this time, as they were on {moment(report.as_of)} UTC.</p>",
        _figures(facts),
        *(_over_time(facts), _times(report), _channels(facts.channels), _reopens(report)),
        _questions(facts.questions),
        "<footer><p>Times are median and 90th percentile. A first response is an agent's first message that "
        "is not automatic.</p></footer>",
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )


def _figures(facts: Facts) -> str:
    total = facts.report.total
    figures = {
        "tickets": f"{total.tickets:,}",
        "resolved or closed": _part(total.finished, total.tickets),
        "reopened": _part(total.reopened, total.tickets),
        "first response": _median(total.first_response),
        "resolution": _median(total.full_resolution),
    }
    if facts.questions.threshold is not None:
        figures["without an answer"] = _part(facts.questions.unanswered, facts.questions.questions)
    cells = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in figures.items()
    )
    return f'<dl class="figures">{cells}</dl>'


def _over_time(facts: Facts) -> str:
    form = "%Y-%m" if facts.unit is TimeUnit.MONTH else "%m-%d"
    labels = [f"{one.starts_at.astimezone(UTC):{form}}" for one in facts.flow]
    series = [
        Series("opened", [one.opened for one in facts.flow]),
        Series("resolved", [one.resolved for one in facts.flow]),
        Series("reopened", [one.reopened for one in facts.flow]),
    ]
    title = "Tickets over time"
    return _section(title, f"By {facts.unit}, UTC.", series, columns(title, labels, series))


def _times(report: TicketReport) -> str:
    parts = []
    for title, name in (("First response", "first_response"), ("Resolution", "full_resolution")):
        spreads = {_name(row.group, report): getattr(row, name) for row in report.rows}
        labels = [label for label, spread in spreads.items() if spread is not None]
        measured: list[Spread] = [spread for spread in spreads.values() if spread is not None]
        series = [
            _durations("median", [spread.median for spread in measured]),
            _durations("90th percentile", [spread.p90 for spread in measured]),
        ]
        note = f"By {report.group_by}."
        parts.append(_section(title, note, series, rows(title, labels, series)) if labels else _none(title))
    return "\n".join(parts)


def _channels(report: TicketReport) -> str:
    labels = [_name(row.group, report) for row in report.rows]
    series = [
        Series("tickets", [row.tickets for row in report.rows]),
        Series("resolved or closed", [row.finished for row in report.rows]),
    ]
    title = "Channels"
    return _section(title, "", series, rows(title, labels, series)) if labels else _none(title)


def _reopens(report: TicketReport) -> str:
    labels = [_name(row.group, report) for row in report.rows]
    texts = [_part(row.reopened, row.tickets) for row in report.rows]
    series = [Series("tickets that came back", [row.reopened for row in report.rows], texts)]
    title = "Reopens"
    return (
        _section(title, f"By {report.group_by}.", series, rows(title, labels, series))
        if labels
        else _none(title)
    )


def _questions(questions: QuestionReport) -> str:
    title = "Searches without an answer"
    if questions.threshold is None:
        note = "Not measured: nobody has calibrated from which confidence on an article answers a question."
        return f"<h2>{title}</h2>\n<p>{note}</p>"
    if not questions.categories:
        return _none(title)
    series = [
        Series("questions", [one.questions for one in questions.categories]),
        Series("without an answer", [one.unanswered for one in questions.categories]),
    ]
    labels = [str(one.category).replace("_", " ") for one in questions.categories]
    note = (
        f"The latest {questions.questions:,} tickets' questions, searched for in today's knowledge base; "
        f"an article answers from a confidence of {questions.threshold:.2f} on."
    )
    numbers = ", ".join(questions.ticket_numbers[:_MOST_NUMBERS])
    if len(questions.ticket_numbers) > _MOST_NUMBERS:
        numbers += f" and {len(questions.ticket_numbers) - _MOST_NUMBERS:,} more"
    chart = _section(title, note, series, rows(title, labels, series))
    return chart + (f'\n<p class="numbers">Without an answer: {escape(numbers)}</p>' if numbers else "")


def _section(title: str, note: str, series: Sequence[Series], chart: str) -> str:
    return f"<h2>{escape(title)}</h2>\n<p>{escape(note)} {legend(series)}</p>\n{chart}"


def _none(title: str) -> str:
    return f"<h2>{escape(title)}</h2>\n<p>Nothing in this time.</p>"


def _durations(name: str, spans: Sequence[timedelta]) -> Series:
    return Series(name, [span.total_seconds() for span in spans], [duration(span) for span in spans])


def _name(group: str | None, report: TicketReport) -> str:
    return f"no {report.group_by}" if group is None else group.replace("_", " ")


def _part(count: int, total: int) -> str:
    return f"{count:,} ({count / total:.0%})" if total else f"{count:,}"


def _median(spread: Spread | None) -> str:
    return "-" if spread is None else duration(spread.median)


def _day(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%d}"
