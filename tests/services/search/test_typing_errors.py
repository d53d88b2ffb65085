"""A word with a typing error finds what was meant, in articles, messages and tickets alike."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from app.embeddings import LexicalEmbedder
from app.models import Channel
from app.services import indexing, search
from app.testing import KnowledgeBaseEntryFactory, MessageFactory, TicketFactory
from tests.services.search._finding import assert_finds

FOR_PASSWORD = ["pasword", "passwrod", "passwordd", "pqssword", "apssword", "passworx", "PASSWROD"]
# What was meant, and what was typed.
TYPED = {
    **{typed: ("Forgot the password", typed) for typed in FOR_PASSWORD},
    "ending": ("a subscription", "subscriptoin"),
    "another stem": ("it stopped", "stoped"),
    "last letters": ("unexpectedly", "unexpectedyl"),
    "another spelling": ("synchronization", "synchronisation"),
    "one letter for two": ("a cancellation", "cancelation"),
    "one of several words": ("the invoice of March", "invoise of march"),
    "umlaut missing": ("eine Kündigung", "Kndigung"),
    "cyrillic": ("забыл пароль", "пароьл"),
    "greek": ("κωδικός", "κωδκός"),
    "hebrew": ("הסיסמה שלי", "הסיסממה"),
    "georgian": ("პაროლი", "პაროლლი"),
}


@pytest.fixture(autouse=True)
def empty(session):
    """What other tests wrote, and no VACUUM has sorted in, would be compared with each likely word."""
    session.execute(text("SELECT gin_clean_pending_list(CAST('idx_messages_words' AS regclass))"))
    session.execute(text("SELECT gin_clean_pending_list(CAST('idx_tickets_words' AS regclass))"))
    session.execute(text("DELETE FROM knowledge_base"))


@pytest.mark.parametrize(("written", "question"), TYPED.values(), ids=TYPED)
def test_a_typing_error_finds_its_word_by_the_index(session, written, question):
    assert_finds(session, written, question, other="Unrelated words of a letter")


def test_a_typing_error_finds_what_was_said_in_a_tickets_conversation(session):
    message = MessageFactory(content="my zeppelin has landed")
    ticket = TicketFactory(conversation_id=message.conversation_id, customer_id=message.customer_id)
    assert [hit.id for hit in search.search_tickets(session, "zepelin", mode="text")] == [ticket.id]


@pytest.mark.parametrize("typed", ["passwords", "word", "pazzwort", "drowssap", "pass", "p4ssword"])
def test_what_is_another_word_is_none_with_an_error(session, typed):
    KnowledgeBaseEntryFactory(title="-", content="Forgot the pasture")
    MessageFactory(content="Forgot the pasture")
    assert search.search_knowledge(session, typed, mode="text") == []
    assert search.search_messages(session, typed, mode="text") == []


ACCENTS = [("inválida", "invalida"), ("invalida", "inválida"), ("ёлка", "елка")]


@pytest.mark.parametrize(("written", "asked"), ACCENTS)
def test_an_accent_is_no_typing_error(session, written, asked):
    KnowledgeBaseEntryFactory(title="-", content=written)
    assert search.search_knowledge(session, asked, mode="text") == []


def test_what_shares_only_the_stem_of_what_may_be_meant_is_not_found(session):
    KnowledgeBaseEntryFactory(title="-", content="the head of a department")
    assert search.search_knowledge(session, "reading", mode="text") == []  # nearly "heading"


def test_a_word_of_messages_or_articles_is_no_typing_error(session):
    MessageFactory(content="a password")
    rare = MessageFactory(content="a passwort", channel=Channel.EMAIL)
    assert [hit.id for hit in search.search_messages(session, "passwort", mode="text")] == [rare.id]
    hits = search.search_messages(session, "passwort", mode="text", channel=Channel.WHATSAPP)
    assert hits == []
    KnowledgeBaseEntryFactory(title="-", content="a passwert")
    assert search.search_messages(session, "passwert", mode="text") == []


def test_the_meant_word_is_one_of_what_the_filter_leaves(session):
    MessageFactory(content="a password", channel=Channel.EMAIL)
    own = MessageFactory(content="a passport", channel=Channel.WEB_FORM)
    MessageFactory(content="a passworq", channel=Channel.EMAIL)
    hits = search.search_messages(session, "passpord", mode="text", channel=Channel.WEB_FORM)
    assert [hit.id for hit in hits] == [own.id]


def test_words_of_articles_are_known_as_long_as_they_are_there(session):
    article = KnowledgeBaseEntryFactory(title="-", content="the zeppelin")
    assert search.search_knowledge(session, "zepelin", mode="text")[0].id == article.id
    article.content = "the gyroscope"
    session.flush()
    assert search.search_knowledge(session, "zepelin", mode="text") == []
    assert search.search_knowledge(session, "gyrosope", mode="text")[0].id == article.id


@pytest.mark.parametrize("gone", ["deleted", "switched off"])
def test_a_word_that_no_article_has_any_more_is_not_taken_for_the_right_one(session, gone):
    other = KnowledgeBaseEntryFactory(title="-", content="passvord", is_active=gone == "deleted")
    article = KnowledgeBaseEntryFactory(title="-", content="password")
    if gone == "deleted":
        session.delete(other)
        session.flush()
    for typed in ("passxord", "passvord"):
        assert [hit.id for hit in search.search_knowledge(session, typed, mode="text")] == [article.id]


def test_hybrid_finds_a_typing_error_too(session):
    article = KnowledgeBaseEntryFactory(title="-", content="Forgot the password")
    embedder = LexicalEmbedder()
    indexing.embed_missing(session, embedder)
    (hit,) = search.search_knowledge(session, "pasword", embedder=embedder, mode="hybrid", explain=True)
    assert hit.id == article.id
    assert hit.explanation.text_score > 0
