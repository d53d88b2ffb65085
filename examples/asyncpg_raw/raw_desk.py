"""A support desk that writes its own SQL with asyncpg: nothing of the CRM's package is imported.

The database holds it to everybody's rules: who is who, which status may follow which, what is on record.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID, uuid4

import asyncpg

# Found in any spelling; made otherwise. Two at once: the second one waits at the unique key, and finds.
FIND_CUSTOMER = "SELECT id FROM find_customer('email', $1)"
NEW_CUSTOMER = """
    WITH customer AS (
        INSERT INTO customers (email, name) VALUES (canonical_identifier('email', $1), $2)
        ON CONFLICT (email) DO NOTHING RETURNING id, email
    )
    INSERT INTO customer_identifiers (customer_id, identifier_type, identifier_value, channel, verified)
    SELECT id, 'email', email, 'email', $3 FROM customer
"""
# The primary key decides who stores what is delivered twice; its foreign key is checked at the commit.
NAME_MESSAGE = """
    INSERT INTO provider_messages (channel, account, provider_message_id, message_id)
    VALUES ('email', $1, $2, $3) ON CONFLICT DO NOTHING RETURNING message_id
"""
OPEN_CONVERSATION = """
    SELECT id FROM conversations WHERE customer_id = $1 AND channel = 'email' AND status = 'active'
    ORDER BY created_at DESC, id LIMIT 1
"""
NEW_CONVERSATION = "INSERT INTO conversations (customer_id, channel) VALUES ($1, 'email') RETURNING id"
STORE_MESSAGE = """
    INSERT INTO messages (id, conversation_id, customer_id, channel, direction, role, content)
    VALUES ($1, $2, $3, 'email', 'inbound', 'customer', $4)
"""
OPEN_TICKET = """
    INSERT INTO tickets (customer_id, conversation_id, subject, category, source_channel)
    SELECT customer_id, id, $2, $3, channel FROM conversations WHERE id = $1 RETURNING id, ticket_number
"""
CHANGE_STATUS = """
    SELECT status FROM change_ticket_status($1, $2, actor => $3, comment => $4, resolution_notes => $5)
"""
HISTORY = """
    SELECT m.created_at, c.channel, m.direction, m.content
    FROM messages AS m JOIN conversations AS c ON c.id = m.conversation_id
    WHERE m.customer_id = $1 ORDER BY m.created_at DESC, m.id DESC LIMIT $2
"""
SEARCH = "SELECT title, similarity FROM search_knowledge_base($1::text::vector, $2)"
CHANGES = "SELECT * FROM read_change_feed($1, $2, $3, 1000)"


@dataclass(frozen=True)
class Mail:
    account: str
    message_id: str
    sender: str
    name: str
    text: str
    proven: bool = False
    """DKIM vouches for the sender. Without it the address is a claim, and gets a conversation of its own."""


@asynccontextmanager
async def acting(pool: asyncpg.Pool, actor: str) -> AsyncIterator[asyncpg.pool.PoolConnectionProxy]:
    """A transaction on a connection of the pool, in which every change names ``actor``."""
    async with pool.acquire() as connection, connection.transaction():
        # Local to the transaction: nobody inherits an actor with the connection.
        await connection.execute("SELECT set_config('crm.actor', $1, true)", actor)
        yield connection


async def receive(pool: asyncpg.Pool, mail: Mail) -> UUID | None:
    """Store a mail; its conversation, or None where it was stored before."""
    async with acting(pool, "system:inbound") as connection:
        message_id = uuid4()
        if await connection.fetchval(NAME_MESSAGE, mail.account, mail.message_id, message_id) is None:
            return None
        customer_id = await connection.fetchval(FIND_CUSTOMER, mail.sender)
        if customer_id is None:
            await connection.execute(NEW_CUSTOMER, mail.sender, mail.name, mail.proven)
            customer_id = await connection.fetchval(FIND_CUSTOMER, mail.sender)
        conversation_id: UUID | None = None
        if mail.proven:
            conversation_id = await connection.fetchval(OPEN_CONVERSATION, customer_id)
        if conversation_id is None:
            conversation_id = await connection.fetchval(NEW_CONVERSATION, customer_id)
        await connection.execute(STORE_MESSAGE, message_id, conversation_id, customer_id, mail.text)
        return conversation_id


async def open_ticket(
    pool: asyncpg.Pool, conversation_id: UUID, *, subject: str, category: str, actor: str
) -> tuple[UUID, str]:
    async with acting(pool, actor) as connection:
        row = await connection.fetchrow(OPEN_TICKET, conversation_id, subject, category)
    if row is None:
        raise LookupError("there is no such conversation")
    return row["id"], row["ticket_number"]


async def change_status(
    pool: asyncpg.Pool,
    ticket_id: UUID,
    status: str,
    *,
    actor: str,
    comment: str | None = None,
    notes: str | None = None,
) -> str:
    """One flight: the function checks, changes, and records.

    Raises:
        asyncpg.CheckViolationError: its ``constraint_name`` says why, such as ``tickets_status_transition``.
    """
    changed: str | None = await pool.fetchval(CHANGE_STATUS, ticket_id, status, actor, comment, notes)
    if changed is None:
        raise LookupError("there is no such ticket")
    return changed


async def history(pool: asyncpg.Pool, customer_id: UUID, *, limit: int = 20) -> list[asyncpg.Record]:
    """The last messages of a customer over all channels, newest first."""
    return await pool.fetch(HISTORY, customer_id, limit)


async def search(pool: asyncpg.Pool, vector: Sequence[float], *, limit: int = 5) -> list[asyncpg.Record]:
    """The articles nearest to a vector of 1536 numbers, by cosine."""
    return await pool.fetch(SEARCH, f"[{','.join(map(str, vector))}]", limit)


async def changes(
    pool: asyncpg.Pool, after: tuple[int, int, int] = (0, 0, 0)
) -> tuple[list[asyncpg.Record], tuple[int, int, int]]:
    """What was committed since ``after``, each change once; and the place to go on from, to be kept."""
    rows = await pool.fetch(CHANGES, *after)
    if rows:
        after = rows[-1]["life"], rows[-1]["transaction_id"], rows[-1]["seq"]
    return rows, after
