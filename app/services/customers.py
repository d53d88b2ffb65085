"""Customers as records: read with their addresses, and changed by somebody who is on record.

Addresses are not changed here: they decide who is who, so ``identity`` attaches and detaches them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Unpack
from uuid import UUID

from sqlalchemy import Uuid, bindparam, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import flag_modified

from ..errors import CustomerNotFound, InvalidValue
from ..models import Customer, CustomerPlan, IdentityEventType
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
        InvalidValue: a field that is none of these, or a value that cannot be stored.
    """
    customer_id = checked_uuid("customer_id", customer_id)
    actor, reason = checked_actor(actor), checked_optional_text("reason", reason, max_length=10_000)
    values = _checked(changes)
    session.flush()
    living_id = lock_living(session, customer_id, key_share=True)
    customer = session.get_one(Customer, living_id, populate_existing=True)
    details = _apply(customer, values)
    if details["fields"]:
        session.flush()
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
    """Set what differs; what the event tells about it."""
    details: dict[str, Any] = {"fields": []}
    for name in sorted(values.keys() - {"extra"}):
        if getattr(customer, name) != values[name]:
            if name == "plan":
                details["plan"] = [customer.plan, values["plan"]]
            setattr(customer, name, values[name])
            details["fields"].append(name)
    stored = customer.extra if isinstance(customer.extra, Mapping) else {}
    extra = {**stored, **values.get("extra", {})}
    merged = {
        key: value for key, value in extra.items() if key not in values.get("extra", {}) or value is not None
    }
    keys = sorted(key for key in values.get("extra", {}) if _differs(stored, merged, key))
    if keys:
        customer.extra = merged
        # SQLAlchemy compares in Python, which takes 1 for True.
        flag_modified(customer, "extra")
        details["fields"] += [f"extra.{key}" for key in keys]
    return details


def _differs(stored: Mapping[str, Any], merged: Mapping[str, Any], key: str) -> bool:
    if key not in stored or key not in merged:
        return (key in stored) is not (key in merged)
    return not is_same_json(stored[key], merged[key])
