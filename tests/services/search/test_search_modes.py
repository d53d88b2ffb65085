"""Search by words and by both: the rarest word counts most, and the scores of both sides are weighed."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from app.embeddings import LexicalEmbedder
from app.errors import EmbedderUnavailable, InvalidValue, InvalidVector
from app.models import KnowledgeBaseEntry
from app.schemas import Explanation, SearchMode
from app.services import knowledge, search
from app.services.search.options import DEFAULT_WEIGHTS
from app.testing import KnowledgeBaseEntryFactory

MODES = list(SearchMode)


@pytest.fixture
def shelf(session: Session) -> Session:
    """A session whose knowledge base has no articles."""
    session.execute(text("DELETE FROM knowledge_base"))
    return session


def article(title: str, content: str = "", **facts: object) -> KnowledgeBaseEntry:
    return KnowledgeBaseEntryFactory(title=title, content=content or title, **facts)


def titles(session: Session, query: str, **options: object) -> list[str]:
    return [hit.title for hit in search.search_knowledge(session, query, **{"mode": "text"} | options)]


def test_words_are_found_at_once_and_without_an_embedder(shelf):
    article("Refunds", "Money comes back within five days.")
    article("Seats", "A seat costs six euros.")
    assert titles(shelf, "when does my money come back?") == ["Refunds"]


def test_a_word_is_found_in_another_form(shelf):
    article("Resetting passwords")
    assert titles(shelf, "password reset") == ["Resetting passwords"]


def test_a_rare_word_counts_more_than_a_common_one(shelf):
    for n in range(8):
        article(f"Invoice {n}", "An invoice with an address.")
    article("Errors", "TC-429 means too many requests.")
    assert titles(shelf, "invoice TC-429", limit=2)[0] == "Errors"


def test_a_word_in_the_title_counts_more(shelf):
    article("Something else", "How to export a board.")
    article("Export a board", "How it is done.")
    assert titles(shelf, "export board") == ["Export a board", "Something else"]


def test_a_long_text_is_no_better_for_being_long(shelf):
    article("Short", "webhook")
    article("Long", "webhook " + "other words that have nothing to do with it " * 40)
    assert titles(shelf, "webhook") == ["Short", "Long"]


def test_more_of_the_words_is_better(shelf):
    article("One", "calendar")
    article("Two", "calendar sync")
    assert titles(shelf, "calendar sync") == ["Two", "One"]


def test_all_words_win_even_where_each_alone_is_too_common_to_tell(shelf):
    shelf.execute(
        text("""
            INSERT INTO knowledge_base (title, content, category)
            SELECT 'Common', CASE n % 2 WHEN 0 THEN 'alpha' ELSE 'beta' END, 'faq'
            FROM generate_series(1, 10200) AS n
        """)
    )
    article("Both", "alpha beta")
    assert titles(shelf, "alpha beta", limit=1) == ["Both"]


@pytest.mark.parametrize(
    "query", ["the of and", "?!", "zyzzyva", "'; DROP TABLE x; --", "a:*B & !c | (d", "\\'"]
)
def test_words_that_nobody_has_find_nothing_and_harm_nothing(shelf, query):
    article("Refunds")
    assert titles(shelf, query) == []


def test_inactive_articles_are_not_found_by_words(shelf):
    article("Refunds", is_active=False)
    assert titles(shelf, "refunds") == []


def test_an_article_of_a_megabyte_of_words_can_be_stored_and_is_found_by_its_beginning(shelf):
    article("Huge", "needle " + " ".join(f"w{n:x}" for n in range(150_000)))
    assert titles(shelf, "needle") == ["Huge"]


def test_text_mode_has_a_score_and_no_similarity(shelf):
    article("Refunds")
    (hit,) = search.search_knowledge(shelf, "refunds", mode="text")
    assert hit.similarity is None
    assert hit.score > 0


@pytest.fixture
def embedded(shelf: Session) -> Session:
    article("Refunds", "Money comes back within five days.", category="billing")
    article("Seats", "A seat costs six euros a month.", category="billing")
    article("Webhooks", "TC-429 means too many requests.", category="feature")
    article("Sign in", "Reset a lost password by email.", category="account")
    knowledge.embed_missing(shelf, LexicalEmbedder())
    return shelf


def hybrid(session: Session, query: str, **options: object) -> list[str]:
    return titles(session, query, **{"mode": "hybrid", "embedder": LexicalEmbedder()} | options)


@pytest.mark.parametrize("weights", [(1, 2), (2, 4), (0.7, 0.3), (1, 0), (0, 3)])
def test_hybrid_is_the_weighted_mean_of_what_both_sides_say_of_every_hit(embedded, weights):
    hits = search.search_knowledge(
        embedded, "lost password", embedder=LexicalEmbedder(), mode="hybrid", explain=True, weights=weights
    )
    assert hits[0].title == "Sign in"
    for hit in hits:
        why = hit.explanation
        mean = (weights[0] * max(why.similarity, 0) + weights[1] * why.text_score) / sum(weights)
        assert hit.score == pytest.approx(mean)
        assert 0 <= hit.score <= 1
        assert hit.similarity == why.similarity
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


def test_what_only_the_vectors_have_found_is_weighed_by_its_words_too(shelf):
    """More articles have the word than the words' side looks at: the nearest one is not among them."""
    for n in range(60):
        article(f"Password {n}", "password " * 20)
    nearest = article("Sign in", "A lost password is reset by email, not by telephone.")
    knowledge.embed_missing(shelf, LexicalEmbedder())
    query = "A lost password is reset by email, not by telephone."
    (hit,) = search.search_knowledge(
        shelf, query, embedder=LexicalEmbedder(), mode="hybrid", limit=1, explain=True
    )
    assert (hit.id, hit.explanation.vector_rank) == (nearest.id, 1)
    assert hit.explanation.text_score > 0.3


