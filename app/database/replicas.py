"""One primary and its replicas: writes go to the one, reads to any of the others that is fresh enough."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import URL, Engine
from sqlalchemy.orm import Session, sessionmaker

from ..errors import InvalidValue
from .engines import make_async_engine, make_engine, make_session_factory
from .routing import Routing, Rules, sleep_async
from .urls import normalize_url

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker

E = TypeVar("E")
_CONNECT_TIMEOUT = "3"


class Engines:
    """Engines on one primary and its replicas. Thread-safe; made once per process by ``make_engines``."""

    primary: Engine
    """Writes: to whichever of all servers takes them."""
    replicas: tuple[Engine, ...]
    """One for each that was named; each connects only while its server is a standby."""
    sessions: sessionmaker[Session]
    """For writing: ``transaction(engines.sessions, work)``."""

    def __init__(self, primary: Engine, reader: Engine, replicas: Sequence[Engine], rules: Rules) -> None:
        self.primary = primary
        self.replicas = tuple(replicas)
        self.sessions = make_session_factory(primary)
        self._reader = reader
        self._routing = Routing(reader, replicas, rules)

    @contextmanager
    def read_session(self, *, at_least: str | None = None) -> Iterator[Session]:
        """A session that only reads, on a replica if one is fresh enough, else on the primary.

        The server has just answered: one flight, which also tells how far it is. With ``at_least``, a
        ``write_position()``, whatever was committed before that is seen: replicas that have not come so far
        are waited for briefly. Writing is refused wherever the session is. Each statement sees the newest
        state (behind a pooler the whole session is one transaction that only reads). The session stays on
        its server; if that is lost meanwhile, the next ``read_session()`` is on another.

        While the primary cannot be reached, a replica that lags is better than nothing and is taken; never
        one that has not reached ``at_least``.

        Raises:
            InvalidValue: ``at_least`` is not a position.
            DatabaseUnavailable: no server can be used.
        """
        with Session(expire_on_commit=False) as session:
            self._routing.bind(session, at_least, time.sleep)
            yield session

    def write_position(self) -> str:
        """Up to where the primary has written, as text: ask after the commit that is to be seen.

        Good for one cluster; keep it with the user's session, or hand it on.

        Raises:
            DatabaseUnavailable: the primary cannot be reached.
        """
        with Session() as session:
            return self._routing.write_position(session)

    def dispose(self) -> None:
        """Close all connections that are not in use."""
        for engine in (self.primary, self._reader, *self.replicas):
            engine.dispose()


class AsyncEngines:
    """The same for asyncio; made by ``make_async_engines``."""

    primary: AsyncEngine
    replicas: tuple[AsyncEngine, ...]
    sessions: async_sessionmaker[AsyncSession]

    def __init__(
        self, primary: AsyncEngine, reader: AsyncEngine, replicas: Sequence[AsyncEngine], rules: Rules
    ) -> None:
        from sqlalchemy.ext.asyncio import async_sessionmaker  # noqa: PLC0415 - optional extra

        self.primary = primary
        self.replicas = tuple(replicas)
        self.sessions = async_sessionmaker(primary, expire_on_commit=False)
        self._reader = reader
        self._routing = Routing(reader.sync_engine, [engine.sync_engine for engine in replicas], rules)

    @asynccontextmanager
    async def read_session(self, *, at_least: str | None = None) -> AsyncIterator[AsyncSession]:
        """As ``Engines.read_session``; services run in it by ``session.run_sync(service, ...)``."""
        from sqlalchemy.ext.asyncio import AsyncSession  # noqa: PLC0415 - optional extra

        async with AsyncSession(expire_on_commit=False) as session:
            await session.run_sync(self._routing.bind, at_least, sleep_async)
            yield session

    async def write_position(self) -> str:
        """As ``Engines.write_position``."""
        from sqlalchemy.ext.asyncio import AsyncSession  # noqa: PLC0415 - optional extra

        async with AsyncSession() as session:
            return await session.run_sync(self._routing.write_position)

    async def dispose(self) -> None:
        """Close all connections that are not in use."""
        for engine in (self.primary, self._reader, *self.replicas):
            await engine.dispose()


def make_engines(
    primary: str | URL,
    replicas: Sequence[str | URL],
    *,
    max_lag: float = 10.0,
    wait: float = 0.5,
    retry_after: float = 5.0,
    **options: Any,
) -> Engines:
    """Engines for a primary and the replicas that follow it by streaming replication.

    Roles belong to servers as they are, not as they are listed: writes go to whichever of all of them takes
    writes (libpq's ``target_session_attrs=read-write``), reads to those of ``replicas`` that are standbys
    (``standby``). So a replica that is promoted is written to, with the user, the database and the options of
    ``primary``; and a primary that is also listed among the replicas is read from once it follows another.

    ``max_lag``: seconds behind the primary after which a replica is left out. ``wait``: seconds that
    ``read_session(at_least=...)`` waits for a replica. ``retry_after``: seconds after which one that was
    lost or lagged is asked again, by one caller. ``options`` are those of ``make_engine``, for each of the
    two engines on the primary and the one on each replica; a server that does not answer to a connection is
    given up after 3 seconds unless ``connect_timeout`` says otherwise.

    Raises:
        InvalidValue: as ``make_engine``; a server that is named by a service or ``hostaddr``, which cannot
            be listed beside others; or a time that is none.
    """
    rules = Rules(max_lag, wait, retry_after)
    return Engines(*_build(make_engine, primary, replicas, options), rules)


def make_async_engines(
    primary: str | URL,
    replicas: Sequence[str | URL],
    *,
    max_lag: float = 10.0,
    wait: float = 0.5,
    retry_after: float = 5.0,
    **options: Any,
) -> AsyncEngines:
    """The same for asyncio; needs the extra ``async``."""
    rules = Rules(max_lag, wait, retry_after)
    return AsyncEngines(*_build(make_async_engine, primary, replicas, options), rules)


def _build(
    make: Callable[..., E], primary: str | URL, replicas: Sequence[str | URL], options: Mapping[str, Any]
) -> tuple[E, E, list[E]]:
    """The engine that writes, the one that reads on the primary, and one for each replica."""
    writing, reading, following = _addresses(primary, replicas)
    if options.get("pooler"):
        # Which passes on no settings of a session: each transaction says that it only reads.
        only_reads: dict[str, Any] = {
            "execution_options": {**options.get("execution_options", {}), "postgresql_readonly": True}
        }
    else:
        only_reads = {"read_only": True}
    reader_options = {**options, **only_reads}
    return (
        make(writing, **options),
        make(reading, **reader_options),
        [make(url, **reader_options) for url in following],
    )


def _addresses(primary: str | URL, replicas: Sequence[str | URL]) -> tuple[URL, URL, list[URL]]:
    """Where to write, where to read on the primary, and the replicas."""
    if isinstance(replicas, str | URL):
        raise InvalidValue("replicas", "is one URL: give a list of them")
    first, *others = (
        url
        if "connect_timeout" in url.query
        else url.update_query_dict({"connect_timeout": _CONNECT_TIMEOUT})
        for url in map(normalize_url, (primary, *replicas))
    )
    servers = list(dict.fromkeys(server for url in (first, *others) for server in _servers(url)))
    everywhere = _at(first, servers)
    return (
        everywhere.update_query_dict({"target_session_attrs": "read-write"}),
        # "read-write" would refuse a session that is set to read only.
        everywhere.update_query_dict({"target_session_attrs": "primary"}),
        [url.update_query_dict({"target_session_attrs": "standby"}) for url in others],
    )


def _servers(url: URL) -> list[tuple[str, str]]:
    """Hosts and ports that the URL names, in any of its forms; empty ones are libpq's defaults."""
    if {"service", "hostaddr"} & url.query.keys():
        raise InvalidValue("replicas", "must be named by host and port, and so must the primary")
    (_, facts) = url.get_dialect()().create_connect_args(url)
    hosts = str(facts.get("host") or "").split(",")
    ports = str(facts.get("port") or "").split(",")
    return list(zip(hosts, ports * len(hosts) if len(ports) == 1 else ports, strict=True))


def _at(url: URL, servers: Sequence[tuple[str, str]]) -> URL:
    """The same database at any of these servers."""
    url = url.set(host=None, port=None).difference_update_query(["host", "port"])
    hosts, ports = (",".join(values) for values in zip(*servers, strict=True))
    query = {"host": hosts, "port": ports}
    return url.update_query_dict({name: value for name, value in query.items() if value.strip(",")})
