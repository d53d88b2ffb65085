"""``crm tickets`` and ``crm report``: what is there to do, how it goes, and whether the record is sound."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Annotated
from uuid import UUID

import typer
from rich.console import Console
from sqlalchemy import select
from sqlalchemy.orm import Session

from . import _tickets_show as show
from ._commands import Limit, _database, _find_customer, crm
from .database import transaction
from .models import Channel, Ticket, TicketCategory, TicketPriority, TicketStatus
from .schemas import HistoryFinding, TicketGrouping, TicketRegression
from .services import metrics
from .services import tickets as service

tickets = typer.Typer(help="List tickets, and look after them.", invoke_without_command=True)
crm.add_typer(tickets, name="tickets")

Day = Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="A day, UTC.")]
Days = Annotated[int, typer.Option(min=1, max=36_500)]
Number = Annotated[str, typer.Argument(metavar="NUMBER", help="TKT-0042, 42, or the ticket's id.")]


@tickets.callback()
def _list(
    context: typer.Context,
    *,
    status: Annotated[list[TicketStatus] | None, typer.Option(help="Only these; may be repeated.")] = None,
    priority: Annotated[list[TicketPriority] | None, typer.Option()] = None,
    category: Annotated[list[TicketCategory] | None, typer.Option()] = None,
    channel: Annotated[list[Channel] | None, typer.Option()] = None,
    assignee: Annotated[str | None, typer.Option(help="human:7, ai:support-agent")] = None,
    unassigned: Annotated[bool, typer.Option("--unassigned", help="Only what nobody has.")] = False,
    customer: Annotated[
        str | None, typer.Option(help="An email address, a phone or WhatsApp number, or an id.")
    ] = None,
    since: Day = None,
    until: Day = None,
    limit: Limit = 25,
) -> None:
    """List tickets, newest first, that fit all filters."""
    if context.invoked_subcommand is not None:
        return
    with _database() as database:
        customer_id = None
        if customer is not None:
            region = database.settings.default_region
            customer_id = transaction(database.sessions, _find_customer, customer, region).id
        find = partial(
            service.list_tickets,
            # Without any, typer gives an empty list.
            status=status or None,
            priority=priority or None,
            category=category or None,
            channel=channel or None,
            assignee=assignee,
            unassigned=unassigned,
            customer_id=customer_id,
            since=_utc(since),
            until=_utc(until),
            limit=limit,
        )
        page = transaction(database.sessions, find)
    Console().print(show.listed(page, datetime.now(UTC)) if page.items else "no tickets")


@tickets.command("verify")
def _verify(
    number: Annotated[str | None, typer.Argument(metavar="[NUMBER]", help="Only this one.")] = None,
) -> None:
    """Check every entry of the audit trail; exit code 1 if somebody has tampered with it."""
    with _database() as database:
        found = transaction(database.sessions, _verified, number)
    if found:
        Console().print(show.findings(found))
        raise typer.Exit(1)
    typer.echo("the record is sound")


def _verified(session: Session, number: str | None) -> list[HistoryFinding]:
    ticket_id = None if number is None else service.get_ticket(session, number).id
    return service.verify_history(session, ticket_id)


@tickets.command("reopen")
def _reopen(
    number: Number,
    actor: Annotated[str, typer.Option(help="Who does it.")] = "human:cli",
    comment: Annotated[str | None, typer.Option(help="Why; it is kept in the record.")] = None,
) -> None:
    """Take up a finished ticket; one closed more than CRM_REOPEN_GRACE_DAYS ago gets a follow-up."""
    with _database() as database:
        grace = timedelta(days=database.settings.reopen_grace_days)
        reopen = partial(_reopened, actor=actor, comment=comment, grace=grace)
        typer.echo(transaction(database.sessions, reopen, number))


def _reopened(session: Session, number: str, *, actor: str, comment: str | None, grace: timedelta) -> str:
    asked = service.get_ticket(session, number)
    opened = service.reopen(session, asked.id, actor=actor, comment=comment, grace=grace)
    if opened is asked:
        return f"{opened.ticket_number} is {opened.status}"
    return f"{opened.ticket_number} is {opened.status}; it follows {asked.ticket_number}"


@tickets.command("close")
def _close(
    days: Days = 14, actor: Annotated[str, typer.Option(help="Who does it.")] = "system:retention"
) -> None:
    """Close what was resolved more than DAYS ago. Several of these can run at once."""
    closed = 0
    with _database() as database:
        close = partial(
            service.close_stale, resolved_before=datetime.now(UTC) - timedelta(days=days), actor=actor
        )
        while batch := transaction(database.sessions, close):
            closed += len(batch)
    typer.echo(f"{closed} closed")


@tickets.command("regressions")
def _regressions(days: Days = 7, limit: Limit = 25) -> None:
    """List what an AI resolved and came back within DAYS."""
    with _database() as database:
        find = partial(_came_back, days=days, limit=limit)
        found, numbers = transaction(database.sessions, find)
    Console().print(show.regressions(found, numbers) if found else "none")


def _came_back(
    session: Session, *, days: int, limit: int
) -> tuple[list[TicketRegression], dict[UUID | None, str]]:
    found = service.regressions(session, days=days, limit=limit)
    follow_ups = [one.follow_up_id for one in found]
    numbers = session.execute(select(Ticket.id, Ticket.ticket_number).where(Ticket.id.in_(follow_ups)))
    return found, {row.id: row.ticket_number for row in numbers}


@crm.command("report")
def _report(
    by: Annotated[TicketGrouping, typer.Option(help="What to group by.")] = TicketGrouping.CHANNEL,
    days: Days = 30,
    until: Day = None,
) -> None:
    """Show how the tickets of the last DAYS fared: first response, resolution, reopens."""
    end = _utc(until) or datetime.now(UTC)
    with _database() as database:
        ask = partial(metrics.ticket_report, since=end - timedelta(days=days), until=end, group_by=by)
        told = transaction(database.sessions, ask)
    console = Console()
    console.print(show.report(told, console))


def _utc(day: datetime | None) -> datetime | None:
    return None if day is None else day.replace(tzinfo=UTC)
