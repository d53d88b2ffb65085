"""Writing down what ``identity.resolve`` decided, with its events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, Update, Uuid, bindparam, case, func, insert, select, text, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Session

from ...models import Channel, Customer, CustomerIdentifier, IdentifierType, IdentityEventType, uuid7
from ...models.customer import EMAIL_KEY
from ...normalization import PLACEHOLDERS, placeholder_email, search_key
from ...schemas import Assurance, Identifier
from .._shared.acting import acting_as
from .decisions import Decision, NewCustomer
from .events import event, record, recording
from .holdings import Holding, Profile, is_named, profile_of, sought
from .reading import Call, is_number, key_of

ACTOR = "system:identity"
_ACTING = acting_as(ACTOR)

_PROFILES_BY_EMAIL = select(
    Customer.id, Customer.name, Customer.company, Customer.phone, Customer.email
).where(text(f"{EMAIL_KEY} = :key"))


_CREATE = text("SELECT create_customer(:person)").bindparams(bindparam("person", type_=JSONB()))
_LOCK_CUSTOMER = text("SELECT id FROM customers WHERE id = :id FOR NO KEY UPDATE").bindparams(
    bindparam("id", type_=Uuid())
)


def lock_customer(session: Session, customer_id: UUID) -> bool:
    """Lock the customer's row, FOR NO KEY UPDATE; False if it is gone."""
    return session.scalar(_LOCK_CUSTOMER, {"id": customer_id}) is not None


class NewRows(NamedTuple):
    """What is stored about a customer whom nobody has met."""

    customer: dict[str, Any]
    identifiers: list[dict[str, Any]]
    events: list[dict[str, Any]]


def new_rows(call: Call, decision: Decision) -> NewRows:
    """The rows of a customer whose addresses nobody holds."""
    customer_id = uuid7()
    identifiers = _attachments(call, decision, customer_id)
    addresses = addresses_in([call.identifiers[i] for i in decision.attach])
    events = [_event(IdentityEventType.CREATED, customer_id)]
    return NewRows(_profile(call, addresses, customer_id), identifiers, events)


def create(session: Session, call: Call, decision: NewCustomer, passed_over: Sequence[UUID]) -> UUID | None:
    """A customer whom nobody has met, in one statement; None, and nothing, if somebody has by now.

    Locks the call's addresses. ``passed_over`` are customers whose profiles do not tell them.
    """
    rows = new_rows(call, decision)
    person = new_person(call, rows, passed_over)
    return rows.customer["id"] if session.scalar(_CREATE, {"person": person}) else None


def new_person(call: Call, rows: NewRows, passed_over: Sequence[UUID] = ()) -> dict[str, Any]:
    """What ``create_customer`` takes: the rows, the addresses that nobody else may hold, and their locks."""
    return {
        "customer": _in_json(rows.customer),
        "identifiers": [_in_json(row) for row in rows.identifiers],
        "events": rows.events,
        "locks": [key_of(identifier) for identifier in call.identifiers],
        "passed_over": [str(other) for other in passed_over],
        **sought(call.identifiers),
    }


def _in_json(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: str(value) if isinstance(value, UUID) else value for name, value in row.items()}


def _profile(call: Call, addresses: Mapping[str, str | None], customer_id: UUID) -> dict[str, Any]:
    return {
        "id": customer_id,
        "email": addresses["email"] or placeholder_email(customer_id),
        "phone": addresses["phone"],
        "name": call.profile.name,
        "company": call.profile.company,
    }


def apply(session: Session, call: Call, decision: Decision, to_fill: Mapping[str, str]) -> UUID:
    """Write the decision and its events; returns the customer's id."""
    if isinstance(decision, NewCustomer):
        customer_id = uuid7()
        _create(session, call, decision, customer_id)
        return customer_id

    customer_id = decision.customer_id
    rows = _attachments(call, decision, customer_id)
    events: list[dict[str, Any]] = []
    if decision.verify:
        session.execute(_proving(decision.verify))
    if decision.contested:
        events += _take(session, call, decision.contested, customer_id)
    if rows:
        insert_identifiers(session, rows, actor=ACTOR)
    if to_fill:
        session.execute(update(Customer).where(Customer.id == customer_id).values(_if_blank(to_fill)))
    events += _conflicts(customer_id, decision.unreported)
    record(session, *events)
    return customer_id


