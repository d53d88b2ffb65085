"""``crm customers``: who is who, shown to a person before it is changed."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated
from uuid import UUID

import typer
from rich.console import Console
from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session, selectinload

from . import _customers_show as show
from ._commands import Limit, _Database, _database, _find_customer, crm
from .database import transaction
from .errors import MergeNotFound
from .models import Customer, CustomerIdentifier, CustomerMerge, CustomerRedirect, IdentityEvent
from .schemas import MergePlan, NormalizationReport
from .services import backfill, duplicates, merging

customers = typer.Typer(
    help="Customers who are one person, and what was decided about them.", no_args_is_help=True
)
crm.add_typer(customers, name="customers")

_PERSON = "An email address, a phone or WhatsApp number, or an id."
Reason = Annotated[str, typer.Option(help="Why; it is kept with the decision.")]
Actor = Annotated[str, typer.Option(help="Who decides.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be done, and change nothing.")]


@customers.command("duplicates")
def _duplicates(
    min_score: Annotated[
        float, typer.Option(help="In bits: 0 is as likely as not, and each bit doubles the odds.")
    ] = duplicates.DEFAULT_MIN_SCORE,
    limit: Limit = 20,
    customer: Annotated[str | None, typer.Option(metavar="CUSTOMER", help="Only this one's.")] = None,
) -> None:
    """Show the customers who may be one person, with the evidence."""
    with _database() as database:
        customer_id = None if customer is None else _found(database, customer)[0].id
        found = transaction(
            database.sessions,
            duplicates.find_duplicates,
            customer_id=customer_id,
            min_score=min_score,
            limit=limit,
        )
        ids = {id_ for one in found for id_ in (one.a_id, one.b_id)}
        people = transaction(database.sessions, _people, ids)
    console = Console()
    if not found:
        console.print("no duplicates")
        return
    console.print(show.candidates(found, people))
    console.print("one person: crm customers merge A B --reason ...")
    console.print("two people: crm customers reject A B --reason ...")


@customers.command("merge")
def _merge(
    survivor: Annotated[str, typer.Argument(metavar="SURVIVOR", help=_PERSON)],
    absorbed: Annotated[str, typer.Argument(metavar="ABSORBED", help="The customer who becomes part of it.")],
    *,
    reason: Annotated[str | None, typer.Option(help="Why; it is kept with the merge.")] = None,
    actor: Actor = "human:cli",
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Make two customers one, after showing what that would do. It can be undone."""
    if reason is None and not dry_run:
        raise typer.BadParameter("is needed to merge", param_hint="--reason")
    with _database() as database:
        one, other = _found(database, survivor, absorbed)
        planned = transaction(database.sessions, merging.plan_merge, one.id, other.id)
        Console().print(show.plan(planned, one, other))
        if reason is None or dry_run:
            return
        if not yes:
            typer.confirm(f"Make {show.who(other)} a part of {show.who(one)}?", abort=True)
        merge_id = transaction(database.sessions, _merged, planned, actor=actor, reason=reason)
    typer.echo(f"merged; to undo it: crm customers unmerge {merge_id} --reason ...")


def _merged(session: Session, planned: MergePlan, *, actor: str, reason: str) -> UUID:
    done = merging.merge(
        session,
        planned.survivor_id,
        planned.absorbed_id,
        actor=actor,
        reason=reason,
        fingerprint=planned.fingerprint,
    )
    return done.id


@customers.command("unmerge")
def _unmerge(
    merge_id: Annotated[UUID, typer.Argument(metavar="MERGE", help="The merge's id; `events` shows it.")],
    reason: Reason,
    actor: Actor = "human:cli",
    yes: Yes = False,
) -> None:
    """Take a merge back: the absorbed customer and exactly its rows."""
    with _database() as database:
        absorbed = transaction(database.sessions, _absorbed, merge_id)
        if not yes:
            typer.confirm(f"Restore {show.who(absorbed)} as a customer of its own?", abort=True)
        report = transaction(database.sessions, merging.unmerge, merge_id, actor=actor, reason=reason)
    Console().print(show.unmerged(report))


