"""What the parsers share: untrusted values in, storable ones out, or InvalidPayload that names the field."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from ..errors import InvalidPayload
from ..schemas import Attachment

MAX_CONTENT_BYTES = 1_000_000
MAX_NAME = 255
MAX_SUBJECT = 500

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


class Fields:
    """One object of a payload. Errors call it ``name``, and its fields ``prefix`` and their own name."""

    def __init__(self, source: object, name: str, prefix: str = "") -> None:
        if not isinstance(source, Mapping):
            raise InvalidPayload(name, "is missing" if source is None else "is not an object")
        self._source: Mapping[Any, Any] = source
        self._prefix = prefix

    def path(self, key: str) -> str:
        return f"{self._prefix}{key}"

    def value(self, key: str) -> object:
        return self._source.get(key)

    def text_or_none(self, key: str) -> str | None:
        """Stripped text; None where it is absent, null or blank."""
        value = self.value(key)
        if value is None:
            return None
        if not isinstance(value, str):
            raise InvalidPayload(self.path(key), "is not text")
        return clean(value).strip() or None

    def text(self, key: str) -> str:
        found = self.text_or_none(key)
        if found is None:
            raise InvalidPayload(self.path(key), "is missing" if self.value(key) is None else "is empty")
        return found

    def line(self, key: str, limit: int = MAX_NAME) -> str | None:
        return one_line(self.text_or_none(key), limit)

    def address(self, key: str) -> str:
        return address(self.text(key), self.path(key))

    def object(self, key: str) -> Fields:
        return Fields(self.value(key), self.path(key), f"{self.path(key)}.")

    def object_or_empty(self, key: str) -> Fields:
        return Fields({}, self.path(key)) if self.value(key) is None else self.object(key)

    def objects(self, key: str) -> list[Fields]:
        value = self.value(key)
        if not isinstance(value, list):
            raise InvalidPayload(self.path(key), "is missing" if value is None else "is not a list")
        paths = (f"{self.path(key)}[{number}]" for number in range(len(value)))
        return [Fields(item, path, f"{path}.") for path, item in zip(paths, value, strict=True)]


def clean(value: str) -> str:
    """Replace what PostgreSQL cannot store (NUL, lone surrogates) with U+FFFD, so that no message is lost."""
    return _UNSTORABLE.sub("\ufffd", value)


def one_line(value: str | None, limit: int) -> str | None:
    """The value on one line, cut to ``limit`` characters; None if nothing is left."""
    return " ".join(clean(value or "").split())[:limit].rstrip() or None


def content(value: str, field: str) -> str:
    """The message's text, whole; more than 1 MB is refused."""
    text = clean(value).strip()
    if len(text.encode()) > MAX_CONTENT_BYTES:
        raise InvalidPayload(field, f"is longer than {MAX_CONTENT_BYTES:,} bytes")
    return text


def address(value: object, field: str) -> str:
    """An address, number or account: one piece of printable text that fits its column."""
    if not isinstance(value, str):
        raise InvalidPayload(field, "is not text")
    text = value.strip()
    if not text:
        raise InvalidPayload(field, "is empty")
    if len(text) > MAX_NAME:
        raise InvalidPayload(field, f"is longer than {MAX_NAME} characters")
    if not text.isprintable() or "\ufffd" in text:
        raise InvalidPayload(field, "has a character that no address can have")
    return text


def provider_id(value: str) -> str:
    """The provider's id as it is, or its SHA-256 where the column could not hold it."""
    text = value.strip()
    if len(text) <= MAX_NAME and text.isprintable():
        return text
    return digest(text)


def digest(value: str) -> str:
    return f"sha256:{hashlib.sha256(value.encode('utf-8', 'surrogatepass')).hexdigest()}"


def media_type(value: str | None) -> str:
    """A media type without its parameters."""
    return one_line((value or "").partition(";")[0], MAX_NAME) or "application/octet-stream"


def notice(files: Sequence[Attachment]) -> str:
    """What stands for the content of a message that has only files."""
    if not files:
        return ""
    names = ", ".join(file.filename or file.media_type for file in files)
    return f"The message has no text, only {len(files)} file{'s' if len(files) > 1 else ''}: {names}"


def json_object(raw: bytes) -> Mapping[str, Any]:
    """A JSON document's object. NaN and Infinity are not JSON (RFC 8259, section 6) and are refused."""
    try:
        value = json.loads(raw, parse_constant=_refuse)
    except RecursionError:
        raise InvalidPayload("payload", "is nested too deeply") from None
    except ValueError:
        raise InvalidPayload("payload", "is not JSON") from None
    if not isinstance(value, dict):
        raise InvalidPayload("payload", "is not an object")
    return value


def _refuse(name: str) -> NoReturn:
    raise ValueError(name)
