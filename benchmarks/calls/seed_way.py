"""How the schema's own backend goes about it: asyncpg, plain SQL, a statement a step, no ORM.

One kept connection and its cache of prepared statements; a pool's reset after each call would be one flight
more. Where the schema has grown tables of its own since (receipts, routes, identity events), they get their
rows here too, by a statement each. Naming the actor stands in for the INSERT into the audit table, which a
trigger makes now.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg

from app.database import normalize_url
from app.models import uuid7

from . import operations as op
from .base import ACCOUNT

_FIND = """
    SELECT c.* FROM customers c JOIN customer_identifiers ci ON c.id = ci.customer_id
    WHERE ci.identifier_type = $1 AND ci.identifier_value = $2
"""
_RECEIPT = """
    INSERT INTO provider_messages (channel, account, provider_message_id, message_id)
    VALUES ('email', $1, $2, $3) ON CONFLICT DO NOTHING RETURNING message_id
"""
_MESSAGE = """
    INSERT INTO messages (
        id, conversation_id, customer_id, channel, direction, role, content, content_type, delivery_status,
        metadata, created_at
    ) VALUES ($1, $2, $3, 'email', $4, $5, $6, 'text', $7, $8, clock_timestamp()) RETURNING *
"""
_ACTOR = """
    SELECT set_config('crm.once_actor', $1, true), set_config('crm.once_comment', $2, true)
