"""``crm knowledge calibrate``: from which confidence on a hit answers a question."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy.orm import Session

from ..database import transaction
from ..embeddings import Embedder
from ..errors import InvalidValue, file_problem
from ..schemas import Calibration, ObjectType, SearchMode
from ..services import search
from .desk import make_embedder, open_database
from .program import example, knowledge
from .show.json import JsonOption, print_json

_FEW = 100
_MAX_BYTES = 20_000_000


@knowledge.command("calibrate", epilog=example("knowledge calibrate ours.txt others.txt --answered 0.9"))
def _calibrate(
    answerable: Annotated[
        Path, typer.Argument(metavar="ANSWERABLE", help="Questions that the base answers, a line each.")
    ],
    unanswerable: Annotated[
        Path, typer.Argument(metavar="UNANSWERABLE", help="Questions that it does not answer.")
    ],
    answered: Annotated[float, typer.Option(help="The part of ANSWERABLE that must stay answered.")] = 0.95,
    mode: Annotated[SearchMode, typer.Option(help="By meaning, by words, or by both.")] = SearchMode.HYBRID,
    only: Annotated[ObjectType, typer.Option(help="What is searched.")] = ObjectType.KNOWLEDGE,
    *,
    as_json: JsonOption = False,
) -> None:
    """Measure the confidence that tells questions with an answer from others, and keep it.

    The searches of the same embedder and mode then say of each hit whether it is confident. Take questions as
    customers write them, a hundred of each kind or more; lines without a word are left out.
    """
    questions = _questions("answerable", answerable), _questions("unanswerable", unanswerable)
    with open_database() as database:
        embedder = make_embedder(database.settings)
        kept = transaction(
            database.sessions,
            _measured,
            *questions,
            embedder=embedder,
            mode=mode,
            answered=answered,
            only=only,
        )
    counts = [len(some) for some in questions]
    if as_json:
        print_json(**kept.model_dump(), answerable=counts[0], unanswerable=counts[1])
        return
    typer.echo(
        f"threshold: {kept.threshold:.4f}; of {counts[0]} questions {kept.answered:.1%} are answered, "
        f"of {counts[1]} others {kept.refused:.1%} are refused"
    )
    if min(counts) < _FEW:
        typer.echo(f"with fewer than {_FEW} questions of a kind this may be far off", err=True)


def _measured(
    session: Session,
    answerable: list[str],
    unanswerable: list[str],
    *,
    embedder: Embedder,
    mode: SearchMode,
    answered: float,
    only: ObjectType,
) -> Calibration:
    by = None if mode is SearchMode.TEXT else embedder
    search.calibrate(
        session, answerable, unanswerable, embedder=by, mode=mode, answered=answered, object_type=only
    )
    kept = search.find_calibration(session, embedder=by, mode=mode, object_type=only)
    assert kept is not None
    return kept


def _questions(field: str, path: Path) -> list[str]:
    """The lines of a file that have something in them."""
    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_BYTES + 1)
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidValue(field, "is not UTF-8") from None
    except (OSError, ValueError) as error:
        raise InvalidValue(field, f"cannot be read: {file_problem(error)}") from None
    if len(raw) > _MAX_BYTES:
        raise InvalidValue(field, f"is larger than {_MAX_BYTES:,} bytes")
    questions = [line.strip() for line in text.splitlines() if line.strip()]
    if not questions:
        raise InvalidValue(field, "has no question")
    return questions
