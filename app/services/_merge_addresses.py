"""Addresses that only a profile tells, as another backend may have stored them, in a merge."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import CursorResult, delete
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import Session

from ..errors import InvalidValue
from ..models import Channel, CustomerIdentifier, CustomerMerge, IdentifierType
from ..normalization import is_blocked, normalize_identifier
from ..schemas import Identifier
from ._applying import identifier_row
from ._matching import find_holdings

_CHANNELS = {IdentifierType.EMAIL: Channel.EMAIL, IdentifierType.PHONE: Channel.WEB_FORM}


def name_addresses(session: Session, customer_id: UUID, profile: Mapping[str, Any]) -> list[str]:
    """Give the customer identifiers, as claims, for what only its profile tells; returns their ids.

    Without them, the next message from there would be from somebody new once the profile is gone.
    """
    known = _readable(IdentifierType.EMAIL, profile["email"])
    if profile["phone"] is not None:
        digits = "".join(filter(str.isdecimal, profile["phone"]))
        known += _readable(IdentifierType.PHONE, profile["phone"], f"+{digits}")
    if not known:
        return []
    in_rows = {held.position for held in find_holdings(session, known) if held.identifier_id is not None}
    rows = [
        identifier_row(customer_id, identifier, _CHANNELS[identifier.type])
        for position, identifier in enumerate(known)
        if position not in in_rows
    ]
    if rows:
        session.execute(upsert(CustomerIdentifier).values(rows).on_conflict_do_nothing())
    return [str(row["id"]) for row in rows]


def forget_addresses(session: Session, done: CustomerMerge) -> int:
    """Remove from the restored customer what ``name_addresses`` gave it, unless it was proven since."""
    _, ids = done.filled.get("identifiers", (None, []))
    if not ids:
        return 0
    forgotten = session.execute(
        delete(CustomerIdentifier).where(
            CustomerIdentifier.id.in_([UUID(id_) for id_ in ids]),
            CustomerIdentifier.customer_id == done.absorbed_id,
            CustomerIdentifier.verified.is_not(True),
        )
    )
    assert isinstance(forgotten, CursorResult)
    return forgotten.rowcount


def _readable(type_: IdentifierType, *spellings: str) -> list[Identifier]:
    for spelling in spellings:
        try:
            value = normalize_identifier(type_, spelling)
        except InvalidValue:
            continue
        return [] if is_blocked(type_, value) else [Identifier(type=type_, value=value)]
    return []
