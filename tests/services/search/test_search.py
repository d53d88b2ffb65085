"""Similarity search: full pages at every filter, the index in use, and no vector that makes no sense."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from uuid import UUID

import pytest
from sqlalchemy import Engine, func, select, text
from sqlalchemy.orm import Session

from app.database import make_engine
from app.embeddings import LexicalEmbedder
from app.errors import EmbedderUnavailable, InvalidValue, InvalidVector
from app.models import KnowledgeBaseEntry, KnowledgeCategory
from app.schemas import KnowledgeHit
from app.services import knowledge, search
from app.testing import Databases, KnowledgeBaseEntryFactory

ROWS, DIRECTIONS = 3_000, 12
# Of every 1,000 articles. One in three is not active.
SHARES = {"faq": 5, "billing": 20, "troubleshooting": 100, "general": 875}
INDEX_SCANS = text("""
    SELECT pg_stat_get_xact_numscans('idx_knowledge_base_embedding'::regclass) AS index,
        pg_stat_get_xact_numscans('knowledge_base'::regclass) AS whole_table
""")


def point(*values: float) -> list[float]:
    return [*values, *[0.0] * (1536 - len(values))]


def article(*values: float, **facts: object) -> KnowledgeBaseEntry:
    return KnowledgeBaseEntryFactory(embedding=point(*values), **facts)


@pytest.fixture(scope="module")
def library(crm_databases: Databases) -> Iterator[Engine]:
    """Three thousand articles whose embeddings are random directions, a fifth of them of another model."""
    url = crm_databases.clone()
    engine = make_engine(url)
    chance = random.Random(20_260_301)
    categories = [category for category, share in SHARES.items() for _ in range(share)]
    rows = [
        {
            "category": categories[n % 1000],
            "active": n % 3 != 0,
            "metadata": {"embedding": {"model": "another"}} if n % 5 == 0 else {},
            "spelled": ",".join(f"{i}:{chance.gauss(0, 1):.5f}" for i in range(1, DIRECTIONS + 1)),
        }
        for n in range(ROWS)
    ]
    with engine.begin() as connection:
        definition = connection.scalar(
            text("SELECT pg_get_indexdef('idx_knowledge_base_embedding'::regclass)")
        )
        connection.execute(text("DELETE FROM knowledge_base"))
        connection.execute(text("DROP INDEX idx_knowledge_base_embedding"))
        connection.execute(
            text("""
                INSERT INTO knowledge_base (title, content, category, is_active, metadata, embedding)
                SELECT 'Article', 'Text', category, active, metadata,
                    l2_normalize(('{' || spelled || '}/1536')::sparsevec::vector)
                FROM jsonb_to_recordset(CAST(:rows AS jsonb))
                    AS r (category text, active boolean, metadata jsonb, spelled text)
            """),
            {"rows": json.dumps(rows)},
        )
        connection.execute(text(definition))
    yield engine
    engine.dispose()
    crm_databases.drop(url)


@pytest.fixture(params=["unanalysed", "analysed"])
def shelves(library: Engine, request: pytest.FixtureRequest) -> Iterator[Session]:
    """A session on the library, with and without what ANALYZE finds out."""
    with Session(library) as session:
        if request.param == "analysed":
            session.execute(text("ANALYZE knowledge_base"))
        yield session


def exactly(session: Session, query: Sequence[float], limit: int, category: str | None) -> list[UUID]:
    """What a look at every row finds."""
    for off in ("indexscan", "indexonlyscan", "bitmapscan"):
        session.execute(text(f"SET LOCAL enable_{off} = off"))
    distance = KnowledgeBaseEntry.embedding.cosine_distance(query)
    asked = select(KnowledgeBaseEntry.id).where(KnowledgeBaseEntry.is_active).order_by(distance).limit(limit)
    if category is not None:
        asked = asked.where(KnowledgeBaseEntry.category == category)
    found = list(session.scalars(asked))
    for on in ("indexscan", "indexonlyscan", "bitmapscan"):
        session.execute(text(f"SET LOCAL enable_{on} = on"))
    return found


def scans(session: Session) -> tuple[int, int]:
    return tuple(session.execute(INDEX_SCANS).one())


@pytest.mark.parametrize("category", [None, *SHARES, "account"])
def test_a_page_is_full_at_every_selectivity_and_holds_the_nearest(shelves, category):
    chance = random.Random(str(category))
    matching = select(func.count()).where(KnowledgeBaseEntry.is_active)
    if category is not None:
        matching = matching.where(KnowledgeBaseEntry.category == category)
    total = shelves.scalar(matching)
    for limit in (1, 5, 40, 41, 100, 1000):
        query = point(*(chance.gauss(0, 1) for _ in range(DIRECTIONS)))
        hits = search.search_knowledge(shelves, query, limit=limit, category=category)
        assert len(hits) == min(limit, total), (category, limit)
        assert [hit.similarity for hit in hits] == sorted((hit.similarity for hit in hits), reverse=True)
        nearest = exactly(shelves, query, limit, category)
        assert len({hit.id for hit in hits} & set(nearest)) >= 0.95 * len(nearest), (category, limit)


@pytest.mark.parametrize("embedder", [None, LexicalEmbedder()])
def test_a_filter_that_leaves_everything_finds_what_no_filter_finds(shelves, embedder):
    """Without one, articles are searched by a statement of their own."""
    for limit in (1, 5, 40, 1000):
        query = point(1.0, limit)
        long_ago = datetime(2000, 1, 1, tzinfo=UTC)
        everything = search.search_knowledge(
            shelves, query, embedder=embedder, limit=limit, created_from=long_ago
        )
        assert search.search_knowledge(shelves, query, embedder=embedder, limit=limit) == everything
    assert any(hit.extra for hit in everything) == (embedder is None)


def test_the_function_answers_from_the_index(shelves):
    for limit in (1, 5, 20):
        before = scans(shelves)
        assert len(search.search_knowledge(shelves, point(1.0, limit), limit=limit)) == limit
        used = tuple(after - b for after, b in zip(scans(shelves), before, strict=True))
        assert used == (1, 0)


def test_the_plan_of_the_same_query_with_the_same_settings_is_an_index_scan(shelves):
    settings = shelves.scalar(text("SELECT proconfig FROM pg_proc WHERE proname = 'search_objects'"))
    for setting in settings:
        name, _, value = setting.partition("=")
        shelves.execute(select(func.set_config(name, value, True)))
    plan = "\n".join(
        shelves.scalars(
            text("""
                EXPLAIN SELECT id FROM knowledge_base WHERE is_active AND embedding IS NOT NULL
                ORDER BY embedding <=> CAST(:query AS vector) LIMIT 20
            """),
            {"query": str(point(1.0, 2.0))},
        )
    )
    assert "Index Scan using idx_knowledge_base_embedding" in plan


@pytest.mark.soak
def test_a_page_is_full_when_the_index_finds_little_and_memory_is_short(library):
    with Session(library) as session:
        # A filter that leaves too many rows for a look at each, all but a few of them inactive.
        session.execute(text("SELECT setseed(0.5)"))
        session.execute(text("UPDATE knowledge_base SET is_active = random() < 0.02"))
        session.execute(text("SET LOCAL work_mem = '64kB'"))
        left = session.scalar(
            text("SELECT count(*) FROM knowledge_base WHERE is_active AND category = 'general'")
        )
        before = scans(session)
        hits = search.search_knowledge(session, point(1.0, 2.0), limit=30, category=KnowledgeCategory.GENERAL)
        assert scans(session)[0] == before[0] + 1
        assert len(hits) == min(30, left) > 20


EQUAL = text("""
    INSERT INTO knowledge_base (title, content, category, embedding)
    SELECT 'Thanks', 'Thanks!', 'general', CAST(:vector AS vector) FROM generate_series(1, 30) RETURNING id
