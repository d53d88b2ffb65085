"""``crm customers export``, ``erase`` and ``hold``: what a person may ask for."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

import typer
from rich.table import Table
from rich.text import Text

from ..database import transaction
from ..errors import UnderLegalHold
from ..schemas import ErasurePlan, ErasureReport
from ..services import privacy
from .customers import Actor, DryRun, Reason, Yes
from .desk import PERSON, open_database
from .people import find_customer
from .program import customers, example
from .show.json import JsonOption, print_json
from .show.tables import console, moment, new_table, safe

Person = Annotated[str, typer.Argument(metavar="CUSTOMER", help=f"{PERSON} Of an erased one, the id.")]


@customers.command("export", epilog=example("customers export ana@example.com"))
def _export(customer: Person) -> None:
    """Write everything that is kept about a customer to standard output, as one JSON document."""
    with open_database() as database:
        region = database.settings.default_region
        person = transaction(database.sessions, find_customer, customer, region)
        document = transaction(database.sessions, privacy.export_customer, person.id)
    typer.echo(document.model_dump_json(indent=2))


@customers.command("erase", epilog=example('customers erase ana@example.com --reason "asked to, case 17"'))
def _erase(
    customer: Person,
    *,
    reason: Annotated[
        str | None, typer.Option(help="Why; it is kept, so it must not name the person.")
    ] = None,
    actor: Actor = "human:cli",
    dry_run: DryRun = False,
    yes: Yes = False,
    as_json: JsonOption = False,
) -> None:
    """Erase a customer's personal data for good, after showing what that would do."""
    if reason is None and not dry_run:
        raise typer.BadParameter("is needed to erase", param_hint="--reason")
    with open_database() as database:
        secret = database.settings.erasure_key
        person = transaction(database.sessions, find_customer, customer, database.settings.default_region)
        plan = transaction(database.sessions, privacy.plan_erasure, person.id)
        if plan.erased_at is None and not as_json:
            console().print(_plan(plan))
        if reason is None or dry_run:
            if as_json:
                print_json(plan=plan, report=None)
            return
        if plan.is_held:
            raise UnderLegalHold
        if secret is None:
            typer.echo(
                "without CRM_ERASURE_KEY, no later import can tell that this person was erased", err=True
            )
        if plan.erased_at is None and not yes:
            typer.confirm(
                f"Erase customer {plan.customer_id}? Nothing brings it back.", abort=True, err=as_json
            )
        report = transaction(
            database.sessions,
            privacy.erase_customer,
            plan.customer_id,
            actor=actor,
            reason=reason,
            erasure_key=secret.get_secret_value() if secret else None,
        )
    if as_json:
        print_json(plan=plan, report=report)
    else:
        _report(report)


@customers.command("hold", epilog=example('customers hold ana@example.com --reason "lawsuit 12/26"'))
def _hold(
    customer: Person, reason: Reason, actor: Actor = "human:cli", *, as_json: JsonOption = False
) -> None:
    """Forbid erasing a customer, whoever it is merged into, until the hold is released."""
    with open_database() as database:
        person = transaction(database.sessions, find_customer, customer, database.settings.default_region)
        hold = transaction(database.sessions, privacy.place_hold, person.id, actor=actor, reason=reason)
    if as_json:
        print_json(hold_id=hold.id)
    else:
        typer.echo(f"held; to end it: crm customers release {hold.id} --reason ...")


@customers.command(
    "release", epilog=example('customers release 8a0c3d53-2bb0-4b4c-9e43-9f6a3c1d2e4f --reason "settled"')
)
def _release(
    hold: Annotated[UUID, typer.Argument(metavar="HOLD", help="The hold's id.")],
    reason: Reason,
    actor: Actor = "human:cli",
    *,
    as_json: JsonOption = False,
) -> None:
    """End a legal hold."""
    with open_database() as database:
        transaction(database.sessions, privacy.release_hold, hold, actor=actor, reason=reason)
    if as_json:
        print_json(hold_id=hold)
    else:
        typer.echo("released")


def _plan(plan: ErasurePlan) -> Table:
    table = new_table(f"customer {plan.customer_id}", "rows")
    for absorbed_id in plan.customer_ids:
        if absorbed_id != plan.customer_id:
            table.add_row(f"with {absorbed_id}, which became part of it", "")
    for name, count in plan.rows.items():
        table.add_row(name, str(count))
    for name, count in plan.foreign_rows.items():
        table.add_row(Text.assemble(safe(name), " of another application, which stay"), str(count))
    for name, reason in plan.foreign_unread.items():
        table.add_row(Text.assemble(safe(name), f": {reason}"), "?")
    if plan.is_held:
        table.add_row("under a legal hold: nothing can be erased", "")
    return table


def _report(report: ErasureReport) -> None:
    typer.echo(
        f"erased at {moment(report.erased_at)}: {sum(report.rows.values())} rows in {len(report.rows)} tables"
    )
    for name, count in report.foreign_rows.items():
        typer.echo(
            f"{count} rows of {name} still point to customer {report.customer_id}: they are yours to erase"
        )
    typer.echo("what is left in backups, logs and dead rows: docs/privacy.md")
