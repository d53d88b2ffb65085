"""One person is one customer, whatever channel they write on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from sqlalchemy import ARRAY, Text, Update, bindparam, func, insert, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from ..errors import InvalidValue
from ..models import Channel, Customer, CustomerIdentifier, IdentifierType, uuid7
from ..normalization import PLACEHOLDER_DOMAIN, is_blocked, normalize_identifier, normalize_name
from ..schemas import Assurance, CustomerProfile, Identifier, IdentityPolicy, Outcome, Resolution
from ._input import checked_code
from ._matching import Decision, Holding, decide, find_holdings, holdings, is_number, key_of

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


@dataclass(frozen=True)
class _Call:
    """What ``resolve`` was asked, checked and in canonical form."""

    known: tuple[Identifier, ...]
    ignored: tuple[Identifier, ...]
    channel: Channel
    profile: CustomerProfile
    policy: IdentityPolicy


def find_customer(
    session: Session, identifier: Identifier, *, default_region: str | None = None
) -> Customer | None:
    """The customer who holds ``identifier`` in any spelling, verified or claimed; None if nobody does.

    One statement, no lock. A customer that another backend stored without identifier rows is found by its
    profile's email or phone.

    Raises:
        InvalidValue: the identifier is ill-formed.
    """
    known, _ = _canonical([identifier], default_region)
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
    known, ignored = _canonical(identifiers, default_region)
    call = _Call(
        known=known,
        ignored=ignored,
        channel=checked_code("channel", channel, Channel),
        profile=_clean(profile),
        policy=checked_code("policy", policy, IdentityPolicy),
    )
    for attempt in range(_ATTEMPTS):
        decision, to_fill = _decide(session, call)
        if _is_settled(decision, to_fill):
            break
        if attempt == 0:
            session.execute(_LOCK, {"names": [key_of(identifier) for identifier in known]})
            decision, to_fill = _decide(session, call)
        try:
            # Only a backend that takes none of our locks can still get in between.
            with session.begin_nested():
                decision = _apply(session, call, decision, to_fill)
            break
        except IntegrityError:
            if attempt == _ATTEMPTS - 1:
                raise
    return _resolution(call, decision)


def _canonical(
    identifiers: Sequence[Identifier], default_region: str | None
) -> tuple[tuple[Identifier, ...], tuple[Identifier, ...]]:
    """The call's identifiers in canonical form without repetitions, and those that identify nobody."""
    if not 1 <= len(identifiers) <= MAX_IDENTIFIERS:
        raise InvalidValue("identifiers", f"must be 1 to {MAX_IDENTIFIERS}")
    known: dict[str, Identifier] = {}
    ignored = []
    for given in identifiers:
        value = normalize_identifier(given.type, given.value, default_region=default_region)
        identifier = given.model_copy(update={"value": value})
        if is_blocked(identifier.type, value):
            ignored.append(identifier)
            continue
        key = key_of(identifier)
        if key not in known or (identifier.verified and not known[key].verified):
            known[key] = identifier
    return tuple(known.values()), tuple(ignored)


def _clean(profile: CustomerProfile | None) -> CustomerProfile:
    if profile is None:
        return CustomerProfile()
    return CustomerProfile(name=normalize_name(profile.name), company=normalize_name(profile.company))


def _decide(session: Session, call: _Call) -> tuple[Decision, dict[str, str]]:
    """The decision, and the blank profile fields of a matched customer that this call can fill."""
    held = find_holdings(session, call.known) if call.known else []
    decision = decide(call.known, held, own_type=OWN_TYPE[call.channel], policy=call.policy)
    mine = [h for h in held if h.customer_id == decision.customer_id]
    # Who only claims to be a customer with proofs does not write into that customer's profile.
    trusted = decision.assurance is Assurance.VERIFIED or not any(
        h.verified or h.others_verified for h in mine
    )
    if not mine or not trusted:
        return decision, {}
    offered = {"name": call.profile.name, "company": call.profile.company}
    offered |= _addresses([call.known[i] for i in decision.attach])
    return decision, {
        name: value for name, value in offered.items() if value is not None and name in mine[0].blanks
    }


def _addresses(identifiers: Sequence[Identifier]) -> dict[str, str | None]:
    """The profile's email and phone, as far as the identifiers tell."""
    return {
        "email": next((i.value for i in identifiers if i.type is IdentifierType.EMAIL), None),
        "phone": next((i.value for i in identifiers if is_number(i)), None),
    }


def _is_settled(decision: Decision, to_fill: dict[str, str]) -> bool:
    return decision.customer_id is not None and not (decision.verify or decision.attach or to_fill)


def _apply(session: Session, call: _Call, decision: Decision, to_fill: dict[str, str]) -> Decision:
    """Write the decision; returns it with the customer's id."""
    if decision.customer_id is None:
        return _create(session, call, decision)
    if decision.verify:
        session.execute(_verifying(decision.verify))
    if decision.attach:
        rows = [_row(decision.customer_id, call.known[i], call.channel) for i in decision.attach]
        session.execute(insert(CustomerIdentifier).values(rows))
    if to_fill:
        session.execute(update(Customer).where(Customer.id == decision.customer_id).values(to_fill))
    return decision


def _create(session: Session, call: _Call, decision: Decision) -> Decision:
    """A new customer with the identifiers that nobody holds, and those that the call proves to be its own."""
    customer_id = uuid7()
    own = sorted({*decision.attach, *(h.position for h in decision.reassign)})
    addresses = _addresses([call.known[i] for i in own])
    if decision.candidates and addresses["email"]:
        # Whoever had the address without proof gives it up: customers.email is unique.
        session.execute(
            update(Customer)
            .where(func.lower(Customer.email) == addresses["email"])
            .values(email=func.concat(Customer.id, f"@{PLACEHOLDER_DOMAIN}"))
        )
    customer = insert(Customer).values(
        id=customer_id,
        email=addresses["email"] or f"{customer_id}@{PLACEHOLDER_DOMAIN}",
        phone=addresses["phone"],
        name=call.profile.name,
        company=call.profile.company,
    )
    if decision.attach:
        rows = [_row(customer_id, call.known[i], call.channel) for i in decision.attach]
        session.execute(insert(CustomerIdentifier).values(rows).add_cte(customer.cte("new_customer")))
    else:
        session.execute(customer)
    if decision.reassign:
        session.execute(_verifying(decision.reassign).values(customer_id=customer_id))
    return replace(decision, customer_id=customer_id)


def _row(customer_id: UUID, identifier: Identifier, channel: Channel) -> dict[str, object]:
    return {
        "id": uuid7(),
        "customer_id": customer_id,
        "identifier_type": identifier.type,
        "identifier_value": identifier.value,
        "channel": channel,
        "verified": identifier.verified,
    }


def _verifying(held: Sequence[Holding]) -> Update:
    ids = [holding.identifier_id for holding in held]
    return update(CustomerIdentifier).where(CustomerIdentifier.id.in_(ids)).values(verified=True)


def _resolution(call: _Call, decision: Decision) -> Resolution:
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
