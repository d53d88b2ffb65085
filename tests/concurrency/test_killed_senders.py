"""A sender that is killed anywhere: nothing is lost, and nothing that was marked as sent leaves again."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import Engine, select, text
from sqlalchemy.orm import Session, sessionmaker

from app.channels import email
from app.models import OutboxEntry
from app.schemas import OutboundMessage
from app.services import conversations
from tests.concurrency import sender

ROOT = Path(__file__).resolve().parents[2]
STEPS = range(1, 61, 2)
IN_THE_WINDOW = 7
"""After the provider has taken a message, before anything says so."""


class Provider:
    """Takes mails over HTTP, and counts them by the key that makes a second one the same."""

    def __init__(self) -> None:
        self.requests: list[UUID] = []
        self.mails: dict[UUID, bytes] = {}
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                key = UUID(self.headers["Idempotency-Key"])
                mail = self.rfile.read(int(self.headers["Content-Length"]))
                provider.requests.append(key)
                assert provider.mails.setdefault(key, mail) == mail
                self.send_response(202)
                self.end_headers()

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def provider() -> Iterator[Provider]:
    provider = Provider()
    yield provider
    provider.close()


def queue(sessions: sessionmaker[Session]) -> dict[UUID, list[UUID]]:
    """Two answers in each of three conversations."""
    queued: dict[UUID, list[UUID]] = {}
    with sessions.begin() as session:
        for number in range(3):
            raw = (
                f"From: person{number}@example.com\r\nTo: support@techcorp.example\r\n"
                f"Message-ID: <{number}@mail.example.com>\r\nSubject: Help\r\n\r\nHow?\r\n"
            )
            place = conversations.ingest(session, email.parse(raw.encode())).conversation_id
            queued[place] = [
                conversations.reply(session, place, OutboundMessage(content=f"answer {n}")).id for n in (1, 2)
            ]
    return queued


def waiting(sessions: sessionmaker[Session]) -> set[UUID]:
    with sessions() as session:
        return set(session.scalars(select(OutboxEntry.message_id)))


def run_sender(engine: Engine, provider: Provider, dies_at: int) -> int:
    url = engine.url.render_as_string(hide_password=False)
    arguments = [sys.executable, "-m", "tests.concurrency.sender", url, provider.url, str(dies_at)]
    return subprocess.run(arguments, cwd=ROOT, timeout=120, check=False).returncode


@pytest.mark.soak
@pytest.mark.parametrize("dies_at", STEPS)
def test_a_killed_sender_loses_nothing_and_repeats_nothing_that_was_marked(
    crm_clone, sessions, provider, dies_at
):
    queued = queue(sessions)
    everything = {id_ for ids in queued.values() for id_ in ids}

    ended = run_sender(crm_clone, provider, dies_at)

    assert ended in {-signal.SIGKILL, 0}
    assert (ended == 0) == (waiting(sessions) == set())
    marked, before = everything - waiting(sessions), list(provider.requests)
    assert marked <= set(before)
    # Another one lives: what the dead one has claimed is not its own before the lease ends.
    sender.main(crm_clone.url.render_as_string(hide_password=False), provider.url, 0)
    assert max(Counter(provider.requests).values(), default=0) <= 1
    with sessions.begin() as session:
        session.execute(text("UPDATE outbox SET due_at = LEAST(due_at, clock_timestamp())"))
    sender.main(crm_clone.url.render_as_string(hide_password=False), provider.url, 0)

    assert waiting(sessions) == set()
    assert set(provider.requests) == everything
    repeated = {key for key, times in Counter(provider.requests).items() if times > 1}
    # Those that the provider had and nobody lived to mark: at most one of a sender that sends one by one.
    assert repeated <= set(before) - marked
    assert len(repeated) <= 1
    first_arrivals = list(dict.fromkeys(provider.requests))
    for ids in queued.values():
        assert [key for key in first_arrivals if key in ids] == ids


def test_the_window_is_what_the_docs_say_it_is(crm_clone, sessions, provider):
    queue(sessions)
    run_sender(crm_clone, provider, IN_THE_WINDOW)
    (taken,) = provider.requests
    assert taken in waiting(sessions)
