"""Several workers ingest at once: the result is that of one after the other."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from app.database import transaction
from app.embeddings import LexicalEmbedder
from app.models import KnowledgeBaseEntry
from app.schemas import IngestReport
from app.services import knowledge

DOCUMENT = "".join(f"# Section {number}\nText {number}\n" for number in range(30))


def ingest(sessions: sessionmaker[Session], document: str = DOCUMENT, source: str = "a.md") -> IngestReport:
    return transaction(
        sessions,
        knowledge.ingest_markdown,
        document,
        source=source,
        category="faq",
        embedder=LexicalEmbedder(),
    )


def titles(sessions: sessionmaker[Session], *, source: str = "a.md") -> list[str]:
    row = KnowledgeBaseEntry
    with sessions() as session:
        return sorted(session.scalars(select(row.title).where(row.source == source, row.is_active)))


def test_one_document_ingested_eight_times_at_once_is_stored_once(sessions, at_once):
    reports = at_once([lambda: ingest(sessions)] * 8)
    assert sorted(report.added for report in reports) == [0] * 7 + [30]
    assert sum(report.embedded for report in reports) == 30
    assert {report.unembedded for report in reports} == {0}
    assert len(titles(sessions)) == 30


def test_two_versions_at_once_leave_one_of_them_whole(sessions, at_once):
    versions = [DOCUMENT, DOCUMENT.replace("Section", "Chapter") + "# More\nText\n"]
    at_once([lambda version=version: ingest(sessions, version) for version in versions * 4])
    whole = [sorted(line[2:] for line in one.splitlines() if line.startswith("#")) for one in versions]
    assert titles(sessions) in whole


def test_who_waits_for_an_ingestion_that_is_rolled_back_stores_the_document(sessions, until_it_waits):
    with sessions() as first:
        lost = knowledge.ingest_text(first, "Text", source="a.md", category="faq", embedder=None)
        second = until_it_waits(lambda: ingest(sessions))
        first.rollback()
    assert (lost.added, second.result(30).added) == (1, 30)
    assert len(titles(sessions)) == 30


def test_another_source_does_not_wait(sessions):
    with sessions() as first:
        knowledge.ingest_text(first, "Text", source="a.md", category="faq", embedder=None)
        assert ingest(sessions, source="b.md").added == 30


def test_a_source_that_is_taken_out_of_use_while_it_is_ingested_is_out_as_a_whole(sessions, until_it_waits):
    with sessions() as first:
        knowledge.ingest_markdown(first, DOCUMENT, source="a.md", category="faq", embedder=None)
        second = until_it_waits(lambda: transaction(sessions, knowledge.deactivate, source="a.md"))
        first.commit()
    assert second.result(30) == 30
    assert titles(sessions) == []
