"""Several senders at once: each message leaves once, a conversation's in their order; reports find them."""

from __future__ import annotations

import threading
from collections import defaultdict
from uuid import UUID

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session, sessionmaker

from app.models import EarlyDeliveryReport, Message, OutboxEntry
from app.schemas import Delivery, DeliveryReport, Identifier, InboundMessage, OutboundMessage
from app.services import conversations, outbox
from app.services.outbox import reports, sending

OURS = {"channel": "whatsapp", "account": "+14155238886"}


def ask(session: Session, number: int) -> UUID:
    sender = Identifier(type="whatsapp", value=f"+49151{number:08}", verified=True)
    inbound = InboundMessage(provider_message_id=f"SM{number}", sender=(sender,), content="?", **OURS)
    return conversations.ingest(session, inbound).conversation_id


def queue(sessions: sessionmaker[Session], people: int, answers: int) -> dict[UUID, list[UUID]]:
    """The answers of each conversation, in their order."""
    queued = defaultdict(list)
    with sessions.begin() as session:
        conversation_ids = [ask(session, number) for number in range(people)]
        for n in range(answers):
            for id_ in conversation_ids:
                outbound = OutboundMessage(content=f"answer {n}")
                queued[id_].append(conversations.reply(session, id_, outbound).id)
    return dict(queued)


def test_senders_at_once_send_each_message_once_and_in_order(sessions, at_once):
    queued = queue(sessions, people=6, answers=5)
    sent: list[Delivery] = []
    lock = threading.Lock()

    def send_all() -> None:
        idle = 0
        while idle < 20:
            with sessions.begin() as session:
                deliveries = outbox.claim(session, limit=2)
            idle = 0 if deliveries else idle + 1
            for delivery in deliveries:
                with lock:
                    sent.append(delivery)
                with sessions.begin() as session:
                    outbox.sent(
                        session, delivery.message_id, provider_message_id=f"ours-{delivery.message_id}"
                    )

    at_once([send_all] * 6)
    by_conversation = defaultdict(list)
    for delivery in sent:
        by_conversation[delivery.conversation_id].append(delivery.message_id)
    assert by_conversation == queued
    with sessions() as session:
        assert session.scalar(select(func.count()).select_from(OutboxEntry)) == 0


def test_a_sender_who_is_slow_to_commit_keeps_its_messages_to_itself(sessions):
    queue(sessions, people=2, answers=1)
    with sessions() as one, sessions() as other:
        (mine,) = outbox.claim(one, limit=1)
        (theirs,) = outbox.claim(other)
        assert mine.message_id != theirs.message_id
        one.rollback()
        other.commit()
        assert [delivery.message_id for delivery in outbox.claim(one)] == [mine.message_id]


def race(sessions, until_it_waits) -> list[object]:
    """A report comes while the sender says what the provider calls the message; the report is first."""
    ((message_id,),) = queue(sessions, people=1, answers=1).values()
    with sessions.begin() as session:
        outbox.claim(session)
    report = DeliveryReport(provider_message_id="SMx", status="delivered", **OURS)

    def mark() -> None:
        with sessions.begin() as session:
            outbox.sent(session, message_id, provider_message_id="SMx")

    with sessions() as webhook:
        outbox.record_delivery(webhook, report)
        marked = until_it_waits(mark)
        webhook.commit()
        marked.result(30)
    with sessions() as session:
        early = session.scalar(select(func.count()).select_from(EarlyDeliveryReport))
        return [session.get_one(Message, message_id).delivery_status, early]


def test_a_report_that_races_the_sender_s_word_is_not_lost(sessions, until_it_waits):
    assert race(sessions, until_it_waits) == ["delivered", 0]


def test_without_the_lock_on_the_provider_s_id_the_report_is_lost(sessions, monkeypatch):
    for module in (reports, sending):
        monkeypatch.setattr(module, "lock_provider_id", lambda *_: None)

    def at_the_same_time(mark):
        mark()
        return Future()

    class Future:
        def result(self, _): ...

    assert race(sessions, at_the_same_time) == ["pending", 1]


def test_of_a_dead_sender_s_messages_none_is_lost_and_none_that_was_marked_leaves_again(sessions):
    queued = queue(sessions, people=4, answers=1)
    with sessions.begin() as session:
        first, second, *_ = outbox.claim(session)
        outbox.sent(session, first.message_id, provider_message_id="SMa")
    # The sender died with three in its hands; nobody said anything of the second.
    with sessions.begin() as session:
        assert outbox.claim(session) == []
        session.execute(text("UPDATE outbox SET due_at = due_at - interval '6 minutes'"))
        again = {delivery.message_id: delivery.attempt for delivery in outbox.claim(session)}
    everything = {id_ for ids in queued.values() for id_ in ids}
    assert again == dict.fromkeys(everything - {first.message_id}, 2)
    assert second.message_id in again
