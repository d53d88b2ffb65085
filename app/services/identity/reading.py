"""What a caller passes about a person, read once: checked, canonical, with its keys and their locks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import ARRAY, Text, bindparam, text
from sqlalchemy.orm import Session

from ...errors import InvalidValue
from ...models import Channel, IdentifierType
from ...normalization import (
    delivered_form,
    identity_key,
    is_blocked,
    normalize_identifier,
    normalize_name,
)
from ...schemas import (
    ChannelCode,
    CustomerProfile,
    Identifier,
    IdentityPolicy,
    IdentityPolicyCode,
)
from .._shared.checks import checked_code, checked_schema

NUMBER_TYPES = (IdentifierType.PHONE, IdentifierType.WHATSAPP)
MAX_IDENTIFIERS = 20
SHORTEST_KEY = 16

LOCK = text("SELECT lock_addresses(:names)").bindparams(bindparam("names", type_=ARRAY(Text)))


@dataclass(frozen=True)
class Address:
    """One identifier as it came, and what it means."""

    type: IdentifierType
    spelling: str
    canonical: str
    mailbox: str
    """Where answers arrive: another one than ``canonical`` if the spelling only folds to it."""


@dataclass(frozen=True)
class Sender:
    """Everything that a message tells about who wrote it."""

    identifiers: tuple[Identifier, ...]
    """In canonical form, without repetitions; a proof stands before a claim of the same."""
    ignored: tuple[Identifier, ...]
    """Those that identify nobody."""
    ill_formed: tuple[Identifier, ...]
    """Typed ones that cannot be read."""
    addresses: tuple[Address, ...]
    """Of each one that can be read, in the order in which they came."""


@dataclass(frozen=True)
class Call:
    """What ``resolve`` is asked, checked and in canonical form."""

    identifiers: tuple[Identifier, ...]
    ignored: tuple[Identifier, ...]
    channel: Channel
    profile: CustomerProfile
    policy: IdentityPolicy
    default_region: str | None
    erasure_key: str | None = None
    """With it the caller is told who was erased before."""


def read(identifiers: Sequence[Identifier], default_region: str | None, *, lenient: bool = False) -> Sender:
    """Bring each identifier to its canonical form, once.

    ``lenient`` passes over what somebody typed wrong beside the first identifier, and reports it.

    Raises:
        InvalidValue: no identifier, too many of them, or an ill-formed one.
    """
    if not isinstance(identifiers, Sequence) or not 1 <= len(identifiers) <= MAX_IDENTIFIERS:
        raise InvalidValue("identifiers", f"must be a list of 1 to {MAX_IDENTIFIERS}")
    by_key: dict[str, Identifier] = {}
    ignored: list[Identifier] = []
    ill_formed: list[Identifier] = []
    addresses: list[Address] = []
    for identifier in (checked_schema("identifier", one, Identifier) for one in identifiers):
        try:
            address = _address(identifier, default_region)
        except InvalidValue as error:
            if not lenient or not addresses or identifier.verified or error.field == "default_region":
                raise
            ill_formed.append(identifier)
            continue
        addresses.append(address)
        # A spelling that only folds to the mailbox may be somebody else's: it can claim it and not prove it.
        verified = identifier.verified and address.mailbox == address.canonical
        canonical = Identifier(type=address.type, value=address.canonical, verified=verified)
        if is_blocked(address.type, address.canonical):
            ignored.append(canonical)
            continue
        key = key_of(canonical)
        if key not in by_key or (verified and not by_key[key].verified):
            by_key[key] = canonical
    return Sender(tuple(by_key.values()), tuple(ignored), tuple(ill_formed), tuple(addresses))


def call_of(
    sender: Sender,
    *,
    channel: ChannelCode,
    profile: CustomerProfile | None,
    policy: IdentityPolicyCode,
    default_region: str | None,
    erasure_key: str | None = None,
) -> Call:
    """The call about a sender that was read before.

    Raises:
        InvalidValue: no such channel or policy, a profile that is none, or a key that is too short.
    """
    return Call(
        identifiers=sender.identifiers,
        ignored=(*sender.ignored, *sender.ill_formed),
        channel=checked_code("channel", channel, Channel),
        profile=_clean(profile),
        policy=checked_code("policy", policy, IdentityPolicy),
        default_region=default_region,
        erasure_key=None if erasure_key is None else checked_key(erasure_key),
    )


def checked_key(value: object) -> str:
    """A secret long enough that nobody tries it out.

    Raises:
        InvalidValue: it is none. The message does not repeat it.
    """
    if not isinstance(value, str) or len(value) < SHORTEST_KEY:
        raise InvalidValue("erasure_key", f"must be text of at least {SHORTEST_KEY} characters")
    return value


def lock_keys(session: Session, keys: Iterable[str]) -> None:
    """Lock addresses until the transaction ends, against all who resolve, attach or detach them."""
    session.execute(LOCK, {"names": list(keys)})


def key_of(identifier: Identifier) -> str:
    return identity_key(identifier.type, identifier.value)


def is_number(identifier: Identifier) -> bool:
    return identifier.type in NUMBER_TYPES and identifier.value.startswith("+")


def _address(identifier: Identifier, default_region: str | None) -> Address:
    type_, value = identifier.type, identifier.value
    canonical = normalize_identifier(type_, value, default_region=default_region)
    return Address(type_, value.strip(), canonical, delivered_form(type_, value, canonical))


_NO_PROFILE = CustomerProfile()


def _clean(profile: CustomerProfile | None) -> CustomerProfile:
    if profile is None:
        return _NO_PROFILE
    profile = checked_schema("profile", profile, CustomerProfile)
    return CustomerProfile(name=normalize_name(profile.name), company=normalize_name(profile.company))
