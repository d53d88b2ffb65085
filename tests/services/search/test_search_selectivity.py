"""A page of messages is full and right, however few of them a filter leaves."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from app.database import make_engine
from app.embeddings import LexicalEmbedder
from app.services import indexing, search
from app.testing import Databases

ROWS = 4_000


@pytest.fixture(scope="module")
def archive(crm_databases: Databases) -> Iterator[Engine]:
    """Four thousand messages in random directions; every n-th by ``delivery_status`` and ``role``."""
    url = crm_databases.clone()
    engine = make_engine(url)
    chance = random.Random(11)
    vectors = [",".join(f"{n}:{chance.gauss(0, 1):.4f}" for n in range(1, 11)) for _ in range(ROWS)]
    with engine.begin() as connection:
        connection.execute(text("DROP INDEX message_embeddings_embedding_idx"))
        connection.execute(
            text("""
                WITH person AS (INSERT INTO customers (email) VALUES ('a@example.com') RETURNING id),
                talk AS (INSERT INTO conversations (customer_id, channel)
                    SELECT id, 'email' FROM person RETURNING id, customer_id)
                INSERT INTO messages (conversation_id, customer_id, channel, direction, role, content,
                    delivery_status)
                SELECT talk.id, customer_id, 'email', 'inbound',
                    CASE WHEN n % 2 = 0 THEN 'agent' ELSE 'customer' END, 'text ' || n,
                    CASE WHEN n % 2000 = 0 THEN 'failed' WHEN n % 100 = 0 THEN 'read'
                        WHEN n % 10 = 0 THEN 'delivered' ELSE 'pending' END
                FROM talk, generate_series(1, :rows) AS n
            """),
            {"rows": ROWS},
        )
        connection.execute(
            text("""
                INSERT INTO message_embeddings (message_id, model, dimensions, content_hash, embedding)
                SELECT m.id, 'random', 10, '',
                    l2_normalize(('{' || v.spelled || '}/1536')::sparsevec::halfvec)
                FROM (SELECT id, row_number() OVER () AS n FROM messages) AS m
                JOIN unnest(CAST(:vectors AS text[])) WITH ORDINALITY AS v(spelled, n) USING (n)
            """),
            {"vectors": vectors},
        )
        connection.execute(
            text("INSERT INTO embedding_models VALUES ('message', 'random', 10, clock_timestamp())")
        )
        connection.execute(
            text("""
                CREATE INDEX message_embeddings_embedding_idx ON message_embeddings
                USING hnsw (embedding halfvec_cosine_ops) WITH (m = 16, ef_construction = 64)
            """)
        )
    yield engine
    engine.dispose()
    crm_databases.drop(url)


@pytest.mark.parametrize(
    ("filters", "matching"),
    [({}, ROWS), ({"role": "agent"}, 2000), ({"delivery_status": "delivered"}, 360),
     ({"delivery_status": "read"}, 38), ({"delivery_status": "failed"}, 2)],
    ids=["all", "50 %", "9 %", "1 %", "0.05 %"],
)  # fmt: skip
def test_a_page_of_messages_is_full_and_right_at_every_selectivity(archive, filters, matching):
    chance = random.Random(5)
    conditions = " AND ".join(f"m.{name} = '{value}'" for name, value in filters.items()) or "true"
    exact = text(f"""
        SELECT m.id FROM messages m JOIN message_embeddings e ON e.message_id = m.id WHERE {conditions}
        ORDER BY (e.embedding <=> CAST(:query AS halfvec)) + 0 LIMIT 10
    """)
    right = wanted = 0
    with Session(archive) as session:
        for limit in (10, 100, 1000):
            query = [chance.gauss(0, 1) for _ in range(10)]
            assert len(search.search_messages(session, query, limit=limit, **filters)) == min(limit, matching)
        for _ in range(20):
            query = [chance.gauss(0, 1) for _ in range(10)]
            hits = search.search_messages(session, query, limit=10, **filters)
            nearest = set(session.scalars(exact, {"query": str(query + [0.0] * 1526)}))
            right += len(nearest & {hit.id for hit in hits})
            wanted += len(nearest)
    assert right >= 0.99 * wanted


@pytest.mark.parametrize("counted", [0, 1, 300, -1])
def test_what_was_loaded_since_the_statistics_were_made_is_looked_at_as_well(archive, counted):
    """As much of the index is read as of one whose rows are counted right."""
    read = text("SELECT pg_stat_get_xact_blocks_fetched('message_embeddings_embedding_idx'::regclass)")
    query = [1.0] * 10

    def blocks(reltuples: int) -> int:
        session.execute(
            text("UPDATE pg_class SET reltuples = :rows WHERE oid = 'messages'::regclass"),
            {"rows": reltuples},
        )
        before = session.scalar(read)
        search.search_messages(session, query, limit=10)
        return session.scalar(read) - before

    with Session(archive) as session:
        blocks(ROWS)
        assert blocks(counted) >= 0.9 * blocks(ROWS)
        session.rollback()


@pytest.mark.soak
def test_a_small_base_is_searched_exactly_whatever_its_index_has_become(session):
    """Written a hundred times before any VACUUM, and before the statistics know of it."""
    embedder = LexicalEmbedder()
    indexing.embed_missing(session, embedder)
    session.execute(
        text("""
            DO $$ BEGIN
                FOR n IN 1..100 LOOP UPDATE knowledge_base SET updated_at = now(); END LOOP;
            END $$
        """)
    )
    for question in ("lost password", "refund", "slack", "import a csv file", "who sees my data"):
        (query,) = embedder.embed([question])
        exact = session.scalars(
            text("SELECT id FROM knowledge_base ORDER BY (embedding <=> CAST(:query AS vector)) + 0, id"),
            {"query": str(query)},
        ).all()
        for limit in (5, 20, 30, 42):
            hits = search.search_knowledge(session, query, limit=limit)
            assert [hit.id for hit in hits] == exact[:limit]
