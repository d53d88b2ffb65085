"""Lists: filters as callers pass them (``schemas.filters``), checked, by column; a cursor in, a page out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from functools import cache, partial
from typing import Any, TypeVar, get_args, get_origin, get_type_hints
from uuid import UUID

from sqlalchemy import ColumnElement, Executable, Text, type_coerce
from sqlalchemy.orm import Session

from ...errors import InvalidValue
from ...models.base import Code
from ...schemas import Cursor, Page
from .checks import checked_code, checked_json, checked_number, checked_text, checked_time, checked_uuid

T = TypeVar("T")

_MAX_VALUES = 1_000
_COLUMNS = {
    "created_from": "created_at_from",
    "created_before": "created_at_before",
    "updated_from": "updated_at_from",
    "updated_before": "updated_at_before",
    "resolved_from": "resolved_at_from",
    "resolved_before": "resolved_at_before",
    "extra": "metadata",
}
"""Filters that are called otherwise than their columns."""


def checked_filters(definition: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """The filters that are not None, by column, as JSON can hold them: lists of texts, a time, a number.

    ``definition`` is one of ``schemas.filters``: what it says of a filter's type is what is checked.

    Raises:
        InvalidValue: a filter that the definition does not have, or an ill-formed value.
    """
    checks = _checks(definition)
    if unknown := values.keys() - checks.keys():
        raise InvalidValue(min(unknown), f"is no filter here; there are {', '.join(checks)}")
    return {
        _COLUMNS.get(field, field): checks[field](field, value)
        for field, value in values.items()
        if value is not None
    }


@cache
def _checks(definition: type) -> dict[str, Callable[[str, Any], Any]]:
    return {field: _check(get_args(hint)[0]) for field, hint in get_type_hints(definition).items()}


def _check(kind: Any) -> Callable[[str, Any], Any]:
    """The check of a filter that is a ``kind``, perhaps one of several, or None."""
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return partial(_codes, kind)
    return _BY_KIND[get_origin(kind) or kind]


def _codes(kind: type[StrEnum], field: str, value: Any) -> list[str]:
    return [checked_code(field, code, kind).value for code in _several(field, value)]


def _texts(field: str, value: Any) -> list[str]:
    return [checked_text(field, text, max_length=255) for text in _several(field, value)]


def _ids(field: str, value: Any) -> list[str]:
    return [str(checked_uuid(field, id_)) for id_ in _several(field, value)]


def _time(field: str, value: Any) -> str:
    try:
        # PostgreSQL reads offsets of whole minutes only.
        return checked_time(field, value).astimezone(UTC).isoformat()
    except OverflowError:
        raise InvalidValue(field, "is outside of the calendar") from None


def _several(field: str, value: Any) -> list[Any]:
    if isinstance(value, str | UUID):
        return [value]
    if not isinstance(value, Collection) or not 1 <= len(value) <= _MAX_VALUES:
        raise InvalidValue(field, f"must be one value or a list of 1 to {_MAX_VALUES:,}")
    return list(value)


_BY_KIND: dict[type, Callable[[str, Any], Any]] = {
    str: _texts,
    UUID: _ids,
    datetime: _time,
    int: checked_number,
    Mapping: checked_json,
}


def checked_cursor(before: Any) -> Cursor:
    """The place that a page goes on from: a page's ``next``, or its ``token()``.

    Raises:
        InvalidValue: neither of them.
    """
    try:
        created_at, id_ = Cursor.of_token(before) if isinstance(before, str) else before
    except (TypeError, ValueError):
        raise InvalidValue("before", "must be the next of a page, or its token") from None
    return Cursor(checked_time("before", created_at), checked_uuid("before", id_))


def read(session: Session, statement: Executable, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The statement's rows as a schema takes them: a row itself would be asked for each field by its name.

    What is pending on the session's objects is sent first, as before a query of the ORM.
    """
    session.flush()
    rows = session.execute(statement, parameters)
    names = tuple(rows.keys())
    return [dict(zip(names, row, strict=True)) for row in rows.all()]


def plain(*columns: ColumnElement[Any]) -> list[ColumnElement[Any]]:
    """Columns for ``read``: codes as their texts, since the schema takes each to its member once more."""
    return [
        type_coerce(column, Text()).label(column.key) if isinstance(column.type, Code) else column
        for column in columns
    ]


def page_of(page: type[Page[T]], items: Sequence[Mapping[str, Any]], limit: int) -> Page[T]:
    """The page of these rows. One more than ``limit`` was asked for: it says whether there are more."""
    following = None
    if len(items) > limit:
        last = items[limit - 1]
        following = Cursor(last["created_at"], last["id"])
    return page.model_validate({"items": items[:limit], "next": following})