""")


def test_rows_that_the_index_does_not_lead_to_are_found_where_the_page_would_not_be_full(session):
    """Equal vectors, also of rows that were rolled back, crowd each other out of the graph."""
    session.execute(text("DELETE FROM knowledge_base"))
    for _ in range(60):
        with session.begin_nested() as forgotten:
            session.execute(EQUAL, {"vector": str(point(1.0, 2.0))})
            forgotten.rollback()
    kept = set(session.scalars(EQUAL, {"vector": str(point(1.0, 2.0))}))
    assert {hit.id for hit in search.search_knowledge(session, point(1.0, 2.0), limit=40)} == kept


def test_a_search_leaves_no_setting_behind(library):
    names = ("random_page_cost", "jit", "plan_cache_mode", "hnsw.ef_search", "hnsw.iterative_scan")
    with Session(library) as session:
        search.search_knowledge(session, point(1.0))
        before = [session.scalar(text(f"SHOW {name}")) for name in names]
        assert before[3] == "40"
        search.search_knowledge(session, point(1.0), limit=500)
        assert [session.scalar(text(f"SHOW {name}")) for name in names] == before


def test_a_hit_has_the_articles_fields_and_its_similarity(session, queries):
    near = article(3.0, 4.0, title="Near", category=KnowledgeCategory.BILLING, source="wiki")
    far = article(0.0, -2.0)
    queries.reset()
    hits = search.search_knowledge(session, [0.0, 1.0])
    assert queries.count == 1, queries
    assert [hit.id for hit in hits] == [near.id, far.id]
    assert hits[0].model_copy(update={"similarity": 0.8, "score": 0.8}) == KnowledgeHit(
        id=near.id,
        title="Near",
        content=near.content,
        category=KnowledgeCategory.BILLING,
        source="wiki",
        extra=near.extra,
        created_at=near.created_at,
        updated_at=near.updated_at,
        similarity=0.8,
        score=0.8,
    )
    assert hits[0].similarity == hits[0].score == pytest.approx(0.8)
    assert hits[1].similarity == pytest.approx(-1)


def test_the_length_of_a_vector_does_not_matter_nor_do_missing_dimensions(session):
    article(3.0, 4.0)
    for query in ([0.0, 1.0], [0.0, 1e30], [0.0, 1e-30], point(0.0, 7.0), (0, 1)):
        (hit,) = search.search_knowledge(session, query)
        assert hit.similarity == pytest.approx(0.8)


def test_inactive_and_unembedded_articles_are_not_found(session):
    article(1.0, is_active=False)
    unknown = article(1.0)
    unknown.is_active = None
    KnowledgeBaseEntryFactory()
    session.flush()
    assert search.search_knowledge(session, [1.0]) == []


@pytest.mark.parametrize(("least", "found"), [(None, 3), (-1, 3), (0.0, 2), (0.5, 2), (0.6, 1), (1, 1)])
def test_a_least_similarity_cuts_the_page(session, least, found):
    for values in ((1.0,), (0.5, 0.75**0.5), (-1.0,)):
        article(*values)
    hits = search.search_knowledge(session, [2.0], min_similarity=least if least != 0.5 else 0.499)
    assert len(hits) == found


def test_a_text_finds_its_own_article_first(crm_clone):
    """On a database of its own: rows that other tests rolled back crowd the graph until a vacuum."""
    embedder = LexicalEmbedder()
    with Session(crm_clone) as session:
        knowledge.embed_missing(session, embedder)
        for entry in session.scalars(select(KnowledgeBaseEntry)).all():
            hits = search.search_knowledge(session, entry.title, embedder=embedder, limit=3)
            assert entry.id in {hit.id for hit in hits}
            same = search.search_knowledge(session, entry.title, embedder=embedder, category=entry.category)
            assert entry.id in {hit.id for hit in same}
            assert {hit.category for hit in same} == {entry.category}


class OtherModel(LexicalEmbedder):
    model = "other-1"


@pytest.mark.parametrize("metadata", ["null", "[1]", '"x"'])
def test_metadata_that_is_no_object_stops_neither_the_embedding_nor_the_search(session, metadata):
    session.execute(text("UPDATE knowledge_base SET is_active = false"))
    KnowledgeBaseEntryFactory(title="Odd")
    session.execute(text("UPDATE knowledge_base SET metadata = CAST(:m AS jsonb)"), {"m": metadata})
    assert [hit.extra for hit in search.search_knowledge(session, "odd", mode="text")] == [None]
    assert knowledge.embed_missing(session, LexicalEmbedder()) == 1
    assert knowledge.embed_missing(session, LexicalEmbedder()) == 0
    (hit,) = search.search_knowledge(session, "anything", embedder=LexicalEmbedder())
    assert hit.extra["embedding"]["model"] == LexicalEmbedder.model


def test_a_query_of_another_model_is_refused(session):
    knowledge.embed_missing(session, LexicalEmbedder())
    with pytest.raises(InvalidVector, match="other-1") as caught:
        search.search_knowledge(session, "my secret question", embedder=OtherModel())
    assert "secret" not in str(caught.value)
    knowledge.embed_missing(session, OtherModel())
    assert len(search.search_knowledge(session, "password", embedder=OtherModel())) == 5


BAD_VECTORS = {
    "nothing": [],
    "zeros": [0.0] * 1536,
    "no length": [5e-324, 0.0],
    "NaN": [float("nan"), 1.0],
    "infinite": [float("inf")],
    "too long": [1.0] * 1537,
    "texts": ["1", "2"],
    "booleans": [True, False],
    "bytes": b"\x01\x02",
    "nested": [[1.0]],
    "None": None,
    "a number": 1.0,
    "huge": [10**400],
}


@pytest.mark.parametrize("query", BAD_VECTORS.values(), ids=BAD_VECTORS)
def test_a_vector_that_makes_no_sense_is_refused_before_anything_is_sent(session, queries, query):
    with pytest.raises(InvalidVector):
        search.search_knowledge(session, query)
    assert queries.count == 0, queries


@pytest.mark.parametrize(
    ("field", "options"),
    [
        *(("limit", {"limit": bad}) for bad in (0, -1, 1001, True, 5.0, "5", None)),
        *(("min_similarity", {"min_similarity": bad}) for bad in (float("nan"), 1.01, -1.01, "0.5")),
        ("category", {"category": "tickets"}),
        ("mode", {"mode": "fuzzy"}),
        ("embedder", {"query": "password"}),
        ("query", {"query": " ", "embedder": LexicalEmbedder()}),
        ("query", {"query": "a\x00", "embedder": LexicalEmbedder()}),
        ("query", {"query": "\ud800", "embedder": LexicalEmbedder()}),
    ],
)
def test_a_bad_option_is_named_and_nothing_is_sent(session, queries, field, options):
    with pytest.raises(InvalidValue) as caught:
        search.search_knowledge(session, **({"query": [1.0]} | options))
    assert caught.value.field == field
    assert queries.count == 0, queries


def test_an_embedder_that_fails_is_told_and_the_session_is_usable(session):
    class Away(LexicalEmbedder):
        def embed(self, texts: Sequence[str]) -> list[list[float]]:
            raise TimeoutError(f"no answer to {texts}")

    with pytest.raises(EmbedderUnavailable) as caught:
        search.search_knowledge(session, "my secret question", embedder=Away())
    assert "secret" not in str(caught.value)
    article(1.0)
    assert len(search.search_knowledge(session, [1.0])) == 1


def test_other_backends_can_call_the_function(session):
    near = article(1.0, category="billing")
    article(0.5, 0.5, category="faq")
    asked = text(
        "SELECT id, similarity FROM search_knowledge_base(CAST(:query AS vector), 10, 'billing', 0.9)"
    )
    assert [tuple(row) for row in session.execute(asked, {"query": str(point(1.0))})] == [(near.id, 1.0)]
