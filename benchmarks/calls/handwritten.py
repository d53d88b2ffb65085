"""The best that psycopg can do by hand: one kept connection, everything prepared and binary, one flight.

A single statement is its own transaction. Where it takes several, they travel together in pipeline mode: what
is sent before a sync is one transaction too, so neither BEGIN nor COMMIT is a flight.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from _articles import candidates, connect, connect_binary
from pgvector import Vector
from psycopg.types.json import Jsonb
from psycopg.types.string import StrDumper

from app.models import uuid7

from . import operations as op
from . import statements as sql
from .base import ACCOUNT

# Without these the planner does not use the index of the vectors; the services' function carries its own.
_SEARCHING = ("random_page_cost=1.1", "enable_sort=off", "jit=off")


class HandWritten:
    """One client; threads need one each."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection = connect(url)
        # As text, not of an unknown type: a parameter may stand for columns of two types.
        self._connection.adapters.register_dumper(str, StrDumper)
        self._cursor = self._connection.cursor(binary=True)
        self._searching: Any = None

    def method(self, operation: type[op.Operation]) -> Callable[[Any], Any]:
        if issubclass(operation, op.Search) and self._searching is None:
            width = f"hnsw.ef_search={candidates(operation.articles)}"
            self._searching = connect_binary(self._url, *_SEARCHING, width)
        method: Callable[[Any], Any] = getattr(self, operation.work)
        return method

    def pids(self) -> list[int]:
        connections = [self._connection, *([self._searching] if self._searching else [])]
        return [connection.info.backend_pid for connection in connections]

    def close(self) -> None:
        self._connection.close()
        if self._searching:
            self._searching.close()

    def _row(self, statement: str, parameters: Mapping[str, Any] | None = None) -> Any:
        row = self._cursor.execute(statement, parameters, prepare=True).fetchone()
        if row is None:
            raise LookupError("the statement had nothing to do")
        return row

    def _rows(self, statement: str, parameters: Mapping[str, Any] | None = None) -> Any:
        return self._cursor.execute(statement, parameters, prepare=True).fetchall()

    def select_one(self, _: op.SelectOne) -> Any:
        return self._row("SELECT 1")

    def find(self, call: op.Find) -> Any:
        return self._row(sql.FIND, {"address": call.address.strip().lower()})

    def resolve_known(self, call: op.ResolveKnown) -> Any:
        return self._row(sql.RESOLVE_KNOWN, {"address": call.address.strip().lower()})

    def resolve_new(self, call: op.ResolveNew) -> Any:
        address = call.address.strip().lower()
        person = _new_person(address, call.name)
        return self._locked(address, sql.RESOLVE_NEW, person)

    def ingest_known(self, call: op.IngestKnown) -> Any:
        return self._row(sql.INGEST_KNOWN, {"address": call.address.strip().lower()} | _message(call))

    def ingest_new(self, call: op.IngestNew) -> Any:
        address = call.address.strip().lower()
        values = _new_person(address, None) | _message(call) | {"conversation_id": uuid7()}
        return self._locked(address, sql.INGEST_NEW, values)

    def _locked(self, address: str, statement: str, values: Mapping[str, Any]) -> Any:
        """The statement under the lock of the address, in one flight."""
        with self._connection.pipeline():
            self._cursor.execute(sql.LOCK, {"address": address}, prepare=True)
            result = self._connection.cursor(binary=True).execute(statement, values, prepare=True)
        row = result.fetchone()
        if row is None:
            raise LookupError("somebody has the address")
        return row

    def open_ticket(self, call: op.OpenTicket) -> Any:
        values = {
            "id": uuid7(),
            "customer_id": call.customer_id,
            "conversation_id": call.conversation_id,
            "subject": call.subject,
            "actor": call.actor,
            "comment": "",
        }
        return self._row(sql.OPEN_TICKET, values)

    def change_status(self, call: op.ChangeStatus) -> Any:
        return self._row(sql.CHANGE_STATUS, vars(call))

    def assign(self, call: op.Assign) -> Any:
        return self._row(sql.ASSIGN, vars(call) | {"comment": ""})

    def reply(self, call: op.Reply) -> Any:
        return self._row(sql.REPLY, vars(call) | {"id": uuid7()})

    def history(self, call: op.History) -> Any:
        return self._rows(sql.HISTORY, vars(call))[: call.limit]

    def channel_metrics(self, _: op.ChannelMetrics) -> Any:
        return self._rows(sql.CHANNEL_METRICS)

    def record(self, call: op.Record) -> Any:
        return self._row(sql.RECORD, {"id": uuid7(), "value": call.value})

    def list_tickets(self, call: op.ListTickets) -> Any:
        return self._rows(sql.LIST_TICKETS, vars(call))[: call.limit]

    def lifecycle(self, call: op.Lifecycle) -> Any:
        return self._row(sql.LIFECYCLE, vars(call))

    def search(self, call: op.Search) -> Any:
        values = {"query": Vector(call.query), "limit": call.limit}
        with self._searching.cursor(binary=True) as cursor:
            return cursor.execute(sql.SEARCH, values, prepare=True).fetchall()

    def merge(self, call: op.Merge) -> Any:
        """Two flights: what the profiles hold decides on the rest."""
        with self._connection.pipeline():
            profiles = self._connection.cursor(binary=True).execute(sql.LOCK_BOTH, vars(call), prepare=True)
            self._check_profiles(call, profiles.fetchall())
            merge_id = uuid7()
            values = vars(call) | {"id": merge_id}
            for statement in sql.MERGE:
                self._cursor.execute(statement, values, prepare=True)
        return merge_id

    @staticmethod
    def _check_profiles(call: op.Merge, profiles: list[Any]) -> None:
        if len(profiles) != 2:
            raise LookupError("one of the customers is gone")
        (ours,) = (profile for profile in profiles if profile[0] == call.survivor_id)
        (theirs,) = (profile for profile in profiles if profile[0] != call.survivor_id)
        blank = [a is None and b is not None for a, b in zip(ours[2:6], theirs[2:6], strict=True)]
        if any(blank) or set(theirs[6] or {}) - set(ours[6] or {}):
            raise NotImplementedError("a profile to be filled: the benchmark has none")


def _new_person(address: str, name: str | None) -> dict[str, Any]:
    customer_id, identifier_id = uuid7(), uuid7()
    event = {"customer_id": str(customer_id), "actor": "system:identity", "reason": None, "details": {}}
    events = [event | {"id": str(uuid7()), "event": "created"}]
    return {
        "address": address,
        "name": name,
        "customer_id": customer_id,
        "identifier_id": identifier_id,
        "events": Jsonb(events),
    }


def _message(call: op.Ingest) -> dict[str, Any]:
    return {
        "account": ACCOUNT,
        "provider_message_id": call.provider_message_id,
        "message_id": uuid7(),
        "content": call.content,
        "metadata": Jsonb(call.facts()),
    }
