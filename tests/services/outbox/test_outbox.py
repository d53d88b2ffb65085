"""Answers leave once, in their order, with all that a sender needs; reports come back to them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from sqlalchemy import func, select, text

from app.errors import AutoReplyLoop, ConversationNotFound, IdentifierTaken, InvalidValue, MessageNotFound
from app.models import (
    Conversation,
    DeliveryStatus,
    EarlyDeliveryReport,
    Message,
    MessageRole,
    OutboxEntry,
    ProviderMessage,
)
from app.schemas import Attachment, DeliveryReport, Identifier, OutboundMessage
from app.services import conversations, outbox
from app.testing import ConversationFactory
from tests.services.conversations._messages import ACCOUNT, BEN, EMAIL, NUMBER, form, mail, whatsapp

STAFF = {"actor": "human:7"}


def answer(session, conversation_id, content="Open Settings.", **facts):
    return conversations.reply(session, conversation_id, OutboundMessage(content=content, **facts), **STAFF)


def asked(session, **facts):
    return conversations.ingest(session, mail(**facts))


def pass_time(session, **interval):
    session.execute(
        text("UPDATE outbox SET due_at = due_at - :span, queued_at = queued_at - :span"),
        {"span": timedelta(**interval)},
    )


def report(status, sent_as="SM1", **facts):
    return DeliveryReport(
        **{"channel": "whatsapp", "account": "+14155238886", "provider_message_id": sent_as, "status": status}
        | facts
    )


def test_a_delivery_has_all_that_it_takes_to_send_an_answer(session, queries):
    first = asked(session, id="<1@mail.example.com>", subject="Re: RE: Aw: Password")
    message = answer(session, first.conversation_id, attachments=(Attachment(filename="a.png"),))
    queries.reset()

    (delivery,) = outbox.claim(session)

    assert queries.count == 1, queries
    assert (delivery.message_id, delivery.account, delivery.channel) == (message.id, ACCOUNT, "email")
    assert (delivery.to.value, delivery.subject) == ("Ana@Example.com", "Re: Password")
    assert (delivery.in_reply_to, delivery.references) == ("<1@mail.example.com>", ("<1@mail.example.com>",))
    assert (delivery.content, delivery.attachments[0].filename) == ("Open Settings.", "a.png")
    assert (delivery.attempt, delivery.window_open) == (1, True)
    assert message.extra["actor"] == "human:7"


def test_a_mail_s_id_is_known_before_it_leaves_and_its_answer_finds_the_conversation(session):
    first = asked(session)
    answer(session, first.conversation_id)
    (delivery,) = outbox.claim(session)
    assert delivery.provider_message_id.endswith("@techcorp.example>")

    # The sender died before it could say that it had sent.
    again = conversations.ingest(session, mail(references=(delivery.provider_message_id,)))

    assert again.conversation_id == first.conversation_id
    answer(session, first.conversation_id)
    pass_time(session, hours=1)
    outbox.sent(session, delivery.message_id, provider_message_id=delivery.provider_message_id)
    (following,) = outbox.claim(session)
    assert following.references[1:] == (delivery.provider_message_id, following.in_reply_to)


def test_one_conversation_s_answers_leave_one_after_the_other(session):
    mine, other = asked(session), asked(session, sender=(BEN,))
    first, second = (answer(session, mine.conversation_id, text) for text in ("first", "second"))
    third = answer(session, other.conversation_id, "third")

    assert [d.message_id for d in outbox.claim(session)] == [first.id, third.id]
    assert outbox.claim(session) == []
    outbox.sent(session, first.id, provider_message_id="<a@x>")
    assert [d.message_id for d in outbox.claim(session)] == [second.id]


def test_an_answer_that_waits_to_be_sent_again_is_not_overtaken(session):
    first = asked(session)
    messages = [answer(session, first.conversation_id, text) for text in ("first", "second")]
    outbox.claim(session)
    outbox.failed(session, messages[0].id, reason="timeout")
    assert outbox.claim(session) == []
    pass_time(session, minutes=2)
    (again,) = outbox.claim(session)
    assert (again.message_id, again.attempt) == (messages[0].id, 2)
    assert session.get_one(Message, messages[0].id).extra["delivery"]["reason"] == "timeout"


def test_a_lease_that_ends_leaves_the_message_to_the_next_sender(session):
    message = answer(session, asked(session).conversation_id)
    assert len(outbox.claim(session, lease=timedelta(minutes=1))) == 1
    assert outbox.claim(session) == []
    pass_time(session, minutes=2)
    assert [d.message_id for d in outbox.claim(session)] == [message.id]


def test_pauses_grow_and_after_the_last_attempt_a_message_is_given_up_visibly(session):
    first = asked(session)
    message, following = (answer(session, first.conversation_id, text) for text in ("first", "second"))
    pauses = []
    while any(delivery.message_id == message.id for delivery in outbox.claim(session)):
        outbox.failed(session, message.id, reason="no route")
        due_at = session.scalar(select(OutboxEntry.due_at).where(OutboxEntry.message_id == message.id))
        if due_at is not None:
            pauses.append(due_at - session.scalar(select(func.clock_timestamp())))
        pass_time(session, days=1)
    assert [round(pause / timedelta(minutes=1)) for pause in pauses] == [1, 2, 4, 8, 16, 32, 64]
    assert message.delivery_status is DeliveryStatus.FAILED
    assert (message.extra["delivery"]["given_up"], message.extra["delivery"]["attempts"]) == (True, 8)
    assert session.get(OutboxEntry, following.id).attempts == 1


@pytest.mark.parametrize("stored", ["null", '["x"]', '"x"'])
def test_whatever_another_backend_keeps_beside_a_message_its_delivery_is_told(session, stored):
    message = answer(session, asked(session).conversation_id)
    outbox.claim(session)
    overwrite = text("UPDATE messages SET metadata = CAST(:stored AS jsonb) WHERE id = :id")
    for tell in (
        lambda: outbox.failed(session, message.id, reason="busy"),
        lambda: outbox.sent(session, message.id, provider_message_id="<1@mailer.example>"),
        lambda: outbox.record_delivery(
            session,
            report("read", "<1@mailer.example>", channel="email", account=ACCOUNT),
        ),
    ):
        session.execute(overwrite, {"stored": stored, "id": message.id})
        assert tell().extra["delivery"]


def test_a_permanent_failure_is_not_tried_again_and_a_time_of_the_provider_s_counts(session):
    first, other = asked(session), asked(session, sender=(BEN,))
    doomed, later = answer(session, first.conversation_id), answer(session, other.conversation_id)
    outbox.claim(session)
    retry_at = datetime.now(UTC) + timedelta(days=2)
    assert outbox.failed(session, doomed.id, reason="blocked", permanent=True).delivery_status == "failed"
    outbox.failed(session, later.id, reason="slow down", retry_at=retry_at)
    assert session.get_one(OutboxEntry, later.id).due_at == retry_at
    assert session.get(OutboxEntry, doomed.id) is None


def test_claims_can_be_of_one_channel_and_account_and_are_limited(session):
    ids = [
        answer(session, conversations.ingest(session, message).conversation_id).id
        for message in (mail(), mail(account="sales@techcorp.example", sender=(BEN,)), whatsapp())
    ]
    assert [d.message_id for d in outbox.claim(session, channel="whatsapp")] == [ids[2]]
    assert [d.message_id for d in outbox.claim(session, account="Sales@TechCorp.example")] == [ids[1]]
    assert [d.message_id for d in outbox.claim(session, limit=1)] == [ids[0]]


def test_a_note_is_never_sent(session):
    first = asked(session)
    note = conversations.note(session, first.conversation_id, "she is a VIP", actor="human:7")
    assert (note.role, note.delivery_status) == (MessageRole.SYSTEM, None)
    assert note.extra == {"internal": True, "actor": "human:7"}
    assert outbox.claim(session) == []
    with pytest.raises(MessageNotFound):
        outbox.sent(session, note.id, provider_message_id="<1@us.example>")


def test_what_another_backend_stores_or_cannot_be_addressed_is_not_sent(session):
    unrouted = ConversationFactory()
    message = answer(session, unrouted.id)
    assert message.delivery_status is DeliveryStatus.PENDING
    session.execute(
        text(
            "INSERT INTO messages (conversation_id, customer_id, channel, direction, role, content) "
            "VALUES (:id, :customer_id, 'email', 'outbound', 'agent', 'sent by its own backend')"
        ),
        {"id": unrouted.id, "customer_id": unrouted.customer_id},
    )
    assert outbox.claim(session) == []


def test_we_may_write_first(session):
    customer_id = asked(session).customer_id
    conversation = conversations.start(
        session, customer_id, channel="email", account=ACCOUNT, to=EMAIL, subject="Your order"
    )
    answer(session, conversation.id, "It is on its way.")

    (delivery,) = outbox.claim(session)
    assert (delivery.subject, delivery.in_reply_to, delivery.references) == ("Your order", None, ())
    assert delivery.to.value == "Ana@Example.com"
    back = conversations.ingest(session, mail(references=(delivery.provider_message_id,)))
    assert back.conversation_id == conversation.id


def test_nobody_s_letters_go_to_another_customer_s_address(session):
    ana, _ = asked(session), asked(session, sender=(BEN,))
    robot = Identifier(type="email", value="noreply@x.example")
    for error, to in ((IdentifierTaken, BEN), (InvalidValue, NUMBER), (InvalidValue, robot)):
        with pytest.raises(error):
            conversations.start(session, ana.customer_id, channel="email", account=ACCOUNT, to=to)
    assert session.scalar(select(func.count()).select_from(Conversation)) == 2


def test_two_machines_that_answer_each_other_are_stopped(session):
    first = asked(session)
    for _ in range(3):
        answer(session, first.conversation_id, auto_reply=True)

    def write(conversation_id, **facts):
        outbound = OutboundMessage(content="x", **facts)
        return conversations.reply(session, conversation_id, outbound, max_auto_replies=3)

    with pytest.raises(AutoReplyLoop):
        write(first.conversation_id, auto_reply=True)
    assert write(first.conversation_id)
    with pytest.raises(ConversationNotFound):
        write(uuid4(), auto_reply=True)
    session.execute(text("UPDATE messages SET created_at = created_at - interval '2 hours'"))
    assert write(first.conversation_id, auto_reply=True)


def test_the_window_of_a_day_closes(session):
    first = conversations.ingest(session, whatsapp())
    answer(session, first.conversation_id)
    session.execute(text("UPDATE messages SET created_at = created_at - interval '25 hours'"))
    (delivery,) = outbox.claim(session)
    assert delivery.window_open is False


def test_a_form_s_author_is_written_to_where_the_form_says(session):
    first = conversations.ingest(session, form())
    answer(session, first.conversation_id)
    (delivery,) = outbox.claim(session)
    assert (delivery.channel, delivery.account, delivery.to.value) == (
        "web_form",
        "contact",
        "Ana@Example.com",
    )


@pytest.mark.parametrize(
    ("reports", "status", "last"),
    [
        (["delivered", "read"], "read", "read"),
        (["read", "delivered"], "read", "read"),
        (["delivered", "failed"], "delivered", "failed"),
        (["failed", "delivered"], "delivered", "delivered"),
    ],
)
@pytest.mark.parametrize("early", [0, 1, 2])
def test_reports_are_kept_in_whatever_order_they_come(session, reports, status, last, early):
    message = answer(session, conversations.ingest(session, whatsapp()).conversation_id)
    outbox.claim(session)
    before = [outbox.record_delivery(session, report(code)) for code in reports[:early]]
    outbox.sent(session, message.id, provider_message_id="SM1")
    after = [outbox.record_delivery(session, report(code)) for code in reports[early:]]

    assert before == [None] * early
    assert after == [message] * (2 - early)
    assert message.delivery_status == status
    assert message.extra["delivery"]["status"] == last
    assert session.scalar(select(func.count()).select_from(EarlyDeliveryReport)) == 0


def test_a_report_marks_our_messages_only_and_those_of_its_account(session):
    first = conversations.ingest(session, whatsapp(id="wamid.1"))
    message = answer(session, first.conversation_id)
    outbox.sent(session, message.id, provider_message_id="SM1")
    strangers = [report("failed", "wamid.1"), report("failed", account="+49301234"), report("failed", "SM2")]
    assert outbox.record_deliveries(session, [*strangers, report("delivered")]) == [None, None, None, message]
    assert session.get_one(Message, first.message_id).delivery_status is DeliveryStatus.DELIVERED
    assert outbox.record_delivery(session, report("failed", None)) is None


def test_sent_twice_is_sent_once(session):
    message = answer(session, conversations.ingest(session, whatsapp()).conversation_id)
    outbox.claim(session)
    first = outbox.sent(session, message.id, provider_message_id="SM1").extra["delivery"]
    assert outbox.sent(session, message.id, provider_message_id="SM1").extra["delivery"] == first
    outbox.failed(session, message.id, reason="late news")
    assert message.extra["delivery"] == first
    names = select(ProviderMessage.provider_message_id).where(ProviderMessage.message_id == message.id)
    assert session.scalars(names).all() == ["SM1"]
    assert outbox.claim(session) == []


@pytest.mark.parametrize(
    "call",
    [
        lambda s: outbox.claim(s, limit=0),
        lambda s: outbox.claim(s, lease=timedelta(0)),
        lambda s: outbox.claim(s, channel="fax"),
        lambda s: outbox.claim(s, account="\x00"),
        lambda s: outbox.sent(s, uuid4(), provider_message_id=" "),
        lambda s: outbox.sent(s, "nothing", provider_message_id="SM1"),
        lambda s: outbox.failed(s, uuid4(), reason=""),
        lambda s: outbox.failed(s, uuid4(), reason="x", retry_at=datetime(2026, 1, 1)),  # noqa: DTZ001
        lambda s: outbox.failed(s, uuid4(), reason="x", permanent="no"),
        lambda s: outbox.record_delivery(s, report("failed", reason="\x00")),
        lambda s: outbox.record_delivery(s, {"status": "failed"}),
        lambda s: conversations.note(s, uuid4(), " ", actor="human:7"),
        lambda s: conversations.note(s, uuid4(), "x", actor="me"),
    ],
)
def test_what_is_ill_formed_is_refused_before_anything_is_sent(session, queries, call):
    with pytest.raises(InvalidValue):
        call(session)
    assert queries.count == 0, queries


def test_what_is_missing_is_said(session):
    inbound = asked(session).message_id
    for error, call in (
        (MessageNotFound, lambda: outbox.sent(session, uuid4(), provider_message_id="SM1")),
        (MessageNotFound, lambda: outbox.sent(session, inbound, provider_message_id="SM1")),
        (MessageNotFound, lambda: outbox.failed(session, uuid4(), reason="x")),
        (ConversationNotFound, lambda: conversations.note(session, uuid4(), "x", actor="human:7")),
    ):
        with pytest.raises(error):
            call()
