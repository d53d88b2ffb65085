"""What the providers say became of a message of ours -> DeliveryReport."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from ...errors import InvalidPayload
from ...models.channel import Channel
from ...models.conversation import DeliveryStatus
from ...schemas import DeliveryReport
from .. import _fields
from .._fields import Fields, Lenient
from . import meta, wording

_STATUSES = {
    "accepted": DeliveryStatus.PENDING,
    "canceled": DeliveryStatus.FAILED,
    "delivered": DeliveryStatus.DELIVERED,
    "failed": DeliveryStatus.FAILED,
    "played": DeliveryStatus.READ,
    "queued": DeliveryStatus.PENDING,
    "read": DeliveryStatus.READ,
    "scheduled": DeliveryStatus.PENDING,
    "sending": DeliveryStatus.PENDING,
    "sent": DeliveryStatus.PENDING,
    "undelivered": DeliveryStatus.FAILED,
}
_MAX_REASON = 1000


def parse_meta_statuses(payload: Mapping[str, Any] | bytes) -> list[DeliveryReport]:
    """Read the ``statuses`` of a webhook of the Cloud API; its messages are for ``parse_meta``.

    A status that this version does not know, or that cannot be used, is passed over.

    Raises:
        InvalidPayload: the webhook is malformed.
    """
    reports = []
    for value, item, path in meta.items_of(payload, "statuses"):
        try:
            status = Fields(item, path, f"{path}.")
            if status.text("status") in _STATUSES:
                reports.append(_meta_report(status, value))
        except InvalidPayload as problem:
            _fields.log.warning("a WhatsApp status was passed over: %s", problem)
    return reports


def parse_twilio_status(form: Mapping[str, str], *, message_id: str | UUID | None = None) -> DeliveryReport:
    """Read the form of Twilio's status callback. ``message_id`` is our own, from the callback's query.

    Raises:
        InvalidPayload: a field is missing or cannot be used, or the status is none that is known.
    """
    fields, lenient = Fields(form, "form"), Lenient()
    status = _STATUSES.get(fields.text("MessageStatus").lower())
    if status is None:
        raise InvalidPayload("MessageStatus", "is no delivery status")
    return DeliveryReport(
        channel=Channel.WHATSAPP,
        account=_fields.address(fields.text("From").removeprefix("whatsapp:"), "From"),
        provider_message_id=_fields.provider_id(fields.text("MessageSid")),
        message_id=_our_id(message_id),
        status=status,
        recipient=lenient(fields.address, "To", default=None),
        code=lenient(fields.line, "ErrorCode", default=None),
        reason=_fields.without_addresses(lenient(fields.line, "ErrorMessage", _MAX_REASON, default=None)),
    )


def _meta_report(status: Fields, value: Fields) -> DeliveryReport:
    lenient = Lenient()
    errors = lenient(status.objects, "errors", default=[]) if status.value("errors") is not None else []
    error = errors[0] if errors else Fields({}, "errors")
    details = lenient(error.object_or_empty, "error_data", default=None) or Fields({}, "error_data")
    code = error.value("code")
    reasons = (lenient(error.line, "title", default=None), lenient(details.line, "details", default=None))
    recipients = (lenient(status.line, key, default=None) for key in ("recipient_id", "recipient_user_id"))
    return DeliveryReport(
        channel=Channel.WHATSAPP,
        account=value.object("metadata").address("phone_number_id"),
        provider_message_id=_fields.provider_id(status.text("id")),
        message_id=_our_id(status.value("biz_opaque_callback_data")),
        status=_STATUSES[status.text("status")],
        recipient=next((recipient for recipient in recipients if recipient), None),
        code=_fields.one_line(str(code), _fields.MAX_NAME) if isinstance(code, int | str) else None,
        reason=_fields.without_addresses(_fields.one_line(wording.listed(reasons), _MAX_REASON)),
        occurred_at=meta.moment(status, lenient),
    )


def _our_id(value: object) -> UUID | None:
    """Our message's id, where the provider repeats it; whatever else somebody has put there is none."""
    try:
        return value if isinstance(value, UUID) else UUID(str(value))
    except ValueError:
        return None
