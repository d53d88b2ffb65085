"""What imports have in common: batches that commit, rows that are rejected, and progress."""

from __future__ import annotations

import json
import logging
import reprlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Generic, NamedTuple, TypeVar
from uuid import UUID

from pydantic import BaseModel, ValidationError
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, sessionmaker

from ...database import make_session_factory, transaction
from ...errors import (
    ConcurrentChange,
    CRMError,
    InvalidValue,
    StorageUnavailable,
    Unavailable,
    explain,
    file_problem,
    refusal,
)
from ...schemas import ErasedBefore, ImportReport, RejectedRow
from .._shared.checks import checked_number

log = logging.getLogger("crm.bulk")

R = TypeVar("R")
T = TypeVar("T")
Progress = Callable[[int, int | None], object]
"""Gets how many rows are done, and of how many, if that is known; after each commit."""

BATCH = 1000
"""Rows of a transaction, which locks each new person's addresses: a server has room for some 6,000 locks."""
MAX_BATCH = 2000
_MAX_BYTES = 32_000_000
_KEPT_REJECTS = 1000
_RETRIES = 5


class RowResult(NamedTuple):
    """What became of one row."""

    new: bool
    customer_created: bool = False
    conversation_opened: bool = False
    erased_before: tuple[ErasedBefore, ...] = ()


class Steps(NamedTuple, Generic[T]):
    """What an import does with its rows."""

    read: Callable[[Any], T]
    """Check one row, without the database; raises what is wrong with it."""
    size: Callable[[T], int]
    """About how many bytes it is."""
    store: Callable[[Session, Sequence[T]], list[RowResult | CRMError]]
    """Store many in one transaction; an error for each that cannot be."""
    store_one: Callable[[Session, T], RowResult]
    """The same for a single one."""


class _Row(NamedTuple, Generic[T]):
    number: int
    source: str | None
    record: object
    value: T


class _Rejects:
    """Rows that are not stored: counted, the first kept, and all of them in the file."""

    def __init__(self, file: IO[str] | None) -> None:
        self._file = file
        self.count = 0
        self.first: list[RejectedRow] = []

    def add(self, number: int, source: str | None, record: object, error: CRMError) -> None:
        rejected = RejectedRow(row=number, source=source, code=error.code, reason=str(error))
        self.count += 1
        if len(self.first) < _KEPT_REJECTS:
            self.first.append(rejected)
        if self._file is None:
            log.warning("row %d was rejected: %s", number, rejected.code)
        else:
            with _writing():
                self._file.write(_line(rejected, record) + "\n")

    def flush(self) -> None:
        if self._file is not None:
            with _writing():
                self._file.flush()


def run(
    engine: Engine,
    rows: Iterable[Any],
    steps: Steps[T],
    *,
    rejects: Path | str | None,
    progress: Progress | None,
    batch_size: int,
) -> ImportReport:
    """Take the rows through the steps, batch by batch, each in a transaction of its own."""
    if not 1 <= checked_number("batch_size", batch_size) <= MAX_BATCH:
        raise InvalidValue("batch_size", f"must be from 1 to {MAX_BATCH:,}")
    total = len(rows) if isinstance(rows, Sequence) else None
    sessions = make_session_factory(engine)
    outcomes: list[RowResult] = []
    erased: dict[UUID, ErasedBefore] = {}
    seen = new = created = opened = 0
    with _rejects_file(rejects) as rejected:
        for seen, batch in _batches(rows, steps, rejected, batch_size):
            outcomes = _store(sessions, batch, steps, rejected)
            rejected.flush()
            new += sum(outcome.new for outcome in outcomes)
            created += sum(outcome.customer_created for outcome in outcomes)
            opened += sum(outcome.conversation_opened for outcome in outcomes)
            erased |= {
                erasure.erasure_id: erasure for outcome in outcomes for erasure in outcome.erased_before
            }
            if progress is not None:
                progress(seen, total)
        return ImportReport(
            rows=seen,
            new=new,
            already_there=seen - new - rejected.count,
            rejected=rejected.count,
            customers_created=created,
            conversations_opened=opened,
            rejects=tuple(rejected.first),
            erased_before=tuple(erased.values()),
        )


