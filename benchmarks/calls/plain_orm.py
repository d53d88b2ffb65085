"""As most teams write it: the ORM's entities, a query a question, changes through attributes, one commit.

On a plain engine without a ping before use. Rows that the schema demands beside the obvious ones (receipts,
routes, identity events) are entities too. Naming a ticket's actor is a statement before the flush.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from _articles import candidates
from sqlalchemy import Engine, create_engine, func, insert, inspect, select, text, update
from sqlalchemy.orm import Session, sessionmaker

from app.database import normalize_url
from app.models import (
    AgentMetric,
    Channel,
    Conversation,
    ConversationRoute,
    ConversationStatus,
    Customer,
    CustomerIdentifier,
    CustomerMerge,
    CustomerMergeMove,
    CustomerRedirect,
    DeliveryStatus,
    IdentifierType,
    IdentityEvent,
    IdentityEventType,
    KnowledgeBaseEntry,
    Message,
    MessageDirection,
    MessageRole,
    MetricType,
    ProviderMessage,
    Ticket,
    TicketCategory,
    TicketFieldChange,
    TicketStatus,
    TicketStatusChange,
)

from . import operations as op
from .base import ACCOUNT
from .seed_way import reopens, spent

_MOVED = (CustomerIdentifier, Conversation, Message, Ticket, CustomerRedirect)


class PlainORM:
    """One engine, a session for each call; threads share it."""

    def __init__(self, url: str, clients: int = 1) -> None:
        self._url = url
        self._clients = clients
        self._engine = self._connected()
        self._searching: Engine | None = None

    def _connected(self, options: str = "") -> Engine:
        settings = {"options": options} if options else {}
        return create_engine(
            normalize_url(self._url), pool_size=self._clients, max_overflow=0, connect_args=settings
        )

    def method(self, operation: type[op.Operation]) -> Callable[[Any], Any]:
        engine = self._engine
        if issubclass(operation, op.Search):
            width = candidates(operation.articles)
            engine = self._searching = self._searching or self._connected(f"-c hnsw.ef_search={width}")
        work, sessions = WORK[operation.work], sessionmaker(engine, expire_on_commit=False)

        def call_in_transaction(call: Any) -> Any:
            with sessions.begin() as session:
                return work(session, call)

        return call_in_transaction

    def pids(self) -> list[int]:
        pids = []
        for engine in self._engines():
            with engine.connect() as connection:
                pids.append(connection.execute(text("SELECT pg_backend_pid()")).scalar_one())
        return pids

    def close(self) -> None:
        for engine in self._engines():
            engine.dispose()

    def _engines(self) -> list[Engine]:
        return [self._engine, *([self._searching] if self._searching else [])]


def select_one(session: Session, _: op.SelectOne) -> Any:
    return session.execute(text("SELECT 1")).scalar_one()


def find(session: Session, call: op.Find) -> Any:
    return session.scalars(
        select(Customer)
        .join(CustomerIdentifier)
        .where(
            CustomerIdentifier.identifier_type == IdentifierType.EMAIL,
            CustomerIdentifier.identifier_value == call.address.strip().lower(),
        )
    ).one_or_none()


def resolve_known(session: Session, call: op.ResolveKnown) -> Any:
    return resolve(session, call.address, None)


def resolve_new(session: Session, call: op.ResolveNew) -> Any:
    return resolve(session, call.address, call.name)


def resolve(session: Session, address: str, name: str | None) -> Customer:
    """By identifier, then by the profile's email, else a new customer."""
    address = address.strip().lower()
    customer = find(session, op.Find(address))
    if customer is None:
        customer = session.scalars(select(Customer).where(Customer.email == address)).one_or_none()
    if customer is not None:
        return customer
    _act_as(session, "system:identity")
    customer = Customer(email=address, name=name)
    session.add(customer)
    session.flush()
    identifier = CustomerIdentifier(
        customer_id=customer.id,
        identifier_type=IdentifierType.EMAIL,
        identifier_value=address,
        channel=Channel.EMAIL,
        verified=True,
    )
    session.add(identifier)
    session.flush()
    session.add(
        IdentityEvent(customer_id=customer.id, event=IdentityEventType.CREATED, actor="system:identity")
    )
    session.flush()
    return customer


