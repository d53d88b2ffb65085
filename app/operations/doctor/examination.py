"""One examination of a database: after a deployment, and from cron.

A check looks for one kind of fault, and says what it is, how many there are and how it is mended. Checks
only read; what can be mended without a decision is mended when that is asked for.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from ...errors import CRMError, InvalidValue, MigrationError, explain
from ...migrations import turn
from ...settings import Settings
from .. import roles
from .checks import CHECKS
from .patient import Check, Examined, Faults, Finding, Outcome, Patient, Report, Severity
from .server_checks import connection

LOGGER = logging.getLogger("crm.doctor")


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
    by_name = {check.name: check for check in CHECKS}
    names = set(by_name if only is None else only)
    if unknown := names - by_name.keys():
        raise InvalidValue("check", f"there is no check named {', '.join(sorted(unknown))}")
    roles.check_prefix(role_prefix)
    patient = Patient(engine, settings or Settings(), role_prefix)
    report = Report()
    _examine(report, patient, connection, fix=False)
    if report.findings:
        return report
    at_head = patient.is_at_head()
    if not at_head and any(by_name[name].needs_schema for name in names):
        # Who asked for checks that are skipped must not take that for a good result.
        names.add("revision")
    for check in CHECKS:
        if check.name not in names:
            continue
        if check.needs_schema and not at_head:
            report.checks.append(Examined(check.name, "skipped", 0.0))
            continue
        _examine(report, patient, check, fix=fix)
    return report


def _examine(report: Report, patient: Patient, check: Check, *, fix: bool) -> None:
    started = time.perf_counter()
    try:
        faults = patient.faults(check.find)
    except (CRMError, SQLAlchemyError) as error:
        report.findings.append(_not_done(check, error))
        report.checks.append(Examined(check.name, "failed", time.perf_counter() - started))
        return
    left, mend = faults, check.mend
    outcome: Outcome = "good"
    if fix and faults.count and check.fix:
        try:
            left = _mended(patient, check)
        except (CRMError, SQLAlchemyError) as error:
            mend, outcome = f"{check.mend} (not mended now: {explain(error)})", "failed"
    if faults.count:
        finding = Finding(
            check=check.name,
            severity=check.severity,
            what=check.what,
            count=left.count,
            mend=mend,
            examples=left.examples,
            fixed=faults.count - left.count,
        )
        report.findings.append(finding)
    if left.count and outcome == "good":
        outcome = "found"
    seconds = time.perf_counter() - started
    report.checks.append(Examined(check.name, outcome, seconds, check.note(patient)))


def _mended(patient: Patient, check: Check) -> Faults:
    """Mend what the check finds now, and return what it finds then."""
    assert check.fix is not None
    with patient.engine.connect() as locking, turn(locking, patient.settings.migration_wait):
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
        what=f"the check could not be done: {explain(error)}",
        count=1,
        mend="look with the rights of the auditor, mend with those of the owner; the server's log says more",
    )
