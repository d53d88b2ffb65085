"""What an agent may know when it answers: all of it in one call, and nothing that it must not tell."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from sqlalchemy import text

from app.embeddings import LexicalEmbedder, embed_query
from app.errors import ConversationNotFound, EmbedderUnavailable, InvalidValue, InvalidVector
from app.schemas import (
    Attachment,
    CustomerProfile,
    Identifier,
    InboundEvent,
    OutboundMessage,
)
from app.services import conversations, identity, indexing, knowledge, tickets
from app.testing import ConversationFactory, KnowledgeBaseEntryFactory, MessageFactory, TicketFactory
from tests.services.conversations._messages import EMAIL, NUMBER, form, mail, whatsapp

CLAIM = EMAIL.model_copy(update={"verified": False})
OURS = OutboundMessage(content="Open Settings.")
THREAD = {"thread_id": "<root@x>"}
EMBEDDER = LexicalEmbedder()


def solved(session, subject, notes, **owner):
    ticket = TicketFactory(subject=subject, **owner)
    tickets.change_status(session, ticket.id, "processing", actor="human:7")
    return tickets.change_status(session, ticket.id, "resolved", actor="human:7", resolution_notes=notes)


@pytest.fixture
def known(session):
    """A customer whom the package knows well, and who has proved his address: nothing of it is for others."""
    session.execute(text("DELETE FROM knowledge_base"))
    KnowledgeBaseEntryFactory(title="Resetting a password", content="Open Settings and press Reset.")
    first = conversations.ingest(
        session,
        mail(
            id="<SECRET-ID@x>", subject="SECRET-SUBJECT",
            content="How do I reset my SECRET-CONTENT password?",
            new_text="SECRET-NEW", thread_id="<SECRET-THREAD@x>", extra={"note": "SECRET-EXTRA"},
            attachments=[Attachment(filename="SECRET-FILE.pdf", url="https://x.example/SECRET-URL")],
            profile=CustomerProfile(name="SECRET-NAME", company="SECRET-COMPANY"),
        ),
    )  # fmt: skip
    session.execute(
        text("""
            UPDATE customers SET name = 'SECRET-NAME', company = 'SECRET-COMPANY', plan = 'enterprise',
                phone = '+4930901820', metadata = '{"note": "SECRET-METADATA"}'
            WHERE id = :id
        """),
        {"id": first.customer_id},
    )
    owner = {"customer_id": first.customer_id, "conversation_id": first.conversation_id}
    ticket = TicketFactory(
        subject="SECRET-TICKET password",
        escalation_reason="SECRET-REASON",
        extra={"note": "SECRET-T"},
        **owner,
    )
    tickets.assign(session, ticket.id, "human:SECRET", actor="human:7", comment="SECRET-COMMENT")
    own = solved(session, "How do I reset my password? SECRET-SOLVED", "SECRET-NOTES", **owner)
    solved(session, "How do I reset my password? SECRET-OTHERS", "SECRET-NOTES of somebody else")
    conversations.reply(session, first.conversation_id, OutboundMessage(content="SECRET-ANSWER"))
    conversations.note(session, first.conversation_id, "SECRET-NOTE", actor="human:7")
    knowledge.embed_missing(session, EMBEDDER)
    indexing.embed_missing(session, EMBEDDER)
    secrets = [first.conversation_id, first.message_id, ticket.id, ticket.ticket_number, own.ticket_number]
    return first, [str(secret) for secret in secrets]


def asked(session, **facts):
    return conversations.ingest(
        session, form(**{"sender": (CLAIM,), "content": "How do I reset my password?"} | facts)
    )


@pytest.mark.parametrize(
    "options", [{}, {"embedder": EMBEDDER}, {"notes": True, "messages": 100, "articles": 100}]
)
def test_who_only_claims_to_be_somebody_is_told_nothing_of_them(session, known, options):
    """The attack: a form with the victim's address, which matches the customer as a claim."""
    first, ids = known
    attack = asked(session, profile=CustomerProfile(name="Mallory"))
    assert attack.customer_id == first.customer_id
    assert attack.conversation_id != first.conversation_id
    conversations.note(session, attack.conversation_id, "SECRET: has TKT-1 too", actor="human:7")

    context = conversations.context(session, attack.conversation_id, **options)

    told = context.model_dump_json() + context.as_text() + repr(context)
    assert "SECRET" not in told
    assert [secret for secret in ids if secret in told] == []
    assert "enterprise" not in told
    assert "901820" not in told
    assert context.disclosure.other_conversations is False
    assert (context.disclosure.reason, context.assurance) == ("claimed", "claimed")
    assert (context.open_tickets, context.solved_tickets) == ((), ())
    # What the asker gave, and what is everybody's.
    assert context.customer.name == "Mallory"
    assert [article.title for article in context.articles] == ["Resetting a password"]
    assert [message.text for message in context.messages] == ["How do I reset my password?"]


