"""What is known about customers, for those who decide about them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cache
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import BindParameter, Select, bindparam, func, or_, select
from sqlalchemy.orm import Session, selectinload

from ...models import Customer, CustomerIdentifier, CustomerRedirect, IdentityEvent
from .._shared.checks import checked_limit, checked_uuid, checked_uuids

_ABSORBED = select(CustomerRedirect.absorbed_id).where(
    CustomerRedirect.customer_id == bindparam("customer_id")
)
_NAMES: BindParameter[UUID] = bindparam("names", expanding=True)
_ABOUT = or_(IdentityEvent.customer_id.in_(_NAMES), IdentityEvent.other_customer_id.in_(_NAMES))
_LATEST = select(IdentityEvent).where(_ABOUT).order_by(IdentityEvent.seq.desc()).limit(bindparam("limit"))
_COUNT = select(func.count()).select_from(IdentityEvent).where(_ABOUT)
_ADDRESSES = select(CustomerIdentifier.id, CustomerIdentifier.identifier_value).where(
    CustomerIdentifier.id.in_(bindparam("ids", expanding=True))
)


class IdentityHistory(NamedTuple):
    """What was decided about a customer, and about those who became part of it."""

    events: list[IdentityEvent]
    """The latest ones, in the order in which they were made."""
    addresses: Mapping[UUID, str]
    """By the id of the identifier that an event is about, where it still exists."""
    total: int
    """How many events there are in all."""


def identity_history(session: Session, customer_id: UUID, *, limit: int = 50) -> IdentityHistory:
    """The latest decisions about a customer: who was created, attached, verified, merged, and by whom.

    Raises:
        InvalidValue: the id or the limit is ill-formed.
    """
    customer_id, limit = checked_uuid("customer_id", customer_id), checked_limit(limit)
    names = [customer_id, *session.scalars(_ABSORBED, {"customer_id": customer_id})]
    events = session.scalars(_LATEST, {"names": names, "limit": limit}).all()[::-1]
    ids = [event.identifier_id for event in events if event.identifier_id is not None]
    addresses = {row.id: row.identifier_value for row in session.execute(_ADDRESSES, {"ids": ids})}
    return IdentityHistory([*events], addresses, session.scalar(_COUNT, {"names": names}) or 0)


def customers_with_identifiers(session: Session, customer_ids: Collection[UUID]) -> dict[UUID, Customer]:
    """Customers with their ``identifiers`` loaded; ids of nobody are left out.

    Raises:
        InvalidValue: not a list of ids, or of too many.
    """
    ids = checked_uuids("customer_ids", customer_ids)
    return {customer.id: customer for customer in session.scalars(_customers(), {"ids": ids})}


# Its option configures all mappers: with the first use, not with the import.
@cache
def _customers() -> Select[Customer]:
    its_ids = Customer.id.in_(bindparam("ids", expanding=True))
    return select(Customer).where(its_ids).options(selectinload(Customer.identifiers))
