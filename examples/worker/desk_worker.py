"""What a support desk does without being asked: send, close, forget, embed.

Each job works in batches, each batch is a transaction of its own, and any number of workers may run: none
takes what another one has. One that is killed leaves nothing half done; what it had claimed is due again.
"""

from __future__ import annotations

import logging
import signal
import smtplib
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import httpx2
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy.orm import Session, sessionmaker

from crm_digital_fte import migrations
from crm_digital_fte.channels import email, whatsapp
from crm_digital_fte.database import make_engine, make_session_factory, transaction
from crm_digital_fte.embeddings import Embedder, LexicalEmbedder
from crm_digital_fte.errors import CRMError, Unavailable
from crm_digital_fte.models import Channel
from crm_digital_fte.schemas import Delivery
from crm_digital_fte.services import indexing, outbox, privacy, tickets

log = logging.getLogger(__name__)
Sessions = sessionmaker[Session]
Send = Callable[[Delivery], str]
"""Hands a message to its provider, which calls it by the id returned; raises ``Refused`` or ``OSError``."""


class Settings(BaseSettings):
    """From ``DESK_*``."""

    model_config = SettingsConfigDict(env_prefix="DESK_")
    mailbox: str = "support@techcorp.example"
    smtp_host: str
    smtp_port: int = 587
    smtp_starttls: bool = True
    smtp_user: str = ""
    smtp_password: str = ""
    twilio_url: str = "https://api.twilio.com"
    twilio_account_sid: str
    twilio_auth_token: str
    public_url: str  # of the service that takes Twilio's status callbacks
    close_after: timedelta = timedelta(days=7)
    keep_messages: timedelta = timedelta(days=730)


class Refused(Exception):
    """The provider will not take this message, now or later."""


@dataclass(frozen=True)
class MailSender:
    settings: Settings

    def __call__(self, delivery: Delivery) -> str:
        mail = email.compose(delivery, sender_name="TechCorp Support")
        try:
            with smtplib.SMTP(self.settings.smtp_host, self.settings.smtp_port, timeout=30) as server:
                if self.settings.smtp_starttls:
                    server.starttls()
                if self.settings.smtp_user:
                    server.login(self.settings.smtp_user, self.settings.smtp_password)
                server.send_message(mail)
        except smtplib.SMTPRecipientsRefused as error:
            code = max(code for code, _ in error.recipients.values())
            raise (Refused if code >= 500 else OSError)(f"SMTP {code}") from None
        return str(mail["Message-ID"])


@dataclass(frozen=True)
class TwilioSender:
    settings: Settings
    client: httpx2.Client

    def __call__(self, delivery: Delivery) -> str:
        account = self.settings.twilio_account_sid
        callback = f"{self.settings.public_url}/twilio/status?message_id={delivery.idempotency_key}"
        try:
            answer = self.client.post(
                f"{self.settings.twilio_url}/2010-04-01/Accounts/{account}/Messages.json",
                data=whatsapp.compose_twilio(delivery, status_callback=callback),
                auth=(account, self.settings.twilio_auth_token),
            )
        except httpx2.TransportError as error:
            raise OSError(type(error).__name__) from None
        if answer.is_success:
            return str(answer.json()["sid"])
        is_lasting = answer.is_client_error and answer.status_code not in {401, 403, 429}
        raise (Refused if is_lasting else OSError)(f"HTTP {answer.status_code}")


def deliver(sessions: Sessions, senders: Mapping[Channel, Send], *, mailbox: str) -> int:
    """Send what is due, until nothing is: claim, commit, send, keep what became of it. How many were sent."""
    count = 0
    for channel, send in senders.items():
        while batch := transaction(sessions, outbox.claim, channel=channel, limit=20, forms_from=mailbox):
            count += sum(send_one(sessions, delivery, send) for delivery in batch)
    return count


def send_one(sessions: Sessions, delivery: Delivery, send: Send) -> bool:
    id_ = delivery.message_id
    try:
        provider_message_id = send(delivery)
    except (CRMError, Refused) as error:  # nobody will ever take it: a person must look
        transaction(sessions, outbox.failed, id_, reason=str(error), permanent=True)
    except OSError as error:  # later; without its text, in which there may be an address
        attempt = delivery.attempt
        transaction(sessions, outbox.failed, id_, reason=type(error).__name__, attempt=attempt)
    else:
        transaction(sessions, outbox.sent, id_, provider_message_id=provider_message_id)
        return True
    return False


def embed(sessions: Sessions, embedder: Embedder) -> None:
    """Embed what is new or changed: articles, messages, tickets."""
    while transaction(sessions, indexing.embed_missing, embedder, limit=200):
        pass


def close(sessions: Sessions, after: timedelta) -> None:
    """Close tickets that were resolved so long ago and heard of no more."""
    resolved_before = datetime.now(UTC) - after
    while transaction(sessions, tickets.close_stale, resolved_before=resolved_before, actor="system:closing"):
        pass


def forget(sessions: Sessions, older_than: timedelta) -> None:
    """Let go of the words of old messages; that they were written stays, and so do the figures."""
    place: str | None = None
    while True:
        report = transaction(sessions, privacy.retain, what="messages", older_than=older_than, after=place)
        place = report.next
        if place is None:
            return


def work(sessions: Sessions, settings: Settings, stop: threading.Event) -> None:
    """All jobs in turn, again and again, until ``stop`` is set: sending each second, the rest each minute."""
    client = httpx2.Client(timeout=30)
    senders: dict[Channel, Send] = {
        Channel.EMAIL: MailSender(settings),
        Channel.WHATSAPP: TwilioSender(settings, client),
    }
    jobs: list[tuple[int, Callable[[], object]]] = [
        (1, lambda: deliver(sessions, senders, mailbox=settings.mailbox)),
        (60, lambda: close(sessions, settings.close_after)),
        (60, lambda: forget(sessions, settings.keep_messages)),
        (60, lambda: embed(sessions, LexicalEmbedder())),
    ]
    seconds = 0
    with client:
        while True:
            for every, job in jobs:
                if seconds % every == 0 and not stop.is_set():
                    try:
                        job()
                    except Unavailable as error:  # the database or the model is away: the others go on
                        log.warning("%s: %s", error.code, error)
            if stop.wait(1):
                return
            seconds += 1


def main() -> None:
    logging.basicConfig(level=logging.INFO)
    settings, stop = Settings.model_validate({}), threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    url = migrations.resolve_url()
    migrations.wait_until_current(url)  # the service migrates; a worker waits for it
    engine = make_engine(url)
    work(make_session_factory(engine), settings, stop)
    engine.dispose()


if __name__ == "__main__":
    main()
