"""The tables. Everything public is importable from here."""

from .base import Base, uuid7
from .channel import Channel, ChannelConfig, ChannelTone
from .conversation import (
    ContentType,
    Conversation,
    ConversationRoute,
    ConversationStatus,
    DeliveryStatus,
    InboundReceipt,
    Message,
    MessageDirection,
    MessageRole,
    ResolutionType,
)
from .customer import Customer, CustomerIdentifier, CustomerPlan, IdentifierType
from .identity import CustomerMerge, CustomerMergeMove, CustomerRedirect, IdentityEvent, IdentityEventType
from .knowledge import EMBEDDING_DIMENSIONS, KnowledgeBaseEntry, KnowledgeCategory
from .metric import AgentMetric, MetricType
from .ticket import (
    FINISHED,
    TRANSITIONS,
    Ticket,
    TicketCategory,
    TicketField,
    TicketFieldChange,
    TicketLink,
    TicketPriority,
    TicketRecordHead,
    TicketStatus,
    TicketStatusChange,
)

__all__ = [
    "EMBEDDING_DIMENSIONS",
    "FINISHED",
    "TRANSITIONS",
    "AgentMetric",
    "Base",
    "Channel",
    "ChannelConfig",
    "ChannelTone",
    "ContentType",
    "Conversation",
    "ConversationRoute",
    "ConversationStatus",
    "Customer",
    "CustomerIdentifier",
    "CustomerMerge",
    "CustomerMergeMove",
    "CustomerPlan",
    "CustomerRedirect",
    "DeliveryStatus",
    "IdentifierType",
    "IdentityEvent",
    "IdentityEventType",
    "InboundReceipt",
    "KnowledgeBaseEntry",
    "KnowledgeCategory",
    "Message",
    "MessageDirection",
    "MessageRole",
    "MetricType",
    "ResolutionType",
    "Ticket",
    "TicketCategory",
    "TicketField",
    "TicketFieldChange",
    "TicketLink",
    "TicketPriority",
    "TicketRecordHead",
    "TicketStatus",
    "TicketStatusChange",
    "uuid7",
]