def test_in_a_group_whose_others_read_the_answer_nothing_is_told(session, known):
    """The same person, proved by the channel, asks where others read."""
    first, ids = known
    identity.attach_identifier(session, first.customer_id, NUMBER, channel="whatsapp", actor="human:7")
    asked = conversations.ingest(session, whatsapp(group_id="GROUP-1", content="Reset my password?"))
    assert (asked.customer_id, asked.resolution.assurance) == (first.customer_id, "verified")
    conversations.note(session, asked.conversation_id, "SECRET: has TKT-1 too", actor="human:7")

    context = conversations.context(session, asked.conversation_id, notes=True)

    told = context.model_dump_json() + context.as_text()
    assert "SECRET" not in told
    assert [secret for secret in ids if secret in told] == []
    assert "enterprise" not in told
    assert (context.assurance, context.disclosure.other_conversations) == ("verified", False)
    assert context.disclosure.reason == "group"
    assert "others read the answer in this group" in context.as_text()
    alone = conversations.ingest(session, whatsapp(content="Reset my password?"))
    assert conversations.context(session, alone.conversation_id).disclosure.other_conversations


def test_a_ticket_of_this_conversation_is_no_secret_here(session, known):
    attack = asked(session)
    ticket = TicketFactory(
        conversation_id=attack.conversation_id, customer_id=attack.customer_id, subject="Reset"
    )
    context = conversations.context(session, attack.conversation_id)
    assert [(t.ticket_number, t.of_this_conversation) for t in context.open_tickets] == [
        (ticket.ticket_number, True)
    ]


@pytest.mark.usefixtures("known")
def test_who_has_proved_it_is_told_what_is_known_and_nothing_of_others(session):
    again = conversations.ingest(session, mail(content="How do I reset my password?"))

    context = conversations.context(session, again.conversation_id, embedder=EMBEDDER)

    assert (context.assurance, context.disclosure.reason) == ("verified", "verified")
    assert context.disclosure.other_conversations is True
    assert (context.customer.name, context.customer.company, context.customer.plan) == (
        "SECRET-NAME", "SECRET-COMPANY", "enterprise",
    )  # fmt: skip
    (ticket,) = context.open_tickets
    assert (ticket.subject, ticket.waiting_for, ticket.of_this_conversation) == (
        "SECRET-TICKET password", "us", False,
    )  # fmt: skip
    assert {(t.resolution_notes, t.ticket_number is None) for t in context.solved_tickets} == {
        ("SECRET-NOTES", False),
        ("SECRET-NOTES of somebody else", True),
    }
    assert "SECRET-OTHERS" not in context.model_dump_json()
    assert 'SECRET-NOTE"' not in context.model_dump_json()


def test_a_context_is_the_turn_s_facts(session, known):
    first = conversations.ingest(
        session, whatsapp(content="It does not work", profile=CustomerProfile(name="Ana"))
    )
    ticket = TicketFactory(
        conversation_id=first.conversation_id, customer_id=first.customer_id, subject="Broken",
        status="waiting", priority="high",
    )  # fmt: skip
    session.execute(
        text("UPDATE tickets SET created_at = now() - interval '3 days' WHERE id = :id"), {"id": ticket.id}
    )
    conversations.reply(session, first.conversation_id, OURS, actor="ai:support-agent")
    conversations.ingest(session, whatsapp(content="How do I reset my password?"))

    context = conversations.context(session, first.conversation_id)

    assert [message.text for message in context.messages] == [
        "It does not work", "Open Settings.", "How do I reset my password?",
    ]  # fmt: skip
    assert (context.channel.channel, context.channel.tone) == ("whatsapp", "conversational")
    assert context.channel.length_unit == "characters"
    assert "longest answer: 1600 characters\n" in context.as_text()
    assert (context.channel.max_response_length, context.channel.response_template) == (
        1600,
        "{{response_body}}",
    )
    assert context.customer.address == Identifier(type="whatsapp", value="whatsapp:+5215512345678")
    assert context.question == "How do I reset my password?"
    assert (context.open_tickets[0].waiting_for, context.open_tickets[0].priority) == ("us", "high")
    assert timedelta(days=3) <= context.open_tickets[0].age < timedelta(days=4)
    prompt = context.as_text()
    assert "open for 3 days" in prompt
    assert prompt.index("It does not work") < prompt.index("Open Settings.") < prompt.index("# Articles")


def test_a_ticket_in_waiting_waits_for_the_customer(session):
    first = conversations.ingest(session, whatsapp(content="Hello"))
    TicketFactory(conversation_id=first.conversation_id, customer_id=first.customer_id, status="waiting")
    assert conversations.context(session, first.conversation_id).open_tickets[0].waiting_for == "customer"


