"""Merges and their undoing against each other, and against everything that goes on meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count, pairwise
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from app.database import transaction
from app.errors import AlreadyAbsorbed
from app.models import Channel, Customer, CustomerIdentifier, IdentityEvent, Message
from app.schemas import CustomerProfile, Identifier, InboundMessage, OutboundMessage
from app.services import conversations, duplicates, identity, merging
from app.testing import (
    ConversationFactory,
    CustomerFactory,
    CustomerIdentifierFactory,
    MessageFactory,
    TicketFactory,
    bound_to,
)

PATIENCE = 120
WHY = {"actor": "human:7", "reason": "race"}
TABLES = ["customer_identifiers", "conversations", "messages", "tickets"]
numbers = count()


@pytest.fixture
def people(sessions) -> Callable[[int], list[UUID]]:
    """Customers, each with one row in every table."""

    def make(number: int) -> list[UUID]:
        with sessions.begin() as session, bound_to(session):
            made = [CustomerFactory(with_email=True, email=f"{uuid4()}@example.com") for _ in range(number)]
            for customer in made:
                conversation = ConversationFactory(customer=customer)
                MessageFactory(conversation=conversation)
                TicketFactory(conversation=conversation)
            return [customer.id for customer in made]

    return make


@pytest.fixture
def run(sessions) -> Callable[..., Any]:
    """Run a service in a transaction of its own; nothing is retried unless a test says so."""

    def call(work: Callable[..., Any], *arguments: Any, retries: int = 0, **options: Any) -> Any:
        return transaction(sessions, work, *arguments, retries=retries, **options)

    return call


def conversation_of(session: Session, customer_id: UUID) -> UUID:
    found = text("SELECT min(id::text)::uuid FROM conversations WHERE customer_id = :id")
    return session.execute(found, {"id": customer_id}).scalar_one()


def merge(session: Session, survivor: UUID, absorbed: UUID) -> UUID:
    return merging.merge(session, survivor, absorbed, **WHY).id


def unmerge(session: Session, merge_id: UUID) -> Any:
    return merging.unmerge(session, merge_id, **WHY)


def whatsapp(number: str) -> Identifier:
    return Identifier(type="whatsapp", value=number, verified=True)


def a_number() -> str:
    return f"+49151{next(numbers):08}"


def rows_of(session: Session, customer_id: UUID) -> list[int]:
    counted = "SELECT count(*) FROM {} WHERE customer_id = :id"
    return [session.scalar(text(counted.format(table)), {"id": customer_id}) for table in TABLES]


def test_a_into_b_against_b_into_a_has_one_winner_and_no_deadlock(people, run, at_once):
    for _ in range(8):
        pair = people(2)

        def attempt(survivor: UUID, absorbed: UUID) -> UUID:
            try:
                run(merge, survivor, absorbed)
            except AlreadyAbsorbed as late:
                return late.current_id
            return survivor

        first, second = at_once([lambda p=p: attempt(*p) for p in (pair, pair[::-1])])
        assert first == second
        assert {run(merging.current_customer_id, id_) for id_ in pair} == {first}
        assert run(rows_of, first) == [2, 2, 2, 2]


def test_one_merge_asked_for_by_eight_callers_happens_once(people, run, at_once):
    ana, other = people(2)
    assert len(set(at_once([lambda: run(merge, ana, other)] * 8))) == 1
    assert run(rows_of, ana) == [2, 2, 2, 2]


def test_a_chain_of_merges_at_once_ends_in_one_customer(people, run, at_once):
    for _ in range(5):
        chain = people(5)

        def attempt(survivor: UUID, absorbed: UUID) -> None:
            while True:
                try:
                    run(merge, survivor, absorbed)
                except AlreadyAbsorbed as late:
                    survivor = late.current_id
                else:
                    return

        at_once([lambda p=p: attempt(p[1], p[0]) for p in pairwise(chain)])
        assert {run(merging.current_customer_id, id_) for id_ in chain} == {chain[-1]}
        assert run(rows_of, chain[-1]) == [5, 5, 5, 5]


def test_a_merge_against_senders_who_tell_and_prove_something_new(sessions, people, run, at_once):
    for _ in range(6):
        ana, other = people(2)
        with sessions.begin() as session, bound_to(session):
            known = session.get_one(Customer, other).email
            unproven = CustomerFactory(name=None, company=None)
            claim = CustomerIdentifierFactory(customer=unproven, identifier_value=f"{uuid4()}@example.com")
            claimed, unproven_id = claim.identifier_value, unproven.id
        told, number = Identifier(type="email", value=f"{uuid4()}@example.com"), a_number()
        profile = CustomerProfile(name="Ana", company="Silva & Co")

        def resolve(*identifiers: Identifier) -> UUID:
            return run(
                identity.resolve,
                identifiers,
                channel=Channel.EMAIL,
                profile=profile,  # noqa: B023
            ).customer_id

        works = [
            lambda: run(merge, ana, other),  # noqa: B023
            lambda: resolve(Identifier(type="email", value=known, verified=True), told),  # noqa: B023
            lambda: run(merge, ana, unproven_id),  # noqa: B023
            lambda: resolve(Identifier(type="email", value=claimed, verified=True)),  # noqa: B023
            lambda: resolve(Identifier(type="email", value=known, verified=True), whatsapp(number)),  # noqa: B023
        ]
        at_once(works)
        with sessions() as session:
            for value in (known, told.value, number):
                rows = session.scalars(
                    select(CustomerIdentifier.customer_id).where(CustomerIdentifier.identifier_value == value)
                ).all()
                assert rows == [ana]
            owner = identity.find_customer(session, Identifier(type="email", value=claimed)).id
            # Proved on the unproven customer, or taken from who had become a proven one.
            assert owner == ana or merging.current_customer_id(session, unproven_id) == ana


def test_a_merge_against_messages_of_both(sessions, run, at_once):
    def write(number: str) -> Any:
        message = InboundMessage(
            channel=Channel.WHATSAPP,
            account="+15550000000",
            provider_message_id=f"SM{next(numbers)}",
            sender=(whatsapp(number),),
            profile=CustomerProfile(name="Ana"),
            content="Hi",
        )
        return run(conversations.ingest, message)

    for _ in range(6):
        pair = [a_number(), a_number()]
        first = [write(number) for number in pair]
        ids = [ingested.customer_id for ingested in first]
        works = [lambda n=n: write(n) for n in pair * 2]
        written = at_once([lambda: run(merge, *ids), *works])[1:]  # noqa: B023
        with sessions() as session:
            for ingested, number in zip(written, pair * 2, strict=True):
                assert session.get_one(Message, ingested.message_id).customer_id == ids[0]
                assert conversations.reply_target(session, ingested.conversation_id).value == number
            # Each number still has one conversation.
            assert {w.conversation_id for w in written} == {f.conversation_id for f in first}


@pytest.mark.parametrize("service", ["reply", "attach", "attach again", "verify", "detach"])
def test_a_service_that_waits_for_a_merge_works_on_the_survivor(
    sessions, people, run, until_it_waits, service
):
    ana, other = people(2)
    conversation = run(conversation_of, other)
    with sessions() as session:
        row = session.scalars(select(CustomerIdentifier).where(CustomerIdentifier.customer_id == other)).one()
        own, known = row.id, Identifier(type="email", value=row.identifier_value)
        session.rollback()
        added = Identifier(type="email", value=f"{uuid4()}@example.com")
        work = {
            "reply": lambda: run(conversations.reply, conversation, OutboundMessage(content="Hi")),
            "attach": lambda: run(
                identity.attach_identifier, other, added, channel=Channel.EMAIL, actor="human:7"
            ),
            "attach again": lambda: run(
                identity.attach_identifier, other, known, channel=Channel.EMAIL, actor="human:7"
            ),
            "verify": lambda: run(identity.verify_identifier, own, actor="human:7"),
            "detach": lambda: run(identity.detach_identifier, own, actor="human:7"),
        }[service]
        if service == "verify":
            with sessions.begin() as setup:
                setup.get_one(CustomerIdentifier, own).verified = False
        merge(session, ana, other)
        waiting = until_it_waits(work)
        session.commit()
        result = waiting.result(PATIENCE)
        if service == "detach":
            assert rows_of(session, ana)[0] == 1
        else:
            assert result.customer_id == ana


def test_two_messages_at_once_do_not_overwrite_each_others_profile(sessions, run, until_it_waits):
    with sessions.begin() as session, bound_to(session):
        ana = CustomerFactory(with_whatsapp=True, with_email=True, email=f"{uuid4()}@example.com", name=None)
        known = [Identifier(type="email", value=ana.email, verified=True), whatsapp(ana.phone)]
    options = {"channel": Channel.EMAIL}
    with sessions() as first:
        identity.resolve(first, known[:1], profile=CustomerProfile(name="Ana"), **options)
        second = until_it_waits(
            lambda: run(identity.resolve, known[1:], profile=CustomerProfile(name="Eve"), **options)
        )
        first.commit()
        assert second.result(PATIENCE).customer_id == ana.id
        assert first.get_one(Customer, ana.id, populate_existing=True).name == "Ana"


def test_a_merge_against_the_detaching_of_an_identifier(sessions, people, run, at_once):
    for _ in range(6):
        ana, other = people(2)
        with sessions() as session:
            owned = select(CustomerIdentifier.id).where(CustomerIdentifier.customer_id == other)
            own = session.scalars(owned).one()
        works = [
            lambda: run(merge, ana, other),  # noqa: B023
            lambda: run(identity.detach_identifier, own, actor="human:7"),  # noqa: B023
        ]
        at_once(works)
        assert run(rows_of, ana)[1:] == [2, 2, 2]


def test_a_merge_against_the_undoing_of_another_with_the_same_survivor(sessions, people, run, at_once):
    for _ in range(6):
        former, ana, last = people(3)
        first = run(merge, ana, former)
        report, second = at_once([lambda: run(unmerge, first), lambda: run(merge, last, ana)])  # noqa: B023
        assert set(report.stayed.values()) == {0}
        assert (run(rows_of, former), run(rows_of, last)) == ([1, 1, 1, 1], [2, 2, 2, 2])
        assert set(run(unmerge, second).stayed.values()) == {0}
        assert [run(rows_of, id_) for id_ in (former, ana, last)] == [[1, 1, 1, 1]] * 3


def test_one_undoing_asked_for_by_eight_callers_happens_once(people, run, at_once):
    ana, other = people(2)
    done = run(merge, ana, other)
    reports = at_once([lambda: run(unmerge, done)] * 8)
    assert all(report == reports[0] for report in reports)
    assert (run(rows_of, ana), run(rows_of, other)) == ([1, 1, 1, 1], [1, 1, 1, 1])


def test_the_merges_of_a_chain_are_undone_at_once(people, run, at_once):
    for _ in range(6):
        chain = people(4)
        done = [run(merge, survivor, absorbed) for absorbed, survivor in pairwise(chain)]
        for report in at_once([lambda m=m: run(unmerge, m) for m in done]):
            assert set(report.stayed.values()) == {0}
        assert [run(rows_of, id_) for id_ in chain] == [[1, 1, 1, 1]] * 4


def test_an_undoing_that_waits_for_another_takes_its_rows_from_who_has_them_then(
    sessions, people, run, until_it_waits
):
    former, ana, last = people(3)
    first, second = run(merge, ana, former), run(merge, last, ana)
    with sessions() as undoer:
        unmerge(undoer, second)
        waiting = until_it_waits(lambda: run(unmerge, first))
        undoer.commit()
    report = waiting.result(PATIENCE)
    assert (report.survivor_id, set(report.stayed.values())) == (ana, {0})
    assert [run(rows_of, id_) for id_ in (former, ana, last)] == [[1, 1, 1, 1]] * 3


def test_a_merge_repeated_while_it_is_being_undone_happens_again(sessions, people, run, until_it_waits):
    ana, other = people(2)
    done = run(merge, ana, other)
    with sessions() as undoer:
        unmerge(undoer, done)
        again = until_it_waits(lambda: run(merge, ana, other))
        undoer.commit()
    assert again.result(PATIENCE) != done
    assert run(rows_of, ana) == [2, 2, 2, 2]


def test_a_pair_that_is_rejected_in_both_orders_at_once_is_rejected_once(sessions, people, run, at_once):
    for _ in range(20):
        pair = people(2)
        works = [lambda p=p: run(duplicates.reject_duplicate, *p, **WHY) for p in (pair, pair[::-1]) * 2]
        at_once(works)
        with sessions() as session:
            told = select(IdentityEvent.event).where(IdentityEvent.customer_id.in_(pair))
            assert [event for event in session.scalars(told) if event != "attached"] == ["not_duplicate"]


def test_a_rejection_against_the_merge_of_one_of_the_two_is_about_who_is_left(sessions, people, run, at_once):
    for _ in range(10):
        ana, other, last = people(3)

        def reject(one: UUID) -> None:
            run(duplicates.reject_duplicate, one, other, **WHY)  # noqa: B023

        at_once([lambda: run(merge, last, ana), lambda: reject(ana)])  # noqa: B023
        # Known by now, so that saying it again adds nothing.
        reject(last)
        with sessions() as session:
            told = select(IdentityEvent.id).where(
                IdentityEvent.event == "not_duplicate", IdentityEvent.other_customer_id == other
            )
            assert len(session.scalars(told).all()) == 1
