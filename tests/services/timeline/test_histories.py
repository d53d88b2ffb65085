"""One person's history over all channels, in pages that nothing shifts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from app.errors import CustomerNotFound, InvalidValue
from app.models import Channel, Customer, MessageDirection, MessageRole, uuid7
from app.schemas import Cursor, HistoryEntry
from app.services import conversations, timeline
from app.testing import ConversationFactory, CustomerFactory, MessageFactory

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def walk(session: Session, customer_id: UUID, *, limit: int) -> list[HistoryEntry]:
    """All entries, page by page."""
    entries: list[HistoryEntry] = []
    page = timeline.history(session, customer_id, limit=limit)
    entries += page.items
    while page.next is not None:
        assert len(page.items) == limit
        page = timeline.history(session, customer_id, limit=limit, before=page.next)
        entries += page.items
    return entries


def test_a_history_joins_the_channels_newest_first(session):
    customer = CustomerFactory()
    by_mail = ConversationFactory(customer=customer)
    by_phone = ConversationFactory(customer=customer, channel=Channel.WHATSAPP)
    question = MessageFactory(conversation=by_mail, customer=customer)
    answer = MessageFactory(conversation=by_mail, customer=customer, outbound=True)
    # Written to the mailbox, but stored in the other channel's conversation.
    stray = MessageFactory(conversation=by_phone, customer=customer, channel=Channel.EMAIL)
    MessageFactory()
    page = timeline.history(session, customer.id)
    assert [entry.id for entry in page.items] == [stray.id, answer.id, question.id]
    assert page.next is None
    newest = page.items[0]
    assert (newest.channel, newest.conversation_channel) == (Channel.EMAIL, Channel.WHATSAPP)
    assert (page.items[1].direction, page.items[1].role) == (MessageDirection.OUTBOUND, MessageRole.AGENT)
    assert page.items[2].content == question.content


def test_a_note_among_ourselves_says_that_it_is_one(session):
    conversation = ConversationFactory()
    MessageFactory(conversation=conversation, extra=None)
    conversations.note(session, conversation.id, "a VIP", actor="human:7")
    page = timeline.history(session, conversation.customer_id)
    assert [(entry.content == "a VIP", entry.internal) for entry in page.items] == [
        (True, True),
        (False, False),
    ]


def test_a_page_is_one_statement_however_long_the_history(session, queries):
    customer = CustomerFactory()
    conversation = ConversationFactory(customer=customer)
    counted = []
    for _ in range(2):
        for _ in range(10):
            MessageFactory(conversation=conversation, customer=customer)
        queries.reset()
        page = timeline.history(session, customer.id, limit=5)
        timeline.history(session, customer.id, limit=5, before=page.next)
        counted.append(queries.count)
    assert counted == [2, 2], queries


@pytest.mark.parametrize("limit", [1, 2, 3, 6, 7, 1000])
def test_pages_neither_skip_nor_repeat_messages_of_one_moment(session, limit):
    customer = CustomerFactory()
    conversation = ConversationFactory(customer=customer)
    times = [NOON, NOON, NOON, NOON + timedelta(microseconds=1), NOON + timedelta(microseconds=1), NOON]
    made = [
        MessageFactory(conversation=conversation, customer=customer, created_at=when, id=id_())
        for when, id_ in zip(times, [uuid7, uuid4] * 3, strict=True)
    ]
    expected = sorted(((m.created_at, m.id.bytes, m.id) for m in made), reverse=True)
    assert [entry.id for entry in walk(session, customer.id, limit=limit)] == [row[2] for row in expected]


def test_what_arrives_between_two_pages_shifts_nothing(session):
    customer = CustomerFactory()
    conversation = ConversationFactory(customer=customer)
    made = [MessageFactory(conversation=conversation, customer=customer) for _ in range(4)]
    first = timeline.history(session, customer.id, limit=2)
    MessageFactory(conversation=conversation, customer=customer)
    second = timeline.history(session, customer.id, limit=2, before=first.next)
    assert [e.id for e in first.items + second.items] == [m.id for m in reversed(made)]
    assert second.next is None


def test_a_full_last_page_says_that_it_is_the_last(session):
    customer = CustomerFactory()
    conversation = ConversationFactory(customer=customer)
    for _ in range(3):
        MessageFactory(conversation=conversation, customer=customer)
    assert timeline.history(session, customer.id, limit=3).next is None
    assert timeline.history(session, customer.id, limit=2).next is not None


def test_a_cursor_survives_json(session):
    customer = CustomerFactory()
    conversation = ConversationFactory(customer=customer)
    for _ in range(2):
        MessageFactory(conversation=conversation, customer=customer)
    page = timeline.history(session, customer.id, limit=1)
    sent = type(page).model_validate_json(page.model_dump_json())
    assert sent == page
    rest = timeline.history(session, customer.id, limit=1, before=sent.next)
    assert rest == timeline.history(session, customer.id, limit=1, before=page.next)


def test_a_silent_customer_has_an_empty_page_and_an_unknown_one_is_an_error(session):
    assert timeline.history(session, CustomerFactory().id).items == ()
    with pytest.raises(CustomerNotFound):
        timeline.history(session, uuid4())


def test_a_raw_message_without_a_time_does_not_break_the_pages(session):
    message = MessageFactory()
    session.execute(text("UPDATE messages SET created_at = NULL WHERE id = :id"), {"id": message.id})
    assert timeline.history(session, message.customer_id).items == ()


@pytest.mark.parametrize("limit", [0, -1, 1001, True, "5", 2.0, None])
def test_a_bad_limit_is_refused(session, queries, limit):
    with pytest.raises(InvalidValue, match=r"^limit: "):
        timeline.history(session, uuid4(), limit=limit)
    assert queries.count == 0, queries


@pytest.mark.parametrize(
    "before",
    [
        (NOON.replace(tzinfo=None), uuid4()),
        (NOON, "not an id"),
        (NOON,),
        (NOON, uuid4(), 3),
        NOON,
        "2026-03-01",
        (None, uuid4()),
    ],
    ids=["naive", "id", "short", "long", "time", "text", "no time"],
)
def test_a_bad_cursor_is_refused(session, queries, before):
    with pytest.raises(InvalidValue, match=r"^before: "):
        timeline.history(session, uuid4(), before=before)
    assert queries.count == 0, queries


def test_the_ends_of_time_are_cursors_too(session):
    message = MessageFactory()
    last = Cursor(datetime.max.replace(tzinfo=UTC), UUID(int=2**128 - 1))
    first = Cursor(datetime.min.replace(tzinfo=UTC), UUID(int=0))
    assert len(timeline.history(session, message.customer_id, before=last).items) == 1
    assert timeline.history(session, message.customer_id, before=first).items == ()


def test_reading_a_history_loads_no_rows_into_the_session(session):
    message = MessageFactory()
    session.expunge_all()
    timeline.history(session, message.customer_id)
    assert not any(isinstance(row, Customer) for row in session)
    assert len(list(session)) == 0
