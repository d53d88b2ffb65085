"""``crm customers``: who is who, shown to a person before it is changed."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

import typer
from sqlalchemy.orm import Session

from ..database import transaction
from ..errors import MergeBlocked
from ..models import Customer
from ..schemas import MergePlan, NormalizationReport, Uncanonical
from ..services import duplicates, identity, merging
from .desk import PERSON, Database, Limit, open_database
from .people import find_customer
from .program import customers, example
from .show import customers as show
from .show.json import JsonOption, print_json
from .show.tables import console

Reason = Annotated[str, typer.Option(help="Why; it is kept with the decision.")]
Actor = Annotated[str, typer.Option(help="Who decides.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be done, and change nothing.")]


@customers.command("duplicates", epilog=example("customers duplicates --min-score 10"))
def _duplicates(
    min_score: Annotated[
        float, typer.Option(help="In bits: 0 is as likely as not, and each bit doubles the odds.")
    ] = duplicates.DEFAULT_MIN_SCORE,
    limit: Limit = 20,
    customer: Annotated[str | None, typer.Option(metavar="CUSTOMER", help="Only this one's.")] = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Show the customers who may be one person, with the evidence."""
    with open_database() as database:
        customer_id = None if customer is None else _customers(database, customer)[0].id
        pairs = transaction(
            database.sessions,
            duplicates.find_duplicates,
            customer_id=customer_id,
            min_score=min_score,
            limit=limit,
        )
        ids = {id_ for pair in pairs for id_ in (pair.a_id, pair.b_id)}
        people = transaction(database.sessions, identity.customers_with_identifiers, ids)
    if as_json:
        print_json(items=pairs)
        return
    out = console()
    if not pairs:
        out.print("no duplicates")
        return
    out.print(show.candidates(pairs, people))
    out.print("one person: crm customers merge A B --reason ...")
    out.print("two people: crm customers reject A B --reason ...")


@customers.command(
    "merge", epilog=example('customers merge ana@example.com +5531988887777 --reason "said so on the phone"')
)
def _merge(
    survivor: Annotated[str, typer.Argument(metavar="SURVIVOR", help=PERSON)],
    absorbed: Annotated[str, typer.Argument(metavar="ABSORBED", help="The customer who becomes part of it.")],
    *,
    reason: Annotated[str | None, typer.Option(help="Why; it is kept with the merge.")] = None,
    actor: Actor = "human:cli",
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: JsonOption = False,
) -> None:
    """Make two customers one, after showing what that would do. It can be undone."""
    if reason is None and not dry_run:
        raise typer.BadParameter("is needed to merge", param_hint="--reason")
    with open_database() as database:
        one, other = _customers(database, survivor, absorbed)
        plan = transaction(database.sessions, merging.plan_merge, one.id, other.id)
        if not as_json:
            console().print(show.plan(plan, one, other))
        if reason is None or dry_run:
            if as_json:
                print_json(plan=plan, merge_id=None)
            return
        if plan.blocked:
            raise MergeBlocked(plan.blocked)
        if not yes:
            typer.confirm(f"Make {show.who(other)} a part of {show.who(one)}?", abort=True, err=as_json)
        merge_id = transaction(database.sessions, _merged, plan, actor=actor, reason=reason)
    if as_json:
        print_json(plan=plan, merge_id=merge_id)
    else:
        typer.echo(f"merged; to undo it: crm customers unmerge {merge_id} --reason ...")


def _merged(session: Session, plan: MergePlan, *, actor: str, reason: str) -> UUID:
    merge = merging.merge(
        session,
        plan.survivor_id,
        plan.absorbed_id,
        actor=actor,
        reason=reason,
        fingerprint=plan.fingerprint,
    )
    return merge.id


