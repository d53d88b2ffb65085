"""When a message was written: by the clock, whoever writes it; the column keeps the default of the DDL."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import func, insert, select, text

from app.models import Message
from app.testing import MessageFactory

BY_HAND = text(
    "INSERT INTO messages (conversation_id, customer_id, channel, direction, role, content) "
    "SELECT conversation_id, customer_id, channel, 'outbound', 'agent', said.content "
    "FROM messages, unnest(CAST(:contents AS text[])) AS said (content) WHERE id = :id RETURNING created_at"
)


def test_messages_of_one_transaction_keep_their_order_whoever_writes_them(session):
    question = MessageFactory()
    answers = session.scalars(BY_HAND, {"id": question.id, "contents": ["one", "two"]}).all()
    again = MessageFactory(conversation=question.conversation)
    core = {
        name: getattr(question, name)
        for name in ("conversation_id", "customer_id", "channel", "direction", "role", "content")
    }
    last = session.scalar(insert(Message).values(core).returning(Message.created_at))

    times = [question.created_at, *answers, again.created_at, last]

    assert times == sorted(set(times))
    assert session.scalar(select(func.now())) < times[0]


def test_a_time_that_the_writer_gives_stays(session):
    long_ago = datetime(2020, 2, 29, 12, tzinfo=UTC)

    assert MessageFactory(created_at=long_ago).created_at == long_ago


def test_an_update_leaves_the_time_of_writing(session):
    message = MessageFactory()
    written = message.created_at

    session.execute(text("UPDATE messages SET content = 'x', created_at = created_at"))
    session.refresh(message)

    assert message.created_at == written
