"""The services, as a backend calls them: a session and a transaction for each call, results and all.

Reads commit like writes: at a ROLLBACK psycopg forgets every statement that a connection has prepared, so it
would cost one flight more and all the planning again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import async_sessionmaker
from sqlalchemy.orm import Session

from app.database import make_async_engine, make_engine, make_session_factory
from app.embeddings import LexicalEmbedder
from app.models import Channel, IdentifierType, MetricType, TicketCategory, TicketStatus
from app.schemas import Awaiting, CustomerProfile, Identifier, InboundMessage, OutboundMessage
from app.services import (
    conversations,
    duplicates,
    identity,
    indexing,
    merging,
    metrics,
    search,
    tickets,
    timeline,
)

from . import chores
from . import operations as op
from .base import ACCOUNT

_SELECT_ONE = text("SELECT 1")
_EMBEDDER = LexicalEmbedder()
_PID = text("SELECT pg_backend_pid()")


def _proven(address: str) -> Identifier:
    return Identifier(type=IdentifierType.EMAIL, value=address, verified=True)


def select_one(session: Session, _: op.SelectOne) -> Any:
    return session.execute(_SELECT_ONE).scalar_one()


def find(session: Session, call: op.Find) -> Any:
    return identity.find_customer(session, Identifier(type=IdentifierType.EMAIL, value=call.address))


def resolve_known(session: Session, call: op.ResolveKnown) -> Any:
    return identity.resolve(session, [_proven(call.address)], channel=Channel.EMAIL)


def resolve_new(session: Session, call: op.ResolveNew) -> Any:
    return identity.resolve(
        session,
        [_proven(call.address)],
        channel=Channel.EMAIL,
        profile=CustomerProfile(name=call.name),
    )


def ingest(session: Session, call: op.Ingest) -> Any:
    return conversations.ingest(
        session,
        InboundMessage(
            channel=Channel.EMAIL,
            account=ACCOUNT,
            provider_message_id=call.provider_message_id,
            sender=(_proven(call.address),),
            subject=call.subject,
            content=call.content,
        ),
    )


def open_ticket(session: Session, call: op.OpenTicket) -> Any:
    return tickets.open_ticket(
        session,
        customer_id=call.customer_id,
        conversation_id=call.conversation_id,
        subject=call.subject,
        category=TicketCategory.ACCOUNT_ACCESS,
        source_channel=Channel.EMAIL,
        actor=call.actor,
    )


def change_status(session: Session, call: op.ChangeStatus) -> Any:
    return tickets.change_status(
        session, call.ticket_id, TicketStatus(call.status), actor=call.actor, comment=call.comment
    )


def assign(session: Session, call: op.Assign) -> Any:
    return tickets.assign(session, call.ticket_id, call.assignee, actor=call.actor)


def reply(session: Session, call: op.Reply) -> Any:
    return conversations.reply(session, call.conversation_id, OutboundMessage(content=call.content))


def history(session: Session, call: op.History) -> Any:
    return timeline.history(session, call.customer_id, limit=call.limit)


def channel_metrics(session: Session, _: op.ChannelMetrics) -> Any:
    return metrics.channel_metrics(session)


def record(session: Session, call: op.Record) -> Any:
    return metrics.record(session, MetricType.RESPONSE_LATENCY, call.value, channel=Channel.EMAIL)


def list_tickets(session: Session, call: op.ListTickets) -> Any:
    return tickets.list_tickets(session, status=TicketStatus.OPEN, assignee=call.assignee, limit=call.limit)


def lifecycle(session: Session, call: op.Lifecycle) -> Any:
    return tickets.lifecycle(session, call.ticket_id)


def search_articles(session: Session, call: op.Search) -> Any:
    return search.search_knowledge(session, call.query, limit=call.limit)


def merge(session: Session, call: op.Merge) -> Any:
    return merging.merge(session, call.survivor_id, call.absorbed_id, actor=call.actor, reason=call.reason)


def show_timeline(session: Session, call: chores.Timeline) -> Any:
    return timeline.timeline(session, call.customer_id, limit=call.limit)


def awaiting(session: Session, call: chores.AwaitingUs) -> Any:
    return conversations.list_conversations(session, awaiting=Awaiting(call.awaiting), limit=call.limit)


def list_closed_tickets(session: Session, call: chores.TicketsOfMany) -> Any:
    return tickets.list_tickets(
        session, status=TicketStatus.CLOSED, category=TicketCategory.BILLING, limit=call.limit
    )


def due_for_closing(session: Session, call: chores.DueForClosing) -> Any:
    return tickets.due_for_closing(session, resolved_before=datetime.now(UTC), limit=call.limit)


def close_stale(session: Session, call: chores.CloseStale) -> Any:
    now = datetime.now(UTC)
    return tickets.close_stale(session, resolved_before=now, actor="system:closing", limit=call.limit)


def regressions(session: Session, call: chores.Regressions) -> Any:
    return tickets.regressions(session, days=30, limit=call.limit)


def find_duplicates(session: Session, call: chores.Duplicates) -> Any:
    return duplicates.find_duplicates(session, customer_id=call.customer_id)


def poll(session: Session, _: chores.Poll) -> Any:
    return indexing.embed_missing(session, _EMBEDDER, limit=100)


SERVICES: Mapping[str, Callable[[Session, Any], Any]] = {
    "select_one": select_one,
    "find": find,
    "resolve_known": resolve_known,
    "resolve_new": resolve_new,
    "ingest_known": ingest,
    "ingest_new": ingest,
    "open_ticket": open_ticket,
    "change_status": change_status,
    "assign": assign,
    "reply": reply,
    "history": history,
    "channel_metrics": channel_metrics,
    "record": record,
    "list_tickets": list_tickets,
    "lifecycle": lifecycle,
    "search": search_articles,
    "merge": merge,
    "timeline": show_timeline,
    "awaiting": awaiting,
    "list_closed_tickets": list_closed_tickets,
    "due_for_closing": due_for_closing,
    "close_stale": close_stale,
    "regressions": regressions,
    "find_duplicates": find_duplicates,
    "poll": poll,
}
"""What is called for each operation."""


class Ours:
    """One engine, a session for each call; threads share it."""

    def __init__(self, url: str, clients: int = 1, *, read_only: bool = False) -> None:
        self._engine = make_engine(url, read_only=read_only, pool_size=clients, max_overflow=0)
        self._sessions = make_session_factory(self._engine)

    def method(self, operation: type[op.Operation]) -> Callable[[Any], Any]:
        service, sessions = SERVICES[operation.work], self._sessions

        def call_in_transaction(call: Any) -> Any:
            with sessions.begin() as session:
                return service(session, call)

        return call_in_transaction

    def pids(self) -> list[int]:
        with self._engine.connect() as connection:
            return [connection.execute(_PID).scalar_one()]

    def close(self) -> None:
        self._engine.dispose()


class OursAsync:
    """The same services through ``run_sync``."""

    def __init__(self, url: str, loop: asyncio.AbstractEventLoop, clients: int = 1) -> None:
        self._loop = loop
        self._engine = make_async_engine(url, pool_size=clients, max_overflow=0)
        self._sessions = async_sessionmaker(self._engine, expire_on_commit=False)

    def method(self, operation: type[op.Operation]) -> Callable[[Any], Any]:
        service, sessions = SERVICES[operation.work], self._sessions

        async def call_in_transaction(call: Any) -> Any:
            async with sessions.begin() as session:
                return await session.run_sync(service, call)

        return call_in_transaction

    def pids(self) -> list[int]:
        async def ask() -> int:
            async with self._engine.connect() as connection:
                return (await connection.execute(_PID)).scalar_one()

        return [self._loop.run_until_complete(ask())]

    def close(self) -> None:
        self._loop.run_until_complete(self._engine.dispose())
