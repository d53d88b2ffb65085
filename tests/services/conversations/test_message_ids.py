"""A mail's id is one with and without its angle brackets, whoever writes it, to whatever reads it."""

from __future__ import annotations

import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from app.models import Channel, DeliveryStatus, Message, ProviderMessage
from app.schemas import DeliveryReport, Ingested, OutboundMessage
from app.services import conversations, outbox
from tests.services.conversations.incoming import counts, inbound, on_whatsapp

ACCOUNT = "support@techcorp.example"
BOTH_WAYS = [
    pytest.param("<a.1@z>", "a.1@z", id="first with"),
    pytest.param("a.1@z", "<a.1@z>", id="first without"),
]


def names(session: Session, message_id: object) -> list[str]:
    named = select(ProviderMessage.provider_message_id).where(ProviderMessage.message_id == message_id)
    return list(session.scalars(named))


def answer(session: Session, question: Ingested) -> Message:
    return conversations.reply(session, question.conversation_id, OutboundMessage(content="Reset it."))


@pytest.mark.parametrize(("first", "second"), BOTH_WAYS)
def test_a_redelivery_is_one(session, first, second):
    stored = conversations.ingest(session, inbound(first))
    before = counts(session)

    again = conversations.ingest(session, inbound(second))

    assert (again.duplicate, again.message_id) == (True, stored.message_id)
    assert counts(session) == before
    assert names(session, stored.message_id) == ["a.1@z"]


@pytest.mark.parametrize(("first", "second"), BOTH_WAYS)
def test_another_text_under_the_id_is_another_message_and_comes_again_as_itself(session, first, second):
    stored = conversations.ingest(session, inbound(first))
    other = conversations.ingest(session, inbound(second, content="Something else"))
    again = conversations.ingest(session, inbound(first, content="Something else"))

    assert (other.duplicate, again.duplicate) == (False, True)
    assert stored.message_id != other.message_id == again.message_id


@pytest.mark.parametrize(("first", "second"), BOTH_WAYS)
@pytest.mark.parametrize("answers", ["references", "thread_id"])
def test_an_answer_finds_what_it_answers(session, first, second, answers):
    stored = conversations.ingest(session, inbound(first, thread_id=first))
    named = (
        {"thread_id": second}
        if answers == "thread_id"
        else {"thread_id": "<other@z>", "references": (second,)}
    )

    assert conversations.ingest(session, inbound("<b@z>", **named)).conversation_id == stored.conversation_id


@pytest.mark.parametrize(("first", "second"), BOTH_WAYS)
def test_our_own_mail_has_one_name_and_its_reports_find_it(session, first, second):
    message = answer(session, conversations.ingest(session, inbound()))
    outbox.sent(session, message.id, provider_message_id=first)
    outbox.sent(session, message.id, provider_message_id=second)

    assert names(session, message.id) == ["a.1@z"]
    for spelling, status in ((first, DeliveryStatus.DELIVERED), (second, DeliveryStatus.READ)):
        report = DeliveryReport(channel="email", account=ACCOUNT, provider_message_id=spelling, status=status)
        outbox.record_delivery(session, report)
        assert message.delivery_status is status


@pytest.mark.parametrize(("first", "second"), BOTH_WAYS)
def test_a_report_that_comes_early_waits_for_the_other_spelling(session, first, second):
    message = answer(session, conversations.ingest(session, inbound()))
    report = DeliveryReport(channel="email", account=ACCOUNT, provider_message_id=first, status="failed")
    assert outbox.record_delivery(session, report) is None

    outbox.sent(session, message.id, provider_message_id=second)

    assert message.delivery_status is DeliveryStatus.FAILED


def test_the_id_under_which_a_mail_was_claimed_is_the_one_under_which_it_left(session):
    message = answer(session, conversations.ingest(session, inbound()))
    (delivery,) = outbox.claim(session)
    outbox.sent(session, message.id, provider_message_id=delivery.provider_message_id)

    assert delivery.provider_message_id == f"<{names(session, message.id)[0]}>"


def test_plain_sql_may_write_either(session):
    stored = conversations.ingest(session, inbound("<a@z>"))
    session.execute(
        text("""
            INSERT INTO provider_messages (channel, account, provider_message_id, message_id)
            VALUES ('email', :account, '< second@z >', :id)
        """),
        {"account": ACCOUNT, "id": stored.message_id},
    )

    answered = conversations.ingest(session, inbound("<b@z>", thread_id="<o@z>", references=("second@z",)))

    assert answered.conversation_id == stored.conversation_id


@pytest.mark.parametrize("spelling", ["<>", "<a", "a>", "< >"])
def test_what_only_looks_so_stays_as_it_is(session, spelling):
    stored = conversations.ingest(session, inbound(spelling))

    assert names(session, stored.message_id) == [spelling]
    assert conversations.ingest(session, inbound(spelling)).duplicate


def test_other_channels_ids_are_theirs(session):
    first = conversations.ingest(session, on_whatsapp(provider_message_id="<wamid.1>"))

    assert names(session, first.message_id) == ["<wamid.1>"]
    assert not conversations.ingest(session, on_whatsapp(provider_message_id="wamid.1")).duplicate
    assert (
        session.scalars(select(ProviderMessage).where(ProviderMessage.channel == Channel.EMAIL)).all() == []
    )
