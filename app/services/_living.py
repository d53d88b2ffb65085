"""Ids of absorbed customers keep working."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import ScalarSelect, func, literal, select
from sqlalchemy.orm import Session

from ..errors import CustomerNotFound
from ..models import Customer, CustomerRedirect


def living(customer_id: UUID) -> ScalarSelect[UUID]:
    """The id itself or, for an absorbed customer, the one it lives on as."""
    redirect = select(CustomerRedirect.customer_id).where(CustomerRedirect.absorbed_id == customer_id)
    return select(func.coalesce(redirect.scalar_subquery(), literal(customer_id))).scalar_subquery()


def find_living(session: Session, customer_id: UUID) -> UUID | None:
    """The same, read now; None if there never was such a customer. One statement."""
    return session.scalar(
        select(Customer.id)
        .where(Customer.id == customer_id)
        .union_all(select(CustomerRedirect.customer_id).where(CustomerRedirect.absorbed_id == customer_id))
    )


def lock_living(session: Session, customer_id: UUID, *, key_share: bool) -> UUID:
    """Lock the living customer's row, FOR UPDATE or (``key_share``) FOR NO KEY UPDATE, and return its id.

    A merge or an unmerge that commits while this waits is followed.

    Raises:
        CustomerNotFound: there is no such customer.
    """
    target: UUID | None = customer_id
    while target is not None:
        locked = session.scalar(
            select(Customer.id).where(Customer.id == target).with_for_update(key_share=key_share)
        )
        if locked == customer_id:
            return customer_id
        # Who waited for a lock may have waited for somebody to change where the id leads.
        target = find_living(session, customer_id)
        if locked is not None and locked == target:
            return locked
    raise CustomerNotFound(customer_id)
