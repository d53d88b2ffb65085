"""Where most of an index is of rows that are dead, pages stay full and right, and upkeep stays small."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from app.database import make_engine
from app.services import indexing, search
from app.testing import Databases

pytestmark = pytest.mark.soak

LEFT = 1_200
WIDTH = 12
CATEGORIES = {"general": 900, "billing": 200, "account": 70, "feature": 28, "faq": 2}
INDEX = {"name": "idx_knowledge_base_embedding"}
READ = text("""
    SELECT sum(pg_stat_get_xact_tuples_returned(oid) + pg_stat_get_xact_tuples_fetched(oid)) FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'i')
""")


class Scattered:
    """A vector in any direction for each text, and the same one for the same text."""

    model = "scattered"
    dimensions = WIDTH

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        chances = [random.Random(one) for one in texts]
        return [[chance.gauss(0, 1) for _ in range(WIDTH)] for chance in chances]


@pytest.fixture(scope="module")
def dirty(crm_databases: Databases) -> Iterator[Engine]:
    """Of twice as many every other one is deleted, the rest was embedded anew, and nothing was cleaned."""
    url = crm_databases.clone()
    engine = make_engine(url)
    with engine.begin() as connection:
        connection.execute(text("TRUNCATE knowledge_base, embedding_queue CASCADE"))
        for table in ("knowledge_base", "embedding_queue"):
            connection.execute(text(f"ALTER TABLE {table} SET (autovacuum_enabled = false)"))
        (definition,) = connection.scalars(text("SELECT pg_get_indexdef(CAST(:name AS regclass))"), INDEX)
        connection.execute(text("DROP INDEX idx_knowledge_base_embedding"))
        connection.execute(
            text("""
                INSERT INTO knowledge_base (title, content, category, embedding)
                SELECT 'Article ' || n, 'of before',
                    CASE WHEN n <= 4 THEN 'faq' WHEN n <= 60 THEN 'feature' WHEN n <= 200 THEN 'account'
                        WHEN n <= 600 THEN 'billing' ELSE 'general' END,
                    CAST(CAST('{' || spelled || '}/1536' AS sparsevec) AS vector)
                FROM unnest(CAST(:vectors AS text[])) WITH ORDINALITY AS v(spelled, n)
            """),
            {"vectors": [spelled(f"before {n}") for n in range(2 * LEFT)]},
        )
        connection.execute(text(definition))
        connection.execute(text("DELETE FROM knowledge_base WHERE right(title, 1)::int % 2 = 1"))
    with Session(engine) as session:
        indexing.embed_missing(session, Scattered(), object_types=["knowledge"])
        session.commit()
    yield engine
    engine.dispose()
    crm_databases.drop(url)


def spelled(one: str) -> str:
    (vector,) = Scattered().embed([one])
    return ",".join(f"{place}:{value:.4f}" for place, value in enumerate(vector, 1))


@pytest.mark.parametrize("category", [None, *CATEGORIES])
def test_a_page_is_full_and_right(dirty, category):
    matching = CATEGORIES[category] if category else LEFT
    filters = {"category": category} if category else {}
    exact = text("""
        SELECT id FROM knowledge_base WHERE CAST(:category AS text) IS NULL OR category = :category
        ORDER BY (embedding <=> CAST(:query AS vector)) + 0 LIMIT 10
    """)
    right = wanted = 0
    with Session(dirty) as session:
        for question in map(str, range(20)):
            (query,) = Scattered().embed([question])
            padded = str(query + [0.0] * (1536 - WIDTH))
            nearest = session.scalars(exact, {"query": padded, "category": category}).all()
            hits = search.search_knowledge(session, query, limit=10, **filters)
            right += len({hit.id for hit in hits} & set(nearest))
            wanted += len(nearest)
            assert len(hits) == min(10, matching)
        for limit in (100, 1000):
            hits = search.search_knowledge(session, query, limit=limit, **filters)
            assert len(hits) == min(limit, matching)
            assert [hit.similarity for hit in hits] == sorted((hit.similarity for hit in hits), reverse=True)
    assert right >= 0.99 * wanted


def test_an_idle_worker_and_a_small_limit_read_little(dirty):
    """Also of the articles that somebody has just changed, beside thousands of dead rows."""
    with Session(dirty) as session:
        settled(session)
        assert rows_read(session, limit=100) == (0, pytest.approx(0, abs=50))
        session.execute(text("UPDATE knowledge_base SET content = 'new' WHERE category = 'account'"))
        session.commit()
        done, read = rows_read(session, limit=10)
        assert done == 10
        assert read < 500
        session.rollback()


def settled(session: Session) -> None:
    """Let a worker look until the index has forgotten its dead entries.

    An index forgets those that a scan finds dead to everybody: not while another session of this
    database, autovacuum's ANALYZE say, still looks at it as it was; and the server asks who does
    only after another transaction that wrote.
    """
    deadline = time.monotonic() + 30
    while rows_read(session, limit=100)[1] > 50 and time.monotonic() < deadline:
        session.execute(text("SELECT pg_current_xact_id()"))
        session.commit()
        time.sleep(0.1)


def rows_read(session: Session, *, limit: int) -> tuple[int, int]:
    """How many articles were embedded, and what was read for it."""
    before = session.scalar(READ) or 0
    done = indexing.embed_missing(session, Scattered(), object_types=["knowledge"], limit=limit)
    return done, int((session.scalar(READ) or 0) - before)
