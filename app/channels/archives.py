"""Archives of mail: an mbox (Gmail Takeout's too), a Maildir, a folder of .eml files; packed or not."""

from __future__ import annotations

import gzip
import os
import re
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, cast

from ..errors import InvalidPayload, OwnMessage, UnwantedMessage, file_problem
from . import _fields

OnProblem = Callable[[str, InvalidPayload], object]

MAX_MESSAGE = 100_000_000
"""Bytes; more than any provider delivers."""

_PIECE = 1 << 20
# "From " also begins sentences; the line that parts messages has a moment in it, and headers below it.
_SEPARATOR = re.compile(rb"From (?:[^\r\n]* )?[^\r\n]*\d{1,2}:\d\d[^\r\n]*\d{4}")
_FIELD = re.compile(rb"[!-9;-~]{1,100}[ \t]*:|>From ")
# Where no empty line is before it: in full, with a header that mail servers write.
_WHOLE_SEPARATOR = re.compile(
    rb"From \S+ +[A-Z][a-z]{2},? +(?:[A-Z][a-z]{2} +\d{1,2}|\d{1,2} +[A-Z][a-z]{2}) "
    rb"[^\r\n]{0,30}\d{4}[^\r\n]{0,10}\r?\n"
)
_SERVERS_FIELD = re.compile(
    rb"(?:return-path|received|delivered-to|from|to|date|subject|message-id|mime-version|x-[a-z-]+):",
    re.IGNORECASE,
)
_BEFORE = b"\xef\xbb\xbf\r\n"
_FLAGS = re.compile(r"[:;!]2,([A-Za-z]*)\Z")
_ESCAPED_FROM = re.compile(rb">+From ")
_MAILDIR = ("cur", "new")
_TARS = (".tar", ".tgz", ".tar.gz")


def is_archive(path: Path) -> bool:
    """Whether it is an mbox, a zip, a tar or a Maildir: more than one mail, or at least meant for more."""
    if path.is_dir():
        return all((path / name).is_dir() for name in _MAILDIR)
    if path.name.lower().endswith((".zip", ".mbox", ".mbox.gz", *_TARS)):
        return True
    try:
        with path.open("rb") as file:
            return begins_mbox(file.readline(_PIECE))
    except (OSError, ValueError):
        return False


def begins_mbox(first: bytes) -> bool:
    """Whether this is the beginning of the first line of an mbox."""
    return _SEPARATOR.match(first.lstrip(_BEFORE)) is not None


def messages_in(
    path: Path | IO[bytes], *, on_problem: OnProblem | None = None
) -> Iterator[tuple[str, bytes]]:
    """Every message below ``path`` as it is stored, with where it lies, in the order of their places.

    An open file is an mbox.

    One message at a time is in memory. What is no mail, cannot be read, or is larger than ``MAX_MESSAGE`` is
    passed over: ``on_problem`` gets its place and error, else they are logged. Links to folders are not
    followed.
    """
    report = on_problem or log_problem
    if not isinstance(path, Path):
        yield from _messages("-", path, report)
    elif path.is_dir():
        yield from _below(path, report)
    else:
        yield from _file(path, report)


def log_problem(source: str, problem: InvalidPayload) -> None:
    _fields.log.warning("%s was passed over: %s", source, problem)


def _below(folder: Path, report: OnProblem) -> Iterator[tuple[str, bytes]]:
    for parent, folders, names in os.walk(folder):
        place = Path(parent)
        if all((place / name).is_dir() for name in _MAILDIR):
            # Of a Maildir, tmp is not delivered yet; folders within it are Maildirs of their own.
            folders[:] = sorted(name for name in folders if name not in (*_MAILDIR, "tmp"))
            for file in sorted(file for name in _MAILDIR for file in (place / name).iterdir()):
                if not file.name.startswith("."):
                    yield from _of_maildir(file, report)
        else:
            folders.sort()
            for name in sorted(name for name in names if not name.startswith(".")):
                yield from _file(place / name, report)


def _of_maildir(path: Path, report: OnProblem) -> Iterator[tuple[str, bytes]]:
    """One mail, unless its name's flags say that it is a draft, or thrown away."""
    written = _FLAGS.search(path.name)
    flags = written[1] if written else ""
    if "D" in flags:
        report(str(path), OwnMessage("flags", "say that it is a draft"))
    elif "T" in flags:
        report(str(path), UnwantedMessage("flags", "say that it was thrown away"))
    else:
        yield from _opened(path, report, _single)


def _file(path: Path, report: OnProblem) -> Iterator[tuple[str, bytes]]:
    if path.suffix.lower() == ".zip":
        yield from _zipped(path, report)
    elif path.name.lower().endswith(_TARS):
        yield from _in_tar(path, report)
    elif path.suffix.lower() == ".gz":
        yield from _unpacked(path, report)
    else:
        yield from _opened(path, report, _messages)


