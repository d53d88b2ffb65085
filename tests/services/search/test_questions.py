"""Which questions of customers the knowledge base does not answer."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from app.embeddings import LexicalEmbedder
from app.errors import InvalidValue
from app.services import indexing, search
from app.testing import ConversationFactory, KnowledgeBaseEntryFactory, MessageFactory, TicketFactory

EMBEDDER = LexicalEmbedder()
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def base(session):
    """Two articles and no tickets, whatever other tests have committed."""
    session.execute(text("DELETE FROM knowledge_base"))
    for title, content in (
        ("Invoices", "An invoice is mailed each month."),
        ("Seats", "A seat is added in billing."),
    ):
        KnowledgeBaseEntryFactory(title=title, content=content)
    indexing.embed_missing(session, EMBEDDER)


@pytest.fixture
def calibrated(session):
    return search.calibrate(
        session,
        ["when is the invoice mailed", "how is a seat added in billing"],
        ["who painted the mona lisa", "how tall is the eiffel tower"],
        embedder=EMBEDDER,
        mode="hybrid",
    )


def ticket(session, subject="Help", question=None, category="billing", at=NOON, **facts):
    conversation = ConversationFactory()
    if question is not None:
        message = MessageFactory(conversation=conversation, content=question, **facts)
        message.created_at = at - timedelta(seconds=1)
    opened = TicketFactory(conversation=conversation, subject=subject, category=category)
    opened.created_at = at
    session.flush()
    return opened.ticket_number


def report(session, since=NOON - DAY, until=NOON + DAY, **options):
    return search.unanswered(session, since=since, until=until, embedder=EMBEDDER, **options)


def test_questions_are_counted_by_category_with_the_tickets_that_lack_an_answer(session, calibrated):
    ticket(session, question="When is my invoice mailed?")
    odd = ticket(session, question="Who painted the Mona Lisa?")
    later = ticket(session, question="How tall is the Eiffel tower?", category="how_to", at=NOON + DAY / 2)

    counted = report(session)

    assert (counted.threshold, counted.questions, counted.unanswered) == (calibrated, 3, 2)
    assert [(one.category, one.questions, one.unanswered) for one in counted.categories] == [
        ("billing", 2, 1),
        ("how_to", 1, 1),
    ]
    assert counted.ticket_numbers == (later, odd)


def test_the_question_is_the_new_text_of_the_message_before_the_ticket_else_its_subject(session, calibrated):
    known = "When is my invoice mailed?"
    ticket(session, subject="Mona Lisa", question=known)
    ticket(session, subject="Mona Lisa", question="Mona Lisa", extra={"new_text": known})
    ticket(session, subject=known)
    ticket(session, subject=known, question=known, extra={"event": "reaction"})
    odd = ticket(session, subject=known, question="Who painted the Mona Lisa?")

    assert report(session).ticket_numbers == (odd,)


def test_where_nobody_has_calibrated_nothing_is_counted_or_searched(session, queries):
    ticket(session, question="Who painted the Mona Lisa?")
    session.execute(text("DELETE FROM search_thresholds"))
    before = queries.count

    counted = report(session)

    assert (counted.threshold, counted.questions, counted.categories) == (None, 0, ())
    assert queries.count - before == 1


def test_only_the_latest_are_looked_at_and_only_of_the_time(session, calibrated):
    ticket(session, question="Who painted the Mona Lisa?", at=NOON - 2 * DAY)
    ticket(session, question="Who painted the Mona Lisa?", at=NOON + DAY)
    first = ticket(session, question="Who painted the Mona Lisa?", at=NOON - DAY)
    second = ticket(session, question="Who painted the Mona Lisa?", at=NOON)

    assert report(session).ticket_numbers == (second, first)
    assert report(session, limit=1).ticket_numbers == (second,)


@pytest.mark.parametrize(
    "options",
    [
        {"since": datetime(2026, 3, 1)},  # noqa: DTZ001
        {"until": NOON - 2 * DAY},
        {"limit": 0},
    ],
)
def test_what_cannot_be_counted_is_refused(session, calibrated, options):
    with pytest.raises(InvalidValue):
        report(session, **options)