def _batches(
    rows: Iterable[Any], steps: Steps[T], rejected: _Rejects, batch_size: int
) -> Iterator[tuple[int, list[_Row[T]]]]:
    """Rows that can be stored, with how many were read by then."""
    batch: list[_Row[T]] = []
    number = size = 0
    for number, row in enumerate(rows, 1):
        source, record = row if isinstance(row, tuple) and len(row) == 2 else (None, row)
        try:
            if isinstance(record, CRMError):
                raise record
            value = steps.read(record)
        except CRMError as error:
            rejected.add(number, source, record, error)
            continue
        batch.append(_Row(number, source, record, value))
        size += steps.size(value)
        if len(batch) == batch_size or size >= _MAX_BYTES:
            yield number, batch
            batch, size = [], 0
    yield number, batch


def _store(
    sessions: sessionmaker[Session], batch: Sequence[_Row[T]], steps: Steps[T], rejected: _Rejects
) -> list[RowResult]:
    if not batch:
        return []
    try:
        results = transaction(sessions, steps.store, [row.value for row in batch], retries=_RETRIES)
    except (CRMError, DBAPIError) as error:
        if isinstance(explain(error), Unavailable):
            raise
        # One of them spoils all, and only one by one tells which.
        results = [_store_one(sessions, row.value, steps) for row in batch]
    outcomes = []
    for row, result in zip(batch, results, strict=True):
        if isinstance(result, CRMError):
            rejected.add(row.number, row.source, row.record, result)
        else:
            outcomes.append(result)
    return outcomes


def _store_one(sessions: sessionmaker[Session], value: T, steps: Steps[T]) -> RowResult | CRMError:
    try:
        return transaction(sessions, steps.store_one, value, retries=_RETRIES)
    except (CRMError, DBAPIError) as error:
        problem = explain(error)
        if isinstance(problem, Unavailable | ConcurrentChange):
            raise problem from None
        return problem


def attempt(session: Session, store_one: Callable[[Session, T], R], value: T) -> R | CRMError:
    """Store a row within a batch's transaction; what is wrong with it undoes it alone."""
    try:
        with session.begin_nested():
            return store_one(session, value)
    except CRMError as error:
        if isinstance(error, Unavailable | ConcurrentChange):
            raise
        return error


def invalid(error: ValidationError) -> InvalidValue:
    """What a schema says about a row, without what the row holds."""
    field, wrong = refusal(error)
    return InvalidValue(field or "row", wrong[:1].lower() + wrong[1:])


@contextmanager
def _rejects_file(path: Path | str | None) -> Iterator[_Rejects]:
    if path is None:
        yield _Rejects(None)
        return
    with _writing():
        file = Path(path).open("w", encoding="utf-8")  # noqa: SIM115 - closed below, apart from its own failure
    try:
        yield _Rejects(file)
    finally:
        # What each batch has flushed is there; what could not be written is told already.
        with suppress(OSError):
            file.close()


@contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        raise StorageUnavailable(f"the file of rejects cannot be written: {file_problem(error)}") from None


def _line(rejected: RejectedRow, record: object) -> str:
    """One line of the file; a row that JSON cannot hold is there as Python shows it."""
    line = rejected.model_dump()
    try:
        return json.dumps(line | {"record": _as_json(record)}, allow_nan=False, default=str)
    except (TypeError, ValueError):
        return json.dumps(line | {"record": repr(record)})
    except RecursionError:
        return json.dumps(line | {"record": reprlib.repr(record)})


def _as_json(record: object) -> object:
    if isinstance(record, BaseModel):
        return record.model_dump(mode="json", exclude_defaults=True)
    return None if isinstance(record, CRMError) else record