def _create(session: Session, call: Call, decision: NewCustomer, customer_id: UUID) -> None:
    """A new customer with the identifiers that nobody holds, and those that the call proves to be its own."""
    own = {*decision.attach, *(held.position for held in (*decision.contested, *decision.diverted))}
    addresses = addresses_in([call.identifiers[i] for i in sorted(own)])
    if decision.candidates and addresses["email"]:
        # customers.email is unique: who only claims the address leaves it to whoever told it first.
        if decision.assurance is Assurance.CLAIMED and _profiles_with(session, addresses["email"]):
            addresses["email"] = None
        else:
            _take_email(session, addresses["email"])
    customer = insert(Customer).values(_profile(call, addresses, customer_id))
    rows = _attachments(call, decision, customer_id)
    reassigned = _reassignments(decision.reassign, customer_id)
    reported = {held.customer_id for held in (*decision.reassign, *decision.diverted)}
    conflicts = _conflicts(customer_id, [other for other in decision.candidates if other not in reported])
    conflicts += [
        _event(
            IdentityEventType.CONFLICT,
            customer_id,
            identifier_id=held.identifier_id,
            other_customer_id=held.customer_id,
        )
        for held in decision.diverted
    ]
    events = [_event(IdentityEventType.CREATED, customer_id), *reassigned, *conflicts]
    # One statement: customer, identifiers and events are there together.
    statement = recording(events).where(_ACTING).add_cte(customer.cte("new_customer"))
    if rows:
        statement = statement.add_cte(insert(CustomerIdentifier).values(rows).cte("new_identifiers"))
    session.execute(statement)
    _move(session, call, decision.contested, customer_id)


def _take(
    session: Session, call: Call, contested: Sequence[Holding], customer_id: UUID
) -> list[dict[str, Any]]:
    """Give the customer what it proves and others only claimed; returns the events."""
    for held in contested:
        identifier = call.identifiers[held.position]
        if identifier.type is IdentifierType.EMAIL:
            _take_email(session, identifier.value, but_of=customer_id)
    _move(session, call, contested, customer_id)
    return _reassignments(contested, customer_id)


def _move(session: Session, call: Call, contested: Sequence[Holding], customer_id: UUID) -> None:
    """The rows of claims that were wrong, and their addresses out of the profiles."""
    rows = [held for held in contested if held.identifier_id is not None]
    if rows:
        session.execute(_proving(rows).values(customer_id=customer_id))
    for held in contested:
        options = {"default_region": call.default_region}
        forget_in_profile(session, held.customer_id, held.profile, call.identifiers[held.position], **options)


def _reassignments(rows: Sequence[Holding], customer_id: UUID) -> list[dict[str, Any]]:
    """Of addresses that only profiles told; of those that have a row, a trigger writes them."""
    return [
        _event(
            IdentityEventType.REASSIGNED,
            customer_id,
            other_customer_id=held.customer_id,
        )
        for held in rows
        if held.identifier_id is None
    ]


def _take_email(session: Session, email: str, *, but_of: UUID | None = None) -> None:
    """Out of every profile that tells it, in whatever spelling: whoever had it without proof gives it up."""
    for customer_id, profile in _profiles_with(session, email).items():
        if customer_id != but_of:
            forget_in_profile(session, customer_id, profile, Identifier(type="email", value=email))


def _profiles_with(session: Session, email: str) -> dict[UUID, Profile]:
    """The customers whose profiles tell the address, in whatever spelling."""
    identifier = Identifier(type="email", value=email)
    rows = session.execute(_PROFILES_BY_EMAIL, {"key": search_key(identifier.type, email)}).all()
    profiles = {row.id: profile_of(row) for row in rows}
    return {id_: profile for id_, profile in profiles.items() if is_named(profile, identifier)}


