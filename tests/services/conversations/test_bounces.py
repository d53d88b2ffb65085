"""From a mail's bytes to the answer that came back: our message is marked, nobody is made a customer."""

from __future__ import annotations

import pytest
from sqlalchemy.orm import Session

from app.channels import email
from app.errors import EventTargetNotFound
from app.models import DeliveryStatus, Message, TicketStatus
from app.schemas import InboundEvent, Ingested, OutboundMessage
from app.services import conversations, outbox, tickets
from app.testing import TicketFactory
from tests.channels.email.test_real_bounces import BOUNCES, EVA, OURS
from tests.services.conversations.incoming import counts

ACCOUNT = "support@us.example"
QUESTION = f"From: Eva <{EVA}>\r\nTo: {ACCOUNT}\r\nMessage-ID: <q1@z.example>\r\nSubject: Login\r\n\r\nHelp"


def ingest(session: Session, text: str, **options: object) -> Ingested:
    raw = text.replace("\r\n", "\n").replace("\n", "\r\n").encode()
    return conversations.ingest(session, email.parse(raw, own_accounts=[ACCOUNT]), **options)


def sent_answer(session: Session) -> tuple[Ingested, Message, str]:
    """A question, our answer, and the Message-ID under which it left."""
    question = ingest(session, QUESTION)
    conversations.reply(session, question.conversation_id, OutboundMessage(content="Reset it."))
    (delivery,) = outbox.claim(session)
    answer = outbox.sent(session, delivery.message_id, provider_message_id=delivery.provider_message_id)
    return question, answer, delivery.provider_message_id.strip("<>")


def marked(session: Session, answer: Message) -> Message:
    return session.get_one(Message, answer.id, populate_existing=True)


MAILERS = ["postfix", "exim", "exchange", "gmail", "amazon ses", "qmail", "exchange 2003", "sendmail"]


@pytest.mark.parametrize("mailer", MAILERS)
def test_a_bounce_marks_the_answer_that_came_back_and_makes_no_customer(session, mailer):
    question, answer, message_id = sent_answer(session)
    ticket = TicketFactory(
        customer_id=question.customer_id,
        conversation_id=question.conversation_id,
        status=TicketStatus.WAITING,
    )
    before = counts(session)
    text, (_, recipient, _, code) = BOUNCES[mailer]

    bounce = ingest(session, text.replace(OURS, message_id))

    assert [new - old for new, old in zip(counts(session), before, strict=True)] == [0, 0, 0, 1, 1]
    assert (bounce.customer_id, bounce.conversation_id) == (question.customer_id, question.conversation_id)
    message = marked(session, answer)
    assert message.delivery_status is DeliveryStatus.FAILED
    kept = message.extra["delivery"]
    assert (kept["status"], kept["recipient"], kept["code"]) == ("failed", recipient, code)
    assert tickets.get_ticket(session, ticket.id).status is TicketStatus.WAITING
    entry = conversations.transcript(session, question.conversation_id).items[0]
    assert (entry.event, entry.auto_reply, entry.assurance) == (InboundEvent.DELIVERY, True, "claimed")


def test_a_delay_marks_nothing_as_failed(session):
    _, answer, message_id = sent_answer(session)

    ingest(session, BOUNCES["postfix, delayed"][0].replace(OURS, message_id))

    assert marked(session, answer).delivery_status is DeliveryStatus.PENDING


def test_a_bounce_comes_to_an_address_of_its_own_where_aliases_say_whose_it_is(session):
    _, answer, message_id = sent_answer(session)
    text = BOUNCES["postfix"][0].replace(OURS, message_id).replace(ACCOUNT, "bounces+17@us.example", 1)
    raw = text.replace(f"To: {ACCOUNT}", "To: bounces+17@us.example").replace("\n", "\r\n").encode()
    bounce = email.parse(raw)
    with pytest.raises(EventTargetNotFound):
        conversations.ingest(session, bounce)

    conversations.ingest(session, bounce, aliases=[ACCOUNT])

    assert marked(session, answer).extra["delivery"]["recipient"] == EVA


def test_a_bounce_of_what_we_do_not_know_is_said_and_makes_no_customer(session):
    before = counts(session)

    with pytest.raises(EventTargetNotFound):
        ingest(session, BOUNCES["postfix"][0])

    assert counts(session) == before


def test_a_bounce_that_comes_before_the_sender_has_said_what_left_is_kept_for_it(session):
    question = ingest(session, QUESTION)
    conversations.reply(session, question.conversation_id, OutboundMessage(content="Reset it."))
    (delivery,) = outbox.claim(session)
    (report,) = email.parse(BOUNCES["amazon ses"][0].encode(), account=ACCOUNT).delivery_reports
    early = report.model_copy(update={"provider_message_id": "ses-17"})
    assert outbox.record_delivery(session, early) is None

    message = outbox.sent(session, delivery.message_id, provider_message_id="ses-17")

    assert message.delivery_status is DeliveryStatus.FAILED
    assert message.extra["delivery"]["recipient"] == EVA


def test_a_customer_s_answer_to_the_answer_finds_the_conversation_by_in_reply_to_alone(session):
    question, _, message_id = sent_answer(session)
    head = f"From: {EVA}\r\nTo: {ACCOUNT}\r\nMessage-ID: <q2@z.example>\r\n"
    answer = f"{head}In-Reply-To: <{message_id}>\r\n\r\nThanks"

    assert ingest(session, answer).conversation_id == question.conversation_id


