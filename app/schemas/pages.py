"""Keyset pages: stable under inserts, and as fast on the last page as on the first."""

from __future__ import annotations

import hashlib
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as NotBase64
from datetime import UTC, datetime, timedelta
from typing import Generic, NamedTuple, TypeVar
from uuid import UUID

from pydantic import field_serializer, field_validator

from .base import Schema

T = TypeVar("T")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PLACE = struct.Struct(">q16s")
_CHECK = 8


class Cursor(NamedTuple):
    """The position of a row in ``(created_at, id)`` order."""

    created_at: datetime
    id: UUID

    def token(self) -> str:
        """The same as a text for URLs. It is no secret and no permission: it says where a page begins."""
        microseconds = (self.created_at - _EPOCH) // timedelta(microseconds=1)
        place = _PLACE.pack(microseconds, self.id.bytes)
        return urlsafe_b64encode(place + _checksum(place)).decode().rstrip("=")

    @classmethod
    def of_token(cls, token: str) -> Cursor:
        """The cursor of a token.

        Raises:
            ValueError: it is none, or somebody has changed a character of it.
        """
        try:
            packed = urlsafe_b64decode(f"{token}==")
            place = packed[:-_CHECK]
            microseconds, id_ = _PLACE.unpack(place)
            cursor = cls(_EPOCH + timedelta(microseconds=microseconds), UUID(bytes=id_))
        except (NotBase64, struct.error, OverflowError):
            raise ValueError("no token of a page") from None
        # The last character has bits that are not read: only the spelling that was given out counts.
        if packed[-_CHECK:] != _checksum(place) or cursor.token() != token:
            raise ValueError("no token of a page")
        return cursor


def _checksum(place: bytes) -> bytes:
    return hashlib.sha256(b"crm page" + place).digest()[:_CHECK]


class Page(Schema, Generic[T]):
    """``items`` in the list's order; ``next`` is the cursor of the following page, None on the last one.

    In JSON ``next`` is its token, which every list takes as ``before``.
    """

    items: tuple[T, ...]
    next: Cursor | None = None

    def token(self) -> str | None:
        """``next`` as a text for URLs; every list takes it as ``before``. None on the last page."""
        return None if self.next is None else self.next.token()

    @field_serializer("next", when_used="json")
    def _as_token(self, _next: Cursor | None) -> str | None:
        return self.token()

    @field_validator("next", mode="before")
    @classmethod
    def _of_token(cls, value: object) -> object:
        return Cursor.of_token(value) if isinstance(value, str) else value
