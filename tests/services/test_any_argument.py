"""Whatever a caller passes to whatever public function: a typed error and nothing written, or it is taken."""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from importlib import import_module
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from app import services
from app.embeddings import LexicalEmbedder
from app.errors import CRMError
from app.models import Base, CustomerIdentifier
from app.schemas import (
    CustomerProfile,
    DeliveryReport,
    Identifier,
    InboundMessage,
    Measurement,
    OutboundMessage,
)
from app.services import conversations, knowledge, merging, privacy, tickets

ME = "human:7"
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def nested_object(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(depth):
        value = {"a": value}
    return value


class Odd:
    """An object of the caller's own."""

    def __eq__(self, other: object) -> bool:
        raise RuntimeError

    __hash__ = None  # type: ignore[assignment]


FEW = {
    "NUL": "a\0b",
    "half a pair": "a\ud800b",
    "no number": float("nan"),
    "bytes": b"text",
    "stale id": UUID("00000000-0000-4000-8000-000000000000"),
    "naive": datetime(2026, 3, 1, 12),  # noqa: DTZ001
    "10**400": 10**400,
    "none": None,
    "deep list": nested(20_000),
}
MANY = FEW | {
    "10 MB": "x" * 10_000_000,
    "empty": "",
    "blank": " \n\u3000",
    "other half of a pair": "\udfff",
    "infinite": float("inf"),
    "minus infinite": float("-inf"),
    "smallest": 5e-324,
    "1969": datetime(1969, 12, 31, tzinfo=UTC),
    "future": datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC),
    "before the calendar": datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))),
    "after the calendar": datetime(9999, 12, 31, 23, 59, tzinfo=timezone(-timedelta(hours=12))),
    "date": date(2026, 3, 1),
    "longest": timedelta.max,
    "backwards": -timedelta(days=1),
    "zero": 0,
    "minus": -1,
    "minus 10**400": -(10**400),
    "2**63": 2**63,
    "yes": True,
    "no": False,
    "words for no": "false",
    "list": [],
    "tuple of two": (1, 2),
    "list of NUL": ["a\0"],
    "set": {1},
    "object": {},
    "odd object": {1: float("nan"), "a\0": object()},
    "deep object": nested_object(20_000),
    "decimal": Decimal("NaN"),
    "function": lambda *_: None,
    "odd": Odd(),
    "id as text": "no-id",
    "generator": iter(()),
    "bytearray": bytearray(b"x"),
    "many": list(range(5_000)),
}


class World(NamedTuple):
    """What the calls are about."""

    ana: UUID
    ben: UUID
    identifier: UUID
    conversation: UUID
    message: UUID
    ticket: UUID
    merge: UUID
    hold: UUID


@pytest.fixture
def world(session: Session) -> World:
    def mail(number: int, address: str) -> InboundMessage:
        sender = (Identifier(type="email", value=address, verified=True),)
        return InboundMessage(
            channel="email",
            account="s@x.example",
            provider_message_id=f"m{number}",
            sender=sender,
            content="Hi",
        )

    ana, ben, zoe, tom = (
        conversations.ingest(session, mail(number, f"{name}@y.example"))
        for number, name in enumerate(("ana", "ben", "zoe", "tom"))
    )
    answer = conversations.reply(session, ana.conversation_id, OutboundMessage(content="Hello"))
    ticket = tickets.open_ticket(
        session,
        customer_id=ana.customer_id,
        subject="Login",
        category="technical",
        source_channel="email",
        actor=ME,
    )
    merge = merging.merge(session, zoe.customer_id, tom.customer_id, actor=ME, reason="one person")
    article = "# Export\n\nOpen Settings."
    knowledge.ingest_markdown(session, article, source="a.md", category="faq", embedder=LexicalEmbedder())
    held = session.scalar(
        select(CustomerIdentifier.id).where(CustomerIdentifier.customer_id == ana.customer_id)
    )
    hold = privacy.place_hold(session, zoe.customer_id, actor=ME, reason="a trial")
    ids = ana.conversation_id, answer.id, ticket.id, merge.id, hold.id
    return World(ana.customer_id, ben.customer_id, held, *ids)


