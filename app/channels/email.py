"""An Internet message (RFC 5322, MIME) -> InboundMessage."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import EmailPolicy
from email.utils import getaddresses, parsedate_to_datetime
from typing import Any, cast

from ..errors import InvalidPayload
from ..models.channel import Channel
from ..models.conversation import ContentType
from ..models.customer import IdentifierType
from ..schemas import Attachment, CustomerProfile, Identifier, InboundMessage
from . import _body, _fields
from ._authentication import vouches, without_comments

_MAX_HEADER = 4096
_PARSED_HEADERS = frozenset({"from", "subject", "to"})
_MESSAGE_ID = re.compile(r"<([^<>]+)>")
_BULK = frozenset({"auto_reply", "bulk", "junk"})


class _Policy(EmailPolicy):
    """``policy.default`` for hostile mail: its header parser leaks exceptions and takes quadratic time.

    So it gets only headers of addresses and text, and a bounded part of those; all others stay as they came.
    """

    def header_fetch_parse(self, name: str, value: str) -> Any:
        bounded = value[:_MAX_HEADER].replace("\0", "\ufffd")
        plain = " ".join(bounded.splitlines())
        if name.lower() not in _PARSED_HEADERS:
            return plain
        return _body.tolerant(lambda: super(_Policy, self).header_fetch_parse(name, bounded), plain)


_PARSER = BytesParser(policy=_Policy())


def parse(raw: bytes, *, account: str | None = None, authserv_id: str | None = None) -> InboundMessage:
    """Read one message as it came from the mail server.

    The sender is From, verified only if ``authserv_id`` is given and the topmost Authentication-Results
    header is that server's and vouches for From's domain (RFC 8601). Give it only if that server removes
    forged headers in its own name, as section 5 asks.

    ``account`` defaults to Delivered-To, then To. The content is the plain text, or the HTML as text, with
    quoted lines left in. A Message-ID of more than 255 characters becomes ``sha256:<hex>``; so does a missing
    one, from From, Date, Subject and content. Names are cut to 255 characters and the subject to 500.

    Raises:
        InvalidPayload: From or the account is missing or unusable, or the body is above 1 MB or unreadable.
    """
    if not isinstance(raw, bytes):
        raise InvalidPayload("message", "is not bytes")
    try:
        message = cast(EmailMessage, _PARSER.parsebytes(raw))
        files: list[Attachment] = []
        text = _body.read(message, files)
    except (LookupError, RecursionError, TypeError, ValueError):
        # Parts nested thousands deep, or a boundary in a charset that cannot be.
        raise InvalidPayload("message", "cannot be read as MIME") from None
    sender, name = _sender(message, authserv_id)
    content = _fields.content(text, "body")
    message_id = _message_id(message) or _fields.digest(
        "\0".join([*_raw(message, "From"), *_raw(message, "Date"), *_raw(message, "Subject"), content])
    )
    return InboundMessage(
        channel=Channel.EMAIL,
        account=_account(message) if account is None else _fields.address(account, "account"),
        provider_message_id=message_id,
        sender=(sender,),
        profile=CustomerProfile(name=name),
        content=content or _fields.notice(files),
        content_type=ContentType.TEXT if content or not files else ContentType.ATTACHMENT_NOTICE,
        subject=_fields.one_line(_body.utf8(message["Subject"] or ""), _fields.MAX_SUBJECT),
        thread_id=_thread(message) or message_id,
        sent_at=_sent_at(message),
        attachments=tuple(files),
        auto_reply=_auto_reply(message),
    )


def _raw(message: EmailMessage, name: str) -> list[str]:
    """All values of a header, unfolded and otherwise untouched, topmost first."""
    return [" ".join(str(value).split()) for key, value in message.raw_items() if key.lower() == name.lower()]


def _addresses(message: EmailMessage, name: str) -> list[tuple[str, str]]:
    """Display name and address of each entry; by the older, laxer parser where the new one raised."""
    header = message[name]
    if hasattr(header, "addresses"):
        found = [(_body.utf8(entry.display_name), entry.addr_spec) for entry in header.addresses]
    else:
        entries = _body.tolerant(lambda: getaddresses([header or ""]), None)
        found = [(_body.decoded(display_name), address) for display_name, address in entries or ()]
    return [
        (display_name, _body.utf8(address)) for display_name, address in found if "@" in address.strip("@")
    ]


def _sender(message: EmailMessage, authserv_id: str | None) -> tuple[Identifier, str | None]:
    headers = _raw(message, "From")
    if not headers:
        raise InvalidPayload("From", "is missing")
    if len(headers[0]) > _MAX_HEADER:
        raise InvalidPayload("From", f"is longer than {_MAX_HEADER:,} characters")
    found = _addresses(message, "From")
    if not found:
        raise InvalidPayload("From", "names no address")
    name, address = found[0]
    value = _fields.address(address, "From")
    # Two authors, or letters that a canonical form folds into others, are not what the server checked.
    checkable = len(headers) == len(found) == 1 and hasattr(message["From"], "addresses") and value.isascii()
    domain = value.rpartition("@")[2].lower().rstrip(".")
    verified = checkable and any(
        authserv_id is not None and vouches(results, authserv_id=authserv_id, domain=domain)
        for results in _raw(message, "Authentication-Results")[:1]
    )
    identifier = Identifier(type=IdentifierType.EMAIL, value=value, verified=verified)
    return identifier, _fields.one_line(name, _fields.MAX_NAME)


def _account(message: EmailMessage) -> str:
    for delivered_to in _raw(message, "Delivered-To"):
        if "@" in delivered_to:
            return _fields.address(delivered_to.strip("<> "), "Delivered-To").lower()
    for _, address in _addresses(message, "To"):
        return _fields.address(address, "To").lower()
    raise InvalidPayload("To", "names no address, and no account was given")


def _message_id(message: EmailMessage) -> str | None:
    for value in _raw(message, "Message-ID")[:1]:
        found = (_message_ids(value) or [value.strip("<> ")])[0]
        return _fields.provider_id(found) if found else None
    return None


def _message_ids(value: str) -> list[str]:
    """The ids in a header. Without angle brackets they need an ``@``: some mailers write ``null``."""
    found = _MESSAGE_ID.findall(value) or [word for word in value.strip("<> ").split() if "@" in word]
    return [message_id for message_id in ("".join(words.split()) for words in found) if message_id]


def _thread(message: EmailMessage) -> str | None:
    """The Message-ID at the root of the thread (RFC 5322, section 3.6.4)."""
    ids = [_message_ids(value) for name in ("References", "In-Reply-To") for value in _raw(message, name)]
    return next((_fields.provider_id(found[0]) for found in ids if found), None)


def _sent_at(message: EmailMessage) -> datetime | None:
    """``-0000`` is UTC from an unknown zone (RFC 5322, section 3.3); a date that cannot be read is None."""
    try:
        sent_at = parsedate_to_datetime(_raw(message, "Date")[0])
        return (sent_at if sent_at.tzinfo else sent_at.replace(tzinfo=UTC)).astimezone(UTC)
    except (IndexError, OverflowError, TypeError, ValueError):
        return None


def _auto_reply(message: EmailMessage) -> bool:
    """RFC 3834, section 5, and the headers that were in use before it."""
    submitted = [without_comments(value).partition(";")[0] for value in _raw(message, "Auto-Submitted")]
    return (
        any(value.strip().lower() not in ("", "no") for value in submitted)
        or any(value.lower() in _BULK for value in _raw(message, "Precedence"))
        or any(_raw(message, "X-Autoreply") + _raw(message, "X-Autorespond"))
        or _raw(message, "Return-Path")[:1] == ["<>"]
    )
