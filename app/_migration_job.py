"""One run of Alembic: its turn among other jobs, its plan, its timeouts, and another try after each."""

from __future__ import annotations

import logging
import math
import random
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import wraps
from pathlib import Path
from typing import Any

from alembic.config import Config
from alembic.runtime.migration import RevisionStep
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from . import _catalogue
from .backup import back_up
from .database import is_retryable
from .errors import DataLoss, MigrationError, SchemaDiffers
from .settings import Settings

LOCK_KEY = 0x63726D5F64646C  # "crm_ddl" in ASCII


class Plan:
    """The steps of one command that are still to do.

    Made once: after a failed try "+2" must not count from where the first try came to.
    """

    def __init__(self, context: Any) -> None:
        migration = context.get_context()
        heads = () if migration.purge else migration.get_current_heads()
        self.from_nothing = not heads
        self.left: list[Any] = list(migration.opts["fn"](heads, migration))

    @property
    def revisions(self) -> list[RevisionStep]:
        """The steps that run a revision; stamping has none."""
        return [step for step in self.left if isinstance(step, RevisionStep)]

    def steps(self, _heads: object, _context: object) -> Iterator[Any]:
        """What Alembic asks for: it comes back for the next step once the last one is committed."""
        while self.left:
            yield self.left[0]
            del self.left[0]

    def prepare(self, context: Any, lock_timeout: float, *, allow_data_loss: bool) -> None:
        """Give every step its lock timeout, and every downgrade a guard for the rows it would lose."""
        for step in self.revisions:
            before = [f"SET LOCAL lock_timeout = '{_milliseconds(lock_timeout)}'"]
            if step.is_downgrade and not allow_data_loss:
                before += [_guard(table, condition) for table, condition in _losses(step).items()]
            step.migration_fn = _after(before, step.migration_fn, context)


def run_offline(context: Any, config: Config, settings: Settings, **options: Any) -> None:
    """Print the SQL, with the same timeouts and guards."""
    context.configure(**options)
    plan = Plan(context)
    plan.prepare(context, settings.migration_lock_timeout, allow_data_loss=_allows_data_loss(context, config))
    with _quiet():
        context.configure(fn=plan.steps, **options)
    if settings.migration_statement_timeout and plan.left:
        timeout = _milliseconds(settings.migration_statement_timeout)
        context.static_output(f"SET statement_timeout = '{timeout}';\n")
    with context.begin_transaction():
        context.run_migrations()


def run(context: Any, config: Config, settings: Settings, connection: Connection, **options: Any) -> None:
    """Do what the command asks for on this connection."""
    if not _writes(context):
        require_public(connection)
        context.configure(connection=connection, **options)
        with context.begin_transaction():
            context.run_migrations()
        return
    if connection.in_transaction():
        raise MigrationError("the connection is in a transaction: commit it first, or pass an engine")
    require_public(connection)
    connection.rollback()
    context.configure(connection=connection, **options)
    plan = Plan(context)
    connection.rollback()
    # An application that starts while there is nothing to do waits for nobody.
    if not plan.left:
        return
    with turn(connection, settings.migration_wait), _session(connection, settings):
        plan = Plan(context)
        allow_data_loss = _allows_data_loss(context, config)
        _look_first(connection, plan, allow_data_loss=allow_data_loss)
        connection.rollback()
        backup_folder: Path | None = config.attributes.get("backup_folder")
        if backup_folder is not None and plan.revisions:
            _say(str(back_up(connection, backup_folder, settings=settings)))
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
    asked = context.get_x_argument(as_dictionary=True).get("allow-data-loss")
    return bool(config.attributes.get("allow_data_loss")) or asked == "true"


