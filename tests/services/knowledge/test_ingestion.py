"""The articles of a source are those of its document; what did not change costs nothing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from uuid import UUID

import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from app.embeddings import LexicalEmbedder
from app.errors import InvalidValue
from app.models import KnowledgeBaseEntry, KnowledgeCategory
from app.schemas import IngestReport
from app.services import indexing, knowledge, search
from app.services.indexing import articles as _article_embeddings
from app.services.knowledge import ingestion as _ingestion
from app.testing import KnowledgeBaseEntryFactory

SOURCE = "handbook.md"
DOCUMENT = """# Handbook

## Refunds
We refund within 14 days.

## Seats
A seat costs six euros.

## Files
A file has at most 5 GB.
"""


class Recording(LexicalEmbedder):
    """Remembers what it was asked; is away from the text on that is ``broken``."""

    def __init__(self, broken: str | None = None) -> None:
        self.broken, self.is_away = broken, False
        self.seen: list[str] = []

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        self.is_away |= self.broken is not None and any(self.broken in one for one in texts)
        if self.is_away:
            raise ConnectionError(f"cannot embed {texts}")
        self.seen += texts
        return super().embed(texts)


def ingest(session: Session, document: str = DOCUMENT, **options: object) -> IngestReport:
    options = {"source": SOURCE, "category": "faq", "embedder": None} | options
    return knowledge.ingest_markdown(session, document, **options)


def counts(report: IngestReport) -> dict[str, int]:
    """What is not zero, of the chunks."""
    fates = report.model_dump(include={"added", "changed", "unchanged", "switched_off", "removed"})
    return {fate: count for fate, count in fates.items() if count}


def articles(session: Session, *, active: bool = True, source: str = SOURCE) -> dict[str, KnowledgeBaseEntry]:
    found = select(KnowledgeBaseEntry).where(
        KnowledgeBaseEntry.source == source, KnowledgeBaseEntry.is_active.is_(active)
    )
    return {
        row.title.rpartition(" > ")[2]: row for row in session.scalars(found.order_by(KnowledgeBaseEntry.id))
    }


def versions(session: Session) -> dict[UUID, tuple[str, str]]:
    """Every row's physical version: an UPDATE, even of nothing, makes a new one."""
    rows = session.execute(text("SELECT id, ctid::text, xmin::text FROM knowledge_base"))
    return {row.id: (row.ctid, row.xmin) for row in rows}


def test_a_document_becomes_articles_with_their_origin(session):
    report = ingest(session)
    assert counts(report) == {"added": 3}
    assert (report.source, report.embedded, report.unembedded, report.embedding_error) == (SOURCE, 0, 3, None)
    seats = articles(session)["Seats"]
    assert (seats.title, seats.content) == ("Handbook > Seats", "A seat costs six euros.")
    assert (seats.category, seats.source, seats.is_active) == (KnowledgeCategory.FAQ, SOURCE, True)
    origin = seats.extra["ingest"]
    assert (origin["position"], origin["headings"]) == (0, ["Handbook", "Seats"])
    assert re.fullmatch("[0-9a-f]{64}", origin["sha256"])


@pytest.mark.parametrize(
    ("ingest_one", "document", "title"),
    [
        (knowledge.ingest_html, "<h1>Refunds</h1><p>Within <b>14</b> days.", "Refunds"),
        (knowledge.ingest_text, "Within 14 days.\n", "Within 14 days."),
    ],
)
def test_pages_and_plain_texts_become_articles_too(session, ingest_one, document, title):
    report = ingest_one(session, document, source="x", category="billing", embedder=LexicalEmbedder())
    assert (counts(report), report.embedded, report.unembedded) == ({"added": 1}, 1, 0)
    (article,) = articles(session, source="x").values()
    assert (article.title, article.content) == (title, "Within 14 days.")


def test_the_articles_can_be_searched_at_once(session):
    report = ingest(session, embedder=LexicalEmbedder())
    assert (report.embedded, report.unembedded) == (3, 0)
    session.execute(text("UPDATE knowledge_base SET is_active = false WHERE source = 'product-docs'"))
    hits = search.search_knowledge(session, "How much is a seat?", embedder=LexicalEmbedder(), limit=1)
    assert [hit.title for hit in hits] == ["Handbook > Seats"]


