"""A submission of the support form on our web site -> InboundMessage."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from ..errors import InvalidPayload
from ..models.channel import Channel
from ..models.customer import IdentifierType
from ..schemas import CustomerProfile, Identifier, InboundMessage
from . import _fields
from .email import addresses


def parse(
    form: Mapping[str, Any], *, account: str = "web", received_at: datetime | None = None
) -> InboundMessage:
    """Read one submission: submission_id, email and message, and where given name, phone, company, subject,
    category (kept in ``extra``) and submitted_at (ISO 8601 with a zone).

    Whoever filled the form typed email and phone, so both are claims. Name, company and category are cut to
    255 characters, the subject to 500. An optional field that cannot be used is named in ``ignored``.

    Raises:
        InvalidPayload: submission_id, email or message is missing, is no text or cannot be used.
    """
    fields, lenient = _fields.Fields(form, "form"), _fields.Lenient()
    email = _email(fields)
    sender = [Identifier(type=IdentifierType.EMAIL, value=email)]
    phone = lenient(_phone, fields, default=None)
    if phone:
        sender.append(Identifier(type=IdentifierType.PHONE, value=phone))
    name, company, category = (
        lenient(fields.line, key, default=None) for key in ("name", "company", "category")
    )
    return InboundMessage(
        channel=Channel.WEB_FORM,
        account=_fields.address(account, "account"),
        provider_message_id=_fields.provider_id(fields.text("submission_id")),
        sender=tuple(sender),
        profile=CustomerProfile(name=name, company=company),
        content=_fields.content(fields.text("message"), "message"),
        subject=lenient(fields.line, "subject", _fields.MAX_SUBJECT, default=None),
        sent_at=lenient(_submitted_at, fields, default=None),
        received_at=_fields.not_later_than_now(received_at),
        extra={"category": category} if category else {},
        ignored=tuple(lenient.ignored),
    )


def _email(fields: _fields.Fields) -> str:
    """The address, be it typed or pasted with a name, angles or a full stop around it.

    One with a space in it stays as it is: whoever stores it refuses it, and nobody guesses what was meant.
    """
    # Who types in Japanese or Chinese may well type this sign in full width.
    typed = _fields.mailbox(fields.text("email"), "email").replace("\uff20", "@")
    is_broken = typed.count("@") == 1 and "<" not in typed and len(typed.split()) > 1
    is_plain = "@" not in typed or is_broken
    named = [typed] if is_plain else [author.address for author in addresses.read_list(typed)]
    if len(named) != 1 or "@" not in named[0].strip("@"):
        raise InvalidPayload("email", "is not an address")
    return _fields.address(named[0], "email")


def _phone(fields: _fields.Fields) -> str | None:
    """The number without what copying leaves in it: direction marks and spaces of no width."""
    text = fields.text_or_none("phone")
    visible = "".join(letter for letter in text or "" if unicodedata.category(letter) != "Cf")
    return _fields.address(visible, "phone") if visible.strip() else None


def _submitted_at(fields: _fields.Fields) -> datetime | None:
    value = fields.text_or_none("submitted_at")
    if value is None:
        return None
    try:
        submitted_at = datetime.fromisoformat(value)
        if submitted_at.tzinfo is None:
            raise InvalidPayload("submitted_at", "has no time zone")
        return submitted_at.astimezone(UTC)
    except (OverflowError, ValueError):
        raise InvalidPayload("submitted_at", "is not an ISO 8601 time") from None
