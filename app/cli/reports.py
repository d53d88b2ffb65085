"""``crm report``: how the tickets fared, as a table, as JSON or as a page with charts."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy.orm import Session

from ..database import transaction
from ..embeddings import Embedder
from ..errors import InvalidValue, file_problem
from ..schemas import TicketGrouping
from ..services import metrics, search
from .desk import make_embedder, open_database
from .program import crm, example
from .show import page as html_page
from .show import tickets as show
from .show.json import JsonOption, print_json
from .show.tables import console
from .tickets import DAYS, Day, Days, utc


@crm.command("report", epilog=example("report --days 90 --by category --html report.html"))
def _report(
    by: Annotated[TicketGrouping, typer.Option(help="What to group by.")] = TicketGrouping.CHANNEL,
    days: Days = 30,
    until: Annotated[
        Day, typer.Option(formats=DAYS, help="The report ends where this day (UTC) begins, by default now.")
    ] = None,
    *,
    html: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write a page with charts, readable without a network."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show how the tickets of the last DAYS fared: first response, resolution, reopens.

    With --html also over time and by channel, and which questions the knowledge base does not answer.
    """
    end = utc(until) or datetime.now(UTC)
    since = end - timedelta(days=days)
    with open_database() as database:
        read = partial(metrics.ticket_report, since=since, until=end)
        if html is not None:
            embedder = make_embedder(database.settings)
            facts = transaction(database.sessions, _facts, by=by, since=since, until=end, embedder=embedder)
            _write(html, html_page.html(facts))
            report = facts.report
        else:
            report = transaction(database.sessions, read, group_by=by)
    if as_json:
        print_json(report=report)
    elif html is not None:
        typer.echo(f"written: {html}")
    else:
        out = console()
        out.print(show.report(report, out))


def _facts(
    session: Session, *, by: TicketGrouping, since: datetime, until: datetime, embedder: Embedder
) -> html_page.Facts:
    read = partial(metrics.ticket_report, session, since=since, until=until)
    unit = html_page.unit_for(until - since)
    report = read(group_by=by)
    return html_page.Facts(
        report=report,
        channels=report if by is TicketGrouping.CHANNEL else read(group_by=TicketGrouping.CHANNEL),
        flow=metrics.ticket_flow(session, since=since, until=until, unit=unit),
        unit=unit,
        questions=search.unanswered(session, since=since, until=until, embedder=embedder),
    )


def _write(path: Path, text: str) -> None:
    """All of it or nothing: whoever opens the file meanwhile sees the old report."""
    beside = path.parent / f".{path.name}.new"
    try:
        if path.exists() and not path.is_file():
            # A pipe or a device cannot be replaced.
            path.write_text(text, encoding="utf-8")
            return
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)
    except (OSError, ValueError) as error:
        raise InvalidValue("html", f"cannot be written: {file_problem(error)}") from None
    finally:
        with suppress(OSError, ValueError):
            beside.unlink(missing_ok=True)
