"""How many rows of tables a call reads, by the server's own count, without dead ones of earlier tests."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import text
from sqlalchemy.orm import Session

_READ = text("SELECT sum(seq_tup_read + COALESCE(idx_tup_fetch, 0)) FROM pg_stat_xact_user_tables")


def rows_read(session: Session, call: Callable[[], object]) -> int:
    before = session.scalar(_READ) or 0
    call()
    return int((session.scalar(_READ) or 0) - before)
