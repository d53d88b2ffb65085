"""The declarative base, and the column shapes that several tables share."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, ClassVar, cast
from uuid import UUID

from sqlalchemy import (
    CheckConstraint,
    ColumnClause,
    DateTime,
    Dialect,
    Double,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    Uuid,
    func,
    literal_column,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.mutable import MutableDict
from sqlalchemy.orm import DeclarativeBase, MappedColumn, mapped_column

# PostgreSQL's own default names: a database made with the raw DDL has the same catalogue as a migrated one.
NAMING_CONVENTION = {
    "pk": "%(table_name)s_pkey",
    "uq": "%(table_name)s_%(column_0_N_name)s_key",
    "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
    "ck": "%(table_name)s_%(constraint_name)s_check",
}


def uuid7() -> UUID:
    """A UUID version 7 whose order is the order of creation, down to a quarter of a microsecond.

    48 bits of Unix milliseconds, 12 bits of their fraction, 62 random bits (RFC 9562, section 6.2, method 3).
    """
    milliseconds, nanoseconds = divmod(time.time_ns(), 1_000_000)
    fraction = (nanoseconds << 12) // 1_000_000
    random = int.from_bytes(os.urandom(8)) >> 2
    return UUID(int=milliseconds << 80 | 0x7 << 76 | fraction << 64 | 0x2 << 62 | random)


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention=NAMING_CONVENTION)
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        datetime: DateTime(timezone=True),
        float: Double(),
        str: Text(),
        UUID: Uuid(),
    }
    __mapper_args__ = {"eager_defaults": True}  # noqa: RUF012 - SQLAlchemy's own name and type

    def __repr__(self) -> str:
        """Class and id only: safe on a detached row and free of personal data."""
        return f"<{type(self).__name__} {self.__dict__.get('id')}>"


UUIDPrimaryKey = Annotated[
    UUID, mapped_column(primary_key=True, default=uuid7, server_default=text("gen_random_uuid()"))
]
"""The ORM sends a UUIDv7; a raw INSERT gets the database's random one."""

CreatedAt = Annotated[datetime | None, mapped_column(server_default=func.now())]
UpdatedAt = Annotated[datetime | None, mapped_column(server_default=func.now(), server_onupdate=func.now())]
"""Set by a trigger on every UPDATE, whoever sends it."""


def table_of(model: type[Base]) -> Table:
    """The model's table, for statements that return rows: cheaper by its columns than by attributes."""
    return cast("Table", model.__table__)


def metadata_column() -> MappedColumn[dict[str, Any] | None]:
    """The column ``metadata``, for the attribute ``extra``: the name ``metadata`` is SQLAlchemy's own."""
    return mapped_column(
        "metadata", MutableDict.as_mutable(JSONB(none_as_null=True)), server_default=text("'{}'")
    )


class Code(TypeDecorator[str]):
    """A varchar that holds one of an enum's values and reads back as its member.

    The database may allow a code that this version does not know, while a newer one is being rolled out: it
    is read as text, and writing it is refused.
    """

    impl = String
    cache_ok = True

    def __init__(self, enum: type[StrEnum], length: int) -> None:
        super().__init__(length)
        self.enum, self.length = enum, length
        self._members = {member.value: member for member in enum}

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        if value is None:
            return None
        if value not in self._members:
            raise LookupError(f"the code is none of {', '.join(self.enum)}")
        return str(value)

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], Any]:  # noqa: ARG002
        find = self._members.get
        return lambda value: find(value, value)


def code(enum: type[StrEnum], length: int) -> Code:
    """The type of a column of codes."""
    return Code(enum, length)


def code_check(column: str, values: Iterable[str], *, nullable: bool = False) -> CheckConstraint:
    """The DDL's CHECK that a varchar column holds one of a few codes."""
    listed = ", ".join(f"'{value}'" for value in values)
    rule = f"{column} IN ({listed})"
    return CheckConstraint(f"{column} IS NULL OR {rule}" if nullable else rule, name=column)


def words_of(expression: str) -> ColumnClause[Any]:
    """What the index of a text's words holds; a tsvector has a limit, so those of its beginning.

    ``expression`` in PostgreSQL's own parentheses: Alembic compares the two.
    """
    return literal_column(f"text_words(left({expression}, 50000))")
