"""Which message this is, which it answers, and when it came."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import parsedate_to_datetime

from .. import _fields
from . import charsets, mime
from .authentication import without_comments

_MESSAGE_ID = re.compile(r"<([^<>]+)(?:>|(?=<)|\Z)")
_MAX_REFERENCES = 100
_THREE_DIGITS = range(100, 1000)
_ISO = re.compile(r"\d{4}-\d\d-\d\dT")


def message_id(message: EmailMessage) -> str | None:
    for value in mime.values(message, "Message-ID")[:1]:
        written = (ids_in(value) or [value.strip("<> ")])[0]
        return _fields.provider_id(written) if written else None
    return None


def made_of(message: EmailMessage, content: str) -> str:
    """What stands for a missing Message-ID: the same when the mail comes again."""
    values = [value for name in ("From", "Date", "Subject") for value in mime.values(message, name)]
    return _fields.digest("\0".join([*values, content]))


def ids_in(value: str) -> list[str]:
    """The ids in a header. Without angle brackets they need an ``@``: some mailers write ``null``.

    Programs that fold long headers, Python's for one, make encoded words of them against RFC 2047, section 5.
    """
    value = charsets.header(value)
    bracketed = _MESSAGE_ID.findall(value)
    words = bracketed or [word for word in value.strip("<> ").split() if "@" in word]
    return [identity for identity in ("".join(word.split()) for word in words) if identity]


def thread(message: EmailMessage) -> str | None:
    """The Message-ID at the root of the thread (RFC 5322, section 3.6.4)."""
    several = [
        ids_in(value) for name in ("References", "In-Reply-To") for value in mime.values(message, name)
    ]
    return next((_fields.provider_id(ids[0]) for ids in several if ids), None)


def references(message: EmailMessage) -> tuple[str, ...]:
    """Every message that it answers, nearest first."""
    answered = [identity for value in mime.values(message, "In-Reply-To") for identity in ids_in(value)]
    thread_ids = [identity for value in mime.values(message, "References") for identity in ids_in(value)]
    nearest_first = dict.fromkeys([*answered[:1], *reversed(thread_ids), *answered[1:]])
    return tuple(_fields.provider_id(identity) for identity in list(nearest_first)[:_MAX_REFERENCES])


def sent_at(message: EmailMessage) -> datetime | None:
    return next((moment(without_comments(value)) for value in mime.values(message, "Date")[:1]), None)


def received_at(message: EmailMessage) -> datetime | None:
    """When our own mail server got it, as the topmost Received says; never later than now."""
    topmost = [without_comments(value) for value in mime.values(message, "Received")[:1]]
    return _fields.not_later_than_now(next((moment(value.rpartition(";")[2]) for value in topmost), None))


def moment(value: str) -> datetime | None:
    """A header's time, or one of ISO 8601 as web sites write it; None if it cannot be read.

    ``-0000`` is UTC from an unknown zone (RFC 5322, section 3.3).
    """
    try:
        written = datetime.fromisoformat(value) if _ISO.match(value) else parsedate_to_datetime(value)
        # Of three digits a year counts from 1900 (RFC 5322, section 4.3).
        year = written.year + 1900 if written.year in _THREE_DIGITS else written.year
        return written.replace(year=year, tzinfo=written.tzinfo or UTC).astimezone(UTC)
    except (IndexError, OverflowError, TypeError, ValueError):
        return None
