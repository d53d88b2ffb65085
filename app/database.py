"""Engines, sessions, and the one place that commits."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import URL, Engine, create_engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.orm import Session, sessionmaker
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from .errors import ConcurrentChange, InvalidValue, from_database

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

T = TypeVar("T")

RETRYABLE = frozenset({"40001", "40P01", "55P03"})
"""SQLSTATEs after which the same transaction may succeed: serialization, deadlock, lock not available."""


def normalize_url(url: str | URL) -> URL:
    """postgres://, postgresql:// and postgresql+psycopg:// are one; anything else is refused.

    Raises:
        InvalidValue: not a URL, or not one of PostgreSQL through psycopg.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        # The text may hold a password, so it is not repeated.
        raise InvalidValue("DATABASE_URL", "is not a URL such as postgresql://user@host/database") from None
    if parsed.drivername not in {"postgres", "postgresql", "postgresql+psycopg"}:
        raise InvalidValue("DATABASE_URL", f"must be a postgresql:// URL, not {parsed.drivername}://")
    return parsed.set(drivername="postgresql+psycopg")


def make_engine(url: str | URL, **options: Any) -> Engine:
    """An engine whose pool checks connections before use and whose errors hide bound values."""
    return create_engine(normalize_url(url), **_engine_options(options))


def make_async_engine(url: str | URL, **options: Any) -> AsyncEngine:
    """The same for asyncio; needs the extra ``async``."""
    from sqlalchemy.ext.asyncio import create_async_engine  # noqa: PLC0415 - optional extra

    return create_async_engine(normalize_url(url), **_engine_options(options))


def _engine_options(options: dict[str, Any]) -> dict[str, Any]:
    connect_args = {"application_name": "crm"} | options.pop("connect_args", {})
    return {
        "pool_pre_ping": True,
        "hide_parameters": True,
        # PostgreSQL's jsonb has no NaN: refuse it here, where the error is plain.
        "json_serializer": partial(json.dumps, allow_nan=False, ensure_ascii=False),
    } | options | {"connect_args": connect_args}  # fmt: skip


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
    transaction, ``retries`` times at most, with growing random pauses. So ``work`` must have no effects
    outside the database. Any other error rolls back and is raised; a refusal by one of the database's rules
    as the typed error that it means. A connection that is lost during the commit is not retried: whether it
    took effect is unknown.
    """
    retrying = Retrying(
        stop=stop_after_attempt(retries + 1),
        wait=wait_random_exponential(multiplier=0.02, max=1),
        retry=retry_if_exception(is_retryable),
        reraise=True,
    )

    def once() -> T:
        with sessions.begin() as session:
            return work(session, *args, **kwargs)

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
