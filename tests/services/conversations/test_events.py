"""Reactions, receipts and bounces belong to the message that they are about, and do nothing else."""

from __future__ import annotations

import pytest
from sqlalchemy import func, select

from app.errors import EventTargetNotFound
from app.models import (
    Conversation,
    ConversationStatus,
    Customer,
    DeliveryStatus,
    Message,
    MessageRole,
    ProviderMessage,
)
from app.schemas import DeliveryReport, Identifier, InboundEvent
from app.services import conversations
from tests.services.conversations._messages import ACCOUNT, BEN, EMAIL, NUMBER, answered, mail, whatsapp

DAEMON = Identifier(type="email", value="mailer-daemon@mx.example.com")
STRANGER = Identifier(type="whatsapp", value="+4915112345678", verified=True)
WRITTEN = (Customer, Conversation, Message, ProviderMessage)


def counts(session):
    return [session.scalar(select(func.count()).select_from(model)) for model in WRITTEN]


def reaction(target: str, **facts):
    return whatsapp(
        **{"event": InboundEvent.REACTION, "reaction_to": target, "content": "\U0001f44d"} | facts
    )


def test_a_reaction_on_a_closed_conversation_opens_nothing(session):
    first = conversations.ingest(session, whatsapp(id="wamid.1"))
    session.get_one(Conversation, first.conversation_id).status = ConversationStatus.CLOSED
    session.flush()

    told = conversations.ingest(session, reaction("wamid.1"))

    assert (told.conversation_id, told.conversation_opened) == (first.conversation_id, False)
    assert session.get_one(Conversation, first.conversation_id).status is ConversationStatus.CLOSED
    extra = session.get_one(Message, told.message_id).extra
    assert (extra["event"], extra["reaction_to"], extra["auto_reply"]) == ("reaction", "wamid.1", True)


def test_a_reaction_is_with_its_message_also_if_another_conversation_is_open_by_now(session):
    first = conversations.ingest(session, whatsapp(id="wamid.1"))
    session.get_one(Conversation, first.conversation_id).status = ConversationStatus.CLOSED
    later = conversations.ingest(session, whatsapp())
    assert later.conversation_id != first.conversation_id
    assert conversations.ingest(session, reaction("wamid.1")).conversation_id == first.conversation_id


@pytest.mark.parametrize(
    "event",
    [
        reaction(
            "wamid.unknown", sender=(Identifier(type="whatsapp", value="+4915112345678", verified=True),)
        ),
        mail(event=InboundEvent.DELIVERY, sender=(DAEMON,), references=("<unknown@techcorp.example>",)),
        mail(event=InboundEvent.CALENDAR, references=("<1@mail.example.com>",), sender=(BEN,)),
        mail(event=InboundEvent.RECEIPT, sender=(BEN,)),
    ],
    ids=["reaction", "bounce", "calendar", "receipt"],
)
def test_an_event_about_nothing_of_its_sender_s_is_said_and_writes_nothing(session, event):
    conversations.ingest(session, mail(id="<1@mail.example.com>"))
    before = counts(session)
    with pytest.raises(EventTargetNotFound):
        conversations.ingest(session, event)
    assert counts(session) == before


@pytest.mark.parametrize("group_id", [None, "G1"])
def test_a_reaction_to_a_message_that_is_not_here_is_in_the_open_conversation(session, group_id):
    """The answer may have been sent by another system."""
    message = conversations.ingest(session, whatsapp(id="wamid.1", group_id=group_id))
    event = conversations.ingest(session, reaction("wamid.unknown", group_id=group_id))
    assert event.conversation_id == message.conversation_id


def test_a_reaction_is_stored_once(session):
    conversations.ingest(session, whatsapp(id="wamid.1"))
    event = reaction("wamid.1")
    first = conversations.ingest(session, event)
    before = counts(session)
    again = conversations.ingest(session, event)
    assert (again.duplicate, again.message_id) == (True, first.message_id)
    assert counts(session) == before


def test_a_bounce_is_beside_the_mail_that_came_back_marks_it_and_makes_no_customer(session):
    first = conversations.ingest(session, mail())
    sent = answered(session, first.conversation_id, "<ours@x>")
    before = counts(session)
    report = DeliveryReport(
        channel="email",
        account=ACCOUNT,
        provider_message_id="<ours@x>",
        status=DeliveryStatus.FAILED,
        recipient=EMAIL.value,
        code="5.1.1",
    )
    bounce = mail(
        event=InboundEvent.DELIVERY, auto_reply=True, sender=(DAEMON,), delivery_reports=(report,),
        content="550 5.1.1 no such user",
    )  # fmt: skip

    told = conversations.ingest(session, bounce)

    assert [after - b for after, b in zip(counts(session), before, strict=True)] == [0, 0, 1, 1]
    assert (told.conversation_id, told.customer_id) == (first.conversation_id, first.customer_id)
    assert told.resolution.assurance == "claimed"
    assert session.get_one(Message, told.message_id).role is MessageRole.SYSTEM
    assert session.get_one(Message, sent.id, populate_existing=True).delivery_status is DeliveryStatus.FAILED


def test_a_stranger_s_bounce_cannot_mark_what_another_account_sent(session):
    first = conversations.ingest(session, mail())
    answered(session, first.conversation_id, "<ours@x>")
    bounce = mail(
        event=InboundEvent.DELIVERY,
        sender=(DAEMON,),
        account="sales@techcorp.example",
        references=("<ours@x>",),
    )
    with pytest.raises(EventTargetNotFound):
        conversations.ingest(session, bounce)


def test_who_only_reacts_is_made_no_customer(session):
    conversations.ingest(session, whatsapp(id="wamid.1", group_id="G1"))
    before = counts(session)
    with pytest.raises(EventTargetNotFound):
        conversations.ingest(session, reaction("wamid.1", sender=(STRANGER,), group_id="G1"))
    assert counts(session) == before
    assert conversations.ingest(session, reaction("wamid.1", sender=(NUMBER,), group_id="G1"))


def changed(old: Identifier, new: Identifier):
    return whatsapp(
        event=InboundEvent.IDENTITY, auto_reply=True, sender=(new, old), former=(old,), content="a new number"
    )


def test_who_has_a_new_number_stays_the_same_and_the_old_number_may_become_another_s(session):
    first = conversations.ingest(session, whatsapp(content="my card is 4711"))

    told = conversations.ingest(session, changed(NUMBER, STRANGER))
    by_new = conversations.ingest(session, whatsapp(sender=(STRANGER,)))
    by_old = conversations.ingest(session, whatsapp(sender=(NUMBER,)))

    assert {told.customer_id, by_new.customer_id} == {first.customer_id}
    assert by_new.conversation_id == told.conversation_id == first.conversation_id
    assert conversations.reply_target(session, first.conversation_id).value == STRANGER.value
    assert by_old.customer_id != first.customer_id
    assert by_old.conversation_id != first.conversation_id


def test_a_new_number_that_is_somebody_s_is_a_conflict_and_takes_nothing_away(session):
    ana = conversations.ingest(session, whatsapp())
    other = conversations.ingest(session, whatsapp(sender=(STRANGER,)))

    told = conversations.ingest(session, changed(NUMBER, STRANGER))

    assert told.resolution.outcome == "conflict"
    assert conversations.ingest(session, whatsapp()).customer_id == ana.customer_id
    assert conversations.ingest(session, whatsapp(sender=(STRANGER,))).customer_id == other.customer_id
