"""Whose turn it is, and what was said: in pages that neither skip nor repeat."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from app.errors import ConversationNotFound, InvalidValue
from app.models import Conversation, ConversationStatus, TicketStatus
from app.schemas import Attachment, DeliveryReport, InboundEvent, OutboundMessage
from app.services import conversations, merging, outbox, timeline
from app.services.conversations.lists import _BY_TURN
from app.testing import ConversationFactory, MessageFactory, TicketFactory
from tests.services.conversations._messages import EMAIL, mail, whatsapp

OURS = OutboundMessage(content="Open Settings.")


def ids(page):
    return [item.id for item in page.items]


def test_it_is_our_turn_where_the_customer_wrote_last_and_who_waits_longest_is_first(session, queries):
    first, second, third = (conversations.ingest(session, mail()).conversation_id for _ in range(3))
    conversations.reply(session, second, OURS)
    conversations.ingest(session, mail())
    fourth = conversations.list_conversations(session).items[0].id
    conversations.reply(session, first, OURS)
    conversations.ingest(session, mail(thread_id=None, references=()))
    queries.reset()

    ours = ids(conversations.list_conversations(session, awaiting="us"))

    assert queries.count == 1, queries
    assert ours[:2] == [third, fourth]
    assert ids(conversations.list_conversations(session, awaiting="customer")) == [second, first]


@pytest.mark.parametrize(
    "after",
    [
        lambda s, id_: conversations.note(s, id_, "a VIP", actor="human:7"),
        lambda s, id_: conversations.reply(s, id_, OutboundMessage(content="We got it.", auto_reply=True)),
        lambda s, _: conversations.ingest(
            s, whatsapp(event=InboundEvent.REACTION, reaction_to="wamid.1", content="!")
        ),
    ],
    ids=["note", "acknowledgement", "reaction"],
)
def test_notes_machines_and_reactions_change_nobody_s_turn(session, after):
    asked = conversations.ingest(session, whatsapp(id="wamid.1")).conversation_id
    after(session, asked)
    assert ids(conversations.list_conversations(session, awaiting="us")) == [asked]
    conversations.reply(session, asked, OURS)
    after(session, asked)
    assert ids(conversations.list_conversations(session, awaiting="customer")) == [asked]


def answers(session, first, count):
    for _ in range(count):
        conversations.reply(session, first.conversation_id, OURS)
        (delivery,) = outbox.claim(session)
        outbox.sent(session, delivery.message_id, provider_message_id=delivery.provider_message_id)
        yield delivery


def bounced(delivery):
    return DeliveryReport(
        channel="email", account=delivery.account, provider_message_id=delivery.provider_message_id,
        status="failed",
    )  # fmt: skip


def test_an_answer_that_came_back_leaves_the_turn_with_us(session):
    first = conversations.ingest(session, mail())
    (delivery,) = answers(session, first, 1)
    assert conversations.list_conversations(session, awaiting="us").items == ()

    outbox.record_delivery(session, bounced(delivery))

    (entry,) = conversations.list_conversations(session, awaiting="us").items
    assert (entry.id, entry.awaiting) == (first.conversation_id, "us")
    assert conversations.list_conversations(session, awaiting="customer").items == ()
    assert conversations.get_conversation(session, first.conversation_id).awaiting == "us"


def test_so_does_one_that_was_given_up_and_the_next_answer_ends_it(session):
    first = conversations.ingest(session, mail())
    conversations.reply(session, first.conversation_id, OURS)
    (delivery,) = outbox.claim(session)
    outbox.failed(session, delivery.message_id, reason="no route", permanent=True)
    assert ids(conversations.list_conversations(session, awaiting="us")) == [first.conversation_id]

    list(answers(session, first, 1))

    assert conversations.list_conversations(session, awaiting="us").items == ()


def test_an_earlier_answer_that_came_back_takes_no_turn_from_the_customer(session):
    first = conversations.ingest(session, mail())
    early, _ = answers(session, first, 2)

    outbox.record_delivery(session, bounced(early))

    assert ids(conversations.list_conversations(session, awaiting="customer")) == [first.conversation_id]


def test_an_answer_to_a_closed_ticket_is_in_the_list_of_open_work(session):
    first = conversations.ingest(session, mail(thread_id="<root@x>"))
    TicketFactory(conversation_id=first.conversation_id, status=TicketStatus.CLOSED)
    session.get_one(Conversation, first.conversation_id).status = ConversationStatus.CLOSED
    session.flush()
    assert conversations.list_conversations(session, awaiting="us").items == ()

    conversations.ingest(session, mail(thread_id="<root@x>"))

    (entry,) = conversations.list_conversations(session, awaiting="us").items
    assert (entry.id, entry.awaiting, entry.open_tickets) == (first.conversation_id, "us", 0)


def test_what_an_archive_brought_waits_for_nobody(session):
    old = {"received_at": datetime(2020, 1, 1, tzinfo=UTC)}
    conversations.ingest(session, mail(**old), archived=True)
    assert conversations.list_conversations(session, awaiting="us").items == ()
    assert len(conversations.list_conversations(session).items) == 1


def test_lists_can_be_of_one_customer_channel_and_status(session):
    mine = ConversationFactory(channel="email")
    other = ConversationFactory(channel="whatsapp", status="escalated")
    for filters, row in (
        ({"customer_id": mine.customer_id}, mine),
        ({"channel": "whatsapp"}, other),
        ({"status": "escalated"}, other),
    ):
        assert ids(conversations.list_conversations(session, **filters)) == [row.id]


@pytest.mark.parametrize(
    "call",
    [
        lambda s: conversations.list_conversations(s, awaiting="nobody"),
        lambda s: conversations.list_conversations(s, status="lost"),
        lambda s: conversations.list_conversations(s, channel="fax"),
        lambda s: conversations.list_conversations(s, customer_id="x"),
        lambda s: conversations.list_conversations(s, limit=0),
        lambda s: conversations.list_conversations(s, before="x"),
        lambda s: conversations.transcript(s, "x"),
        lambda s: conversations.transcript(s, uuid4(), limit=1001),
        lambda s: conversations.transcript(s, uuid4(), notes="no"),
        lambda s: conversations.transcript(s, uuid4(), before=(datetime(2026, 1, 1), uuid4())),  # noqa: DTZ001
    ],
)
def test_a_bad_filter_limit_or_cursor_is_refused_before_anything_is_sent(session, queries, call):
    with pytest.raises(InvalidValue):
        call(session)
    assert queries.count == 0, queries


def test_a_transcript_tells_of_each_message_what_matters(session, queries):
    sent_at = datetime(2026, 1, 2, tzinfo=UTC)
    claimed = EMAIL.model_copy(update={"verified": False})
    first = conversations.ingest(
        session,
        mail(
            thread_id="<root@x>", subject="Password", sent_at=sent_at, content="Hi\n> old", new_text="Hi",
            attachments=(Attachment(filename="a.png"),),
        ),
    )  # fmt: skip
    conversations.note(session, first.conversation_id, "a VIP", actor="human:7")
    conversations.reply(session, first.conversation_id, OURS, actor="ai:support-agent")
    conversations.ingest(session, mail(thread_id="<root@x>", sender=(claimed,), content="cancel my account"))
    queries.reset()

    doubtful, answer, note, question = conversations.transcript(session, first.conversation_id).items

    assert queries.count == 1, queries
    assert (question.new_text, question.content, question.subject) == ("Hi", "Hi\n> old", "Password")
    assert (question.sent_at, question.attachments[0].filename) == (sent_at, "a.png")
    assert (question.assurance, doubtful.assurance, answer.assurance) == ("verified", "claimed", None)
    assert (answer.actor, answer.delivery_status, answer.new_text) == (
        "ai:support-agent", "pending", "Open Settings.",
    )  # fmt: skip
    assert (note.internal, note.actor) == (True, "human:7")
    shown = conversations.transcript(session, first.conversation_id, notes=False)
    assert ids(shown) == [doubtful.id, answer.id, question.id]


def test_a_message_of_another_backend_is_in_the_transcript_whatever_its_metadata(session):
    row = MessageFactory(extra={"assurance": "sworn", "subject": None})
    raw = MessageFactory(conversation_id=row.conversation_id)
    session.execute(text("UPDATE messages SET metadata = NULL WHERE id = :id"), {"id": raw.id})
    entries = conversations.transcript(session, row.conversation_id).items
    assert [entry.assurance for entry in entries] == [None, None]


ODD = [
    {"sent_at": "yesterday"},
    {"sent_at": 5},
    {"new_text": 5, "subject": ["x"], "actor": {}},
    {"attachments": "a.pdf", "auto_reply": "perhaps", "event": [1]},
    {"attachments": [{"name": "a.pdf"}], "internal": "maybe"},
    [1],
    "text",
]


@pytest.mark.parametrize("metadata", ODD)
def test_odd_metadata_of_another_backend_hides_no_message(session, metadata):
    message = MessageFactory()
    session.execute(
        text("UPDATE messages SET metadata = CAST(:metadata AS jsonb) WHERE id = :id"),
        {"metadata": json.dumps(metadata), "id": message.id},
    )

    (entry,) = conversations.transcript(session, message.conversation_id).items
    (remembered,) = timeline.history(session, message.customer_id).items

    assert entry.content == entry.new_text == remembered.content == message.content
    assert (entry.sent_at, entry.subject, entry.attachments, remembered.sent_at) == (None, None, (), None)


def test_an_unknown_conversation_is_not_a_silent_one(session):
    assert conversations.transcript(session, ConversationFactory().id).items == ()
    with pytest.raises(ConversationNotFound):
        conversations.transcript(session, uuid4())


@given(
    ages=st.lists(st.integers(0, 5), min_size=1, max_size=12),
    arriving=st.lists(st.integers(0, 5), max_size=3),
    limit=st.integers(1, 4),
)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_pages_neither_skip_nor_repeat_while_messages_arrive(session, ages, arriving, limit):
    conversation = ConversationFactory()
    now = datetime.now(UTC)

    def write(days):
        return MessageFactory(conversation_id=conversation.id, created_at=now - timedelta(days=days)).id

    present = [write(days) for days in ages]
    seen, cursor = [], None
    while True:
        page = conversations.transcript(session, conversation.id, limit=limit, before=cursor)
        seen += ids(page)
        cursor = page.next
        if cursor is None:
            break
        if arriving:
            write(-arriving.pop())
    assert [id_ for id_ in seen if id_ in set(present)] == seen
    assert sorted(seen) == sorted(present)


def test_pages_of_a_list_follow_each_other(session):
    rows = [conversations.ingest(session, mail()).conversation_id for _ in range(5)]
    for options, expected in (({}, rows[::-1]), ({"awaiting": "us"}, rows)):
        seen, cursor = [], None
        while True:
            page = conversations.list_conversations(session, limit=2, before=cursor, **options)
            seen += ids(page)
            cursor = page.next
            if cursor is None:
                break
        assert seen == expected


def test_who_asks_again_waits_no_shorter_and_is_not_listed_twice(session):
    rows = [conversations.ingest(session, mail(id=f"<{n}@x.example>")).conversation_id for n in range(4)]
    conversations.reply(session, rows[2], OURS)
    conversations.ingest(session, mail(thread_id="<2@x.example>", references=("<2@x.example>",)))

    first = conversations.list_conversations(session, awaiting="us", limit=2)
    again = conversations.ingest(session, mail(thread_id="<0@x.example>", references=("<0@x.example>",)))
    rest = conversations.list_conversations(session, awaiting="us", before=first.token())

    assert again.conversation_id == rows[0]
    assert ids(first) + ids(rest) == [rows[0], rows[1], rows[3], rows[2]]
    waiting = conversations.get_conversation(session, rows[0])
    assert waiting.waiting_since == first.items[0].last_message_at < waiting.last_message_at


def test_one_conversation_is_read_in_one_statement(session, queries):
    first = conversations.ingest(session, mail(thread_id="<root@x>", subject="Password"))
    conversations.ingest(session, mail(thread_id="<root@x>", subject="Re: Password"))
    TicketFactory(conversation_id=first.conversation_id)
    queries.reset()

    details = conversations.get_conversation(session, first.conversation_id)

    assert queries.count == 1, queries
    assert (details.id, details.customer_id) == (first.conversation_id, first.customer_id)
    assert (details.subject, details.awaiting, details.open_tickets) == ("Password", "us", 1)
    assert details.account == mail().account
    with pytest.raises(ConversationNotFound):
        conversations.get_conversation(session, uuid4())


def test_a_conversation_of_another_backend_is_read_whatever_it_lacks(session):
    row = ConversationFactory()
    session.execute(
        text("UPDATE conversations SET metadata = '[]', status = NULL, created_at = NULL WHERE id = :id"),
        {"id": row.id},
    )
    details = conversations.get_conversation(session, row.id)
    assert (details.extra, details.status, details.awaiting, details.account) == ({}, None, None, None)
    assert details.created_at.year == 1970


def test_a_customer_s_conversations_are_found_by_an_absorbed_id_too(session):
    asked = [conversations.ingest(session, mail()), conversations.ingest(session, whatsapp())]
    survivor_id, absorbed_id = (one.customer_id for one in asked)
    merging.merge(session, survivor_id, absorbed_id, actor="human:7", reason="one person")

    for customer_id in (survivor_id, absorbed_id):
        for awaiting in (None, "us"):
            page = conversations.list_conversations(session, customer_id=customer_id, awaiting=awaiting)
            assert set(ids(page)) == {one.conversation_id for one in asked}


def test_a_page_s_token_goes_on_where_its_next_does(session):
    rows = [ConversationFactory() for _ in range(3)]
    page = conversations.list_conversations(session, limit=2)
    assert ids(conversations.list_conversations(session, before=page.token())) == [rows[0].id]


def test_whose_turn_it_is_is_asked_of_open_conversations_only(session):
    """Closed ones become ever more; the plan reads none of them."""
    owner = ConversationFactory()
    fill = text("""
        WITH added AS (
            INSERT INTO conversations (customer_id, channel, status, created_at)
            SELECT :owner, 'email', CASE WHEN n % 100 = 0 THEN 'active' ELSE 'closed' END,
                timestamptz '2026-01-01' + n * interval '1 second'
            FROM generate_series(1, 5000) AS n RETURNING id
        )
        INSERT INTO messages (conversation_id, customer_id, channel, direction, role, content)
        SELECT id, :owner, 'email', 'inbound', 'customer', 'Hello' FROM added
    """)
    session.execute(fill, {"owner": owner.customer_id})
    session.execute(text("ANALYZE conversations, messages"))
    explained = text(f"EXPLAIN (ANALYZE, FORMAT JSON) {_BY_TURN.text}")
    place = dict.fromkeys(_BY_TURN._bindparams) | {"max_rows": 11, "last_direction": "inbound"}
    plan = session.execute(explained.bindparams(*_BY_TURN._bindparams.values()), place).scalar_one()

    def count(node):
        own = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
        is_read = node.get("Relation Name") in {"conversations", "messages"}
        return is_read * own * node["Actual Loops"] + sum(count(child) for child in node.get("Plans", ()))

    assert len(conversations.list_conversations(session, awaiting="us", limit=100).items) == 50
    assert count(plan[0]["Plan"]) < 4 * 51
