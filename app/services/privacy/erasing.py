"""Erase a person: one row is written, and a trigger does the rest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, LargeBinary, Uuid, bindparam, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from ...errors import UnderLegalHold, from_database
from ...models import Erasure, uuid7
from ...normalization import is_blocked, normalize_stored
from ...schemas import ErasurePlan, ErasureReport, Identifier
from .._shared.checks import checked_actor, checked_text, checked_uuid, require_transaction
from .._shared.redirects import lock_living
from ..identity.erasures import hashes
from ..identity.reading import checked_key
from ..merging.foreign_rows import foreign_rows_of

_ADDRESSES = text("""
    SELECT type, value FROM customer_addresses(
        :customer_id || ARRAY(SELECT absorbed_id FROM customer_redirects WHERE customer_id = :customer_id)
    )
""").bindparams(bindparam("customer_id", type_=Uuid()))
_ERASE = text("""
    INSERT INTO erasures (id, customer_id, actor, reason, address_hashes)
    VALUES (:id, :customer_id, :actor, :reason, :hashes)
""").bindparams(
    bindparam("id", type_=Uuid()),
    bindparam("customer_id", type_=Uuid()),
    bindparam("hashes", type_=ARRAY(LargeBinary)),
)
_ERASURE = select(Erasure).where(Erasure.customer_id == bindparam("customer_id", type_=Uuid()))


def erase_customer(
    session: Session, customer_id: UUID, *, actor: str, reason: str, erasure_key: str | None = None
) -> ErasureReport:
    """Erase all personal data of a customer, and of those whom it absorbed: all of it, or nothing.

    What the person wrote is gone wherever it stands, also in others' conversations, and what we wrote back.
    Tickets, times, codes and numbers stay, and so does the record of who did what, without words: its hash
    chains still hold. The customer's id stays, and nothing can be written for it any more: whoever comes
    back is somebody new. With ``erasure_key`` the addresses are kept as keyed hashes, by which ``resolve``,
    ``ingest`` and ``find_erasures`` tell that the person was erased. Repeating the call returns the first
    report.

    The rows of other applications that point to the customer are named, and not touched. Backups, replicas'
    delay, logs and dead rows are the operator's: docs/privacy.md.

    Locks the customer's row FOR UPDATE, then its conversations and tickets, until the caller's transaction
    ends; reads all measurements that have facts. Objects of the session are expired.

    Raises:
        CustomerNotFound: there is no such customer.
        UnderLegalHold: the customer must not be erased now.
        InvalidValue: the actor, the reason or the key is ill-formed, or the reason names the person; or the
            session is in autocommit mode.
    """
    require_transaction(session)
    customer_id, actor = checked_uuid("customer_id", customer_id), checked_actor(actor)
    reason = checked_text("reason", reason, max_length=10_000)
    key = None if erasure_key is None else checked_key(erasure_key)
    session.flush()
    living_id = lock_living(session, customer_id, key_share=False)
    erasure = _erasure_of(session, living_id)
    if erasure is None:
        _erase(session, living_id, actor=actor, reason=reason, hashes=_hashes(session, living_id, key))
        erasure = _erasure_of(session, living_id)
        assert erasure is not None
    foreign_rows, foreign_unread = foreign_rows_of(session, living_id)
    return ErasureReport(
        erasure_id=erasure.id,
        customer_id=living_id,
        customer_ids=erasure.report["customer_ids"],
        erased_at=erasure.erased_at,
        rows=_touched(erasure.report),
        remembered=len(erasure.address_hashes),
        foreign_rows=foreign_rows,
        foreign_unread=foreign_unread,
    )


def plan_erasure(session: Session, customer_id: UUID) -> ErasurePlan:
    """What erasing the customer would do: it is done, counted, and taken back.

    Takes the locks of ``erase_customer`` and gives back all but the customer's row lock.

    Raises:
        CustomerNotFound: there is no such customer.
        InvalidValue: the session is in autocommit mode.
    """
    require_transaction(session)
    session.flush()
    living_id = lock_living(session, checked_uuid("customer_id", customer_id), key_share=False)
    foreign_rows, foreign_unread = foreign_rows_of(session, living_id)
    foreign = {"foreign_rows": foreign_rows, "foreign_unread": foreign_unread}
    erasure = _erasure_of(session, living_id)
    if erasure is not None:
        ids = erasure.report["customer_ids"]
        return ErasurePlan(customer_id=living_id, customer_ids=ids, erased_at=erasure.erased_at, **foreign)
    savepoint = session.begin_nested()
    try:
        _erase(session, living_id, actor="system:plan", reason="a plan", hashes=[])
        planned = _erasure_of(session, living_id)
        assert planned is not None
        report = planned.report
    except UnderLegalHold:
        return ErasurePlan(customer_id=living_id, customer_ids=(living_id,), is_held=True, **foreign)
    finally:
        savepoint.rollback()
        session.expire_all()
    return ErasurePlan(
        customer_id=living_id, customer_ids=report["customer_ids"], rows=_touched(report), **foreign
    )


def _erase(session: Session, customer_id: UUID, *, actor: str, reason: str, hashes: list[bytes]) -> None:
    values = {"id": uuid7(), "customer_id": customer_id, "actor": actor, "reason": reason, "hashes": hashes}
    try:
        with session.begin_nested():
            session.execute(_ERASE, values)
    except IntegrityError as error:
        # Not chained: the database's text repeats the row.
        raise from_database(error) or error from None
    session.expire_all()


def _erasure_of(session: Session, customer_id: UUID) -> Erasure | None:
    return session.scalars(_ERASURE, {"customer_id": customer_id}).one_or_none()


def _hashes(session: Session, customer_id: UUID, key: str | None) -> list[bytes]:
    """Of every address that the customer has or had; a stored one that is in no canonical form has none."""
    if key is None:
        return []
    identifiers = []
    for type_, stored in session.execute(_ADDRESSES, {"customer_id": customer_id}):
        # A WhatsApp id that is no number is kept as it is.
        value = normalize_stored(type_, stored) or stored
        if not is_blocked(type_, value):
            identifiers.append(Identifier(type=type_, value=value))
    return [*hashes(identifiers, key)]


def _touched(report: Mapping[str, Any]) -> dict[str, int]:
    return {table: count for table, count in sorted(report["rows"].items()) if count}
