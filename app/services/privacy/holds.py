"""Legal holds: who must not be erased."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import Uuid, bindparam, func, insert, select
from sqlalchemy.orm import Session

from ...errors import HoldNotFound
from ...models import LegalHold, uuid7
from .._shared.checks import checked_actor, checked_text, checked_uuid
from .._shared.redirects import lock_living
from ..identity.erasures import refuse_erased

_PLACE = insert(LegalHold).returning(LegalHold)
_LOCK = (
    select(LegalHold)
    .where(LegalHold.id == bindparam("hold_id", type_=Uuid()))
    .with_for_update()
    .execution_options(populate_existing=True)
)
_NOW = select(func.clock_timestamp())


def place_hold(session: Session, customer_id: UUID, *, actor: str, reason: str) -> LegalHold:
    """Forbid erasing a customer, whoever it is merged into, until the hold is released. There may be several.

    Locks the customer's row (FOR NO KEY UPDATE): an erasure that runs is over first.

    Raises:
        CustomerNotFound: there is no such customer.
        CustomerErased: it is too late.
        InvalidValue: the actor or the reason is ill-formed.
    """
    actor, reason = checked_actor(actor), checked_text("reason", reason, max_length=10_000)
    session.flush()
    living_id = lock_living(session, checked_uuid("customer_id", customer_id), key_share=True)
    refuse_erased(session, living_id)
    values = {"id": uuid7(), "customer_id": living_id, "actor": actor, "reason": reason}
    return session.scalars(_PLACE, values).one()


def release_hold(session: Session, hold_id: UUID, *, actor: str, reason: str) -> LegalHold:
    """End a hold. Nothing happens if it has ended already. Locks its row.

    Raises:
        HoldNotFound: there is no such hold.
        InvalidValue: the actor or the reason is ill-formed.
    """
    actor, reason = checked_actor(actor), checked_text("reason", reason, max_length=10_000)
    session.flush()
    hold = session.scalars(_LOCK, {"hold_id": checked_uuid("hold_id", hold_id)}).one_or_none()
    if hold is None:
        raise HoldNotFound(hold_id)
    if hold.released_at is None:
        hold.released_by, hold.release_reason = actor, reason
        hold.released_at = session.scalar(_NOW)
        session.flush()
    return hold