def test_the_same_document_again_writes_nothing_and_embeds_nothing(session, queries):
    ingest(session, embedder=LexicalEmbedder())
    before = versions(session)
    embedder = Recording()
    queries.reset()
    report = ingest(session, embedder=embedder)
    assert not re.search(r"^\s*(INSERT|UPDATE)", str(queries), re.MULTILINE)
    assert (counts(report), report.embedded, embedder.seen) == ({"unchanged": 3}, 0, [])
    assert versions(session) == before


def test_a_changed_section_keeps_its_id_and_is_the_only_one_that_is_written_and_embedded(session):
    ingest(session, embedder=LexicalEmbedder())
    seat, before = articles(session)["Seats"].id, versions(session)
    embedder = Recording()
    report = ingest(session, DOCUMENT.replace("six", "seven"), embedder=embedder)
    assert (counts(report), report.embedded) == ({"changed": 1, "unchanged": 2}, 1)
    assert embedder.seen == ["Handbook > Seats\nA seat costs seven euros."]
    assert articles(session)["Seats"].id == seat
    after = versions(session)
    assert {id_ for id_ in after if after[id_] != before.get(id_)} == {seat}


def test_a_new_section_touches_none_of_the_others(session):
    ingest(session, embedder=LexicalEmbedder())
    before = versions(session)
    report = ingest(session, DOCUMENT.replace("## Refunds", "## Trial\nFree.\n\n## Refunds"))
    assert (counts(report), report.unembedded) == ({"added": 1, "unchanged": 3}, 1)
    assert before.items() <= versions(session).items()


def test_a_section_under_another_heading_keeps_its_id(session):
    ingest(session)
    seat = articles(session)["Seats"].id
    assert counts(ingest(session, DOCUMENT.replace("# Handbook", "# Manual"))) == {"changed": 3}
    assert articles(session)["Seats"].id == seat
    assert articles(session)["Seats"].title == "Manual > Seats"


def test_chunks_of_one_section_keep_their_order(session):
    paragraphs = [f"Paragraph {number}. " + "Words and words. " * 40 for number in range(6)]
    document = "# One\n\n" + "\n\n".join(paragraphs)
    ingest(session, document)
    found = select(KnowledgeBaseEntry.content, KnowledgeBaseEntry.extra["ingest"]["position"].as_integer())
    rows = session.execute(found.where(KnowledgeBaseEntry.source == SOURCE)).all()
    ordered = [content for content, _ in sorted(rows, key=lambda row: row[1])]
    assert len(ordered) > 2
    assert re.findall(r"Paragraph \d", " ".join(ordered)) == [f"Paragraph {n}" for n in range(6)]


def test_sections_that_say_the_same_are_articles_of_their_own(session):
    document = "# A\nSame.\n\n# A\nSame.\n\n# B\nSame.\n"
    assert counts(ingest(session, document)) == {"added": 3}
    assert counts(ingest(session, document)) == {"unchanged": 3}
    assert counts(ingest(session, "# A\nSame.\n\n# B\nSame.\n")) == {"unchanged": 2, "removed": 1}


def test_a_removed_section_is_switched_off_and_comes_back_with_its_embedding(session):
    ingest(session, embedder=LexicalEmbedder())
    seat = articles(session)["Seats"].id
    without = re.sub(r"## Seats\n.*\n", "", DOCUMENT)
    assert counts(ingest(session, without)) == {"unchanged": 2, "removed": 1}
    assert list(articles(session, active=False)) == ["Seats"]
    assert counts(ingest(session, without)) == {"unchanged": 2}
    embedder = Recording()
    report = ingest(session, embedder=embedder)
    assert (counts(report), embedder.seen, report.unembedded) == ({"added": 1, "unchanged": 2}, [], 0)
    assert articles(session)["Seats"].id == seat


def test_a_removed_section_that_returns_with_another_text_is_another_article(session):
    ingest(session)
    seat = articles(session)["Seats"].id
    ingest(session, re.sub(r"## Seats\n.*\n", "", DOCUMENT))
    ingest(session, DOCUMENT.replace("six", "seven"))
    assert articles(session)["Seats"].id != seat
    assert articles(session, active=False)["Seats"].content == "A seat costs six euros."


