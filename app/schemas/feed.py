"""What changed."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from ..models.feed import FeedSubject
from .base import OrText, Schema


class Change(Schema):
    """One row that changed, without its content."""

    token: str
    """Where to go on after this change."""
    subject: OrText[FeedSubject]
    id: UUID
    """Of the customer, conversation, message or ticket; of ``identity``, the event's."""
    customer_id: UUID
    """Whose it was then; a merge changes that, and is told."""
    change: str
    """``insert``, ``update`` or ``delete``; of ``identity`` the event, such as ``attached`` or ``erased``."""
    changed_at: datetime


class Changes(Schema):
    """A page of the feed."""

    changes: tuple[Change, ...]
    token: str | None
    """What to pass as ``after`` next time; None before the first change of all."""
