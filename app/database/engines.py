"""Engines and sessions."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from sqlalchemy import URL, Engine, create_engine, event
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.orm import Session, sessionmaker

from ..errors import InvalidValue
from .cursors import AsynchronousCursor, SyncCursor
from .urls import normalize_url, require_tls

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker

IDLE = 5.0
"""Seconds after which a pooled connection is asked whether it still answers, before it is used again."""

# A server that is gone without a word is noticed within a minute; sockets of this machine ignore most of it.
_CONNECT_ARGS = {
    "application_name": "crm",
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}
# What a role or a database may have set otherwise, and the driver cannot read or write then.
_SESSION = {
    "client_encoding": ("UTF8", "UTF8"),
    "DateStyle": ("ISO", "ISO, MDY"),
    "IntervalStyle": ("postgres", "postgres"),
    "standard_conforming_strings": ("on", "on"),
}
"""Setting -> how its value begins where it is right, and what it is set to."""
_engines: WeakSet[Engine] = WeakSet()


def make_engine(
    url: str | URL,
    *,
    statement_timeout: float | None = None,
    read_only: bool = False,
    pooler: bool = False,
    allow_insecure_tls: bool = False,
    **options: Any,
) -> Engine:
    """An engine whose pool checks connections that were idle, and whose errors hide bound values.

    A connection that was used within the last seconds is used again without a check, which would cost a
    flight each time; ``transaction`` runs again what one that broke meanwhile lost. Encoding, dates and
    intervals are those that the driver can read, whatever the role's own settings are. A process that is
    forked (by a server that loads the application first, by ``multiprocessing``) begins with an empty pool:
    the connections there are its parent's.

    ``statement_timeout``: seconds after which the server ends a statement. ``read_only``: every statement is
    a transaction of its own, one flight instead of three, and the server refuses to write. ``pooler``: for
    PgBouncer in transaction mode; nothing is prepared. ``options`` are those of ``create_engine``.

    Raises:
        InvalidValue: not a URL of PostgreSQL; a server of another machine without ``sslmode=verify-full``
            and without ``allow_insecure_tls``; or what a pooler would not pass on.
    """
    address, engine_options = _options(
        url,
        options,
        statement_timeout=statement_timeout,
        read_only=read_only,
        pooler=pooler,
        allow_insecure_tls=allow_insecure_tls,
    )
    engine_options["connect_args"].setdefault("cursor_factory", SyncCursor)
    engine = create_engine(address, **engine_options)
    _prepare(engine)
    return engine


def make_async_engine(
    url: str | URL,
    *,
    statement_timeout: float | None = None,
    read_only: bool = False,
    pooler: bool = False,
    allow_insecure_tls: bool = False,
    **options: Any,
) -> AsyncEngine:
    """The same for asyncio; needs the extra ``async``."""
    from sqlalchemy.ext.asyncio import create_async_engine  # noqa: PLC0415 - optional extra

    address, engine_options = _options(
        url,
        options,
        statement_timeout=statement_timeout,
        read_only=read_only,
        pooler=pooler,
        allow_insecure_tls=allow_insecure_tls,
    )
    engine_options["connect_args"].setdefault("cursor_factory", AsynchronousCursor)
    engine = create_async_engine(address, **engine_options)
    _prepare(engine.sync_engine)
    return engine


def make_session_factory(engine: Engine) -> sessionmaker[Session]:
    """Sessions whose objects stay readable after the commit."""
    return sessionmaker(engine, expire_on_commit=False)


def make_async_session_factory(engine: AsyncEngine) -> async_sessionmaker[AsyncSession]:
    """The same for asyncio, for ``transaction_async``; needs the extra ``async``."""
    from sqlalchemy.ext.asyncio import async_sessionmaker  # noqa: PLC0415 - optional extra

    return async_sessionmaker(engine, expire_on_commit=False)


def _options(
    url: str | URL,
    options: Mapping[str, Any],
    *,
    statement_timeout: float | None,
    read_only: bool,
    pooler: bool,
    allow_insecure_tls: bool,
) -> tuple[URL, dict[str, Any]]:
    """The URL and the arguments of ``create_engine``."""
    address = normalize_url(url)
    callers_args: Mapping[str, Any] = options.get("connect_args", {})
    if not allow_insecure_tls:
        require_tls(address, callers_args)
    connect_args = {name: value for name, value in _CONNECT_ARGS.items() if name not in address.query}
    if "sslpassword" in address.query:
        # Where the URL is shown, only its password is hidden.
        connect_args["sslpassword"] = address.query["sslpassword"]
        address = address.difference_update_query(["sslpassword"])
    connect_args |= callers_args
    startup = [str(callers_args.get("options") or address.query.get("options") or "")]
    if statement_timeout is not None:
        # Rounded up: 0 would be without limit.
        startup.append(f"-c statement_timeout={math.ceil(statement_timeout * 1000)}")
    if read_only:
        startup.append("-c default_transaction_read_only=on")
    if any(startup):
        if pooler:
            raise InvalidValue(
                "pooler", "does not pass on settings of a session; give them to the role: ALTER ROLE ... SET"
            )
        connect_args["options"] = " ".join(filter(None, startup))
    if pooler:
        connect_args.setdefault("prepare_threshold", None)
    defaults: dict[str, Any] = {
        "pool_recycle": 1800,
        "hide_parameters": True,
        # PostgreSQL's jsonb has no NaN: refuse it here, where the error is plain.
        "json_serializer": partial(json.dumps, allow_nan=False, ensure_ascii=False),
    }
    if "poolclass" not in options:
        defaults["pool_timeout"] = 10
    if read_only:
        defaults["isolation_level"] = "AUTOCOMMIT"
    return address, {**defaults, **options, "connect_args": connect_args}


def _prepare(engine: Engine) -> None:
    """Let the pool set what a new connection needs, and check what was idle."""
    # Before the dialect asks for the server's version, which it could not read in another encoding.
    event.listen(engine, "connect", _set_session, insert=True)
    event.listen(engine, "checkin", _note_return)
    event.listen(engine, "checkout", partial(_check_idle, engine))
    _engines.add(engine)


def _leave_to_parent() -> None:
    """In a forked child: two processes on one connection read each other's answers."""
    for engine in _engines:
        engine.dispose(close=False)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_to_parent)


def _set_session(dbapi_connection: Any, _record: Any) -> None:
    # The server has told these values while connecting: to look at them costs no flight.
    driver = getattr(dbapi_connection, "driver_connection", dbapi_connection)
    reported = {name: driver.pgconn.parameter_status(name.encode()) or b"" for name in _SESSION}
    wrong = [name for name, (good, _) in _SESSION.items() if not reported[name].decode().startswith(good)]
    if wrong:
        cursor = dbapi_connection.cursor()
        for name in wrong:
            cursor.execute(f"SET {name} TO {_SESSION[name][1]}")
        cursor.close()
        dbapi_connection.commit()


def _note_return(_dbapi_connection: Any, record: Any) -> None:
    record.info["crm_returned"] = time.monotonic()


def _check_idle(engine: Engine, dbapi_connection: Any, record: Any, _proxy: Any) -> None:
    returned = record.info.get("crm_returned")
    if returned is None or time.monotonic() - returned < IDLE:
        return
    try:
        engine.dialect.do_ping(dbapi_connection)
    except engine.dialect.loaded_dbapi.Error:
        # The others are as old, and the pool makes new ones.
        raise InvalidatePoolError from None