def _absorbed(session: Session, merge_id: UUID) -> Customer:
    """The absorbed customer as it was."""
    image = session.scalar(select(CustomerMerge.absorbed).where(CustomerMerge.id == merge_id))
    if image is None:
        raise MergeNotFound(merge_id)
    return Customer(**{name: image.get(name) for name in ("id", "email", "name", "phone")})


@customers.command("reject")
def _reject(
    one: Annotated[str, typer.Argument(metavar="A", help=_PERSON)],
    other: Annotated[str, typer.Argument(metavar="B", help=_PERSON)],
    reason: Reason,
    actor: Actor = "human:cli",
) -> None:
    """Keep that two customers are two people; they are not shown as duplicates again."""
    with _database() as database:
        a, b = _found(database, one, other)
        transaction(database.sessions, duplicates.reject_duplicate, a.id, b.id, actor=actor, reason=reason)
    typer.echo(f"{show.who(a)} and {show.who(b)} are two people")


@customers.command("events")
def _events(
    customer: Annotated[str, typer.Argument(metavar="CUSTOMER", help=_PERSON)], limit: Limit = 50
) -> None:
    """Show what was decided about a customer, and about those who became part of it."""
    with _database() as database:
        (person,) = _found(database, customer)
        events, addresses, count = transaction(database.sessions, _decisions, person.id, limit)
    console = Console()
    console.print(show.who(person), style="bold", markup=False, highlight=False)
    if count > len(events):
        console.print(f"only the latest {len(events)} of {count} events", style="dim")
    console.print(show.events(person, events, addresses) if events else "no events")


def _decisions(
    session: Session, customer_id: UUID, limit: int
) -> tuple[list[IdentityEvent], dict[UUID, str], int]:
    """The latest events in their order, the addresses that they are about, and how many events there are."""
    ids = select(CustomerRedirect.absorbed_id).where(CustomerRedirect.customer_id == customer_id)
    names = [customer_id, *session.scalars(ids)]
    about = or_(IdentityEvent.customer_id.in_(names), IdentityEvent.other_customer_id.in_(names))
    latest = select(IdentityEvent).where(about).order_by(IdentityEvent.seq.desc()).limit(limit)
    events = [*session.scalars(latest)][::-1]
    row = CustomerIdentifier
    known = select(row.id, row.identifier_value).where(
        row.id.in_({event.identifier_id for event in events if event.identifier_id is not None})
    )
    addresses = {address.id: address.identifier_value for address in session.execute(known)}
    count = session.scalar(select(func.count()).select_from(IdentityEvent).where(about))
    return events, addresses, count or 0


@customers.command("normalize")
def _normalize(dry_run: DryRun = False, actor: Actor = "system:cli") -> None:
    """Bring addresses that other backends stored in their own spelling to the canonical form.

    What several customers have is reported and left alone.
    """
    values = []
    with _database() as database:
        while True:
            report = transaction(
                database.sessions,
                backfill.normalize_identifiers,
                actor=actor,
                default_region=database.settings.default_region,
                dry_run=dry_run,
            )
            done = [value for value in report.values if value.fate in backfill.DONE]
            if not report.remaining or not done:
                break
            values += done
    whole = NormalizationReport(checked=report.checked, values=(*values, *report.values))
    Console().print(show.normalized(whole, done=not dry_run))


def _found(database: _Database, *wanted: str) -> list[Customer]:
    """The customers with their identifiers, in the order of the arguments."""
    region = database.settings.default_region
    ids = [transaction(database.sessions, _find_customer, one, region).id for one in wanted]
    people = transaction(database.sessions, _people, ids)
    return [people[id_] for id_ in ids]


def _people(session: Session, ids: Collection[UUID]) -> dict[UUID, Customer]:
    found = select(Customer).where(Customer.id.in_(ids)).options(selectinload(Customer.identifiers))
    return {person.id: person for person in session.scalars(found)}
