"""Alembic from Python: for applications that migrate on start, and for both command lines."""

from __future__ import annotations

import random
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from alembic import command
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy import URL, Engine, inspect, text
from sqlalchemy.exc import SQLAlchemyError

from ..errors import (
    CRMError,
    DatabaseUnavailable,
    LoginRefused,
    MigrationError,
    SchemaDiffers,
    explain,
    sqlstate,
)
from ..settings import Settings
from . import catalogue
from .requirements import require_public
from .revisions import require_known, unknown
from .targets import Target, alembic_config, connect

if TYPE_CHECKING:
    from sqlalchemy.sql.schema import SchemaItem

# Alembic keeps its context in globals of the process.
_one_at_a_time = threading.Lock()


def upgrade(
    target: Target,
    revision: str = "head",
    *,
    settings: Settings | None = None,
    backup_folder: Path | None = None,
) -> None:
    """Bring the database to ``revision``, for example when an application starts.

    Many processes may call it at once: one works, the others wait, and where nothing is to do nobody waits.
    With ``backup_folder`` a backup is made and proved before the first step. A caller's connection must not
    be in a transaction.

    Raises:
        MigrationError: unknown revision, a server that lacks what a revision needs, no turn or lock in time,
            or a search_path that does not begin with the schema public.
        UnknownRevision: the database is at a revision that is not one of ours.
        SchemaDiffers: there are tables of ours that no migration made, and they are not those of the DDL.
        BackupError: the backup could not be made or does not restore; nothing was changed.
        DatabaseUnavailable: no connection.
    """
    config = alembic_config(target, settings)
    config.attributes["backup_folder"] = backup_folder
    with one_line_errors(), _one_at_a_time:
        command.upgrade(config, revision)


def downgrade(
    target: Target,
    revision: str,
    *,
    settings: Settings | None = None,
    allow_data_loss: bool = False,
) -> None:
    """Take the database back to ``revision``; each revision's docstring says what that loses.

    Raises:
        DataLoss: rows would be lost, and ``allow_data_loss`` is not given; nothing was changed.
        MigrationError: unknown revision, no turn or no lock in time.
        DatabaseUnavailable: no connection.
    """
    config = alembic_config(target, settings)
    config.attributes["allow_data_loss"] = allow_data_loss
    with one_line_errors(), _one_at_a_time:
        command.downgrade(config, revision)


def current(target: Target, *, settings: Settings | None = None) -> str | None:
    """The database's revision; None for a database without one.

    Raises:
        MigrationError: the connection works in another schema than public, or there are several revisions.
        DatabaseUnavailable: no connection.
    """
    settings = settings or Settings()
    with one_line_errors(), connect(alembic_config(target, settings), settings) as connection:
        require_public(connection)
        if not inspect(connection).has_table(settings.version_table):
            return None
        table = connection.dialect.identifier_preparer.quote(settings.version_table)
        revisions = sorted(connection.scalars(text(f"SELECT version_num FROM {table}")))  # noqa: S608
        if len(revisions) > 1:
            raise MigrationError(f"{settings.version_table} has several revisions: {', '.join(revisions)}")
        return revisions[0] if revisions else None


def known_revision(target: Target, *, settings: Settings | None = None) -> str | None:
    """The database's revision, which this installation knows; None for a database without one.

    Raises:
        UnknownRevision: it says whether the row is another application's or one of another version of ours.
        MigrationError: the connection works in another schema than public, or there are several revisions.
        DatabaseUnavailable: no connection.
    """
    settings = settings or Settings()
    revision = current(target, settings=settings)
    script = ScriptDirectory.from_config(alembic_config())
    if revision is not None and unknown(script, [revision]):
        with one_line_errors(), connect(alembic_config(target, settings), settings) as connection:
            require_known(connection, script, [revision], settings.version_table)
    return revision


def head() -> str:
    """The newest revision that this installation knows."""
    return str(ScriptDirectory.from_config(alembic_config()).get_current_head())


def first() -> str:
    """The oldest revision: the one that equals the DDL."""
    return str(ScriptDirectory.from_config(alembic_config()).get_base())


def check(target: Target, *, settings: Settings | None = None) -> None:
    """Compare the database with what the migrations make, down to the text of every check and function.

    Raises:
        MigrationError: it is not at head.
        UnknownRevision: it is at none of this installation's revisions.
        SchemaDiffers: somebody has changed it by hand.
    """
    revision = known_revision(target, settings=settings)
    if revision != head():
        raise MigrationError(
            f"the database is not up to date: it is at revision {revision or 'none'}, "
            f"and the newest is {head()}"
        )
    differing = differences(target, settings=settings)
    if differing:
        raise SchemaDiffers(f"the database differs from revision {head()}:", differing)


