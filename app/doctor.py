"""One examination of a database: after a deployment, and from cron.

A check looks for one kind of fault, and says what it is, how many there are and how it is mended. Checks
only read; what can be mended without a decision is mended when that is asked for.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any, Literal, TypeVar

from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.orm import Session

from . import migrations
from .database import make_session_factory, transaction
from .errors import CRMError, InvalidValue
from .schemas import HistoryFinding, NormalizationReport
from .services import backfill, tickets
from .settings import Settings

T = TypeVar("T")

LOGGER = logging.getLogger(__name__)
ACTOR = "system:doctor"
EXAMPLES = 5


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


@dataclass(frozen=True)
class Check:
    """One kind of fault. ``find`` gives a short text for each: ids and names of objects, nobody's data."""

    name: str
    severity: Severity
    what: str
    mend: str
    find: str | Callable[[Patient], Iterable[str]]
    """SQL with one column, or a function."""
    fix: Callable[[Patient], None] | None = None
    needs_schema: bool = True
    """It makes sense at head only."""


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
            session.execute(text("SET TRANSACTION READ ONLY"))
            yield session

    def faults(self, find: str | Callable[[Patient], Iterable[str]]) -> Faults:
        if callable(find):
            found = list(find(self))
            return Faults(len(found), tuple(found[:EXAMPLES]))
        counted = f"SELECT count(*), (array_agg(fault))[1:{EXAMPLES}] FROM ({find}) AS faults (fault)"  # noqa: S608
        with self.reading() as session:
            count, examples = session.execute(text(counted)).one()
        return Faults(count, tuple(examples or ()))

    def run(self, statement: str, *, alone: bool = False) -> None:
        """Run and commit; ``alone`` outside of a transaction."""
        isolation = {"isolation_level": "AUTOCOMMIT"} if alone else {}
        with self.engine.connect().execution_options(**isolation) as connection:
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
    def addresses(self) -> NormalizationReport:
        with self.reading() as session:
            return backfill.find_uncanonical(session, default_region=self.settings.default_region)

    def forget(self) -> None:
        """What was asked before may have changed."""
        for name in ("revision", "differences", "records", "addresses"):
            self.__dict__.pop(name, None)


def examine(
    engine: Engine,
    *,
    settings: Settings | None = None,
    fix: bool = False,
    only: Collection[str] | None = None,
    role_prefix: str = "crm",
) -> Report:
    """Run the checks, or those named in ``only``, each on its own; with ``fix`` mend what is safe.

    Never raises for what it finds, a server that cannot be reached included. What is mended is logged, here
    and in the server's own log; changes of people's data leave identity events by ``system:doctor``.

    Raises:
        InvalidValue: ``only`` names a check that does not exist.
    """
    from ._doctor_checks import CHECKS, CONNECTION  # noqa: PLC0415 - they are made of what is above

    unknown = set(only or ()) - {check.name for check in CHECKS}
    if unknown:
        raise InvalidValue("check", f"there is no check named {', '.join(sorted(unknown))}")
    patient = Patient(engine, settings or Settings(), role_prefix)
    report = Report()
    _examine(report, patient, CONNECTION, fix=False)
    if report.findings:
        return report
    at_head = patient.is_at_head()
    for check in CHECKS:
        if only is not None and check.name not in only:
            continue
        if check.needs_schema and not at_head:
            report.checks.append(Examined(check.name, "skipped", 0.0))
            continue
        _examine(report, patient, check, fix=fix)
    return report


def _examine(report: Report, patient: Patient, check: Check, *, fix: bool) -> None:
    started = time.perf_counter()
    outcome: Outcome = "good"
    try:
        found = patient.faults(check.find)
        left = _mended(patient, check) if fix and found.count and check.fix else found
    except (CRMError, SQLAlchemyError) as error:
        report.findings.append(_not_done(check, error))
        outcome = "failed"
    else:
        if found.count:
            report.findings.append(
                Finding(
                    check=check.name,
                    severity=check.severity,
                    what=check.what,
                    count=left.count,
                    mend=check.mend,
                    examples=left.examples,
                    fixed=found.count - left.count,
                )
            )
        outcome = "found" if left.count else "good"
    report.checks.append(Examined(check.name, outcome, time.perf_counter() - started))


def _mended(patient: Patient, check: Check) -> Faults:
    """Mend what the check found; what it finds then."""
    assert check.fix is not None
    check.fix(patient)
    patient.forget()
    left = patient.faults(check.find)
    LOGGER.info(
        "mended: %s, %d left", check.name, left.count, extra={"check": check.name, "left": left.count}
    )
    patient.run(f"DO $$ BEGIN RAISE LOG 'crm doctor mended: {check.name}'; END $$")
    return left


def _not_done(check: Check, error: CRMError | SQLAlchemyError) -> Finding:
    sqlstate = getattr(error.orig, "sqlstate", None) if isinstance(error, DBAPIError) else None
    why = str(error) if isinstance(error, CRMError) else f"SQLSTATE {sqlstate or 'none'}"
    if sqlstate == "42501":
        why = "this database user may not read what it needs"
    return Finding(
        check=check.name,
        severity=Severity.WARNING,
        what=f"the check could not be done: {why}",
        count=1,
        mend="run it as a user with the rights of the auditor, or with --fix of the owner",
    )
