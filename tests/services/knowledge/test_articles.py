"""What is in the knowledge base is listed, and taken out of use until its document says otherwise."""

from __future__ import annotations

from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from app.embeddings import LexicalEmbedder
from app.errors import ArticleNotFound, InvalidValue
from app.schemas import ArticleSummary, IngestReport
from app.services import knowledge
from app.testing import KnowledgeBaseEntryFactory

SOURCE = "handbook.md"
SEATS = "# Seats\nA seat costs six euros.\n"
DOCUMENT = f"# Refunds\nWe refund within 14 days.\n\n{SEATS}\n# Files\nA file has at most 5 GB.\n"


def ingest(session: Session, document: str = DOCUMENT, **options: object) -> IngestReport:
    options = {"source": SOURCE, "category": "faq", "embedder": None} | options
    return knowledge.ingest_markdown(session, document, **options)


def listed(session: Session, *, active: bool | None = True) -> dict[str, ArticleSummary]:
    found = knowledge.list_articles(session, source=SOURCE, active=active)
    return {article.title: article for article in found}


def test_a_source_that_is_taken_out_of_use_is_back_with_its_document(session):
    own = KnowledgeBaseEntryFactory(source=SOURCE)
    ingest(session)
    assert knowledge.deactivate(session, source=SOURCE) == 4
    assert listed(session) == {}
    assert knowledge.deactivate(session, source=SOURCE) == 0
    assert ingest(session).added == 3
    assert len(listed(session)) == 3
    assert own.is_active is False


def test_an_article_that_somebody_switched_off_stays_off_until_its_text_changes(session):
    ingest(session)
    seats = listed(session)["Seats"].id
    assert knowledge.deactivate(session, ids=[seats]) == 1
    report = ingest(session)
    assert (report.unchanged, report.switched_off) == (2, 1)
    for document, category in (
        (DOCUMENT, "billing"),
        (DOCUMENT.replace(SEATS, ""), "faq"),
        (DOCUMENT, "faq"),
    ):
        ingest(session, document, category=category)
        assert list(listed(session)) == ["Files", "Refunds"]
    assert ingest(session, DOCUMENT.replace("six", "seven")).changed == 1
    assert listed(session)["Seats"].id == seats


def test_an_article_that_raw_sql_switched_off_stays_off_too(session):
    ingest(session)
    session.execute(text("UPDATE knowledge_base SET is_active = false WHERE title = 'Seats'"))
    assert ingest(session).switched_off == 1
    assert list(listed(session)) == ["Files", "Refunds"]


@pytest.mark.parametrize(
    ("which", "error"),
    [
        ({}, InvalidValue),
        ({"source": SOURCE, "ids": []}, InvalidValue),
        ({"ids": ["no id"]}, InvalidValue),
        ({"source": " "}, InvalidValue),
        ({"source": "unknown.md"}, ArticleNotFound),
        ({"ids": [uuid4()]}, ArticleNotFound),
        ({"ids": 5}, InvalidValue),
    ],
)
def test_what_cannot_be_taken_out_of_use_is_said_and_nothing_is_written(session, which, error):
    ingest(session)
    with pytest.raises(error):
        knowledge.deactivate(session, **which)
    assert len(listed(session)) == 3


def test_one_unknown_id_among_others_writes_nothing(session):
    ingest(session)
    seats = listed(session)["Seats"].id
    with pytest.raises(ArticleNotFound):
        knowledge.deactivate(session, ids=[seats, uuid4()])
    assert len(listed(session)) == 3


def test_articles_are_listed_by_source_and_title_in_pages(session):
    ingest(session, embedder=LexicalEmbedder())
    ingest(session, "# Refunds\nNone.", source="terms.md", category="billing")
    session.execute(text("UPDATE knowledge_base SET content = 'edited' WHERE title = 'Seats'"))
    seeded = session.scalar(text("SELECT count(*) FROM knowledge_base WHERE source = 'product-docs'"))
    everything = knowledge.list_articles(session, limit=1000)
    assert len(everything) == seeded + 4
    assert [one.source for one in everything] == sorted(one.source for one in everything)
    model = LexicalEmbedder().model
    by = {title: article.embedded_by for title, article in listed(session).items()}
    assert list(by.items()) == [("Files", model), ("Refunds", model), ("Seats", None)]
    (billed,) = knowledge.list_articles(session, source="terms.md", category="billing")
    assert (billed.title, billed.active) == ("Refunds", True)
    paged = []
    while page := knowledge.list_articles(session, limit=7, after=paged[-1].id if paged else None):
        paged += page
    assert paged == everything


def test_inactive_articles_are_listed_when_they_are_asked_for(session):
    ingest(session)
    knowledge.deactivate(session, ids=[listed(session)["Seats"].id])
    assert list(listed(session, active=True)) == ["Files", "Refunds"]
    assert list(listed(session, active=False)) == ["Seats"]
    assert list(listed(session, active=None)) == ["Files", "Refunds", "Seats"]


@pytest.mark.parametrize(
    "options", [{"limit": 0}, {"category": "x"}, {"source": ""}, {"after": "x"}, {"active": "no"}]
)
def test_bad_filters_are_refused(session, options):
    with pytest.raises(InvalidValue):
        knowledge.list_articles(session, **options)
