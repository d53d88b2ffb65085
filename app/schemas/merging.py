"""What a merge would do, and what undoing one did."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from ..models.channel import Channel
from .base import Schema


class MergePlan(Schema):
    """What ``merge`` would do with the customers as they are; nothing was written."""

    survivor_id: UUID
    absorbed_id: UUID
    rows: Mapping[str, int]
    """Rows that would move, by table; a table of another application has its schema, if it is another."""
    blocked: Mapping[str, str]
    """Tables of other applications whose rows cannot move, and why: ``merge`` raises ``MergeBlocked``."""
    fills: tuple[str, ...]
    """Blank profile fields of the survivor that the absorbed customer fills."""
    keeps: tuple[str, ...]
    """Profile fields in which the two differ: the survivor's stay."""
    both_open: tuple[Channel, ...]
    """Channels on which both have an open conversation; both stay open."""
    fingerprint: str
    """Pass it to ``merge`` to do exactly this or nothing."""


class UnmergeReport(Schema):
    """What went back to the restored customer, and what could not be decided."""

    merge_id: UUID
    restored_id: UUID
    survivor_id: UUID
    """The living customer that the rows were taken from."""
    returned: Mapping[str, int]
    """Rows that went back, by table."""
    stayed: Mapping[str, int]
    """Rows of the merge that are no longer the survivor's to give: deleted or moved on since, or with their
    table or its foreign key gone."""
    messages_since: int
    """Messages that came after the merge in returned conversations; they stay with the survivor."""
    undecided_fields: tuple[str, ...]
    """Profile fields that the merge filled and somebody changed since, or an address taken meanwhile."""