INBOUND = InboundMessage(
    channel="email",
    account="s@x.example",
    provider_message_id="m9",
    sender=(Identifier(type="email", value="eva@y.example"),),
    content="Hi",
)
REPORT = DeliveryReport(channel="email", account="s@x.example", provider_message_id="m8", status="failed")
EMBEDDER = LexicalEmbedder()
MARKDOWN = {"source": "b.md", "category": "faq", "embedder": None, "progress": None, "text": "# A\n\nB"}
SEARCH = {
    "query": "export", "vector": None, "embedder": EMBEDDER, "limit": 2, "min_similarity": 0.1, "mode": "vector",
    "weights": (0.5, 0.5), "explain": False, "min_score": 0.1,
}  # fmt: skip

Arguments = Callable[[World], dict[str, Any]]
CALLS: dict[str, Arguments] = {
    "identity.attach_identifier": lambda w: {"customer_id": w.ana, "identifier": Identifier(type="phone", value="+14155550123"), "channel": "email", "actor": ME, "default_region": None},
    "identity.customers_with_identifiers": lambda w: {"customer_ids": [w.ana]},
    "identity.detach_identifier": lambda w: {"identifier_id": w.identifier, "actor": ME, "reason": None},
    "identity.find_customer": lambda _: {"identifier": Identifier(type="email", value="a@y.example"), "default_region": None},
    "identity.find_uncanonical": lambda _: {"default_region": None, "one_in": 1},
    "identity.identity_history": lambda w: {"customer_id": w.ana, "limit": 5},
    "identity.normalize_identifiers": lambda _: {"actor": ME, "default_region": None, "dry_run": True},
    "identity.resolve": lambda _: {"identifiers": [Identifier(type="email", value="eva@y.example")], "channel": "email", "profile": CustomerProfile(name="Eva"), "policy": "strict", "default_region": None, "erasure_key": None},
    "identity.verify_identifier": lambda w: {"identifier_id": w.identifier, "actor": ME},
    "merging.current_customer_id": lambda w: {"customer_id": w.ana},
    "merging.get_merge": lambda w: {"merge_id": w.merge},
    "merging.merge": lambda w: {"survivor_id": w.ana, "absorbed_id": w.ben, "actor": ME, "reason": "one", "fingerprint": None},
    "merging.plan_merge": lambda w: {"survivor_id": w.ana, "absorbed_id": w.ben},
    "merging.unmerge": lambda w: {"merge_id": w.merge, "actor": ME, "reason": "two"},
    "customers.get_customer": lambda w: {"customer_id": w.ana},
    "customers.update_customer": lambda w: {"customer_id": w.ana, "actor": ME, "reason": None, "name": "Ana", "company": None, "plan": "free", "extra": {"a": 1}},
    "duplicates.find_duplicates": lambda w: {"customer_id": w.ana, "min_score": 3.0, "limit": 5},
    "duplicates.reject_duplicate": lambda w: {"a_id": w.ana, "b_id": w.ben, "actor": ME, "reason": "two"},
    "conversations.change_status": lambda w: {"conversation_id": w.conversation, "status": "closed", "actor": ME, "escalation_reason": None, "resolution_type": None, "with_ticket": False, "measure": False},
    "conversations.context": lambda w: {"conversation_id": w.conversation, "embedder": EMBEDDER, "vector": None, "messages": 5, "articles": 2, "notes": False},
    "conversations.get_conversation": lambda w: {"conversation_id": w.conversation},
    "conversations.ingest": lambda _: {"inbound": INBOUND, "policy": "strict", "default_region": None, "aliases": (), "idle_after": None, "wake": True, "archived": False, "measure": True, "erasure_key": None},
    "conversations.list_conversations": lambda w: {"awaiting": None, "status": None, "channel": None, "customer_id": w.ana, "limit": 5, "before": None},
    "conversations.note": lambda w: {"conversation_id": w.conversation, "content": "x", "actor": ME},
    "conversations.reply": lambda w: {"conversation_id": w.conversation, "outbound": OutboundMessage(content="x"), "actor": None, "max_auto_replies": 3, "in_template": True, "in_window": False, "measure": True},
    "conversations.render_reply": lambda w: {"conversation_id": w.conversation, "body": "x", "ticket_id": w.ticket, "content_type": "html", "unit": None, "shorten": False, "nameless": "there"},
    "conversations.reply_target": lambda w: {"conversation_id": w.conversation},
    "conversations.set_delivery_status": lambda w: {"message_id": w.message, "status": "read"},
    "conversations.start": lambda w: {"customer_id": w.ana, "channel": "email", "account": "s@x.example", "to": Identifier(type="email", value="ana@y.example"), "subject": "x", "default_region": None},
    "conversations.transcript": lambda w: {"conversation_id": w.conversation, "limit": 5, "before": None, "notes": True},
    "channel_settings.change": lambda _: {"channel": "email", "actor": ME, "comment": None, "is_enabled": True, "max_response_length": 5, "tone": "formal", "response_template": None, "api_config_ref": None, "extra": {}},
    "channel_settings.get": lambda _: {"channel": "email"},
    "channel_settings.history": lambda _: {"channel": "email", "limit": 5},
    "channel_settings.list_settings": lambda _: {},
    "timeline.timeline": lambda w: {"customer_id": w.ana, "limit": 5, "before": None},
    "timeline.history": lambda w: {"customer_id": w.ana, "limit": 5, "before": None},
    "tickets.assign": lambda w: {"ticket_id": w.ticket, "assignee": ME, "actor": ME, "comment": None},
    "tickets.change_category": lambda w: {"ticket_id": w.ticket, "category": "billing", "actor": ME, "comment": None},
    "tickets.change_metadata": lambda w: {"ticket_id": w.ticket, "changes": {"tags": ["a"]}, "actor": ME, "comment": None},
    "tickets.change_priority": lambda w: {"ticket_id": w.ticket, "priority": "high", "actor": ME, "comment": None},
    "tickets.change_status": lambda w: {"ticket_id": w.ticket, "new_status": "processing", "actor": ME, "comment": None, "resolution_notes": None, "escalation_reason": None, "expected_status": None, "force": False, "with_conversation": False, "measure": False},
    "tickets.close_stale": lambda _: {"resolved_before": NOON, "actor": ME, "limit": 5},
    "tickets.due_for_closing": lambda _: {"resolved_before": NOON, "limit": 5},
    "tickets.field_history": lambda w: {"ticket_id": w.ticket},
    "tickets.get_ticket": lambda w: {"id_or_number": w.ticket},
    "tickets.lifecycle": lambda w: {"ticket_id": w.ticket, "as_of": None},
    "tickets.linked_tickets": lambda w: {"ticket_id": w.ticket},
    "tickets.list_tickets": lambda w: {"unassigned": False, "limit": 5, "before": None, "customer_id": w.ana, "status": "open", "created_from": NOON},
    "tickets.open_ticket": lambda w: {"customer_id": w.ana, "subject": "x", "category": "technical", "source_channel": "email", "actor": ME, "priority": "low", "conversation_id": None, "comment": None},
    "tickets.regressions": lambda _: {"days": 3, "limit": 5},
    "tickets.reopen": lambda w: {"ticket_id": w.ticket, "actor": ME, "comment": None, "grace": timedelta(days=1)},
    "tickets.status_history": lambda w: {"ticket_id": w.ticket},
    "tickets.ticket_numbers": lambda w: {"ticket_ids": [w.ticket]},
    "tickets.verify_history": lambda w: {"ticket_id": w.ticket},
    "knowledge.deactivate": lambda _: {"source": "a.md", "ids": None},
    "knowledge.embed_missing": lambda _: {
        "embedder": EMBEDDER, "source": None, "limit": 5, "progress": None, "switch_back": False,
    },
    "knowledge.ingest_html": lambda _: MARKDOWN,
    "knowledge.ingest_markdown": lambda _: MARKDOWN,
    "knowledge.ingest_text": lambda _: MARKDOWN,
    "knowledge.list_articles": lambda _: {"source": None, "category": None, "active": True, "limit": 5, "after": None},
    "indexing.embed_missing": lambda _: {
        "embedder": EMBEDDER, "object_types": ["ticket"], "limit": 5, "progress": None, "switch_back": False,
    },
    "indexing.embedding_status": lambda _: {},
    "indexing.estimate": lambda _: {"embedder": EMBEDDER, "object_types": ["ticket"]},
    "indexing.fill_queue": lambda _: {
        "embedder": EMBEDDER, "object_types": ["ticket"], "switch_back": False,
    },
    "indexing.models_of_articles": lambda _: {"only_active": False},
    "search.calibrate": lambda _: {
        "answerable": ["password"], "unanswerable": ["zeppelin"], "embedder": EMBEDDER, "mode": "vector",
        "weights": (1, 1), "answered": 0.9, "object_type": "knowledge",
    },
    "search.unanswered": lambda _: {"since": NOON, "until": NOON + timedelta(days=1), "embedder": EMBEDDER, "limit": 5},
    "search.find_calibration": lambda _: {
        "embedder": EMBEDDER, "mode": "vector", "weights": (1, 1), "object_type": "knowledge",
    },
    "search.find_threshold": lambda _: {
        "embedder": EMBEDDER, "mode": "vector", "weights": (1, 1), "object_type": "knowledge",
    },
    "search.search_all": lambda _: SEARCH,
    "search.search_knowledge": lambda _: SEARCH | {"category": "faq", "around": 1, "grouped": True},
    "search.search_messages": lambda w: SEARCH | {"customer_id": w.ana, "created_from": NOON},
    "search.search_tickets": lambda _: SEARCH | {"status": "open"},
    "search.similar_tickets": lambda w: {"ticket_id": w.ticket, "limit": 5, "status": None, "min_similarity": None, "explain": False},
    "metrics.record": lambda _: {"metric_type": "response_time", "value": 1.0, "channel": None, "extra": None},
    "metrics.record_batch": lambda _: {"measurements": [Measurement(metric_type="escalation", value=1)]},
    "metrics.channel_metrics": lambda _: {"window": timedelta(days=1), "until": None},
    "metrics.ticket_report": lambda _: {"since": NOON, "until": NOON + timedelta(days=1), "group_by": "category", "as_of": None},
    "metrics.ticket_flow": lambda _: {"since": NOON, "until": NOON + timedelta(days=1), "unit": "day"},
    "outbox.claim": lambda _: {"channel": None, "account": None, "limit": 5, "lease": timedelta(minutes=1), "forms_from": None},
    "outbox.failed": lambda w: {"message_id": w.message, "reason": "x", "retry_at": None, "permanent": False, "attempt": None},
    "outbox.record_deliveries": lambda _: {"reports": [REPORT]},
    "outbox.record_delivery": lambda _: {"report": REPORT, "aliases": (), "customer_id": None},
    "outbox.sent": lambda w: {"message_id": w.message, "provider_message_id": "m8"},
    "privacy.erase_customer": lambda w: {"customer_id": w.ana, "actor": ME, "reason": "asked", "erasure_key": None},
    "privacy.export_customer": lambda w: {"customer_id": w.ana},
    "privacy.find_erasures": lambda _: {"identifiers": [Identifier(type="email", value="a@y.example")], "erasure_key": "a key of more than sixteen", "default_region": None},
    "privacy.place_hold": lambda w: {"customer_id": w.ana, "actor": ME, "reason": "a trial"},
    "privacy.plan_erasure": lambda w: {"customer_id": w.ana},
    "privacy.release_hold": lambda w: {"hold_id": w.hold, "actor": ME, "reason": "over"},
    "privacy.retain": lambda _: {"older_than": timedelta(days=1), "what": "messages", "limit": 5, "after": None},
    "feed.changes": lambda _: {"after": None, "limit": 5},
}  # fmt: skip
OF_FILES = {"knowledge.documents_in", "knowledge.files_below", "knowledge.ingest_document"} | {
    "knowledge.ingest_each", "knowledge.ingest_folder"
}  # fmt: skip
WITHOUT_SESSION = {"agent.tools", "bulk.import_customers", "bulk.import_messages", "bulk.import_tickets"}


