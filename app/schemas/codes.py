"""Codes as callers may write them: an enum's member, or its plain value, which type checkers know too."""

from __future__ import annotations

from typing import Literal, TypeAlias

from ..models.channel import Channel
from ..models.conversation import (
    ContentType,
    ConversationStatus,
    DeliveryStatus,
    MessageDirection,
    MessageRole,
    ResolutionType,
)
from ..models.customer import CustomerPlan, IdentifierType
from ..models.knowledge import KnowledgeCategory
from ..models.metric import MetricType
from ..models.ticket import TicketCategory, TicketPriority, TicketStatus
from .channels import LengthUnit
from .search import SearchMode
from .tickets import TicketGrouping, TimeUnit

ChannelCode: TypeAlias = Channel | Literal["email", "whatsapp", "web_form"]
ContentTypeCode: TypeAlias = ContentType | Literal["text", "html", "attachment_notice"]
ConversationStatusCode: TypeAlias = ConversationStatus | Literal["active", "closed", "escalated"]
CustomerPlanCode: TypeAlias = CustomerPlan | Literal["free", "starter", "professional", "enterprise"]
DeliveryStatusCode: TypeAlias = DeliveryStatus | Literal["pending", "delivered", "failed", "read"]
IdentifierTypeCode: TypeAlias = IdentifierType | Literal["email", "phone", "whatsapp"]
KnowledgeCategoryCode: TypeAlias = (
    KnowledgeCategory | Literal["faq", "troubleshooting", "feature", "billing", "account", "general"]
)
LengthUnitCode: TypeAlias = LengthUnit | Literal["words", "characters"]
MessageDirectionCode: TypeAlias = MessageDirection | Literal["inbound", "outbound"]
MessageRoleCode: TypeAlias = MessageRole | Literal["customer", "agent", "system"]
MetricTypeCode: TypeAlias = (
    MetricType
    | Literal[
        "response_latency", "escalation", "sentiment", "tool_call", "conversation_count", "message_volume"
    ]
)
ResolutionTypeCode: TypeAlias = ResolutionType | Literal["resolved", "escalated", "abandoned"]
SearchModeCode: TypeAlias = SearchMode | Literal["vector", "text", "hybrid"]
TicketCategoryCode: TypeAlias = (
    TicketCategory
    | Literal["account_access", "billing", "technical", "how_to", "feature_request", "complaint"]
)
TicketGroupingCode: TypeAlias = TicketGrouping | Literal["channel", "category", "priority", "assignee"]
TicketPriorityCode: TypeAlias = TicketPriority | Literal["low", "medium", "high", "critical"]
TicketStatusCode: TypeAlias = (
    TicketStatus | Literal["open", "processing", "waiting", "resolved", "escalated", "closed"]
)
TimeUnitCode: TypeAlias = TimeUnit | Literal["day", "week", "month"]
