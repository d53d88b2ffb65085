"""Many sessions at once on a database of their own, with real commits; what hangs fails."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session, sessionmaker

from app.database import make_engine, make_session_factory

PATIENCE = 120
WAITING = text("""
    SELECT EXISTS (
        SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
    )
""")


@pytest.fixture
def sessions(crm_clone: Engine) -> Iterator[sessionmaker[Session]]:
    engine = make_engine(crm_clone.url, pool_size=40, connect_args={"options": "-c lock_timeout=30s"})
    yield make_session_factory(engine)
    engine.dispose()


@pytest.fixture
def at_once() -> Callable[[Sequence[Callable[[], Any]]], list[Any]]:
    """Run all works in threads that start together; their results, or the first error."""

    def run(works: Sequence[Callable[[], Any]]) -> list[Any]:
        barrier = threading.Barrier(len(works))

        def start(work: Callable[[], Any]) -> Any:
            barrier.wait(PATIENCE)
            return work()

        with ThreadPoolExecutor(len(works)) as pool:
            return [future.result(PATIENCE) for future in [pool.submit(start, work) for work in works]]

    return run


@pytest.fixture
def until_it_waits(sessions: sessionmaker[Session]) -> Iterator[Callable[[Callable[[], Any]], Future[Any]]]:
    """Start a work in a thread, and return once it waits for a lock that the test holds."""
    with ThreadPoolExecutor(1) as pool:

        def start(work: Callable[[], Any]) -> Future[Any]:
            future = pool.submit(work)
            deadline = time.monotonic() + 20
            with sessions() as watcher:
                while not watcher.scalar(WAITING):
                    watcher.rollback()
                    assert not future.done(), f"it waited for nobody: {future.exception() or future.result()}"
                    assert time.monotonic() < deadline
                    time.sleep(0.005)
            return future

        yield start