@pytest.mark.parametrize("mode", ["text", "hybrid"])
def test_a_score_means_the_same_for_every_query(embedded, mode):
    """The better of two questions that one article answers has the higher score; the best is not always 1."""
    scores = [
        search.search_knowledge(embedded, query, embedder=LexicalEmbedder(), mode=mode, limit=1)[0].score
        for query in ("how do seats cost euros a month", "euros for a zeppelin to Lakehurst", "euros")
    ]
    assert scores[0] > scores[1]
    assert all(0 < score < 1 for score in scores)


def test_words_that_the_language_drops_tell_short_texts_apart(shelf):
    article("-", "where is my card")
    article("-", "is that card any good")
    hits = search.search_knowledge(shelf, "where is my new card", mode="text")
    assert [hit.content for hit in hits] == ["where is my card", "is that card any good"]
    assert hits[0].score > hits[1].score


def test_the_database_has_the_same_weights_by_default(session):
    defaults = session.scalar(
        text("SELECT pg_get_expr(proargdefaults, 0) FROM pg_proc WHERE proname = 'search_objects'")
    )
    assert tuple(map(float, re.findall(r"'?([0-9.]+)'?(?:::double precision)?", defaults)[-2:])) == (
        DEFAULT_WEIGHTS
    )


def test_hybrid_finds_by_words_what_has_no_embedding_yet(embedded):
    article("Zeppelins")
    (hit,) = search.search_knowledge(
        embedded,
        "zeppelins",
        embedder=LexicalEmbedder(),
        mode="hybrid",
        weights=(1, 2),
        limit=1,
        explain=True,
    )
    assert hit.title == "Zeppelins"
    assert hit.similarity is None
    assert (hit.explanation.vector_rank, hit.explanation.text_rank) == (None, 1)


def test_hybrid_finds_by_words_where_nothing_has_an_embedding(shelf):
    article("Refunds")
    assert hybrid(shelf, "refunds") == ["Refunds"]


def test_hybrid_gives_a_full_page_where_words_find_little(embedded):
    assert len(hybrid(embedded, "password", limit=4)) == 4
    assert hybrid(embedded, "password", limit=4, category="billing") != []


def test_a_weight_of_zero_leaves_the_other_side_alone(embedded):
    query = "how many requests, TC-429?"
    by_vector = titles(embedded, query, mode="vector", embedder=LexicalEmbedder())
    assert hybrid(embedded, query, weights=(1, 0)) == by_vector
    assert hybrid(embedded, query, weights=(0, 1), limit=1) == titles(embedded, query, limit=1)


def test_a_least_similarity_holds_in_hybrid_mode_too(embedded):
    hits = search.search_knowledge(
        embedded, "lost password", embedder=LexicalEmbedder(), mode="hybrid", min_similarity=0.2
    )
    assert hits
    assert all(hit.similarity >= 0.2 for hit in hits)


@pytest.mark.parametrize("mode", MODES)
def test_a_search_is_one_statement(embedded, queries, mode):
    queries.reset()
    assert titles(embedded, "money back", mode=mode, embedder=LexicalEmbedder(), category="billing")
    assert queries.count == 1, queries


@pytest.mark.parametrize("mode", MODES)
def test_an_explanation_comes_only_when_asked_for(embedded, mode):
    options = {"mode": mode, "embedder": LexicalEmbedder(), "limit": 1}
    (plain,) = search.search_knowledge(embedded, "money back", **options)
    (explained,) = search.search_knowledge(embedded, "money back", explain=True, **options)
    assert plain.explanation is None
    assert explained.explanation == Explanation(
        vector_rank=None if mode == "text" else 1,
        similarity=plain.similarity,
        text_rank=None if mode == "vector" else 1,
        text_score=explained.explanation.text_score,
        text_coverage=explained.explanation.text_coverage,
        confidence=explained.explanation.confidence,
    )
    assert (explained.explanation.text_score is None) is (mode == "vector")


