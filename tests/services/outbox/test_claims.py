"""What a claim hands out and what it keeps back: windows, forms, channels that are off, dead senders."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest
from sqlalchemy import select, text

from app.channels import email
from app.errors import ConversationNotFound, InvalidValue, WindowClosed
from app.models import Channel, ChannelConfig, DeliveryStatus, OutboxEntry
from app.schemas import Delivery, DeliveryReport, Identifier, OutboundMessage
from app.services import channel_settings, conversations, outbox, tickets
from app.testing import TicketFactory
from tests.services.conversations._messages import ACCOUNT, BEN, EMAIL, NUMBER, form, mail, whatsapp
from tests.services.outbox._answers import MAIL, WHATSAPP, answer, pass_time


def age(session, message_id, **interval):
    session.execute(
        text("UPDATE messages SET created_at = created_at - :span WHERE id = :id"),
        {"span": timedelta(**interval), "id": message_id},
    )


def test_a_delivery_can_be_kept_as_json_for_a_queue_of_the_sender_s(session):
    first = conversations.ingest(session, mail())
    message = answer(session, first.conversation_id, "<p>Open <b>Settings</b>.</p>", content_type="html")

    (delivery,) = outbox.claim(session)

    assert Delivery.model_validate_json(delivery.model_dump_json()) == delivery
    assert delivery.idempotency_key == str(message.id)
    assert (delivery.text, delivery.html) == ("Open Settings.", "<p>Open <b>Settings</b>.</p>")


def test_the_window_is_between_two_numbers_whatever_conversations_there_are(session):
    old = conversations.ingest(session, whatsapp())
    age(session, old.message_id, hours=30)
    conversations.change_status(session, old.conversation_id, "closed", actor="human:7")
    written = conversations.start(
        session, old.customer_id, channel="whatsapp", account="+14155238886", to=NUMBER
    )
    answer(session, written.id)
    (delivery,) = outbox.claim(session)
    assert delivery.window_open is False

    conversations.change_status(session, written.id, "closed", actor="human:7")
    again = conversations.ingest(session, whatsapp())
    assert again.conversation_id not in {old.conversation_id, written.id}
    pass_time(session, hours=1)
    (delivery,) = outbox.claim(session)
    assert (delivery.conversation_id, delivery.window_open) == (written.id, True)


def test_free_text_outside_of_the_window_is_refused_where_it_is_written_if_the_caller_wants(session):
    first = conversations.ingest(session, whatsapp())
    mailed = conversations.ingest(session, mail(sender=(BEN,)))
    for ingested in (first, mailed):
        age(session, ingested.message_id, hours=25)
    text_ = OutboundMessage(content="Still there?")
    with pytest.raises(WindowClosed):
        conversations.reply(session, first.conversation_id, text_, in_window=True)
    assert outbox.claim(session) == []
    assert conversations.reply(session, first.conversation_id, text_)
    assert conversations.reply(session, mailed.conversation_id, text_, in_window=True)
    with pytest.raises(ConversationNotFound):
        conversations.reply(session, uuid4(), text_, in_window=True)

    conversations.ingest(session, whatsapp())
    assert conversations.reply(session, first.conversation_id, text_, in_window=True)


def test_another_number_of_ours_has_a_window_of_its_own(session):
    first = conversations.ingest(session, whatsapp())
    age(session, first.message_id, hours=25)
    conversations.ingest(session, whatsapp(account="+4930901820"))
    answer(session, first.conversation_id)

    (delivery,) = outbox.claim(session)

    assert delivery.window_open is False


def test_an_answer_answers_what_came_before_it_and_not_what_came_since(session):
    first = conversations.ingest(session, mail(id="<1@mail.example.com>", subject="Password"))
    answer(session, first.conversation_id)
    conversations.ingest(
        session, mail(id="<2@mail.example.com>", references=("<1@mail.example.com>",), subject="Other")
    )

    (delivery,) = outbox.claim(session)

    assert (delivery.in_reply_to, delivery.subject) == ("<1@mail.example.com>", "Re: Password")
    assert delivery.references == ("<1@mail.example.com>",)


@pytest.mark.parametrize(
    "subject",
    [
        "Re: Antw: Pass",
        "R: RE[2]: Pass",
        "回复\uff1aRe\uff1aPass",
        "Odp: YNT: Pass",
        "Re (3): Pass",
        "Pass",
        "Re: Odp.: Pass",
        "ΑΠ: Pass",
        "Ответ: Re: Pass",
        "השב: Pass",
    ],
)
def test_an_answer_s_subject_has_one_re_in_whatever_language_others_were(session, subject):
    first = conversations.ingest(session, mail(subject=subject))
    conversations.reply(session, first.conversation_id, OutboundMessage(content="Yes."))
    (delivery,) = outbox.claim(session)
    assert delivery.subject == "Re: Pass"


def test_what_stands_for_a_missing_message_id_is_no_reference(session):
    first = conversations.ingest(session, mail(id=f"sha256:{'0' * 64}"))
    answer(session, first.conversation_id)
    (delivery,) = outbox.claim(session)
    assert (delivery.in_reply_to, delivery.references) == (None, ())


def test_a_name_goes_only_to_whom_the_channel_proved(session):
    proven = conversations.ingest(session, mail(profile={"name": "Ana Ångström"}))
    claimed = conversations.ingest(
        session, form(sender=(EMAIL.model_copy(update={"verified": False}),), profile={"name": "Anita"})
    )
    assert claimed.customer_id == proven.customer_id
    for ingested in (proven, claimed):
        answer(session, ingested.conversation_id)

    names = {delivery.channel: delivery.to_name for delivery in outbox.claim(session)}

    assert names == {"email": "Ana Ångström", "web_form": "Anita"}


def test_a_name_that_nobody_can_see_is_no_name(session):
    first = conversations.ingest(session, mail())
    session.execute(text("UPDATE customers SET name = :name"), {"name": "\u3164"})
    answer(session, first.conversation_id)
    assert outbox.claim(session)[0].to_name is None


def test_the_author_of_a_form_is_answered_by_mail_and_answers_into_the_same_conversation(session):
    first = conversations.ingest(session, form(subject="Where is it?"))
    message = answer(session, first.conversation_id)
    assert outbox.claim(session, channel="email") == []

    (delivery,) = outbox.claim(session, channel="email", account=ACCOUNT, forms_from=ACCOUNT.upper())

    assert (delivery.channel, delivery.account, delivery.to.value) == ("email", ACCOUNT, "Ana@Example.com")
    assert (delivery.subject, delivery.in_reply_to) == ("Re: Where is it?", None)
    outbox.sent(session, message.id, provider_message_id="<changed@mailer.example>")
    reports = [
        DeliveryReport(provider_message_id=name, status=status, **MAIL)
        for name, status in [
            (delivery.provider_message_id, "delivered"),
            ("changed@mailer.example", "read"),
        ]
    ]
    assert outbox.record_deliveries(session, reports) == [message, message]
    for reference in (delivery.provider_message_id, "changed@mailer.example"):
        back = conversations.ingest(session, mail(references=(reference,)))
        assert back.conversation_id == first.conversation_id


def test_a_real_answer_to_a_mail_of_ours_finds_its_conversation_with_brackets_and_without(session):
    raw = (
        b"From: Ana <ana@example.com>\r\nTo: support@techcorp.example\r\nMessage-ID: <1@mail.example.com>\r\n"
        b"Subject: Password\r\n\r\nHow?\r\n"
    )
    first = conversations.ingest(session, email.parse(raw))
    answer(session, first.conversation_id)
    (delivery,) = outbox.claim(session)
    assert (delivery.in_reply_to, delivery.references) == ("<1@mail.example.com>", ("<1@mail.example.com>",))
    reply = raw.replace(b"<1@", b"<2@").replace(
        b"\r\n\r\n", f"\r\nIn-Reply-To: {delivery.provider_message_id}\r\n\r\n".encode()
    )

    again = conversations.ingest(session, email.parse(reply))

    assert again.conversation_id == first.conversation_id


def test_a_channel_that_is_switched_off_keeps_its_messages(session):
    first = conversations.ingest(session, whatsapp())
    mailed = conversations.ingest(session, mail(sender=(BEN,)))
    messages = [answer(session, ingested.conversation_id).id for ingested in (first, mailed)]
    config = session.scalars(select(ChannelConfig).where(ChannelConfig.channel == Channel.WHATSAPP)).one()
    config.is_enabled = False

    assert [delivery.message_id for delivery in outbox.claim(session)] == messages[1:]
    config.is_enabled = True
    assert [delivery.message_id for delivery in outbox.claim(session)] == messages[:1]


@pytest.mark.parametrize("off", [Channel.EMAIL, Channel.WEB_FORM])
def test_a_form_s_answer_by_mail_waits_while_either_channel_is_switched_off(session, off):
    message = answer(session, conversations.ingest(session, form()).conversation_id)
    channel_settings.change(session, off, actor="human:7", is_enabled=False)

    assert outbox.claim(session, forms_from=ACCOUNT) == []
    channel_settings.change(session, off, actor="human:7", is_enabled=True)
    assert [delivery.message_id for delivery in outbox.claim(session, forms_from=ACCOUNT)] == [message.id]


def test_a_message_that_comes_to_stand_first_waits_for_the_sender_who_has_a_later_one(session):
    first = conversations.ingest(session, mail())
    later = answer(session, first.conversation_id, "written second, committed first")
    outbox.claim(session)
    earlier = answer(session, first.conversation_id, "written first, committed second")
    session.execute(
        text("UPDATE outbox SET queued_at = queued_at - interval '1 hour' WHERE message_id = :id"),
        {"id": earlier.id},
    )

    assert outbox.claim(session) == []
    outbox.failed(session, later.id, reason="timeout")
    assert [delivery.message_id for delivery in outbox.claim(session)] == [earlier.id]


def test_the_word_of_a_sender_whose_lease_has_ended_does_not_disturb_the_next_one(session):
    message = answer(session, conversations.ingest(session, mail()).conversation_id)
    (slow,) = outbox.claim(session)
    pass_time(session, minutes=6)
    (quick,) = outbox.claim(session)
    due_at = session.get_one(OutboxEntry, message.id).due_at

    outbox.failed(session, message.id, reason="late", attempt=slow.attempt)
    session.expire_all()
    assert session.get_one(OutboxEntry, message.id).due_at == due_at
    outbox.failed(session, message.id, reason="no route", attempt=quick.attempt)
    session.expire_all()
    assert session.get_one(OutboxEntry, message.id).due_at < due_at


def test_an_id_is_kept_for_the_account_that_it_was_claimed_for(session):
    first = conversations.ingest(session, whatsapp())
    message = answer(session, first.conversation_id)
    outbox.claim(session)
    other = Identifier(type="whatsapp", value="whatsapp:+4915112345678", verified=True)
    conversations.ingest(
        session, whatsapp(account="+4930901820", sender=(NUMBER, other)), aliases=["+14155238886"]
    )

    outbox.sent(session, message.id, provider_message_id="SM1")

    report = DeliveryReport(provider_message_id="SM1", status="delivered", **WHATSAPP)
    assert outbox.record_delivery(session, report) is message


@pytest.mark.parametrize("mailbox", ["support", "@x", "", 7])
def test_forms_are_answered_from_a_mailbox(session, mailbox, queries):
    with pytest.raises(InvalidValue):
        outbox.claim(session, forms_from=mailbox)
    assert queries.count == 0, queries


def test_a_first_response_is_one_that_whatsapp_has_delivered(session):
    first = conversations.ingest(session, whatsapp())
    ticket = TicketFactory(conversation_id=first.conversation_id, customer_id=first.customer_id)
    given_up, bounced, late = (answer(session, first.conversation_id, text_) for text_ in ("1", "2", "3"))

    def first_response():
        return tickets.lifecycle(session, ticket.id).first_response_at

    outbox.claim(session)
    outbox.failed(session, given_up.id, reason="no route", permanent=True)
    assert first_response() is None
    for message, name, statuses in ((bounced, "SM2", ["failed"]), (late, "SM3", ["delivered", "failed"])):
        outbox.sent(session, message.id, provider_message_id=name)
        for status in statuses:
            report = DeliveryReport(provider_message_id=name, status=status, **WHATSAPP)
            outbox.record_delivery(session, report)
        assert first_response() == (late.created_at if message is late else None)
    assert late.delivery_status is DeliveryStatus.DELIVERED


def test_of_mails_what_has_left_and_not_come_back_is_a_first_response(session):
    first = conversations.ingest(session, mail())
    ticket = TicketFactory(conversation_id=first.conversation_id, customer_id=first.customer_id)
    bounced, second = (answer(session, first.conversation_id, text_) for text_ in ("1", "2"))

    def first_response():
        return tickets.lifecycle(session, ticket.id).first_response_at

    (delivery,) = outbox.claim(session)
    assert first_response() is None
    outbox.sent(session, bounced.id, provider_message_id=delivery.provider_message_id)
    assert first_response() == bounced.created_at
    report = DeliveryReport(provider_message_id=delivery.provider_message_id, status="failed", **MAIL)
    outbox.record_delivery(session, report)
    assert first_response() is None
    (delivery,) = outbox.claim(session)
    outbox.sent(session, second.id, provider_message_id=delivery.provider_message_id)
    assert first_response() == second.created_at


@pytest.mark.parametrize(
    ("kept", "names"),
    [
        ('["a.pdf"]', []),
        ('{"filename": "a.pdf"}', []),
        ('"see folder"', []),
        ("null", []),
        ("[1]", []),
        ('["a.pdf", {"filename": "b.pdf"}]', ["b.pdf"]),
    ],
)
def test_what_another_backend_keeps_as_attachments_stops_nothing(session, kept, names):
    odd = answer(session, conversations.ingest(session, mail()).conversation_id)
    answer(session, conversations.ingest(session, whatsapp()).conversation_id)
    values = {"id": odd.id, "extra": f'{{"attachments": {kept}}}'}
    session.execute(text("UPDATE messages SET metadata = :extra WHERE id = :id"), values)

    deliveries = {delivery.message_id: delivery for delivery in outbox.claim(session)}

    assert len(deliveries) == 2
    assert [attachment.filename for attachment in deliveries[odd.id].attachments] == names


def test_a_message_without_a_time_leaves_the_window_open(session):
    first = conversations.ingest(session, whatsapp())
    second = conversations.ingest(session, whatsapp())
    session.execute(text("UPDATE messages SET created_at = NULL WHERE id = :id"), {"id": second.message_id})
    assert conversations.reply(
        session, first.conversation_id, OutboundMessage(content="Open Settings."), in_window=True
    )


@pytest.mark.parametrize("channel", [None, "whatsapp"])
def test_an_account_of_whatsapp_is_claimed_as_it_is_written(session, channel):
    asked = conversations.ingest(session, whatsapp(account="Desk-ABC"))
    answer(session, asked.conversation_id)
    assert outbox.claim(session, channel=channel, account="desk-abc") == []
    assert len(outbox.claim(session, channel=channel, account="Desk-ABC")) == 1


@pytest.mark.parametrize("channel", [None, "email"])
def test_a_mailbox_is_claimed_in_any_letter_case(session, channel):
    answer(session, conversations.ingest(session, mail()).conversation_id)
    assert len(outbox.claim(session, channel=channel, account=ACCOUNT.upper())) == 1
