"""A message goes to the database: whose it is, and the one statement that stores it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import ARRAY, Boolean, Text, Uuid, bindparam, column, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Session

from ...errors import EventTargetNotFound
from ...schemas import Assurance, ConversationTicket, InboundEvent, Outcome, Resolution
from .._shared.redirects import lock_living
from ..identity.applying import new_person, new_rows
from ..identity.holdings import sought_one
from ..identity.reading import Call
from ..identity.resolution import (
    decision_on,
    look_up,
    presumed,
    recognised,
    resolution_of,
    resolve_call,
    settle,
    settled,
)
from .redeliveries import decided
from .waking import as_tickets

_STORE = (
    text("SELECT outcome, customer_id, conversation_id, opened, tickets FROM store_inbound_message(:message)")
    .bindparams(bindparam("message", type_=JSONB()))
    .columns(
        column("outcome", Text()),
        column("customer_id", Uuid()),
        column("conversation_id", Uuid()),
        column("opened", Boolean()),
        column("tickets", JSONB()),
    )
)
_CLAIM = text("""
    INSERT INTO provider_messages (channel, account, provider_message_id, message_id)
    SELECT CAST(:channel AS text), CAST(:account AS text), CAST(:provider_message_id AS text),
        CAST(:id AS uuid)
    WHERE NOT EXISTS (
        SELECT FROM provider_messages AS named JOIN messages AS ours ON ours.id = named.message_id
        WHERE named.channel = CAST(:channel AS text) AND named.account = ANY (:accounts)
            AND named.provider_message_id = CAST(:provider_message_id AS text)
            AND ours.direction = 'outbound'
    )
    ON CONFLICT DO NOTHING RETURNING 1
""").bindparams(bindparam("accounts", type_=ARRAY(Text)))
_CUSTOMER_OF = text("""
    SELECT answered.customer_id
    FROM unnest(CAST(:references AS text[])) WITH ORDINALITY AS r (id, nearness)
    JOIN provider_messages AS named
        ON named.channel = :channel AND named.account = ANY (CAST(:accounts AS text[]))
        AND named.provider_message_id = r.id
    JOIN messages AS answered ON answered.id = named.message_id
    ORDER BY r.nearness LIMIT 1
""").columns(column("customer_id", Uuid()))
_GONE = ("customer_gone", "customer_erased")


class Stored(NamedTuple):
    """Where a message went, and who was taken for its writer."""

    resolution: Resolution
    customer_id: UUID
    conversation_id: UUID
    opened: bool
    tickets: tuple[ConversationTicket, ...]


class _Answer(NamedTuple):
    """What ``store_inbound_message`` says: where the message went, or why it was not stored."""

    outcome: str
    stored: Stored | None = None


def store_message(session: Session, call: Call, message: Mapping[str, Any]) -> Stored | None:
    """Find out who wrote, and store the message; None where a message with its id is stored already.

    The id is claimed before anything else is written: a redelivery must not make a customer.
    """
    is_claimed = len(call.identifiers) == 1 and call.erasure_key is None
    if is_claimed:
        answer = _store_at_once(session, call, message)
        if answer.stored is not None or answer.outcome == "duplicate":
            return answer.stored
    findings = look_up(session, call)
    resolution = settled(call, findings)
    if resolution is None:
        if not is_claimed and session.execute(_CLAIM, message).one_or_none() is None:
            return None
        is_claimed = True
        resolution = settle(session, call, findings)
    answer = _store(session, message, resolution, resolution.customer_id, claim=not is_claimed)
    while answer.outcome in _GONE:
        # Merged or erased since; the id is claimed by now.
        resolution = resolve_call(session, call)
        customer_id = lock_living(session, resolution.customer_id, key_share=True)
        answer = _store(session, message, resolution, customer_id, claim=False)
    return answer.stored


def store_event(session: Session, call: Call, message: Mapping[str, Any]) -> Stored | None:
    """Store what is about a message beside it; None where it is stored already.

    Nobody is made a customer by an event, and a mail server's report is the customer's whom we wrote to.

    Raises:
        EventTargetNotFound: there is no such message, or it is another customer's.
    """
    event = message["extra"]["event"]
    resolution = recognised(session, call)
    if event == InboundEvent.DELIVERY:
        customer_id = session.scalar(_CUSTOMER_OF, message)
        if customer_id is None:
            raise EventTargetNotFound(event)
        resolution = Resolution(
            customer_id=customer_id,
            outcome=Outcome.MATCHED,
            assurance=Assurance.CLAIMED,
            ignored=call.ignored,
        )
    if resolution is None:
        raise EventTargetNotFound(event)
    customer_id = resolution.customer_id
    answer = _store(session, message, resolution, customer_id, claim=True)
    while answer.outcome in _GONE:
        customer_id = lock_living(session, customer_id, key_share=True)
        answer = _store(session, message, resolution, customer_id, claim=True)
    return answer.stored


def store_of(session: Session, message: Mapping[str, Any], resolution: Resolution) -> Stored | None:
    """Store a message whose id is claimed and whose customer is known; None where the customer is gone."""
    return _store(session, message, resolution, resolution.customer_id, claim=False).stored


def _store_at_once(session: Session, call: Call, message: Mapping[str, Any]) -> _Answer:
    """The message of a call with one identifier, if its holder has proven it, or nobody has met its writer.

    Its id is claimed in any case, and nothing else is written in any other.
    """
    (identifier,) = call.identifiers
    resolution = presumed(call)
    writer = {f"sender_{name}": value for name, value in sought_one(identifier).items()} | {
        "proves": resolution.assurance is Assurance.VERIFIED,
        "tells_name": call.profile.name is not None,
        "tells_company": call.profile.company is not None,
    }
    answer = _store(session, {**message, **writer}, resolution, None, claim=True)
    if answer.outcome != "unknown":
        return answer
    decision = decision_on(call, [])
    rows = new_rows(call, decision)
    customer_id = rows.customer["id"]
    resolution = resolution_of(call, decision, customer_id)
    values = {**message, "person": new_person(call, rows)}
    return _store(session, values, resolution, customer_id, claim=False)


def _store(
    session: Session,
    message: Mapping[str, Any],
    resolution: Resolution,
    customer_id: UUID | None,
    *,
    claim: bool,
) -> _Answer:
    """One flight. Without a customer, the database knows it, and the resolution is told.

    Raises:
        EventTargetNotFound: an event about a message that is not here.
    """
    extra = message["extra"] | decided(resolution)
    values = {**message, "claim": claim, "extra": extra}
    if customer_id is not None:
        values["customer_id"] = str(customer_id)
    row = session.execute(_STORE, {"message": values}).one()
    if row.outcome == "nowhere" or (row.outcome == "customer_erased" and message["is_event"]):
        raise EventTargetNotFound(extra["event"])
    if row.outcome != "stored":
        return _Answer(row.outcome)
    if customer_id is None:
        resolution = resolution.model_copy(update={"customer_id": row.customer_id})
    tickets = as_tickets(row.tickets)
    return _Answer(row.outcome, Stored(resolution, row.customer_id, row.conversation_id, row.opened, tickets))
