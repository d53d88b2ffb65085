"""Two customers who may be one person, and what speaks for it and against it."""

from __future__ import annotations

import math
from enum import StrEnum
from uuid import UUID

from .base import Schema


class Signal(StrEnum):
    """What two customers are compared by."""

    PRIOR = "prior"
    NUMBER = "number"
    MAILBOX = "mailbox"
    LOCAL_PART = "local part"
    NAME = "name"
    DOMAIN = "domain"
    COMPANY = "company"
    CONFLICT = "conflict"
    REASSIGNED = "reassigned"
    UNMERGED = "unmerged"
    PROOFS = "proofs"


class Evidence(Schema):
    """One comparison. Positive bits speak for one person, negative ones for two; one bit doubles the odds."""

    signal: Signal
    weight_bits: float
    """A whole number of quarter bits, so that weights add up without rounding."""
    detail: str
    """In words and without personal data."""


class DuplicateCandidate(Schema):
    """Two living customers, the older one first."""

    a_id: UUID
    b_id: UUID
    evidence: tuple[Evidence, ...]
    """The prior first, then the strongest."""

    @property
    def score(self) -> float:
        """The evidence's sum: how likely they are one person, as the logarithm to base 2 of the odds."""
        return math.fsum(evidence.weight_bits for evidence in self.evidence)