def public_functions() -> Iterator[tuple[str, Callable[..., Any]]]:
    for module in pkgutil.iter_modules(services.__path__):
        if module.name.startswith("_"):
            continue
        service = import_module(f"app.services.{module.name}")
        for name, function in inspect.getmembers(service, inspect.isfunction):
            is_own = function.__module__ == service.__name__ and not name.startswith("_")
            if name in service.__all__ if hasattr(service, "__all__") else is_own:
                yield f"{module.name}.{name}", function


FUNCTIONS = dict(public_functions())


def test_every_public_function_and_every_argument_of_it_is_tried():
    assert FUNCTIONS.keys() - OF_FILES - WITHOUT_SESSION == CALLS.keys()
    nothing = World(*(uuid4() for _ in World._fields))
    for name, arguments in CALLS.items():
        parameters = inspect.signature(FUNCTIONS[name]).parameters.values()
        named = {p.name for p in parameters if p.kind is not p.VAR_KEYWORD} - {"session"}
        assert named <= arguments(nothing).keys(), name


def written(session: Session) -> int:
    """Rows that the transaction has inserted, changed or deleted, also where it took it back."""
    return session.scalar(text("SELECT sum(n_tup_ins + n_tup_upd + n_tup_del) FROM pg_stat_xact_all_tables"))


