"""What the statements on sent messages share."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Text, bindparam, select, text
from sqlalchemy.orm import Session

from ...models import Channel, DeliveryStatus, Message
from .._shared.checks import stored_id

RANKS = [
    status.value
    for status in (
        DeliveryStatus.PENDING,
        DeliveryStatus.FAILED,
        DeliveryStatus.DELIVERED,
        DeliveryStatus.READ,
    )
]
"""What is said of a message replaces what stands before it here, and never what stands behind."""

_COLUMNS = {column.name: column.type for column in Message.__table__.c}
_LOCK_ID = text("SELECT pg_advisory_xact_lock(hashtextextended('crm/provider/' || :name, 0))").bindparams(
    bindparam("name", type_=Text())
)


def as_message(statement: str, **types: Any) -> Any:
    """The statement's message, on the session's object too."""
    bound = (bindparam(name, type_=type_) for name, type_ in types.items())
    returned = text(statement).bindparams(*bound).columns(**_COLUMNS)
    return select(Message).from_statement(returned).execution_options(populate_existing=True)


def lock_provider_id(session: Session, provider_message_id: str) -> None:
    """What is said about a message and what it is called wait for each other."""
    session.execute(_LOCK_ID, {"name": stored_id(Channel.EMAIL, provider_message_id)})
