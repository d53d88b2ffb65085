"""The email package, made fit for hostile mail; and headers as they came."""

from __future__ import annotations

import binascii
import itertools
import quopri
import re
from collections.abc import Callable, Iterator
from email.message import EmailMessage, MIMEPart
from email.parser import BytesParser
from email.policy import EmailPolicy
from typing import Any, TypeVar, cast

from .authentication import without_comments

T = TypeVar("T")
D = TypeVar("D")

MAX_HEADER = 4096
_MAX_PARTS = 50
# A mailer cut or mistook the boundary; the first line that can be one is followed by a part's headers.
_BOUNDARY = re.compile(rb"^--([^\s\"\\]{1,70})[ \t]*\r?\n(?=content-)", re.IGNORECASE | re.MULTILINE)
_BOUNDARY_REACH = 20_000
# Prose has a space or a sign for every few letters; base64 has hardly any.
_LETTERS_TO_A_STRAY = 12
_NOT_BASE64 = re.sub(rb"[A-Za-z0-9+/]", b"", bytes(range(256)))
_NEXT_BASE64 = re.compile(rb"(?<==)\s+(?=[A-Za-z0-9+/])")
_DECODERS: dict[str, Callable[[bytes], bytes]] = {
    "base64": binascii.a2b_base64,
    "quoted-printable": quopri.decodestring,
}
_ENCODINGS = {"base64": "base64", "quotedprintable": "quoted-printable", "xbase64": "base64"}


class _Policy(EmailPolicy):
    """``policy.default`` without its header parser, which leaks exceptions and takes quadratic time.

    All headers stay as they came.
    """

    def header_fetch_parse(self, name: str, value: str) -> Any:  # noqa: ARG002 (the package's signature)
        return " ".join(value[:MAX_HEADER].replace("\0", "\ufffd").splitlines())


_PARSER = BytesParser(policy=_Policy())


def parsed(raw: bytes, *, headers_only: bool = False) -> EmailMessage:
    return cast(EmailMessage, _PARSER.parsebytes(raw, headersonly=headers_only))


def tolerant(attempt: Callable[[], T], default: D) -> T | D:
    """The email package raises IndexError, TypeError and more on malformed headers; the text still counts."""
    try:
        return attempt()
    except Exception:
        return default


def as_delivered(message: MIMEPart, name: str) -> list[str]:
    """All values of a header, untouched, topmost first."""
    return [str(value) for key, value in message.raw_items() if key.lower() == name.lower()]


def values(message: MIMEPart, name: str) -> list[str]:
    """All values of a header on one line each, topmost first."""
    return [" ".join(value.split()) for value in as_delivered(message, name)]


def media_type(part: MIMEPart) -> str:
    return tolerant(part.get_content_type, "text/plain")


def parameter(part: MIMEPart, name: str) -> str:
    """A parameter of Content-Type, in lower case; empty without it."""
    return str(tolerant(lambda: part.get_param(name), None) or "").lower()


def parts(message: EmailMessage) -> list[MIMEPart]:
    """The message and its first parts, depth first."""
    walk = message.walk()
    return tolerant(lambda: [part for part, _ in zip(walk, range(_MAX_PARTS), strict=False)], [])


def own_parts(part: MIMEPart) -> list[MIMEPart]:
    """The same without those of messages that it encloses."""
    return list(itertools.islice(_own(part), _MAX_PARTS))


def _own(part: MIMEPart) -> Iterator[MIMEPart]:
    yield part
    if part.is_multipart() and not media_type(part).startswith("message/"):
        for child in part.iter_parts():
            yield from _own(child)


def transfer_encoding(part: MIMEPart) -> str:
    """The name of its encoding, whatever stands around it and however it is hyphenated."""
    name = without_comments(_written_encoding(part)).partition(";")[0].strip().strip("\"';").lower()
    return _ENCODINGS.get(re.sub(r"[^a-z0-9]", "", name), name)


def _written_encoding(part: MIMEPart) -> str:
    return tolerant(lambda: str(part.get("Content-Transfer-Encoding", "")), "")


def payload(part: MIMEPart) -> bytes | None:
    """A part's content, decoded whatever stands around the name of its encoding; None if it has parts."""
    if part.is_multipart():
        return None
    written, encoding = _written_encoding(part), transfer_encoding(part)
    if encoding != written or encoding == "base64":
        del part["Content-Transfer-Encoding"]
        # Python's own reading of base64 ends at the first "=", and makes noise of what was never encoded.
        encoded = tolerant(lambda: part.get_payload(decode=True), None) if encoding == "base64" else None
        tolerant(lambda: part.add_header("Content-Transfer-Encoding", encoding), None)
        if isinstance(encoded, bytes):
            return _from_base64(encoded)
    content = tolerant(lambda: part.get_payload(decode=True), None)
    return content if isinstance(content, bytes) else None


def _from_base64(written: bytes) -> bytes:
    """What is encoded, piece by piece where gateways joined several; words that never were stay."""
    pieces = _NEXT_BASE64.split(written)
    return b"".join(_decoded(piece) if _is_encoded(piece) else piece for piece in pieces)


def _is_encoded(piece: bytes) -> bool:
    """Whether its first line is base64, be there a stray in it."""
    line = piece.strip().split(b"\n", 1)[0].strip().rstrip(b"=")
    letters = len(line.translate(None, delete=_NOT_BASE64))
    return (len(line) - letters) * _LETTERS_TO_A_STRAY <= letters


def _decoded(encoded: bytes) -> bytes:
    letters = encoded.partition(b"=")[0].translate(None, delete=_NOT_BASE64)
    return binascii.a2b_base64(letters[: len(letters) - (len(letters) % 4 == 1)] + b"==")


def with_its_boundary(part: MIMEPart) -> EmailMessage | None:
    """A multipart that was not read as one, by the boundary that its text shows."""
    content = payload(part) or b""
    boundary = _BOUNDARY.search(content[:_BOUNDARY_REACH])
    if boundary is None:
        return None
    kind = media_type(part).encode("ascii", "replace")
    message = parsed(b'Content-Type: %s; boundary="%s"\r\n\r\n' % (kind, boundary[1]) + content)
    return message if message.is_multipart() else None


def enclosed(part: MIMEPart) -> EmailMessage:
    """The message within a message; RFC 2046 has it sent as it is, but some mailers encode it."""
    message = cast(EmailMessage, part.get_payload(0))
    written = as_bytes(message) if transfer_encoding(part) in _DECODERS else None
    return message if written is None else tolerant(lambda: parsed(decoded(part, written)), message)


def decoded(part: MIMEPart, content: bytes) -> bytes:
    """What RFC 2046 has sent as it is, and some mailers encode; as it is where they do not."""
    decode = _DECODERS.get(transfer_encoding(part))
    return content if decode is None else tolerant(lambda: decode(content), content)


def as_bytes(part: MIMEPart) -> bytes | None:
    """A message within a message, as it is sent; None where the package cannot write what it has read."""
    return tolerant(lambda: part.as_bytes(policy=part.policy.clone(linesep="\r\n")), None)
