"""Rows into a table by binary COPY, in the session's transaction."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from ...errors import ConcurrentChange

_dumps = partial(json.dumps, allow_nan=False, ensure_ascii=False)
# Somebody stored the same in between, or took away what it points to: the next look tells.
_OVERTAKEN = (psycopg.errors.UniqueViolation, psycopg.errors.ForeignKeyViolation)


def jsonb(value: Any) -> Jsonb:
    return Jsonb(value, dumps=_dumps)


def copy(session: Session, table: str, types: Mapping[str, str], rows: Iterable[Sequence[Any]]) -> None:
    """Write rows of these columns; the others get their defaults, and the triggers run as ever.

    Raises:
        ConcurrentChange: a row is there by now, or what it points to is not any more.
    """
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(
        sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, types))
    )
    driver = session.connection().connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    try:
        with driver.cursor() as cursor, cursor.copy(statement) as writing:
            writing.set_types(list(types.values()))
            for row in rows:
                writing.write_row(row)
    except _OVERTAKEN:
        # Not chained: the database's text repeats the row.
        raise ConcurrentChange from None
    except psycopg.Error as error:
        raise DBAPIError.instance(
            str(table), None, error, psycopg.Error, connection_invalidated=driver.closed, hide_parameters=True
        ) from None