def ingest(session: Session, call: op.Ingest) -> Any:
    key = (Channel.EMAIL, ACCOUNT, call.provider_message_id)
    if session.get(ProviderMessage, key) is not None:
        raise LookupError("the message was stored before")
    customer = resolve(session, call.address, None)
    conversation = session.scalars(
        select(Conversation)
        .where(
            Conversation.customer_id == customer.id,
            Conversation.channel == Channel.EMAIL,
            Conversation.status == ConversationStatus.ACTIVE,
        )
        .order_by(Conversation.created_at.desc())
        .limit(1)
    ).one_or_none()
    if conversation is None:
        conversation = Conversation(customer_id=customer.id, channel=Channel.EMAIL)
        session.add(conversation)
        session.flush()
        session.add(
            ConversationRoute(
                conversation_id=conversation.id,
                channel=Channel.EMAIL,
                account=ACCOUNT,
                identifier_type=IdentifierType.EMAIL,
                identifier_value=customer.email,
                address=customer.email,
            )
        )
    message = Message(
        conversation_id=conversation.id,
        customer_id=customer.id,
        channel=Channel.EMAIL,
        direction=MessageDirection.INBOUND,
        role=MessageRole.CUSTOMER,
        content=call.content,
        delivery_status=DeliveryStatus.DELIVERED,
        extra=call.facts(),
    )
    session.add(message)
    session.flush()
    session.add(
        ProviderMessage(
            channel=Channel.EMAIL,
            account=ACCOUNT,
            provider_message_id=call.provider_message_id,
            message_id=message.id,
        )
    )
    session.scalars(
        select(Ticket)
        .where(Ticket.conversation_id == conversation.id)
        .order_by(Ticket.created_at.desc())
        .limit(1)
    ).one_or_none()
    session.flush()
    return message


def _act_as(session: Session, actor: str, comment: str = "") -> None:
    settings = {"crm.once_actor": actor, "crm.once_comment": comment}
    session.execute(select(*(func.set_config(name, value, True) for name, value in settings.items())))


def open_ticket(session: Session, call: op.OpenTicket) -> Any:
    customer = session.get_one(Customer, call.customer_id)
    _act_as(session, call.actor)
    ticket = Ticket(
        customer_id=customer.id,
        conversation_id=call.conversation_id,
        subject=call.subject,
        category=TicketCategory.ACCOUNT_ACCESS,
        source_channel=Channel.EMAIL,
    )
    session.add(ticket)
    session.flush()
    return ticket


def change_status(session: Session, call: op.ChangeStatus) -> Any:
    ticket = session.get_one(Ticket, call.ticket_id, with_for_update=True)
    _act_as(session, call.actor, call.comment)
    ticket.status = TicketStatus(call.status)
    session.flush()
    return ticket


def assign(session: Session, call: op.Assign) -> Any:
    ticket = session.get_one(Ticket, call.ticket_id, with_for_update=True)
    _act_as(session, call.actor)
    ticket.assigned_to = call.assignee
    session.flush()
    return ticket


def reply(session: Session, call: op.Reply) -> Any:
    conversation = session.get_one(Conversation, call.conversation_id)
    message = Message(
        conversation_id=conversation.id,
        customer_id=conversation.customer_id,
        channel=conversation.channel,
        direction=MessageDirection.OUTBOUND,
        role=MessageRole.AGENT,
        content=call.content,
    )
    session.add(message)
    session.flush()
    return message


def history(session: Session, call: op.History) -> Any:
    return session.execute(
        select(Message, Conversation.channel)
        .join(Conversation, Message.conversation_id == Conversation.id)
        .where(Message.customer_id == call.customer_id)
        .order_by(Message.created_at.desc())
        .limit(call.limit)
    ).all()


