"""One examination of a database: after a deployment, and from cron.

A check looks for one kind of fault, and says what it is, how many there are and how it is mended. Checks
only read; what can be mended without a decision is mended when that is asked for.
"""

from __future__ import annotations

import logging
import math
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

from . import migrations, roles
from ._migration_job import turn
from .database import make_session_factory, transaction
from .errors import CRMError, InvalidValue, MigrationError
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

    Mending takes turns with migration jobs and with other doctors.

    Raises:
        InvalidValue: ``only`` names a check that does not exist, or the prefix is no plain lower-case name.
    """
    from ._doctor_checks import CHECKS, CONNECTION  # noqa: PLC0415 - they are made of what is above

    known = {check.name: check for check in CHECKS}
    wanted = set(known if only is None else only)
    if unknown := wanted - known.keys():
        raise InvalidValue("check", f"there is no check named {', '.join(sorted(unknown))}")
    roles.check_prefix(role_prefix)
    patient = Patient(engine, settings or Settings(), role_prefix)
    report = Report()
    _examine(report, patient, CONNECTION, fix=False)
    if report.findings:
        return report
    at_head = patient.is_at_head()
    if not at_head and any(known[name].needs_schema for name in wanted):
        # Who asked for checks that are skipped must not take that for a good result.
        wanted.add("revision")
    for check in CHECKS:
        if check.name not in wanted:
            continue
        if check.needs_schema and not at_head:
            report.checks.append(Examined(check.name, "skipped", 0.0))
            continue
        _examine(report, patient, check, fix=fix)
    return report


def _examine(report: Report, patient: Patient, check: Check, *, fix: bool) -> None:
    started = time.perf_counter()
    try:
        found = patient.faults(check.find)
    except (CRMError, SQLAlchemyError) as error:
        report.findings.append(_not_done(check, error))
        report.checks.append(Examined(check.name, "failed", time.perf_counter() - started))
        return
    left, mend = found, check.mend
    outcome: Outcome = "good"
    if fix and found.count and check.fix:
        try:
            left = _mended(patient, check)
        except (CRMError, SQLAlchemyError) as error:
            mend, outcome = f"{check.mend} (not mended now: {_reason(error)})", "failed"
    if found.count:
        finding = Finding(
            check=check.name,
            severity=check.severity,
            what=check.what,
            count=left.count,
            mend=mend,
            examples=left.examples,
            fixed=found.count - left.count,
        )
        report.findings.append(finding)
    if left.count and outcome == "good":
        outcome = "found"
    report.checks.append(Examined(check.name, outcome, time.perf_counter() - started))


def _mended(patient: Patient, check: Check) -> Faults:
    """Mend what the check finds now, and return what it finds then."""
    assert check.fix is not None
    with patient.engine.connect() as connection, turn(connection, patient.settings.migration_wait):
        patient.forget()
        if check.needs_schema and not patient.is_at_head():
            raise MigrationError("somebody has migrated the database meanwhile")
        if count := patient.faults(check.find).count:
            check.fix(patient)
            patient.forget()
            said = f"crm doctor mended {check.name} ({count}) as %"
            patient.run(f"DO $$ BEGIN RAISE LOG '{said}', session_user; END $$")
        left = patient.faults(check.find)
    LOGGER.info(
        "mended: %s, %d left", check.name, left.count, extra={"check": check.name, "left": left.count}
    )
    return left


def _not_done(check: Check, error: CRMError | SQLAlchemyError) -> Finding:
    return Finding(
        check=check.name,
        severity=Severity.WARNING,
        what=f"the check could not be done: {_reason(error)}",
        count=1,
        mend="look with the rights of the auditor, mend with those of the owner; the server's log says more",
    )


def _reason(error: CRMError | SQLAlchemyError) -> str:
    """In our own words: the database's hold names of people's rows."""
    if isinstance(error, CRMError):
        return str(error)
    sqlstate = getattr(error.orig, "sqlstate", None) if isinstance(error, DBAPIError) else None
    return _REASONS.get(sqlstate or "", f"SQLSTATE {sqlstate or 'none'}")


_REASONS = {
    "25006": "the server is a standby, or set to read only",
    "42501": "this database user has not the rights",
    "55P03": "others hold a lock on it; stop them, or come again",
    "57014": "it took longer than the user's statement_timeout",
}
