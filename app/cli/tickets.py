"""``crm tickets`` and ``crm report``: what is there to do, how it goes, and whether the record is sound."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Annotated
from uuid import UUID

import typer
from sqlalchemy.orm import Session

from ..database import transaction
from ..models import Channel, Ticket, TicketCategory, TicketPriority, TicketStatus
from ..schemas import HistoryFinding, TicketRegression
from ..services import conversations, identity
from ..services import tickets as service
from .desk import PERSON, Limit, open_database
from .people import find_customer
from .program import crm, example, tickets
from .show import conversations as show_conversations
from .show import tickets as show
from .show.json import BeforeOption, JsonOption, page, print_json
from .show.tables import console

Days = Annotated[int, typer.Option(min=1, max=36_500, help="How many days.")]
Day = datetime | None
DAYS = ["%Y-%m-%d"]
SEVERAL = "Only these; may be repeated."
Number = Annotated[str, typer.Argument(metavar="NUMBER", help="TKT-0042, 42, or the ticket's id.")]


@crm.command("ticket", epilog=example("ticket TKT-0042"))
def _ticket(
    number: Number,
    *,
    messages: Annotated[
        int, typer.Option(min=0, max=1000, help="How many of its conversation, the latest; 0 for none.")
    ] = 20,
    as_json: JsonOption = False,
) -> None:
    """Show a ticket, its audit trail (who changed it, when and why) and its conversation."""
    with open_database() as database:
        transaction(database.sessions, _show_ticket, number, messages=messages, as_json=as_json)


def _show_ticket(session: Session, number: str, *, messages: int, as_json: bool) -> None:
    ticket = service.get_ticket(session, number)
    (customer,) = identity.customers_with_identifiers(session, [ticket.customer_id]).values()
    record = service.status_history(session, ticket.id), service.field_history(session, ticket.id)
    links, life = service.linked_tickets(session, ticket.id), service.lifecycle(session, ticket.id)
    transcript = None
    if messages and ticket.conversation_id is not None:
        transcript = conversations.transcript(session, ticket.conversation_id, limit=messages)
    if as_json:
        print_json(
            ticket=ticket, status_history=record[0], field_history=record[1], lifecycle=life,
            follows=links.follows, followed_by=links.followed_by,
            conversation=None if transcript is None else page(transcript),
        )  # fmt: skip
        return
    more = {
        "conversation": str(ticket.conversation_id) if ticket.conversation_id else None,
        "follows": ", ".join(links.follows) or None,
        "followed by": ", ".join(links.followed_by) or None,
        **show.life(life),
    }
    out = console()
    out.print(show.ticket(ticket, customer.name, *record, more=more))
    if transcript is not None:
        out.print()
        out.print(show_conversations.transcript(transcript) if transcript.items else "no messages")


@tickets.callback()
def _list(
    context: typer.Context,
    *,
    status: Annotated[list[TicketStatus] | None, typer.Option(help=SEVERAL)] = None,
    priority: Annotated[list[TicketPriority] | None, typer.Option(help=SEVERAL)] = None,
    category: Annotated[list[TicketCategory] | None, typer.Option(help=SEVERAL)] = None,
    channel: Annotated[list[Channel] | None, typer.Option(help=SEVERAL)] = None,
    assignee: Annotated[str | None, typer.Option(help="Only this one's: human:7, ai:support-agent.")] = None,
    unassigned: Annotated[bool, typer.Option("--unassigned", help="Only what nobody has.")] = False,
    customer: Annotated[str | None, typer.Option(help=PERSON)] = None,
    since: Annotated[Day, typer.Option(formats=DAYS, help="Opened on this day (UTC) or later.")] = None,
    until: Annotated[Day, typer.Option(formats=DAYS, help="Opened before this day (UTC) began.")] = None,
    limit: Limit = 25,
    before: BeforeOption = None,
    as_json: JsonOption = False,
) -> None:
    """List tickets, newest first, that fit all filters."""
    if context.invoked_subcommand is not None:
        return
    with open_database() as database:
        customer_id = None
        if customer is not None:
            region = database.settings.default_region
            customer_id = transaction(database.sessions, find_customer, customer, region).id
        find = partial(
            service.list_tickets,
            # Without any, typer gives an empty list.
            status=status or None,
            priority=priority or None,
            category=category or None,
            source_channel=channel or None,
            assigned_to=assignee,
            unassigned=unassigned,
            customer_id=customer_id,
            created_from=utc(since),
            created_before=utc(until),
            limit=limit,
            before=before,
        )
        listed = transaction(database.sessions, find)
    if as_json:
        print_json(**page(listed))
    else:
        out = console()
        out.print(show.listed(listed, datetime.now(UTC), out) if listed.items else "no tickets")


@tickets.command("verify", epilog=example("tickets verify TKT-0042"))
def _verify(
    number: Annotated[str | None, typer.Argument(metavar="NUMBER", help="Only this one.")] = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Check every entry of the audit trail; exit code 1 if somebody has tampered with it."""
    with open_database() as database:
        findings = transaction(database.sessions, _verified, number)
    if as_json:
        print_json(findings=findings)
    else:
        console().print(show.findings(findings) if findings else "the record is sound")
    if findings:
        raise typer.Exit(1)


