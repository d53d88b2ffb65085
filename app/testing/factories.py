"""A factory for every table, building into the session of whoever uses them.

``with bound_to(session): CustomerFactory()`` flushes a row and reads back what the database filled in; it
never commits. The pytest fixture ``session`` is bound already. Only the tickets' record has no factories:
triggers alone may write it. ``TicketFactory(status=...)`` gets there by legal steps, and so the ticket has a
legal history. Owners are passed as rows or as ids: ``customer=ada`` or ``customer_id=ada.id``.
"""
# factory_boy says that it is typed, and is not:
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

from typing import Any

from factory.declarations import (
    LazyAttribute,
    LazyAttributeSequence,
    LazyFunction,
    Maybe,
    RelatedFactory,
    SelfAttribute,
    Sequence,
    Trait,
)
from sqlalchemy import Text, bindparam, func, select
from sqlalchemy.orm import DeclarativeBase, Session

from .. import models
from ..models import (
    OWN_TYPE,
    Channel,
    ChannelTone,
    ConversationStatus,
    KnowledgeCategory,
    MessageDirection,
    MessageRole,
    MetricType,
    ResolutionType,
    TicketCategory,
    TicketStatus,
)
from ..models.ticket import ONCE
from ._factory import CRMFactory, current_session, owner, row

_ANSWERS = {
    Channel.EMAIL: (500, ChannelTone.FORMAL),
    Channel.WHATSAPP: (1600, ChannelTone.CONVERSATIONAL),
    Channel.WEB_FORM: (300, ChannelTone.SEMI_FORMAL),
}
_STEPS = {
    TicketStatus.OPEN: [],
    TicketStatus.PROCESSING: [TicketStatus.PROCESSING],
    TicketStatus.WAITING: [TicketStatus.PROCESSING, TicketStatus.WAITING],
    TicketStatus.ESCALATED: [TicketStatus.PROCESSING, TicketStatus.ESCALATED],
    TicketStatus.RESOLVED: [TicketStatus.PROCESSING, TicketStatus.RESOLVED],
    TicketStatus.CLOSED: [TicketStatus.PROCESSING, TicketStatus.RESOLVED, TicketStatus.CLOSED],
}


class CustomerFactory(CRMFactory[models.Customer]):
    """Traits ``with_email`` and ``with_whatsapp``: an identifier that the channel has proved."""

    class Meta:
        model = models.Customer

    class Params:
        with_email = Trait(
            email_identifier=RelatedFactory(
                f"{__name__}.CustomerIdentifierFactory",
                factory_related_name="customer",
                identifier_value=SelfAttribute("..email"),
                verified=True,
            )
        )
        with_whatsapp = Trait(
            phone=Sequence(lambda n: f"+49151{n:08}"),
            whatsapp_identifier=RelatedFactory(
                f"{__name__}.CustomerIdentifierFactory",
                factory_related_name="customer",
                channel=Channel.WHATSAPP,
                identifier_value=SelfAttribute("..phone"),
                verified=True,
            ),
        )

    email = Sequence(lambda n: f"person{n}@example.com")
    name = "Ada Example"


class CustomerIdentifierFactory(CRMFactory[models.CustomerIdentifier]):
    """A claim; ``verified=True`` makes it a proof. ``channel`` decides on its type."""

    class Meta:
        model = models.CustomerIdentifier

    customer_id = None
    customer = owner("customer_id", models.Customer, CustomerFactory)
    channel = Channel.EMAIL
    identifier_type = LazyAttribute(lambda row: OWN_TYPE[Channel(row.channel)])
    identifier_value = LazyAttributeSequence(
        lambda row, n: f"other{n}@example.com" if row.identifier_type == "email" else f"+49152{n:08}"
    )


