"""The benchmark of the search's quality counts what it says."""

from __future__ import annotations

import pytest

from app.embeddings import LexicalEmbedder
from app.services import knowledge


@pytest.fixture(scope="module")
def quality(benchmark):
    return benchmark("search_quality")


def test_a_hit_counts_up_to_its_place_and_a_miss_never(quality):
    ranks = [1, 2, 5, 6, None]
    assert quality.hits(ranks, 1) == 0.2
    assert quality.hits(ranks, 5) == 0.6
    assert quality.mrr(ranks) == pytest.approx((1 + 1 / 2 + 1 / 5 + 1 / 6) / 5)


def test_the_embedder_embeds_no_text_twice(quality):
    asked = []

    class Counting(LexicalEmbedder):
        def embed(self, texts):
            asked.extend(texts)
            return super().embed(texts)

    embedder = quality.Remembering(Counting())
    assert embedder.embed(["invoice", "refund"]) == LexicalEmbedder().embed(["invoice", "refund"])
    assert embedder.embed(["refund", "seats"]) == LexicalEmbedder().embed(["refund", "seats"])
    assert asked == ["invoice", "refund", "seats"]


def test_an_embedder_of_ones_own_is_named_by_module_and_factory(quality):
    assert quality.make_embedder("app.embeddings:LexicalEmbedder").model == "lexical-1536-v1"


def test_questions_in_the_usual_words_are_answered_on_the_first_page(quality, session):
    embedder = LexicalEmbedder()
    knowledge.embed_missing(session, embedder)
    plain = [question for question in quality.load_questions() if "plain" in question.tags]
    asked = quality.Asked(session, embedder, plain, mode="vector")
    assert quality.hits(asked.ranks(), 5) >= 0.9
    assert len(asked.misses()) == sum(rank is None or rank > 5 for rank in asked.ranks())
