"""Writing identity events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from ..models import IdentityEventType, uuid7


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
    """One row for ``identity_events``."""
    return {
        "id": uuid7(),
        "event": event_type,
        "customer_id": customer_id,
        "actor": actor,
        "identifier_id": identifier_id,
        "other_customer_id": other_customer_id,
        "merge_id": merge_id,
        "reason": reason,
        "details": dict(details or {}),
    }