def test_another_category_is_written_and_nothing_is_embedded_again(session):
    ingest(session, embedder=LexicalEmbedder())
    embedder = Recording()
    report = ingest(session, category=KnowledgeCategory.BILLING, embedder=embedder)
    assert (counts(report), embedder.seen, report.unembedded) == ({"changed": 3}, [], 0)
    assert {row.category for row in articles(session).values()} == {KnowledgeCategory.BILLING}


def test_an_edit_in_the_database_gives_way_to_the_document(session):
    ingest(session)
    session.execute(text("UPDATE knowledge_base SET content = 'edited' WHERE title = 'Handbook > Seats'"))
    assert counts(ingest(session)) == {"changed": 1, "unchanged": 2}
    assert articles(session)["Seats"].content == "A seat costs six euros."


def test_other_metadata_stays(session):
    ingest(session)
    session.execute(
        text('UPDATE knowledge_base SET metadata = metadata || \'{"owner": "ann"}\' WHERE source = :source'),
        {"source": SOURCE},
    )
    ingest(session, re.sub(r"## Seats\n.*\n", "", DOCUMENT).replace("14", "30"))
    for row in [*articles(session).values(), *articles(session, active=False).values()]:
        assert row.extra["owner"] == "ann"
        assert row.extra["ingest"]["headings"]


@pytest.mark.parametrize(
    "extra", [None, {}, {"ingest": "2026-01-01"}, {"ingest": None}, {"ingest": {"by": "x"}}]
)
def test_articles_of_the_source_that_were_not_ingested_are_never_touched(session, extra):
    own = KnowledgeBaseEntryFactory(
        source=SOURCE, title="Handbook > Seats", content="A seat costs six euros.", extra=extra
    )
    before = versions(session)
    ingest(session)
    ingest(session, DOCUMENT.replace("six", "seven"))
    ingest(session, "# Something else\nentirely")
    assert versions(session)[own.id] == before[own.id]


def test_another_source_is_never_touched(session):
    ingest(session)
    before = versions(session)
    assert counts(ingest(session, source="copy.md")) == {"added": 3}
    ingest(session, "# Something else\nentirely", source="copy.md")
    assert before.items() <= versions(session).items()


def test_objects_of_the_session_show_what_was_written(session):
    ingest(session)
    seats = articles(session)["Seats"]
    assert "six" in seats.content
    ingest(session, DOCUMENT.replace("six", "seven"))
    assert "seven" in seats.content
    ingest(session, "# Something else\nentirely")
    assert seats.is_active is False


