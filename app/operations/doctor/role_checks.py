"""Who may do what in the database."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import text

from .. import roles
from .patient import Patient, Severity, check

_ANY = text("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = ANY (:names))")


def _has_any_role(patient: Patient) -> bool:
    names = [f"{patient.role_prefix}_{role}" for role in ("owner", "migrator", *roles.ROLES)]
    with patient.reading() as session:
        return bool(session.scalar(_ANY, {"names": names}))


@check(
    "no_roles",
    Severity.INFO,
    what="the database has no roles of its own: everybody who logs in as its owner may do everything",
    mend="crm db roles",
)
def no_roles(patient: Patient) -> Iterator[str]:
    if not _has_any_role(patient):
        yield f"{patient.role_prefix}_app and the others"


def _repair(patient: Patient) -> None:
    with patient.engine.connect() as connection:
        roles.apply(connection, patient.role_prefix, version_table=patient.settings.version_table)


@check(
    "rights",
    Severity.ERROR,
    what="roles may do more, or less, than they should",
    mend="crm doctor --fix, or crm db roles",
    fix=_repair,
)
def rights(patient: Patient) -> list[str]:
    if not _has_any_role(patient):
        return []
    with patient.engine.connect() as connection:
        return roles.differences(
            connection, patient.role_prefix, version_table=patient.settings.version_table
        )
