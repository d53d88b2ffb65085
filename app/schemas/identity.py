"""Who wrote: identifiers going in, the resolved customer coming out."""

from __future__ import annotations

from enum import StrEnum
from uuid import UUID

from pydantic import StrictBool, StrictStr

from ..models.customer import IdentifierType
from .base import Schema


class Identifier(Schema):
    """An address as the channel delivered it; services bring ``value`` to its canonical form.

    ``verified`` means that the channel proved it (a WhatsApp sender, a DKIM-passed From). Anything else,
    such as an address typed into a web form, is a claim.
    """

    type: IdentifierType
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


class Outcome(StrEnum):
    MATCHED = "matched"
    CREATED = "created"
    CONFLICT = "conflict"


class Assurance(StrEnum):
    VERIFIED = "verified"
    CLAIMED = "claimed"


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