def _attachments(call: Call, decision: Decision, customer_id: UUID) -> list[dict[str, Any]]:
    """Rows for the identifiers that the customer gets."""
    return [identifier_row(customer_id, call.identifiers[i], call.channel) for i in decision.attach]


_INSERT = """
    INSERT INTO customer_identifiers (id, customer_id, identifier_type, identifier_value, channel, verified)
    SELECT id, customer_id, identifier_type, identifier_value, channel, verified
    FROM jsonb_to_recordset(:rows) AS i (
        id uuid, customer_id uuid, identifier_type text, identifier_value text, channel text, verified boolean
    )
    WHERE set_config('crm.once_actor', :actor, true) IS NOT NULL
"""
_INSERT_ALL = text(f"{_INSERT} RETURNING id").bindparams(bindparam("rows", type_=JSONB()))
_INSERT_FREE = text(f"{_INSERT} ON CONFLICT DO NOTHING RETURNING id").bindparams(
    bindparam("rows", type_=JSONB())
)


def insert_identifiers(
    session: Session, rows: Sequence[Mapping[str, Any]], *, actor: str, only_free: bool = False
) -> list[UUID]:
    """Store identifiers, or with ``only_free`` those that nobody holds by now; the ids of the stored ones."""
    values = {"rows": [_in_json(row) for row in rows], "actor": actor}
    return list(session.scalars(_INSERT_FREE if only_free else _INSERT_ALL, values))


def _conflicts(customer_id: UUID, others: Sequence[UUID]) -> list[dict[str, Any]]:
    return [_event(IdentityEventType.CONFLICT, customer_id, other_customer_id=other) for other in others]


def _event(event_type: IdentityEventType, customer_id: UUID, **facts: Any) -> dict[str, Any]:
    return event(event_type, customer_id, actor=ACTOR, **facts)


def identifier_row(customer_id: UUID, identifier: Identifier, channel: Channel) -> dict[str, Any]:
    return {
        "id": uuid7(),
        "customer_id": customer_id,
        "identifier_type": identifier.type,
        "identifier_value": identifier.value,
        "channel": channel,
        "verified": identifier.verified,
    }


def forget_in_profile(
    session: Session,
    customer_id: UUID,
    profile: Profile,
    identifier: Identifier,
    *,
    default_region: str | None = None,
) -> None:
    """Take the address out of the customer's profile, if that tells it in some spelling, and still does."""
    if not is_named(profile, identifier, default_region=default_region):
        return
    row = update(Customer).where(Customer.id == customer_id)
    if identifier.type is IdentifierType.EMAIL:
        theirs = row.where(Customer.email == profile.email)
        session.execute(theirs.values(email=placeholder_email(customer_id)))
    else:
        session.execute(row.where(Customer.phone == profile.phone).values(phone=None))


def _if_blank(to_fill: Mapping[str, str]) -> dict[str, ColumnElement[str]]:
    """Somebody may have filled a blank since it was seen."""
    is_blank = Customer.email.like(PLACEHOLDERS)
    return {
        name: case((is_blank, value), else_=Customer.email)
        if name == "email"
        else func.coalesce(Customer.__table__.c[name], value)
        for name, value in to_fill.items()
    }


def _proving(held: Sequence[Holding]) -> Update:
    ids = [holding.identifier_id for holding in held]
    return update(CustomerIdentifier).where(CustomerIdentifier.id.in_(ids), _ACTING).values(verified=True)


def addresses_in(identifiers: Sequence[Identifier]) -> dict[str, str | None]:
    """The profile's email and phone, as far as the identifiers tell."""
    return {
        "email": next((i.value for i in identifiers if i.type is IdentifierType.EMAIL), None),
        "phone": next((i.value for i in identifiers if is_number(i)), None),
    }
