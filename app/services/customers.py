"""Customers as records: read with their addresses, and changed by somebody who is on record.

Addresses are not changed here: they decide who is who, so ``identity`` attaches and detaches them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Unpack
from uuid import UUID

from sqlalchemy import ARRAY, Text, Uuid, bindparam, select, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Session

from ..errors import CustomerNotFound, InvalidValue
from ..models import Customer, CustomerPlan, IdentityEventType
from ..models.base import table_of
from ..normalization import PLACEHOLDERS
from ..schemas import CustomerChanges, CustomerDetails
from ._shared.checks import (
    checked_actor,
    checked_code,
    checked_json,
    checked_optional_text,
    checked_uuid,
    is_same_json,
)
from ._shared.redirects import lock_living
from .identity.erasures import refuse_erased
from .identity.events import event, record

_GET = (
    text(f"""
    SELECT c.id, c.name, c.company, c.plan, c.phone, c.created_at,
        CASE WHEN c.email NOT LIKE '{PLACEHOLDERS}' THEN c.email END AS contact_email,
        CASE WHEN jsonb_typeof(c.metadata) = 'object' THEN c.metadata ELSE '{{}}' END AS extra,
        (
            SELECT COALESCE(jsonb_agg(jsonb_build_object(
                'id', i.id, 'type', i.identifier_type, 'value', i.identifier_value,
                'verified', COALESCE(i.verified, false), 'channel', i.channel
            ) ORDER BY i.created_at, i.id), '[]')
            FROM customer_identifiers AS i WHERE i.customer_id = c.id
        ) AS identifiers
    FROM customers AS c
    WHERE c.id = COALESCE(
        (SELECT customer_id FROM customer_redirects WHERE absorbed_id = :customer_id), :customer_id
    )
    """)  # noqa: S608
    .bindparams(bindparam("customer_id", type_=Uuid()))
    .columns(id=Uuid(), extra=JSONB(), identifiers=JSONB())
)


_CUSTOMERS = table_of(Customer)
# What is no object (raw SQL may have stored a list) gives way to one.
_CHANGE_EXTRA = (
    select(Customer)
    .from_statement(
        text(f"""
        UPDATE customers SET metadata =
            (CASE jsonb_typeof(metadata) WHEN 'object' THEN metadata ELSE '{{}}' END || :added) - :removed
        WHERE id = :customer_id RETURNING {", ".join(column.name for column in _CUSTOMERS.c)}
        """)  # noqa: S608
        .bindparams(
            bindparam("customer_id", type_=Uuid()),
            bindparam("added", type_=JSONB()),
            bindparam("removed", type_=ARRAY(Text)),
        )
        .columns(*_CUSTOMERS.c)
    )
    .execution_options(populate_existing=True)
)


def get_customer(session: Session, customer_id: UUID) -> CustomerDetails:
    """The customer with its addresses; an absorbed one's id leads to the living one. One statement.

    Raises:
        CustomerNotFound: there is no such customer.
    """
    customer_id = checked_uuid("customer_id", customer_id)
    session.flush()
    row = session.execute(_GET, {"customer_id": customer_id}).one_or_none()
    if row is None:
        raise CustomerNotFound(customer_id)
    return CustomerDetails.model_validate(row._mapping)


def update_customer(
    session: Session,
    customer_id: UUID,
    *,
    actor: str,
    reason: str | None = None,
    **changes: Unpack[CustomerChanges],
) -> CustomerDetails:
    """Change what is said about the customer; who changed which fields is kept as an identity event.

    ``name`` and ``company`` take None for nothing; ``extra`` sets the keys that it has, None takes one away,
    the others stay. What is as it was already is no change, and writes nothing. The event names fields and
    the plan's codes and no other values, so that it can stay when a person's data must go. Locks the
    customer's row (FOR NO KEY UPDATE) until the caller's transaction ends.

    Raises:
        CustomerNotFound: there is no such customer.
        CustomerErased: it was erased.
        InvalidValue: a field that is none of these, or a value that cannot be stored.
    """
    customer_id = checked_uuid("customer_id", customer_id)
    actor, reason = checked_actor(actor), checked_optional_text("reason", reason, max_length=10_000)
    values = _checked(changes)
    session.flush()
    living_id = lock_living(session, customer_id, key_share=True)
    refuse_erased(session, living_id)
    customer = session.get_one(Customer, living_id, populate_existing=True)
    details = _apply(customer, values)
    extra = _differing(customer.extra or {}, values.get("extra", {}))
    details["fields"] += [f"extra.{key}" for key in sorted(extra)]
    if details["fields"]:
        session.flush()
        if extra:
            _change_extra(session, living_id, extra)
        record(
            session,
            event(IdentityEventType.UPDATED, living_id, actor=actor, reason=reason, details=details),
        )
    return get_customer(session, living_id)


def _checked(changes: Mapping[str, Any]) -> dict[str, Any]:
    if unknown := changes.keys() - CustomerChanges.__annotations__.keys():
        raise InvalidValue(
            min(unknown),
            f"is nothing to change here; there are {', '.join(CustomerChanges.__annotations__)}, "
            "and identity.attach_identifier for addresses",
        )
    values = dict(changes)
    for name in values.keys() & {"name", "company"}:
        values[name] = checked_optional_text(name, values[name], max_length=255)
    if "plan" in values:
        values["plan"] = checked_code("plan", values["plan"], CustomerPlan)
    if "extra" in values:
        values["extra"] = checked_json("extra", values["extra"])
    return values


def _apply(customer: Customer, values: Mapping[str, Any]) -> dict[str, Any]:
    """Set what differs, but for ``extra``; what the event tells about it."""
    details: dict[str, Any] = {"fields": []}
    for name in sorted(values.keys() - {"extra"}):
        if getattr(customer, name) != values[name]:
            if name == "plan":
                details["plan"] = [customer.plan, values["plan"]]
            setattr(customer, name, values[name])
            details["fields"].append(name)
    return details


def _differing(stored: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The changes that are any: a key is taken away, is new, or gets another value."""
    return {
        key: value
        for key, value in changes.items()
        if (key in stored) is (value is None) or (value is not None and not is_same_json(stored[key], value))
    }


def _change_extra(session: Session, customer_id: UUID, changes: Mapping[str, Any]) -> None:
    """In the database: on the way through Python, numbers of the keys that stay could change."""
    change = {
        "customer_id": customer_id,
        "added": {key: value for key, value in changes.items() if value is not None},
        "removed": [key for key, value in changes.items() if value is None],
    }
    session.scalars(_CHANGE_EXTRA, change).one()
