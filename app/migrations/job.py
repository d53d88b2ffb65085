"""One run of Alembic: its turn among other jobs, its plan, its timeouts, and another try after each."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from alembic.config import Config
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from ..database import is_retryable
from ..errors import MigrationError
from ..settings import Settings
from .backup import back_up
from .plan import Plan, look_first, milliseconds, revisions, say
from .requirements import require_public, require_session, require_utf8
from .revisions import require_known, require_tables

LOCK_KEY = 0x63726D5F64646C  # "crm_ddl" in ASCII


def run_offline(context: Any, config: Config, settings: Settings, **options: Any) -> None:
    """Print the SQL, with the same timeouts and guards."""
    context.configure(**options)
    plan = Plan(context)
    plan.prepare(context, settings.migration_lock_timeout, allow_data_loss=_allows_data_loss(context, config))
    with _quiet():
        context.configure(fn=plan.steps, **options)
    if settings.migration_statement_timeout and plan.left:
        timeout = milliseconds(settings.migration_statement_timeout)
        context.static_output(f"SET statement_timeout = '{timeout}';\n")
    with context.begin_transaction():
        context.run_migrations()


def run(context: Any, config: Config, settings: Settings, connection: Connection, **options: Any) -> None:
    """Do what the command asks for on this connection."""
    if not _writes(context):
        require_public(connection)
        context.configure(connection=connection, **options)
        require_known(connection, context.script, revisions(context), settings.version_table)
        with context.begin_transaction():
            context.run_migrations()
        return
    if connection.in_transaction():
        raise MigrationError("the connection is in a transaction: commit it first, or pass an engine")
    require_public(connection)
    require_utf8(connection)
    connection.rollback()
    context.configure(connection=connection, **options)
    for require in (require_known, require_tables):
        require(connection, context.script, revisions(context), settings.version_table)
    plan = Plan(context)
    connection.rollback()
    # An application that starts while there is nothing to do waits for nobody.
    if not plan.left and not context.get_context().purge:
        return
    require_session(connection)
    with turn(connection, settings.migration_wait), _session(connection, settings):
        plan = Plan(context)
        allow_data_loss = _allows_data_loss(context, config)
        look_first(connection, plan, allow_data_loss=allow_data_loss)
        connection.rollback()
        backup_folder: Path | None = config.attributes.get("backup_folder")
        if backup_folder is not None and plan.revisions:
            say(str(back_up(connection, backup_folder, settings=settings)))
            connection.rollback()
        plan.prepare(context, settings.migration_lock_timeout, allow_data_loss=allow_data_loss)
        with _quiet():
            context.configure(connection=connection, fn=plan.steps, **options)
        _work(context, plan, connection, settings)


def _writes(context: Any) -> bool:
    """Whether the command changes the database: upgrade, downgrade and stamp name a destination."""
    try:
        context.get_revision_argument()
    except KeyError:
        return False
    return True


def _allows_data_loss(context: Any, config: Config) -> bool:
    argument = context.get_x_argument(as_dictionary=True).get("allow-data-loss")
    return bool(config.attributes.get("allow_data_loss")) or argument == "true"


def _work(context: Any, plan: Plan, connection: Connection, settings: Settings) -> None:
    """Run the plan; a step that does not get its locks in time gives way to others, and comes again."""
    timeout, tries = settings.migration_lock_timeout, settings.migration_lock_retries
    for failed in range(tries + 1):
        try:
            with context.begin_transaction():
                context.run_migrations()
        except DBAPIError as error:
            connection.rollback()
            if not is_retryable(error):
                raise
            name = f"revision {plan.left[0].revision.revision}" if plan.revisions else "this step"
            if failed == tries:
                raise MigrationError(
                    f"{name} did not get its locks within {timeout:g} seconds, {tries + 1} times over; "
                    "the steps before it are done"
                ) from error
            say(f"{name} did not get its locks within {timeout:g} seconds; again ({failed + 1} of {tries})")
            # As long as the try itself, so that those who queued behind it get on; and not all at once.
            time.sleep(timeout * random.uniform(0.5, 1.5))  # noqa: S311
        else:
            return


@contextmanager
def turn(connection: Connection, seconds: float) -> Iterator[None]:
    """Hold the migration lock. It is polled, so that a waiting job holds no snapshot: a CREATE INDEX
    CONCURRENTLY of the running job would wait for it. The server releases it when the job dies.

    Raises:
        MigrationError: another job still has it after so many seconds.
    """
    deadline = time.monotonic() + seconds
    announced = False
    while not connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": LOCK_KEY}):
        holder = connection.scalar(text(_HOLDER), {"high": LOCK_KEY >> 32, "low": LOCK_KEY & 0xFFFFFFFF})
        connection.commit()
        process = "" if holder is None else f" (server process {holder})"
        if time.monotonic() > deadline:
            raise MigrationError(f"another migration job is still running after {seconds:g} seconds{process}")
        if not announced:
            say(f"waiting for another migration job{process}")
            announced = True
        time.sleep(0.2)
    connection.commit()
    try:
        yield
    finally:
        # A pooled connection lives on, and would keep the lock.
        with suppress(DBAPIError):
            connection.rollback()
            connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": LOCK_KEY})
            connection.commit()


_HOLDER = """
SELECT min(pid) FROM pg_locks
WHERE locktype = 'advisory' AND granted AND classid::bigint = :high AND objid::bigint = :low
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


@contextmanager
def _session(connection: Connection, settings: Settings) -> Iterator[None]:
    """Set the session's timeouts, whatever the role's own are, and put them back."""
    values = {
        "statement_timeout": milliseconds(settings.migration_statement_timeout),
        # What runs outside a transaction, a concurrent build, waits without holding anybody up.
        "lock_timeout": "0",
        # While a backup is made and proved, this session does nothing.
        "idle_session_timeout": "0",
        "idle_in_transaction_session_timeout": "0",
        # Since PostgreSQL 17.
        "transaction_timeout": "0",
        # The server notices within seconds that a job was killed, not when its statement ends.
        "client_connection_check_interval": "2s",
        # What functions pin is stored as it is displayed here.
        "quote_all_identifiers": "off",
    }
    before = {
        name: connection.scalar(text("SELECT current_setting(:name, true)"), {"name": name})
        for name in values
    }
    connection.commit()
    _set(connection, values)
    try:
        yield
    finally:
        with suppress(DBAPIError):
            connection.rollback()
            _set(connection, before)


def _set(connection: Connection, values: dict[str, Any]) -> None:
    for name, value in values.items():
        # Not every platform can check a client's connection, and not every version has each of them.
        with suppress(DBAPIError), connection.begin():
            connection.execute(
                text("SELECT set_config(:name, :value, false)"), {"name": name, "value": value}
            )


@contextmanager
def _quiet() -> Iterator[None]:
    """Alembic announces its context each time it is configured; once is enough."""
    logger = logging.getLogger("alembic.runtime.migration")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)
