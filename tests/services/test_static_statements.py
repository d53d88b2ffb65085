"""No service builds or compiles SQL when it is called. Tickets and messages have files of their own."""
# ruff: noqa: ARG005 - each call takes what any of them needs

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from sqlalchemy.orm import Session

from app import services
from app.embeddings import LexicalEmbedder
from app.schemas import DeliveryReport, Identifier, InboundMessage, OutboundMessage
from app.services import (
    agent,
    channel_settings,
    conversations,
    customers,
    duplicates,
    feed,
    identity,
    indexing,
    knowledge,
    merging,
    outbox,
    privacy,
    search,
)
from app.testing import MessageFactory, TicketFactory
from tests.services.conversations import test_statements as of_conversations
from tests.services.tickets import test_static_statements as of_tickets

ME = {"actor": "human:7"}
EMBEDDER = LexicalEmbedder()
VECTOR = EMBEDDER.embed(["Where is my export?"])[0]
KEY = "a key that is kept elsewhere"
ARTICLE = {"category": "general", "embedder": EMBEDDER}


@dataclass(frozen=True)
class Place:
    """Somebody who has written, with a ticket; and others, of whom each call may use one up."""

    customer_id: UUID
    conversation_id: UUID
    ticket_id: UUID
    folder: Path
    others: Iterator[UUID]


def email() -> Identifier:
    return Identifier(type="email", value=f"{uuid4()}@example.com", verified=True)


def attached(session: Session, place: Place):
    claim = email().model_copy(update={"verified": False})
    return identity.attach_identifier(session, place.customer_id, claim, channel="email", **ME)


def merged(session: Session, place: Place):
    return merging.merge(session, place.customer_id, next(place.others), reason="one person", **ME)


def replied(session: Session, place: Place):
    message = conversations.reply(session, place.conversation_id, OutboundMessage(content="Here."), **ME)
    outbox.claim(session)
    return message


def report(number: int) -> DeliveryReport:
    return DeliveryReport(
        channel="email", account="us@example.com", provider_message_id=f"<{number}@x>", status="read"
    )


def document(place: Place, number: int) -> Path:
    path = place.folder / "a.md"
    path.write_text(f"# A\nText {number}.")
    return path


