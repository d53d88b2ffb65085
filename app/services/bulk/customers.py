"""Many people at once, with the customers afterwards that ``identity.resolve`` would have made of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from ...errors import CRMError
from ...schemas import CustomerRow, IdentityPolicy, ImportReport, Outcome, Resolution
from .._shared.checks import checked_code, require_transaction
from ..identity.reading import Call, call_of, read
from ..identity.resolution import resolve_call
from .rows import customer_of
from .running import BATCH, Progress, RowResult, Steps, attempt, run
from .senders import Senders

_BYTES = 500


def import_customers(
    engine: Engine,
    rows: Iterable[Any],
    *,
    policy: IdentityPolicy = IdentityPolicy.STRICT,
    default_region: str | None = None,
    erasure_key: str | None = None,
    rejects: Path | str | None = None,
    progress: Progress | None = None,
    batch_size: int = BATCH,
) -> ImportReport:
    """Find or create the customer of each row, in the order of the rows.

    ``rows`` are ``CustomerRow`` objects or mappings (see docs/importing.md), or pairs of where it stood and
    one of these. The database is afterwards as if ``identity.resolve`` had been called for one after the
    other: claims never cross, proofs do, conflicts are kept, blanks are filled. So a second run changes
    nothing, and one that was killed goes on. Rejects, progress, locks and ``erasure_key`` are as in
    ``import_messages``.

    Raises:
        InvalidValue: an option is ill-formed.
        StorageUnavailable: the file of rejects cannot be written.
        Unavailable: the database is gone; what was committed stays.
    """
    policy = checked_code("policy", policy, IdentityPolicy)
    steps = Steps(
        read=lambda row: _call(customer_of(row), policy, default_region, erasure_key),
        size=lambda _: _BYTES,
        store=partial(_store, default_region=default_region),
        store_one=_store_one,
    )
    return run(engine, rows, steps, rejects=rejects, progress=progress, batch_size=batch_size)


def _call(
    row: CustomerRow, policy: IdentityPolicy, default_region: str | None, erasure_key: str | None
) -> Call:
    return call_of(
        read(row.identifiers, default_region),
        channel=row.channel,
        profile=row.profile,
        policy=policy,
        default_region=default_region,
        erasure_key=erasure_key,
    )


def _store(
    session: Session, calls: Sequence[Call], *, default_region: str | None
) -> list[RowResult | CRMError]:
    require_transaction(session)
    senders = Senders(session, calls, default_region)
    resolutions = [senders.decide(call) for call in calls]
    senders.write()
    return [
        attempt(session, _store_one, call)
        if resolution is None
        else _outcome(senders.with_erasures(call, resolution))
        for call, resolution in zip(calls, resolutions, strict=True)
    ]


def _store_one(session: Session, call: Call) -> RowResult:
    return _outcome(resolve_call(session, call))


def _outcome(resolution: Resolution) -> RowResult:
    created = resolution.outcome is Outcome.CREATED
    return RowResult(new=created, customer_created=created, erased_before=resolution.erased_before)
