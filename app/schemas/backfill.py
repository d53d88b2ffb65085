"""What normalising the stored addresses would change, did change, and left to a person."""

from __future__ import annotations

from enum import StrEnum
from uuid import UUID

from pydantic import Field

from ..models.customer import IdentifierType
from .base import Schema


class Fate(StrEnum):
    """What becomes of a value that is not in canonical form."""

    REWRITTEN = "rewritten"
    JOINED = "joined"
    """Its customer has the canonical value in another row; the two become one."""
    COLLISION = "collision"
    """Other customers have the value too, in some spelling: left as it is."""
    UNREADABLE = "unreadable"
    """No canonical form is known: left as it is."""

    @property
    def is_mended(self) -> bool:
        return self in {Fate.REWRITTEN, Fate.JOINED}


class Uncanonical(Schema):
    """A stored address in a spelling that ``resolve`` would not store."""

    column: str
    """``customer_identifiers.identifier_value``, ``customers.email`` or ``customers.phone``."""
    row_id: UUID
    customer_id: UUID
    type: IdentifierType
    stored: str = Field(repr=False)
    canonical: str | None = Field(default=None, repr=False)
    """None where it cannot be read."""
    fate: Fate
    holders: tuple[UUID, ...] = ()
    """The other customers of a collision."""
    problem: str | None = None
    """Why it cannot be read; without the value."""


class NormalizationReport(Schema):
    """Every value that is not in canonical form, and its fate."""

    checked: int
    """Values that were read."""
    values: tuple[Uncanonical, ...]
    remaining: int = 0
    """How many more of ``values`` the next call can rewrite."""

    def of(self, fate: Fate) -> tuple[Uncanonical, ...]:
        return tuple(value for value in self.values if value.fate is fate)
