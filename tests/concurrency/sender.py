"""A sender as a process of its own: ``python -m tests.concurrency.sender DATABASE_URL PROVIDER_URL DIES_AT``.

It claims, composes, posts to the provider and says so, until nothing is due. At its step number DIES_AT, of
which each statement, commit and request is one before and one after, it kills itself as ``kill -9`` does.
"""

from __future__ import annotations

import os
import signal
import sys
import urllib.request
from itertools import count
from typing import Any

from sqlalchemy import event

from app.channels import email
from app.database import make_engine, make_session_factory
from app.services import outbox


def main(database_url: str, provider_url: str, dies_at: int) -> None:
    steps = count(1)

    def step(*_: Any) -> None:
        if next(steps) == dies_at:
            os.kill(os.getpid(), signal.SIGKILL)

    engine = make_engine(database_url)
    sessions = make_session_factory(engine)
    for moment in ("before_cursor_execute", "after_cursor_execute", "commit"):
        event.listen(engine, moment, step)
    while True:
        with sessions.begin() as session:
            deliveries = outbox.claim(session, limit=2)
        step()
        if not deliveries:
            break
        for delivery in deliveries:
            mail = email.compose(delivery)
            request = urllib.request.Request(
                provider_url, bytes(mail), {"Idempotency-Key": delivery.idempotency_key}
            )
            step()
            with urllib.request.urlopen(request, timeout=30) as response:
                response.read()
            step()
            with sessions.begin() as session:
                outbox.sent(session, delivery.message_id, provider_message_id=mail["Message-ID"])
            step()
    engine.dispose()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
