"""Mails as bytes."""

from __future__ import annotations

from app.channels import email
from app.schemas import InboundMessage

PLAIN = {"From": "Ann <ann@example.com>", "To": "support@techcorp.io", "Message-ID": "<1@example.com>"}


def mail(body: str | bytes = "Hello", /, **headers: str | None) -> bytes:
    """A mail with the headers of PLAIN, changed or (None) left out; underscores stand for hyphens."""
    named = PLAIN | {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in named.items() if value is not None)
    return head.encode() + b"\r\n" + (body if isinstance(body, bytes) else body.encode())


def parsed(body: str | bytes = "Hello", /, **headers: str | None) -> InboundMessage:
    return email.parse(mail(body, **headers))
