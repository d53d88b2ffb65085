"""One person is one customer, whatever channel they write on."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

from sqlalchemy import ARRAY, Text, bindparam, delete, func, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from ..errors import ConcurrentChange, IdentifierNotFound, IdentifierTaken, InvalidValue
from ..models import Channel, Customer, CustomerIdentifier, IdentifierType, IdentityEvent, IdentityEventType
from ..normalization import (
    PLACEHOLDER_DOMAIN,
    identity_key,
    is_blocked,
    normalize_identifier,
    normalize_name,
)
from ..schemas import Assurance, CustomerProfile, Identifier, IdentityPolicy, Outcome, Resolution
from ._applying import Call, addresses_in, apply, identifier_row
from ._events import event, record
from ._input import checked_actor, checked_code, checked_kind, checked_optional_text, checked_uuid
from ._living import lock_living
from ._matching import NUMBER_TYPES, Decision, decide, find_holdings, holdings, key_of

OWN_TYPE = {
    Channel.EMAIL: IdentifierType.EMAIL,
    Channel.WHATSAPP: IdentifierType.WHATSAPP,
    Channel.WEB_FORM: IdentifierType.EMAIL,
}
MAX_IDENTIFIERS = 20
_ATTEMPTS = 3

# Sorted, so that two calls with overlapping identifiers cannot wait for each other in a circle.
_LOCK = text("""
    SELECT pg_advisory_xact_lock(key)
    FROM (
        SELECT DISTINCT hashtextextended('crm/identity/' || name, 0) AS key
        FROM unnest(:names) AS name ORDER BY key
    ) AS sorted
