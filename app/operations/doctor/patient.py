"""The database under examination, and what a check and its findings are."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any, Literal, TypeVar

from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from ... import migrations
from ...database import make_session_factory, transaction
from ...errors import CRMError
from ...schemas import HistoryFinding, NormalizationReport
from ...services import identity, tickets
from ...settings import Settings

T = TypeVar("T")

ACTOR = "system:doctor"
EXAMPLES = 5
MOST_CUSTOMERS = 200_000
"""Whose addresses are read one by one; of more a sample is."""


class Severity(StrEnum):
    INFO = "info"
    """Nothing is wrong; somebody may want to know."""
    WARNING = "warning"
    """It works, and should be seen to."""
    ERROR = "error"
    """Something that must hold does not."""


EXIT_CODES = {None: 0, Severity.INFO: 0, Severity.WARNING: 3, Severity.ERROR: 4}
"""Of ``crm doctor``, by the worst finding. 1 is left for a command that failed, 2 for wrong usage."""


@dataclass(frozen=True)
class Faults:
    count: int
    examples: tuple[str, ...]


Find = Callable[["Patient"], Iterable[str]]


@dataclass(frozen=True, kw_only=True)
class Check:
    """One kind of fault. ``find`` gives a short text for each: ids and names of objects, nobody's data."""

    name: str
    severity: Severity
    what: str
    mend: str
    find: str | Find
    """SQL with one column, or a function."""
    fix: Callable[[Patient], None] | None = None
    needs_schema: bool = True
    """It makes sense at head only."""
    note: Callable[[Patient], str | None] = lambda _: None
    """What the check leaves out, if it does."""


def check(name: str, severity: Severity, **options: Any) -> Callable[[Find], Check]:
    """The check whose faults the decorated function finds; ``options`` are the other fields."""
    return lambda find: Check(name=name, severity=severity, find=find, **options)


@dataclass(frozen=True)
class Finding:
    check: str
    severity: Severity
    what: str
    count: int
    mend: str
    examples: tuple[str, ...] = ()
    fixed: int = 0
    """How many were mended just now; ``count`` are left."""


Outcome = Literal["good", "found", "skipped", "failed"]


@dataclass(frozen=True)
class Examined:
    check: str
    outcome: Outcome
    seconds: float
    note: str | None = None
    """What was left out: a sample of a large table, for example."""


@dataclass
class Report:
    findings: list[Finding] = field(default_factory=list)
    checks: list[Examined] = field(default_factory=list)

    @property
    def severity(self) -> Severity | None:
        """Of the worst finding that is left."""
        order = list(Severity)
        return max((f.severity for f in self.findings if f.count), key=order.index, default=None)

    @property
    def exit_code(self) -> int:
        return EXIT_CODES[self.severity]

    def as_json(self) -> dict[str, Any]:
        return {
            "severity": self.severity,
            "exit_code": self.exit_code,
            "findings": [asdict(finding) for finding in self.findings],
            "checks": [asdict(examined) for examined in self.checks],
        }


# Names in the catalogue are compared with ours.
_READING = text("""
    SELECT set_config('transaction_read_only', 'on', true), set_config('quote_all_identifiers', 'off', true)
""")


@dataclass
class Patient:
    """The database under examination, and what several checks ask of it."""

    engine: Engine
    settings: Settings
    role_prefix: str

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session whose transaction only reads, and is undone."""
        with Session(self.engine) as session:
            session.execute(_READING)
            yield session

    def faults(self, find: str | Callable[[Patient], Iterable[str]]) -> Faults:
        if callable(find):
            faults = list(find(self))
            return Faults(len(faults), tuple(faults[:EXAMPLES]))
        counted = f"SELECT count(*), (array_agg(fault))[1:{EXAMPLES}] FROM ({find}) AS faults (fault)"  # noqa: S608
        with self.reading() as session:
            count, examples = session.execute(text(counted)).one()
        return Faults(count, tuple(examples or ()))

    def run(self, statement: str, *, alone: bool = False) -> None:
        """Run and commit; ``alone`` outside of a transaction, where it waits for locks without blocking."""
        isolation = "AUTOCOMMIT" if alone else "READ COMMITTED"
        with self.engine.connect().execution_options(isolation_level=isolation) as connection:
            if not alone:
                timeout = math.ceil(self.settings.migration_lock_timeout * 1000)
                connection.exec_driver_sql(f"SET LOCAL lock_timeout = {timeout}")
            connection.exec_driver_sql(statement.replace("%", "%%"))
            connection.commit()

    def write(self, service: Callable[..., T], **arguments: Any) -> T:
        return transaction(make_session_factory(self.engine), service, **arguments)

    @cached_property
    def revision(self) -> str | None:
        return migrations.current(self.engine, settings=self.settings)

    def is_at_head(self) -> bool:
        with suppress(CRMError):
            return self.revision == migrations.head()
        return False

    @cached_property
    def differences(self) -> list[str]:
        """Between the catalogue and what it is at head."""
        return migrations.differences(self.engine, settings=self.settings)

    @cached_property
    def records(self) -> list[HistoryFinding]:
        with self.reading() as session:
            return tickets.verify_history(session)

    @cached_property
    def one_customer_in(self) -> int:
        """Of how many customers one is looked at where all would take minutes."""
        with self.reading() as session:
            count: int = session.execute(text("SELECT count(*) FROM customers")).scalar_one()
        return math.ceil(count / MOST_CUSTOMERS) or 1

    @cached_property
    def addresses(self) -> NormalizationReport:
        one_in = self.one_customer_in  # before the session: the engine may have one connection only
        with self.reading() as session:
            return identity.find_uncanonical(
                session, default_region=self.settings.default_region, one_in=one_in
            )

    def forget(self) -> None:
        """What was asked before may have changed."""
        for name in ("revision", "differences", "records", "addresses", "one_customer_in"):
            self.__dict__.pop(name, None)
