"""Plain SQL is held to the rules: on a real, migrated database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from crm_digital_fte.embeddings import LexicalEmbedder, embed_query
from crm_digital_fte.services import merging
from raw_desk import Mail, change_status, changes, history, open_ticket, receive, search

ANA = Mail("support@techcorp.example", "<1@example.com>", "Ana@Example.com", "Ana", "Help!", proven=True)


@pytest.fixture
async def pool(crm_clone: Engine) -> AsyncIterator[asyncpg.Pool]:
    url = crm_clone.url
    where: dict[str, Any] = url.translate_connect_args(username="user") | dict(url.query)
    async with asyncpg.create_pool(**where, min_size=2, max_size=8) as pool:
        yield pool


async def customer_of(pool: asyncpg.Pool, conversation_id: UUID) -> UUID:
    id_: UUID = await pool.fetchval("SELECT customer_id FROM conversations WHERE id = $1", conversation_id)
    return id_


async def test_a_mail_that_comes_eight_times_at_once_is_one_message_of_one_customer(
    pool: asyncpg.Pool,
) -> None:
    conversations = await asyncio.gather(*(receive(pool, ANA) for _ in range(8)))

    (conversation_id,) = filter(None, conversations)
    entries = await history(pool, await customer_of(pool, conversation_id))
    assert [entry["content"] for entry in entries] == ["Help!"]
    assert await pool.fetchval("SELECT count(*) FROM find_customer('email', 'ana@example.com')") == 1


async def test_who_only_claims_an_address_does_not_read_its_owners_conversation(pool: asyncpg.Pool) -> None:
    forged = Mail(
        "support@techcorp.example", "<3@example.com>", "ana@example.com", "Ana", "What did I write?"
    )
    assert await receive(pool, ANA) != await receive(pool, forged)


async def test_an_illegal_step_is_refused_and_a_legal_one_is_on_record(pool: asyncpg.Pool) -> None:
    conversation_id = await receive(pool, ANA)
    assert conversation_id is not None
    ticket_id, number = await open_ticket(
        pool, conversation_id, subject="Help", category="billing", actor="ai:support-agent"
    )
    assert number == "TKT-0001"

    await change_status(pool, ticket_id, "resolved", actor="human:7", notes="sent again")
    with pytest.raises(asyncpg.CheckViolationError) as refusal:
        await change_status(pool, ticket_id, "waiting", actor="human:7")

    assert refusal.value.constraint_name == "tickets_status_transition"
    record = await pool.fetch("SELECT new_status, changed_by FROM ticket_status_changes ORDER BY seq")
    assert [tuple(change) for change in record] == [("open", "ai:support-agent"), ("resolved", "human:7")]
    with pytest.raises(asyncpg.PostgresError):
        await pool.execute("UPDATE ticket_status_changes SET changed_by = 'human:8'")


async def test_who_does_not_say_who_acts_is_on_record_as_the_database_user(pool: asyncpg.Pool) -> None:
    conversation_id = await receive(pool, ANA)
    assert conversation_id is not None
    await open_ticket(pool, conversation_id, subject="Help", category="billing", actor="human:7")

    await pool.execute("UPDATE tickets SET status = 'processing'")

    query = "SELECT changed_by LIKE 'db:%' FROM ticket_status_changes WHERE new_status = 'processing'"
    assert await pool.fetchval(query)


async def test_a_message_for_a_customer_who_was_absorbed_reaches_the_living_one(
    pool: asyncpg.Pool, crm_clone: Engine
) -> None:
    bo = Mail("support@techcorp.example", "<2@example.com>", "bo@example.com", "Bo", "Hello")
    first, second = await receive(pool, ANA), await receive(pool, bo)
    assert first is not None
    assert second is not None
    kept, gone = await customer_of(pool, first), await customer_of(pool, second)
    with Session(crm_clone) as session, session.begin():
        merging.merge(session, kept, gone, actor="human:7", reason="one person")

    await pool.execute(
        "INSERT INTO tickets (customer_id, subject, category, source_channel)"
        " VALUES ($1, 'Help', 'billing', 'email')",
        gone,
    )

    assert await pool.fetchval("SELECT customer_id FROM tickets") == kept


async def test_articles_are_searched_and_changes_are_followed(pool: asyncpg.Pool) -> None:
    await pool.execute(
        "INSERT INTO knowledge_base (title, content, category, embedding)"
        " VALUES ('A', 'reset it', 'faq', $1::text::vector)",
        str(embed_query(LexicalEmbedder(), "reset it")),
    )
    assert (await search(pool, embed_query(LexicalEmbedder(), "reset it"), limit=1))[0]["title"] == "A"

    await receive(pool, ANA)
    rows, place = await changes(pool)
    assert {"customer", "conversation", "message"} <= {row["subject"] for row in rows}
    assert (await changes(pool, place))[0] == []
