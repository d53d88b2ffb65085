"""``crm conversations``, ``conversation``, ``timeline`` and ``reply``."""

from __future__ import annotations

import io
import itertools
import json
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Engine, func, select, text
from sqlalchemy.orm import Session

from app.database import make_engine
from app.models import Channel, Conversation, Message, OutboxEntry, TicketStatus
from app.schemas import Identifier, InboundMessage, OutboundMessage
from app.services import channel_settings, conversations, tickets
from app.testing import (
    ConversationFactory,
    CustomerFactory,
    Databases,
    TicketFactory,
    bound_to,
)

Run = Callable[..., Any]
NUMBERS = itertools.count(1)


@pytest.fixture(scope="module")
def engine(crm_databases: Databases) -> Iterator[Engine]:
    url = crm_databases.clone()
    engine = make_engine(url)
    yield engine
    engine.dispose()
    crm_databases.drop(url)


@pytest.fixture
def run(crm: Run, engine: Engine) -> Run:
    url = engine.url.render_as_string(hide_password=False)
    return lambda *arguments, **variables: crm(*arguments, DATABASE_URL=url, **variables)


@pytest.fixture
def session(engine: Engine) -> Iterator[Session]:
    with Session(engine, expire_on_commit=False) as session, bound_to(session):
        yield session


def written(session: Session, channel: Channel = Channel.EMAIL, **fields: Any) -> Conversation:
    """A new person's conversation, as its first message opens it."""
    number = next(NUMBERS)
    value = f"+49157{number:08}" if channel is Channel.WHATSAPP else f"writer{number}@example.com"
    sender = Identifier(
        type="whatsapp" if channel is Channel.WHATSAPP else "email", value=value, verified=True
    )
    message = {
        "channel": channel,
        "account": "+14155238886" if channel is Channel.WHATSAPP else "support@example.com",
        "provider_message_id": f"m{number}",
        "sender": (sender,),
        "content": "How do I reset my password?",
    }
    ingested = conversations.ingest(session, InboundMessage(**message | fields))
    conversation = session.get_one(Conversation, ingested.conversation_id)
    session.commit()
    return conversation


def answers(session: Session, conversation: Conversation) -> list[Message]:
    statement = (
        select(Message)
        .where(Message.conversation_id == conversation.id, Message.direction == "outbound")
        .order_by(Message.created_at, Message.id)
        .execution_options(populate_existing=True)
    )
    messages = list(session.scalars(statement))
    session.rollback()
    return messages


def test_a_conversation_shows_what_is_new_in_each_message_and_what_became_of_answers(run, session):
    conversation = written(
        session, content="It works.\n> Does it work?\n> Yours, we", new_text="It works.", subject="Export"
    )
    conversations.reply(
        session, conversation.id, OutboundMessage(content="Good to hear."), actor="ai:support-agent"
    )
    conversations.note(session, conversation.id, "call her on Monday", actor="human:7")
    session.commit()

    ran = run("conversation", str(conversation.id))

    assert ran.code == 0, ran.err
    assert "It works." in ran.out
    assert "Does it work?" not in ran.out
    assert "ai:support-agent  pending\n  Good to hear." in ran.out
    assert "human:7  note\n  call her on Monday" in ran.out
    assert "subject       Export" in ran.out


def test_a_ticket_shows_its_conversation_and_leaves_it_out_on_demand(run, session):
    conversation = written(
        session, content="Where is my invoice?\n> old words", new_text="Where is my invoice?"
    )
    ticket = TicketFactory(conversation=conversation)
    lonely = TicketFactory()
    session.commit()

    shown = run("ticket", ticket.ticket_number).out
    document = json.loads(run("ticket", ticket.ticket_number, "--json").out)

    assert "Where is my invoice?" in shown
    assert "old words" not in shown
    assert [entry["new_text"] for entry in document["conversation"]["items"]] == ["Where is my invoice?"]
    assert "Where is my invoice?" not in run("ticket", ticket.ticket_number, "--messages", "0").out
    assert json.loads(run("ticket", lonely.ticket_number, "--json").out)["conversation"] is None


def test_a_conversation_is_shown_page_by_page(run, session):
    conversation = ConversationFactory()
    for number in range(5):
        conversations.note(session, conversation.id, f"note {number}", actor="human:7")
    session.commit()

    seen: list[str] = []
    options: list[str] = []
    while True:
        document = json.loads(
            run("conversation", str(conversation.id), "--limit", "2", *options, "--json").out
        )
        seen += [entry["content"] for entry in document["items"]]
        if document["next"] is None:
            break
        options = ["--before", document["next"]]

    assert seen == [f"note {number}" for number in reversed(range(5))]
    assert "there are older ones" in run("conversation", str(conversation.id), "--limit", "2").out


def test_conversations_are_listed_by_whose_turn_it_is(run, session):
    ours = written(session)
    answered = written(session)
    conversations.reply(session, answered.id, OutboundMessage(content="Done."), actor="human:7")
    session.commit()

    def ids(*options: str) -> set[str]:
        return {one["id"] for one in json.loads(run("conversations", *options, "--json").out)["items"]}

    assert str(ours.id) in ids("--awaiting", "us")
    assert str(answered.id) not in ids("--awaiting", "us")
    assert str(answered.id) in ids("--awaiting", "customer")
    assert ids("--customer", str(ours.customer_id)) == {str(ours.id)}
    assert str(ours.id) in run("conversations", "--awaiting", "us").out


