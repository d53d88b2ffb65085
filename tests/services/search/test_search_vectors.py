"""A text and its vector, embedded before: no search calls an embedder that it does not need."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from app.embeddings import LexicalEmbedder, embed_query
from app.errors import InvalidValue, InvalidVector
from app.schemas import SearchMode
from app.services import knowledge, search
from app.testing import KnowledgeBaseEntryFactory


class Asymmetric:
    """An embedder whose model takes questions otherwise than articles, and that counts its calls."""

    model, dimensions = "asymmetric", 3

    def __init__(self) -> None:
        self.calls: list[str] = []

    def embed(self, texts):
        self.calls += ["embed"] * len(texts)
        return [[1.0, 0.0, 0.0] for _ in texts]

    def embed_query(self, _):
        self.calls.append("embed_query")
        return [0.0, 1.0, 0.0]


@pytest.mark.parametrize("mode", SearchMode)
@pytest.mark.parametrize(
    "find", [search.search_knowledge, search.search_messages, search.search_tickets, search.search_all]
)
def test_with_a_text_and_its_vector_no_embedder_is_called_in_any_mode(session, queries, find, mode):
    embedder = Asymmetric()
    for options in ({}, {"embedder": embedder}):
        queries.reset()
        find(session, "password", vector=[0.0, 1.0, 0.0], mode=mode, **options)
        assert queries.count >= 1
    assert embedder.calls == []


def test_a_ready_vector_gives_the_hits_that_its_embedder_would(session):
    session.execute(text("DELETE FROM knowledge_base"))
    lexical = LexicalEmbedder()
    for title in ("Resetting a password", "Refunds", "Cats"):
        KnowledgeBaseEntryFactory(title=title, content=title)
    knowledge.embed_missing(session, lexical)
    vector = embed_query(lexical, "reset my password")
    for mode in ("vector", "hybrid"):
        embedded = search.search_knowledge(session, "reset my password", embedder=lexical, mode=mode)
        ready = search.search_knowledge(session, "reset my password", vector=vector, mode=mode)
        assert [hit.title for hit in ready] == [hit.title for hit in embedded]
        assert [hit.score for hit in ready] == pytest.approx([hit.score for hit in embedded])
        assert ready[0].title == "Resetting a password"


def test_what_is_searched_is_embedded_as_a_question(session):
    embedder = Asymmetric()
    search.search_knowledge(session, "password", embedder=embedder)
    assert embedder.calls == ["embed_query"]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"query": [1.0], "vector": [1.0]}, InvalidValue),
        ({"query": "password", "vector": [0.0]}, InvalidVector),
        ({"query": "password", "vector": "no", "mode": "text"}, InvalidVector),
        ({"query": "password", "vector": [1.0], "embedder": Asymmetric()}, InvalidVector),
        ({"query": [1.0], "mode": "hybrid"}, InvalidValue),
    ],
)
def test_a_bad_vector_beside_a_text_is_refused(session, queries, arguments, error):
    with pytest.raises(error):
        search.search_knowledge(session, **arguments)
    assert queries.count == 0, queries
