"""Writing identity events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Select, bindparam, func, literal, select
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Session

from ...models import IdentityEventType, uuid7


def event(
    event_type: IdentityEventType,
    customer_id: UUID,
    *,
    actor: str,
    identifier_id: UUID | None = None,
    other_customer_id: UUID | None = None,
    merge_id: UUID | None = None,
    reason: str | None = None,
    details: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """One event, in JSON's own types."""
    ids = {
        "id": uuid7(),
        "customer_id": customer_id,
        "identifier_id": identifier_id,
        "other_customer_id": other_customer_id,
        "merge_id": merge_id,
    }
    return {name: str(id_) for name, id_ in ids.items() if id_ is not None} | {
        "event": event_type.value,
        "actor": actor,
        "reason": reason,
        "details": dict(details or {}),
    }


_RECORD = select(func.record_identity_events(bindparam("events", type_=JSONB())))


def recording(events: Sequence[Mapping[str, Any]]) -> Select[tuple[None]]:
    """The statement that writes events; the app has no right to insert them itself."""
    return select(func.record_identity_events(literal(events, JSONB)))


def record(session: Session, *events: Mapping[str, Any]) -> None:
    """Write events, in this order, if there are any."""
    if events:
        session.execute(_RECORD, {"events": events})
