"""The worker against servers of this machine that speak as the providers do."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope
from aiosmtpd.smtp import Session as Dialogue
from sqlalchemy import Engine, text

from crm_digital_fte.database import make_session_factory, transaction
from crm_digital_fte.embeddings import LexicalEmbedder
from crm_digital_fte.models import Channel, TicketStatus
from crm_digital_fte.schemas import Identifier, InboundMessage, OutboundMessage
from crm_digital_fte.services import conversations, search
from crm_digital_fte.testing import MessageFactory, TicketFactory, bound_to
from desk_worker import Sessions, Settings, work

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


class Mailboxes:
    """What an SMTP server has taken; nobody@ is none of its mailboxes."""

    def __init__(self) -> None:
        self.mails: list[bytes] = []

    async def handle_RCPT(
        self, _server: SMTP, _dialogue: Dialogue, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        if address.startswith("nobody@"):
            return "550 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: SMTP, _dialogue: Dialogue, envelope: Envelope) -> str:
        self.mails.append(envelope.original_content or b"")
        return "250 OK"


class TwilioHandler(BaseHTTPRequestHandler):
    """Takes messages as Twilio does, and is overloaded at the first one."""

    forms: list[dict[str, list[str]]]

    def do_POST(self) -> None:
        self.forms.append(parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode()))
        self.send_response(503 if len(self.forms) == 1 else 201)
        self.end_headers()
        self.wfile.write(json.dumps({"sid": f"SM{len(self.forms)}"}).encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@pytest.fixture
def smtp() -> Iterator[Controller]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    controller = Controller(Mailboxes(), hostname="127.0.0.1", port=port)
    controller.start()
    yield controller
    controller.stop()


@pytest.fixture
def twilio() -> Iterator[ThreadingHTTPServer]:
    TwilioHandler.forms = []
    with ThreadingHTTPServer(("127.0.0.1", 0), TwilioHandler) as server:
        threading.Thread(target=server.serve_forever).start()
        yield server
        server.shutdown()


@pytest.fixture
def sessions(crm_clone: Engine) -> Sessions:
    return make_session_factory(crm_clone)


@contextmanager
def at_work(sessions: Sessions, smtp: Controller, twilio: ThreadingHTTPServer) -> Iterator[None]:
    """A worker that runs meanwhile."""
    settings = Settings(
        smtp_host="127.0.0.1",
        smtp_port=smtp.port,
        smtp_starttls=False,
        twilio_url=f"http://127.0.0.1:{twilio.server_port}",
        twilio_account_sid="AC1",
        twilio_auth_token="secret",
        public_url="https://desk.example",
    )
    stop = threading.Event()
    worker = threading.Thread(target=work, args=(sessions, settings, stop))
    worker.start()
    try:
        yield
    finally:
        stop.set()
        worker.join()


def answer(sessions: Sessions, inbound: InboundMessage) -> None:
    question = transaction(sessions, conversations.ingest, inbound)
    reply = OutboundMessage(content="Press Reset.")
    transaction(sessions, conversations.reply, question.conversation_id, reply)


def mail_from(address: str) -> InboundMessage:
    return InboundMessage(
        channel="email",
        account="support@techcorp.example",
        provider_message_id=f"<1@{address}>",
        sender=(Identifier(type="email", value=address, verified=True),),
        subject="Password",
        content="How do I reset it?",
    )


def until(sessions: Sessions, query: str, expected: object) -> None:
    """Wait for the worker: a query of one value."""
    actual: object = None
    for _ in range(100):
        with sessions() as session:
            actual = session.scalar(text(query))
        if actual == expected:
            return
        time.sleep(0.1)
    pytest.fail(f"{query}: {actual}")


def test_mails_leave_and_what_nobody_takes_is_on_record(
    sessions: Sessions, smtp: Controller, twilio: ThreadingHTTPServer
) -> None:
    answer(sessions, mail_from("ana@example.com"))
    answer(sessions, mail_from("nobody@example.com"))

    with at_work(sessions, smtp, twilio):
        until(sessions, "SELECT count(*) FROM outbox", 0)

    (raw,) = smtp.handler.mails
    mail = message_from_bytes(raw)
    assert (mail["To"], mail["In-Reply-To"]) == ("ana@example.com", "<1@ana@example.com>")
    failure = "SELECT metadata -> 'delivery' ->> 'reason' FROM messages WHERE delivery_status = 'failed'"
    until(sessions, failure, "SMTP 550")


def test_what_a_provider_has_no_time_for_leaves_later(
    sessions: Sessions, smtp: Controller, twilio: ThreadingHTTPServer
) -> None:
    text_ = mail_from("ana@example.com").model_copy(
        update={
            "channel": Channel.WHATSAPP,
            "account": "+14155238886",
            "sender": (Identifier(type="whatsapp", value="whatsapp:+4915112345678", verified=True),),
        }
    )
    answer(sessions, text_)

    with at_work(sessions, smtp, twilio):
        until(sessions, "SELECT attempts FROM outbox WHERE due_at > now() AND NOT with_sender", 1)
        with sessions.begin() as session:  # a minute passes
            session.execute(text("UPDATE outbox SET due_at = now()"))
        until(sessions, "SELECT count(*) FROM outbox", 0)

    forms = TwilioHandler.forms
    assert [form["To"] for form in forms] == [["whatsapp:+4915112345678"]] * 2
    assert forms[0]["StatusCallback"][0].startswith("https://desk.example/twilio/status?message_id=")


def test_what_is_new_is_embedded_what_is_old_is_closed_and_forgotten(
    sessions: Sessions, smtp: Controller, twilio: ThreadingHTTPServer
) -> None:
    with sessions.begin() as session, bound_to(session):
        TicketFactory(subject="The invoice is wrong")
        TicketFactory(status=TicketStatus.RESOLVED, resolved_at=LONG_AGO)
        MessageFactory(content="Words of long ago", created_at=LONG_AGO)

    with at_work(sessions, smtp, twilio):
        until(sessions, "SELECT count(*) FROM tickets WHERE status = 'closed'", 1)
        until(sessions, "SELECT count(*) FROM messages WHERE content = 'Words of long ago'", 0)
        until(sessions, "SELECT count(*) FROM embedding_queue", 0)

    with sessions() as session:
        hits = search.search_tickets(session, "wrong invoice", embedder=LexicalEmbedder(), limit=1)
    assert hits[0].subject == "The invoice is wrong"
