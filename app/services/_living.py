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


def lock_living(session: Session, customer_id: UUID, *, key_share: bool) -> UUID:
    """Lock the living customer's row, FOR UPDATE or (``key_share``) FOR NO KEY UPDATE, and return its id.

    A merge that commits while this waits is followed.

    Raises:
        CustomerNotFound: there is no such customer.
    """
    while True:
        locked = session.scalar(
            select(Customer.id).where(Customer.id == customer_id).with_for_update(key_share=key_share)
        )
        if locked is not None:
            return locked
        target = session.scalar(
            select(CustomerRedirect.customer_id).where(CustomerRedirect.absorbed_id == customer_id)
        )
        if target is None:
            raise CustomerNotFound(customer_id)
        customer_id = target
