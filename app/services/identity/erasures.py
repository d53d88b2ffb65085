"""Whether somebody with an address was erased: by hashes under a key that the database does not have."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from uuid import UUID

from sqlalchemy import LargeBinary, bindparam, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Session

from ...errors import CustomerErased
from ...models import Erasure
from ...schemas import ErasedBefore, Identifier
from .reading import checked_key, key_of, read

_BY_HASH = (
    select(Erasure.id, Erasure.customer_id, Erasure.erased_at, Erasure.address_hashes)
    .where(Erasure.address_hashes.overlap(bindparam("hashes", type_=ARRAY(LargeBinary))))
    .order_by(Erasure.erased_at, Erasure.id)
)

_ERASED = select(Erasure.customer_id).where(Erasure.customer_id.in_(bindparam("ids", expanding=True)))


def find_erasures(
    session: Session,
    identifiers: Sequence[Identifier],
    *,
    erasure_key: str,
    default_region: str | None = None,
) -> tuple[ErasedBefore, ...]:
    """The erased customers who had one of these addresses in any spelling, as far as ``erasure_key`` tells.

    For imports that write customers themselves; ``resolve`` and ``ingest`` tell it in their results. One
    statement, no lock.

    Raises:
        InvalidValue: no identifier, too many of them, an ill-formed one, or no such key.
    """
    return erased_before(session, read(identifiers, default_region).identifiers, checked_key(erasure_key))


def erased_before(
    session: Session, identifiers: Sequence[Identifier], erasure_key: str
) -> tuple[ErasedBefore, ...]:
    """The same, of canonical identifiers."""
    by_hash = hashes(identifiers, erasure_key)
    if not by_hash:
        return ()
    rows = session.execute(_BY_HASH, {"hashes": list(by_hash)})
    return tuple(
        ErasedBefore(
            erasure_id=row.id,
            customer_id=row.customer_id,
            erased_at=row.erased_at,
            identifiers=tuple(by_hash[hash_] for hash_ in row.address_hashes if hash_ in by_hash),
        )
        for row in rows
    )


def hashes(identifiers: Sequence[Identifier], erasure_key: str) -> Mapping[bytes, Identifier]:
    """HMAC-SHA256 of each address, which is one key as a phone and as a WhatsApp id."""
    return {
        hmac.digest(erasure_key.encode(), key_of(identifier).encode(), hashlib.sha256): identifier
        for identifier in identifiers
    }


def find_erased(session: Session, *customer_ids: UUID) -> UUID | None:
    """The first of these living customers who was erased; None if nobody was. One statement."""
    return session.scalar(_ERASED, {"ids": list(customer_ids)})


def refuse_erased(session: Session, customer_id: UUID) -> None:
    """
    Raises:
        CustomerErased: this living customer was erased.
    """
    if find_erased(session, customer_id):
        raise CustomerErased(customer_id)
