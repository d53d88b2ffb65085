"""A hit's neighbours in its document, and hits by document."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from app.embeddings import LexicalEmbedder
from app.errors import InvalidValue
from app.models import KnowledgeBaseEntry
from app.services import knowledge, search
from app.testing import KnowledgeBaseEntryFactory

EMBEDDER = LexicalEmbedder()
SECTIONS = ("Install", "Configure", "Upgrade", "Remove")
BOTH = {"embedder": EMBEDDER, "mode": "hybrid"}


def guide(*sections: str) -> str:
    return "".join(f"# {name}\n\nThe printer: {name.lower()} it, step by step.\n\n" for name in sections)


def ingest(session, source, *sections):
    return knowledge.ingest_markdown(
        session, guide(*sections), source=source, category="faq", embedder=EMBEDDER
    )


@pytest.fixture(autouse=True)
def documents(session):
    session.execute(text("DELETE FROM knowledge_base"))
    ingest(session, "guide.md", *SECTIONS)
    ingest(session, "other.md", "Paper", "Ink")


def names(sections):
    return [section.title for section in sections]


def first(session, question, **options):
    return search.search_knowledge(session, question, limit=1, **BOTH, **options)[0]


@pytest.mark.parametrize(
    ("name", "around", "neighbours"),
    [
        ("Install", 1, ([], ["Configure"])),
        ("Configure", 1, (["Install"], ["Upgrade"])),
        ("Remove", 1, (["Upgrade"], [])),
        ("Upgrade", 2, (["Install", "Configure"], ["Remove"])),
        ("Upgrade", 10, (["Install", "Configure"], ["Remove"])),
        ("Upgrade", 0, ([], [])),
    ],
)
def test_a_hit_carries_its_neighbours_in_one_statement(session, queries, name, around, neighbours):
    queries.reset()
    hit = first(session, f"{name} the printer", around=around)
    assert queries.count == 1, queries
    assert (hit.title, names(hit.before), names(hit.after)) == (name, *neighbours)
    for section in (*hit.before, *hit.after):
        article = session.get(KnowledgeBaseEntry, section.id)
        assert (article.title, article.content) == (section.title, section.content)


def test_neighbours_are_in_the_order_of_the_document_as_it_is_now(session):
    ingest(session, "guide.md", "Upgrade", "Install", "Repair", "Configure")
    hit = first(session, "Install the printer", around=2)
    assert (names(hit.before), names(hit.after)) == (["Upgrade"], ["Repair", "Configure"])


def test_a_document_that_did_not_change_is_not_written(session):
    row = text("SELECT ctid::text, xmin::text FROM knowledge_documents WHERE source = 'guide.md'")
    before = session.execute(row).one()
    ingest(session, "guide.md", *SECTIONS)
    assert session.execute(row).one() == before


def test_a_section_that_is_out_of_use_is_no_neighbour(session):
    hit = first(session, "Configure the printer", around=1)
    knowledge.deactivate(session, ids=[hit.after[0].id])
    hit = first(session, "Configure the printer", around=1)
    assert (names(hit.before), names(hit.after)) == (["Install"], [])


def test_an_article_that_was_not_ingested_has_no_neighbours(session):
    KnowledgeBaseEntryFactory(title="Toner", content="Toner for the printer", source="guide.md")
    (hit,) = search.search_knowledge(session, "toner", mode="text", around=3)
    assert (hit.title, hit.before, hit.after) == ("Toner", [], [])


@pytest.mark.parametrize("mode", ["vector", "text", "hybrid"])
def test_hits_are_grouped_by_document(session, queries, mode):
    options = {"embedder": EMBEDDER, "mode": mode}
    plain = search.search_knowledge(session, "upgrade the printer", limit=50, **options)
    queries.reset()
    hits = search.search_knowledge(session, "upgrade the printer", grouped=True, **options)
    assert queries.count == 1, queries
    assert [hit.source for hit in hits] == ["guide.md", "other.md"]
    assert hits[0].title == "Upgrade"
    for hit in hits:
        own = [one.id for one in plain if one.source == hit.source]
        assert [hit.id, *(other.id for other in hit.more)] == own
    assert not any(hit.more for hit in plain)


def test_a_page_of_documents_is_full_though_one_document_has_all_the_best(session, queries):
    ingest(session, "long.md", *(f"Scanner {n}" for n in range(40)))
    queries.reset()
    hits = search.search_knowledge(session, "scanner printer", limit=3, grouped=True, **BOTH)
    assert queries.count == 2, queries
    assert hits[0].source == "long.md"
    assert {hit.source for hit in hits} == {"long.md", "guide.md", "other.md"}
    assert len(hits[0].more) == 39


def test_articles_that_were_not_ingested_are_documents_of_their_own(session):
    for _ in range(3):
        KnowledgeBaseEntryFactory(title="Toner", content="Toner for the printer", source="product-docs")
    assert len(search.search_knowledge(session, "toner", mode="text", grouped=True)) == 3


def test_neighbours_and_groups_go_together(session):
    hits = search.search_knowledge(session, "upgrade the printer", grouped=True, around=1, limit=1, **BOTH)
    assert (len(hits), names(hits[0].before), names(hits[0].after)) == (1, ["Configure"], ["Remove"])


@pytest.mark.parametrize(
    ("field", "value"),
    [("around", -1), ("around", 11), ("around", "1"), ("around", True), ("grouped", 1), ("grouped", "yes")],
)
def test_a_bad_option_is_named_and_nothing_is_sent(session, queries, field, value):
    queries.reset()
    with pytest.raises(InvalidValue) as caught:
        search.search_knowledge(session, "printer", mode="text", **{field: value})
    assert caught.value.field == field
    assert queries.count == 0
