"""Filters by a row's own columns: one definition per object, for lists, searches and the command line.

A function takes them as keywords: ``**filters: Unpack[TicketFilters]``. None is no filter. Times and numbers
are bounded by ``_from`` (inclusive) and ``_before`` (exclusive); ``extra`` is what the row's metadata must
contain, at any depth.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, TypeAlias, TypedDict, TypeVar
from uuid import UUID

from .codes import (
    ChannelCode,
    ContentTypeCode,
    DeliveryStatusCode,
    KnowledgeCategoryCode,
    MessageDirectionCode,
    MessageRoleCode,
    TicketCategoryCode,
    TicketPriorityCode,
    TicketStatusCode,
)

_T = TypeVar("_T")
OneOrSeveral: TypeAlias = _T | Collection[_T]
"""A value, or a collection of 1 to 1,000 of which one fits."""


class KnowledgeFilters(TypedDict, total=False):
    """Of articles."""

    category: OneOrSeveral[KnowledgeCategoryCode] | None
    source: OneOrSeveral[str] | None
    created_from: datetime | None
    created_before: datetime | None
    updated_from: datetime | None
    updated_before: datetime | None
    extra: Mapping[str, Any] | None


class MessageFilters(TypedDict, total=False):
    """Of messages. An absorbed customer's id leads to the living one."""

    customer_id: OneOrSeveral[UUID] | None
    conversation_id: OneOrSeveral[UUID] | None
    channel: OneOrSeveral[ChannelCode] | None
    direction: OneOrSeveral[MessageDirectionCode] | None
    role: OneOrSeveral[MessageRoleCode] | None
    content_type: OneOrSeveral[ContentTypeCode] | None
    delivery_status: OneOrSeveral[DeliveryStatusCode] | None
    created_from: datetime | None
    created_before: datetime | None
    processing_latency_ms_from: int | None
    processing_latency_ms_before: int | None
    extra: Mapping[str, Any] | None


class TicketFilters(TypedDict, total=False):
    """Of tickets. An absorbed customer's id leads to the living one."""

    ticket_number: OneOrSeveral[str] | None
    customer_id: OneOrSeveral[UUID] | None
    conversation_id: OneOrSeveral[UUID] | None
    category: OneOrSeveral[TicketCategoryCode] | None
    priority: OneOrSeveral[TicketPriorityCode] | None
    status: OneOrSeveral[TicketStatusCode] | None
    source_channel: OneOrSeveral[ChannelCode] | None
    assigned_to: OneOrSeveral[str] | None
    escalation_reason: OneOrSeveral[str] | None
    created_from: datetime | None
    created_before: datetime | None
    updated_from: datetime | None
    updated_before: datetime | None
    resolved_from: datetime | None
    resolved_before: datetime | None
    extra: Mapping[str, Any] | None


class TicketListFilters(TicketFilters, total=False):
    """Of lists of tickets, which also take the short names that their readers use."""

    channel: OneOrSeveral[ChannelCode] | None
    """``source_channel``"""
    assignee: OneOrSeveral[str] | None
    """``assigned_to``"""
    since: datetime | None
    """``created_from``"""
    until: datetime | None
    """``created_before``"""


class CommonFilters(TypedDict, total=False):
    """Of everything that can be searched; articles belong to no customer, and are not left out by one."""

    customer_id: OneOrSeveral[UUID] | None
    created_from: datetime | None
    created_before: datetime | None
