"""What became of a message of ours, as somebody reports it by our own id."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import ARRAY, Text, Uuid, bindparam, select, text
from sqlalchemy.orm import Session

from ...errors import MessageNotFound
from ...models import DeliveryStatus, Message
from ...schemas import DeliveryStatusCode
from .._shared.checks import checked_code, checked_uuid
from ..outbox.reports import overtaken_by

_SET = (
    select(Message)
    .from_statement(
        text("""
    UPDATE messages SET delivery_status = CASE
        WHEN delivery_status IS NULL OR delivery_status = ANY (:overtaken) THEN :status ELSE delivery_status
    END
    WHERE id = :message_id RETURNING *
    """)
        .bindparams(bindparam("message_id", type_=Uuid()), bindparam("overtaken", type_=ARRAY(Text)))
        .columns(**{column.name: column.type for column in Message.__table__.c})
    )
    .execution_options(populate_existing=True)
)


def set_delivery_status(session: Session, message_id: UUID, status: DeliveryStatusCode) -> Message:
    """Keep what the provider reports. Reports that arrive late never take ``read`` back to ``delivered``.

    Raises:
        MessageNotFound: there is no such message.
        InvalidValue: no such status.
    """
    status = checked_code("status", status, DeliveryStatus)
    session.flush()
    message: Message | None = session.scalars(
        _SET,
        {
            "message_id": checked_uuid("message_id", message_id),
            "status": status.value,
            "overtaken": overtaken_by(status),
        },
    ).one_or_none()
    if message is None:
        raise MessageNotFound(message_id)
    return message
