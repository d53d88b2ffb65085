"""Addresses that only a profile tells, as another backend may have stored them, in a merge."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import CursorResult, RowMapping, delete
from sqlalchemy.orm import Session

from ...models import Channel, CustomerIdentifier, CustomerMerge, IdentifierType
from ...normalization import is_blocked, normalize_stored
from ...schemas import Identifier
from .._shared.acting import acting_as
from .applying import identifier_row
from .holdings import find_holdings

_CHANNELS = {IdentifierType.EMAIL: Channel.EMAIL, IdentifierType.PHONE: Channel.WEB_FORM}


def unnamed_addresses(session: Session, customer: RowMapping) -> list[dict[str, Any]]:
    """Rows of identifiers, as claims, for what only the customer's profile tells; they are not stored yet.

    Without them, the next message from there would be from somebody new once the profile is gone. One
    statement, if the customer's own ``identifiers``, as a merge reads them, lack one.
    """
    profile = customer["profile"]
    own = {(type_, value) for _, type_, value, _ in customer["identifiers"]}
    identifiers = []
    for type_, stored in ((IdentifierType.EMAIL, profile["email"]), (IdentifierType.PHONE, profile["phone"])):
        value = None if stored is None else normalize_stored(type_, stored)
        if value is not None and not is_blocked(type_, value) and (type_, value) not in own:
            identifiers.append(Identifier(type=type_, value=value))
    if not identifiers:
        return []
    in_rows = {
        held.position for held in find_holdings(session, identifiers) if held.identifier_id is not None
    }
    return [
        identifier_row(customer["id"], identifier, _CHANNELS[identifier.type])
        for position, identifier in enumerate(identifiers)
        if position not in in_rows
    ]


def forget_addresses(session: Session, done: CustomerMerge, *, actor: str) -> int:
    """Remove from the restored customer what the merge named for it, unless it was proven since."""
    _, ids = done.filled.get("identifiers", (None, []))
    if not ids:
        return 0
    forgotten = session.execute(
        delete(CustomerIdentifier).where(
            CustomerIdentifier.id.in_([UUID(id_) for id_ in ids]),
            CustomerIdentifier.customer_id == done.absorbed_id,
            CustomerIdentifier.verified.is_not(True),
            acting_as(actor),
        )
    )
    assert isinstance(forgotten, CursorResult)
    return forgotten.rowcount
