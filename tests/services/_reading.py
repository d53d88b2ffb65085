"""How many rows a call reads: of tables and of indexes, by the server's own count."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import text
from sqlalchemy.orm import Session

_READ = text("""
    SELECT sum(pg_stat_get_xact_tuples_returned(oid) + pg_stat_get_xact_tuples_fetched(oid)) FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'i')
""")


def rows_read(session: Session, call: Callable[[], object]) -> int:
    before = session.scalar(_READ) or 0
    call()
    return int((session.scalar(_READ) or 0) - before)
