"""Customers who may be one person, for somebody to decide."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from uuid import UUID

from sqlalchemy import Select, Uuid, bindparam, select
from sqlalchemy.orm import Session

from ...errors import InvalidValue, Unavailable
from ...models import CustomerRedirect, IdentityEvent, IdentityEventType
from ...schemas import DuplicateCandidate
from .._shared.checks import checked_actor, checked_limit, checked_text, checked_uuid, is_number
from .._shared.redirects import lock_living
from ..identity.events import event, record
from ..merging import current_customer_id
from .blocking import pairs

DEFAULT_MIN_SCORE = 3.0
"""8 to 1. On the generated base of ``benchmarks/duplicates.py`` 98 of 100 such pairs are one person."""


def _rejection() -> Select[bool]:
    """Whether an event tells two customers, or those whom they absorbed, apart."""
    one, other = (bindparam(name, type_=Uuid()) for name in ("one", "other"))
    names = (
        select(one.label("name"), one.label("customer_id"))
        .union_all(
            select(other, other),
            select(CustomerRedirect.absorbed_id, CustomerRedirect.customer_id).where(
                CustomerRedirect.customer_id.in_([one, other])
            ),
        )
        .cte("names")
    )
    a, b = names.alias("a"), names.alias("b")
    rejection = (
        select(IdentityEvent.id)
        .join(a, a.c.name == IdentityEvent.customer_id)
        .join(b, b.c.name == IdentityEvent.other_customer_id)
        .where(IdentityEvent.event == IdentityEventType.NOT_DUPLICATE, a.c.customer_id != b.c.customer_id)
    )
    return select(rejection.exists())


_IS_REJECTED = _rejection()


def find_duplicates(
    session: Session,
    *,
    customer_id: UUID | None = None,
    min_score: float = DEFAULT_MIN_SCORE,
    limit: int = 100,
) -> list[DuplicateCandidate]:
    """Pairs of customers who may be one person, the likeliest first: of the whole base or of one customer.

    A score is the sum of its evidence, in bits: 0 is as likely as not, and each bit doubles the odds. These
    are Fellegi and Sunter's match weights; ``comparing`` has the model and its sources. A value weighs the
    less the more customers hold it. Pairs that ``reject_duplicate`` was told of are not offered, and absorbed
    customers do not appear. Nothing is merged.

    One statement, and one more for a single customer. For all pairs it reads the whole base; the cost grows
    with the base and with the pairs that have something in common, not with the square of the base. For one
    customer it reads those who share something with it, and counts what is common up to a fixed number;
    beyond that it takes the estimate of the last ANALYZE.

    Raises:
        CustomerNotFound: there is no such customer.
        InvalidValue: a bad score or limit.
        Unavailable: rapidfuzz is not installed.
    """
    limit = checked_limit(limit, maximum=100_000)
    if not is_number(min_score):
        raise InvalidValue("min_score", "must be a finite number of bits")
    if customer_id is not None:
        customer_id = current_customer_id(session, customer_id)
    candidates = (one for one in _candidates(session, customer_id) if one.score >= min_score)
    return heapq.nsmallest(limit, candidates, key=lambda one: (-one.score, one.a_id, one.b_id))


def reject_duplicate(session: Session, a_id: UUID, b_id: UUID, *, actor: str, reason: str) -> None:
    """Keep that two customers are two people; they are never offered as duplicates again.

    It holds for whoever they are merged into, too. Repeating the call changes nothing, in either order. Locks
    both customers' rows (FOR NO KEY UPDATE) until the caller's transaction ends.

    Raises:
        CustomerNotFound: there is no such customer.
        InvalidValue: both are one customer, or the actor or the reason is ill-formed.
    """
    actor, reason = checked_actor(actor), checked_text("reason", reason, max_length=10_000)
    named = checked_uuid("a_id", a_id), checked_uuid("b_id", b_id)
    current = [current_customer_id(session, id_) for id_ in named]
    locked = {id_: lock_living(session, id_, key_share=True) for id_ in sorted(current)}
    one, other = (locked[id_] for id_ in current)
    if one == other:
        raise InvalidValue("b_id", "is the same customer as a_id")
    if not _is_rejected(session, one, other):
        rejected = event(
            IdentityEventType.NOT_DUPLICATE, one, actor=actor, other_customer_id=other, reason=reason
        )
        record(session, rejected)


def _candidates(session: Session, customer_id: UUID | None) -> Iterator[DuplicateCandidate]:
    try:
        from .comparing import compare  # noqa: PLC0415 - rapidfuzz is an extra
    except ModuleNotFoundError:
        raise Unavailable(
            "finding duplicates needs rapidfuzz: pip install 'crm-digital-fte[duplicates]'"
        ) from None
    for pair in pairs(session, customer_id):
        older, newer = (pair.b_id, pair.a_id) if pair.b_is_older else (pair.a_id, pair.b_id)
        yield DuplicateCandidate(a_id=older, b_id=newer, evidence=tuple(compare(pair)))


def _is_rejected(session: Session, one: UUID, other: UUID) -> bool:
    return session.scalar(_IS_REJECTED, {"one": one, "other": other}) or False