"""
_MOVED = ("customer_identifiers", "conversations", "messages", "tickets", "customer_redirects")
_FINISHED = ("resolved", "closed")


class SeedWay:
    def __init__(self, url: str, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        address = normalize_url(url)
        host = address.query.get("host", address.host)
        port = address.port or int(address.query.get("port", 5432))
        self._connection = loop.run_until_complete(
            asyncpg.connect(
                host=host,
                port=port,
                user=address.username,
                password=address.password,
                database=address.database,
                ssl=False,
            )
        )

    def method(self, operation: type[op.Operation]) -> Callable[[Any], Any]:
        method: Callable[[Any], Any] = getattr(self, operation.work)
        return method

    def pids(self) -> list[int]:
        return [self._connection.get_server_pid()]

    def close(self) -> None:
        self._loop.run_until_complete(self._connection.close())

    async def select_one(self, _: op.SelectOne) -> Any:
        return await self._connection.fetchval("SELECT 1")

    async def find(self, call: op.Find) -> Any:
        return await self._connection.fetchrow(_FIND, "email", call.address.strip().lower())

    async def resolve_known(self, call: op.ResolveKnown) -> Any:
        return await self.find(op.Find(call.address))

    async def resolve_new(self, call: op.ResolveNew) -> Any:
        async with self._connection.transaction():
            return await self._resolve(call.address.strip().lower(), call.name)

    async def _resolve(self, address: str, name: str | None) -> UUID:
        """By identifier, then by the profile's email, else a new customer."""
        connection = self._connection
        customer = await connection.fetchrow(_FIND, "email", address)
        if customer is None:
            customer = await connection.fetchrow("SELECT * FROM customers WHERE email = $1", address)
        if customer is not None:
            return customer["id"]
        customer_id, identifier_id = uuid7(), uuid7()
        await connection.execute(_ACTOR, "system:identity", "")
        await connection.execute(
            "INSERT INTO customers (id, email, name) VALUES ($1, $2, $3)", customer_id, address, name
        )
        await connection.execute(
            "INSERT INTO customer_identifiers"
            " (id, customer_id, identifier_type, identifier_value, channel, verified)"
            " VALUES ($1, $2, 'email', $3, 'email', true)",
            identifier_id,
            customer_id,
            address,
        )
        events = [{"customer_id": str(customer_id), "actor": "system:identity", "event": "created"}]
        await connection.execute("SELECT record_identity_events($1)", json.dumps(events))
        return customer_id

    async def ingest_known(self, call: op.Ingest) -> Any:
        connection, address, message_id = self._connection, call.address.strip().lower(), uuid7()
        async with connection.transaction():
            if not await connection.fetchrow(_RECEIPT, ACCOUNT, call.provider_message_id, message_id):
                raise LookupError("the message was stored before")
            customer_id = await self._resolve(address, None)
            conversation = await connection.fetchrow(
                "SELECT * FROM conversations WHERE customer_id = $1 AND channel = 'email'"
                " AND status = 'active' ORDER BY created_at DESC LIMIT 1",
                customer_id,
            )
            if conversation is None:
                conversation_id = await self._open_conversation(customer_id, address)
            else:
                conversation_id = conversation["id"]
            message = await connection.fetchrow(
                _MESSAGE,
                message_id,
                conversation_id,
                customer_id,
                "inbound",
                "customer",
                call.content,
                "delivered",
                json.dumps(call.facts()),
            )
            await connection.fetchrow(
                "SELECT * FROM tickets WHERE conversation_id = $1 ORDER BY created_at DESC LIMIT 1",
                conversation_id,
            )
            return message

    ingest_new = ingest_known

    async def _open_conversation(self, customer_id: UUID, address: str) -> UUID:
        conversation_id = uuid7()
        await self._connection.execute(
            "INSERT INTO conversations (id, customer_id, channel) VALUES ($1, $2, 'email')",
            conversation_id,
            customer_id,
        )
        await self._connection.execute(
            "INSERT INTO conversation_routes"
            " (conversation_id, channel, account, identifier_type, identifier_value, address)"
            " VALUES ($1, 'email', $2, 'email', $3, $3)",
            conversation_id,
            ACCOUNT,
            address,
        )
        return conversation_id

    async def open_ticket(self, call: op.OpenTicket) -> Any:
        connection = self._connection
        async with connection.transaction():
            if not await connection.fetchrow("SELECT id FROM customers WHERE id = $1", call.customer_id):
                raise LookupError("no such customer")
            await connection.execute(_ACTOR, call.actor, "")
            return await connection.fetchrow(
                "INSERT INTO tickets"
                " (id, customer_id, conversation_id, subject, category, source_channel, priority)"
                " VALUES ($1, $2, $3, $4, 'account_access', 'email', 'medium') RETURNING *",
                uuid7(),
                call.customer_id,
                call.conversation_id,
                call.subject,
            )

    async def change_status(self, call: op.ChangeStatus) -> Any:
        return await self._change(
            call.ticket_id,
            "UPDATE tickets SET status = $2 WHERE id = $1 RETURNING *",
            call.status,
            call.actor,
            call.comment,
        )

    async def assign(self, call: op.Assign) -> Any:
        return await self._change(
            call.ticket_id,
            "UPDATE tickets SET assigned_to = $2 WHERE id = $1 RETURNING *",
            call.assignee,
            call.actor,
            "",
        )

    async def _change(self, ticket_id: UUID, update: str, value: str, actor: str, comment: str) -> Any:
        connection = self._connection
        async with connection.transaction():
            if not await connection.fetchrow("SELECT * FROM tickets WHERE id = $1 FOR UPDATE", ticket_id):
                raise LookupError("no such ticket")
            await connection.execute(_ACTOR, actor, comment)
            return await connection.fetchrow(update, ticket_id, value)

    async def reply(self, call: op.Reply) -> Any:
        connection = self._connection
        async with connection.transaction():
            conversation = await connection.fetchrow(
                "SELECT * FROM conversations WHERE id = $1", call.conversation_id
            )
            return await connection.fetchrow(
                _MESSAGE,
                uuid7(),
                conversation["id"],
                conversation["customer_id"],
                "outbound",
                "agent",
                call.content,
                "pending",
                "{}",
            )

    async def history(self, call: op.History) -> Any:
        return await self._connection.fetch(
            "SELECT m.*, c.channel AS conv_channel FROM messages m"
            " JOIN conversations c ON m.conversation_id = c.id"
            " WHERE m.customer_id = $1 ORDER BY m.created_at DESC LIMIT $2",
            call.customer_id,
            call.limit,
        )

    async def channel_metrics(self, _: op.ChannelMetrics) -> Any:
        return await self._connection.fetch("""
            SELECT channel,
                COUNT(*) FILTER (WHERE metric_type = 'conversation_count') AS total_conversations,
                AVG(value) FILTER (WHERE metric_type = 'sentiment') AS avg_sentiment,
                COUNT(*) FILTER (WHERE metric_type = 'escalation') AS escalation_count,
                AVG(value) FILTER (WHERE metric_type = 'response_latency') AS avg_latency_ms,
                ROUND(COALESCE(SUM(value) FILTER (WHERE metric_type = 'conversation_count'), 0))
                    AS conversations,
                ROUND(COALESCE(SUM(value) FILTER (WHERE metric_type = 'escalation'), 0)) AS escalations,
                ROUND(COALESCE(SUM(value) FILTER (WHERE metric_type = 'message_volume'), 0)) AS messages,
                ROUND(COALESCE(SUM(value) FILTER (WHERE metric_type = 'tool_call'), 0)) AS tool_calls
            FROM agent_metrics
            WHERE recorded_at >= NOW() - INTERVAL '24 hours' AND channel IS NOT NULL
            GROUP BY channel
        """)

    async def record(self, call: op.Record) -> Any:
        return await self._connection.fetchrow(
            "INSERT INTO agent_metrics (id, metric_type, value, channel)"
            " VALUES ($1, 'response_latency', $2, 'email') RETURNING *",
            uuid7(),
            call.value,
        )

    async def list_tickets(self, call: op.ListTickets) -> Any:
        return await self._connection.fetch(
            "SELECT * FROM tickets WHERE status = 'open' AND assigned_to = $1"
            " ORDER BY created_at DESC LIMIT $2",
            call.assignee,
            call.limit,
        )

    async def lifecycle(self, call: op.Lifecycle) -> Any:
        connection = self._connection
        ticket = await connection.fetchrow("SELECT * FROM tickets WHERE id = $1", call.ticket_id)
        entries = await connection.fetch(
            "SELECT * FROM ticket_status_changes WHERE ticket_id = $1 ORDER BY seq", call.ticket_id
        )
        response = await connection.fetchval(
            "SELECT min(created_at) FROM messages WHERE conversation_id = $1 AND created_at >= $2"
            " AND direction = 'outbound' AND role = 'agent'",
            ticket["conversation_id"],
            ticket["created_at"],
        )
        now = await connection.fetchval("SELECT now()")
        return ticket, response, spent(entries, now), reopens(entries)

    async def search(self, call: op.Search) -> Any:
        return await self._connection.fetch(
            "SELECT id, title, content, category, 1 - (embedding <=> $1::vector) AS similarity"
            " FROM knowledge_base WHERE is_active = TRUE ORDER BY embedding <=> $1::vector LIMIT $2",
            str(list(call.query)),
            call.limit,
        )

    async def merge(self, call: op.Merge) -> Any:
        connection = self._connection
        async with connection.transaction():
            for table in _MOVED:
                await connection.execute(
                    f"UPDATE {table} SET customer_id = $1 WHERE customer_id = $2",
                    call.survivor_id,
                    call.absorbed_id,
                )
            await connection.execute("DELETE FROM customers WHERE id = $1", call.absorbed_id)


def spent(entries: Sequence[Mapping[str, Any]], until: Any) -> dict[str, timedelta]:
    """How long a ticket was in each status, from the entries of its record."""
    times: dict[str, timedelta] = {}
    ends = [entry["changed_at"] for entry in entries[1:]] + [until]
    for entry, end in zip(entries, ends, strict=True):
        times[entry["new_status"]] = times.get(entry["new_status"], timedelta(0)) + (
            end - entry["changed_at"]
        )
    return times


def reopens(entries: Sequence[Mapping[str, Any]]) -> int:
    return sum(entry["old_status"] in _FINISHED and entry["new_status"] not in _FINISHED for entry in entries)
