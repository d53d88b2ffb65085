"""Database URLs: the spellings that are accepted, and which of them trust a network."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from typing import Any

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from .errors import InvalidValue


def normalize_url(url: str | URL) -> URL:
    """postgres://, postgresql:// and postgresql+psycopg:// are one; anything else is refused.

    A password among the URL's options becomes the URL's own, which is never shown.

    Raises:
        InvalidValue: not a URL, or not one of PostgreSQL through psycopg; or one whose password cannot be
            told from what stands behind it.
    """
    if isinstance(url, str) and _is_ambiguous(url):
        raise InvalidValue("DATABASE_URL", 'has an "@" that does not end the password: write it as %40')
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        # The text may hold a password, so it is not repeated.
        raise InvalidValue("DATABASE_URL", "is not a URL such as postgresql://user@host/database") from None
    if parsed.drivername not in {"postgres", "postgresql", "postgresql+psycopg"}:
        raise InvalidValue("DATABASE_URL", f"must be a postgresql:// URL, not {parsed.drivername}://")
    password = parsed.query.get("password")
    if password is not None:
        last = password if isinstance(password, str) else password[-1]
        parsed = parsed.difference_update_query(["password"]).set(password=last)
    return parsed.set(drivername="postgresql+psycopg")


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
            "DATABASE_URL",
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
    for host in (
        place,
        place.rpartition(":")[0],
    ):  # with a port behind it, as SQLAlchemy lets hosts be written
        if host.lower() == "localhost":
            return True
        try:
            if ip_address(host.strip("[]")).is_loopback:
                return True
        except ValueError:
            continue
    return False
