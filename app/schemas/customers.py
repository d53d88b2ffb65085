"""A customer as agents and web services read it, and what may be changed about it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypedDict
from uuid import UUID

from pydantic import Field

from ..models.channel import Channel
from ..models.customer import CustomerPlan, IdentifierType
from .base import OrText, Schema
from .codes import CustomerPlanCode


class CustomerIdentifierDetails(Schema):
    """An address by which the customer is known."""

    id: UUID
    type: OrText[IdentifierType]
    value: str
    """Canonical form."""
    verified: bool
    """The channel proved it; else it is a claim."""
    channel: OrText[Channel]
    """Where it was first seen."""


class CustomerDetails(Schema):
    """One customer, with its addresses."""

    id: UUID
    """The living one's, also where an absorbed one was asked for."""
    name: str | None
    company: str | None
    plan: OrText[CustomerPlan] | None
    contact_email: str | None
    """None where no address to write to is known."""
    phone: str | None
    extra: dict[str, Any] = Field(default_factory=dict)
    created_at: datetime | None
    identifiers: tuple[CustomerIdentifierDetails, ...] = ()
    """Oldest first."""


class CustomerChanges(TypedDict, total=False):
    """What ``customers.update_customer`` may change; what is not passed stays."""

    name: str | None
    company: str | None
    plan: CustomerPlanCode
    extra: Mapping[str, Any]
    """Keys to set; None takes a key away."""
