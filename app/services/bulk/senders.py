"""Who the rows of a batch are from: one look for all, then each is decided as ``identity.resolve`` would."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, Uuid, bindparam, select, text
from sqlalchemy.orm import Session

from ...errors import ConcurrentChange
from ...schemas import ErasedBefore, Identifier, Outcome, Resolution
from .._shared.acting import acting_as
from ..identity.applying import ACTOR, NewRows, new_rows
from ..identity.decisions import Match, NewCustomer
from ..identity.erasures import erased_before, find_erased
from ..identity.events import record
from ..identity.holdings import Holding, Matches, Profile, age, find_matches_of_each
from ..identity.reading import Call, key_of, lock_keys
from ..identity.resolution import resolution_of, settled, weigh
from .copying import copy

_LOCK_CUSTOMERS = text("""
    SELECT id FROM customers WHERE id = ANY (:ids) ORDER BY id FOR NO KEY UPDATE
""").bindparams(bindparam("ids", type_=ARRAY(Uuid())))
_CUSTOMER = {"id": "uuid", "email": "varchar", "phone": "varchar", "name": "varchar", "company": "varchar"}
_IDENTIFIER = {
    "id": "uuid",
    "customer_id": "uuid",
    "identifier_type": "varchar",
    "identifier_value": "varchar",
    "channel": "varchar",
    "verified": "bool",
}
_ACTING = select(acting_as(ACTOR))
_LATEST = datetime.max.replace(tzinfo=UTC)
"""Newer than every holding that is stored; among those of a batch the ids tell the order."""


class Senders:
    """The customers behind a batch's calls: those that there are, and those that its rows make.

    A call that writes anything but a new customer is left to ``identity.resolve`` after the others, and with
    it every later call that shares an address or a customer with it.
    """

    def __init__(self, session: Session, calls: Sequence[Call], default_region: str | None) -> None:
        self._session, self._default_region = session, default_region
        identifiers = {key_of(identifier): identifier for call in calls for identifier in call.identifiers}
        self._matches = self._look(identifiers)
        self._left_keys: set[str] = set()
        self._left_customers: set[UUID] = set()
        self._known: set[UUID] = set()
        self._new: list[NewRows] = []
        self._new_identifiers: dict[str, Identifier] = {}
        self._erasure_key = next((call.erasure_key for call in calls), None)
        self._erasures: tuple[ErasedBefore, ...] = ()

    def decide(self, call: Call) -> Resolution | None:
        """Who it is, if nothing but a new customer is to be written; None: to be left to later."""
        keys = [key_of(identifier) for identifier in call.identifiers]
        matches = self._matches_of(keys)
        if self._is_left(keys, matches.held):
            self.leave(call)
            return None
        findings = weigh(call, matches)
        decision = findings.decision
        if isinstance(decision, NewCustomer) and not matches.held and not matches.passed_over:
            return self._make(call, decision)
        if isinstance(decision, Match) and not decision.candidates:
            resolution = settled(call, findings)
            if resolution is not None:
                self._known.add(resolution.customer_id)
                return resolution
        self.leave(call)
        return None

    def leave(self, call: Call, also: Iterable[Identifier] = ()) -> None:
        """Leave a call to later, and every later one that it may have to do with."""
        keys = [key_of(identifier) for identifier in (*call.identifiers, *also)]
        self._left_keys.update(keys)
        held = [holding for key in keys if key in self._matches for holding in self._matches[key].held]
        self._left_customers.update(holding.customer_id for holding in held)

    def write(self) -> None:
        """Store the new customers, under the locks of their addresses.

        Raises:
            ConcurrentChange: somebody has stored one of the addresses since the look.
        """
        if self._new_identifiers:
            lock_keys(self._session, self._new_identifiers)
            if any(map(any, self._look(self._new_identifiers).values())):
                raise ConcurrentChange
        if not self._new:
            return
        if self._erasure_key is not None:
            self._erasures = erased_before(
                self._session, list(self._new_identifiers.values()), self._erasure_key
            )
        copy(self._session, "customers", _CUSTOMER, (_values(rows.customer, _CUSTOMER) for rows in self._new))
        record(self._session, *(event for rows in self._new for event in rows.events))
        identifiers = (row for rows in self._new for row in rows.identifiers)
        # For the triggers, which write an event of each row.
        self._session.execute(_ACTING)
        copy(
            self._session,
            "customer_identifiers",
            _IDENTIFIER,
            (_values(row, _IDENTIFIER) for row in identifiers),
        )

    def with_erasures(self, call: Call, resolution: Resolution) -> Resolution:
        """The resolution with the erased customers who had an address of the new one."""
        if not self._erasures or resolution.outcome is not Outcome.CREATED:
            return resolution
        keys = set(map(key_of, call.identifiers))
        erasures = [e for e in self._erasures if not keys.isdisjoint(map(key_of, e.identifiers))]
        return resolution.model_copy(update={"erased_before": tuple(erasures)})

    def lock_known(self) -> None:
        """Lock the rows of those that there are, FOR NO KEY UPDATE, in the order of their ids.

        Raises:
            ConcurrentChange: one was merged or erased since the look.
        """
        ids = self._known.difference(rows.customer["id"] for rows in self._new)
        if not ids:
            return
        locked = self._session.scalars(_LOCK_CUSTOMERS, {"ids": list(ids)}).all()
        if len(locked) != len(ids) or find_erased(self._session, *ids):
            raise ConcurrentChange

    def _look(self, identifiers: dict[str, Identifier]) -> dict[str, Matches]:
        matches = find_matches_of_each(
            self._session, list(identifiers.values()), default_region=self._default_region
        )
        return dict(zip(identifiers, matches, strict=True))

    def _matches_of(self, keys: Sequence[str]) -> Matches:
        each = [self._matches[key] for key in keys]
        held = [
            holding if holding.position == position else replace(holding, position=position)
            for position, matches in enumerate(each)
            for holding in matches.held
        ]
        holders = {holding.customer_id for holding in held}
        passed_over = [id_ for matches in each for id_ in matches.passed_over if id_ not in holders]
        return Matches(sorted(held, key=age), passed_over)

    def _is_left(self, keys: Sequence[str], held: Sequence[Holding]) -> bool:
        return not self._left_keys.isdisjoint(keys) or any(
            holding.customer_id in self._left_customers for holding in held
        )

    def _make(self, call: Call, decision: NewCustomer) -> Resolution:
        rows = new_rows(call, decision)
        customer_id = rows.customer["id"]
        self._new.append(rows)
        profile = Profile(*(rows.customer[name] for name in Profile._fields))
        verified = [row["id"] for row in rows.identifiers if row["verified"]]
        for position, row in zip(decision.attach, rows.identifiers, strict=True):
            identifier = call.identifiers[position]
            self._new_identifiers[key_of(identifier)] = identifier
            has_proofs = any(id_ != row["id"] for id_ in verified)
            holding = Holding(
                position, row["id"], customer_id, identifier.verified, _LATEST, has_proofs, profile
            )
            self._matches[key_of(identifier)].held.append(holding)
        return resolution_of(call, decision, customer_id)


def _values(row: dict[str, Any], columns: Iterable[str]) -> list[Any]:
    # An enum's member is told as the text that it is.
    return [str(row[name]) if isinstance(row[name], str) else row[name] for name in columns]
