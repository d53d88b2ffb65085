"""Rows that another application inserts for a customer who is just being merged are not lost."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any
from uuid import UUID

import pytest
from psycopg.errors import ForeignKeyViolation
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.orm import Session

from app.database import is_retryable, transaction
from app.errors import AlreadyAbsorbed, BrokenReference, ConcurrentChange
from app.services import merging
from app.services.merging import merges
from app.testing import CustomerFactory, bound_to

PATIENCE = 120
WHY = {"actor": "human:7", "reason": "race"}
RULES = [
    "",
    "ON DELETE CASCADE",
    "ON DELETE SET NULL",
    "ON DELETE RESTRICT",
    "DEFERRABLE",
]
DEFERRED = ["ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED", "DEFERRABLE INITIALLY DEFERRED"]
TRIGGER = """
    CREATE TRIGGER orders_follow_redirect BEFORE INSERT ON orders
    FOR EACH ROW EXECUTE FUNCTION follow_customer_redirect('buyer')
"""


@pytest.fixture
def run(sessions) -> Callable[..., Any]:
    def call(work: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        return transaction(sessions, work, *arguments, retries=0, **options)

    return call


@pytest.fixture
def pair(sessions) -> list[UUID]:
    with sessions.begin() as session, bound_to(session):
        return [CustomerFactory().id for _ in range(2)]


def define(session: Session, rule: str, *more: str) -> None:
    session.execute(
        text(f"CREATE TABLE orders (n serial PRIMARY KEY, buyer uuid REFERENCES customers {rule})")
    )
    for statement in more:
        session.execute(text(statement))


def order(session: Session, buyer: UUID) -> int:
    return session.execute(
        text("INSERT INTO orders (buyer) VALUES (:buyer) RETURNING n"), {"buyer": buyer}
    ).scalar_one()


def buyers(session: Session) -> list[UUID | None]:
    return list(session.scalars(text("SELECT buyer FROM orders ORDER BY n")))


def merge(session: Session, survivor: UUID, absorbed: UUID) -> UUID:
    return merging.merge(session, survivor, absorbed, **WHY).id


@pytest.mark.parametrize("rule", RULES)
def test_a_row_in_flight_when_the_merge_begins_moves_with_it(sessions, run, pair, until_it_waits, rule):
    ana, other = pair
    run(define, rule)
    with sessions() as writer:
        order(writer, other)
        merged = until_it_waits(lambda: run(merge, ana, other))
        writer.commit()
        done = merged.result(PATIENCE)
    assert run(buyers) == [ana]
    assert run(merging.unmerge, done, **WHY).returned["orders"] == 1
    assert run(buyers) == [other]


@pytest.mark.parametrize("rule", RULES)
def test_a_row_inserted_during_or_after_the_merge_is_refused(sessions, run, pair, until_it_waits, rule):
    ana, other = pair
    run(define, rule)
    run(order, other)
    with sessions() as merger:
        merge(merger, ana, other)
        inserted = until_it_waits(lambda: run(order, other))
        merger.commit()
    with pytest.raises(BrokenReference):
        inserted.result(PATIENCE)
    with pytest.raises(BrokenReference):
        run(order, other)
    assert run(buyers) == [ana]


@pytest.mark.parametrize("rule", [*RULES, *DEFERRED])
def test_with_the_trigger_a_row_follows_before_during_and_after_the_merge(
    sessions, run, pair, until_it_waits, rule
):
    ana, other = pair
    run(define, rule, TRIGGER)
    with sessions() as writer:
        order(writer, other)
        merged = until_it_waits(lambda: run(merge, ana, other))
        writer.commit()
        first = merged.result(PATIENCE)
    run(merging.unmerge, first, **WHY)
    with sessions() as merger:
        merge(merger, ana, other)
        inserted = until_it_waits(lambda: run(order, other))
        merger.commit()
        inserted.result(PATIENCE)
    run(order, other)
    assert run(buyers) == [ana] * 3


@pytest.mark.parametrize("rule", DEFERRED)
def test_a_row_whose_check_is_deferred_is_refused_at_its_commit(sessions, run, pair, rule):
    ana, other = pair
    run(define, rule)
    run(order, other)
    with sessions() as writer:
        order(writer, other)
        run(merge, ana, other)
        with pytest.raises(DBAPIError) as refused:
            writer.commit()
    assert isinstance(refused.value.orig, ForeignKeyViolation)
    assert run(buyers) == [ana]


@pytest.mark.parametrize("rule", ["", "ON DELETE CASCADE", "ON DELETE SET NULL"])
def test_an_older_snapshot_that_cannot_see_a_row_deletes_nothing(sessions, run, pair, rule):
    ana, other = pair
    run(define, rule)
    engine = sessions.kw["bind"].execution_options(isolation_level="REPEATABLE READ")
    with Session(engine) as old:
        old.execute(text("SELECT 1 FROM customers"))
        run(order, other)
        with pytest.raises((OperationalError, ConcurrentChange)) as refused:
            merge(old, ana, other)
        assert is_retryable(refused.value)
        old.rollback()
        merge(old, ana, other)
        old.commit()
    assert run(buyers) == [ana]


def test_no_foreign_key_appears_between_the_plan_and_the_deletion(
    sessions, run, pair, until_it_waits, monkeypatch
):
    ana, other = pair
    with sessions.begin() as session:
        session.execute(text("CREATE TABLE orders (n serial PRIMARY KEY, buyer uuid)"))
    run(order, other)
    add = text("ALTER TABLE orders ADD FOREIGN KEY (buyer) REFERENCES customers ON DELETE CASCADE")
    read_state, added = merges.read_state, []

    def read_and_let_others_add(*arguments: Any) -> Any:
        state = read_state(*arguments)
        added.append(until_it_waits(lambda: run(lambda session: session.execute(add))))
        return state

    monkeypatch.setattr(merges, "read_state", read_and_let_others_add)
    run(merge, ana, other)
    with pytest.raises(BrokenReference):
        added[0].result(PATIENCE)
    assert run(buyers) == [other]


def test_merges_in_a_circle_move_each_row_once(run, sessions, at_once):
    run(define, "ON DELETE CASCADE")
    for _ in range(6):
        with sessions.begin() as session, bound_to(session):
            ids = [CustomerFactory().id for _ in range(3)]
        for id_ in ids:
            run(order, id_)

        def attempt(survivor: UUID, absorbed: UUID) -> None:
            with suppress(AlreadyAbsorbed):
                transaction(sessions, merge, survivor, absorbed, retries=5)

        at_once([lambda p=p: attempt(*p) for p in zip(ids, [*ids[1:], ids[0]], strict=True)])
        living = {run(merging.current_customer_id, id_) for id_ in ids}
        left = [id_ for id_ in run(buyers) if id_ in ids]
        assert (len(left), set(left)) == (3, living)
