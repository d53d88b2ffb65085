"""Writing down what ``identity.resolve`` decided, with its events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Update, case, func, insert, update
from sqlalchemy.orm import Session

from ..models import (
    Channel,
    Customer,
    CustomerIdentifier,
    IdentifierType,
    IdentityEventType,
    uuid7,
)
from ..normalization import PLACEHOLDER_DOMAIN
from ..schemas import CustomerProfile, Identifier, IdentityPolicy
from ._events import event, record, recording
from ._matching import Decision, Holding, is_number

ACTOR = "system:identity"


@dataclass(frozen=True)
class Call:
    """What ``resolve`` was asked, checked and in canonical form."""

    known: tuple[Identifier, ...]
    ignored: tuple[Identifier, ...]
    channel: Channel
    profile: CustomerProfile
    policy: IdentityPolicy


def apply(session: Session, call: Call, decision: Decision, to_fill: dict[str, str]) -> Decision:
    """Write the decision and its events; returns it with the customer's id."""
    if decision.customer_id is None:
        customer_id = uuid7()
        _create(session, call, decision, customer_id)
        return replace(decision, customer_id=customer_id)

    customer_id = decision.customer_id
    rows, events = _attachments(call, decision, customer_id)
    if decision.verify:
        session.execute(_proving(decision.verify))
        events += [
            _event(IdentityEventType.VERIFIED, customer_id, identifier_id=held.identifier_id)
            for held in decision.verify
        ]
    if rows:
        session.execute(insert(CustomerIdentifier).values(rows))
    if to_fill:
        session.execute(update(Customer).where(Customer.id == customer_id).values(_if_blank(to_fill)))
    events += _conflicts(customer_id, decision.unreported)
    record(session, *events)
    return decision


def _create(session: Session, call: Call, decision: Decision, customer_id: UUID) -> None:
    """A new customer with the identifiers that nobody holds, and those that the call proves to be its own."""
    own = sorted({*decision.attach, *(held.position for held in decision.reassign)})
    addresses = addresses_in([call.known[i] for i in own])
    if decision.candidates and addresses["email"]:
        # Whoever had the address without proof gives it up: customers.email is unique.
        session.execute(
            update(Customer)
            .where(func.lower(Customer.email) == addresses["email"])
            .values(email=func.concat(Customer.id, f"@{PLACEHOLDER_DOMAIN}"))
        )
    customer = insert(Customer).values(
        id=customer_id,
        email=addresses["email"] or f"{customer_id}@{PLACEHOLDER_DOMAIN}",
        phone=addresses["phone"],
        name=call.profile.name,
        company=call.profile.company,
    )
    rows, attached = _attachments(call, decision, customer_id)
    reassigned = [
        _event(
            IdentityEventType.REASSIGNED,
            customer_id,
            identifier_id=held.identifier_id,
            other_customer_id=held.customer_id,
        )
        for held in decision.reassign
    ]
    losers = {held.customer_id for held in decision.reassign}
    conflicts = _conflicts(customer_id, [other for other in decision.candidates if other not in losers])
    events = [_event(IdentityEventType.CREATED, customer_id), *attached, *reassigned, *conflicts]
    # One statement: customer, identifiers and events are there together.
    statement = recording(events).add_cte(customer.cte("new_customer"))
    if rows:
        statement = statement.add_cte(insert(CustomerIdentifier).values(rows).cte("new_identifiers"))
    session.execute(statement)
    if decision.reassign:
        session.execute(_proving(decision.reassign).values(customer_id=customer_id))


def _attachments(
    call: Call, decision: Decision, customer_id: UUID
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows for the identifiers that the customer gets, and their events."""
    rows = [identifier_row(customer_id, call.known[i], call.channel) for i in decision.attach]
    return rows, [_event(IdentityEventType.ATTACHED, customer_id, identifier_id=row["id"]) for row in rows]


def _conflicts(customer_id: UUID, others: Sequence[UUID]) -> list[dict[str, Any]]:
    return [_event(IdentityEventType.CONFLICT, customer_id, other_customer_id=other) for other in others]


def _event(event_type: IdentityEventType, customer_id: UUID, **facts: Any) -> dict[str, Any]:
    return event(event_type, customer_id, actor=ACTOR, **facts)


def identifier_row(customer_id: UUID, identifier: Identifier, channel: Channel) -> dict[str, Any]:
    return {
        "id": uuid7(),
        "customer_id": customer_id,
        "identifier_type": identifier.type,
        "identifier_value": identifier.value,
        "channel": channel,
        "verified": identifier.verified,
    }


def _if_blank(to_fill: dict[str, str]) -> dict[str, ColumnElement[str]]:
    """Somebody may have filled a blank since it was seen."""
    placeholder = Customer.email.endswith(f"@{PLACEHOLDER_DOMAIN}")
    return {
        name: case((placeholder, value), else_=Customer.email)
        if name == "email"
        else func.coalesce(Customer.__table__.c[name], value)
        for name, value in to_fill.items()
    }


def _proving(held: Sequence[Holding]) -> Update:
    ids = [holding.identifier_id for holding in held]
    return update(CustomerIdentifier).where(CustomerIdentifier.id.in_(ids)).values(verified=True)


def addresses_in(identifiers: Sequence[Identifier]) -> dict[str, str | None]:
    """The profile's email and phone, as far as the identifiers tell."""
    return {
        "email": next((i.value for i in identifiers if i.type is IdentifierType.EMAIL), None),
        "phone": next((i.value for i in identifiers if is_number(i)), None),
    }
