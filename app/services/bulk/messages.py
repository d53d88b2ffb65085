"""Many messages at once, with the database afterwards that ``conversations.ingest`` would have made."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from functools import lru_cache, partial
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from ...errors import CRMError
from ...schemas import (
    IdentityPolicy,
    ImportReport,
    InboundEvent,
    InboundMessage,
    Ingested,
    Outcome,
    Resolution,
)
from ..conversations.drafts import Draft, draft_of, read_sender
from ..conversations.ingestion import store_draft, store_resolved
from ..conversations.redeliveries import decided, find_stored, is_another, other_names, own_name
from .copying import copy, jsonb
from .places import Place, Places
from .rows import message_of
from .running import BATCH, Progress, RowResult, Steps, attempt, run
from .senders import Senders

_CLAIM = {
    "channel": "varchar",
    "account": "varchar",
    "provider_message_id": "varchar",
    "message_id": "uuid",
}
_CONVERSATION = {"id": "uuid", "customer_id": "uuid", "channel": "varchar", "created_at": "timestamptz"}
_ROUTE = {
    "id": "uuid",
    "conversation_id": "uuid",
    "channel": "varchar",
    "account": "varchar",
    "identifier_type": "varchar",
    "identifier_value": "varchar",
    "address": "varchar",
    "thread_id": "text",
    "group_id": "text",
    "used_at": "timestamptz",
}
_MESSAGE = {
    "id": "uuid",
    "conversation_id": "uuid",
    "customer_id": "uuid",
    "channel": "varchar",
    "direction": "varchar",
    "role": "varchar",
    "content": "text",
    "content_type": "varchar",
    "delivery_status": "varchar",
    "metadata": "jsonb",
}
_DATED_MESSAGE = {**_MESSAGE, "created_at": "timestamptz"}
_MANY_SENDERS = 50_000


def import_messages(
    engine: Engine,
    rows: Iterable[Any],
    *,
    policy: IdentityPolicy = IdentityPolicy.STRICT,
    default_region: str | None = None,
    aliases: Collection[str] = (),
    idle_after: timedelta | None = None,
    wake: bool | Callable[[InboundMessage], bool] = True,
    archived: bool = False,
    erasure_key: str | None = None,
    rejects: Path | str | None = None,
    progress: Progress | None = None,
    batch_size: int = BATCH,
) -> ImportReport:
    """Store many inbound messages, exactly once each, in the order of the rows.

    ``rows`` are ``InboundMessage`` objects or mappings (see docs/importing.md), or pairs of where it stood
    and one of these, as ``channels.parse_archive`` yields them. The other options are those of
    ``conversations.ingest``, and the database is afterwards as if it had been called for one after another.

    Batches commit. After a crash or a kill the same call goes on: what is stored is passed over by its
    provider's id. A row that cannot be stored stops nothing: it is in the report with the reason, and in the
    file ``rejects`` (a JSON object a line) with the row itself. ``progress(done, total)`` is called after
    each commit; ``total`` is None where the rows have no length. With ``erasure_key`` the report names the
    erasures of those who are customers again.

    Per batch, holds the locks of ``ingest`` for all its rows, those of addresses and customers each in one
    order. Its transaction runs again after a deadlock, or where others stored the same meanwhile.

    Raises:
        InvalidValue: an option is ill-formed.
        StorageUnavailable: the file of rejects cannot be written.
        Unavailable: the database is gone; what was committed stays.
    """
    read = partial(
        draft_of,
        policy=policy,
        default_region=default_region,
        aliases=aliases,
        idle_after=idle_after,
        wake=wake,
        archived=archived,
        erasure_key=erasure_key,
        # Once for each sender: archives have few.
        read_sender=lru_cache(_MANY_SENDERS)(read_sender),
    )
    steps = Steps(
        read=lambda row: read(message_of(row)),
        size=lambda draft: len(draft.inbound.content),
        store=partial(_store, default_region=default_region),
        store_one=_store_one,
    )
    return run(engine, rows, steps, rejects=rejects, progress=progress, batch_size=batch_size)


def _store(
    session: Session, drafts: Sequence[Draft], *, default_region: str | None
) -> list[RowResult | CRMError]:
    """All of them in the session's transaction."""
    outcomes: list[RowResult | CRMError] = []
    for segment in _segments(drafts):
        outcomes += _Batch(session, segment, default_region).store()
    return outcomes


def _segments(drafts: Sequence[Draft]) -> Iterator[Sequence[Draft]]:
    """A mail server's report may be about anybody's message: those after it come after it."""
    start = 0
    for number, draft in enumerate(drafts, 1):
        if draft.inbound.event is InboundEvent.DELIVERY or draft.inbound.delivery_reports:
            yield drafts[start:number]
            start = number
    if start < len(drafts):
        yield drafts[start:]


def _store_one(session: Session, draft: Draft) -> RowResult:
    return _outcome(store_draft(session, draft))


def _outcome(ingested: Ingested) -> RowResult:
    is_new = not ingested.duplicate
    created = is_new and ingested.resolution.outcome is Outcome.CREATED
    erased = ingested.resolution.erased_before if is_new else ()
    return RowResult(is_new, created, ingested.conversation_opened, erased)


