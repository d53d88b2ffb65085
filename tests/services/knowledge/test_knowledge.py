"""The knowledge base: every active article has an embedding of its present text by the present model."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from app.embeddings import LexicalEmbedder
from app.errors import EmbedderUnavailable, InvalidValue, InvalidVector
from app.models import KnowledgeBaseEntry
from app.services import knowledge
from app.services.indexing import articles as _article_embeddings
from app.testing import KnowledgeBaseEntryFactory


class Letters:
    """Counts letters: small vectors, made here and now."""

    dimensions = 26

    def __init__(self, model: str = "letters-1", *, fails_after: int | None = None) -> None:
        self.model, self.fails_after = model, fails_after
        self.seen: list[str] = []

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        if self.fails_after is not None and len(self.seen) + len(texts) > self.fails_after:
            self.fails_after = 0
            raise ConnectionError("the service is away, and quotes: secret")
        self.seen += texts
        return [
            [1.0 + article.lower().count(letter) for letter in "abcdefghijklmnopqrstuvwxyz"]
            for article in texts
        ]


@pytest.fixture
def articles(session: Session) -> list[KnowledgeBaseEntry]:
    """Five articles, and nothing else that is active."""
    session.execute(text("UPDATE knowledge_base SET is_active = false"))
    return [KnowledgeBaseEntryFactory(title=f"Article {n}", content=f"Text {n}") for n in range(5)]


def texts(session: Session) -> list[tuple[object, ...]]:
    asked = select(
        KnowledgeBaseEntry.id,
        KnowledgeBaseEntry.title,
        KnowledgeBaseEntry.content,
        KnowledgeBaseEntry.category,
        KnowledgeBaseEntry.source,
        KnowledgeBaseEntry.is_active,
        KnowledgeBaseEntry.created_at,
    )
    return [tuple(row) for row in session.execute(asked.order_by(KnowledgeBaseEntry.id))]


def models(session: Session, rows: list[KnowledgeBaseEntry]) -> list[str | None]:
    session.expire_all()
    return [
        (row.extra or {}).get("embedding", {}).get("model") if row.embedding is not None else None
        for row in rows
    ]


def test_articles_are_embedded_once_and_their_text_is_never_touched(session, articles):
    before = texts(session)
    embedder = Letters()
    assert knowledge.embed_missing(session, embedder) == 5
    assert sorted(embedder.seen) == [f"Article {n}\nText {n}" for n in range(5)]
    assert knowledge.embed_missing(session, embedder) == 0
    assert len(embedder.seen) == 5
    assert texts(session) == before
    assert models(session, articles) == ["letters-1"] * 5


def test_an_embedding_is_kept_at_unit_length_with_its_origin(session, articles):
    knowledge.embed_missing(session, Letters())
    entry = articles[0]
    assert len(entry.embedding) == 1536
    assert math.hypot(*entry.embedding) == pytest.approx(1, abs=1e-6)
    assert list(entry.embedding[26:]) == [0.0] * 1510
    origin = entry.extra["embedding"]
    assert (origin["model"], origin["dimensions"], len(origin["sha256"])) == ("letters-1", 26, 64)


def test_the_objects_of_the_session_show_the_new_embeddings(session, articles):
    entry = articles[0]
    assert entry.embedding is None
    knowledge.embed_missing(session, Letters())
    assert entry.embedding is not None


@pytest.mark.parametrize("field", ["title", "content"])
def test_a_changed_text_is_embedded_again_and_only_that_one(session, articles, field):
    knowledge.embed_missing(session, Letters())
    setattr(articles[2], field, "changed")
    session.flush()
    embedder = Letters()
    assert knowledge.embed_missing(session, embedder) == 1
    assert "changed" in embedder.seen[0]


def test_an_edit_that_leaves_the_text_alone_embeds_nothing(session, articles):
    knowledge.embed_missing(session, Letters())
    session.execute(text("UPDATE knowledge_base SET source = 'wiki', category = 'general'"))
    assert knowledge.embed_missing(session, Letters()) == 0


def test_another_model_embeds_everything_again(session, articles):
    knowledge.embed_missing(session, Letters("letters-1"))
    assert knowledge.embed_missing(session, Letters("letters-2")) == 5
    assert models(session, articles) == ["letters-2"] * 5


def test_an_inactive_article_does_not_come_back_with_a_vector_of_the_model_of_before(session, articles):
    knowledge.embed_missing(session, Letters("letters-1"))
    articles[0].is_active = False
    session.flush()
    knowledge.embed_missing(session, Letters("letters-2"))
    articles[0].is_active = True
    session.flush()
    assert models(session, articles) == [None, *["letters-2"] * 4]
    assert knowledge.embed_missing(session, Letters("letters-2")) == 1


def test_an_embedding_that_raw_sql_wrote_without_its_origin_is_made_anew(session, articles):
    session.execute(
        text("UPDATE knowledge_base SET embedding = array_fill(1, ARRAY[1536])::vector WHERE is_active")
    )
    assert knowledge.embed_missing(session, Letters()) == 5


@pytest.mark.parametrize("stored", ["NULL", "'{}'", '\'{"owner": "ann"}\'', "'{\"embedding\": null}'"])
def test_other_metadata_stays_and_none_is_no_obstacle(session, articles, stored):
    session.execute(text(f"UPDATE knowledge_base SET metadata = {stored} WHERE is_active"))
    assert knowledge.embed_missing(session, Letters()) == 5
    assert knowledge.embed_missing(session, Letters()) == 0
    session.refresh(articles[0])
    assert articles[0].extra.get("owner") == ("ann" if "ann" in stored else None)


def test_inactive_articles_are_left_alone(session, articles):
    articles[0].is_active = False
    articles[1].is_active = None
    session.flush()
    assert knowledge.embed_missing(session, Letters()) == 3
    assert models(session, articles[:2]) == [None, None]


def test_progress_is_told_after_each_batch(session, articles, monkeypatch):
    monkeypatch.setattr(_article_embeddings, "BATCH", 2)
    told = []
    knowledge.embed_missing(session, Letters(), progress=lambda done, total: told.append((done, total)))
    assert told == [(2, 5), (4, 5), (5, 5)]
    told.clear()
    knowledge.embed_missing(session, Letters(), progress=lambda done, total: told.append((done, total)))
    assert told == []


def test_statements_grow_with_batches_of_work_only(session, articles, queries):
    knowledge.embed_missing(session, Letters())
    counted = []
    for _ in range(2):
        queries.reset()
        knowledge.embed_missing(session, Letters())
        counted.append(queries.count)
        for _ in range(5):
            KnowledgeBaseEntryFactory()
        knowledge.embed_missing(session, Letters())
    assert counted == [1, 1]


def test_an_embedder_that_fails_half_way_loses_nothing_and_the_rest_comes_next(
    session, articles, monkeypatch
):
    monkeypatch.setattr(_article_embeddings, "BATCH", 2)
    before = texts(session)
    with pytest.raises(EmbedderUnavailable) as caught:
        knowledge.embed_missing(session, Letters(fails_after=3))
    assert "secret" not in str(caught.value)
    assert sorted(models(session, articles), key=str) == [None] * 3 + ["letters-1"] * 2
    rest = Letters()
    assert knowledge.embed_missing(session, rest) == len(rest.seen) == 3
    assert models(session, articles) == ["letters-1"] * 5
    assert texts(session) == before


def test_a_failure_can_be_rolled_back_as_a_whole(session, articles, monkeypatch):
    monkeypatch.setattr(_article_embeddings, "BATCH", 2)
    savepoint = session.begin_nested()
    with pytest.raises(EmbedderUnavailable):
        knowledge.embed_missing(session, Letters(fails_after=3))
    savepoint.rollback()
    assert models(session, articles) == [None] * 5


class Broken(Letters):
    def __init__(self, vectors: object) -> None:
        super().__init__()
        self.vectors = vectors

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        return self.vectors if texts else []


@pytest.mark.parametrize(
    ("vectors", "error"),
    [
        ([[1.0] * 26] * 4, EmbedderUnavailable),
        ([[1.0] * 25] * 5, InvalidVector),
        ([[0.0] * 26] * 5, InvalidVector),
        ([[float("nan")] * 26] * 5, InvalidVector),
        (None, EmbedderUnavailable),
    ],
    ids=["too few", "dimensions", "zeros", "NaN", "nothing"],
)
def test_vectors_that_make_no_sense_are_not_stored(session, articles, vectors, error):
    with pytest.raises(error):
        knowledge.embed_missing(session, Broken(vectors))
    assert models(session, articles) == [None] * 5
    assert knowledge.embed_missing(session, Letters()) == 5


@pytest.mark.parametrize(
    "bad",
    [{"limit": 0}, {"limit": True}, {"limit": "5"}, {"source": ""}, {"source": "a\x00b"}, {"source": 5}],
    ids=str,
)
def test_bad_arguments_are_refused_before_anything_is_done(session, articles, bad):
    embedder = Letters()
    with pytest.raises(InvalidValue):
        knowledge.embed_missing(session, embedder, **bad)
    assert embedder.seen == []


def test_two_workers_share_the_articles_and_do_none_twice(crm_clone, monkeypatch):
    monkeypatch.setattr(_article_embeddings, "BATCH", 4)
    with Session(crm_clone) as one, Session(crm_clone) as two:
        total = one.scalar(select(func.count()).select_from(KnowledgeBaseEntry))
        mine, yours, counted = Letters(), Letters(), []

        def meanwhile(done: int, _: int) -> None:
            if done == 8:
                two.execute(text("SET LOCAL lock_timeout = '2s'"))
                counted.append(knowledge.embed_missing(two, yours))

        counted.append(knowledge.embed_missing(one, mine, progress=meanwhile))
        assert counted == [total - 8, 8]
        assert sorted(mine.seen + yours.seen) == sorted(set(mine.seen + yours.seen))
        one.commit()
        two.commit()
        assert knowledge.embed_missing(one, Letters()) == 0


def test_the_seeded_documentation_is_embedded_by_the_built_in_embedder(session):
    embedder = LexicalEmbedder()
    count = session.scalar(select(func.count()).select_from(KnowledgeBaseEntry))
    assert knowledge.embed_missing(session, embedder) == count >= 30
    assert knowledge.embed_missing(session, embedder) == 0