class ConversationFactory(CRMFactory[models.Conversation]):
    """Traits: ``with_messages`` (a question and its answer), ``closed``."""

    class Meta:
        model = models.Conversation

    class Params:
        with_messages = Trait(
            question=RelatedFactory(f"{__name__}.MessageFactory", factory_related_name="conversation"),
            answer=RelatedFactory(
                f"{__name__}.MessageFactory", factory_related_name="conversation", outbound=True
            ),
        )
        closed = Trait(
            status=ConversationStatus.CLOSED,
            resolution_type=ResolutionType.RESOLVED,
            closed_at=LazyFunction(func.now),
        )

    customer_id = None
    customer = owner("customer_id", models.Customer, CustomerFactory)
    channel = Channel.EMAIL


class MessageFactory(CRMFactory[models.Message]):
    """A customer's message; trait ``outbound``: the agent's answer."""

    class Meta:
        model = models.Message

    class Params:
        outbound = Trait(
            direction=MessageDirection.OUTBOUND,
            role=MessageRole.AGENT,
            content="Open Settings and press Reset.",
        )

    customer_id = None
    customer = Maybe("customer_id", row("customer_id", models.Customer))
    conversation_id = None
    conversation = owner(
        "conversation_id",
        models.Conversation,
        ConversationFactory,
        customer=Maybe(
            SelfAttribute("..customer"),
            SelfAttribute("..customer"),
            owner("customer_id", models.Customer, CustomerFactory),
        ),
    )
    channel = SelfAttribute("conversation.channel")
    direction = MessageDirection.INBOUND
    role = MessageRole.CUSTOMER
    content = "How do I reset my password?"

    @classmethod
    def _adjust_kwargs(cls, **kwargs: Any) -> dict[str, Any]:
        customer_id = kwargs["customer_id"] or kwargs["conversation"].customer_id
        return super()._adjust_kwargs(**kwargs | {"customer_id": customer_id})


class ConversationRouteFactory(CRMFactory[models.ConversationRoute]):
    class Meta:
        model = models.ConversationRoute

    conversation_id = None
    conversation = owner("conversation_id", models.Conversation, ConversationFactory)
    channel = SelfAttribute("conversation.channel")
    account = "support@techcorp.example"
    identifier_type = LazyAttribute(lambda row: OWN_TYPE[Channel(row.channel)])
    identifier_value = LazyAttributeSequence(
        lambda row, n: f"writer{n}@example.com" if row.identifier_type == "email" else f"+49157{n:08}"
    )
    address = LazyAttribute(
        lambda row: f"whatsapp:{row.identifier_value}" if row.channel == "whatsapp" else row.identifier_value
    )


class ProviderMessageFactory(CRMFactory[models.ProviderMessage]):
    """The provider's id of ``message``, which is a new one unless it is passed."""

    class Meta:
        model = models.ProviderMessage

    class Params:
        message = owner("message_id", models.Message, MessageFactory)

    message_id = None
    channel = SelfAttribute("message.channel")
    account = "support@techcorp.example"
    provider_message_id = Sequence(lambda n: f"{n}@mail.example.com")


class OutboxEntryFactory(CRMFactory[models.OutboxEntry]):
    """``message``, which is to be sent."""

    class Meta:
        model = models.OutboxEntry

    class Params:
        message = owner("message_id", models.Message, MessageFactory, outbound=True)

    message_id = None
    conversation_id = SelfAttribute("message.conversation_id")


class EarlyDeliveryReportFactory(CRMFactory[models.EarlyDeliveryReport]):
    class Meta:
        model = models.EarlyDeliveryReport

    channel = Channel.WHATSAPP
    account = "+14155238886"
    provider_message_id = Sequence(lambda n: f"SM{n}")
    status = models.DeliveryStatus.DELIVERED


class ToolCallFactory(CRMFactory[models.ToolCall]):
    """A call that an agent made."""

    class Meta:
        model = models.ToolCall

    class Params:
        conversation = owner("conversation_id", models.Conversation, ConversationFactory)

    conversation_id = None
    idempotency_key = Sequence(lambda n: f"call_{n}")
    tool = "add_note"
    arguments_hash = bytes(32)
    actor = "ai:agent"
    result = LazyFunction(dict)


