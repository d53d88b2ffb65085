"""What embedding will cost is known before it runs: the texts that the embedder gets, and their tokens."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

from app.embeddings import LexicalEmbedder
from app.errors import InvalidValue
from app.schemas import ObjectType
from app.services import indexing
from app.testing import KnowledgeBaseEntryFactory, MessageFactory, TicketFactory


class Counting(LexicalEmbedder):
    def __init__(self) -> None:
        super().__init__()
        self.texts: set[str] = set()

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        self.texts.update(texts)
        return super().embed(texts)


class Next(Counting):
    model = "next-1"


@pytest.fixture
def desk(session):
    for content in (
        "I lost my password",
        "The invoice is wrong",
        "Thanks",
        "Thanks",
        " \n",
        "請求書が間違っています",
    ):
        MessageFactory(content=content)
    TicketFactory(subject="Cannot sign in")
    KnowledgeBaseEntryFactory(title="Refunds", content="Within 14 days.", embedding=None)
    return session


def expected(session, embedder, object_type) -> tuple[int, int]:
    """How many texts the embedder gets when it is asked, and their tokens."""
    indexing.embed_missing(session, embedder, object_types=[object_type])
    size = sum(len(text.encode()) for text in embedder.texts)
    return len(embedder.texts), math.ceil(size / 4)


@pytest.mark.parametrize("embedder", [Counting, Next])
@pytest.mark.parametrize("object_type", ObjectType)
def test_it_is_what_the_embedder_gets_then(desk, embedder, object_type):
    (estimate,) = indexing.estimate(desk, embedder(), object_types=[object_type])

    assert (estimate.texts, estimate.tokens) == expected(desk, embedder(), object_type)
    assert estimate.texts > 0
    (after,) = indexing.estimate(desk, embedder(), object_types=[object_type])
    assert (after.objects, after.texts, after.tokens) == (0, 0, 0)


def test_a_text_that_has_an_equal_one_costs_nothing(desk):
    indexing.embed_missing(desk, Counting(), object_types=["message"])
    MessageFactory(content="Thanks")
    MessageFactory(content="Something new")
    MessageFactory(content=" ")

    (estimate,) = indexing.estimate(desk, Counting(), object_types=["message"])

    assert (estimate.objects, estimate.texts, estimate.tokens) == (3, 1, math.ceil(len("Something new") / 4))


def test_nothing_is_written_and_each_type_takes_one_statement(desk, queries):
    queries.reset()
    estimates = indexing.estimate(desk, Counting())

    assert [one.object_type for one in estimates] == list(ObjectType)
    assert queries.count == len(ObjectType), queries
    assert all(one.current == 0 for one in indexing.embedding_status(desk) if one.object_type != "knowledge")


@pytest.mark.parametrize("types", ["message", ["nothing"], 7])
def test_types_that_are_none_are_refused(session, queries, types):
    with pytest.raises(InvalidValue):
        indexing.estimate(session, Counting(), object_types=types)
    assert queries.count == 0, queries
