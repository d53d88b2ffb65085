"""Every service does its work with the rights of the app's role, and none of the readers can use them."""

from __future__ import annotations

import inspect
import pkgutil
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from app import services
from app.database import make_session_factory, transaction
from app.embeddings import LexicalEmbedder, get_embedder
from app.models import Channel, ConversationStatus, MetricType, TicketCategory, TicketPriority, TicketStatus
from app.schemas import CustomerProfile, Identifier, InboundMessage, OutboundMessage
from app.services import (
    backfill,
    conversations,
    duplicates,
    identity,
    indexing,
    knowledge,
    merging,
    metrics,
    search,
    tickets,
    timeline,
)
from app.testing import CustomerFactory, bound_to

ME = {"actor": "human:7"}


def email(value: str, *, verified: bool = True) -> Identifier:
    return Identifier(type="email", value=value, verified=verified)


def phone(value: str, *, verified: bool = True) -> Identifier:
    return Identifier(type="whatsapp", value=value, verified=verified)


def inbound(number: int, *sender: Identifier) -> InboundMessage:
    return InboundMessage(
        channel=Channel.EMAIL,
        account="help@example.com",
        provider_message_id=f"m{number}",
        sender=sender,
        content="Where is my export?",
        profile=CustomerProfile(name="Ana"),
    )


def test_every_service_is_called_here():
    source = Path(__file__).read_text()
    missing = []
    for module in pkgutil.iter_modules(services.__path__):
        found = import_module(f"app.services.{module.name}")
        for name, function in inspect.getmembers(found, inspect.isfunction):
            is_own = function.__module__ == found.__name__ and not name.startswith("_")
            is_public = name in found.__all__ if hasattr(found, "__all__") else is_own
            called = f"{module.name}.{name}(" in source or f"{module.name}.{name}, " in source
            if is_public and not called and not module.name.startswith("_"):
                missing.append(f"{module.name}.{name}")
    assert missing == []


@pytest.fixture(scope="module")
def engine(desk) -> Engine:
    return desk.login("app")


def test_identity_and_merging(engine):
    with Session(engine) as session, session.begin():
        ana = identity.resolve(session, [email("ana@example.com")], channel=Channel.EMAIL).customer_id
        other = identity.resolve(session, [phone("+14155550101")], channel=Channel.WHATSAPP).customer_id
        both = [email("ana@example.com"), phone("+14155550101")]
        identity.resolve(session, both, channel=Channel.WEB_FORM)
        # A claim that is taken over by its proof, address and all.
        identity.resolve(
            session,
            [email("mallory@example.com"), phone("+14155550102", verified=False)],
            channel=Channel.EMAIL,
            profile=CustomerProfile(name="Mallory", company="Acme"),
        )
        identity.resolve(session, [phone("+14155550102")], channel=Channel.WHATSAPP)
        attached = identity.attach_identifier(
            session, ana, email("ana@work.example", verified=False), channel=Channel.EMAIL, **ME
        )
        identity.verify_identifier(session, attached.id, **ME)
        identity.detach_identifier(session, attached.id, **ME)
        assert identity.find_customer(session, email("ANA@example.com")).id == ana
        assert identity.canonical([email("ANA@example.com")], None)

        plan = merging.plan_merge(session, ana, other)
        merge = merging.merge(session, ana, other, fingerprint=plan.fingerprint, reason="one person", **ME)
        assert merging.current_customer_id(session, other) == ana
        merging.unmerge(session, merge.id, reason="two people", **ME)
        duplicates.find_duplicates(session, min_score=-100)
        duplicates.reject_duplicate(session, ana, other, reason="two people", **ME)
        backfill.find_uncanonical(session)


def test_stored_spellings_are_mended(engine, desk):
    desk.run("INSERT INTO customers (email, phone) VALUES ('Bea@Example.com', '+1 415 555 0103')")
    with Session(engine) as session, session.begin():
        assert len(backfill.normalize_identifiers(session, **ME).values) == 2


def test_conversations_tickets_and_timeline(engine):
    sessions = make_session_factory(engine)
    first = transaction(sessions, conversations.ingest, inbound(1, email("eva@example.com")))
    with sessions.begin() as session:
        target = conversations.reply_target(session, first.conversation_id)
        answer = conversations.reply(session, first.conversation_id, OutboundMessage(content="Here."))
        conversations.set_delivery_status(session, answer.id, "read")
        ticket = tickets.open_ticket(
            session,
            customer_id=first.customer_id,
            conversation_id=first.conversation_id,
            subject="Export",
            category=TicketCategory.TECHNICAL,
            source_channel=Channel.EMAIL,
            **ME,
        )
        tickets.assign(session, ticket.id, "human:7", **ME)
        tickets.change_status(session, ticket.id, TicketStatus.RESOLVED, resolution_notes="done", **ME)
    second = transaction(sessions, conversations.ingest, inbound(2, email("eva@example.com")))
    assert (target.value, second.ticket_reopened) == ("eva@example.com", True)
    with sessions.begin() as session:
        assert tickets.get_ticket(session, str(ticket.ticket_number)).id == ticket.id
        assert len(timeline.history(session, first.customer_id).items) == 3
        conversations.change_status(session, first.conversation_id, ConversationStatus.CLOSED, **ME)


