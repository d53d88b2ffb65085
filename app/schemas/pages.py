"""Keyset pages: stable under inserts, and as fast on the last page as on the first."""

from __future__ import annotations

from datetime import datetime
from typing import Generic, NamedTuple, TypeVar
from uuid import UUID

from .base import Schema

T = TypeVar("T")


class Cursor(NamedTuple):
    """The position of a row in ``(created_at, id)`` order."""

    created_at: datetime
    id: UUID


class Page(Schema, Generic[T]):
    """``items``, newest first; ``next`` is the cursor of the following page, None on the last one."""

    items: tuple[T, ...]
    next: Cursor | None = None
