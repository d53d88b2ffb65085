"""What each guard is there for: the races of this folder, once more, on services that lack one.

The triggers and the strength of the merge's lock have theirs in ``test_merge_inserts``.
"""

from __future__ import annotations

from threading import Barrier
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import NoResultFound, OperationalError
from sqlalchemy.orm import Session, sessionmaker

from app.database import transaction
from app.models import Channel, Customer
from app.schemas import Identifier
from app.services import identity, merging
from app.services._shared.redirects import find_living
from app.services.merging import merges
from app.testing import ConversationFactory, CustomerFactory, CustomerIdentifierFactory, bound_to

PATIENCE = 60
WHY = {"actor": "human:7", "reason": "race"}
NUMBER = "+4915112345678"
NO_LOCK = "NULL"
UNSORTED = "pg_advisory_xact_lock(hashtext(name)) FROM unnest(names) AS name"


def lock_addresses_by(sessions: sessionmaker[Session], what: str) -> None:
    """Put something else in the place of the lock on addresses."""
    with sessions.begin() as session:
        session.execute(
            text(f"""
                CREATE OR REPLACE FUNCTION lock_addresses(names text[]) RETURNS void LANGUAGE plpgsql
                AS $$ BEGIN PERFORM {what}; END $$
            """)
        )


def people(sessions: sessionmaker[Session], number: int) -> list[UUID]:
    with sessions.begin() as session, bound_to(session):
        made = [CustomerFactory(with_email=True, email=f"{uuid4()}@example.com") for _ in range(number)]
        for customer in made:
            ConversationFactory(customer=customer)
        return [customer.id for customer in made]


def resolve(session: Session, *identifiers: Identifier) -> UUID:
    return identity.resolve(session, identifiers, channel=Channel.WHATSAPP).customer_id


def merge(session: Session, survivor_id: UUID, absorbed_id: UUID) -> UUID:
    return merging.merge(session, survivor_id, absorbed_id, **WHY).id


def test_without_the_lock_on_addresses_one_number_makes_two_customers(sessions):
    lock_addresses_by(sessions, NO_LOCK)
    with sessions() as one, sessions() as other:
        found = {
            resolve(session, Identifier(type=type_, value=NUMBER, verified=True))
            for session, type_ in ((one, "phone"), (other, "whatsapp"))
        }
        one.commit()
        other.commit()
    assert len(found) == 2


def test_without_an_order_the_locks_on_addresses_end_in_a_deadlock(sessions, at_once):
    lock_addresses_by(sessions, UNSORTED)
    keys = [Identifier(type="email", value=f"{n}@example.com") for n in range(20)]

    def work(asked: list[Identifier]) -> None:
        for _ in range(30):
            with sessions() as session:
                resolve(session, *asked)

    with pytest.raises(OperationalError) as refused:
        at_once([lambda: work(keys), lambda: work(keys[::-1])] * 2)
    assert refused.value.orig.sqlstate == "40P01"


def test_without_the_lock_on_addresses_a_proof_takes_another_one_away(sessions, until_it_waits):
    lock_addresses_by(sessions, NO_LOCK)
    (ana,) = people(sessions, 1)
    with sessions.begin() as session, bound_to(session):
        claim = CustomerIdentifierFactory(
            customer_id=ana, channel=Channel.WHATSAPP, identifier_value=NUMBER
        ).id
    proof = Identifier(type="whatsapp", value=NUMBER, verified=True)
    with sessions() as backend:
        identity.verify_identifier(backend, claim, actor="human:7")
        second = until_it_waits(lambda: transaction(sessions, resolve, proof))
        backend.commit()
        assert second.result(PATIENCE) != ana


def test_without_an_order_a_into_b_against_b_into_a_is_a_deadlock(sessions, at_once, monkeypatch):
    both_have_one = Barrier(2)

    def as_asked(session: Session, *ids: UUID) -> bool:
        for id_ in ids:
            session.execute(select(Customer.id).where(Customer.id == id_).with_for_update())
            if id_ == ids[0]:
                both_have_one.wait(PATIENCE)
        return True

    monkeypatch.setattr(merges, "_lock_both", as_asked)
    pair = people(sessions, 2)
    with pytest.raises(OperationalError) as refused:
        at_once([lambda p=p: transaction(sessions, merge, *p, retries=0) for p in (pair, pair[::-1])])
    assert refused.value.orig.sqlstate == "40P01"


def test_without_a_look_after_the_lock_who_waited_merges_somebody_who_is_gone(
    sessions, until_it_waits, monkeypatch
):
    lock_both = merges._lock_both
    monkeypatch.setattr(merges, "_lock_both", lambda *call: lock_both(*call) or True)
    ana, other = people(sessions, 2)
    with sessions() as first:
        merge(first, ana, other)
        second = until_it_waits(lambda: transaction(sessions, merge, other, ana))
        first.commit()
        # Where it should be AlreadyAbsorbed, which tells the caller whom to go on with.
        assert isinstance(second.exception(PATIENCE), AssertionError)


def test_without_the_living_customers_lock_an_undoing_looks_for_a_survivor_who_is_gone(
    sessions, until_it_waits, monkeypatch
):
    monkeypatch.setattr(merges, "lock_living", lambda session, id_, **_: find_living(session, id_))
    former, ana, last = people(sessions, 3)
    first = transaction(sessions, merge, ana, former)
    with sessions() as merger:
        merge(merger, last, ana)
        undone = until_it_waits(lambda: transaction(sessions, merging.unmerge, first, **WHY))
        merger.commit()
    with pytest.raises(NoResultFound):
        undone.result(PATIENCE)
