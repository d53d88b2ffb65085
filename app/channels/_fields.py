"""What the parsers share: untrusted values in, storable ones out, or InvalidPayload that names the field."""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NoReturn, TypeVar

from .. import normalization
from ..errors import InvalidPayload
from ..schemas import Attachment

log = logging.getLogger("crm.channels")

T = TypeVar("T")
D = TypeVar("D")

MAX_CONTENT_BYTES = 1_000_000
MAX_NAME = 255
MAX_SUBJECT = 500

_MAX_KEPT_TEXT = 1000
_MAX_KEPT_VALUES = 200
_MAX_KEPT_DEPTH = 6
# Words of Persian and of languages of India need them (IDNA 2008).
_JOINERS = "\u200c\u200d"
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

    def whole(self) -> Mapping[Any, Any]:
        return self._source

    def names(self) -> list[str]:
        return [key for key in self._source if isinstance(key, str)]

    def text_or_none(self, key: str) -> str | None:
        """Stripped text; None where it is absent, null or blank."""
        value = self.value(key)
        if value is None:
            return None
        if not isinstance(value, str):
            raise InvalidPayload(self.path(key), "is not text")
        return clean(value).strip() or None

    def text(self, key: str) -> str:
        text = self.text_or_none(key)
        if text is None:
            raise InvalidPayload(self.path(key), "is missing" if self.value(key) is None else "is empty")
        return text

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


class Lenient:
    """Reads what a message can do without: what cannot be used is noted by its name, the message goes on."""

    def __init__(self) -> None:
        self.ignored: list[str] = []

    def __call__(self, read: Callable[..., T], *arguments: Any, default: D) -> T | D:
        try:
            return read(*arguments)
        except InvalidPayload as problem:
            self.note(problem.field)
            return default

    def note(self, field: str) -> None:
        field = one_line(field, MAX_NAME) or "field"
        if field not in self.ignored:
            self.ignored.append(field)


def clean(value: str) -> str:
    """Replace what PostgreSQL cannot store (NUL, lone surrogates) with U+FFFD, so that no message is lost."""
    return _UNSTORABLE.sub("\ufffd", value)


def one_line(value: str | None, limit: int) -> str | None:
    """The value on one line, cut to ``limit`` characters; None if nothing is left."""
    return " ".join(clean(value or "").split())[:limit].rstrip() or None


def without_addresses(value: str | None) -> str | None:
    """What a provider says, without whom it says it of: it is kept, shown and logged."""
    return None if value is None else normalization.without_addresses(value)


def content(value: str, field: str) -> str:
    """The message's text, whole; more than 1 MB is refused."""
    text = clean(value).strip()
    if len(text.encode()) > MAX_CONTENT_BYTES:
        raise InvalidPayload(field, f"is longer than {MAX_CONTENT_BYTES:,} bytes")
    return text


def address(value: object, field: str) -> str:
    """An address, number or account: one piece of printable text that fits its column.

    What is invisible around it, such as the direction marks of a copied number, is not part of it.
    """
    if not isinstance(value, str):
        raise InvalidPayload(field, "is not text")
    text = _bare(value)
    if not text:
        raise InvalidPayload(field, "is empty")
    if len(text) > MAX_NAME:
        raise InvalidPayload(field, f"is longer than {MAX_NAME} characters")
    if not text.isprintable() or "\ufffd" in text:
        raise InvalidPayload(field, "has a character that no address can have")
    return text


def mailbox(value: str, field: str) -> str:
    """An email address without what copying leaves in it and nobody sees, but for what a domain may have."""
    return address("".join(filter(_is_visible, value)), field)


def _is_visible(character: str) -> bool:
    return unicodedata.category(character) != "Cf" or character in _JOINERS


def _bare(value: str) -> str:
    start, end = 0, len(value)
    while start < end and _is_blank(value[start]):
        start += 1
    while end > start and _is_blank(value[end - 1]):
        end -= 1
    return value[start:end]


def _is_blank(character: str) -> bool:
    return character.isspace() or unicodedata.category(character) == "Cf"


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


def bounded(value: object) -> Any:
    """A copy of what a payload holds that JSON can store, cut in depth, number and length of its values."""
    remaining = _MAX_KEPT_VALUES

    def copied(part: object, depth: int) -> Any:
        nonlocal remaining
        remaining -= 1
        if isinstance(part, str):
            return clean(part[:_MAX_KEPT_TEXT])
        if isinstance(part, bool | int | float):
            return part if -(2**63) <= part < 2**63 else None
        if depth and isinstance(part, Mapping):
            items = itertools.islice(part.items(), _MAX_KEPT_VALUES)
            return {
                clean(str(key))[:MAX_NAME]: copied(item, depth - 1) for key, item in items if remaining > 0
            }
        if depth and isinstance(part, list | tuple):
            return [copied(item, depth - 1) for item in part[:_MAX_KEPT_VALUES] if remaining > 0]
        return None

    return copied(value, _MAX_KEPT_DEPTH)


def not_later_than_now(moment: datetime | None) -> datetime | None:
    return None if moment is None else min(moment.astimezone(UTC), datetime.now(UTC))


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
