"""``crm doctor`` and ``crm db roles``: is the database sound, and who may do what in it."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from ..operations import roles as service
from ..operations.doctor import Finding, Report, Severity, examine
from ..settings import load_settings
from .desk import open_database
from .program import crm, db, example
from .show.json import JsonOption, print_json
from .show.tables import console, safe

_STYLES = {Severity.INFO: "cyan", Severity.WARNING: "yellow", Severity.ERROR: "bold red"}
_USUAL_WIDTH = 80

Prefix = Annotated[str, typer.Option(metavar="NAME", help="What the roles' names begin with.")]


@crm.command(epilog=example("doctor --check guards"))
def doctor(
    *,
    as_json: JsonOption = False,
    fix: Annotated[bool, typer.Option("--fix", help="Mend what needs no decision.")] = False,
    check: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Only this check; may be repeated.")
    ] = None,
    role_prefix: Prefix = "crm",
) -> None:
    """Examine the database, after a deployment and from cron.

    Exit code 0: nothing is wrong; 3: something should be seen to; 4: something that must hold does not.
    """
    with open_database(at_head=False) as database:
        report = examine(
            database.engine, settings=database.settings, fix=fix, only=check, role_prefix=role_prefix
        )
    if as_json:
        typer.echo(json.dumps(report.as_json(), indent=2))
    else:
        out = console()
        # In a mail or a log a line is as long as it is; who asks for a narrow one reads it.
        out.print(_shown(report), soft_wrap=not out.is_terminal and out.width >= _USUAL_WIDTH)
    raise typer.Exit(report.exit_code)


def _shown(report: Report) -> RenderableType:
    left = [finding for finding in report.findings if finding.count]
    counts = ", ".join(
        f"{number} {severity.value}{'s' if number != 1 else ''}"
        for severity in reversed(Severity)
        if (number := sum(finding.severity is severity for finding in left))
    )
    seconds = sum(examined.seconds for examined in report.checks)
    count = sum(examined.outcome != "skipped" for examined in report.checks)
    summary = f"{count} check{'s' if count != 1 else ''} in {seconds:.1f} s: {counts or 'nothing to report'}"
    notes = [f"{examined.check}: {examined.note}" for examined in report.checks if examined.note]
    return Group(*map(_finding, report.findings), *notes, summary)


def _finding(finding: Finding) -> RenderableType:
    state = (finding.severity.value, _STYLES[finding.severity]) if finding.count else ("mended", "green")
    title = Text.assemble(state, f" {finding.check} ({finding.count or finding.fixed}): {finding.what}")
    lines = [safe(example, "dim") for example in finding.examples]
    if finding.count > len(finding.examples) > 0:
        lines.append(Text(f"and {finding.count - len(finding.examples)} more", "dim"))
    if finding.count:
        lines.append(Text(f"-> {finding.mend}"))
    return Group(title, *(Text.assemble("    ", line) for line in lines))


@db.command(epilog=example("db roles --script"))
def roles(
    prefix: Prefix = "crm",
    script: Annotated[
        bool, typer.Option("--script", help="Print the SQL instead, to be read and run with psql.")
    ] = False,
    *,
    as_json: JsonOption = False,
) -> None:
    """Create the database's roles, or repair their rights; what is right already is left alone.

    Made are NAME_owner, NAME_migrator, NAME_app, NAME_readonly and NAME_auditor, without passwords.
    """
    if script:
        typer.echo(service.script(prefix, version_table=load_settings().version_table), nl=False)
        return
    with open_database(at_head=False) as database, database.engine.connect() as connection:
        repaired = service.apply(connection, prefix, version_table=database.settings.version_table)
    if as_json:
        print_json(repaired=repaired)
        return
    for problem in repaired:
        typer.echo(f"repaired: {problem}")
    if not repaired:
        typer.echo("nothing to repair")