@pytest.mark.parametrize("options", [{}, {"aliases": [ACCOUNT]}])
def test_a_copy_of_our_answer_that_a_list_sends_back_is_no_question(session, options):
    _, answer, message_id = sent_answer(session)
    before = counts(session)
    account = "sales@us.example" if options else ACCOUNT
    copy = (
        f"From: Support via List <list@c.example>\r\nTo: list@c.example\r\nDelivered-To: {account}\r\n"
        f"Message-ID: <{message_id}>\r\nList-Post: <mailto:list@c.example>\r\n\r\n"
        "Reset it.\r\n-- \r\nlist footer"
    )

    ingested = ingest(session, copy, **options)

    assert (ingested.duplicate, ingested.message_id) == (True, answer.id)
    assert counts(session) == before


FORGED = {
    "in her own name": ("", "From: Eve <eve@evil.example>"),
    "by her return path": ("Return-Path: <eve@evil.example>\n", "From: MAILER-DAEMON@evil.example"),
    "in our name": ("Return-Path: <eve@evil.example>\n", "From: postmaster@us.example"),
    "with another's failed recipients": ("", "From: eve@evil.example\nX-Failed-Recipients: eva@z.example"),
}


@pytest.mark.parametrize(("path", "author"), FORGED.values(), ids=FORGED)
def test_a_report_that_somebody_sends_marks_nothing_and_is_not_beside_our_answer(session, path, author):
    question, answer, message_id = sent_answer(session)
    report = (
        f"{path}{author}\nTo: {ACCOUNT}\nMessage-ID: <f@evil.example>\n"
        "Content-Type: multipart/report; report-type=delivery-status; boundary=B\n\n"
        "--B\n\nIt came back.\n--B\nContent-Type: message/delivery-status\n\n"
        f"Final-Recipient: rfc822; {EVA}\nAction: failed\nStatus: 5.1.1\n\n"
        f"--B\nContent-Type: text/rfc822-headers\n\nMessage-ID: <{message_id}>\n\n--B--\n"
    )

    forged = ingest(session, report)

    assert forged.conversation_id != question.conversation_id
    assert forged.customer_id != question.customer_id
    assert marked(session, answer).delivery_status is DeliveryStatus.PENDING


@pytest.mark.parametrize("author", ["admin@mx.us.example", "Post <eva@z.example>", "noreply@z.example"])
def test_a_report_without_a_return_path_for_answers_is_a_servers_whatever_it_calls_itself(session, author):
    question, answer, message_id = sent_answer(session)
    text = BOUNCES["postfix"][0].replace(OURS, message_id)
    text = text.replace("From: MAILER-DAEMON@mx.us.example (Mail Delivery System)", f"From: {author}")

    assert ingest(session, text).conversation_id == question.conversation_id
    assert marked(session, answer).delivery_status is DeliveryStatus.FAILED


def test_a_receipt_marks_only_what_was_sent_to_its_author(session):
    _, answer, message_id = sent_answer(session)
    head = f"From: eve@evil.example\nTo: {ACCOUNT}\nMessage-ID:"
    own = ingest(session, f"{head} <e1@evil.example>\n\nHello")
    receipt = (
        f"{head} <e2@evil.example>\nReferences: <e1@evil.example>\n"
        "Content-Type: multipart/report; report-type=disposition-notification; boundary=B\n\n"
        "--B\n\nRead.\n--B\nContent-Type: message/disposition-notification\n\n"
        f"Original-Message-ID: <{message_id}>\n"
        "Disposition: manual-action/MDN-sent-manually; displayed\n\n--B--\n"
    )

    stored = ingest(session, receipt)

    assert stored.conversation_id == own.conversation_id
    assert marked(session, answer).delivery_status is DeliveryStatus.PENDING


@pytest.mark.parametrize("author", ["MAILER-DAEMON@mailhost", "root@localhost", "MAILER-DAEMON@[192.0.2.1]"])
def test_a_bounce_of_a_host_without_a_domain_marks_the_answer_too(session, author):
    question, answer, message_id = sent_answer(session)
    text = BOUNCES["postfix"][0].replace(OURS, message_id)
    text = text.replace("From: MAILER-DAEMON@mx.us.example (Mail Delivery System)", f"From: {author}")

    assert ingest(session, text).conversation_id == question.conversation_id
    assert marked(session, answer).delivery_status is DeliveryStatus.FAILED


@pytest.mark.parametrize(
    "path",
    [
        "<>",
        "<MAILER-DAEMON>",
        "<MAILER-DAEMON@mx.us.example>",
        "<bounces+17@z.example>",
        "<postmaster@z.example>",
        "",
    ],
)
def test_a_bounce_whose_return_path_is_nobodys_marks_the_answer(session, path):
    question, answer, message_id = sent_answer(session)
    text = BOUNCES["postfix"][0].replace(OURS, message_id).replace("Return-Path: <>", f"Return-Path: {path}")

    assert ingest(session, text).conversation_id == question.conversation_id
    assert marked(session, answer).delivery_status is DeliveryStatus.FAILED