def channel_metrics(session: Session, _: op.ChannelMetrics) -> Any:
    def of(kind: MetricType) -> Any:
        return AgentMetric.metric_type == kind

    def total(kind: MetricType) -> Any:
        return func.round(func.coalesce(func.sum(AgentMetric.value).filter(of(kind)), 0))

    since = datetime.now(UTC) - timedelta(hours=24)
    return session.execute(
        select(
            AgentMetric.channel,
            func.count().filter(of(MetricType.CONVERSATION_COUNT)),
            func.avg(AgentMetric.value).filter(of(MetricType.SENTIMENT)),
            func.count().filter(of(MetricType.ESCALATION)),
            func.avg(AgentMetric.value).filter(of(MetricType.RESPONSE_LATENCY)),
            total(MetricType.CONVERSATION_COUNT),
            total(MetricType.ESCALATION),
            total(MetricType.MESSAGE_VOLUME),
            total(MetricType.TOOL_CALL),
        )
        .where(AgentMetric.recorded_at >= since, AgentMetric.channel.is_not(None))
        .group_by(AgentMetric.channel)
    ).all()


def record(session: Session, call: op.Record) -> Any:
    metric = AgentMetric(metric_type=MetricType.RESPONSE_LATENCY, value=call.value, channel=Channel.EMAIL)
    session.add(metric)
    session.flush()
    return metric


def list_tickets(session: Session, call: op.ListTickets) -> Any:
    return session.scalars(
        select(Ticket)
        .where(Ticket.status == TicketStatus.OPEN, Ticket.assigned_to == call.assignee)
        .order_by(Ticket.created_at.desc())
        .limit(call.limit)
    ).all()


def lifecycle(session: Session, call: op.Lifecycle) -> Any:
    ticket = session.get_one(Ticket, call.ticket_id)
    changes = session.scalars(
        select(TicketStatusChange)
        .where(TicketStatusChange.ticket_id == ticket.id)
        .order_by(TicketStatusChange.seq)
    ).all()
    response = session.scalar(
        select(func.min(Message.created_at)).where(
            Message.conversation_id == ticket.conversation_id,
            Message.created_at >= ticket.created_at,
            Message.direction == MessageDirection.OUTBOUND,
            Message.role == MessageRole.AGENT,
        )
    )
    assignments = session.scalar(
        select(func.count()).select_from(TicketFieldChange).where(TicketFieldChange.ticket_id == ticket.id)
    )
    entries = [vars(change) for change in changes]
    return ticket, response, spent(entries, datetime.now(UTC)), reopens(entries), assignments


def search(session: Session, call: op.Search) -> Any:
    distance = KnowledgeBaseEntry.embedding.cosine_distance(list(call.query))
    return session.execute(
        select(KnowledgeBaseEntry, (1 - distance).label("similarity"))
        .where(KnowledgeBaseEntry.is_active)
        .order_by(distance)
        .limit(call.limit)
    ).all()


def merge(session: Session, call: op.Merge) -> Any:
    absorbed = session.get_one(Customer, call.absorbed_id, with_for_update=True)
    survivor = session.get_one(Customer, call.survivor_id, with_for_update=True)
    before = session.scalar(
        select(func.to_jsonb(Customer.__table__.table_valued())).where(Customer.id == absorbed.id)
    )
    done = CustomerMerge(
        survivor_id=survivor.id,
        absorbed_id=absorbed.id,
        actor=call.actor,
        reason=call.reason,
        absorbed=before,
    )
    session.add(done)
    session.flush()
    session.execute(select(func.set_config("crm.keep_updated_at", "on", True)))
    for entity in _MOVED:
        (key,) = inspect(entity).primary_key
        ids = session.scalars(select(key).where(entity.customer_id == absorbed.id)).all()
        if ids:
            name = entity.__tablename__
            rows = [{"merge_id": done.id, "table_name": name, "row_id": row_id} for row_id in ids]
            session.execute(insert(CustomerMergeMove), rows)
            session.execute(
                update(entity).where(entity.customer_id == absorbed.id).values(customer_id=survivor.id)
            )
    session.delete(absorbed)
    session.flush()
    session.add(CustomerRedirect(absorbed_id=absorbed.id, customer_id=survivor.id, merge_id=done.id))
    session.flush()


WORK: dict[str, Callable[[Session, Any], Any]] = {
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
    "search": search,
    "merge": merge,
}
"""What is done for each operation."""
