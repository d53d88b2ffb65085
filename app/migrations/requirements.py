"""What a connection must be before anything is changed through it."""

from __future__ import annotations

from contextlib import suppress

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from ..errors import MigrationError

_BACKEND = text("SELECT pg_backend_pid()")


def require_public(connection: Connection) -> None:
    """Refuse to look at, or to fill, another schema than the one that the functions' search_path names.

    Raises:
        MigrationError: what the connection creates would not come into the schema public.
    """
    schema = connection.scalar(text("SELECT current_schema()"))
    if schema != "public":
        raise MigrationError(
            f"this connection works in the schema {schema or 'that does not exist'}, and the tables belong "
            "into public: see the search_path of the user and of the database"
        )


def require_utf8(connection: Connection) -> None:
    """Refuse a database that cannot hold what people write.

    Raises:
        MigrationError: its encoding is not UTF8.
    """
    encoding = connection.scalar(text("SHOW server_encoding"))
    if encoding != "UTF8":
        raise MigrationError(
            f"the database's encoding is {encoding}, which cannot hold every character that people write: "
            "create it with ENCODING 'UTF8' (and TEMPLATE template0)"
        )


def require_session(connection: Connection, to_keep: str = "the migration lock") -> None:
    """Refuse a pooler that lends a server's session for one transaction only.

    The migration lock is a session's: two jobs would both have it, or it would stay when both have gone. So
    are the settings of a build: others would get them.

    Raises:
        MigrationError: the connection goes through a pooler in transaction mode.
    """
    own = connection.scalar(_BACKEND)
    connection.rollback()
    driver = connection.connection.driver_connection
    if driver is None or driver.pgconn.backend_pid == own:
        return
    # Somebody stands between. In transaction mode others get this session as soon as it is at rest.
    # A pooler in session mode that has no other session to give lets them wait, and in the end refuses.
    others = None
    with suppress(DBAPIError), connection.engine.connect() as other:
        others = other.scalar(_BACKEND)
    again = connection.scalar(_BACKEND)
    connection.rollback()
    if others == own or again != own:
        raise MigrationError(
            f"this connection goes through a pooler in transaction mode, which cannot keep {to_keep}: "
            "connect to the server itself, or to a pooler in session mode"
        )
