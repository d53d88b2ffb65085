"""What was decided about a message is kept on it; times of archives; names that are the package's own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select

from app.errors import InvalidValue, OwnMessage
from app.models import Conversation, ConversationStatus, Message, TicketStatus
from app.schemas import Identifier, OutboundMessage
from app.services import conversations
from app.services.conversations.messages import RESERVED
from app.testing import TicketFactory
from tests.services.conversations._messages import ACCOUNT, BEN, EMAIL, answered, mail, whatsapp
from tests.services.conversations.incoming import counts

LONG_AGO = datetime(2020, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("sender", "assurance", "outcome"),
    [
        ((EMAIL,), "verified", "matched"),
        ((EMAIL.model_copy(update={"verified": False}),), "claimed", "matched"),
        ((EMAIL, BEN), "verified", "conflict"),
        ((Identifier(type="email", value="new@example.com", verified=True),), "verified", "created"),
        ((Identifier(type="email", value="no-reply@example.com"),), "claimed", "created"),
    ],
    ids=["proof", "claim", "conflict", "new", "robot"],
)
def test_a_redelivery_tells_what_was_decided_the_first_time(session, sender, assurance, outcome):
    for known in (EMAIL, BEN):
        conversations.ingest(session, mail(sender=(known,)))
    sent = mail(sender=sender)
    first = conversations.ingest(session, sent)
    # Since then everybody has proven everything.
    conversations.ingest(session, mail(sender=tuple(i.model_copy(update={"verified": True}) for i in sender)))

    again = conversations.ingest(session, sent)

    assert again.duplicate
    assert (again.resolution.assurance, again.resolution.outcome) == (assurance, outcome)
    assert again.resolution == first.resolution.model_copy(update={"attached": ()})
    extra = session.get_one(Message, first.message_id).extra
    assert (extra["assurance"], extra["outcome"]) == (assurance, outcome)
    assert extra.get("candidates", []) == [str(id_) for id_ in first.resolution.candidates]


def test_a_redelivery_tells_the_tickets_as_they_are_now(session):
    sent = mail()
    first = conversations.ingest(session, sent)
    ticket = TicketFactory(conversation_id=first.conversation_id, status=TicketStatus.CLOSED)
    again = conversations.ingest(session, sent)
    assert (again.ticket_id, again.ticket_status) == (ticket.id, TicketStatus.CLOSED)
    assert (again.ticket_reopened, [t.woken for t in again.tickets]) == (False, [False])


def test_a_customer_s_mail_with_the_id_of_a_mail_of_ours_is_not_lost(session):
    first = conversations.ingest(session, mail())
    answered(session, first.conversation_id, "<ours@x>")
    forged = mail(id="<ours@x>", sender=(BEN,), content="read me")

    ingested = conversations.ingest(session, forged)

    assert not ingested.duplicate
    assert session.get_one(Message, ingested.message_id).content == "read me"
    assert conversations.ingest(session, forged).message_id == ingested.message_id


SENT = "Open Settings."
FOOTER = "\n\n_______________\nlist mailing list\nhttps://lists.example"


@pytest.mark.parametrize(
    "facts",
    [
        {"sender": (BEN,), "content": SENT},
        {"sender": (BEN,), "content": f" open  settings{FOOTER}"},
        {"content": SENT},
        {"account": "help@techcorp.example", "sender": (BEN,), "content": SENT},
    ],
    ids=["by a list", "with a list's footer", "sent back", "at an alias"],
)
def test_what_we_sent_and_comes_back_is_no_message_of_a_customer(session, facts):
    first = conversations.ingest(session, mail())
    ours = answered(session, first.conversation_id, "<ours@x>")
    before = counts(session)

    copy = conversations.ingest(
        session, mail(id="<ours@x>", **facts), aliases=[ACCOUNT, "help@techcorp.example"]
    )

    assert (copy.duplicate, copy.message_id, copy.resolution.assurance) == (True, ours.id, "claimed")
    assert counts(session) == before


@pytest.mark.parametrize("facts", [{}, {"account": "help@techcorp.example"}])
def test_an_answer_that_bears_our_id_and_quotes_us_is_not_lost(session, facts):
    first = conversations.ingest(session, mail())
    answered(session, first.conversation_id, "<ours@x>")
    words = f"That did not help.\n> {SENT}"

    answer = mail(id="<ours@x>", content=words, **facts)
    ingested = conversations.ingest(session, answer, aliases=[ACCOUNT, "help@techcorp.example"])

    assert (ingested.duplicate, session.get_one(Message, ingested.message_id).content) == (False, words)


@pytest.mark.parametrize("address", [ACCOUNT, "Support+17@techcorp.example", "help@techcorp.example"])
def test_an_address_of_ours_identifies_nobody(session, address):
    before = counts(session)
    writer = Identifier(type="email", value=address, verified=True)

    with pytest.raises(OwnMessage):
        conversations.ingest(session, mail(sender=(writer,)), aliases=["help@techcorp.example"])

    assert counts(session) == before


def test_a_redelivery_is_one_however_its_sender_s_address_is_written(session):
    first = conversations.ingest(session, mail(id="<1@x>"))
    capitals = EMAIL.model_copy(update={"value": f" {EMAIL.value.upper()}", "verified": False})

    again = conversations.ingest(session, mail(id="<1@x>", sender=(capitals,)))

    assert (again.duplicate, again.message_id) == (True, first.message_id)


@pytest.mark.parametrize("kept", [{"outcome": "x"}, {"assurance": 5, "candidates": "y"}, {"ignored": [1]}])
def test_of_what_another_backend_stored_nothing_is_trusted(session, kept):
    ingested = conversations.ingest(session, mail(id="<1@x>"))
    row = session.get_one(Message, ingested.message_id)
    row.extra = {key: value for key, value in row.extra.items() if key == "fingerprint"} | kept

    again = conversations.ingest(session, mail(id="<1@x>"))

    assert (again.duplicate, again.resolution.assurance, again.resolution.candidates) == (True, "claimed", ())


@pytest.mark.parametrize("name", sorted(RESERVED))
def test_names_that_the_package_keeps_for_itself_are_refused(session, queries, name):
    with pytest.raises(InvalidValue, match=name):
        conversations.ingest(session, mail(extra={name: True}))
    with pytest.raises(InvalidValue, match=name):
        conversations.reply(session, EMAIL, OutboundMessage(content="x", extra={name: True}))
    assert queries.count == 0, queries


def test_a_message_keeps_what_is_new_in_it_and_who_wrote_to_whom(session):
    sent = mail(
        content="Works now\n> Try again", new_text="Works now", received_at=LONG_AGO, reply_to="x@y.example"
    )
    extra = session.get_one(Message, conversations.ingest(session, sent).message_id).extra
    assert (extra["new_text"], extra["reply_to"]) == ("Works now", "x@y.example")
    assert datetime.fromisoformat(extra["received_at"]) == LONG_AGO
    plain = session.get_one(Message, conversations.ingest(session, mail()).message_id).extra
    assert "new_text" not in plain


def test_a_live_message_is_dated_by_its_arrival_and_an_archived_one_by_its_receipt(session):
    now = session.scalar(select(func.clock_timestamp()))
    received = {"received_at": LONG_AGO, "sent_at": LONG_AGO - timedelta(days=900)}
    live, archived, unknown, later = (
        session.get_one(Message, conversations.ingest(session, mail(**facts), archived=archived).message_id)
        for facts, archived in (
            (received, False),
            (received, True),
            ({}, True),
            ({"received_at": now + timedelta(days=300)}, True),
        )
    )
    assert live.created_at >= now
    assert archived.created_at == LONG_AGO
    assert unknown.created_at >= now
    assert now <= later.created_at < now + timedelta(days=1)
    assert session.get_one(Conversation, archived.conversation_id).created_at == LONG_AGO


def test_an_archived_message_wakes_nobody(session):
    first = conversations.ingest(session, whatsapp(id="wamid.1"))
    ticket = TicketFactory(conversation_id=first.conversation_id, status=TicketStatus.RESOLVED)
    session.get_one(Conversation, first.conversation_id).status = ConversationStatus.CLOSED

    old = conversations.ingest(
        session, whatsapp(references=("wamid.1",), received_at=LONG_AGO), archived=True, wake=True
    )

    assert (old.conversation_id, old.ticket_status) == (first.conversation_id, TicketStatus.RESOLVED)
    assert ticket.status is TicketStatus.RESOLVED
    assert session.get_one(Conversation, first.conversation_id).status is ConversationStatus.CLOSED


def test_an_archived_message_does_not_turn_away_where_answers_go(session):
    """Its address was the last one years ago: what is asked now is answered where it was asked."""
    other = Identifier(type="email", value="ana@old.example", verified=True)
    both = EMAIL, other
    first = conversations.ingest(session, mail(thread_id="<root@x>", sender=both)).conversation_id
    for _ in range(2):
        archived = conversations.ingest(
            session,
            mail(thread_id="<root@x>", sender=(other,), received_at=LONG_AGO),
            archived=True,
        )
        assert archived.conversation_id == first
        assert conversations.reply_target(session, first).value == EMAIL.value

    conversations.ingest(session, mail(thread_id="<root@x>", sender=(other,)))
    assert conversations.reply_target(session, first).value == other.value
