"""Ids of absorbed customers keep working."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import ColumnElement, ScalarSelect, Uuid, bindparam, func, literal, select
from sqlalchemy.orm import Session

from ...errors import CustomerNotFound
from ...models import Customer, CustomerRedirect
from ...models.base import table_of

_CUSTOMERS, _REDIRECTS = table_of(Customer), table_of(CustomerRedirect)
_CUSTOMER_ID = bindparam("customer_id", type_=Uuid())
_CUSTOMER = select(_CUSTOMERS.c.id).where(_CUSTOMERS.c.id == _CUSTOMER_ID)
_FIND_LIVING = _CUSTOMER.union_all(
    select(_REDIRECTS.c.customer_id).where(_REDIRECTS.c.absorbed_id == _CUSTOMER_ID)
)
_LOCKS = {key_share: _CUSTOMER.with_for_update(key_share=key_share) for key_share in (False, True)}


def current_id(customer_id: ColumnElement[UUID]) -> ColumnElement[UUID]:
    """The id itself or, for an absorbed customer, the one it lives on as, for each row of a statement."""
    redirect = select(_REDIRECTS.c.customer_id).where(_REDIRECTS.c.absorbed_id == customer_id)
    return func.coalesce(redirect.scalar_subquery(), customer_id)


def living(customer_id: UUID | ColumnElement[UUID]) -> ScalarSelect[UUID]:
    """The same, looked up once for the whole statement. A parameter will do too."""
    id_ = customer_id if isinstance(customer_id, ColumnElement) else literal(customer_id)
    return select(current_id(id_)).scalar_subquery()


def find_living(session: Session, customer_id: UUID) -> UUID | None:
    """The same, read now; None if there never was such a customer. One statement."""
    return session.scalar(_FIND_LIVING, {"customer_id": customer_id})


def lock_living(session: Session, customer_id: UUID, *, key_share: bool) -> UUID:
    """Lock the living customer's row, FOR UPDATE or (``key_share``) FOR NO KEY UPDATE, and return its id.

    A merge or an unmerge that commits while this waits is followed.

    Raises:
        CustomerNotFound: there is no such customer.
    """
    target: UUID | None = customer_id
    while target is not None:
        locked: UUID | None = session.scalar(_LOCKS[key_share], {"customer_id": target})
        if locked == customer_id:
            return customer_id
        # Who waited for a lock may have waited for somebody to change where the id leads.
        target = find_living(session, customer_id)
        if locked is not None and locked == target:
            return locked
    raise CustomerNotFound(customer_id)
