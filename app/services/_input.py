"""Checks of what callers pass, before anything reaches the database."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeVar
from uuid import UUID

from ..errors import InvalidValue

E = TypeVar("E", bound=StrEnum)
T = TypeVar("T")

MAX_TEXT = 1_000_000
_ACTOR = re.compile(r"(?:human|ai|customer|system):[A-Za-z0-9._@+-]{1,200}")
_MAX_JSON_DEPTH = 100
_ESCAPED_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


def checked_text(field: str, value: object, *, max_length: int = MAX_TEXT, blank: bool = False) -> str:
    """The text as it is, if PostgreSQL can store all of it.

    Raises:
        InvalidValue: not a string, empty, too long, or with a NUL or half a surrogate pair.
    """
    if not isinstance(value, str):
        raise InvalidValue(field, f"must be text, not {type(value).__name__}")
    if not blank and not value.strip():
        raise InvalidValue(field, "must not be empty")
    if len(value) > max_length:
        raise InvalidValue(field, f"must not be longer than {max_length:,} characters")
    if "\x00" in value or any("\ud800" <= character <= "\udfff" for character in value):
        raise InvalidValue(field, "holds a character that cannot be stored")
    return value


def checked_optional_text(field: str, value: object, *, max_length: int = MAX_TEXT) -> str | None:
    """The same, and None stays None."""
    return None if value is None else checked_text(field, value, max_length=max_length)


def checked_actor(value: object, *, field: str = "actor") -> str:
    """Who acts: ``human:7``, ``ai:support-agent``, ``customer:<uuid>`` or ``system:retention``."""
    if not isinstance(value, str) or not _ACTOR.fullmatch(value):
        raise InvalidValue(
            field, "must read like human:7, ai:support-agent, customer:<uuid> or system:retention"
        )
    return value


def checked_code(field: str, value: object, codes: type[E]) -> E:
    """The enum's member, also for its plain value."""
    try:
        return codes(value)  # type: ignore[arg-type]
    except ValueError:
        raise InvalidValue(field, f"must be one of {', '.join(codes)}") from None


def checked_kind(field: str, value: object, kind: type[T]) -> T:
    """The value, if it is one of these."""
    if not isinstance(value, kind):
        raise InvalidValue(field, f"must be of type {kind.__name__}, not {type(value).__name__}")
    return value


def checked_uuid(field: str, value: object) -> UUID:
    """The UUID, also from its text."""
    if isinstance(value, UUID):
        return value
    try:
        return UUID(checked_text(field, value, max_length=50))
    except ValueError:
        raise InvalidValue(field, "must be a UUID") from None


def checked_time(field: str, value: object) -> datetime:
    """The time, if it says which one it is: a naive one would be read in the session's time zone."""
    if not isinstance(value, datetime) or value.utcoffset() is None:
        raise InvalidValue(field, "must be a datetime with a time zone")
    return value


def checked_limit(value: object, *, maximum: int = 1000) -> int:
    """A page's size."""
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= maximum:
        raise InvalidValue("limit", f"must be a whole number from 1 to {maximum:,}")
    return value


def checked_number(field: str, value: object) -> int:
    """A whole number that a column can hold."""
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) >= 2**31:
        raise InvalidValue(field, "must be a whole number of at most 32 bits")
    return value


def checked_json(field: str, value: Mapping[str, Any]) -> dict[str, Any]:
    """A plain copy that jsonb can hold: no NaN, no NUL, no half surrogate pairs, no Python objects."""
    if not isinstance(value, Mapping):
        raise InvalidValue(field, "must be an object")
    if _depth(value) > _MAX_JSON_DEPTH:
        raise InvalidValue(field, f"is nested more than {_MAX_JSON_DEPTH} levels deep")
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False)
        text.encode()
    except (TypeError, ValueError):
        raise InvalidValue(field, "holds something that JSON cannot") from None
    if _ESCAPED_NUL.search(text):
        raise InvalidValue(field, "holds a character that cannot be stored")
    copy: dict[str, Any] = json.loads(text)
    return copy


def _depth(value: object) -> int:
    """Levels of nesting, without recursion; stops counting soon after the limit."""
    level, depth = [value], 0
    while level and depth <= _MAX_JSON_DEPTH:
        depth += 1
        level = [
            child
            for item in level
            if isinstance(item, Mapping | list | tuple)
            for child in (item.values() if isinstance(item, Mapping) else item)
        ]
    return depth
