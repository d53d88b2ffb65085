"""``crm db``: where the database is, and its schema up or down."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from .. import migrations
from ..errors import SchemaDiffers
from ..settings import load_settings
from .desk import Database, crm, example, open_database
from .show.json import JsonOption, print_json

db = typer.Typer(
    help="The database: where it is, its schema, its roles, a backup put back.", no_args_is_help=True
)
crm.add_typer(db, name="db")

Revision = Annotated[str, typer.Argument(metavar="REVISION", help="A revision, or a step such as +1 or -1.")]
_STEPS = {"ignore_unknown_options": True}  # -1 is a revision here


@db.command(context_settings=_STEPS, epilog=example("db upgrade --backup backups"))
def upgrade(
    revision: Revision = "head",
    backup: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Make a backup first, and prove that it restores.")
    ] = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Bring the database to a revision, by default to the newest."""
    with open_database(at_head=False) as database:
        _move(database, partial(migrations.upgrade, backup_folder=backup), revision, as_json=as_json)


@db.command(context_settings=_STEPS, epilog=example("db downgrade -1"))
def downgrade(
    revision: Revision,
    allow_data_loss: Annotated[
        bool, typer.Option("--allow-data-loss", help="Drop tables with rows.")
    ] = False,
    *,
    as_json: JsonOption = False,
) -> None:
    """Take the database back to a revision; "base" removes everything."""
    with open_database(at_head=False) as database:
        down = partial(migrations.downgrade, allow_data_loss=allow_data_loss)
        _move(database, down, revision, as_json=as_json)


def _move(database: Database, move: Callable[..., None], revision: str, *, as_json: bool) -> None:
    before = migrations.current(database.engine, settings=database.settings)
    move(database.engine, revision, settings=database.settings)
    after = migrations.current(database.engine, settings=database.settings)
    if as_json:
        print_json(before=before, revision=after, head=migrations.head())
        return
    typer.echo(
        f"already at {_titled(after)}" if before == after else f"{_titled(before)} -> {_titled(after)}"
    )


def _titled(revision: str | None) -> str:
    return f"{revision or 'base'}{' (head)' if revision == migrations.head() else ''}"


@db.command(epilog=example("db current"))
def current(*, as_json: JsonOption = False) -> None:
    """Show the database's revision."""
    with open_database(at_head=False) as database:
        revision = migrations.known_revision(database.engine, settings=database.settings)
    if as_json:
        print_json(revision=revision, head=migrations.head())
    else:
        typer.echo(_titled(revision))


@db.command(epilog=example("db check"))
def check(*, as_json: JsonOption = False) -> None:
    """Compare the database with what the migrations make; exit code 1 and a list if it differs."""
    with open_database(at_head=False) as database:
        try:
            migrations.check(database.engine, settings=database.settings)
        except SchemaDiffers as error:
            if as_json:
                print_json(head=migrations.head(), differences=error.differences)
            raise
    if as_json:
        print_json(head=migrations.head(), differences=[])
        return
    typer.echo(f"no difference from revision {migrations.head()}")


@db.command(epilog=example("db url"))
def url(*, as_json: JsonOption = False) -> None:
    """Print the database's URL with its password, for: export DATABASE_URL=$(crm db url)

    An embedded server runs as long as a process uses it, such as one that calls embedded.url().
    """
    target = migrations.resolve_url(load_settings()).render_as_string(hide_password=False)
    if as_json:
        print_json(url=target)
    else:
        typer.echo(target)


@db.command(epilog=example("db wait --timeout 30 --at-head"))
def wait(
    timeout: Annotated[float, typer.Option(min=0, help="Seconds.")] = 60,
    at_head: Annotated[bool, typer.Option("--at-head", help="Until somebody has migrated it, too.")] = False,
    *,
    as_json: JsonOption = False,
) -> None:
    """Wait until the database answers; a refused user or password ends it at once."""
    settings, started = load_settings(), time.monotonic()
    target = migrations.resolve_url(settings)
    if at_head:
        migrations.wait_until_current(target, timeout, settings=settings)
    else:
        migrations.wait_until_up(target, timeout, settings=settings)
    if as_json:
        print_json(seconds=round(time.monotonic() - started, 3))
    else:
        typer.echo("the database answers" + (f", and is at revision {migrations.head()}" if at_head else ""))


@db.command("restore", epilog=example("db restore backups/crm-0001.dump"))
def _restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A backup that upgrade --backup made.")],
    replace: Annotated[
        bool, typer.Option("--replace", help="Put it in the place of a database that is not empty.")
    ] = False,
    *,
    as_json: JsonOption = False,
) -> None:
    """Put a backup into the database, which must be empty. A replaced one stays under another name."""
    with open_database(at_head=False) as database:
        aside = migrations.restore(database.engine, file, settings=database.settings, replace=replace)
        revision = migrations.current(database.engine, settings=database.settings)
    if as_json:
        print_json(revision=revision, aside=aside)
        return
    typer.echo(f"restored: {_titled(revision)}")
    if aside is not None:
        typer.echo(f"the database that was there is now {aside}")
