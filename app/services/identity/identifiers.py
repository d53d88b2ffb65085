"""Identifiers are verified, attached and detached by somebody, one at a time."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import bindparam, delete, select, update
from sqlalchemy.orm import Session

from ...errors import IdentifierNotFound, IdentifierTaken, InvalidValue
from ...models import Channel, Customer, CustomerIdentifier
from ...normalization import identity_key
from ...schemas import ChannelCode, Identifier
from .._shared.acting import ACTING, acting
from .._shared.checks import checked_actor, checked_code, checked_optional_text, checked_uuid
from .._shared.redirects import lock_living
from .applying import forget_in_profile, identifier_row, insert_identifiers, lock_customer
from .erasures import refuse_erased
from .holdings import find_holdings, profile_of
from .reading import NUMBER_TYPES, key_of, lock_keys, read

_ROW = CustomerIdentifier
_IS_IT = _ROW.id == bindparam("identifier_id")
_ADDRESS = select(_ROW.identifier_type, _ROW.identifier_value, _ROW.customer_id).where(_IS_IT)
_LOCKED = select(_ROW).where(_IS_IT).with_for_update().execution_options(populate_existing=True)
# Objects of the session follow by the rows that come back.
_PROVE = (
    update(_ROW).where(_IS_IT, ACTING).values(verified=True).execution_options(synchronize_session="fetch")
)
_DETACH = (
    delete(_ROW)
    .where(
        _ROW.customer_id == bindparam("customer_id"),
        _ROW.identifier_value == bindparam("address"),
        _ROW.identifier_type.in_(bindparam("types", expanding=True)),
        ACTING,
    )
    .execution_options(synchronize_session="fetch")
)
_PROFILE = select(Customer.name, Customer.company, Customer.phone, Customer.email).where(
    Customer.id == bindparam("customer_id")
)


def verify_identifier(session: Session, identifier_id: UUID, *, actor: str) -> CustomerIdentifier:
    """Keep that its customer has proven an identifier by other means: a one-time code, a signed link.

    Takes ``resolve``'s locks, on the address and then on the customer's row (FOR NO KEY UPDATE), and the
    identifier's row lock. Nothing happens if it is verified already.

    Raises:
        IdentifierNotFound: there is no such identifier.
        InvalidValue: the actor is ill-formed.
    """
    actor = checked_actor(actor)
    identifier = _locked_identifier(session, identifier_id)
    if not identifier.verified:
        session.execute(_PROVE, {"identifier_id": identifier.id, **acting(actor)})
    return identifier


def attach_identifier(
    session: Session,
    customer_id: UUID,
    identifier: Identifier,
    *,
    channel: ChannelCode,
    actor: str,
    default_region: str | None = None,
) -> CustomerIdentifier:
    """Give the customer an identifier. One that it has already stays, and becomes verified if this one is.

    Takes ``resolve``'s lock on the identifier and the customer's row lock (FOR NO KEY UPDATE).

    Raises:
        CustomerNotFound: there is no such customer.
        CustomerErased: it was erased.
        IdentifierTaken: another customer holds it.
        InvalidValue: the identifier identifies nobody, or a field is ill-formed.
    """
    actor, channel = checked_actor(actor), checked_code("channel", channel, Channel)
    sender = read([identifier], default_region)
    if sender.ignored:
        raise InvalidValue("identifier", "identifies nobody")
    (canonical,) = sender.identifiers
    session.flush()
    lock_keys(session, [key_of(canonical)])
    customer_id = lock_living(session, checked_uuid("customer_id", customer_id), key_share=True)
    refuse_erased(session, customer_id)
    while True:
        held = find_holdings(session, [canonical], default_region=default_region)
        for holding in held:
            if holding.customer_id != customer_id:
                raise IdentifierTaken(holding.customer_id)
        own = next((holding.identifier_id for holding in held if holding.identifier_id), None)
        if own is not None and canonical.verified:
            return verify_identifier(session, own, actor=actor)
        if own is not None:
            return session.get_one(CustomerIdentifier, own, populate_existing=True)
        row = identifier_row(customer_id, canonical, channel)
        # Nothing is stored where somebody who takes none of our locks has just stored it.
        for id_ in insert_identifiers(session, [row], actor=actor, only_free=True):
            return session.get_one(CustomerIdentifier, id_)


def detach_identifier(
    session: Session, identifier_id: UUID, *, actor: str, reason: str | None = None
) -> None:
    """Take an identifier from its customer, out of the profile too: its next message is from somebody new.

    A number goes as a phone and as a WhatsApp id, whichever of the two was asked for.

    Takes ``resolve``'s locks, on the address and then on the customer's row (FOR NO KEY UPDATE), and the
    identifier's row lock.

    Raises:
        IdentifierNotFound: there is no such identifier.
        InvalidValue: the actor or the reason is ill-formed.
    """
    actor, reason = checked_actor(actor), checked_optional_text("reason", reason, max_length=10_000)
    identifier = _locked_identifier(session, identifier_id)
    customer_id, value = identifier.customer_id, identifier.identifier_value
    profile = profile_of(session.execute(_PROFILE, {"customer_id": customer_id}).one())
    forget_in_profile(session, customer_id, profile, Identifier(type=identifier.identifier_type, value=value))
    types = NUMBER_TYPES if identifier.identifier_type in NUMBER_TYPES else (identifier.identifier_type,)
    own = {"customer_id": customer_id, "address": value, "types": types}
    session.execute(_DETACH, {**own, **acting(actor, reason)})


def _locked_identifier(session: Session, identifier_id: UUID) -> CustomerIdentifier:
    """The identifier under its locks, in the order in which ``resolve`` takes them."""
    is_it = {"identifier_id": checked_uuid("identifier_id", identifier_id)}
    session.flush()
    address = session.execute(_ADDRESS, is_it).one_or_none()
    if address is None:
        raise IdentifierNotFound(identifier_id)
    lock_keys(session, [identity_key(address.identifier_type, address.identifier_value)])
    while not lock_customer(session, address.customer_id):
        # A merge was under way: the identifier is the survivor's by now.
        address = session.execute(_ADDRESS, is_it).one_or_none()
        if address is None:
            raise IdentifierNotFound(identifier_id)
    identifier = session.scalars(_LOCKED, is_it).one_or_none()
    if identifier is None:
        raise IdentifierNotFound(identifier_id)
    if identifier.customer_id != address.customer_id:
        # The undoing of a merge was under way.
        lock_customer(session, identifier.customer_id)
    return identifier