CALLS: dict[str, Callable[[Session, Place, int], object]] = {
    "agent.tools": lambda s, p, n: agent.tools(p.conversation_id).call(s, "read_history", {}),
    "channel_settings.get": lambda s, p, n: channel_settings.get(s, "email"),
    "channel_settings.change": lambda s, p, n: channel_settings.change(
        s, "email", max_response_length=400 + n, **ME
    ),
    "channel_settings.history": lambda s, p, n: channel_settings.history(s, "email"),
    "channel_settings.list_settings": lambda s, p, n: channel_settings.list_settings(s),
    "conversations.change_status": lambda s, p, n: conversations.change_status(
        s,
        p.conversation_id,
        ["active", "escalated"][n % 2],
        with_ticket=True,
        escalation_reason="angry",
        **ME,
    ),
    "conversations.context": lambda s, p, n: conversations.context(s, p.conversation_id, vector=VECTOR),
    "conversations.get_conversation": lambda s, p, n: conversations.get_conversation(s, p.conversation_id),
    "conversations.render_reply": lambda s, p, n: conversations.render_reply(s, p.conversation_id, "Yes."),
    "conversations.start": lambda s, p, n: conversations.start(
        s, p.customer_id, channel="email", account="us@example.com", to=email()
    ),
    "customers.get_customer": lambda s, p, n: customers.get_customer(s, p.customer_id),
    "customers.update_customer": lambda s, p, n: customers.update_customer(
        s, p.customer_id, company=f"Acme {n}", **ME
    ),
    "duplicates.find_duplicates": lambda s, p, n: duplicates.find_duplicates(s),
    "duplicates.find_duplicates, of one": lambda s, p, n: duplicates.find_duplicates(
        s, customer_id=p.customer_id
    ),
    "duplicates.reject_duplicate": lambda s, p, n: duplicates.reject_duplicate(
        s, p.customer_id, next(p.others), reason="two people", **ME
    ),
    "feed.changes": lambda s, p, n: feed.changes(s, limit=1 + n),
    "identity.attach_identifier": lambda s, p, n: attached(s, p),
    "identity.verify_identifier": lambda s, p, n: identity.verify_identifier(s, attached(s, p).id, **ME),
    "identity.detach_identifier": lambda s, p, n: identity.detach_identifier(s, attached(s, p).id, **ME),
    "identity.customers_with_identifiers": lambda s, p, n: identity.customers_with_identifiers(
        s, [p.customer_id]
    ),
    "identity.identity_history": lambda s, p, n: identity.identity_history(s, p.customer_id),
    "identity.find_uncanonical": lambda s, p, n: identity.find_uncanonical(s),
    "identity.normalize_identifiers": lambda s, p, n: identity.normalize_identifiers(s, **ME),
    "indexing.embed_missing": lambda s, p, n: indexing.embed_missing(s, EMBEDDER, limit=1),
    "indexing.embedding_status": lambda s, p, n: indexing.embedding_status(s),
    "indexing.estimate": lambda s, p, n: indexing.estimate(s, EMBEDDER),
    "indexing.fill_queue": lambda s, p, n: indexing.fill_queue(s, EMBEDDER),
    "indexing.models_of_articles": lambda s, p, n: indexing.models_of_articles(s),
    "knowledge.deactivate": lambda s, p, n: knowledge.deactivate(s, source="e"),
    "knowledge.embed_missing": lambda s, p, n: knowledge.embed_missing(s, EMBEDDER, limit=1),
    "knowledge.ingest_document": lambda s, p, n: knowledge.ingest_document(
        s, document(p, n), source="a.md", **ARTICLE
    ),
    "knowledge.ingest_folder": lambda s, p, n: (
        document(p, n),
        knowledge.ingest_folder(s, p.folder, **ARTICLE),
    ),
    "knowledge.ingest_html": lambda s, p, n: knowledge.ingest_html(s, f"<p>{n}", source="b", **ARTICLE),
    "knowledge.ingest_markdown": lambda s, p, n: knowledge.ingest_markdown(
        s, f"# C\n{n}.", source="c", **ARTICLE
    ),
    "knowledge.ingest_text": lambda s, p, n: knowledge.ingest_text(s, f"Text {n}", source="d", **ARTICLE),
    "knowledge.list_articles": lambda s, p, n: knowledge.list_articles(s),
    "knowledge.list_articles, filtered": lambda s, p, n: knowledge.list_articles(
        s, source=f"{n}", category="general", active=None, after=p.ticket_id
    ),
    "merging.current_customer_id": lambda s, p, n: merging.current_customer_id(s, p.customer_id),
    "merging.plan_merge": lambda s, p, n: merging.plan_merge(s, p.customer_id, next(p.others)),
    "merging.merge": lambda s, p, n: merged(s, p),
    "merging.get_merge": lambda s, p, n: merging.get_merge(s, merged(s, p).id),
    "merging.unmerge": lambda s, p, n: merging.unmerge(s, merged(s, p).id, reason="two people", **ME),
    "outbox.failed": lambda s, p, n: outbox.failed(s, replied(s, p).id, reason="timeout"),
    "outbox.record_deliveries": lambda s, p, n: outbox.record_deliveries(s, [report(n)]),
    "privacy.erase_customer": lambda s, p, n: privacy.erase_customer(
        s, next(p.others), reason="asked", erasure_key=KEY, **ME
    ),
    "privacy.export_customer": lambda s, p, n: privacy.export_customer(s, p.customer_id),
    "privacy.find_erasures": lambda s, p, n: privacy.find_erasures(s, [email()], erasure_key=KEY),
    "privacy.place_hold": lambda s, p, n: privacy.place_hold(s, p.customer_id, reason="a trial", **ME),
    "privacy.plan_erasure": lambda s, p, n: privacy.plan_erasure(s, p.customer_id),
    "privacy.release_hold": lambda s, p, n: privacy.release_hold(
        s, privacy.place_hold(s, p.customer_id, reason="a trial", **ME).id, reason="over", **ME
    ),
    "privacy.retain": lambda s, p, n: [
        privacy.retain(s, older_than=timedelta(days=9999), what=what) for what in ("messages", "metrics")
    ],
    "search.calibrate": lambda s, p, n: search.calibrate(
        s, ["Where is the export?"], [f"zeppelin {n}"], embedder=EMBEDDER
    ),
    "search.find_calibration": lambda s, p, n: search.find_calibration(s, embedder=EMBEDDER),
    "search.find_threshold": lambda s, p, n: search.find_threshold(s, embedder=EMBEDDER),
    "search.unanswered": lambda s, p, n: search.unanswered(
        s, since=datetime(2026, 1, 1, tzinfo=UTC), until=datetime(2026, 2, 1, tzinfo=UTC), embedder=EMBEDDER
    ),
    "search.similar_tickets": lambda s, p, n: search.similar_tickets(s, p.ticket_id),
} | {
    f"search.{name}, {mode}": lambda s, p, n, name=name, mode=mode: getattr(search, name)(
        s, f"export {n}", embedder=EMBEDDER, mode=mode
    )
    for name in ("search_all", "search_knowledge", "search_messages", "search_tickets")
    for mode in ("vector", "text", "hybrid")
}
OF_CONVERSATIONS = {
    "conversations.ingest", "conversations.note", "conversations.reply", "conversations.reply_target",
    "conversations.transcript", "conversations.list_conversations", "conversations.set_delivery_status",
    "identity.find_customer", "identity.resolve", "outbox.claim", "outbox.sent", "outbox.record_delivery",
}  # fmt: skip
"""What tests/services/conversations/test_statements.py calls."""
SEND_NOTHING_THEMSELVES = {"knowledge.documents_in", "knowledge.files_below", "knowledge.ingest_each"}
FOR_MANY_ROWS = {"bulk.import_customers", "bulk.import_messages", "bulk.import_tickets"}
"""They make staging tables, once for thousands of rows."""


