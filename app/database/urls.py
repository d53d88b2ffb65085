"""Database URLs: the spellings that are accepted, and which of them trust a network."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from typing import Any

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from ..errors import InvalidValue

_NAME = "DATABASE_URL"
_DRIVERS = {"", "asyncpg", "pg8000", "psycopg", "psycopg2", "psycopg2cffi", "psycopg_async"}
_CONNINFO = re.compile(r"\w+\s*=")
_SEVERAL = re.compile(r"(?P<driver>postgres(?:ql)?(?:\+\w+)?)://(?=(?:[^/?]*@)?[^/?@]*,)")
# asyncpg checks the server's certificate when it is only told to use TLS.
_SSL_MODES = {
    "true": "verify-full",
    "1": "verify-full",
    "false": "disable",
    "0": "disable",
}
_OTHER_DRIVERS_TUNING = [
    "async_fallback",
    "prepared_statement_cache_size",
    "prepared_statement_name_func",
    "statement_cache_size",
]
_SQLALCHEMYS = {"prepare_threshold", "autocommit"}


def normalize_url(url: str | URL) -> URL:
    """One database, whatever driver the URL names: psycopg's URL for it.

    Taken are postgres:// and postgresql:// with any driver of PostgreSQL, several servers separated by
    commas, asyncpg's ``ssl=``, and libpq's own ``host=... dbname=...``. A password among the URL's options
    becomes the URL's own, which is never shown.

    Raises:
        InvalidValue: not a URL, or not one of PostgreSQL; an option that PostgreSQL does not know; or a
            password that cannot be told from what stands behind it.
    """
    parsed = _parsed(url.strip()) if isinstance(url, str) else url
    dialect, _, driver = parsed.drivername.partition("+")
    if dialect not in {"postgres", "postgresql"} or driver not in _DRIVERS:
        raise InvalidValue(_NAME, f"must be a postgresql:// URL, not {parsed.drivername}://")
    password = parsed.query.get("password")
    if password is not None:
        last = password if isinstance(password, str) else password[-1]
        parsed = parsed.difference_update_query(["password"]).set(password=last)
    return _with_libpq_options(parsed).set(drivername="postgresql+psycopg")


def _parsed(url: str) -> URL:
    if url[:1] in {"'", '"'}:
        raise InvalidValue(_NAME, "begins with a quotation mark: it is part of the value")
    if not _CONNINFO.match(url) and _is_ambiguous(url):
        raise InvalidValue(_NAME, 'has an "@" that does not end the password: write it as %40')
    try:
        if _CONNINFO.match(url) or _SEVERAL.match(url):
            return _from_libpq(url)
        return make_url(url)
    except (ArgumentError, ValueError):
        # The text may hold a password, so it is not repeated.
        raise InvalidValue(_NAME, "is not a URL such as postgresql://user@host/database") from None


def _from_libpq(text: str) -> URL:
    """What only libpq itself reads: its key=value form, and URLs of several servers."""
    from psycopg import ProgrammingError  # noqa: PLC0415
    from psycopg.conninfo import conninfo_to_dict  # noqa: PLC0415

    several = _SEVERAL.match(text)
    place, _, query = text.partition("?") if several else (text, "", "")
    try:
        values = conninfo_to_dict(_SEVERAL.sub("postgresql://", place, count=1))
    except ProgrammingError:
        raise ValueError from None
    options = {name: str(value) for name, value in values.items() if value is not None}
    if "port" in options:
        options["port"] = ",".join(port or "5432" for port in options["port"].split(","))
    url = URL.create(
        several["driver"] if several else "postgresql",
        username=options.pop("user", None),
        password=options.pop("password", None),
        database=options.pop("dbname", None),
        query=options,
    )
    return url.update_query_dict(make_url(f"postgresql://?{query}").query)


def _with_libpq_options(url: URL) -> URL:
    """Other drivers' options in libpq's words; what nobody here knows is refused by its name."""
    from psycopg.pq import Conninfo  # noqa: PLC0415

    url = url.difference_update_query(_OTHER_DRIVERS_TUNING)
    ssl = url.query.get("ssl")
    if ssl is not None:
        mode = str(ssl).lower()
        url = url.difference_update_query(["ssl"])
        if "sslmode" not in url.query:
            url = url.update_query_dict({"sslmode": _SSL_MODES.get(mode, mode)})
    options = {option.keyword.decode() for option in Conninfo.get_defaults()}
    if unknown := sorted(url.query.keys() - options - _SQLALCHEMYS):
        names = ", ".join(name for name in unknown if name.isidentifier()) or "with an odd name"
        raise InvalidValue(_NAME, f"has an option that PostgreSQL does not know: {names}")
    return url


def _is_ambiguous(url: str) -> bool:
    """Whether SQLAlchemy would take the end of a password for a host, a database or options, and show it."""
    place, _, options = url.partition("?")
    return place.count("@") > 1 or any("=" not in option for option in options.split("&") if "@" in option)


def require_tls(url: URL, connect_args: Mapping[str, Any] | None = None) -> None:
    """Let no server of another machine be used without proof that it is the right one.

    Sockets and the loopback interface are local. What the URL leaves open, libpq takes from ``PGHOST``,
    ``PGHOSTADDR``, ``PGSERVICE`` and ``PGSSLMODE``; a service may name any server and counts as remote.

    Raises:
        InvalidValue: a remote server without ``sslmode=verify-full``.
    """
    options = {**url.query, **(connect_args or {})}
    mode = options.get("sslmode") or os.environ.get("PGSSLMODE")
    if mode != "verify-full" and _is_remote(url, options):
        raise InvalidValue(
            _NAME,
            "names a server of another machine without sslmode=verify-full; the connection could be read or "
            "answered by somebody else (CRM_ALLOW_INSECURE_TLS=true accepts that)",
        )


def _is_remote(url: URL, options: Mapping[str, Any]) -> bool:
    if options.get("service") or os.environ.get("PGSERVICE"):
        return True
    places = [
        *_listed(options.get("host") or url.host or os.environ.get("PGHOST")),
        *_listed(options.get("hostaddr") or os.environ.get("PGHOSTADDR")),
    ]
    return not all(map(_is_local, places))


def _listed(value: str | Iterable[str] | None) -> list[str]:
    """Several servers are written as one text with commas, or as an option that occurs several times."""
    texts = [value] if isinstance(value, str) else list(value or [])
    return [place.strip() for text in texts for place in text.split(",")]


def _is_local(place: str) -> bool:
    # A folder, or an abstract socket; nothing at all is the default socket.
    if not place or place[0] in "/@":
        return True
    # SQLAlchemy lets hosts be written with a port behind them.
    for host in (place, place.rpartition(":")[0]):
        if host.lower() == "localhost":
            return True
        try:
            if ip_address(host.strip("[]")).is_loopback:
                return True
        except ValueError:
            continue
    return False
