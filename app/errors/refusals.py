"""What the database's refusals mean, and why it cannot be reached: the only words for them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy.exc import OperationalError, PendingRollbackError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from .kinds import (
    AppendOnly,
    BrokenReference,
    Conflict,
    CRMError,
    CustomerErased,
    DatabaseUnavailable,
    DuplicateValue,
    InvalidValue,
    LoginRefused,
    UnderLegalHold,
)


def sqlstate(error: BaseException) -> str | None:
    """The SQLSTATE of an error of psycopg, or of SQLAlchemy around one; None where the server gave none."""
    code: str | None = getattr(getattr(error, "orig", None) or error, "sqlstate", None)
    return code


def from_database(error: BaseException) -> CRMError | None:
    """What a refusal by the database means; None for an error that is none of its rules.

    Takes an error of psycopg, or of SQLAlchemy around one. The message names the constraint and nothing of
    the database's own text, whose DETAIL repeats the row.
    """
    cause: Any = getattr(error, "orig", None) or error
    diagnostics = getattr(cause, "diag", None)
    rule = getattr(diagnostics, "constraint_name", None) or ""
    if rule == "tickets_status_transition":
        return Conflict("the ticket's state machine has no such step")
    if rule in _RULES:
        return _RULES[rule]()
    meanings: dict[str, CRMError] = {
        "23505": DuplicateValue(f"a value that must be unique is taken ({rule})"),
        "23503": BrokenReference(f"a row points to one that does not exist ({rule})"),
        "23001": AppendOnly(f"audit records can be neither changed nor removed ({rule})"),
        "23514": InvalidValue(rule, "the value is none of those allowed"),
        "23502": InvalidValue(getattr(diagnostics, "column_name", None) or "value", "must not be empty"),
        "22001": InvalidValue("text", "is longer than its column"),
    }
    return meanings.get(sqlstate(error) or "")


_RULES: Mapping[str, Callable[[], CRMError]] = {
    "customers_not_erased": CustomerErased,
    "erasures_legal_hold": UnderLegalHold,
    "erasures_words": lambda: InvalidValue("reason", "names the person who is erased, or the actor does"),
}
"""Rules of triggers that have an error of their own."""

UNREACHABLE = "the database server cannot be reached or refused the connection"

# A connection that fails has no SQLSTATE, only libpq's English or the server's own language.
_CONNECTING: tuple[tuple[re.Pattern[str], type[DatabaseUnavailable], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), kind, sentence)
    for pattern, kind, sentence in (
        (
            r"failed to resolve host|could not translate host name",
            DatabaseUnavailable,
            "the database server's host name is unknown",
        ),
        (
            r"password authentication failed|no password supplied|authentication failed"
            r"|role .* does not exist|role .* is not permitted to log in",
            LoginRefused,
            "the database server refused the user or the password",
        ),
        (
            r"no pg_hba\.conf entry|pg_hba\.conf rejects|permission denied for database",
            LoginRefused,
            "the database server does not let this user in from here",
        ),
        (
            r"database .* does not exist|no such database",
            DatabaseUnavailable,
            "there is no such database on the server",
        ),
        (
            r"too many clients|connection slots|too many connections|no more connections",
            DatabaseUnavailable,
            "the database server has no connection left",
        ),
        (
            r"is starting up|is shutting down|in recovery mode|not yet accepting connections",
            DatabaseUnavailable,
            "the database server is starting or shutting down",
        ),
        (
            r"certificate|server does not support SSL|SSL error",
            DatabaseUnavailable,
            "no trusted TLS connection to the database server came about",
        ),
        (
            r"unsupported startup parameter",
            DatabaseUnavailable,
            "a pooler in transaction mode passes on no settings of a session: make_engine(pooler=True)",
        ),
        (
            r"timeout expired|timed out",
            DatabaseUnavailable,
            "the database server did not answer in time",
        ),
        (
            r"connection refused|no such file or directory|no route to host|network is unreachable",
            DatabaseUnavailable,
            "no database server answers at this address: it is down, or the address is wrong",
        ),
        (
            r"server closed the connection|connection is lost|terminating connection|connection is closed",
            DatabaseUnavailable,
            "the connection to the database server was lost",
        ),
    )
)
_FAILED_BEFORE = "25P02"
_CONNECTION_IS_GONE = "8s2b"
"""SQLAlchemy's own code; its other error of this class is that an earlier flush failed."""
_REFUSALS: Mapping[str, tuple[type[CRMError], str]] = {
    _FAILED_BEFORE: (CRMError, "an earlier statement of the transaction failed; roll it back"),
    "25006": (CRMError, "the server is a standby, or this user may only read"),
    "28": (LoginRefused, "the database server refused the user or the password"),
    "3D000": (DatabaseUnavailable, "there is no such database on the server"),
    "40": (Conflict, "other transactions were in the way; run it again"),
    "42501": (CRMError, "this database user has not the rights"),
    "53100": (DatabaseUnavailable, "the database server's disk is full"),
    "53300": (DatabaseUnavailable, "the database server has no connection left"),
    "55P03": (Conflict, "others hold a lock on it; run it again"),
    "57014": (DatabaseUnavailable, "the statement took longer than its timeout"),
    "57P": (DatabaseUnavailable, "the connection to the database server was lost"),
    "08": (DatabaseUnavailable, "the connection to the database server was lost"),
}
"""SQLSTATEs, or how a class of them begins."""


def explain(error: BaseException) -> CRMError:
    """Any error of the database in our own words: SQLAlchemy's and PostgreSQL's hold statements and data.

    An error of ours is returned as it is. What is no rule of the database is named by its SQLSTATE.
    """
    if isinstance(error, CRMError):
        return error
    meaning = from_database(error) or _unavailable(error)
    if meaning is not None:
        return meaning
    code = _FAILED_BEFORE if isinstance(error, PendingRollbackError) else sqlstate(error)
    for length in (5, 3, 2):
        if code is not None and code[:length] in _REFUSALS:
            kind, sentence = _REFUSALS[code[:length]]
            return kind(sentence)
    return CRMError(f"the database refused a statement ({code or type(error).__name__})")


def _unavailable(error: BaseException) -> DatabaseUnavailable | None:
    """For a connection that could not be made or was lost, why, as far as that can be told."""
    if isinstance(error, PoolTimeout):
        return DatabaseUnavailable("no connection of the pool became free in time")
    if isinstance(error, PendingRollbackError) and error.code == _CONNECTION_IS_GONE:
        return DatabaseUnavailable("the connection to the database server was lost")
    code = sqlstate(error)
    if not isinstance(error, OperationalError) or (code is not None and not code.startswith("08")):
        return None
    # Names of hosts, users and databases could read like a cause.
    text = re.sub(r'"[^"]*"', '""', str(error.orig))
    for pattern, kind, sentence in _CONNECTING:
        if pattern.search(text):
            return kind(sentence)
    return DatabaseUnavailable(UNREACHABLE)


def file_problem(error: OSError | ValueError) -> str:
    """Why a file could not be read or written, without its name: "Permission denied"."""
    return getattr(error, "strerror", None) or "its path is not one"
