"""Engines, sessions, and the one place that commits."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import URL, Engine, create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, sessionmaker
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from ._urls import normalize_url, require_tls
from .errors import ConcurrentChange, InvalidValue, from_database
from .health import Health, probe

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

__all__ = [
    "RETRYABLE",
    "Health",
    "is_retryable",
    "make_async_engine",
    "make_engine",
    "make_session_factory",
    "normalize_url",
    "probe",
    "require_tls",
    "transaction",
]

T = TypeVar("T")

RETRYABLE = frozenset({"40001", "40P01", "55P03"})
"""SQLSTATEs after which the same transaction may succeed: serialization, deadlock, lock not available."""

# A server that is gone without a word is noticed within a minute; sockets of this machine ignore most of it.
_CONNECT_ARGS = {
    "application_name": "crm",
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}


def make_engine(
    url: str | URL,
    *,
    statement_timeout: float | None = None,
    read_only: bool = False,
    pooler: bool = False,
    allow_insecure_tls: bool = False,
    **options: Any,
) -> Engine:
    """An engine whose pool checks connections before use and whose errors hide bound values.

    ``statement_timeout``: seconds after which the server ends a statement. ``read_only``: every statement is
    a transaction of its own, one flight instead of three, and the server refuses to write. ``pooler``: for
    PgBouncer in transaction mode; nothing is prepared. ``options`` are those of ``create_engine``.

    Raises:
        InvalidValue: not a URL of PostgreSQL; a server of another machine without ``sslmode=verify-full``
            and without ``allow_insecure_tls``; or what a pooler would not pass on.
    """
    address, chosen = _arguments(
        url,
        statement_timeout=statement_timeout,
        read_only=read_only,
        pooler=pooler,
        allow_insecure_tls=allow_insecure_tls,
        **options,
    )
    return create_engine(address, **chosen)


def make_async_engine(url: str | URL, **options: Any) -> AsyncEngine:
    """The same for asyncio, with the same arguments; needs the extra ``async``."""
    from sqlalchemy.ext.asyncio import create_async_engine  # noqa: PLC0415 - optional extra

    address, chosen = _arguments(url, **options)
    return create_async_engine(address, **chosen)


def _arguments(
    url: str | URL,
    *,
    statement_timeout: float | None = None,
    read_only: bool = False,
    pooler: bool = False,
    allow_insecure_tls: bool = False,
    **options: Any,
) -> tuple[URL, dict[str, Any]]:
    address = normalize_url(url)
    given = options.get("connect_args", {})
    if not allow_insecure_tls:
        require_tls(address, given)
    connect_args = {name: value for name, value in _CONNECT_ARGS.items() if name not in address.query}
    if "sslpassword" in address.query:
        # Where the URL is shown, only its password is hidden.
        connect_args["sslpassword"] = address.query["sslpassword"]
        address = address.difference_update_query(["sslpassword"])
    connect_args |= given
    settings = [str(given.get("options") or address.query.get("options") or "")]
    if statement_timeout is not None:
        # Rounded up: 0 would be without limit.
        settings.append(f"-c statement_timeout={math.ceil(statement_timeout * 1000)}")
    if read_only:
        settings.append("-c default_transaction_read_only=on")
    if any(settings):
        if pooler:
            raise InvalidValue(
                "pooler", "does not pass on settings of a session; give them to the role: ALTER ROLE ... SET"
            )
        connect_args["options"] = " ".join(filter(None, settings))
    if pooler:
        connect_args.setdefault("prepare_threshold", None)
    chosen: dict[str, Any] = {
        "pool_pre_ping": True,
        "pool_recycle": 1800,
        "hide_parameters": True,
        # PostgreSQL's jsonb has no NaN: refuse it here, where the error is plain.
        "json_serializer": partial(json.dumps, allow_nan=False, ensure_ascii=False),
    }
    if "poolclass" not in options:
        chosen["pool_timeout"] = 10
    if read_only:
        chosen["isolation_level"] = "AUTOCOMMIT"
    return address, (chosen | options | {"connect_args": connect_args})


def make_session_factory(engine: Engine) -> sessionmaker[Session]:
    """Sessions whose objects stay readable after the commit."""
    return sessionmaker(engine, expire_on_commit=False)


def transaction(
    sessions: sessionmaker[Session],
    work: Callable[..., T],
    /,
    *args: Any,
    retries: int = 3,
    **kwargs: Any,
) -> T:
    """Run ``work(session, ...)`` in a transaction of its own and commit it.

    After a deadlock, a serialization failure or a lock timeout the whole of ``work`` runs again in a new
    transaction, ``retries`` times at most, with growing random pauses; so it does after a connection that was
    lost before the commit, since the server has then rolled back. So ``work`` must have no effects outside
    the database. Any other error rolls back and is raised; a refusal by one of the database's rules as the
    typed error that it means. A connection that is lost during the commit is not retried: whether it took
    effect is unknown.
    """
    committing = False

    def may_run_again(error: BaseException) -> bool:
        return is_retryable(error) or (not committing and _is_lost(error))

    retrying = Retrying(
        stop=stop_after_attempt(retries + 1),
        wait=wait_random_exponential(multiplier=0.02, max=1),
        retry=retry_if_exception(may_run_again),
        reraise=True,
    )

    def once() -> T:
        nonlocal committing
        committing = False
        with sessions.begin() as session:
            result = work(session, *args, **kwargs)
            session.flush()
            committing = True
        return result

    try:
        return retrying(once)
    except DBAPIError as error:
        typed = from_database(error)
        if typed is None:
            raise
        # Not chained: the database's text repeats the refused row.
        raise typed from None


def is_retryable(error: BaseException) -> bool:
    """Whether the same transaction may succeed when it is run again."""
    if isinstance(error, ConcurrentChange):
        return True
    return isinstance(error, DBAPIError) and getattr(error.orig, "sqlstate", None) in RETRYABLE


def _is_lost(error: BaseException) -> bool:
    return isinstance(error, DBAPIError) and error.connection_invalidated
