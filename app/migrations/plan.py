"""The steps of one command: what is left of them, what they would lose, and what they take over."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator
from functools import wraps
from typing import Any

from alembic.runtime.migration import RevisionStep
from sqlalchemy import Connection, text

from ..errors import DataLoss, SchemaDiffers
from . import catalogue


class Plan:
    """The steps of one command that are still to do.

    Made once: after a failed try "+2" must not count from where the first try came to.
    """

    def __init__(self, context: Any) -> None:
        migration = context.get_context()
        heads = revisions(context)
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
            before = [f"SET LOCAL lock_timeout = '{milliseconds(lock_timeout)}'"]
            if step.is_downgrade and not allow_data_loss:
                before += [_guard(table, condition) for table, condition in _losses(step).items()]
            step.migration_fn = _after(before, step.migration_fn, context)


def revisions(context: Any) -> tuple[str, ...]:
    """Where the database is; nowhere, if the command empties the version table first."""
    migration = context.get_context()
    return () if migration.purge else tuple(migration.get_current_heads())


def look_first(connection: Connection, plan: Plan, *, allow_data_loss: bool) -> None:
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
    actual = catalogue.read(connection)
    if catalogue.tables(actual).isdisjoint(step.revision.module.TABLES):
        return
    differences = catalogue.differences(catalogue.expected(revision), actual)
    if differences:
        raise SchemaDiffers(
            f"the database has tables but no version, and is not what revision {revision} makes; "
            "it was left as it is. The differences:",
            differences,
        )
    say(f"the tables are there already and are those of revision {revision}: they are adopted")
    step.migration_fn = step.revision.module.adopt


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


def milliseconds(seconds: float) -> str:
    # Rounded up: 0 would be without limit.
    return f"{math.ceil(seconds * 1000)}ms"


def say(line: str) -> None:
    print(f"crm: {line}", file=sys.stderr)  # noqa: T201
