"""The labelled questions: about articles that exist, evenly divided, and in the customers' own words."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from alembic.script import ScriptDirectory

from app.migrations import alembic_config

RUN = 6


@pytest.fixture(scope="module")
def articles() -> dict[str, str]:
    """Title and text of every section that the revision stores."""
    revision = ScriptDirectory.from_config(alembic_config()).get_revision("0003")
    return {section["title"]: section["content"] for section in revision.module.sections()}


@pytest.fixture(scope="module")
def labels(benchmark):
    return benchmark("_questions")


@pytest.fixture(scope="module")
def questions(labels):
    return labels.load_questions()


def runs(text: str) -> set[tuple[str, ...]]:
    words = re.findall(r"[\w-]+", text.lower())
    return {tuple(words[at : at + RUN]) for at in range(len(words) - RUN + 1)}


def test_there_are_enough_questions_and_none_twice(questions):
    assert len(questions) >= 120
    assert len({" ".join(question.text.lower().split()) for question in questions}) == len(questions)


def test_every_label_is_an_article_and_every_article_is_asked_for_in_both_halves(questions, articles):
    assert {title for question in questions for title in question.answers} <= set(articles)
    for half in ("tune", "test"):
        assert {question.article for question in questions if question.half == half} == set(articles)


def test_every_question_has_tags_and_every_tag_has_questions(questions, labels):
    assert all(question.tags for question in questions)
    assert {tag for question in questions for tag in question.tags} == set(labels.TAGS)


def test_the_halves_are_alike_in_size_and_tags(questions):
    sizes = Counter(question.half for question in questions)
    assert abs(sizes["tune"] - sizes["test"]) <= 1
    tags = Counter((tag, question.half) for question in questions for tag in question.tags)
    for tag in {tag for tag, _ in tags}:
        tuning, testing = tags[tag, "tune"], tags[tag, "test"]
        assert abs(tuning - testing) <= max(2, 0.2 * (tuning + testing)), tag


def test_short_questions_are_short_and_long_ones_long(questions):
    for question in questions:
        words = len(question.text.split())
        assert ("long" in question.tags) == (words >= 22), question.text
        assert words <= 4 or "short" not in question.tags, question.text


def test_questions_that_quote_a_code_are_tagged(questions):
    for question in questions:
        quotes = re.search(r"\b(tc[- ])?[45]\d\d\b", question.text.lower()) is not None
        assert quotes == ("code" in question.tags), question.text


def test_no_question_is_copied_from_an_article(questions, articles):
    written = set().union(*(runs(f"{title} {content}") for title, content in articles.items()))
    assert written
    copied = [question.text for question in questions if runs(question.text) & written]
    assert copied == []