def differences(target: Target, *, settings: Settings | None = None) -> list[str]:
    """How the database's objects differ from those at head, one line each; reads the catalogue only."""
    settings = settings or Settings()
    with one_line_errors(), connect(alembic_config(target, settings), settings) as connection:
        require_public(connection)
        return catalogue.differences(catalogue.expected(head()), catalogue.read(connection))


def wait_until_up(
    target: Engine | URL | str, timeout: float = 60, *, settings: Settings | None = None
) -> None:
    """Wait until the database can be used, whatever is in it.

    Raises:
        LoginRefused: the user or the password, at once: waiting does not help.
        DatabaseUnavailable: it still cannot be reached after ``timeout`` seconds; says why.
    """
    settings = settings or Settings()
    for is_last in _tries(timeout):
        try:
            with one_line_errors(), connect(alembic_config(target, settings), settings) as connection:
                connection.execute(text("SELECT 1"))
        except LoginRefused:
            raise
        except DatabaseUnavailable:
            if is_last:
                raise
        else:
            return


def wait_until_current(
    target: Engine | URL | str, timeout: float = 60, *, settings: Settings | None = None
) -> None:
    """Wait until somebody else has brought the database to head; for applications that do not migrate.

    A server that is not up yet is waited for too.

    Raises:
        MigrationError: it is not at head after ``timeout`` seconds.
        UnknownRevision: it is at none of this installation's revisions.
        LoginRefused: the user or the password, at once: waiting does not help.
        DatabaseUnavailable: it still cannot be reached after ``timeout`` seconds; says why.
    """
    for is_last in _tries(timeout):
        try:
            revision = known_revision(target, settings=settings)
        except LoginRefused:
            raise
        except DatabaseUnavailable:
            if is_last:
                raise
            continue
        if revision == head():
            return
        if is_last:
            raise MigrationError(
                f"after {timeout:g} seconds the database is still at revision {revision or 'none'}, "
                f"not at {head()}"
            )


def _tries(seconds: float) -> Iterator[bool]:
    """One after the other with pauses; True is the last."""
    deadline = time.monotonic() + seconds
    while (now := time.monotonic()) <= deadline:
        yield False
        time.sleep(min(random.uniform(0.2, 0.6), max(deadline - now, 0)))  # noqa: S311
    yield True


def is_compared(
    _item: SchemaItem, _name: str | None, type_: str, reflected: bool, compare_to: SchemaItem | None
) -> bool:
    """Tables of other owners in the same database are none of our business."""
    return not (type_ == "table" and reflected and compare_to is None)


def is_not_ours(
    _item: SchemaItem, name: str | None, type_: str, _reflected: bool, _compare_to: SchemaItem | None
) -> bool:
    """``include_object`` for the Alembic history of an application whose tables stand beside ours.

    Its autogenerate then neither drops our tables nor makes them, ``alembic_version`` included when its own
    version table has another name. Its tables may have foreign keys to ours.
    """
    return is_not_our_name(name, type_, {})


def is_not_our_name(name: str | None, type_: str, _parents: Mapping[str, str | None]) -> bool:
    """``include_name`` for such a history: its autogenerate then does not read our tables at all.

    Foreign keys to them are compared all the same. ``include_object`` is needed beside it where the models
    that are compared include ours.
    """
    from ..models import Base  # noqa: PLC0415 - slow to import, and needed here alone

    return type_ != "table" or name not in {*Base.metadata.tables, "alembic_version"}


@contextmanager
def one_line_errors(exit_code: int | None = None) -> Iterator[None]:
    """Turn what can go wrong into one line: a typed error or, with ``exit_code``, the end of the process."""
    try:
        yield
    except (CRMError, CommandError, SQLAlchemyError) as error:
        failure = _typed(error)
        if exit_code is None:
            raise failure from (None if failure is error else error)
        print(f"crm: {failure}", file=sys.stderr)  # noqa: T201
        raise SystemExit(exit_code) from None


def _typed(error: CRMError | CommandError | SQLAlchemyError) -> CRMError:
    if isinstance(error, CRMError):
        return error
    if isinstance(error, CommandError):
        return MigrationError(str(error))
    failure = explain(error)
    # A step that was cancelled is the migration's affair, not that of a server that is away.
    if isinstance(failure, DatabaseUnavailable) and sqlstate(error) != "57014":
        return failure
    # A migration's own text is ours: it names objects of the schema, not data.
    message = getattr(getattr(getattr(error, "orig", None), "diag", None), "message_primary", None)
    return MigrationError(message or str(failure))
