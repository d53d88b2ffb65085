"""One person is one customer, whatever channel they write on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import Uuid, bindparam, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from ...errors import ConcurrentChange
from ...models import OWN_TYPE, Customer, IdentityEvent, IdentityEventType
from ...schemas import (
    Assurance,
    ChannelCode,
    CustomerProfile,
    Identifier,
    IdentityPolicy,
    IdentityPolicyCode,
    Outcome,
    Resolution,
)
from .._shared.checks import require_transaction
from .applying import addresses_in, apply, create, lock_customer
from .decisions import Decision, Match, NewCustomer, decide
from .erasures import erased_before
from .holdings import Holding, Matches, Profile, find_holder, find_matches
from .reading import Call, call_of, key_of, lock_keys, read

_ATTEMPTS = 3
_SOMEBODY, _ONCE = UUID(int=0), datetime.fromtimestamp(0, UTC)

_REPORTED = select(IdentityEvent.__table__.c.other_customer_id).where(
    IdentityEvent.__table__.c.customer_id == bindparam("customer_id", type_=Uuid()),
    IdentityEvent.__table__.c.event == IdentityEventType.CONFLICT,
)


def find_customer(
    session: Session, identifier: Identifier, *, default_region: str | None = None
) -> Customer | None:
    """The customer who holds ``identifier`` in any spelling, verified or claimed; None if nobody does.

    One statement, no lock. A customer that another backend stored without identifier rows is found by its
    profile's email or phone.

    Raises:
        InvalidValue: the identifier is ill-formed.
    """
    sender = read([identifier], default_region)
    if not sender.identifiers:
        return None
    return find_holder(session, sender.identifiers[0], default_region=default_region)


def resolve(
    session: Session,
    identifiers: Sequence[Identifier],
    *,
    channel: ChannelCode,
    profile: CustomerProfile | None = None,
    policy: IdentityPolicyCode = IdentityPolicy.STRICT,
    default_region: str | None = None,
    erasure_key: str | None = None,
) -> Resolution:
    """Find the customer behind the identifiers of one message, or create one.

    However many callers meet the same new person at once, there is one customer, and no caller sees an error:
    advisory locks on all canonical keys of the call are held until the caller's transaction ends, and the
    unique key stands behind them. A known sender with nothing new costs one statement and takes no lock, a
    person whom nobody has met two. ``profile`` fills blanks and never overwrites. With ``erasure_key``,
    ``erased_before`` tells of erased customers who had one of the addresses, for one statement more where
    something is written.

    Raises:
        InvalidValue: no identifier, too many of them, or an ill-formed one; or a session in autocommit mode.
    """
    require_transaction(session)
    call = call_of(
        read(identifiers, default_region),
        channel=channel,
        profile=profile,
        policy=policy,
        default_region=default_region,
        erasure_key=erasure_key,
    )
    return resolve_call(session, call)


def resolve_call(session: Session, call: Call) -> Resolution:
    """The same, of a call that was read before."""
    session.flush()
    findings = look_up(session, call)
    return settled(call, findings) or settle(session, call, findings)


def recognised(session: Session, call: Call) -> Resolution | None:
    """The customer behind a call, if there is one; nothing is written."""
    decision = look_up(session, call).decision
    return resolution_of(call, decision, decision.customer_id) if isinstance(decision, Match) else None


@dataclass(frozen=True)
class Findings:
    """What a look, without locks, says about a call."""

    matches: Matches
    decision: Decision
    to_fill: Mapping[str, str]
    """Blank profile fields of a matched customer that the call can fill."""


def look_up(session: Session, call: Call) -> Findings:
    """Decide about the call as things are now; two statements where it meets a conflict, else one."""
    findings = weigh(call, find_matches(session, call.identifiers, default_region=call.default_region))
    decision = findings.decision
    if isinstance(decision, Match) and decision.candidates:
        return replace(findings, decision=replace(decision, unreported=_without_event(session, decision)))
    return findings


def weigh(call: Call, matches: Matches) -> Findings:
    """Decide about the call by what was looked up; of a conflict it is not told yet whether it is kept."""
    decision = decision_on(call, matches.held)
    if isinstance(decision, Match):
        return Findings(matches, decision, _to_fill(call, matches.held, decision))
    return Findings(matches, decision, {})


def settled(call: Call, findings: Findings) -> Resolution | None:
    """The answer where nothing is to be written; else None."""
    decision = findings.decision
    if isinstance(decision, NewCustomer) or findings.to_fill:
        return None
    if decision.verify or decision.contested or decision.attach or decision.unreported:
        return None
    return resolution_of(call, decision, decision.customer_id)


def settle(session: Session, call: Call, findings: Findings) -> Resolution:
    """Decide once more under the locks of the call's addresses, and write it down."""
    resolution = _settle(session, call, findings)
    if call.erasure_key is None:
        return resolution
    erasures = erased_before(session, call.identifiers, call.erasure_key)
    return resolution.model_copy(update={"erased_before": erasures})


