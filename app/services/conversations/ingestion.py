"""Inbound messages: stored exactly once, in the conversation where they belong."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import timedelta
from uuid import UUID

from sqlalchemy.orm import Session

from ...errors import ConcurrentChange
from ...models import MetricType
from ...schemas import IdentityPolicy, IdentityPolicyCode, InboundMessage, Ingested, Outcome, Resolution
from .. import identity
from .._shared import measuring
from .._shared.checks import checked_flag, require_transaction
from ..identity.erasures import erased_before
from ..identity.holdings import find_holdings
from ..outbox.reports import record
from .drafts import Draft, draft_of
from .messages import substitute_id
from .redeliveries import find_earlier
from .storing import Stored, store_event, store_message, store_of
from .waking import refresh, to_go_on_with, was_reopened
from .waking import wake as wake_tickets

ACTOR = "system:ingest"


def ingest(
    session: Session,
    inbound: InboundMessage,
    *,
    policy: IdentityPolicyCode = IdentityPolicy.STRICT,
    default_region: str | None = None,
    aliases: Collection[str] = (),
    idle_after: timedelta | None = None,
    wake: bool | Callable[[InboundMessage], bool] = True,
    archived: bool = False,
    erasure_key: str | None = None,
    measure: bool = False,
) -> Ingested:
    """Store one inbound message: who wrote it, in which conversation, and wake the tickets that wait for it.

    Exactly once per ``(channel, account, provider_message_id)``: a redelivery, also one that runs at the same
    time, tells what became of the message the first time and writes nothing; so does a copy of a mail of ours
    that comes back. A message of a rolled-back transaction was never there. The ids of emails are their
    senders' choice: one with another's id and another sender, date or content is a message of its own.

    The conversation is that of any message which it answers, in either direction; then that of its thread;
    then, without a thread, the open one on the writer's address; each of the same customer and of ``account``
    or one of its ``aliases``. Without a thread, a conversation where nothing was said for ``idle_after`` is
    over. Somebody else's message that it answers is named in ``extra["answers"]`` and lets nobody in.

    Every ticket of the conversation that waits for the customer is opened again, and a resolved one if none
    waits. ``wake=False``, or a function of the message that says so, leaves them and a closed conversation
    as they are, as an automatic message does. An ``archived`` one does too, and bears the time at which it
    was received. Events such as reactions belong to the message that they are about, and do nothing else.
    What the provider says is no longer the sender's (``former``) is detached, unless there is a conflict.

    With ``measure`` a message is counted, and the conversation that it opens; a redelivery, an event and what
    an archive brought are not.

    What was decided (assurance, outcome, candidates) is kept in the message's ``extra``. What somebody typed
    beside the channel's own identifier loses no message: ill-formed, it is in ``resolution.ignored``. With
    ``erasure_key``, ``resolution.erased_before`` tells of erased customers with the sender's addresses, where
    the message made a customer, also when it is delivered again, or added an address to one.

    One statement for a known sender who tells nothing new, two for a new one. Besides ``identity.resolve``'s
    locks, holds the customer's row (FOR NO KEY UPDATE) and, if it may wake them, the conversation's tickets
    until the caller's transaction ends, so that messages arriving together share a conversation.

    Raises:
        EventTargetNotFound: an event about a message that is not stored here.
        OwnMessage: the sender of a mail is the account that got it, or one of its ``aliases``.
        InvalidValue: the channel's own identifier, or a field that cannot be stored; or a session in
            autocommit mode.
    """
    draft = draft_of(
        inbound,
        policy=policy,
        default_region=default_region,
        aliases=aliases,
        idle_after=idle_after,
        wake=wake,
        archived=archived,
        erasure_key=erasure_key,
    )
    measure = checked_flag("measure", measure)
    ingested = store_draft(session, draft)
    if measure and not (ingested.duplicate or archived or inbound.event):
        _measure(session, draft, ingested)
    return ingested


def _measure(session: Session, draft: Draft, ingested: Ingested) -> None:
    channel = draft.inbound.channel
    counts: list[measuring.Values] = [
        (MetricType.MESSAGE_VOLUME, 1, channel, {"direction": "inbound"}),
        *([(MetricType.CONVERSATION_COUNT, 1, channel, {})] if ingested.conversation_opened else []),
    ]
    measuring.record(session, counts)


def store_draft(session: Session, draft: Draft) -> Ingested:
    """The same, of a message that was read before."""
    call, message = draft.call, draft.values
    store = store_event if draft.is_event else store_message
    require_transaction(session)
    session.flush()
    stored = store(session, call, message)
    if stored is None:
        earlier = find_earlier(session, message)
        if not earlier.is_another(message):
            return _with_erasures(session, draft, earlier.ingested)
        # Another mail has taken the id; under one of its own this mail is found when it is delivered again.
        substitute = substitute_id(draft.inbound)
        message = message | {"provider_message_id": substitute}
        stored = store(session, call, message)
        if stored is None:
            return _with_erasures(session, draft, find_earlier(session, message).ingested)
    return _finished(session, draft, stored)


def _with_erasures(session: Session, draft: Draft, again: Ingested) -> Ingested:
    """A redelivery, which tells of erasures where the first delivery made a customer."""
    key, resolution = draft.call.erasure_key, again.resolution
    if key is None or resolution.outcome is not Outcome.CREATED:
        return again
    erasures = erased_before(session, draft.call.identifiers, key)
    return again.model_copy(update={"resolution": resolution.model_copy(update={"erased_before": erasures})})


def store_resolved(session: Session, draft: Draft, resolution: Resolution) -> Ingested:
    """The same, of a message whose id is claimed and whose customer is known and locked."""
    stored = store_of(session, draft.values, resolution)
    if stored is None:
        raise ConcurrentChange
    return _finished(session, draft, stored)


def _finished(session: Session, draft: Draft, stored: Stored) -> Ingested:
    """What else a stored message does, and what the caller is told."""
    for said in draft.reports:
        record(session, said, stored.customer_id)
    if draft.former and stored.resolution.outcome is not Outcome.CONFLICT:
        _give_up_former(session, draft, stored.customer_id)
    present = stored.tickets
    refresh(session, stored.conversation_id, present)
    if draft.may_wake:
        present = wake_tickets(session, present, stored.resolution, stored.customer_id)
    ticket = to_go_on_with(present)
    return Ingested(
        message_id=UUID(draft.values["id"]),
        conversation_id=stored.conversation_id,
        customer_id=stored.customer_id,
        conversation_opened=stored.opened,
        tickets=present,
        ticket_id=None if ticket is None else ticket.id,
        ticket_status=None if ticket is None else ticket.status,
        ticket_reopened=ticket is not None and was_reopened(stored.tickets, ticket),
        resolution=stored.resolution,
    )


def _give_up_former(session: Session, draft: Draft, customer_id: UUID) -> None:
    """Detach what is no longer the sender's: who writes from it next is somebody else."""
    for holding in find_holdings(session, draft.former, default_region=draft.call.default_region):
        if holding.identifier_id is not None and holding.customer_id == customer_id:
            identity.detach_identifier(
                session, holding.identifier_id, actor=ACTOR, reason="the provider says that it has changed"
            )
