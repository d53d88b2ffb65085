"""Search over messages and tickets, over everything at once, and for tickets like another."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from app.embeddings import LexicalEmbedder
from app.errors import InvalidValue, InvalidVector, TicketNotFound
from app.models import Channel, Message, MessageDirection, Ticket, TicketStatus
from app.schemas import ObjectType
from app.services import indexing, merging, search
from app.testing import (
    ConversationFactory,
    CustomerFactory,
    KnowledgeBaseEntryFactory,
    MessageFactory,
    TicketFactory,
    bound_to,
)

EMBEDDER = LexicalEmbedder()
STRANGE = timezone(timedelta(hours=23, minutes=59, seconds=59, microseconds=5))
YEARS_AGO = datetime(2020, 1, 1, tzinfo=UTC)
BOTH = {"embedder": EMBEDDER, "mode": "hybrid"}


def embed(session: Session) -> None:
    indexing.embed_missing(session, EMBEDDER)


@pytest.fixture
def messages(session: Session) -> list[Message]:
    """Of one customer by email, and of another by WhatsApp."""
    ana, bo = CustomerFactory(), CustomerFactory()
    by_mail = ConversationFactory(customer=ana)
    by_phone = ConversationFactory(customer=bo, channel=Channel.WHATSAPP)
    made = [
        MessageFactory(conversation=by_mail, customer=ana, content="I lost my password"),
        MessageFactory(
            conversation=by_mail, customer=ana, content="Here is a new password link",
            direction=MessageDirection.OUTBOUND, role="agent", processing_latency_ms=900,
            extra={"agent": {"name": "ai:support", "version": 3}},
        ),
        MessageFactory(
            conversation=by_phone, customer=bo, channel=Channel.WHATSAPP, content="the password is wrong"
        ),
        MessageFactory(
            conversation=by_phone, customer=bo, channel=Channel.WHATSAPP, content="my invoice is missing"
        ),
    ]  # fmt: skip
    embed(session)
    return made


@pytest.mark.parametrize("mode", ["vector", "text", "hybrid"])
def test_messages_are_found_in_the_whole_base(session, messages, queries, mode):
    queries.reset()
    hits = search.search_messages(session, "lost password", embedder=EMBEDDER, mode=mode)
    assert queries.count == 1, queries
    assert hits[0].id == messages[0].id
    assert hits[0].content == "I lost my password"
    assert (hits[0].customer_id, hits[0].channel) == (messages[0].customer_id, Channel.EMAIL)


FILTERS = {
    "customer": (lambda m: {"customer_id": m[2].customer_id}, {2, 3}),
    "conversation": (lambda m: {"conversation_id": m[0].conversation_id}, {0, 1}),
    "channel": (lambda _: {"channel": Channel.WHATSAPP}, {2, 3}),
    "channels": (lambda _: {"channel": ["email", "whatsapp"]}, {0, 1, 2, 3}),
    "direction": (lambda _: {"direction": "outbound"}, {1}),
    "role": (lambda _: {"role": "agent"}, {1}),
    "content type": (lambda _: {"content_type": "html"}, set()),
    "delivery": (lambda _: {"delivery_status": "pending"}, {0, 1, 2, 3}),
    "from": (lambda m: {"created_from": m[2].created_at}, {2, 3}),
    "before": (lambda m: {"created_before": m[2].created_at}, {0, 1}),
    "from, by a strange clock": (lambda m: {"created_from": m[2].created_at.astimezone(STRANGE)}, {2, 3}),
    "no metadata": (lambda _: {"extra": {}}, {0, 1, 2, 3}),
    "slow": (lambda _: {"processing_latency_ms_from": 900}, {1}),
    "quick": (lambda _: {"processing_latency_ms_before": 900}, set()),
    "metadata": (lambda _: {"extra": {"agent": {"name": "ai:support"}}}, {1}),
}


@pytest.mark.parametrize(("asked", "expected"), FILTERS.values(), ids=FILTERS)
@pytest.mark.parametrize("mode", ["vector", "hybrid"])
def test_messages_are_filtered_by_every_column(session, messages, mode, asked, expected):
    hits = search.search_messages(session, "password", embedder=EMBEDDER, mode=mode, **asked(messages))
    assert {hit.id for hit in hits} == {messages[n].id for n in expected}


def test_a_filter_holds_for_words_alone(session, messages):
    hits = search.search_messages(session, "password", mode="text", customer_id=messages[0].customer_id)
    assert {hit.id for hit in hits} == {messages[0].id, messages[1].id}


def test_an_absorbed_customer_s_id_leads_to_the_living_one(session, messages):
    ana, bo = messages[0].customer_id, messages[2].customer_id
    merging.merge(session, ana, bo, actor="human:7", reason="one person")
    for id_ in (ana, bo):
        hits = search.search_messages(session, "password", embedder=EMBEDDER, customer_id=id_)
        assert len(hits) == 4
    assert search.search_messages(session, "password", embedder=EMBEDDER, customer_id=UUID(int=0)) == []


def test_a_message_that_is_not_embedded_yet_is_found_by_words(session, messages):
    late = MessageFactory(content="the zeppelin is late")
    assert search.search_messages(session, "zeppelin", embedder=EMBEDDER, limit=1)[0].id != late.id
    assert search.search_messages(session, "zeppelin", mode="text")[0].id == late.id


@pytest.fixture
def tickets(session: Session) -> list[Ticket]:
    conversation = ConversationFactory()
    for content in ("Hello", "My screen stays black after the update", "Since Monday", "Fourth: giraffe"):
        MessageFactory(conversation=conversation, customer=conversation.customer, content=content)
    made = [
        TicketFactory(
            conversation=conversation, customer=conversation.customer, subject="Help please",
            escalation_reason="legal",
        ),
        TicketFactory(
            subject="Cannot sign in", category="account_access", priority="high", assigned_to="human:7",
            status=TicketStatus.RESOLVED, resolution_notes="Cleared the cookies of the browser",
            extra={"tags": ["login", "browser"]},
        ),
        TicketFactory(
            subject="Sign in fails on the phone", category="technical", source_channel="whatsapp",
            updated_at=YEARS_AGO,
        ),
    ]  # fmt: skip
    embed(session)
    return made


@pytest.mark.parametrize("mode", ["vector", "text", "hybrid"])
def test_a_ticket_is_its_subject_its_first_messages_and_how_it_was_solved(session, tickets, queries, mode):
    def first(query: str) -> UUID:
        queries.reset()
        hits = search.search_tickets(session, query, embedder=EMBEDDER, mode=mode, limit=1)
        assert queries.count == 1, queries
        return hits[0].id

    assert first("help please") == tickets[0].id
    assert first("black screen after update") == tickets[0].id
    assert first("clearing cookies") == tickets[1].id
    assert search.search_tickets(session, "giraffe", mode="text") == []


TICKET_FILTERS = {
    "category": (lambda _: {"category": "technical"}, {2}),
    "priority": (lambda _: {"priority": ["high", "critical"]}, {1}),
    "status": (lambda _: {"status": TicketStatus.OPEN}, {0, 2}),
    "source channel": (lambda _: {"source_channel": "whatsapp"}, {2}),
    "assignee": (lambda _: {"assigned_to": "human:7"}, {1}),
    "customer": (lambda t: {"customer_id": t[0].customer_id}, {0}),
    "conversation": (lambda t: {"conversation_id": t[0].conversation_id}, {0}),
    "created": (lambda t: {"created_before": t[0].created_at}, set()),
    "resolved": (lambda t: {"resolved_from": t[1].resolved_at}, {1}),
    "updated": (lambda _: {"updated_from": YEARS_AGO, "updated_before": YEARS_AGO + timedelta(days=1)}, {2}),
    "escalation": (lambda _: {"escalation_reason": ["legal", "refund"]}, {0}),
    "number": (lambda t: {"ticket_number": [t[0].ticket_number, t[2].ticket_number]}, {0, 2}),
    "metadata": (lambda _: {"extra": {"tags": ["login"]}}, {1}),
    "resolved before": (lambda t: {"resolved_before": t[1].resolved_at}, set()),
}


def test_a_hit_has_its_row_s_fields(session, messages, tickets):
    session.expire_all()
    (message,) = search.search_messages(session, "password", mode="text", role="agent")
    (ticket,) = search.search_tickets(session, "sign in", mode="text", assigned_to="human:7")
    for hit, row in ((message, messages[1]), (ticket, tickets[1])):
        own = hit.model_fields_set - {"similarity", "score", "confident"}
        assert {name: getattr(hit, name) for name in own} == {name: getattr(row, name) for name in own}
    assert message.extra == {"agent": {"name": "ai:support", "version": 3}}
    assert ticket.extra == {"tags": ["login", "browser"]}


@pytest.mark.parametrize(("asked", "expected"), TICKET_FILTERS.values(), ids=TICKET_FILTERS)
def test_tickets_are_filtered_by_every_column(session, tickets, asked, expected):
    hits = search.search_tickets(session, "sign in", **BOTH, **asked(tickets))
    assert {hit.id for hit in hits} == {tickets[n].id for n in expected}


def test_a_word_that_everybody_writes_is_not_followed_to_the_last_message(crm_clone):
    with Session(crm_clone) as session, bound_to(session):
        ticket = TicketFactory(subject="Nothing works")
        session.execute(
            text("""
                WITH threads AS (
                    INSERT INTO conversations (customer_id, channel)
                    SELECT :customer, 'email' FROM generate_series(1, 12000) RETURNING id
                ), tickets AS (
                    INSERT INTO tickets (customer_id, conversation_id, subject, category, source_channel)
                    SELECT :customer, id, 'Something', 'technical', 'email' FROM threads
                )
                INSERT INTO messages (conversation_id, customer_id, channel, direction, role, content)
                SELECT id, :customer, 'email', 'inbound', 'customer', 'hello' FROM threads
            """),
            {"customer": ticket.customer_id},
        )
        scans = text("SELECT pg_stat_get_xact_numscans('idx_messages_conversation'::regclass)")
        before = session.scalar(scans)
        hits = search.search_tickets(session, "hello works", mode="text")
        assert [hit.id for hit in hits] == [ticket.id]
        assert session.scalar(scans) - before < 6_000


def test_similar_tickets_leave_the_ticket_itself_out(session, tickets, queries):
    queries.reset()
    hits = search.similar_tickets(session, tickets[1].id)
    assert queries.count == 1, queries
    assert [hit.id for hit in hits] == [tickets[2].id, tickets[0].id]
    assert search.similar_tickets(session, tickets[1].id, status="resolved") == []
    assert len(search.similar_tickets(session, tickets[1].id, limit=1)) == 1
    assert search.similar_tickets(session, tickets[1].id, min_similarity=0.999) == []


@pytest.mark.parametrize(("field", "value"), [("limit", 0), ("min_similarity", 2), ("status", "lost")])
def test_a_bad_option_for_similar_tickets_is_named_and_nothing_is_sent(session, queries, field, value):
    queries.reset()
    with pytest.raises(InvalidValue) as caught:
        search.similar_tickets(session, UUID(int=1), **{field: value})
    assert caught.value.field == field
    assert queries.count == 0


def test_a_ticket_without_an_embedding_has_similar_ones_by_the_words_of_its_subject(session, tickets):
    new = TicketFactory(subject="Sign in broken")
    hits = search.similar_tickets(session, new.id, explain=True)
    assert {hit.id for hit in hits} == {tickets[1].id, tickets[2].id}
    assert hits[0].explanation.text_rank == 1


def test_what_is_like_no_ticket_is_not_found(session, tickets):
    with pytest.raises(TicketNotFound):
        search.similar_tickets(session, UUID(int=0))
    with pytest.raises(InvalidValue):
        search.similar_tickets(session, "TKT-1")
    alone = TicketFactory(subject="?")
    assert search.similar_tickets(session, alone.id) == []


@pytest.mark.parametrize("mode", ["vector", "text", "hybrid"])
def test_one_call_searches_everything_in_one_statement(session, messages, tickets, queries, mode):
    article = KnowledgeBaseEntryFactory(title="A lost password", content="Reset it.")
    embed(session)
    queries.reset()
    hits = search.search_all(session, "lost password", embedder=EMBEDDER, mode=mode, limit=30, explain=True)
    assert queries.count == 1, queries
    found = {(hit.object_type, hit.id) for hit in hits}
    assert {(ObjectType.KNOWLEDGE, article.id), (ObjectType.MESSAGE, messages[0].id)} <= found
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert len(search.search_all(session, "lost password", embedder=EMBEDDER, mode=mode, limit=2)) == 2
    (own,) = {hit.customer_id for hit in hits if hit.id == messages[0].id}
    assert own == messages[0].customer_id


def test_searching_everything_of_one_customer_leaves_articles_in(session, messages, tickets):
    hits = search.search_all(
        session, "password", embedder=EMBEDDER, limit=50, customer_id=messages[0].customer_id
    )
    assert {hit.customer_id for hit in hits} == {None, messages[0].customer_id}


def test_a_query_of_another_model_than_the_messages_is_refused(session, messages):
    class Other(LexicalEmbedder):
        model = "other-1"

    with pytest.raises(InvalidVector, match=r"other-1, messages of lexical-1536-v1"):
        search.search_messages(session, "password", embedder=Other())


@pytest.mark.parametrize(
    ("field", "options"),
    [
        ("customer_id", {"customer_id": "x"}),
        ("channel", {"channel": "pigeon"}),
        ("channel", {"channel": []}),
        ("created_from", {"created_from": datetime(2026, 1, 1)}),  # noqa: DTZ001
        ("created_from", {"created_from": datetime.min.replace(tzinfo=STRANGE)}),
        ("extra", {"extra": ["x"]}),
        ("extra", {"extra": {"x": math.nan}}),
        ("processing_latency_ms_from", {"processing_latency_ms_from": 2**31}),
        ("processing_latency_ms_before", {"processing_latency_ms_before": True}),
        ("limit", {"limit": 1001}),
    ],
)
def test_a_bad_filter_is_named_and_nothing_is_sent(session, queries, field, options):
    queries.reset()
    with pytest.raises(InvalidValue) as caught:
        search.search_messages(session, "words", mode="text", **options)
    assert caught.value.field == field
    assert queries.count == 0


PLAIN_SQL = text("""
    SELECT t.ticket_number FROM search_objects('ticket', query_text => 'sign in', max_rows => 5,
        filters => CAST(:filters AS jsonb)) AS hit JOIN tickets AS t USING (id) ORDER BY hit.score DESC
""")


def test_other_backends_search_with_filters_in_plain_sql(session, tickets):
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    filters = {"status": ["open", "waiting"], "created_at_before": tomorrow}
    found = session.scalars(PLAIN_SQL, {"filters": json.dumps(filters)}).all()
    assert found == [tickets[2].ticket_number]


@pytest.mark.parametrize(
    "filters", [{"subject": "x"}, {"status = status OR true --": "x"}, {"created_at": "2026-01-01"}]
)
def test_a_filter_that_is_no_column_is_refused_in_plain_sql(session, tickets, filters):
    with pytest.raises(DBAPIError, match="cannot be searched by"):
        session.execute(PLAIN_SQL, {"filters": json.dumps(filters)})


def test_a_value_is_a_value_whatever_it_holds(session, tickets):
    for value in ("x' OR true --", "%s", "{a,b}", '"', "\\"):
        assert search.search_tickets(session, "sign in", mode="text", assigned_to=value) == []
