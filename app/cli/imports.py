"""``crm import``: rows of a file, or the mails of an archive, in batches with a progress bar."""

from __future__ import annotations

import codecs
import csv
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import IO, Annotated, Any, Unpack

import typer

from .. import channels
from ..errors import CRMError, InvalidPayload, NotFound, OwnMessage, UnwantedMessage, file_problem
from ..schemas import ImportReport
from ..services import bulk
from .desk import Database, open_database
from .inbox import STANDARD_INPUT, beginning_of
from .program import crm, example
from .show.json import JsonOption, print_json
from .show.tables import Patience, console, plain

Row = tuple[str, Any]
"""Where it stood, and what stood there or what is wrong with it."""

_SHOWN = 20
_MAX_FIELD = 10_000_000

RejectsOption = Annotated[
    Path | None,
    typer.Option(help="A file for what could not be stored, a JSON object a line, with the reason."),
]
ArchivedOption = Annotated[
    bool | None,
    typer.Option(
        "--archived/--live",
        help="Of the past: keeps its dates, wakes no ticket. By default so are archives and imports.",
    ),
]


class Kind(StrEnum):
    MESSAGES = "messages"
    CUSTOMERS = "customers"
    TICKETS = "tickets"


_IMPORTS: dict[Kind, Callable[..., ImportReport]] = {
    Kind.MESSAGES: bulk.import_messages,
    Kind.CUSTOMERS: bulk.import_customers,
    Kind.TICKETS: bulk.import_tickets,
}


@crm.command("import", epilog=example("import customers.csv --rejects rejected.jsonl"))
def _import(
    path: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="A .jsonl, .csv, .mbox or .mbox.gz file; - for standard input."),
    ],
    kind: Annotated[
        Kind | None, typer.Option(help="What the rows are; by default guessed by the fields of the first.")
    ] = None,
    archived: ArchivedOption = None,
    rejects: RejectsOption = None,
    own_account: Annotated[
        list[str] | None,
        typer.Option(help="An address of yours: its mail is no customer's. Can be repeated."),
    ] = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Store the rows of a file. It can be run again, also after a kill: what is stored is passed over."""
    with open_database() as database, _opened(path) as file:
        if path.name.lower().endswith((".mbox", ".mbox.gz")) or channels.begins_mbox(beginning_of(file)):
            mails = Mails([file if path == STANDARD_INPUT else path], own_accounts=own_account or ())
            report = import_mails(database, mails, archived=archived is not False, rejects=rejects)
            if not as_json:
                say_left_out(mails)
        else:
            rows = _rows(path, file)
            chosen, rows = (kind, rows) if kind is not None else _guessed(rows)
            options = {"archived": archived is not False} if chosen is Kind.MESSAGES else {}
            report = _watched(database, _IMPORTS[chosen], rows, rejects=rejects, **options)
    if as_json:
        print_json(report=report)
    else:
        say_how_many(report)
    _complain(problems_of(report, rejects))


class Mails:
    """The rows of archives; our own mails and unwanted ones are counted and left out."""

    def __init__(self, archives: Iterable[Path | IO[bytes]], **options: Unpack[channels.MailOptions]) -> None:
        self._archives, self._options = archives, options
        self.own = self.unwanted = 0

    def __iter__(self) -> Iterator[Row]:
        problems: list[Row] = []
        for archive in self._archives:
            mails = channels.parse_archive(archive, on_problem=partial(self._note, problems), **self._options)
            for place, message in mails:
                yield from problems
                problems.clear()
                yield place, message
            yield from problems
            problems.clear()

    def _note(self, problems: list[Row], place: str, problem: InvalidPayload) -> None:
        if isinstance(problem, OwnMessage):
            self.own += 1
        elif isinstance(problem, UnwantedMessage):
            self.unwanted += 1
        else:
            problems.append((place, problem))


def import_mails(database: Database, mails: Mails, *, archived: bool, rejects: Path | None) -> ImportReport:
    """Store the mails of archives."""
    return _watched(database, bulk.import_messages, mails, archived=archived, rejects=rejects)


def say_left_out(mails: Mails) -> None:
    """Say how many mails were not a customer's."""
    if mails.own:
        console().print(f"{mails.own} of our own left out")
    if mails.unwanted:
        console().print(f"{mails.unwanted} from spam and trash left out")