def test_the_life_of_a_ticket(engine, desk):
    with Session(desk.admin) as session, bound_to(session):
        customer_id = CustomerFactory().id
        session.commit()
    sessions, now = make_session_factory(engine), datetime.now(UTC)
    with sessions.begin() as session:
        ticket = tickets.open_ticket(
            session,
            customer_id=customer_id,
            subject="Export",
            category=TicketCategory.TECHNICAL,
            source_channel=Channel.EMAIL,
            **ME,
        )
        tickets.change_category(session, ticket.id, TicketCategory.BILLING, **ME)
        tickets.change_priority(session, ticket.id, TicketPriority.HIGH, **ME)
        tickets.change_status(session, ticket.id, TicketStatus.RESOLVED, **ME)
    with sessions.begin() as session:
        later = now + timedelta(days=1)
        assert len(tickets.due_for_closing(session, resolved_before=later)) == 1
        assert tickets.close_stale(session, resolved_before=later, actor="system:cron") == [ticket.id]
        assert tickets.reopen(session, ticket.id, **ME).id == ticket.id
        tickets.change_status(session, ticket.id, TicketStatus.CLOSED, **ME)
    with sessions.begin() as session:
        follow_up = tickets.reopen(session, ticket.id, grace=timedelta(0), **ME)
        assert follow_up.id != ticket.id
        assert tickets.list_tickets(session, customer_id=customer_id).items[0].id == follow_up.id
        assert tickets.lifecycle(session, ticket.id).reopens
        tickets.regressions(session, days=1)
        history = tickets.status_history(session, ticket.id)
        assert {entry.db_user for entry in history} == {engine.url.username}
        assert len(tickets.field_history(session, ticket.id)) == 2
        assert tickets.verify_history(session) == []
        metrics.ticket_report(session, since=now, until=later, group_by="channel")


def test_knowledge_search_and_metrics(engine):
    embedder = get_embedder("lexical")
    with Session(engine) as session, session.begin():
        assert knowledge.embed_missing(session, embedder) > 0
    # Each on a connection of its own, where pgvector has not been used before.
    with Session(engine) as session:
        assert search.search_knowledge(session, "How do I reset my password?", embedder=embedder)
    with Session(engine) as session, session.begin():
        metrics.record(session, MetricType.SENTIMENT, 0.5, channel=Channel.EMAIL)
        assert metrics.channel_metrics(session)


def test_documents_become_articles(engine, tmp_path):
    options = {"category": "general", "embedder": get_embedder("lexical")}
    (tmp_path / "a.md").write_text("# A\nText.")
    with Session(engine) as session, session.begin():
        assert knowledge.ingest_markdown(session, "# B\nOne.", source="b", **options).embedded == 1
        assert knowledge.ingest_markdown(session, "# B\nTwo.", source="b", **options).changed == 1
        assert knowledge.ingest_html(session, "<p>Text", source="c", **options).added == 1
        assert knowledge.ingest_text(session, "Text", source="d", **options).added == 1
        assert knowledge.ingest_folder(session, tmp_path, **options).documents[0].added == 1

        def again(document, embedder):
            return knowledge.ingest_document(
                session, document.path, source=document.source, category="general", embedder=embedder
            )

        report = knowledge.ingest_each(knowledge.documents_in(tmp_path), again, None)
        assert report.documents[0].unchanged == 1
        assert knowledge.deactivate(session, source="b") == 1
        assert len(knowledge.list_articles(session, source="b", active=False)) == 1


class AnotherModel(LexicalEmbedder):
    model = "lexical-2"


def test_embeddings_and_searches_of_every_object(engine):
    sessions, embedder = make_session_factory(engine), AnotherModel()
    message = transaction(sessions, conversations.ingest, inbound(3, email("eva@example.com")))
    with sessions.begin() as session:
        ticket = tickets.open_ticket(
            session,
            customer_id=message.customer_id,
            conversation_id=message.conversation_id,
            subject="Export",
            category=TicketCategory.TECHNICAL,
            source_channel=Channel.EMAIL,
            **ME,
        )
    for model in (get_embedder("lexical"), embedder):
        assert transaction(sessions, indexing.embed_missing, model) > 0
    with sessions.begin() as session:
        # Both lose their embeddings, in tables that the trigger's owner may change.
        tickets.change_status(session, ticket.id, TicketStatus.RESOLVED, resolution_notes="sent", **ME)
        session.execute(text("UPDATE messages SET content = 'Where is it?' WHERE role = 'customer'"))
    transaction(sessions, indexing.fill_queue, embedder)
    transaction(sessions, indexing.embed_missing, embedder)
    with Session(engine) as session:
        for found in indexing.embedding_status(session):
            assert (found.model, found.stale, found.missing) == (embedder.model, 0, 0)
        assert search.search_messages(session, "export", embedder=embedder, mode="hybrid")
        assert search.search_tickets(session, "export", embedder=embedder, mode="hybrid")
        assert search.search_all(session, "export", embedder=embedder, mode="hybrid")
        search.similar_tickets(session, ticket.id)


@pytest.mark.parametrize("role", ["readonly", "auditor"])
def test_a_reader_reads_and_writes_nothing(desk, role):
    with Session(desk.login(role)) as session:
        metrics.channel_metrics(session)
        assert len(indexing.embedding_status(session)) == 3
        with pytest.raises(DBAPIError, match="read-only transaction"):
            metrics.record(session, MetricType.SENTIMENT, 0.5)