class _Batch:
    """Rows that are stored together; what needs more than a look is stored by itself, after the others.

    A row that is left to later takes every later one with it that it may have to do with: by an address, a
    customer, or the id of a message. So the order of the rows counts wherever it could be told.
    """

    def __init__(self, session: Session, drafts: Sequence[Draft], default_region: str | None) -> None:
        self._session, self._drafts = session, drafts
        self._outcomes: dict[int, RowResult | CRMError] = {}
        self._stored = find_stored(session, [draft.values for draft in drafts])
        self._senders = Senders(session, [draft.call for draft in drafts], default_region)
        self._left: set[int] = set()
        self._left_ids: set[tuple[str, str]] = set()
        self._resolved: dict[int, Resolution] = {}
        self._claims: dict[tuple[str, str, str], Draft] = {}

    def store(self) -> list[RowResult | CRMError]:
        for number, draft in enumerate(self._drafts):
            self._decide(number, draft)
        copy(self._session, "provider_messages", _CLAIM, map(_claim_of, self._claims.values()))
        self._senders.write()
        self._senders.lock_known()
        for number, resolution in self._resolved.items():
            self._resolved[number] = self._senders.with_erasures(self._drafts[number].call, resolution)
        unplaced = self._write()
        for number in sorted({*self._left, *unplaced}):
            draft = self._drafts[number]
            if number in unplaced:
                ingested = store_resolved(self._session, draft, self._resolved[number])
                self._outcomes[number] = _outcome(ingested)
            else:
                self._outcomes[number] = attempt(self._session, _store_one, draft)
        return [self._outcomes[number] for number in range(len(self._drafts))]

    def _decide(self, number: int, draft: Draft) -> None:
        name = own_name(draft.values)
        extra = draft.values["extra"]
        earlier = self._stored.get(name)
        first = self._claims.get(name)
        if not self._is_alone(draft):
            if earlier is not None and not is_another(
                extra, is_ours=earlier.is_ours, fingerprint=earlier.fingerprint
            ):
                self._outcomes[number] = RowResult(new=False)
                return
            if first is not None and not is_another(
                extra, is_ours=False, fingerprint=first.values["extra"].get("fingerprint")
            ):
                self._outcomes[number] = RowResult(new=False)
                return
            if earlier is None and first is None:
                resolution = self._senders.decide(draft.call)
                if resolution is not None:
                    self._resolved[number] = resolution
                    self._claims[name] = draft
                    return
        self._left.add(number)
        self._left_ids |= _ids_of(draft)
        self._senders.leave(draft.call, draft.former)

    def _is_alone(self, draft: Draft) -> bool:
        """Whether it does more than to be a message, or has to do with one that is left to later."""
        inbound = draft.inbound
        does_more = draft.is_event or bool(inbound.former) or bool(inbound.delivery_reports)
        comes_back = any(
            name in self._stored and self._stored[name].is_ours for name in other_names(draft.values)
        )
        return does_more or comes_back or not self._left_ids.isdisjoint(_ids_of(draft))

    def _write(self) -> set[int]:
        """Store the rows whose place is plain; returns the others."""
        rows = [(self._drafts[number].values, who.customer_id) for number, who in self._resolved.items()]
        if not rows:
            return set()
        places = Places(self._session, rows)
        placed = {
            number: places.place(values, customer_id)
            for number, (values, customer_id) in zip(self._resolved, rows, strict=True)
        }
        copy(
            self._session,
            "conversations",
            _CONVERSATION,
            ((c.id, c.customer_id, c.channel, c.created_at) for c in places.opened),
        )
        copy(
            self._session,
            "conversation_routes",
            _ROUTE,
            (
                (
                    id_,
                    conversation_id,
                    r.channel,
                    r.account,
                    r.type,
                    r.value,
                    r.address,
                    r.thread_id,
                    r.group_id,
                    r.used_at,
                )
                for id_, conversation_id, r in places.new_routes()
            ),
        )
        for is_dated, columns in ((True, _DATED_MESSAGE), (False, _MESSAGE)):
            copy(
                self._session,
                "messages",
                columns,
                (
                    self._message(number, place, places.clock)
                    for number, place in placed.items()
                    if place is not None
                    and (self._drafts[number].values["created_at"] is not None) is is_dated
                ),
            )
        for number, place in placed.items():
            if place is not None:
                who = self._resolved[number]
                created = who.outcome is Outcome.CREATED
                self._outcomes[number] = RowResult(True, created, place.is_opened, who.erased_before)
        return {number for number, place in placed.items() if place is None}

    def _message(self, number: int, place: Place, clock: datetime) -> tuple[Any, ...]:
        message, resolution = self._drafts[number].values, self._resolved[number]
        extra = message["extra"] | decided(resolution)
        if place.answers is not None:
            extra["answers"] = str(place.answers)
        row = (
            UUID(message["id"]),
            place.conversation.id,
            resolution.customer_id,
            message["channel"],
            "inbound",
            message["role"],
            message["content"],
            message["content_type"],
            "delivered",
            jsonb(extra),
        )
        if message["created_at"] is None:
            return row
        return (*row, min(datetime.fromisoformat(message["created_at"]), clock))


def _claim_of(draft: Draft) -> tuple[Any, ...]:
    return (*own_name(draft.values), UUID(draft.values["id"]))


def _ids_of(draft: Draft) -> set[tuple[str, str]]:
    """The message's own id and those that it names."""
    values = draft.values
    return {(values["channel"], id_) for id_ in (values["provider_message_id"], *values["references"])}
