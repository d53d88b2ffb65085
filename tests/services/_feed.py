"""Reading the feed of changes beside other tests."""

from __future__ import annotations

import time

from sqlalchemy import text
from sqlalchemy.orm import Session

from app.schemas import Changes
from app.services import feed


def caught_up(session: Session, after: str | None = None) -> Changes:
    """All that is committed by now: transactions of other databases of the server hold the feed up too."""
    count = text("SELECT count(*) FROM change_feed")
    total = session.scalar(count)
    before = 0
    if after is not None:
        life, transaction_id, seq = map(int, after.split("."))
        past = text(f"{count} WHERE (life, transaction_id, seq) <= (:life, :transaction_id, :seq)")
        before = session.scalar(past, {"life": life, "transaction_id": transaction_id, "seq": seq})
    deadline = time.monotonic() + 60
    while True:
        page = feed.changes(session, after=after, limit=10_000)
        if len(page.changes) >= total - before or time.monotonic() > deadline:
            return page
        session.rollback()
        time.sleep(0.01)
