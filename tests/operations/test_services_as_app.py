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
from app.schemas import (
    CustomerProfile,
    DeliveryReport,
    Identifier,
    InboundMessage,
    Measurement,
    OutboundMessage,
)
from app.services import (
    agent,
    bulk,
    channel_settings,
    conversations,
    customers,
    duplicates,
    feed,
    identity,
    indexing,
    knowledge,
    merging,
    metrics,
    outbox,
    privacy,
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


def test_channels_settings_and_answers_in_their_voice(engine):
    with Session(engine) as session, session.begin():
        before = channel_settings.get(session, Channel.EMAIL)
        after = channel_settings.change(session, Channel.EMAIL, max_response_length=501, **ME)
        assert after in channel_settings.list_settings(session)
        (entry,) = channel_settings.history(session, Channel.EMAIL)
        assert (entry.changed_by, entry.old_values) == ("human:7", {"max_response_length": 500})
        first = conversations.ingest(session, inbound(21, email("uta@example.com")))
        assert "Yes." in conversations.render_reply(session, first.conversation_id, "Yes.").content
        session.rollback()
    with Session(engine) as session:
        assert channel_settings.get(session, Channel.EMAIL) == before


def test_imports(engine):
    inbounds = [inbound(1000, email("bob@example.com")), inbound(1001, phone("+14155550109", verified=False))]
    person = {"email": "bob@example.com", "phone": "+14155550108"}
    ticket = person | {"ticket_number": "TKT-0900", "subject": "Old", "category": "billing"}
    closed = {"created_at": "2020-01-01T00:00:00Z", "status": "closed"}

    assert bulk.import_messages(engine, inbounds, archived=True).new == 2
    assert bulk.import_messages(engine, inbounds).already_there == 2
    assert bulk.import_customers(engine, [person, {"email": "cora@example.com"}]).new == 1
    assert bulk.import_tickets(engine, [ticket | closed]).new == 1


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

        plan = merging.plan_merge(session, ana, other)
        merge = merging.merge(session, ana, other, fingerprint=plan.fingerprint, reason="one person", **ME)
        assert merging.current_customer_id(session, other) == ana
        assert merging.get_merge(session, merge.id).survivor_id == ana
        assert identity.identity_history(session, ana).events
        assert set(identity.customers_with_identifiers(session, [ana, other])) == {ana}
        merging.unmerge(session, merge.id, reason="two people", **ME)
        duplicates.find_duplicates(session, min_score=-100)
        duplicates.reject_duplicate(session, ana, other, reason="two people", **ME)
        identity.find_uncanonical(session)


def test_stored_spellings_are_mended(engine, desk):
    desk.run("INSERT INTO customers (email, phone) VALUES ('Bea@Example.com', '+1 415 555 0103')")
    with Session(engine) as session, session.begin():
        assert len(identity.normalize_identifiers(session, **ME).values) == 2


def test_conversations_tickets_and_timeline(engine):
    sessions = make_session_factory(engine)
    first = transaction(sessions, conversations.ingest, inbound(1, email("iva@example.com")))
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
    second = transaction(sessions, conversations.ingest, inbound(2, email("iva@example.com")))
    assert (target.value, second.ticket_reopened) == ("iva@example.com", True)
    with sessions.begin() as session:
        assert tickets.get_ticket(session, str(ticket.ticket_number)).id == ticket.id
        assert len(timeline.history(session, first.customer_id).items) == 3
        assert len(timeline.timeline(session, first.customer_id).items) > 3
        conversations.change_status(session, first.conversation_id, ConversationStatus.CLOSED, **ME)
        closed = conversations.get_conversation(session, first.conversation_id)
        assert closed.status is ConversationStatus.CLOSED
        customers.update_customer(session, first.customer_id, company="ACME", **ME)
        assert customers.get_customer(session, first.customer_id).company == "ACME"


def test_messages_leave_and_are_reported_on(engine):
    sessions = make_session_factory(engine)
    first = transaction(sessions, conversations.ingest, inbound(11, email("ida@example.com")))
    with sessions.begin() as session:
        conversations.note(session, first.conversation_id, "a VIP", **ME)
        conversations.reply(session, first.conversation_id, OutboundMessage(content="Here."), **ME)
        started = conversations.start(
            session, first.customer_id, channel="email", account="us@example.com", to=email("ida@example.com")
        )
        conversations.reply(session, started.id, OutboundMessage(content="And this."), **ME)
        assert len(conversations.transcript(session, first.conversation_id).items) == 3
        assert conversations.list_conversations(session, awaiting="customer", customer_id=first.customer_id)
    with sessions.begin() as session:
        deliveries = [d for d in outbox.claim(session) if d.customer_id == first.customer_id]
    report = {"channel": "email", "account": "us@example.com", "status": "delivered"}
    with sessions.begin() as session:
        sent, lost = (delivery.message_id for delivery in deliveries)
        early = DeliveryReport(provider_message_id="<early@example.com>", **report)
        assert outbox.record_deliveries(session, [early]) == [None]
        outbox.sent(session, sent, provider_message_id="<ours@example.com>")
        late = DeliveryReport(provider_message_id="<late@example.com>", **report)
        assert outbox.record_delivery(session, late) is None
        assert outbox.failed(session, lost, reason="timeout").id == lost


def test_an_agent_acts_by_its_tools(engine):
    sessions = make_session_factory(engine)
    first = transaction(sessions, conversations.ingest, inbound(21, email("ute@example.com")))
    with sessions.begin() as session:
        assert conversations.context(session, first.conversation_id).assurance == "verified"
        box = agent.tools(first.conversation_id)
        subject = {"subject": "Cannot sign in", "category": "technical"}
        opened = [box.call(session, "open_ticket", subject, idempotency_key="call_1") for _ in range(2)]
        assert [(result.ok, result.repeated) for result in opened] == [(True, False), (True, True)]
        number = {"ticket_number": opened[0].content["ticket_number"]}
        escalated = box.call(
            session, "escalate_ticket", {**number, "reason": "angry"}, idempotency_key="call_2"
        )
        assert escalated.ok
        assert box.call(session, "read_history", {}).ok


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
        tickets.change_metadata(session, ticket.id, {"tags": ["vip"]}, **ME)
        tickets.change_priority(session, ticket.id, TicketPriority.HIGH, **ME)
        tickets.change_status(session, ticket.id, TicketStatus.RESOLVED, **ME)
    with sessions.begin() as session:
        later = now + timedelta(days=1)
        assert ticket.id in [due.id for due in tickets.due_for_closing(session, resolved_before=later)]
        assert ticket.id in tickets.close_stale(session, resolved_before=later, actor="system:cron")
        assert tickets.reopen(session, ticket.id, **ME).id == ticket.id
        tickets.change_status(session, ticket.id, TicketStatus.CLOSED, **ME)
    with sessions.begin() as session:
        follow_up = tickets.reopen(session, ticket.id, grace=timedelta(0), **ME)
        assert follow_up.id != ticket.id
        assert tickets.list_tickets(session, customer_id=customer_id).items[0].id == follow_up.id
        numbers = tickets.ticket_numbers(session, [ticket.id, follow_up.id])
        assert tickets.linked_tickets(session, ticket.id).followed_by == (numbers[follow_up.id],)
        assert tickets.lifecycle(session, ticket.id).reopens
        tickets.regressions(session, days=1)
        history = tickets.status_history(session, ticket.id)
        assert {entry.db_user for entry in history} == {engine.url.username}
        assert len(tickets.field_history(session, ticket.id)) == 3
        assert tickets.verify_history(session) == []
        metrics.ticket_report(session, since=now, until=later, group_by="channel")
        metrics.ticket_flow(session, since=now, until=later)


def test_knowledge_search_and_metrics(engine):
    embedder = get_embedder("lexical")
    with Session(engine) as session, session.begin():
        assert knowledge.embed_missing(session, embedder, switch_back=True) > 0
        assert indexing.models_of_articles(session) == {embedder.model}
    # Each on a connection of its own, where pgvector has not been used before.
    with Session(engine) as session:
        assert search.search_knowledge(session, "How do I reset my password?", embedder=embedder)
    with Session(engine) as session, session.begin():
        metrics.record(session, MetricType.SENTIMENT, 0.5, channel=Channel.EMAIL)
        assert metrics.record_batch(session, [Measurement(metric_type=MetricType.ESCALATION, value=1)]) == 1
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

        assert len(knowledge.files_below(tmp_path)) >= 1
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
        session.execute(
            text("UPDATE messages SET content = 'Where is it?' WHERE id = :id"), {"id": message.message_id}
        )
    transaction(sessions, indexing.fill_queue, embedder)
    transaction(sessions, indexing.embed_missing, embedder)
    with Session(engine) as session:
        assert sum(one.texts for one in indexing.estimate(session, embedder)) == 0
        for found in indexing.embedding_status(session):
            assert (found.model, found.stale, found.missing) == (embedder.model, 0, 0)
        assert search.search_messages(session, "export", embedder=embedder, mode="hybrid")
        assert search.search_tickets(session, "export", embedder=embedder, mode="hybrid")
        assert search.search_all(session, "export", embedder=embedder, mode="hybrid")
        threshold = search.calibrate(session, ["export"], ["zeppelin"], embedder=embedder)
        assert search.find_threshold(session, embedder=embedder) == threshold
        assert search.find_calibration(session, embedder=embedder).threshold == threshold
        now = datetime.now(UTC)
        search.unanswered(session, since=now - timedelta(days=1), until=now, embedder=embedder)
        search.similar_tickets(session, ticket.id)
    # The other tests search with the first model.
    transaction(sessions, indexing.embed_missing, get_embedder("lexical"), switch_back=True)


def test_rows_are_imported(engine):
    assert bulk.import_customers(engine, [{"email": "ivy@example.com"}]).new == 1
    assert bulk.import_messages(engine, [inbound(31, email("ivan@example.com"))]).new == 1


def test_what_a_person_may_ask_for(engine):
    key = "a key that is kept elsewhere"
    sessions = make_session_factory(engine)
    first = transaction(sessions, conversations.ingest, inbound(21, email("uma@example.com")))
    with sessions.begin() as session:
        hold = privacy.place_hold(session, first.customer_id, reason="a trial", **ME)
        assert privacy.plan_erasure(session, first.customer_id).is_held
        privacy.release_hold(session, hold.id, reason="over", **ME)
        assert privacy.export_customer(session, first.customer_id).name == "Ana"
    with sessions.begin() as session:
        report = privacy.erase_customer(session, first.customer_id, reason="asked", erasure_key=key, **ME)
        assert report.rows["messages"] == 1
        (erased,) = privacy.find_erasures(session, [email("uma@example.com")], erasure_key=key)
        assert erased.erasure_id == report.erasure_id
        assert "erased" not in {change.change for change in feed.changes(session, limit=1).changes}
        for what in ("messages", "metrics"):
            assert privacy.retain(session, older_than=timedelta(days=9999), what=what).rows == 0


@pytest.mark.parametrize("role", ["readonly", "auditor"])
def test_a_reader_reads_and_writes_nothing(desk, role):
    with Session(desk.login(role)) as session:
        metrics.channel_metrics(session)
        assert len(indexing.embedding_status(session)) == 3
        with pytest.raises(DBAPIError, match="read-only transaction"):
            metrics.record(session, MetricType.SENTIMENT, 0.5)
