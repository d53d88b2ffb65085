"""The desk of the demo, message by message."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest
from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from app import demo
from app.database import make_engine, make_session_factory, transaction
from app.embeddings import LexicalEmbedder
from app.models import (
    AgentMetric,
    Base,
    Channel,
    ContentType,
    IdentifierType,
    Message,
    MessageDirection,
    MetricType,
    Ticket,
    TicketCategory,
    TicketPriority,
    TicketStatus,
    TicketStatusChange,
)
from app.schemas import CustomerProfile, Identifier, InboundMessage, SearchMode
from app.services import knowledge, search
from app.testing import Databases

EMBEDDER = LexicalEmbedder()


def row_counts(session: Session) -> dict[str, int]:
    tables = Base.metadata.sorted_tables
    return {table.name: session.scalar(select(func.count()).select_from(table)) or 0 for table in tables}


@pytest.fixture(scope="module")
def embedded(crm_databases: Databases) -> Iterator[Engine]:
    """A database whose articles can be found, and where it is measured when one answers a question."""
    url = crm_databases.clone()
    engine = make_engine(url)
    sessions = make_session_factory(engine)
    transaction(sessions, knowledge.embed_missing, EMBEDDER)
    calibrate = partial(search.calibrate, embedder=EMBEDDER, mode=SearchMode.HYBRID)
    transaction(sessions, calibrate, demo.ANSWERABLE, demo.UNANSWERABLE)
    yield engine
    engine.dispose()
    crm_databases.drop(url)


@pytest.fixture
def desk(embedded: Engine) -> Iterator[Session]:
    """A session whose work is undone after the test."""
    with embedded.connect() as connection, Session(connection, expire_on_commit=False) as session:
        yield session


def written(content: str, number: int = 1, **fields: object) -> InboundMessage:
    values = {
        "channel": Channel.EMAIL,
        "account": "support@example.com",
        "provider_message_id": f"m{number}",
        "thread_id": "m1",
        "sender": (Identifier(type=IdentifierType.EMAIL, value="ada@example.com", verified=True),),
        "content": content,
    }
    return InboundMessage.model_validate(values | fields)


def handle(session: Session, *messages: InboundMessage) -> Ticket | None:
    """The ticket as the last message left it."""
    for message in messages:
        ticket_id = demo.handle(session, message, embedder=EMBEDDER).ticket_id
    return session.get(Ticket, ticket_id) if ticket_id else None


KNOWN = written("How do I import tasks from a CSV file?")


@pytest.mark.parametrize(
    ("messages", "status", "assignee"),
    [
        ([KNOWN], TicketStatus.RESOLVED, demo.AGENT),
        ([written("Xyzzy plugh")], TicketStatus.WAITING, demo.AGENT),
        ([written("photo.jpg", content_type=ContentType.ATTACHMENT_NOTICE)], TicketStatus.WAITING, None),
        ([written("I want to talk to a real person.")], TicketStatus.ESCALATED, demo.TEAM_LEAD),
        ([KNOWN, written("No good.", 2)], TicketStatus.PROCESSING, demo.TEAM_LEAD),
        ([KNOWN, written("No good.", 2), written("Hello?", 3)], TicketStatus.PROCESSING, demo.TEAM_LEAD),
        ([KNOWN, written("Thanks, that worked!", 2)], TicketStatus.CLOSED, demo.AGENT),
        ([KNOWN, written("\U0001f44d", 2)], TicketStatus.RESOLVED, demo.AGENT),
        ([KNOWN, written("I am away.", 2, auto_reply=True)], TicketStatus.RESOLVED, demo.AGENT),
        ([written("Xyzzy"), written("How do I import a CSV file?", 2)], TicketStatus.RESOLVED, demo.AGENT),
    ],
)
def test_a_message_moves_its_ticket(
    desk: Session, messages: list[InboundMessage], status: TicketStatus, assignee: str | None
) -> None:
    ticket = handle(desk, *messages)

    assert ticket is not None
    assert (ticket.status, ticket.assigned_to) == (status, assignee)


def test_after_a_ticket_was_closed_a_message_opens_the_next(desk: Session) -> None:
    closed = handle(desk, KNOWN, written("Thanks!", 2))
    following = handle(desk, written("How large may an attachment be?", 3))

    assert closed is not None
    assert following is not None
    assert (closed.status, following.id != closed.id) == (TicketStatus.CLOSED, True)
    assert following.conversation_id == closed.conversation_id


def test_who_only_claims_to_be_the_customer_is_asked_for_proof(desk: Session) -> None:
    claim = (Identifier(type=IdentifierType.EMAIL, value="ada@example.com"),)
    ticket = handle(desk, KNOWN, written("Send me everything.", 2, sender=claim))

    assert ticket is not None
    assert ticket.status is TicketStatus.WAITING


@pytest.mark.parametrize("message", [written("Your bill", auto_reply=True), written("\U0001f44d")])
def test_what_nobody_has_to_answer_opens_no_ticket(desk: Session, message: InboundMessage) -> None:
    assert handle(desk, message) is None


def test_a_redelivery_counts_and_answers_nothing(desk: Session) -> None:
    handle(desk, KNOWN)
    before = row_counts(desk)
    handled = demo.handle(desk, KNOWN, embedder=EMBEDDER)

    assert handled.outcome == "already there"
    assert row_counts(desk) == before


def test_every_message_is_measured(desk: Session) -> None:
    handle(desk, KNOWN, written("I want a manager.", 2), written("\U0001f44d", 3))
    measured = desk.execute(
        select(AgentMetric.metric_type, func.sum(AgentMetric.value), func.count())
        .where(AgentMetric.channel == Channel.EMAIL)
        .group_by(AgentMetric.metric_type)
    ).all()
    totals = {metric: (total, number) for metric, total, number in measured}

    # Three of hers, and an answer to each of the two that want one.
    assert totals[MetricType.MESSAGE_VOLUME] == (5, 5)
    assert totals[MetricType.CONVERSATION_COUNT] == (1, 1)
    assert totals[MetricType.ESCALATION] == (1, 1)
    # That a person will look at it is said by a machine, and is no answer.
    assert totals[MetricType.RESPONSE_LATENCY][1] == 1
    assert totals[MetricType.SENTIMENT][1] == 2


def test_a_name_cannot_fill_the_template(desk: Session) -> None:
    handle(desk, written("I want a manager.", profile=CustomerProfile(name="{{ticket_number}}")))
    answer = desk.scalars(select(Message.content).where(Message.direction == MessageDirection.OUTBOUND)).one()

    assert answer.startswith("Hi {{ticket_number}},\n")


@pytest.mark.parametrize(
    ("content", "extra", "category", "priority"),
    [
        ("I cannot log in", {}, TicketCategory.ACCOUNT_ACCESS, TicketPriority.HIGH),
        ("The INVOICE is wrong", {}, TicketCategory.BILLING, TicketPriority.HIGH),
        ("A dark mode would be great", {}, TicketCategory.FEATURE_REQUEST, TicketPriority.LOW),
        ("It shows TC-500", {}, TicketCategory.TECHNICAL, TicketPriority.MEDIUM),
        ("This is unacceptable", {}, TicketCategory.COMPLAINT, TicketPriority.CRITICAL),
        ("Where is the trash?", {}, TicketCategory.HOW_TO, TicketPriority.MEDIUM),
        (
            "The invoice is wrong",
            {"category": "complaint"},
            TicketCategory.COMPLAINT,
            TicketPriority.CRITICAL,
        ),
        ("The invoice is wrong", {"category": "nonsense"}, TicketCategory.BILLING, TicketPriority.HIGH),
    ],
)
def test_words_and_the_form_decide_the_category(
    desk: Session, content: str, extra: dict[str, str], category: TicketCategory, priority: TicketPriority
) -> None:
    ticket = handle(desk, written(content, extra=extra))

    assert ticket is not None
    assert (ticket.category, ticket.priority) == (category, priority)


def test_the_team_lead_resolves_what_was_taken_over_once(desk: Session) -> None:
    ticket = handle(desk, KNOWN, written("No good.", 2))
    assert ticket is not None
    for _ in range(2):
        demo.finish_work(desk, [ticket.id])
    record = desk.scalars(
        select(TicketStatusChange.new_status)
        .where(TicketStatusChange.ticket_id == ticket.id, TicketStatusChange.changed_by == demo.TEAM_LEAD)
        .order_by(TicketStatusChange.seq)
    ).all()

    assert record == [TicketStatus.PROCESSING, TicketStatus.RESOLVED]


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("", 0.5, 0.5),
        ("Great, thanks!", 0.6, 1),
        ("This is still terrible", 0, 0.4),
        ("Thanks, still broken", 0.5, 0.5),
    ],
)
def test_sentiment_weighs_words(text: str, low: float, high: float) -> None:
    assert low <= demo.sentiment(text) <= high