def test_a_timeline_has_messages_tickets_changes_and_decisions_in_their_order(run, session):
    conversation = written(session, content="My export is empty.")
    ticket = tickets.open_ticket(
        session,
        customer_id=conversation.customer_id,
        conversation_id=conversation.id,
        subject="Empty export",
        category="technical",
        source_channel=Channel.EMAIL,
        actor="ai:support-agent",
    )
    reason = "the column was renamed in the last release, " * 10
    tickets.change_status(session, ticket.id, TicketStatus.RESOLVED, actor="human:7", comment=reason)
    session.commit()

    ran = run("timeline", str(conversation.customer_id))
    kinds = [
        entry["kind"]
        for entry in json.loads(run("timeline", str(conversation.customer_id), "--json").out)["items"]
    ]

    assert ran.code == 0, ran.err
    assert "My export is empty." in ran.out
    assert f"{ticket.ticket_number}  opened  by ai:support-agent" in ran.out
    assert f"{ticket.ticket_number}  open -> resolved  by human:7" in ran.out
    assert " ".join(reason.split()) in " ".join(ran.out.split())
    assert {"message", "ticket", "status_change", "identity_event"} <= {*kinds}
    assert ran.out.index("opened") < ran.out.index("-> resolved")


def test_a_reply_stands_in_its_channels_template_and_waits_in_the_outbox(run, session):
    conversation = written(session)
    ticket = TicketFactory(conversation=conversation)
    session.commit()

    ran = run("reply", ticket.ticket_number, "It is on its way.", "--actor", "human:7")

    (answer,) = answers(session, conversation)
    assert ran.code == 0, ran.err
    assert answer.content.startswith("Hi ")
    assert "\nIt is on its way.\n" in answer.content
    assert answer.content in ran.out
    assert str(answer.id) in ran.out
    assert (answer.extra["actor"], answer.delivery_status) == ("human:7", "pending")
    entry = session.get_one(OutboxEntry, answer.id)
    assert entry.attempts == 0
    session.rollback()


def test_a_reply_can_be_tried_and_is_then_not_stored(run, session):
    conversation = written(session)

    shown = run("reply", str(conversation.id), "It is on its way.", "--dry-run")
    document = json.loads(run("reply", str(conversation.id), "Soon.", "--dry-run", "--json").out)

    assert "It is on its way." in shown.out
    assert shown.out.endswith("not stored\n")
    assert (document["message_id"], document["reply"]["length"]) == (None, 1)
    assert answers(session, conversation) == []


def test_a_reply_comes_from_standard_input(run, session, monkeypatch):
    conversation = written(session, Channel.WHATSAPP)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("Olá,\nsão dois.\n".encode())))

    ran = run("reply", str(conversation.id), "-")

    assert ran.code == 0, ran.err
    assert [answer.content for answer in answers(session, conversation)] == ["Olá,\nsão dois."]


def test_a_long_reply_is_refused_or_ends_after_a_sentence(run, session):
    conversation = written(session, Channel.WHATSAPP)
    body = "This sentence is said again. " * 80

    refused = run("reply", str(conversation.id), body)
    shortened = run("reply", str(conversation.id), body, "--shorten")

    assert (refused.code, refused.out) == (1, "")
    assert "characters" in refused.problem
    assert shortened.code == 0, shortened.err
    (answer,) = answers(session, conversation)
    assert answer.content.endswith("said again.")
    assert len(answer.content) <= 1600


def test_what_cannot_be_answered_is_one_line_and_nothing_is_stored(run, session):
    closed = written(session, Channel.WHATSAPP)
    session.execute(
        text("UPDATE messages SET created_at = :then WHERE conversation_id = :id"),
        {"then": datetime.now(UTC) - timedelta(days=2), "id": closed.id},
    )
    lonely = TicketFactory()
    session.commit()
    before = session.scalar(select(func.count()).select_from(Message))
    session.rollback()

    for arguments, problem in (
        ((str(closed.id), "Hello"), "24 hours"),
        ((str(uuid4()), "Hello"), "there is no conversation"),
        (("TKT-9999", "Hello"), "there is no ticket TKT-9999"),
        ((lonely.ticket_number, "Hello"), "has no conversation"),
        ((str(closed.id), " "), "body: must not be empty"),
        ((str(closed.id), "Hello", "--actor", "me"), "actor: must read like human:7"),
    ):
        ran = run("reply", *arguments)
        assert (ran.code, ran.out) == (1, ""), arguments
        assert problem in ran.problem

    assert session.scalar(select(func.count()).select_from(Message)) == before
    session.rollback()


def test_a_channel_that_is_off_takes_no_reply(run, session):
    conversation = written(session, Channel.WEB_FORM)
    channel_settings.change(session, Channel.WEB_FORM, actor="human:7", is_enabled=False)
    session.commit()
    try:
        ran = run("reply", str(conversation.id), "Hello")
    finally:
        channel_settings.change(session, Channel.WEB_FORM, actor="human:7", is_enabled=True)
        session.commit()

    assert (ran.code, ran.out) == (1, "")
    assert "switched off" in ran.problem
    assert answers(session, conversation) == []


@pytest.mark.parametrize("command", ["conversation", "timeline"])
def test_what_nobody_knows_is_one_line(run, command):
    ran = run(command, str(uuid4()))

    assert (ran.code, ran.out) == (1, "")
    assert "there is no" in ran.problem


def test_a_customer_to_whom_nothing_happened_is_told_so(run, session):
    customer = CustomerFactory()
    session.execute(text("ALTER TABLE identity_events DISABLE TRIGGER USER"))
    session.execute(text("DELETE FROM identity_events WHERE customer_id = :id"), {"id": customer.id})
    session.execute(text("ALTER TABLE identity_events ENABLE TRIGGER USER"))
    session.commit()

    assert "nothing has happened" in run("timeline", str(customer.id)).out
    assert run("conversations", "--customer", str(customer.id)).out == "no conversations\n"