class TicketFactory(CRMFactory[models.Ticket]):
    """A ticket that went to ``status`` by legal steps, each recorded as done by ``actor``.

    Traits: ``resolved``, ``escalated`` and ``closed`` add what agents note on the way.
    """

    class Meta:
        model = models.Ticket

    class Params:
        escalated = Trait(status=TicketStatus.ESCALATED, escalation_reason="asks for a refund")
        resolved = Trait(status=TicketStatus.RESOLVED, resolution_notes="sent the steps")
        closed = Trait(status=TicketStatus.CLOSED, resolution_notes="sent the steps")

    conversation_id = None
    conversation = Maybe("conversation_id", row("conversation_id", models.Conversation))
    customer_id = Maybe("conversation", SelfAttribute("conversation.customer_id"))
    customer = owner("customer_id", models.Customer, CustomerFactory)
    subject = "Cannot sign in"
    category = TicketCategory.ACCOUNT_ACCESS
    source_channel = Maybe("conversation", SelfAttribute("conversation.channel"), Channel.EMAIL)
    status = TicketStatus.OPEN
    actor = "ai:support-agent"

    @classmethod
    def _build(cls, model_class: type[DeclarativeBase], *args: Any, **kwargs: Any) -> Any:
        del kwargs["actor"]
        return super()._build(model_class, *args, **kwargs)

    @classmethod
    def _create(cls, model_class: type[DeclarativeBase], *args: Any, **kwargs: Any) -> Any:
        session, actor, status = current_session(), kwargs.pop("actor"), TicketStatus(kwargs.pop("status"))
        _act_as(session, actor)
        ticket = super()._create(model_class, *args, **kwargs)
        for step in _STEPS[status]:
            _act_as(session, actor)
            ticket.status = step
            if step is TicketStatus.RESOLVED and "resolved_at" in kwargs:
                ticket.resolved_at = kwargs["resolved_at"]
            session.flush()
        return ticket


class TicketLinkFactory(CRMFactory[models.TicketLink]):
    """``ticket``, opened as the follow-up of ``follows_ticket``, which was closed."""

    class Meta:
        model = models.TicketLink

    class Params:
        follows_ticket = owner("follows_ticket_id", models.Ticket, TicketFactory, closed=True)
        ticket = owner(
            "ticket_id",
            models.Ticket,
            TicketFactory,
            customer_id=SelfAttribute("..follows_ticket.customer_id"),
        )

    ticket_id = None
    follows_ticket_id = None
    created_by = "human:7"


class KnowledgeBaseEntryFactory(CRMFactory[models.KnowledgeBaseEntry]):
    class Meta:
        model = models.KnowledgeBaseEntry

    title = "Resetting a password"
    content = "Open Settings, press Reset, and follow the link in the message that arrives."
    category = KnowledgeCategory.ACCOUNT


class ChannelConfigFactory(CRMFactory[models.ChannelConfig]):
    """The channel's one row, changed to what is passed: migrations seed all three."""

    class Meta:
        model = models.ChannelConfig

    channel = Channel.EMAIL
    max_response_length = LazyAttribute(lambda row: _ANSWERS[Channel(row.channel)][0])
    tone = LazyAttribute(lambda row: _ANSWERS[Channel(row.channel)][1])

    @classmethod
    def _create(cls, model_class: type[DeclarativeBase], *args: Any, **kwargs: Any) -> Any:
        session = current_session()
        config = session.scalar(
            select(models.ChannelConfig).where(models.ChannelConfig.channel == kwargs["channel"])
        )
        if config is None:
            return super()._create(model_class, *args, **kwargs)
        for name, value in kwargs.items():
            setattr(config, name, value)
        session.flush()
        return config


class AgentMetricFactory(CRMFactory[models.AgentMetric]):
    class Meta:
        model = models.AgentMetric

    metric_type = MetricType.RESPONSE_LATENCY
    channel = Channel.EMAIL
    value = 1200.0


def _act_as(session: Session, actor: str) -> None:
    """Name the actor of the next change of a ticket, and of that one only."""
    session.execute(_ACT_AS, {"actor": actor})


_ACT_AS = select(func.set_config(f"{ONCE}actor", bindparam("actor", type_=Text()), True))
