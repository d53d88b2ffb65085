"""What changed, for other systems: every committed change once, in an order that skips nothing."""

from __future__ import annotations

import re

from sqlalchemy import text
from sqlalchemy.orm import Session

from ..errors import InvalidValue
from ..schemas import Change, Changes
from ._shared.checks import checked_limit

CHANNEL = "crm_changes"
"""What to LISTEN to: a notification, without content, tells that there may be changes."""

_TOKEN = re.compile(r"[1-9]\d{0,8}\.\d{1,18}\.\d{1,18}")
_READ = text("SELECT * FROM read_change_feed(:life, :transaction_id, :seq, :limit)")
_START = (0, 0, 0)


def changes(session: Session, *, after: str | None = None, limit: int = 1000) -> Changes:
    """The next changes after a token: of customers, conversations, messages, tickets and identity.

    None is skipped and none is told twice, in whatever order transactions commit: the feed is read up to the
    oldest transaction that still runs and writes. A token is good for ever, also after a failover, an upgrade
    or a restore, and ``None`` is the beginning. Changes are ids and codes: who needs more reads the row, and
    finds it erased where it was. Changes of one transaction come together, in their order.

    One statement, no lock; reads on a standby too. What the session itself has not committed is not told.

    Raises:
        InvalidValue: the token or the limit is ill-formed.
    """
    limit = checked_limit(limit, maximum=10_000)
    life, transaction_id, seq = _START if after is None else _place(after)
    place = {"life": life, "transaction_id": transaction_id, "seq": seq, "limit": limit}
    session.flush()
    rows = session.execute(_READ, place).all()
    page = tuple(
        Change(
            token=f"{row.life}.{row.transaction_id}.{row.seq}",
            subject=row.subject,
            id=row.subject_id,
            customer_id=row.customer_id,
            change=row.change,
            changed_at=row.changed_at,
        )
        for row in rows
    )
    token = page[-1].token if page else f"{life}.{transaction_id}.{seq}" if after else None
    return Changes(changes=page, token=token)


def _place(token: object) -> tuple[int, int, int]:
    if not isinstance(token, str) or not _TOKEN.fullmatch(token):
        raise InvalidValue("after", "must be the token of a change")
    life, transaction_id, seq = map(int, token.split("."))
    return life, transaction_id, seq
