"""Files of providers' payloads, each worked through in a transaction of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, sessionmaker

from . import channels
from .cli import explained
from .database import transaction
from .errors import CRMError, Unavailable
from .schemas import InboundMessage

T = TypeVar("T")


@dataclass(frozen=True)
class Worked(Generic[T]):
    """What became of one file: a result per message, or the problem for which nothing of it was kept."""

    path: Path
    results: tuple[T, ...] = ()
    problem: str | None = None


def files_in(paths: Iterable[Path]) -> list[Path]:
    """The files themselves, and those below folders in the order of their names, without hidden ones."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            below = (file.relative_to(path) for file in path.rglob("*") if file.is_file())
            shown = (file for file in below if not any(part.startswith(".") for part in file.parts))
            found += [path / file for file in sorted(shown)]
        else:
            found.append(path)
    return found


def work_through(
    sessions: sessionmaker[Session],
    paths: Iterable[Path],
    work: Callable[[Session, InboundMessage], T],
    *,
    authserv_id: str | None = None,
) -> Iterator[Worked[T]]:
    """Do ``work`` for every message of every file; a file that fails is reported, and the others go on.

    Raises:
        Unavailable: the database or the embedder is gone, so that no other file can succeed either.
    """
    for path in paths:
        try:
            messages = channels.parse_file(path, authserv_id=authserv_id)
            yield Worked(path, transaction(sessions, _each, messages, work))
        except (CRMError, DBAPIError) as error:
            problem = explained(error)
            if isinstance(problem, Unavailable):
                raise problem from None
            yield Worked(path, problem=str(problem))


def _each(
    session: Session, messages: list[InboundMessage], work: Callable[[Session, InboundMessage], T]
) -> tuple[T, ...]:
    return tuple(work(session, message) for message in messages)