def checksum(session: Session) -> list[str | None]:
    """Of every table, all that is in it."""
    query = "SELECT md5(string_agg(t::text, ',' ORDER BY t::text)) FROM {} AS t"
    return [session.scalar(text(query.format(table.name))) for table in Base.metadata.sorted_tables]


def try_values(
    session: Session, function: Callable[..., Any], arguments: Mapping[str, Any], values: Mapping[str, Any]
) -> list[str]:
    """What went wrong."""
    faults = []
    session.flush()
    before = checksum(session)
    for argument in arguments:
        for name, value in values.items():
            rows = written(session)
            attempt = session.begin_nested()
            try:
                outcome = function(session, **{**arguments, argument: value})
                if isinstance(outcome, Iterator):
                    list(outcome)
            except CRMError as error:
                if written(session) != rows:
                    faults.append(f"{argument}={name}: {type(error).__name__} after a write")
                if "a\0b" in str(error) or len(str(error)) > 2_000:
                    faults.append(f"{argument}={name}: the error repeats the input")
            except Exception as error:
                faults.append(f"{argument}={name}: {type(error).__name__} {str(error)[:200]}")
            if attempt.is_active:
                attempt.rollback()
            session.expire_all()
    if checksum(session) != before:
        faults.append("the database is another")
    return faults


SERVICES = sorted({name.partition(".")[0] for name in CALLS})


def faults(session: Session, world: World, service: str, values: Mapping[str, Any]) -> list[str]:
    return [
        f"{name}: {fault}"
        for name in CALLS
        if name.startswith(f"{service}.")
        for fault in try_values(session, FUNCTIONS[name], CALLS[name](world), values)
    ]


@pytest.mark.parametrize("service", SERVICES)
def test_an_argument_that_is_none_is_a_typed_error_and_writes_nothing(session, world, service):
    assert faults(session, world, service, FEW) == []


@pytest.mark.soak
@pytest.mark.parametrize("service", SERVICES)
def test_any_argument_at_all_is_taken_or_a_typed_error(session, world, service):
    assert faults(session, world, service, MANY) == []
