"""Alembic from Python: for applications that migrate on start, and for both command lines."""

from __future__ import annotations

import random
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy import URL, Connection, Engine, inspect, text
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.pool import NullPool

from . import _catalogue
from ._migration_job import LOCK_KEY, require_public
from .database import make_engine, normalize_url
from .errors import CRMError, DatabaseUnavailable, MigrationError, SchemaDiffers
from .settings import Settings

if TYPE_CHECKING:
    from sqlalchemy.sql.schema import SchemaItem

__all__ = [
    "LOCK_KEY",
    "alembic_config",
    "check",
    "connect",
    "current",
    "differences",
    "downgrade",
    "first",
    "head",
    "is_compared",
    "one_line_errors",
    "resolve_url",
    "upgrade",
    "wait_until_current",
]

_PACKAGE = Path(__file__).resolve().parent
# Alembic keeps its context in globals of the process.
_one_at_a_time = threading.Lock()


def alembic_config(
    target: Engine | Connection | URL | str | None = None, settings: Settings | None = None
) -> Config:
    """Alembic's configuration, from the checkout or from inside the wheel."""
    for folder in (_PACKAGE.parent, _PACKAGE / "_migrations"):
        if (folder / "alembic.ini").is_file() and (folder / "alembic").is_dir():
            config = Config(folder / "alembic.ini")
            # Not through set_main_option: configparser would interpolate a "%" in the URL.
            config.attributes.update(target=target, settings=settings)
            return config
    raise MigrationError("the migrations are missing from this installation")


def upgrade(
    target: Engine | Connection | URL | str,
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
        SchemaDiffers: there are tables of ours that no migration made, and they are not those of the DDL.
        BackupError: the backup could not be made or does not restore; nothing was changed.
        DatabaseUnavailable: no connection.
    """
    config = alembic_config(target, settings)
    config.attributes["backup_folder"] = backup_folder
    with one_line_errors(), _one_at_a_time:
        command.upgrade(config, revision)


def downgrade(
    target: Engine | Connection | URL | str,
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


def current(target: Engine | Connection | URL | str, *, settings: Settings | None = None) -> str | None:
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


def head() -> str:
    """The newest revision that this installation knows."""
    return str(ScriptDirectory.from_config(alembic_config()).get_current_head())


def first() -> str:
    """The oldest revision: the one that equals the DDL."""
    return str(ScriptDirectory.from_config(alembic_config()).get_base())


def check(target: Engine | Connection | URL | str, *, settings: Settings | None = None) -> None:
    """Compare the database with what the migrations make, down to the text of every check and function.

    Raises:
        MigrationError: it is not at head.
        SchemaDiffers: somebody has changed it by hand.
    """
    revision = current(target, settings=settings)
    if revision != head():
        raise MigrationError(
            f"the database is not up to date: it is at revision {revision or 'none'}, "
            f"and the newest is {head()}"
        )
    found = differences(target, settings=settings)
    if found:
        raise SchemaDiffers(f"the database differs from revision {head()}:", found)


def differences(target: Engine | Connection | URL | str, *, settings: Settings | None = None) -> list[str]:
    """How the database's objects differ from those at head, one line each; reads the catalogue only."""
    settings = settings or Settings()
    with one_line_errors(), connect(alembic_config(target, settings), settings) as connection:
        require_public(connection)
        return _catalogue.differences(_catalogue.expected(head()), _catalogue.read(connection))


def wait_until_current(
    target: Engine | URL | str, timeout: float = 60, *, settings: Settings | None = None
) -> None:
    """Wait until somebody else has brought the database to head; for applications that do not migrate.

    A server that is not up yet is waited for too.

    Raises:
        MigrationError: it is not at head after ``timeout`` seconds, or at a revision that is not known here.
        DatabaseUnavailable: it still cannot be reached then.
    """
    known = {script.revision for script in ScriptDirectory.from_config(alembic_config()).walk_revisions()}
    deadline = time.monotonic() + timeout
    while True:
        try:
            revision = current(target, settings=settings)
        except DatabaseUnavailable:
            if time.monotonic() > deadline:
                raise
        else:
            if revision == head():
                return
            if revision is not None and revision not in known:
                raise MigrationError(
                    f"the database is at revision {revision}, which this installation does not know; "
                    f"its newest is {head()}"
                )
            if time.monotonic() > deadline:
                raise MigrationError(
                    f"after {timeout:g} seconds the database is still at revision {revision or 'none'}, "
                    f"not at {head()}"
                )
        time.sleep(random.uniform(0.2, 0.6))  # noqa: S311


def is_compared(
    _item: SchemaItem, _name: str | None, type_: str, reflected: bool, compare_to: SchemaItem | None
) -> bool:
    """Tables of other owners in the same database are none of our business."""
    return not (type_ == "table" and reflected and compare_to is None)


@contextmanager
def connect(config: Config, settings: Settings) -> Iterator[Connection]:
    """The target's connection: one that the caller gave, or a new one that is closed afterwards."""
    target = config.attributes.get("target")
    if isinstance(target, Connection):
        yield target
        return
    if isinstance(target, Engine):
        # An engine in autocommit mode would leave a failed step half done.
        with target.connect().execution_options(isolation_level="READ COMMITTED") as connection:
            yield connection
        return
    url = normalize_url(target) if target is not None else resolve_url(settings)
    engine = make_engine(
        url,
        poolclass=NullPool,
        allow_insecure_tls=settings.allow_insecure_tls,
        connect_args={"application_name": "crm-migrate"},
    )
    with engine.connect() as connection:
        yield connection


def resolve_url(settings: Settings) -> URL:
    """The database of this environment: DATABASE_URL, else the embedded server, started if need be.

    Names it on stderr, without the password.
    """
    if settings.database_url is not None:
        url = normalize_url(settings.database_url.get_secret_value())
        note = ""
    else:
        from . import embedded  # noqa: PLC0415 - with a DATABASE_URL nothing embedded is touched

        server = embedded.start(settings.embedded_dir, major=settings.embedded_major)
        url = normalize_url(server.url)
        note = f" (embedded PostgreSQL {server.major} in {server.directory})"
    print(f"crm: database {url.set(query={}).render_as_string(hide_password=True)}{note}", file=sys.stderr)  # noqa: T201
    return url


@contextmanager
def one_line_errors(exit_code: int | None = None) -> Iterator[None]:
    """Turn what can go wrong into one line: a typed error or, with ``exit_code``, the end of the process."""
    try:
        yield
    except (CRMError, CommandError, DBAPIError) as error:
        known = _typed(error)
        if exit_code is None:
            raise known from (None if known is error else error)
        print(f"crm: {known}", file=sys.stderr)  # noqa: T201
        raise SystemExit(exit_code) from None


def _typed(error: CRMError | CommandError | DBAPIError) -> CRMError:
    if isinstance(error, CRMError):
        return error
    if isinstance(error, CommandError):
        return MigrationError(str(error))
    if isinstance(error, OperationalError) and getattr(error.orig, "sqlstate", None) is None:
        return DatabaseUnavailable("the database server cannot be reached or refused the connection")
    # A migration's own text is ours: it names objects of the schema, not data.
    message = getattr(getattr(error.orig, "diag", None), "message_primary", None)
    return MigrationError(message or "the database refused a step of the migration")