""").bindparams(bindparam("names", type_=ARRAY(Text)))


def find_customer(
    session: Session, identifier: Identifier, *, default_region: str | None = None
) -> Customer | None:
    """The customer who holds ``identifier`` in any spelling, verified or claimed; None if nobody does.

    One statement, no lock. A customer that another backend stored without identifier rows is found by its
    profile's email or phone.

    Raises:
        InvalidValue: the identifier is ill-formed.
    """
    known, _ = canonical([identifier], default_region)
    if not known:
        return None
    held = holdings(known).subquery()
    best = (
        select(held.c.customer_id)
        .order_by(
            held.c.identifier_id.is_(None), held.c.verified.desc(), held.c.created_at, held.c.customer_id
        )
        .limit(1)
        .scalar_subquery()
    )
    return session.scalars(select(Customer).where(Customer.id == best)).one_or_none()


def resolve(
    session: Session,
    identifiers: Sequence[Identifier],
    *,
    channel: Channel,
    profile: CustomerProfile | None = None,
    policy: IdentityPolicy = IdentityPolicy.STRICT,
    default_region: str | None = None,
) -> Resolution:
    """Find the customer behind the identifiers of one message, or create one.

    However many callers meet the same new person at once, there is one customer, and no caller sees an error:
    advisory locks on all canonical keys of the call are held until the caller's transaction ends, and the
    unique key stands behind them. A known sender with nothing new costs one statement and takes no lock.
    ``profile`` fills blanks and never overwrites.

    Raises:
        InvalidValue: no identifier, too many of them, or an ill-formed one.
    """
    known, ignored = canonical(identifiers, default_region)
    call = Call(
        known=known,
        ignored=ignored,
        channel=checked_code("channel", channel, Channel),
        profile=_clean(profile),
        policy=checked_code("policy", policy, IdentityPolicy),
    )
    decision, to_fill = _decide(session, call)
    if not _is_settled(decision, to_fill):
        session.execute(_LOCK, {"names": [key_of(identifier) for identifier in known]})
        decision = _write(session, call)
    return _resolution(call, decision)


def _write(session: Session, call: Call) -> Decision:
    """Decide under the locks and write it down; again, if somebody who takes none of them got in between."""
    session.flush()
    failures = 0
    while True:
        decision, to_fill = _decide(session, call)
        if _is_settled(decision, to_fill):
            return decision
        # The customer first, as a merge locks it; one that is gone is not found again.
        if decision.customer_id is not None and not _lock_customer(session, decision.customer_id):
            continue
        try:
            with session.begin_nested():
                return apply(session, call, decision, to_fill)
        except IntegrityError:
            failures += 1
            if failures == _ATTEMPTS:
                # Not chained: the database's text repeats the address.
                raise ConcurrentChange from None


def _lock_customer(session: Session, customer_id: UUID) -> bool:
    locked = select(Customer.id).where(Customer.id == customer_id).with_for_update(key_share=True)
    return session.scalar(locked) is not None


def verify_identifier(session: Session, identifier_id: UUID, *, actor: str) -> CustomerIdentifier:
    """Keep that its customer has proven an identifier by other means: a one-time code, a signed link.

    Takes ``resolve``'s lock on the address and then the identifier's row lock. Nothing happens if it is
    verified already.

    Raises:
        IdentifierNotFound: there is no such identifier.
        InvalidValue: the actor is ill-formed.
    """
    actor = checked_actor(actor)
    identifier = _locked_identifier(session, identifier_id)
    if not identifier.verified:
        identifier.verified = True
        session.flush()
        _record(session, IdentityEventType.VERIFIED, identifier, actor)
    return identifier


def attach_identifier(
    session: Session,
    customer_id: UUID,
    identifier: Identifier,
    *,
    channel: Channel,
    actor: str,
    default_region: str | None = None,
) -> CustomerIdentifier:
    """Give the customer an identifier. One that it has already stays, and becomes verified if this one is.

    Takes ``resolve``'s lock on the identifier and the customer's row lock (FOR NO KEY UPDATE).

    Raises:
        CustomerNotFound: there is no such customer.
        IdentifierTaken: another customer holds it.
        InvalidValue: the identifier identifies nobody, or a field is ill-formed.
    """
    actor, channel = checked_actor(actor), checked_code("channel", channel, Channel)
    known, ignored = canonical([identifier], default_region)
    if ignored:
        raise InvalidValue("identifier", "identifies nobody")
    session.flush()
    session.execute(_LOCK, {"names": [key_of(known[0])]})
    customer_id = lock_living(session, checked_uuid("customer_id", customer_id), key_share=True)
    while True:
        held = find_holdings(session, known)
        for holding in held:
            if holding.customer_id != customer_id:
                raise IdentifierTaken(holding.customer_id)
        own = next((holding.identifier_id for holding in held if holding.identifier_id), None)
        if own is not None and known[0].verified:
            return verify_identifier(session, own, actor=actor)
        if own is not None:
            return session.get_one(CustomerIdentifier, own, populate_existing=True)
        row = upsert(CustomerIdentifier).values(identifier_row(customer_id, known[0], channel))
        given = row.on_conflict_do_nothing().returning(CustomerIdentifier)
        attached = session.scalars(given).one_or_none()
        # None: somebody who takes none of our locks has just stored it.
        if attached is not None:
            _record(session, IdentityEventType.ATTACHED, attached, actor)
            return attached


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
    identifier = _locked_identifier(session, identifier_id, with_customer=True)
    value = identifier.identifier_value
    profile = update(Customer).where(Customer.id == identifier.customer_id)
    if identifier.identifier_type is IdentifierType.EMAIL:
        placeholder = f"{identifier.customer_id}@{PLACEHOLDER_DOMAIN}"
        session.execute(profile.where(func.lower(Customer.email) == value).values(email=placeholder))
    else:
        digits = func.regexp_replace(Customer.phone, "[^0-9]", "", "g")
        session.execute(profile.where(digits == value.removeprefix("+")).values(phone=None))
    row = CustomerIdentifier
    types = NUMBER_TYPES if identifier.identifier_type in NUMBER_TYPES else (identifier.identifier_type,)
    own = row.customer_id == identifier.customer_id, row.identifier_value == value
    for same in session.scalars(select(row).where(*own, row.identifier_type.in_(types))).all():
        _record(session, IdentityEventType.DETACHED, same, actor, reason)
    session.execute(delete(row).where(*own, row.identifier_type.in_(types)))


def _locked_identifier(
    session: Session, identifier_id: UUID, *, with_customer: bool = False
) -> CustomerIdentifier:
    """The identifier under its locks, in the order in which ``resolve`` takes them."""
    wanted = CustomerIdentifier.id == checked_uuid("identifier_id", identifier_id)
    row = CustomerIdentifier
    session.flush()
    found = session.execute(
        select(row.identifier_type, row.identifier_value, row.customer_id).where(wanted)
    ).one_or_none()
    if found is None:
        raise IdentifierNotFound(identifier_id)
    session.execute(_LOCK, {"names": [identity_key(found.identifier_type, found.identifier_value)]})
    if with_customer:
        _lock_customer(session, found.customer_id)
    identifier = session.scalars(
        select(row).where(wanted).with_for_update(), execution_options={"populate_existing": True}
    ).one_or_none()
    if identifier is None:
        raise IdentifierNotFound(identifier_id)
    return identifier


def _record(
    session: Session,
    event_type: IdentityEventType,
    identifier: CustomerIdentifier,
    actor: str,
    reason: str | None = None,
) -> None:
    row = event(event_type, identifier.customer_id, actor=actor, identifier_id=identifier.id, reason=reason)
    record(session, row)


def canonical(
    identifiers: Sequence[Identifier], default_region: str | None
) -> tuple[tuple[Identifier, ...], tuple[Identifier, ...]]:
    """The call's identifiers in canonical form without repetitions, and those that identify nobody.

    Raises:
        InvalidValue: no identifier, too many of them, or an ill-formed one.
    """
    if not isinstance(identifiers, Sequence) or not 1 <= len(identifiers) <= MAX_IDENTIFIERS:
        raise InvalidValue("identifiers", f"must be a list of 1 to {MAX_IDENTIFIERS}")
    known: dict[str, Identifier] = {}
    ignored = []
    for given in identifiers:
        checked_kind("identifier", given, Identifier)
        value = normalize_identifier(given.type, given.value, default_region=default_region)
        verified = given.verified and _is_as_delivered(given, value)
        identifier = given.model_copy(update={"value": value, "verified": verified})
        if is_blocked(identifier.type, value):
            ignored.append(identifier)
            continue
        key = key_of(identifier)
        if key not in known or (identifier.verified and not known[key].verified):
            known[key] = identifier
    return tuple(known.values()), tuple(ignored)


def _is_as_delivered(given: Identifier, value: str) -> bool:
    """Whether a proof of the delivered spelling is one of the canonical form.

    A provider may have given the name in fullwidth letters to somebody else, so a mailbox that only looks
    alike proves nothing. Capitals and composed letters are the same mailbox.
    """
    if given.type is not IdentifierType.EMAIL:
        return True
    delivered, canonical_one = (address.strip().rpartition("@")[0] for address in (given.value, value))
    return unicodedata.normalize("NFC", delivered.lower()) == canonical_one


def _clean(profile: CustomerProfile | None) -> CustomerProfile:
    if profile is None:
        return CustomerProfile()
    checked_kind("profile", profile, CustomerProfile)
    return CustomerProfile(name=normalize_name(profile.name), company=normalize_name(profile.company))


def _decide(session: Session, call: Call) -> tuple[Decision, dict[str, str]]:
    """The decision, and the blank profile fields of a matched customer that this call can fill."""
    held = find_holdings(session, call.known) if call.known else []
    decision = decide(call.known, held, own_type=OWN_TYPE[call.channel], policy=call.policy)
    if decision.conflict:
        decision = replace(decision, unreported=_without_event(session, decision))
    mine = [h for h in held if h.customer_id == decision.customer_id]
    # Who only claims to be a customer with proofs does not write into that customer's profile.
    trusted = decision.assurance is Assurance.VERIFIED or not any(
        h.verified or h.others_verified for h in mine
    )
    if not mine or not trusted:
        return decision, {}
    offered = {"name": call.profile.name, "company": call.profile.company}
    offered |= addresses_in([call.known[i] for i in decision.attach])
    return decision, {
        name: value for name, value in offered.items() if value is not None and name in mine[0].blanks
    }


def _without_event(session: Session, decision: Decision) -> tuple[UUID, ...]:
    """Rivals of a conflict that no event tells of yet: a conflict is kept once, not with every message."""
    conflicts = select(IdentityEvent.other_customer_id).where(
        IdentityEvent.customer_id == decision.customer_id,
        IdentityEvent.event == IdentityEventType.CONFLICT,
    )
    known = session.scalars(conflicts).all()
    return tuple(rival for rival in decision.candidates if rival not in known)


def _is_settled(decision: Decision, to_fill: dict[str, str]) -> bool:
    return decision.customer_id is not None and not (
        decision.verify or decision.attach or decision.unreported or to_fill
    )


def _resolution(call: Call, decision: Decision) -> Resolution:
    assert decision.customer_id is not None
    if decision.matched is None:
        outcome = Outcome.CREATED
    else:
        outcome = Outcome.CONFLICT if decision.conflict else Outcome.MATCHED
    return Resolution(
        customer_id=decision.customer_id,
        outcome=outcome,
        assurance=decision.assurance,
        matched_by=None if decision.matched is None else call.known[decision.matched.position],
        attached=tuple(call.known[i] for i in decision.attach),
        candidates=decision.candidates,
        ignored=call.ignored,
    )