def test_statements_do_not_grow_with_the_document(session, queries):
    def work(sections: int) -> list[int]:
        counted = []
        for salt, kept in (("a", sections), ("b", sections), ("b", sections // 2), ("b", sections)):
            document = "".join(f"# Section {n}\nText {n} {salt if n % 2 else ''}\n" for n in range(kept))
            queries.reset()
            ingest(session, document, source=f"{sections}.md")
            counted.append(queries.count)
        return counted

    small, large = work(10), work(200)
    assert small == large, queries
    assert max(small) <= 5


@pytest.mark.parametrize("broken", ["Handbook", "Seats", "Files"])
def test_an_embedder_that_fails_loses_no_text_and_the_next_run_goes_on(session, monkeypatch, broken):
    monkeypatch.setattr(_article_embeddings, "BATCH", 1)
    report = ingest(session, embedder=Recording(broken))
    assert counts(report) == {"added": 3}
    assert report.embedded + report.unembedded == 3
    assert report.unembedded >= 1
    assert "ConnectionError" in report.embedding_error
    assert "costs" not in report.embedding_error
    assert len(articles(session)) == 3
    rest = Recording()
    again = ingest(session, embedder=rest)
    assert (counts(again), again.embedded, again.unembedded) == ({"unchanged": 3}, len(rest.seen), 0)
    assert (len(rest.seen), again.embedding_error) == (report.unembedded, None)


class Nonsense(LexicalEmbedder):
    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        return [[float("nan")] * self.dimensions for _ in texts]


def test_vectors_that_make_no_sense_are_reported_like_a_failure(session):
    report = ingest(session, embedder=Nonsense())
    assert (counts(report), report.embedded, report.unembedded) == ({"added": 3}, 0, 3)
    assert "finite" in report.embedding_error


@pytest.mark.parametrize("model", ["a\x00b", "", None])
def test_an_embedder_without_a_name_is_refused_before_anything_is_written(session, queries, model):
    embedder = LexicalEmbedder()
    embedder.model = model
    queries.reset()
    with pytest.raises(InvalidValue, match=r"embedder\.model"):
        knowledge.ingest_text(session, "Some text", source="x", category="faq", embedder=embedder)
    assert queries.count == 0


@pytest.mark.parametrize("dimensions", [0, -1, "4", 1536.0, True, None])
def test_an_embedder_without_a_width_is_refused_wherever_it_is_used(session, dimensions):
    embedder = LexicalEmbedder()
    embedder.dimensions = dimensions
    for use in (
        lambda: knowledge.ingest_text(session, "A text", source="x", category="faq", embedder=embedder),
        lambda: indexing.embed_missing(session, embedder),
        lambda: indexing.estimate(session, embedder),
        lambda: search.search_knowledge(session, "A text", embedder=embedder),
        lambda: search.calibrate(session, ["A text"], ["Another"], embedder=embedder),
    ):
        with pytest.raises(InvalidValue, match=r"embedder\.dimensions: must be a whole number above 0"):
            use()


def test_articles_of_another_model_or_of_an_older_text_count_as_not_embedded(session):
    ingest(session, embedder=LexicalEmbedder())
    assert ingest(session, DOCUMENT.replace("six", "seven")).unembedded == 1
    other = Nonsense()
    other.model = "other"
    assert ingest(session, embedder=other).unembedded == 3
    ingest(session, embedder=LexicalEmbedder())
    session.execute(text("UPDATE knowledge_base SET embedding = NULL WHERE title = 'Handbook > Seats'"))
    assert ingest(session).unembedded == 1


def test_progress_is_told_of_articles(session):
    told = []
    ingest(session, embedder=LexicalEmbedder(), progress=lambda done, total: told.append((done, total)))
    assert told == [(3, 3)]


BAD = [
    pytest.param({"document": ""}, "text", id="empty"),
    pytest.param({"document": " \n "}, "text", id="blank"),
    pytest.param({"document": "<!-- nothing -->"}, "text", id="no content"),
    pytest.param({"document": "a\x00b"}, "text", id="NUL"),
    pytest.param({"document": "a\ud800b"}, "text", id="surrogate"),
    pytest.param({"document": b"bytes"}, "text", id="bytes"),
    pytest.param({"document": None}, "text", id="None"),
    pytest.param({"document": "a" * (_ingestion.MAX_DOCUMENT + 1)}, "text", id="too long"),
    pytest.param({"document": "# a\n" * (_ingestion.MAX_CHUNKS + 1)}, "text", id="too many chunks"),
    pytest.param({"source": ""}, "source", id="no source"),
    pytest.param({"source": None}, "source", id="source None"),
    pytest.param({"source": "s" * 256}, "source", id="long source"),
    pytest.param({"source": "a\x00b"}, "source", id="NUL in source"),
    pytest.param({"category": "novels"}, "category", id="category"),
]


@pytest.mark.parametrize(("options", "field"), BAD)
def test_bad_input_writes_nothing(session, options, field):
    ingest(session)
    before = versions(session)
    with pytest.raises(InvalidValue) as caught:
        ingest(session, embedder=LexicalEmbedder(), **options)
    assert caught.value.field == field
    assert versions(session) == before


def test_a_document_of_a_megabyte_is_stored_in_small_articles(session):
    sentence = "We refund every annual plan within fourteen days of its purchase. "
    report = ingest(session, "# Long\n\n" + sentence * (1_000_000 // len(sentence)))
    assert report.added > 500
    assert session.scalar(text("SELECT max(octet_length(content)) FROM knowledge_base")) < 2000