def _opened(
    path: Path, report: OnProblem, read: Callable[[str, IO[bytes], OnProblem], Iterator[tuple[str, bytes]]]
) -> Iterator[tuple[str, bytes]]:
    try:
        with path.open("rb") as file:
            yield from read(str(path), file, report)
    except (OSError, ValueError) as error:
        reason = file_problem(error)
        report(str(path), InvalidPayload("file", f"cannot be read: {reason}"))


def _unpacked(path: Path, report: OnProblem) -> Iterator[tuple[str, bytes]]:
    try:
        with gzip.open(path) as file:
            yield from _messages(str(path.with_suffix("")), cast(IO[bytes], file), report)
    except (OSError, ValueError, EOFError, zlib.error):
        report(str(path), InvalidPayload("file", "cannot be read as a gzip file"))


def _zipped(path: Path, report: OnProblem) -> Iterator[tuple[str, bytes]]:
    try:
        with zipfile.ZipFile(path) as archive:
            for member in sorted(archive.namelist()):
                if not member.endswith("/") and not member.rpartition("/")[2].startswith("."):
                    with archive.open(member) as file:
                        yield from _messages(f"{path}/{member}", file, report)
    except (OSError, ValueError, RuntimeError, NotImplementedError, zipfile.BadZipFile):
        report(str(path), InvalidPayload("file", "cannot be read as a zip file"))


def _in_tar(path: Path, report: OnProblem) -> Iterator[tuple[str, bytes]]:
    """In the order of the archive, which is read once: looking for a place in it would read all before it."""
    try:
        with tarfile.open(path, "r|*") as archive:
            for member in archive:
                if member.isfile() and not member.name.rpartition("/")[2].startswith("."):
                    file = cast(IO[bytes], archive.extractfile(member))
                    yield from _messages(f"{path}/{member.name}", file, report)
    except (OSError, ValueError, EOFError, zlib.error, tarfile.TarError):
        report(str(path), InvalidPayload("file", "cannot be read as a tar file"))


def _messages(source: str, file: IO[bytes], report: OnProblem) -> Iterator[tuple[str, bytes]]:
    """One message of an .eml, or all of an mbox, which its first line tells, whatever the file is called."""
    first = file.readline(_PIECE)
    while first and not first.strip(_BEFORE):
        first = file.readline(_PIECE)
    if begins_mbox(first):
        yield from _mbox(source, file, report)
    elif source.lower().endswith(".eml"):
        yield from _single(source, file, report, first)
    else:
        report(source, InvalidPayload("file", "is neither an mbox nor an .eml"))


def _single(
    source: str, file: IO[bytes], report: OnProblem, first: bytes = b""
) -> Iterator[tuple[str, bytes]]:
    raw = first + file.read(MAX_MESSAGE + 1 - len(first))
    if len(raw) > MAX_MESSAGE:
        report(source, _too_large())
    else:
        yield source, raw


def _mbox(source: str, file: IO[bytes], report: OnProblem) -> Iterator[tuple[str, bytes]]:
    """After the first separator. What only looks like one is escaped, or has no headers below it."""
    lines: list[bytes] = []
    number, size = 1, 0
    is_line_start, is_after_blank = True, False
    following = file.readline(_PIECE)
    while piece := following:
        following = file.readline(_PIECE)
        if is_line_start and _parts(piece, following, is_after_blank=is_after_blank):
            yield from _collected(f"{source}#{number}", lines, size, report)
            number, lines, size = number + 1, [], 0
            is_after_blank = False
            continue
        if is_line_start:
            is_after_blank = piece in (b"\n", b"\r\n")
            piece = piece[1:] if _ESCAPED_FROM.match(piece) else piece
        is_line_start = piece.endswith(b"\n")
        size += len(piece)
        if size <= MAX_MESSAGE:
            lines.append(piece)
    yield from _collected(f"{source}#{number}", lines, size, report)


def _parts(line: bytes, following: bytes, *, is_after_blank: bool) -> bool:
    """Whether a line parts two messages."""
    if not line.startswith(b"From "):
        return False
    if is_after_blank:
        return _SEPARATOR.match(line) is not None and _FIELD.match(following) is not None
    return _WHOLE_SEPARATOR.fullmatch(line) is not None and _SERVERS_FIELD.match(following) is not None


def _collected(source: str, lines: list[bytes], size: int, report: OnProblem) -> Iterator[tuple[str, bytes]]:
    if size > MAX_MESSAGE:
        report(source, _too_large())
    elif size:
        yield source, b"".join(lines)


def _too_large() -> InvalidPayload:
    return InvalidPayload("message", f"is larger than {MAX_MESSAGE:,} bytes")
