"""Files of providers' payloads, each worked through in a transaction of its own."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Generic, TypeVar, Unpack

from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, sessionmaker

from .. import channels
from ..database import transaction
from ..errors import CRMError, NotFound, Unavailable, explain
from ..schemas import InboundMessage
from ..services import knowledge

T = TypeVar("T")

STANDARD_INPUT = Path("-")
FEW = 100
"""Mails of one folder that are still stored one by one, with a line about each."""


@dataclass(frozen=True)
class Worked(Generic[T]):
    """What became of one file: a result per message, or the problem for which nothing of it was kept."""

    path: Path
    results: tuple[T, ...] = ()
    problem: str | None = None


def files_in(paths: Iterable[Path]) -> list[Path]:
    """The files themselves, and those below folders in the order of their names, without hidden ones.

    Raises:
        InvalidValue: a folder, or one below it, cannot be read.
    """
    files: list[Path] = []
    for path in paths:
        files += knowledge.files_below(path) if path.is_dir() else [path]
    return files


def sorted_out(paths: Iterable[Path]) -> tuple[list[Path], list[Path | IO[bytes]]]:
    """Files of single payloads, and archives of mail, also those that lie in folders.

    Many mails in one folder are taken as archives: nobody reads a line about each.

    Raises:
        InvalidValue: a folder, or one below it, cannot be read.
    """
    payloads: list[Path] = []
    archives: list[Path | IO[bytes]] = []
    for path in paths:
        if path == STANDARD_INPUT:
            is_mbox = channels.begins_mbox(beginning_of(sys.stdin.buffer))
            archives += [sys.stdin.buffer] if is_mbox else []
            payloads += [] if is_mbox else [path]
        elif channels.is_archive(path):
            archives.append(path)
        else:
            maildirs = _maildirs_below(path)
            archives += maildirs
            files = [file for file in files_in([path]) if not any(map(file.is_relative_to, maildirs))]
            are_many = sum(file.suffix.lower() == ".eml" for file in files) > FEW
            for file in files:
                is_one_of_many = are_many and file.suffix.lower() == ".eml"
                (archives if is_one_of_many or channels.is_archive(file) else payloads).append(file)
    return payloads, archives


def beginning_of(file: IO[bytes]) -> bytes:
    """Its first bytes, which stay to be read; empty where it cannot be looked at."""
    return file.peek(200) if isinstance(file, io.BufferedReader) else b""


def _maildirs_below(folder: Path) -> list[Path]:
    """Those within one, as its folders, are not told apart from it."""
    maildirs = []
    for parent, folders, _ in os.walk(folder):
        if channels.is_archive(Path(parent)):
            maildirs.append(Path(parent))
            folders.clear()
        folders[:] = [name for name in folders if not name.startswith(".")]
    return sorted(maildirs)


def work_through(
    sessions: sessionmaker[Session],
    paths: Iterable[Path],
    work: Callable[[Session, InboundMessage], T],
    **options: Unpack[channels.MailOptions],
) -> Iterator[Worked[T]]:
    """Do ``work`` for every message of every file; a file that fails is reported, and the others go on.

    Raises:
        Unavailable: the database or the embedder is gone, so that no other file can succeed either.
    """
    for path in paths:
        try:
            messages = _read(path, options)
            yield Worked(path, transaction(sessions, _each, messages, work))
        except (CRMError, DBAPIError) as error:
            problem = explain(error)
            if isinstance(problem, Unavailable):
                raise problem from None
            yield Worked(path, problem=str(problem))


def _read(path: Path, options: channels.MailOptions) -> list[InboundMessage]:
    if path == STANDARD_INPUT:
        return channels.parse_payload(sys.stdin.buffer.read(), **options)
    if not path.exists():
        raise NotFound("there is no such file or folder")
    return channels.parse_file(path, **options)


def _each(
    session: Session, messages: list[InboundMessage], work: Callable[[Session, InboundMessage], T]
) -> tuple[T, ...]:
    return tuple(work(session, message) for message in messages)
