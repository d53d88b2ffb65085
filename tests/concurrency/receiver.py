"""A receiver of messages as a process of its own, which kills itself at a step as ``kill -9`` does."""

from __future__ import annotations

import os
import signal
from itertools import count
from typing import Any

from sqlalchemy import event

from app.database import make_engine, make_session_factory, transaction
from app.models import Channel
from app.schemas import Identifier, InboundMessage
from app.services import conversations


def message(run: int, number: int) -> InboundMessage:
    """Of somebody new, or of whom the runs before have met: every third sender is nobody's second."""
    sender = f"new{run}.{number}" if number % 3 == 0 else f"regular{number}"
    return InboundMessage(
        channel=Channel.EMAIL,
        account="help@example.com",
        provider_message_id=f"{run}.{number}@post.example",
        sender=(Identifier(type="email", value=f"{sender}@post.example", verified=True),),
        content="Help",
    )


def main(url: str, run: int, dies_at: int, acknowledgements: str) -> None:
    """Store messages one by one; each that was committed is acknowledged by a line in the file."""
    steps = count(1)

    def step(*_: Any) -> None:
        if next(steps) == dies_at:
            os.kill(os.getpid(), signal.SIGKILL)

    engine = make_engine(url, allow_insecure_tls=True)
    for moment in ("before_cursor_execute", "after_cursor_execute", "commit"):
        event.listen(engine, moment, step)
    file = os.open(acknowledgements, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    sessions = make_session_factory(engine)
    for number in count():
        transaction(sessions, conversations.ingest, message(run, number))
        os.write(file, f"{run} {number}\n".encode())
        step()
