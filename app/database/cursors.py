"""Cursors that describe a result's columns when somebody looks.

SQLAlchemy asks for the description with every result, and needs it only where a statement has not told its
columns: to build it each time takes longer than to read a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, cast, overload

from psycopg import AsyncCursor, Column, Cursor


class _Description(Sequence[Column]):
    """As psycopg makes it, with the first look at it."""

    def __init__(self, cursor: Cursor[Any] | AsyncCursor[Any], length: int) -> None:
        self._cursor = cursor
        self._length = length

    @cached_property
    def _columns(self) -> list[Column]:
        return [Column(self._cursor, index) for index in range(self._length)]

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: int) -> Column: ...
    @overload
    def __getitem__(self, index: slice) -> list[Column]: ...
    def __getitem__(self, index: int | slice) -> Column | list[Column]:
        return self._columns[index]

    def __repr__(self) -> str:
        return repr(self._columns)


def _described(cursor: Cursor[Any] | AsyncCursor[Any]) -> list[Column] | None:
    """The description of a result with columns."""
    result = cursor.pgresult
    length = result.nfields if result else 0
    return cast("list[Column]", _Description(cursor, length)) if length else None


class SyncCursor(Cursor[Any]):
    __slots__ = ()

    @property
    def description(self) -> list[Column] | None:
        return _described(self) or super().description


class AsynchronousCursor(AsyncCursor[Any]):
    __slots__ = ()

    @property
    def description(self) -> list[Column] | None:
        return _described(self) or super().description