def _complain(problems: list[str]) -> None:
    """A line on stderr for each; then the command has failed."""
    for problem in problems:
        typer.echo(plain(problem), err=True)
    if problems:
        raise typer.Exit(1)


def say_how_many(report: ImportReport) -> None:
    console().print(f"{report.new} new, {report.already_there} already there")
    for erasure in report.erased_before:
        console().print(f"erased before, on {erasure.erased_at:%Y-%m-%d}, and back: {erasure.erasure_id}")


def problems_of(report: ImportReport, rejects: Path | None) -> list[str]:
    """A line for each of the first rows that were rejected, and one for the others."""
    problems = [f"crm: {reject.source or f'row {reject.row}'}: {reject.reason}" for reject in report.rejects]
    if report.rejected > _SHOWN:
        where = "pass --rejects FILE to see them" if rejects is None else f"all are in {rejects}"
        problems[_SHOWN:] = [f"crm: and {report.rejected - _SHOWN} more; {where}"]
    return problems


def _watched(
    database: Database, import_: Callable[..., ImportReport], rows: Iterable[Row], **options: Any
) -> ImportReport:
    secret = database.settings.erasure_key
    with Patience() as progress:
        return import_(
            database.engine,
            rows,
            default_region=database.settings.default_region,
            erasure_key=secret.get_secret_value() if secret else None,
            progress=progress.counter("importing"),
            **options,
        )


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    """The file, open from its beginning.

    Raises:
        NotFound: there is none.
        InvalidPayload: it cannot be read.
    """
    if path == STANDARD_INPUT:
        yield sys.stdin.buffer
        return
    try:
        file = path.open("rb")
    except FileNotFoundError:
        raise NotFound(f"{path}: there is no such file") from None
    except (OSError, ValueError) as error:
        raise InvalidPayload("file", f"cannot be read: {file_problem(error)}") from None
    with file:
        yield file


def _rows(path: Path, file: IO[bytes]) -> Iterator[Row]:
    """The rows of a file of tables; standard input is JSON lines.

    Raises:
        InvalidPayload: it is neither, or not UTF-8.
    """
    readers = {".jsonl": _json_lines, ".ndjson": _json_lines, ".csv": _csv_rows}
    suffix = ".jsonl" if path == STANDARD_INPUT else path.suffix.lower()
    if suffix not in readers:
        raise InvalidPayload("file", "does not end in .jsonl, .csv or .mbox")
    return readers[suffix](path, file)


def _json_lines(path: Path, file: IO[bytes]) -> Iterator[Row]:
    for number, line in enumerate(file, 1):
        if line.strip():
            try:
                yield f"{path}:{number}", json.loads(line)
            except (ValueError, RecursionError):
                yield f"{path}:{number}", InvalidPayload("line", "is not JSON")


def _csv_rows(path: Path, file: IO[bytes]) -> Iterator[Row]:
    csv.field_size_limit(_MAX_FIELD)
    reader = csv.DictReader(codecs.iterdecode(file, "utf-8-sig"), strict=True)
    while True:
        try:
            row = next(reader, None)
        except (csv.Error, UnicodeDecodeError):
            # From here on nobody can tell where a row begins.
            yield f"{path}:{reader.line_num}", InvalidPayload("file", "is not CSV in UTF-8 from here on")
            return
        if row is None:
            return
        place = f"{path}:{reader.line_num}"
        if None in row or None in row.values():
            yield place, InvalidPayload("row", "has not as many fields as the first line")
        else:
            yield place, row


def _guessed(rows: Iterator[Row]) -> tuple[Kind, Iterator[Row]]:
    """What the rows are, by the names of the first one's fields; and all of them."""
    seen: list[Row] = []
    kind = Kind.CUSTOMERS
    for row in rows:
        seen.append(row)
        if isinstance(row[1], CRMError):
            continue
        names = row[1].keys() if isinstance(row[1], dict) else ()
        if "provider_message_id" in names:
            kind = Kind.MESSAGES
        elif "ticket_number" in names:
            kind = Kind.TICKETS
        break
    return kind, _chained(seen, rows)


def _chained(first: Iterable[Row], rest: Iterator[Row]) -> Iterator[Row]:
    yield from first
    yield from rest
