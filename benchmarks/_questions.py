"""The labelled questions of ``questions.toml``, and which half each belongs to."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Half = Literal["tune", "test"]
HALVES: tuple[Half, Half] = ("tune", "test")
TAGS = (
    "plain",
    "paraphrase",
    "typo",
    "short",
    "long",
    "code",
    "product",
    "language:de",
    "language:es",
    "language:fr",
    "language:pt",
)


@dataclass(frozen=True)
class Question:
    text: str
    article: str
    answers: frozenset[str]
    """The titles of all articles that answer it, ``article`` among them."""
    tags: frozenset[str]
    half: Half


def load_questions() -> list[Question]:
    articles = tomllib.loads((Path(__file__).parent / "questions.toml").read_text("utf-8"))["article"]
    return [
        Question(
            text=asked["ask"],
            article=article["title"],
            answers=frozenset([article["title"], *asked.get("also", [])]),
            tags=frozenset(asked["tags"]),
            half=HALVES[(row + column) % 2],
        )
        for row, article in enumerate(articles)
        for column, asked in enumerate(article["questions"])
    ]
