"""The search knows when it has no answer: confidence, thresholds that are measured, and min_score."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from sqlalchemy import text

from app.errors import InvalidValue, InvalidVector
from app.models import SearchThreshold
from app.services import indexing, search
from app.testing import KnowledgeBaseEntryFactory, MessageFactory

MODES = ["vector", "text", "hybrid"]
ANSWERABLE = ["apple pie", "apple cake", "pear cake", "plum pie"]
UNANSWERABLE = ["engine oil", "tyre", "brake", "gear box"]
WORDS = ["apple", "pear", "plum", "pie", "cake", "tart", "engine", "oil", "tyre", "brake", "gear", "box"]


class WordCount:
    """A dimension for each of a dozen words, and one more for what is none of them."""

    model = "word-count"
    dimensions = len(WORDS) + 1

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        return [[0.1 + text.split().count(word) for word in WORDS] + [0.5] for text in texts]


class Narrow(WordCount):
    """Of the same name, and another width."""

    dimensions = len(WORDS)

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        return [vector[:-1] for vector in super().embed(texts)]


@pytest.fixture(autouse=True)
def kitchen(session):
    """All that there is to find, whatever other tests have committed."""
    session.execute(text("DELETE FROM knowledge_base"))
    session.execute(text("DELETE FROM messages"))
    made = [
        KnowledgeBaseEntryFactory(title="-", content=content)
        for content in ("apple pie", "apple tart", "pear cake", "plum cake", "plum pie")
    ]
    indexing.embed_missing(session, WordCount())
    return made


def find(session, question, mode, **options):
    embedder = None if mode == "text" else WordCount()
    return search.search_knowledge(session, question, embedder=embedder, mode=mode, explain=True, **options)


def calibrate(session, mode, answerable=ANSWERABLE, unanswerable=UNANSWERABLE, **options):
    embedder = None if mode == "text" else WordCount()
    return search.calibrate(session, answerable, unanswerable, embedder=embedder, mode=mode, **options)


@pytest.mark.parametrize("mode", MODES)
def test_confidence_is_the_score_and_of_the_first_the_mean_of_two(session, mode):
    hits = find(session, "apple pie", mode)
    assert len(hits) > 2
    scores = [hit.score for hit in hits]
    expected = [(scores[0] + scores[1]) / 2, *scores[1:]]
    assert [hit.explanation.confidence for hit in hits] == pytest.approx(expected)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("options", [{"limit": 1}, {"limit": 2}, {"limit": 5, "min_similarity": 0.9}])
def test_confidence_does_not_depend_on_what_is_asked_for(session, mode, options):
    if mode == "text":
        options = {"limit": options["limit"]}
    confidence = find(session, "apple pie", mode)[0].explanation.confidence
    assert find(session, "apple pie", mode, **options)[0].explanation.confidence == pytest.approx(confidence)


@pytest.mark.parametrize("mode", MODES)
def test_a_lonely_hit_is_as_confident_as_its_score(session, kitchen, mode):
    session.execute(text("DELETE FROM knowledge_base WHERE id <> :id"), {"id": kitchen[0].id})
    (hit,) = find(session, "apple", mode)
    assert hit.explanation.confidence == pytest.approx(hit.score)


@pytest.mark.parametrize("mode", MODES)
def test_min_score_leaves_out_what_is_less(session, mode):
    hits = find(session, "apple pie pie", mode)
    for hit in hits[1:]:
        least = hit.score
        expected = [one.id for one in hits if one.score >= least]
        assert [one.id for one in find(session, "apple pie pie", mode, min_score=least)] == expected
    assert find(session, "apple pie pie", mode, min_score=hits[0].score + 1e-9) == []
    assert len(find(session, "apple pie pie", mode, min_score=-1)) == len(hits)


@pytest.mark.parametrize("mode", MODES)
def test_nothing_is_confident_before_anybody_has_measured(session, mode):
    assert not any(hit.confident for hit in find(session, "apple pie", mode))
    assert search.find_threshold(session, embedder=WordCount(), mode=mode) is None


@pytest.mark.parametrize("mode", MODES)
def test_a_threshold_parts_questions_with_an_answer_from_those_without(session, queries, mode):
    threshold = calibrate(session, mode)
    assert search.find_threshold(session, embedder=WordCount(), mode=mode) == threshold
    assert 0 < threshold < 1
    queries.reset()
    assert all(find(session, question, mode)[0].confident for question in ANSWERABLE)
    assert queries.count == len(ANSWERABLE)
    for question in UNANSWERABLE:
        assert not any(hit.confident for hit in find(session, question, mode))
        assert find(session, question, mode, min_score=threshold) == []
    assert all(find(session, question, mode, min_score=threshold) for question in ANSWERABLE)


def test_the_wanted_share_is_answered_and_no_more_than_must_be(session):
    strong, weak = ["apple pie"] * 19, ["tyre"]
    low, high = (calibrate(session, "vector", strong + weak, UNANSWERABLE, answered=one) for one in (1, 0.95))
    assert low < high
    row = session.get(SearchThreshold, ("knowledge", "word-count", WordCount.dimensions, 1.0))
    assert (row.answered, row.refused, row.threshold) == (0.95, 1.0, high)
    assert not find(session, "tyre", "vector")[0].confident


def test_vectors_are_questions_too(session):
    vectors = [WordCount().embed(questions) for questions in (ANSWERABLE, UNANSWERABLE)]
    assert calibrate(session, "vector", *vectors) == calibrate(session, "vector")


def test_a_threshold_is_of_one_model_one_width_one_mode_and_its_weights(session):
    calibrate(session, "hybrid", weights=(0.5, 0.5))
    assert find(session, "apple pie", "hybrid", weights=(0.5, 0.5))[0].confident
    assert find(session, "apple pie", "hybrid", weights=(1, 1))[0].confident
    assert not find(session, "apple pie", "hybrid")[0].confident
    assert not find(session, "apple pie", "vector")[0].confident
    assert not find(session, "apple pie", "text")[0].confident
    other = {"embedder": Narrow(), "mode": "hybrid", "weights": (0.5, 0.5)}
    assert search.find_threshold(session, **other) is None


def test_a_bare_vector_has_the_threshold_of_the_model_that_is_searched(session):
    calibrate(session, "vector")
    question = WordCount().embed(["apple pie"])[0]
    assert search.search_knowledge(session, question)[0].confident
    session.execute(text("UPDATE search_thresholds SET model = 'of before'"))
    assert not search.search_knowledge(session, question)[0].confident


def test_messages_have_a_threshold_of_their_own(session):
    for content in ("apple pie", "apple tart", "pear cake"):
        MessageFactory(content=content)
    indexing.embed_missing(session, WordCount())
    calibrate(session, "vector")
    options = {"embedder": WordCount(), "limit": 1}
    assert not search.search_messages(session, "apple pie", **options)[0].confident
    calibrate(session, "vector", object_type="message")
    assert search.search_messages(session, "apple pie", **options)[0].confident
    assert not search.search_messages(session, "tyre", **options)[0].confident
    assert {hit.object_type for hit in search.search_all(session, "apple pie", embedder=WordCount())
            if hit.confident} == {"knowledge", "message"}  # fmt: skip


def test_a_new_measurement_replaces_the_old_one(session):
    calibrate(session, "text")
    second = calibrate(session, "text", ["engine oil", "apple pie"], answered=0.5)
    assert search.find_threshold(session, mode="text") == second
    assert session.scalar(text("SELECT count(*) FROM search_thresholds")) == 1


@pytest.mark.parametrize(
    ("field", "options"),
    [
        ("answerable", {"answerable": []}),
        ("answerable", {"answerable": "apple"}),
        ("answerable", {"answerable": ["apple", " "]}),
        ("answerable", {"answerable": [None], "mode": "text"}),
        ("unanswerable", {"unanswerable": []}),
        ("unanswerable", {"unanswerable": [[0.1]], "mode": "hybrid"}),
        ("unanswerable", {"unanswerable": ["x" * 10_001]}),
        ("answered", {"answered": 0}),
        ("answered", {"answered": 1.01}),
        ("answered", {"answered": math.nan}),
        ("answered", {"answered": True}),
        ("mode", {"mode": "magic"}),
        ("weights", {"weights": (0, 0)}),
        ("object_type", {"object_type": "customer"}),
        ("embedder", {"embedder": None}),
    ],
)
def test_what_makes_no_sense_is_named_and_nothing_is_sent(session, queries, field, options):
    questions = {"answerable": ANSWERABLE, "unanswerable": UNANSWERABLE, "embedder": WordCount(), **options}
    queries.reset()
    with pytest.raises(InvalidValue) as caught:
        search.calibrate(session, questions.pop("answerable"), questions.pop("unanswerable"), **questions)
    assert caught.value.field == field
    assert queries.count == 0


@pytest.mark.parametrize("least", [math.nan, 1.5, -1.5, "0.5", True])
def test_a_bad_min_score_is_refused(session, queries, least):
    queries.reset()
    with pytest.raises(InvalidValue, match="min_score"):
        search.search_knowledge(session, "apple", mode="text", min_score=least)
    assert queries.count == 0


def test_nothing_is_measured_where_nothing_is_found(session):
    with pytest.raises(InvalidValue, match="anything is found"):
        calibrate(session, "text", ["zeppelin"])
    session.execute(text('UPDATE knowledge_base SET metadata = \'{"embedding": {"model": "other"}}\''))
    with pytest.raises(InvalidVector, match="other"):
        calibrate(session, "vector")
    assert session.scalar(text("SELECT count(*) FROM search_thresholds")) == 0


def test_a_question_for_which_nothing_is_found_is_not_counted_as_answered(session):
    strange = ["zeppelin", "giraffe"]
    threshold = calibrate(session, "text", ["apple pie", "apple cake", *strange], ["plum", *strange])
    assert threshold == min(find(session, one, "text")[0].explanation.confidence for one in ANSWERABLE[:2])
    kept = search.find_calibration(session, mode="text")
    assert (kept.answered, kept.refused) == (0.5, pytest.approx(2 / 3))
