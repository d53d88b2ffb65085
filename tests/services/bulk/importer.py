"""An import as a process of its own, which kills itself before a statement as ``kill -9`` does."""

from __future__ import annotations

import os
import signal
from itertools import count
from typing import Any

from sqlalchemy import event

from app.database import make_engine
from app.services import bulk
from tests.services.bulk.worlds import correspondence


def main(url: str, dies_at: int) -> None:
    """Import, and die before the statement or commit of that number."""
    steps = count(1)

    def step(*_: Any) -> None:
        if next(steps) == dies_at:
            os.kill(os.getpid(), signal.SIGKILL)

    engine = make_engine(url, allow_insecure_tls=True)
    event.listen(engine, "before_cursor_execute", step)
    event.listen(engine, "commit", step)
    bulk.import_messages(engine, correspondence(400, people=60), batch_size=100)
