"""A submission of the support form on our web site -> InboundMessage."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from ..errors import InvalidPayload
from ..models.channel import Channel
from ..models.customer import IdentifierType
from ..schemas import CustomerProfile, Identifier, InboundMessage
from . import _fields


def parse(form: Mapping[str, Any], *, account: str = "web") -> InboundMessage:
    """Read one submission: submission_id, email and message, and where given name, phone, company, subject,
    category (kept in ``extra``) and submitted_at (ISO 8601 with a zone).

    Whoever filled the form typed email and phone, so both are claims. Name, company and category are cut to
    255 characters, the subject to 500.

    Raises:
        InvalidPayload: a field is missing, is no text or cannot be used.
    """
    fields = _fields.Fields(form, "form")
    email = fields.address("email")
    if "@" not in email.strip("@"):
        raise InvalidPayload("email", "is not an address")
    sender = [Identifier(type=IdentifierType.EMAIL, value=email)]
    if fields.text_or_none("phone"):
        sender.append(Identifier(type=IdentifierType.PHONE, value=fields.address("phone")))
    category = fields.line("category")
    return InboundMessage(
        channel=Channel.WEB_FORM,
        account=_fields.address(account, "account"),
        provider_message_id=_fields.provider_id(fields.text("submission_id")),
        sender=tuple(sender),
        profile=CustomerProfile(name=fields.line("name"), company=fields.line("company")),
        content=_fields.content(fields.text("message"), "message"),
        subject=fields.line("subject", _fields.MAX_SUBJECT),
        sent_at=_submitted_at(fields.text_or_none("submitted_at")),
        extra={"category": category} if category else {},
    )


def _submitted_at(value: str | None) -> datetime | None:
    if value is None:
        return None
    try:
        submitted_at = datetime.fromisoformat(value)
        if submitted_at.tzinfo is None:
            raise InvalidPayload("submitted_at", "has no time zone")
        return submitted_at.astimezone(UTC)
    except (OverflowError, ValueError):
        raise InvalidPayload("submitted_at", "is not an ISO 8601 time") from None