@pytest.mark.parametrize(
    ("turns", "assurance"),
    [
        ("v", "verified"),
        ("c", "claimed"),
        ("vc", "claimed"),
        ("cv", "claimed"),
        ("cav", "verified"),
        ("vac", "claimed"),
        ("va", "verified"),
        ("ca", "claimed"),
        # An automatic message goes where answers go, and an automatic answer answers nothing.
        ("vm", "claimed"),
        ("cAv", "claimed"),
        ("cnv", "claimed"),
        # Nobody is answered who only reacts.
        ("vr", "verified"),
    ],
)
def test_all_that_is_unanswered_must_be_proven(session, turns, assurance):
    first = conversations.ingest(session, mail(id="<root@x>", content="First", **THREAD)).conversation_id
    conversations.reply(session, first, OURS)
    for turn in turns:
        if turn in "vcmr":
            sender = EMAIL if turn == "v" else CLAIM
            facts = {
                "m": {"auto_reply": True},
                "r": {"event": InboundEvent.REACTION, "reaction_to": "<root@x>", "content": "!"},
            }.get(turn, {})
            conversations.ingest(session, mail(sender=(sender,), **THREAD, **facts))
        elif turn == "n":
            conversations.note(session, first, "hm", actor="human:7")
        else:
            conversations.reply(session, first, OutboundMessage(content="Ok", auto_reply=turn == "A"))
    context = conversations.context(session, first)
    assert context.assurance == assurance
    assert context.disclosure.other_conversations is (assurance == "verified")


def test_a_message_that_another_backend_stored_proves_nothing(session):
    first = conversations.ingest(session, mail())
    MessageFactory(conversation_id=first.conversation_id)
    assert conversations.context(session, first.conversation_id).assurance == "claimed"


def test_where_nobody_wrote_nothing_is_disclosed_and_nothing_searched(session):
    row = ConversationFactory()
    context = conversations.context(session, row.id)
    assert (context.disclosure.reason, context.question) == ("nobody_wrote", None)
    assert (context.messages, context.articles, context.customer.name) == ((), (), None)
    assert context.as_text()


@pytest.mark.parametrize(
    "options", [{}, {"embedder": EMBEDDER}, {"vector": embed_query(EMBEDDER, "password")}]
)
def test_a_context_takes_at_most_four_statements_and_builds_nothing(
    session, known, queries, assert_static, options
):
    first = conversations.ingest(session, mail(content="How do I reset my password?")).conversation_id
    queries.reset()
    conversations.context(session, first, **options)
    assert queries.count == 4, queries
    assert_static(lambda _: conversations.context(session, first, **options))


def test_an_embedder_of_another_model_than_the_articles_is_refused(session, known, queries):
    class Other(LexicalEmbedder):
        model = "other"

    first = conversations.ingest(session, mail(content="Reset my password?")).conversation_id
    queries.reset()
    with pytest.raises(InvalidVector, match="other"):
        conversations.context(session, first, embedder=Other())
    assert queries.count == 1, queries


def test_where_nothing_is_embedded_words_find_in_four_statements(session, queries):
    session.execute(text("DELETE FROM knowledge_base"))
    KnowledgeBaseEntryFactory(title="Resetting a password")
    first = conversations.ingest(session, mail(content="Reset my password?")).conversation_id
    queries.reset()
    context = conversations.context(session, first, embedder=EMBEDDER)
    assert queries.count == 4, queries
    assert [article.title for article in context.articles] == ["Resetting a password"]


def test_notes_are_for_who_asks_for_them(session):
    first = conversations.ingest(session, mail()).conversation_id
    conversations.note(session, first, "a VIP", actor="human:7")
    assert "VIP" not in conversations.context(session, first).model_dump_json()
    with_notes = conversations.context(session, first, notes=True)
    assert [(m.text, m.internal) for m in with_notes.messages][-1] == ("a VIP", True)
    assert "(internal note)" in with_notes.as_text()


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"messages": 0}, InvalidValue),
        ({"articles": 101}, InvalidValue),
        ({"notes": "yes"}, InvalidValue),
        ({"vector": [0.0]}, InvalidVector),
    ],
)
def test_bad_options_are_refused(session, options, error):
    first = conversations.ingest(session, mail()).conversation_id
    with pytest.raises(error):
        conversations.context(session, first, **options)


def test_an_unknown_conversation_and_a_failing_embedder_are_told(session):
    class Away(LexicalEmbedder):
        def embed(self, texts):
            raise TimeoutError(texts)

    with pytest.raises(ConversationNotFound):
        conversations.context(session, uuid4())
    first = conversations.ingest(session, mail()).conversation_id
    with pytest.raises(EmbedderUnavailable):
        conversations.context(session, first, embedder=Away())
    assert conversations.context(session, first).question


def test_a_context_survives_json(session):
    first = conversations.ingest(session, mail(sent_at=datetime(2026, 1, 1, tzinfo=UTC))).conversation_id
    context = conversations.context(session, first)
    assert type(context).model_validate_json(context.model_dump_json()) == context