def _verified(session: Session, number: str | None) -> list[HistoryFinding]:
    ticket_id = None if number is None else service.get_ticket(session, number).id
    return service.verify_history(session, ticket_id)


@tickets.command("reopen", epilog=example('tickets reopen TKT-0042 --comment "it is back"'))
def _reopen(
    number: Number,
    actor: Annotated[str, typer.Option(help="Who does it.")] = "human:cli",
    comment: Annotated[str | None, typer.Option(help="Why; it is kept in the record.")] = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Take up a finished ticket; one closed more than CRM_REOPEN_GRACE_DAYS ago gets a follow-up."""
    with open_database() as database:
        grace = timedelta(days=database.settings.reopen_grace_days)
        reopen = partial(_reopened, actor=actor, comment=comment, grace=grace)
        ticket, follows = transaction(database.sessions, reopen, number)
    if as_json:
        print_json(ticket=ticket, follows=follows)
        return
    typer.echo(f"{ticket.ticket_number} is {ticket.status}{f'; it follows {follows}' if follows else ''}")


def _reopened(
    session: Session, number: str, *, actor: str, comment: str | None, grace: timedelta
) -> tuple[Ticket, str | None]:
    """The ticket to go on with, and the number of the one that it follows."""
    finished = service.get_ticket(session, number)
    opened = service.reopen(session, finished.id, actor=actor, comment=comment, grace=grace)
    return opened, None if opened is finished else finished.ticket_number


@tickets.command("close", epilog=example("tickets close --days 30"))
def _close(
    days: Days = 14,
    actor: Annotated[str, typer.Option(help="Who does it.")] = "system:retention",
    *,
    as_json: JsonOption = False,
) -> None:
    """Close what was resolved more than DAYS ago. Several of these can run at once."""
    closed = 0
    with open_database() as database:
        close = partial(
            service.close_stale, resolved_before=datetime.now(UTC) - timedelta(days=days), actor=actor
        )
        while batch := transaction(database.sessions, close):
            closed += len(batch)
    if as_json:
        print_json(closed=closed)
    else:
        typer.echo(f"{closed} closed")


@tickets.command("regressions", epilog=example("tickets regressions --days 14"))
def _regressions(days: Days = 7, limit: Limit = 25, *, as_json: JsonOption = False) -> None:
    """List what an AI resolved and came back within DAYS."""
    with open_database() as database:
        find = partial(_came_back, days=days, limit=limit)
        rows, numbers = transaction(database.sessions, find)
    if as_json:
        print_json(items=rows)
    else:
        console().print(show.regressions(rows, numbers) if rows else "none")


def _came_back(session: Session, *, days: int, limit: int) -> tuple[list[TicketRegression], dict[UUID, str]]:
    rows = service.regressions(session, days=days, limit=limit)
    follow_ups = {row.follow_up_id for row in rows if row.follow_up_id is not None}
    return rows, service.ticket_numbers(session, follow_ups)


def utc(day: datetime | None) -> datetime | None:
    return None if day is None else day.replace(tzinfo=UTC)
