"""Who wrote: identifiers going in, the resolved customer coming out."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Literal, TypeAlias
from uuid import UUID

from pydantic import StrictBool, StrictStr

from ..models.customer import IdentifierType
from .base import Coded, Schema
from .codes import IdentifierTypeCode


class Identifier(Schema):
    """An address as the channel delivered it; services bring ``value`` to its canonical form.

    ``verified`` means that the channel proved it (a WhatsApp sender, a DKIM-passed From). Anything else,
    such as an address typed into a web form, is a claim.
    """

    type: Coded[IdentifierType, IdentifierTypeCode]
    value: StrictStr
    verified: StrictBool = False


class CustomerProfile(Schema):
    """What a channel tells about a person; it fills blanks and never overwrites."""

    name: StrictStr | None = None
    company: StrictStr | None = None


class IdentityPolicy(StrEnum):
    STRICT = "strict"
    """Claims never cross, proof does."""
    LENIENT = "lenient"
    """Every identifier counts as proof."""


IdentityPolicyCode: TypeAlias = IdentityPolicy | Literal["strict", "lenient"]


class Outcome(StrEnum):
    MATCHED = "matched"
    CREATED = "created"
    CONFLICT = "conflict"


class Assurance(StrEnum):
    VERIFIED = "verified"
    CLAIMED = "claimed"


class ErasedBefore(Schema):
    """Somebody with one of these addresses was erased. The caller decides whether to keep the person anew."""

    erasure_id: UUID
    customer_id: UUID
    erased_at: datetime
    identifiers: tuple[Identifier, ...]
    """Those of the call that the erased customer had."""


class Resolution(Schema):
    """What ``identity.resolve`` decided, and on what evidence. Identifiers are in canonical form."""

    customer_id: UUID
    outcome: Outcome
    assurance: Assurance
    """Disclose history to the writer only on ``verified``."""
    matched_by: Identifier | None = None
    attached: tuple[Identifier, ...] = ()
    candidates: tuple[UUID, ...] = ()
    """Other customers that hold one of the identifiers."""
    ignored: tuple[Identifier, ...] = ()
    """Values that identify nobody, such as noreply@ addresses."""
    erased_before: tuple[ErasedBefore, ...] = ()
    """Told once, when a customer is created or gets an address, to callers who pass their ``erasure_key``."""