def _settle(session: Session, call: Call, findings: Findings) -> Resolution:
    if isinstance(findings.decision, NewCustomer) and not findings.matches.held:
        customer_id = create(session, call, findings.decision, findings.matches.passed_over)
        if customer_id is not None:
            return resolution_of(call, findings.decision, customer_id)
    if call.identifiers:
        lock_keys(session, map(key_of, call.identifiers))
    return _write(session, call)


def _write(session: Session, call: Call) -> Resolution:
    """Decide under the locks and write it down; again, if somebody who takes none of them got in between."""
    locked_id = None
    failures = 0
    while True:
        findings = look_up(session, call)
        decision = findings.decision
        if (resolution := settled(call, findings)) is not None:
            return resolution
        if isinstance(decision, Match) and decision.customer_id != locked_id:
            # The customer first, as a merge locks it; one that is gone is not found again.
            if not lock_customer(session, decision.customer_id):
                continue
            locked_id = decision.customer_id
            if decision.verify or (
                decision.assurance is Assurance.VERIFIED and not decision.matched.verified
            ):
                # Somebody who proves another claim of the customer may have had the lock.
                continue
        try:
            with session.begin_nested():
                return resolution_of(call, decision, apply(session, call, decision, findings.to_fill))
        except IntegrityError:
            failures += 1
            if failures == _ATTEMPTS:
                # Not chained: the database's text repeats the address.
                raise ConcurrentChange from None


def _without_event(session: Session, decision: Match) -> tuple[UUID, ...]:
    """Rivals of a conflict that no event tells of yet: a conflict is kept once, not with every message."""
    reported = session.scalars(_REPORTED, {"customer_id": decision.customer_id}).all()
    return tuple(rival for rival in decision.candidates if rival not in reported)


def _to_fill(call: Call, held: Sequence[Holding], decision: Match) -> dict[str, str]:
    mine = [h for h in held if h.customer_id == decision.customer_id]
    # Who only claims to be a customer with proofs does not write into that customer's profile.
    if decision.assurance is Assurance.CLAIMED and any(h.verified or h.has_proofs for h in mine):
        return {}
    gained = {*decision.attach, *(h.position for h in decision.contested)}
    offered = {"name": call.profile.name, "company": call.profile.company}
    offered |= addresses_in([call.identifiers[i] for i in sorted(gained)])
    blanks = decision.matched.blanks
    return {name: value for name, value in offered.items() if value is not None and name in blanks}


def decision_on(call: Call, held: Sequence[Holding]) -> Decision:
    """Whose call it is, by who holds its addresses."""
    return decide(call.identifiers, held, own_type=OWN_TYPE[call.channel], policy=call.policy)


def presumed(call: Call) -> Resolution:
    """The resolution, but for its customer, of a call whose one identifier is proven and one customer's.

    Nothing is to be written then, unless the call can fill a blank of the profile.
    """
    holder = Holding(
        position=0,
        identifier_id=_SOMEBODY,
        customer_id=_SOMEBODY,
        verified=True,
        held_since=_ONCE,
        has_proofs=True,
        profile=Profile(None, None, None, ""),
    )
    return resolution_of(call, decision_on(call, [holder]), _SOMEBODY)


def resolution_of(call: Call, decision: Decision, customer_id: UUID) -> Resolution:
    """What the caller is told about a decision."""
    outcome, matched_by = Outcome.CREATED, None
    if isinstance(decision, Match):
        outcome = Outcome.CONFLICT if decision.candidates else Outcome.MATCHED
        matched_by = call.identifiers[decision.matched.position]
    return Resolution(
        customer_id=customer_id,
        outcome=outcome,
        assurance=decision.assurance,
        matched_by=matched_by,
        attached=tuple(call.identifiers[i] for i in decision.attach),
        candidates=decision.candidates,
        ignored=call.ignored,
    )
