"""The text and the files of a MIME message."""

from __future__ import annotations

import codecs
from collections.abc import Callable
from email.header import decode_header, make_header
from email.message import MIMEPart
from typing import TypeVar

from .._html import to_text
from ..schemas import Attachment
from . import _fields

T = TypeVar("T")
D = TypeVar("D")

# Python's own codecs, not charsets; punycode even takes quadratic time.
_NOT_CHARSETS = frozenset({"idna", "punycode", "raw-unicode-escape", "undefined", "unicode-escape"})
# Mail that says Latin-1 means Windows-1252 (WHATWG Encoding Standard, section 4.2).
_MEANT = {"iso8859-1": "cp1252"}


def read(part: MIMEPart, files: list[Attachment]) -> str:
    """The text of a part and all its children; whatever is no text is added to ``files``.

    Of alternatives the plain one counts, unless it is blank; other texts follow each other.
    """
    kind = _media_type(part)
    if kind.startswith("multipart/") and part.is_multipart():
        texts = [(child, read(child, files)) for child in part.iter_parts()]
        told = [(child, text) for child, text in texts if text]
        if kind == "multipart/alternative":
            told = sorted(told, key=lambda pair: _media_type(pair[0]) != "text/plain")[:1]
        return "\n\n".join(text for _, text in told)
    payload = None if part.is_multipart() else part.get_payload(decode=True)
    filename = _filename(part)
    attached = filename or tolerant(part.get_content_disposition, None) == "attachment"
    # A multipart without parts has lost its boundary: what it holds is read as text.
    is_text = kind in ("text/plain", "text/html") or kind.startswith("multipart/")
    if isinstance(payload, bytes) and is_text and not attached:
        text = _decode(payload, _charset(part)).replace("\r\n", "\n")
        return to_text(text) if kind == "text/html" else text.strip()
    size = len(payload) if isinstance(payload, bytes) else None
    files.append(Attachment(filename=filename, media_type=_fields.media_type(kind), size=size))
    return ""


def utf8(value: str) -> str:
    """Raw UTF-8 in a header (RFC 6532), which the email package hands out as escaped bytes."""
    try:
        return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    except UnicodeEncodeError:
        return _fields.clean(value)


def decoded(value: str) -> str:
    """Text with its RFC 2047 words and raw UTF-8 made readable."""
    return utf8(tolerant(lambda: str(make_header(decode_header(value))), value) if "=?" in value else value)


def tolerant(attempt: Callable[[], T], default: D) -> T | D:
    """The email package raises IndexError, TypeError and more on malformed headers; the text still counts."""
    try:
        return attempt()
    except Exception:
        return default


def _filename(part: MIMEPart) -> str | None:
    """RFC 2231, or the RFC 2047 words that mailers put there against its section 5."""
    return _fields.one_line(decoded(tolerant(part.get_filename, None) or ""), _fields.MAX_NAME)


def _media_type(part: MIMEPart) -> str:
    return tolerant(part.get_content_type, "text/plain")


def _charset(part: MIMEPart) -> str:
    try:
        name = codecs.lookup(tolerant(part.get_content_charset, None) or "utf-8").name
    except (LookupError, ValueError):
        return "utf-8"
    return "utf-8" if name in _NOT_CHARSETS else _MEANT.get(name, name)


def _decode(payload: bytes, charset: str) -> str:
    for candidate in (charset, "utf-8"):
        try:
            return payload.decode(candidate)
        except (LookupError, ValueError):
            continue
    return payload.decode("cp1252", "replace")
