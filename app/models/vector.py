"""Column types for pgvector's vectors that travel in binary, both ways.

pgvector's own types send and parse text, which takes several times as long as the search itself. Here a bound
value is pgvector's binary format, whose type the server takes from the cast around it, and a selected column
is wrapped in its send function, whose bytea the driver hands over as it is.
"""

from __future__ import annotations

import struct
import sys
from abc import abstractmethod
from array import array
from collections.abc import Callable, Sequence, Set
from functools import cache
from typing import Any

from pgvector.sqlalchemy import HALFVEC, VECTOR
from sqlalchemy import ColumnElement, Dialect, event, func
from sqlalchemy.pool import ConnectionPoolEntry, Pool

from ..embeddings import DIMENSIONS

EMBEDDING_DIMENSIONS = DIMENSIONS
"""The width of every column of vectors, which is that of what ``embeddings`` prepares."""

_HEADER = struct.Struct("!HH")  # dimensions, and two bytes that are always zero


class _Binary:
    """A vector as pgvector receives it."""

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data

    def __repr__(self) -> str:
        return f"<vector of {len(self.data)} bytes>"


@event.listens_for(Pool, "checkout")
def _teach_psycopg(connection: Any, record: ConnectionPoolEntry, _: object) -> None:
    """Let a connection, of whatever engine, send ``_Binary``: also one that is older than this module."""
    if _Binary not in record.info and hasattr(connection, "adapters"):
        connection.adapters.register_dumper(_Binary, _binary_dumper())
        record.info[_Binary] = True


@cache
def _binary_dumper() -> type:
    from psycopg.adapt import Dumper  # noqa: PLC0415 - imported only once there is a connection
    from psycopg.pq import Format  # noqa: PLC0415

    class BinaryDumper(Dumper):
        format = Format.BINARY
        oid = 0  # the extension's type has no fixed number: the server infers it

        def dump(self, obj: _Binary) -> bytes:
            return obj.data

    return BinaryDumper


class _BinaryVector:
    """What both types share; mixed into pgvector's own, which keep the operators."""

    render_bind_cast = True
    send_function: str

    def bind_processor(self, dialect: Dialect) -> Callable[[Any], Any]:
        if dialect.driver not in ("psycopg", "psycopg_async"):
            inherited: Callable[[Any], Any] = super().bind_processor(dialect)  # type: ignore[misc]
            return inherited
        return self._sent

    def _sent(self, value: Any) -> _Binary | None:
        if value is None:
            return None
        if isinstance(value, bytes | bytearray | Set):
            # Numbers can be read out of them, too.
            raise TypeError(f"a vector is a sequence of numbers, not {type(value).__name__}")
        return _Binary(_HEADER.pack(len(value), 0) + self.pack(value))

    def column_expression(self, column: ColumnElement[Any]) -> ColumnElement[Any]:
        return getattr(func, self.send_function)(column, type_=self)  # type: ignore[no-any-return]

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], list[float] | None]:  # noqa: ARG002
        return lambda data: None if data is None else self.unpack(bytes(data)[_HEADER.size :])

    @abstractmethod
    def pack(self, values: Sequence[float]) -> bytes:
        """The numbers as pgvector receives them."""

    @abstractmethod
    def unpack(self, data: bytes) -> list[float]:
        """The numbers that pgvector has sent."""


class Vector(_BinaryVector, VECTOR):
    """``vector(n)``: 32-bit floats. Python sees a list of floats."""

    cache_ok = True
    send_function = "vector_send"

    def pack(self, values: Sequence[float]) -> bytes:
        return _swapped(array("f", values)).tobytes()

    def unpack(self, data: bytes) -> list[float]:
        return _swapped(array("f", data)).tolist()


class HalfVector(_BinaryVector, HALFVEC):
    """``halfvec(n)``: 16-bit floats, half the size; for neighbours that is enough. Python sees floats."""

    cache_ok = True
    send_function = "halfvec_send"

    def pack(self, values: Sequence[float]) -> bytes:
        return struct.pack(f"!{len(values)}e", *values)

    def unpack(self, data: bytes) -> list[float]:
        return list(struct.unpack(f"!{len(data) // 2}e", data))


def _swapped(values: array[float]) -> array[float]:
    """In the byte order of the network."""
    if sys.byteorder == "little":
        values.byteswap()
    return values
