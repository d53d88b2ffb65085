"""By which addresses customers are found, and by which they are not."""

from __future__ import annotations

from ...normalization import PLACEHOLDERS
from ...schemas import Fate
from ...services import identity
from .patient import ACTOR, Check, Patient, Severity, check


def _stored(patient: Patient, *fates: Fate) -> list[str]:
    return [f"{value.column} of {value.row_id}" for fate in fates for value in patient.addresses.of(fate)]


def _normalize(patient: Patient) -> None:
    region = patient.settings.default_region
    patient.write(identity.normalize_identifiers, actor=ACTOR, default_region=region)


def _sample(patient: Patient) -> str | None:
    one_in = patient.one_customer_in
    return None if one_in == 1 else f"a sample, the addresses of about one customer in {one_in}"


@check(
    "uncanonical_addresses",
    Severity.WARNING,
    what="addresses are stored in a spelling that is not looked for",
    mend="crm doctor --fix, which takes on 1,000 each time; or crm customers normalize",
    fix=_normalize,
    note=_sample,
)
def uncanonical_addresses(patient: Patient) -> list[str]:
    return _stored(patient, Fate.REWRITTEN, Fate.JOINED)


@check(
    "colliding_addresses",
    Severity.WARNING,
    what="several customers have one address in different spellings",
    mend="crm customers duplicates: merge them, or correct one of them",
    note=_sample,
)
def colliding_addresses(patient: Patient) -> list[str]:
    return _stored(patient, Fate.COLLISION)


@check(
    "unreadable_addresses",
    Severity.INFO,
    what="addresses that can be no address, or are nobody's, find no customer",
    mend="correct or clear them",
    note=_sample,
)
def unreadable_addresses(patient: Patient) -> list[str]:
    return _stored(patient, Fate.UNREADABLE)


addresses_of_others = Check(
    name="addresses_of_others",
    severity=Severity.WARNING,
    what="customers' profiles have an address that identifies another customer",
    mend="crm customers duplicates: merge the two, or correct the profile",
    find="""
    SELECT c.id::text FROM customers AS c
    JOIN customer_identifiers AS i ON i.identifier_type = 'email' AND i.identifier_value = lower(c.email)
    WHERE i.customer_id <> c.id
    UNION
    SELECT c.id::text FROM customers AS c
    JOIN customer_identifiers AS i ON i.identifier_type IN ('phone', 'whatsapp')
        AND i.identifier_value = '+' || regexp_replace(c.phone, '[^0-9]', '', 'g')
    WHERE i.customer_id <> c.id
    """,
)
customers_without_identifiers = Check(
    name="customers_without_identifiers",
    severity=Severity.INFO,
    what="customers whom another backend stored are known by their profile only",
    mend="nothing: they get their identifiers with their next message",
    find=f"""
    SELECT id::text FROM customers AS c
    WHERE email NOT LIKE '{PLACEHOLDERS}'
        AND NOT EXISTS (SELECT FROM customer_identifiers WHERE customer_id = c.id)
    """,  # noqa: S608 - a constant of our own
)