@customers.command(
    "unmerge", epilog=example('customers unmerge 8a0c3d53-2bb0-4b4c-9e43-9f6a3c1d2e4f --reason "two people"')
)
def _unmerge(
    merge_id: Annotated[UUID, typer.Argument(metavar="MERGE", help="The merge's id; `events` shows it.")],
    reason: Reason,
    actor: Actor = "human:cli",
    yes: Yes = False,
    *,
    as_json: JsonOption = False,
) -> None:
    """Take a merge back: the absorbed customer and exactly its rows."""
    with open_database() as database:
        absorbed = transaction(database.sessions, _absorbed, merge_id)
        if not yes:
            typer.confirm(f"Restore {show.who(absorbed)} as a customer of its own?", abort=True, err=as_json)
        report = transaction(database.sessions, merging.unmerge, merge_id, actor=actor, reason=reason)
    if as_json:
        print_json(report=report)
    else:
        console().print(show.unmerged(report))


def _absorbed(session: Session, merge_id: UUID) -> Customer:
    """The absorbed customer as it was."""
    image = merging.get_merge(session, merge_id).absorbed
    return Customer(**{name: image.get(name) for name in ("id", "email", "name", "phone")})


@customers.command(
    "reject", epilog=example('customers reject ana@example.com anna@example.com --reason "two people"')
)
def _reject(
    one: Annotated[str, typer.Argument(metavar="A", help=PERSON)],
    other: Annotated[str, typer.Argument(metavar="B", help=PERSON)],
    reason: Reason,
    actor: Actor = "human:cli",
    *,
    as_json: JsonOption = False,
) -> None:
    """Keep that two customers are two people; they are not shown as duplicates again."""
    with open_database() as database:
        a, b = _customers(database, one, other)
        transaction(database.sessions, duplicates.reject_duplicate, a.id, b.id, actor=actor, reason=reason)
    if as_json:
        print_json(customer_ids=[a.id, b.id])
        return
    typer.echo(f"{show.who(a)} and {show.who(b)} are two people")


@customers.command("events", epilog=example("customers events ana@example.com"))
def _events(
    customer: Annotated[str, typer.Argument(metavar="CUSTOMER", help=PERSON)],
    limit: Limit = 50,
    *,
    as_json: JsonOption = False,
) -> None:
    """Show what was decided about a customer, and about those who became part of it."""
    with open_database() as database:
        (person,) = _customers(database, customer)
        history = transaction(database.sessions, identity.identity_history, person.id, limit=limit)
    if as_json:
        print_json(customer_id=person.id, total=history.total, items=history.events)
        return
    out = console()
    out.print(show.who(person), style="bold", markup=False, highlight=False)
    if history.total > len(history.events):
        out.print(f"only the latest {len(history.events)} of {history.total} events", style="dim")
    out.print(show.events(person, history.events, history.addresses) if history.events else "no events")


@customers.command("normalize", epilog=example("customers normalize --dry-run"))
def _normalize(dry_run: DryRun = False, actor: Actor = "system:cli", *, as_json: JsonOption = False) -> None:
    """Bring addresses that other backends stored in their own spelling to the canonical form.

    What several customers have is reported and left alone.
    """
    mended: list[Uncanonical] = []
    with open_database() as database:
        while True:
            report = transaction(
                database.sessions,
                identity.normalize_identifiers,
                actor=actor,
                default_region=database.settings.default_region,
                dry_run=dry_run,
            )
            batch = [value for value in report.values if value.fate.is_mended]
            if not report.remaining or not batch:
                break
            mended += batch
    whole = NormalizationReport(checked=report.checked, values=(*mended, *report.values))
    if as_json:
        print_json(report=whole)
    else:
        console().print(show.normalized(whole, done=not dry_run))


def _customers(database: Database, *references: str) -> list[Customer]:
    """The customers with their identifiers, in the order of the arguments."""
    region = database.settings.default_region
    ids = [transaction(database.sessions, find_customer, reference, region).id for reference in references]
    people = transaction(database.sessions, identity.customers_with_identifiers, ids)
    return [people[id_] for id_ in ids]