BUILDING = {
    "conversations.change_status", "customers.update_customer", "identity.attach_identifier",
    "identity.customers_with_identifiers", "identity.detach_identifier", "identity.verify_identifier",
    "merging.get_merge", "merging.unmerge", "privacy.place_hold", "privacy.release_hold",
    "search.similar_tickets",
}  # fmt: skip
"""They load or store entities, or write what differs from call to call: the statement is made each time, its
SQL is in the cache. None of them is called for each message.
"""


@pytest.fixture
def place(session, tmp_path):
    sender = email()
    inbound = InboundMessage(
        channel="email", account="us@example.com", provider_message_id="1", sender=[sender], content="Export?"
    )
    first = conversations.ingest(session, inbound)
    ticket = TicketFactory(conversation_id=first.conversation_id)
    others = [MessageFactory().customer_id for _ in range(4)]
    knowledge.ingest_text(session, "The export is in Settings.", source="e", **ARTICLE)
    return Place(first.customer_id, first.conversation_id, ticket.id, tmp_path, iter(others))


@pytest.mark.parametrize("name", CALLS)
def test_a_warm_call_builds_and_compiles_nothing(session, place, assert_static, name):
    assert_static(lambda number: CALLS[name](session, place, number), by_orm=name in BUILDING)


def test_every_service_is_called_by_one_of_these_tests():
    called = {name.split(",")[0] for name in CALLS} | OF_CONVERSATIONS
    called |= SEND_NOTHING_THEMSELVES | FOR_MANY_ROWS
    doors = [m.name for m in pkgutil.iter_modules(services.__path__) if not m.name.startswith("_")]
    public = set()
    for door in set(doors) - {"tickets", "metrics", "timeline"}:
        module = import_module(f"app.services.{door}")
        for name, function in inspect.getmembers(module, inspect.isfunction):
            is_own = function.__module__ == module.__name__ and not name.startswith("_")
            if name in module.__all__ if hasattr(module, "__all__") else is_own:
                public.add(f"{door}.{name}")
    assert called == public
    source = inspect.getsource(of_conversations)
    assert all(f"{name}(s" in source for name in OF_CONVERSATIONS)
    of_tickets.test_every_service_of_tickets_metrics_and_the_timeline_is_called_here()