def _look_first(connection: Connection, plan: Plan, *, allow_data_loss: bool) -> None:
    """Refuse what would go wrong half-way, before anything is changed."""
    steps = plan.revisions
    if steps and plan.from_nothing and steps[0].is_upgrade:
        _adopt(connection, steps[0])
    if allow_data_loss:
        return
    down = [step for step in steps if step.is_downgrade]
    # What a revision's downgrade removes itself is no loss; the guard of the later step sees what is left.
    seeded = {getattr(step.revision.module, "SEEDS", None) for step in down}
    lost = [
        f"{table} ({step.revision.revision})"
        for step in down
        for table, condition in _losses(step).items()
        if table not in seeded and connection.scalar(text(f"SELECT {_any_row(table, condition)}"))
    ]
    if lost:
        raise DataLoss(lost)


def _adopt(connection: Connection, step: RevisionStep) -> None:
    """Let the first step take over tables that were made with the DDL itself.

    Raises:
        SchemaDiffers: tables of these names are there, but they are others.
    """
    revision = step.revision.revision
    found = _catalogue.read(connection)
    if _catalogue.tables(found).isdisjoint(step.revision.module.TABLES):
        return
    differences = _catalogue.differences(_catalogue.expected(revision), found)
    if differences:
        raise SchemaDiffers(
            f"the database has tables but no version, and is not what revision {revision} makes; "
            "it was left as it is. The differences:",
            differences,
        )
    _say(f"the tables are there already and are those of revision {revision}: they are adopted")
    step.migration_fn = step.revision.module.adopt


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
            _say(f"{name} did not get its locks within {timeout:g} seconds; again ({failed + 1} of {tries})")
            # As long as the try itself, so that those who queued behind it get on; and not all at once.
            time.sleep(timeout * random.uniform(0.5, 1.5))  # noqa: S311
        else:
            return


def require_public(connection: Connection) -> None:
    """Refuse to look at, or to fill, another schema than the one that the functions' search_path names.

    Raises:
        MigrationError: what the connection creates would not come into the schema public.
    """
    schema = connection.scalar(text("SELECT current_schema()"))
    if schema != "public":
        raise MigrationError(
            f"this connection works in the schema {schema or 'that does not exist'}, and the tables belong "
            "into public: see the search_path of the user and of the database"
        )


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
            _say(f"waiting for another migration job{process}")
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
    wanted = {
        "statement_timeout": _milliseconds(settings.migration_statement_timeout),
        # What runs outside a transaction, a concurrent build, waits without holding anybody up.
        "lock_timeout": "0",
        # While a backup is proved, this session does nothing.
        "idle_session_timeout": "0",
        # The server notices within seconds that a job was killed, not when its statement ends.
        "client_connection_check_interval": "2s",
    }
    before = {
        name: connection.scalar(text("SELECT current_setting(:name)"), {"name": name}) for name in wanted
    }
    connection.commit()
    _set(connection, wanted)
    try:
        yield
    finally:
        with suppress(DBAPIError):
            connection.rollback()
            _set(connection, before)


def _set(connection: Connection, values: dict[str, Any]) -> None:
    for name, value in values.items():
        # Not every platform can check a client's connection.
        with suppress(DBAPIError), connection.begin():
            connection.execute(
                text("SELECT set_config(:name, :value, false)"), {"name": name, "value": value}
            )


def _losses(step: RevisionStep) -> dict[str, str]:
    losses: dict[str, str] = getattr(step.revision.module, "LOSES", {})
    return losses


def _any_row(table: str, condition: str) -> str:
    return f"EXISTS (SELECT FROM {table} WHERE {condition})"


def _guard(table: str, condition: str) -> str:
    return f"""DO $$
BEGIN
    IF {_any_row(table, condition)} THEN
        RAISE EXCEPTION 'the downgrade would lose rows of {table}; allow it with -x allow-data-loss=true';
    END IF;
END
$$"""


def _after(statements: Iterable[str], run: Any, context: Any) -> Any:
    @wraps(run)
    def prepared(**arguments: Any) -> None:
        for statement in statements:
            context.execute(statement)
        run(**arguments)

    return prepared


def _milliseconds(seconds: float) -> str:
    # Rounded up: 0 would be without limit.
    return f"{math.ceil(seconds * 1000)}ms"


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


def _say(line: str) -> None:
    print(f"crm: {line}", file=sys.stderr)  # noqa: T201