def test_a_zero_vector_that_raw_sql_stored_is_never_a_hit(embedded):
    embedded.execute(
        text("UPDATE knowledge_base SET embedding = array_fill(0, ARRAY[1536])::vector WHERE title = 'Seats'")
    )
    for options in ({}, {"min_similarity": -1.0}, {"category": "billing"}):
        found = titles(embedded, "money", mode="vector", embedder=LexicalEmbedder(), **options)
        assert "Seats" not in found
        assert found
    assert "Seats" not in hybrid(embedded, "a seat costs", min_similarity=-1.0)


def test_articles_of_another_model_are_not_compared(embedded):
    embedded.execute(
        text("""
            UPDATE knowledge_base SET metadata = '{"embedding": {"model": "other-1"}}' WHERE title = 'Seats'
        """)
    )
    found = titles(embedded, "what does a seat cost", mode="vector", embedder=LexicalEmbedder())
    assert sorted(found) == ["Refunds", "Sign in", "Webhooks"]


class OtherModel(LexicalEmbedder):
    model = "other-1"


@pytest.mark.parametrize("mode", ["vector", "hybrid"])
def test_a_query_of_another_model_is_refused_with_both_named(embedded, mode):
    with pytest.raises(InvalidVector, match=r"other-1.*lexical-1536-v1"):
        titles(embedded, "money", mode=mode, embedder=OtherModel())
    assert titles(embedded, "money back", mode="text", embedder=OtherModel()) == ["Refunds"]


def test_a_vector_of_another_length_than_its_embedder_s_is_refused(embedded, queries):
    queries.reset()
    with pytest.raises(InvalidVector, match="3 dimensions"):
        search.search_knowledge(embedded, [1.0, 2.0, 3.0], embedder=LexicalEmbedder())
    assert queries.count == 0


class Away(LexicalEmbedder):
    def __init__(self, model: str = LexicalEmbedder.model) -> None:
        self.model = model

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        raise TimeoutError(f"no answer to {texts}")


def test_an_embedder_that_is_away_fails_hybrid_and_not_words(embedded):
    with pytest.raises(EmbedderUnavailable):
        titles(embedded, "money back", mode="hybrid", embedder=Away())
    assert titles(embedded, "money back", embedder=Away()) == ["Refunds"]


@pytest.mark.parametrize(
    ("field", "options"),
    [
        ("query", {"query": "x" * 10_001}),
        ("query", {"query": "x" * 1_000_000}),
        ("query", {"query": [1.0], "mode": "text"}),
        ("query", {"query": [1.0], "mode": "hybrid"}),
        ("embedder", {"mode": "hybrid"}),
        ("min_similarity", {"min_similarity": 0.5}),
        ("weights", {"weights": (0, 0)}),
        ("weights", {"weights": (-1, 1)}),
        ("weights", {"weights": (float("nan"), 1)}),
        ("weights", {"weights": (1, 1, 1)}),
        ("weights", {"weights": None}),
        ("weights", {"weights": {1, 2}}),
        ("weights", {"weights": "11"}),
        ("source", {"source": ""}),
        ("source", {"source": []}),
        ("category", {"category": ["billing", "novels"]}),
        ("created_from", {"created_from": "yesterday"}),
    ],
)
def test_what_makes_no_sense_is_named_before_anything_is_sent(shelf, queries, field, options):
    queries.reset()
    with pytest.raises(InvalidValue) as caught:
        search.search_knowledge(shelf, **{"query": "words", "mode": "text"} | options)
    assert caught.value.field == field
    assert queries.count == 0


@pytest.mark.parametrize("name", ["", "a\x00b", None, 7])
def test_a_model_without_a_name_is_refused_before_it_is_asked(embedded, queries, name):
    queries.reset()
    with pytest.raises(InvalidValue, match=r"embedder\.model"):
        search.search_knowledge(embedded, "refund", embedder=Away(model=name))
    assert queries.count == 0


def test_filters_take_one_value_or_several(embedded):
    options = {"mode": "vector", "embedder": LexicalEmbedder()}
    assert sorted(titles(embedded, "money", category="billing", **options)) == ["Refunds", "Seats"]
    assert sorted(titles(embedded, "money", category=["account", "feature"], **options)) == [
        "Sign in",
        "Webhooks",
    ]
    assert titles(embedded, "money", source="nowhere", **options) == []
