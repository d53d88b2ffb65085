"""A day of a support desk: three channels, two workers, reports late and early, a merge, a kill, a bounce."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import timedelta
from email.message import EmailMessage
from uuid import UUID

from sqlalchemy import Engine, func, select, text
from sqlalchemy.orm import Session, sessionmaker

from app.channels import email, web_form, whatsapp
from app.models import Customer, EarlyDeliveryReport, Message, OutboxEntry, TicketStatus
from app.schemas import Assurance, Delivery, InboundEvent, OutboundMessage
from app.services import channel_settings, conversations, merging, metrics, outbox, tickets, timeline
from tests.concurrency.test_killed_senders import IN_THE_WINDOW, Provider, run_sender

SUPPORT = "support@techcorp.example"
NUMBER = "+14155238886"
AGENT = {"actor": "ai:support-agent"}
LEAD = {"actor": "human:7"}


class Desk:
    """What the desk does with what comes in, and its workers with what goes out."""

    def __init__(self, sessions: sessionmaker[Session]) -> None:
        self.sessions = sessions
        self.sent: list[tuple[Delivery, EmailMessage | dict]] = []

    def mail(self, number: int, sender: str, words: str, *, headers: str = "", archived: bool = False):
        raw = (
            "Authentication-Results: mx.techcorp.example; dmarc=pass header.from=example.com\r\n"
            "Received: from a by mx.techcorp.example; Mon, 3 Mar 2025 10:00:00 +0000\r\n"
            f"From: {sender}\r\nTo: {SUPPORT}\r\nMessage-ID: <{number}@example.com>\r\n"
            f"Subject: Question {number}\r\n{headers}\r\n{words}\r\n"
        )
        inbound = email.parse(raw.encode(), authserv_id="mx.techcorp.example", own_accounts=[SUPPORT])
        with self.sessions.begin() as session:
            return conversations.ingest(session, inbound, archived=archived, measure=True)

    def chat(self, sid: str, words: str, **facts):
        form = {
            "MessageSid": sid,
            "From": "whatsapp:+5215512345678",
            "To": f"whatsapp:{NUMBER}",
            "Body": words,
        }
        inbound = whatsapp.parse_twilio(form).model_copy(update=facts)
        with self.sessions.begin() as session:
            return conversations.ingest(session, inbound, measure=True)

    def form(self, address: str, words: str):
        inbound = web_form.parse({"submission_id": "17", "email": address, "name": "Eva", "message": words})
        with self.sessions.begin() as session:
            return conversations.ingest(session, inbound, measure=True)

    def open_ticket(self, ingested, channel: str) -> UUID:
        with self.sessions.begin() as session:
            return tickets.open_ticket(
                session, customer_id=ingested.customer_id, conversation_id=ingested.conversation_id,
                subject="Help", category="how_to", source_channel=channel, **AGENT,
            ).id  # fmt: skip

    def answer(self, ingested, body: str) -> UUID:
        with self.sessions.begin() as session:
            reply = conversations.render_reply(session, ingested.conversation_id, body)
            outbound = OutboundMessage(content=reply.content, processing_latency_ms=900)
            return conversations.reply(session, ingested.conversation_id, outbound, measure=True, **AGENT).id

    def work(self, **filters) -> None:
        """One worker, until nothing is due."""
        while True:
            with self.sessions.begin() as session:
                deliveries = outbox.claim(session, limit=1, forms_from=SUPPORT, **filters)
            if not deliveries:
                return
            (delivery,) = deliveries
            is_mail = delivery.channel == "email"
            call = email.compose(delivery) if is_mail else whatsapp.compose_twilio(delivery)
            self.sent.append((delivery, call))
            name = call["Message-ID"] if is_mail else f"out-{delivery.message_id}"
            with self.sessions.begin() as session:
                outbox.sent(session, delivery.message_id, provider_message_id=name)

    def report(self, sid: str, status: str) -> None:
        form = {"MessageSid": sid, "MessageStatus": status, "From": f"whatsapp:{NUMBER}"}
        with self.sessions.begin() as session:
            outbox.record_delivery(session, whatsapp.parse_twilio_status(form))

    def bounce(self, number: int, message_id: str) -> object:
        headers = "Content-Type: multipart/report; report-type=delivery-status; boundary=x\r\n"
        body = (
            "--x\r\nContent-Type: text/plain\r\n\r\nSorry.\r\n"
            "--x\r\nContent-Type: message/delivery-status\r\n\r\n"
            "Reporting-MTA: dns; mx\r\n\r\nFinal-Recipient: rfc822; eva@example.com\r\nAction: failed\r\n"
            "Status: 5.1.1\r\nDiagnostic-Code: smtp; 550 <eva@example.com> unknown\r\n--x\r\n"
            f"Content-Type: text/rfc822-headers\r\n\r\nMessage-ID: {message_id}\r\n\r\n--x--"
        )
        return self.mail(number, "MAILER-DAEMON <mailer-daemon@example.com>", body, headers=headers)


def test_a_day_ends_in_the_right_place(crm_clone: Engine, sessions: sessionmaker[Session]) -> None:
    desk, provider = Desk(sessions), Provider()

    # The night's archive wakes nobody and is dated as it was.
    old = desk.mail(1, "Ana Núñez <ana@example.com>", "An old question", archived=True)
    # Three channels in the morning.
    mailed = desk.mail(2, "Ana Núñez <ana@example.com>", "How do I export?")
    chatted = desk.chat("SM1", "Where is my order?")
    formed = desk.form("eva@example.com", "My invoice is wrong")
    assert (mailed.resolution.assurance, formed.resolution.assurance) == (
        Assurance.VERIFIED,
        Assurance.CLAIMED,
    )
    assert mailed.customer_id == old.customer_id
    ids = {
        name: desk.open_ticket(ingested, channel)
        for name, ingested, channel in (
            ("mail", mailed, "email"),
            ("chat", chatted, "whatsapp"),
            ("form", formed, "web_form"),
        )
    }
    first, second = desk.answer(mailed, "Press Export."), desk.answer(mailed, "Then choose CSV.")
    chat_answer = desk.answer(chatted, "On its way.")

    # A worker is killed after the mail server took a mail; nothing is marked.
    assert run_sender(crm_clone, provider, IN_THE_WINDOW) < 0
    assert provider.requests == [first]
    # In the middle of it Ana turns out to be the one who chats; the merge holds up nobody.
    with sessions.begin() as session:
        merging.merge(session, mailed.customer_id, chatted.customer_id, reason="she said so", **LEAD)
    # WhatsApp is switched off for a while, and keeps what it has.
    with sessions.begin() as session:
        channel_settings.change(session, "whatsapp", is_enabled=False, **LEAD)
        session.execute(text("UPDATE outbox SET due_at = LEAST(due_at, clock_timestamp())"))
    # The provider tells of a message before its sender can.
    desk.report(f"out-{chat_answer}", "delivered")
    workers = [threading.Thread(target=desk.work) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [delivery.message_id for delivery, _ in desk.sent] == [first, second]
    with sessions.begin() as session:
        channel_settings.change(session, "whatsapp", is_enabled=True, **LEAD)
    desk.work(channel="whatsapp")

    # A thumb on the answered and resolved chat wakes nobody; reports come late and in any order.
    with sessions.begin() as session:
        for ticket_id in (ids["chat"], ids["mail"]):
            tickets.change_status(session, ticket_id, "resolved", **AGENT)
    reaction = {"event": InboundEvent.REACTION, "reaction_to": f"out-{chat_answer}", "auto_reply": True}
    thumb = desk.chat("SM2", "👍", **reaction)
    assert (thumb.conversation_id, thumb.customer_id) == (chatted.conversation_id, mailed.customer_id)
    for status in ("read", "delivered", "undelivered"):
        desk.report(f"out-{chat_answer}", status)

    # Eva's answer goes by mail, and comes back.
    form_answer = desk.answer(formed, "Here is a new one.")
    desk.work()
    delivery, letter = desk.sent[-1]
    assert (delivery.channel, letter["To"], letter["Subject"]) == ("email", "Eva <eva@example.com>", None)
    bounced = desk.bounce(3, letter["Message-ID"])
    assert (bounced.conversation_id, bounced.customer_id) == (formed.conversation_id, formed.customer_id)
    # Ana answers our mail, and her ticket is taken up again; a person takes it over.
    again = desk.mail(
        4, "Ana <ana@example.com>", "Which one?", headers=f"In-Reply-To: {desk.sent[1][1]['Message-ID']}\r\n"
    )
    assert (again.conversation_id, again.ticket_id, again.ticket_reopened) == (
        mailed.conversation_id, ids["mail"], True,
    )  # fmt: skip
    with sessions.begin() as session:
        tickets.change_status(
            session, ids["mail"], "escalated", escalation_reason="asks twice", measure=True, **AGENT
        )

    # The evening.
    with sessions() as session:
        assert session.scalar(select(func.count()).select_from(OutboxEntry)) == 0
        assert session.scalar(select(func.count()).select_from(EarlyDeliveryReport)) == 0
        assert session.scalar(select(func.count()).select_from(Customer)) == 2
        status = {
            id_: session.get_one(Message, id_).delivery_status
            for id_ in (first, second, chat_answer, form_answer)
        }
        assert status == {first: "pending", second: "pending", chat_answer: "read", form_answer: "failed"}
        late = session.get_one(Message, chat_answer).extra["delivery"]
        assert late["late_failure"]["status"] == "failed"
        reason = session.get_one(Message, form_answer).extra["delivery"]
        assert (reason["code"], reason["reason"]) == ("5.1.1", "550 (address) unknown")
        assert Counter(delivery.message_id for delivery, _ in desk.sent) == Counter(
            [first, second, chat_answer, form_answer]
        )
        assert {name: tickets.get_ticket(session, id_).status for name, id_ in ids.items()} == {
            "mail": TicketStatus.ESCALATED, "chat": TicketStatus.RESOLVED, "form": TicketStatus.OPEN,
        }  # fmt: skip
        answered = {
            name: tickets.lifecycle(session, id_).first_response is not None for name, id_ in ids.items()
        }
        assert answered == {"mail": True, "chat": True, "form": False}
        history = timeline.history(session, mailed.customer_id, limit=50)
        assert len({entry.conversation_id for entry in history.items}) == 3
        awaiting = conversations.list_conversations(session, awaiting="us")
        # Ana asks again, and Eva has not got her answer.
        assert {one.id for one in awaiting.items} == {mailed.conversation_id, formed.conversation_id}
        figures = {of.channel.value: of for of in metrics.channel_metrics(session, window=timedelta(hours=1))}
        assert [(of.conversations, of.messages, of.escalations) for of in figures.values()] == [
            (1, 4, 1), (1, 2, 0), (1, 2, 0),
        ]  # fmt: skip
        assert {of.avg_latency_ms for of in figures.values()} == {900}
    provider.close()
