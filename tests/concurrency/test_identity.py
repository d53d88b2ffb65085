"""However many callers meet one new person at once, there is one customer and nobody sees an error."""

from __future__ import annotations

from uuid import UUID

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session, sessionmaker

from app.database import transaction
from app.errors import IdentifierTaken
from app.models import Channel, Customer, CustomerIdentifier
from app.schemas import Identifier, Resolution
from app.services import identity, merging
from app.testing import CustomerFactory, CustomerIdentifierFactory, bound_to


def keys(person: int) -> list[Identifier]:
    return [
        Identifier(type="email", value=f"Person{person}@example.com"),
        Identifier(type="phone", value=f"+49151{person:08}"),
        Identifier(type="whatsapp", value=f"US.{person:014}"),
    ]


# For each person one of these; any two sets that callers use for a person have a key in common.
SETS = {
    "same": [(0, 1)],
    "reversed": [(0, 1), (1, 0)],
    "overlapping": [(0, 1), (1, 2), (2, 0), (0, 1, 2)],
}


def resolve(session: Session, identifiers: list[Identifier]) -> Resolution:
    return identity.resolve(session, identifiers, channel=Channel.WEB_FORM)


def meet(sessions: sessionmaker[Session], at_once, *, callers: int, people: int, sets: list[str]) -> None:
    """Every caller resolves every person in the same order, so that all want the same one at one time."""
    styles = [SETS[sets[person % len(sets)]] for person in range(people)]

    def caller(number: int) -> list[UUID]:
        found = []
        for person, style in enumerate(styles):
            with sessions.begin() as session:
                chosen = [keys(person)[key] for key in style[number % len(style)]]
                found.append(resolve(session, chosen).customer_id)
        return found

    answers = at_once([lambda number=number: caller(number) for number in range(callers)])
    assert all(answer == answers[0] for answer in answers)
    assert len(set(answers[0])) == people
    with sessions() as session:
        assert session.scalar(select(func.count()).select_from(Customer)) == people
        used = sum(len({key for chosen in style for key in chosen}) for style in styles)
        assert session.scalar(select(func.count()).select_from(CustomerIdentifier)) == used


def test_sixteen_callers_on_forty_new_people_make_one_customer_each(sessions, at_once):
    meet(sessions, at_once, callers=16, people=40, sets=list(SETS))


def test_transactions_that_meet_several_people_in_any_order_all_succeed(sessions, at_once):
    def work(session: Session, people: list[int]) -> list[UUID]:
        return [resolve(session, keys(person)[:2]).customer_id for person in people]

    orders = [[0, 1, 2], [2, 1, 0]]
    # Deadlocks are part of the plan here: the losers run again.
    answers = at_once(
        [lambda order=order: transaction(sessions, work, order, retries=10) for order in orders]
    )
    found = [dict(zip(order, answer, strict=True)) for order, answer in zip(orders, answers, strict=True)]
    assert all(answer == found[0] for answer in found)
    assert len(set(found[0].values())) == 3


def test_a_backend_that_takes_no_lock_of_ours_makes_no_second_customer(sessions, until_it_waits):
    with sessions() as raw:
        insert = text("INSERT INTO customers (email) VALUES ('person1@example.com') RETURNING id")
        raw_id = raw.scalar(insert)

        def resolve_it() -> Resolution:
            with sessions.begin() as session:
                return resolve(session, keys(1)[:1])

        resolver = until_it_waits(resolve_it)
        raw.commit()
        assert resolver.result(30).customer_id == raw_id
    with sessions() as session:
        assert list(session.scalars(select(CustomerIdentifier.customer_id))) == [raw_id]


def test_a_caller_that_waited_for_a_rollback_makes_the_customer_itself(sessions, until_it_waits):
    with sessions() as first:
        given_up = resolve(first, keys(1))

        def resolve_it() -> Resolution:
            with sessions.begin() as session:
                return resolve(session, keys(1))

        second = until_it_waits(resolve_it)
        first.rollback()
        made = second.result(30)
    assert (made.outcome, made.customer_id != given_up.customer_id) == ("created", True)


def test_known_senders_take_no_lock(sessions):
    with sessions.begin() as session:
        resolve(session, keys(1))
    with sessions() as one, sessions() as other:
        resolve(one, keys(1))
        other.execute(text("SET LOCAL lock_timeout = '1s'"))
        resolve(other, keys(1))
        held = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()")
        assert (one.scalar(held), other.scalar(held)) == (0, 0)


NUMBER = Identifier(type="whatsapp", value="+4915112345678", verified=True)


def a_claim(sessions: sessionmaker[Session]) -> tuple[UUID, UUID]:
    """A customer with a proof, who only claims the number: the customer's id and the claim's."""
    with sessions.begin() as session, bound_to(session):
        ana = CustomerFactory(with_email=True)
        claim = CustomerIdentifierFactory(
            customer=ana, channel=Channel.WHATSAPP, identifier_value=NUMBER.value
        )
        return ana.id, claim.id


def proves_it(sessions: sessionmaker[Session]) -> Resolution:
    return transaction(sessions, identity.resolve, [NUMBER], channel=Channel.WHATSAPP, retries=0)


def test_a_proof_that_waits_for_another_one_takes_nothing_away(sessions, until_it_waits):
    ana, claim = a_claim(sessions)
    with sessions() as backend:
        identity.verify_identifier(backend, claim, actor="human:7")
        second = until_it_waits(lambda: proves_it(sessions))
        backend.commit()
        assert (second.result(30).customer_id, second.result(30).assurance) == (ana, "verified")


@pytest.mark.parametrize("is_undone", [False, True])
def test_who_verifies_holds_the_customer_that_a_merge_or_its_undoing_has_left_it_with(
    sessions, until_it_waits, is_undone
):
    ana, claim = a_claim(sessions)
    with sessions.begin() as session, bound_to(session):
        survivor = CustomerFactory().id
    if is_undone:
        done = transaction(sessions, merging.merge, survivor, ana, actor="human:7", reason="one person").id
    with sessions() as backend, sessions() as another, sessions() as third:
        if is_undone:
            merging.unmerge(backend, done, actor="human:7", reason="two people")
        else:
            merging.merge(backend, survivor, ana, actor="human:7", reason="one person")
        second = until_it_waits(lambda: identity.verify_identifier(another, claim, actor="human:7"))
        backend.commit()
        holder = second.result(30).customer_id
        assert holder == (ana if is_undone else survivor)
        with pytest.raises(OperationalError, match="could not obtain lock"):
            third.execute(
                text("SELECT FROM customers WHERE id = :id FOR NO KEY UPDATE NOWAIT"), {"id": holder}
            )


def test_a_proof_that_waits_for_a_detaching_makes_a_customer_with_the_address(sessions, until_it_waits):
    ana, claim = a_claim(sessions)
    with sessions() as backend:
        identity.detach_identifier(backend, claim, actor="human:7")
        second = until_it_waits(lambda: proves_it(sessions))
        backend.commit()
        owner = second.result(30).customer_id
        held = select(CustomerIdentifier.customer_id, CustomerIdentifier.verified)
        of_number = held.where(CustomerIdentifier.identifier_value == NUMBER.value)
        assert owner != ana
        assert backend.execute(of_number).one() == (owner, True)


def test_of_two_claims_that_are_proven_at_once_one_makes_a_customer_of_its_own(sessions, until_it_waits):
    address = Identifier(type="email", value="eve@example.com")
    with sessions.begin() as session:
        typed = [Identifier(type="whatsapp", value=NUMBER.value), address]
        planted = identity.resolve(session, typed, channel=Channel.WEB_FORM).customer_id
    with sessions() as first:
        proof = address.model_copy(update={"verified": True})
        assert identity.resolve(first, [proof], channel=Channel.EMAIL).customer_id == planted
        second = until_it_waits(lambda: proves_it(sessions))
        first.commit()
        assert second.result(30).customer_id != planted
        assert second.result(30).candidates == (planted,)


def test_a_claim_that_is_proven_while_the_proof_is_detached_makes_a_customer_of_its_own(sessions):
    address = Identifier(type="email", value="eve@example.com")
    with sessions.begin() as session:
        victim = identity.resolve(session, [NUMBER], channel=Channel.WHATSAPP).customer_id
        typed = [Identifier(type="whatsapp", value=NUMBER.value), address]
        identity.resolve(session, typed, channel=Channel.WEB_FORM)
        proof = session.scalars(select(CustomerIdentifier.id).where(CustomerIdentifier.verified)).one()
    with sessions() as backend:
        identity.detach_identifier(backend, proof, actor="human:7")
        claim = [address.model_copy(update={"verified": True})]
        early = transaction(sessions, identity.resolve, claim, channel=Channel.EMAIL, retries=0)
        backend.commit()
        late = transaction(sessions, identity.resolve, claim, channel=Channel.EMAIL, retries=0)
        assert early.customer_id == late.customer_id != victim


def test_an_identifier_that_is_attached_again_is_told_as_it_is_now(sessions):
    ana, claim = a_claim(sessions)
    with sessions() as session:
        loaded = session.get_one(CustomerIdentifier, claim)
        transaction(sessions, identity.verify_identifier, claim, actor="human:7")
        again = identity.attach_identifier(
            session,
            ana,
            Identifier(type="whatsapp", value=NUMBER.value),
            channel=Channel.WHATSAPP,
            actor="human:7",
        )
        assert again is loaded
        assert again.verified


@pytest.mark.parametrize("attached_first", [False, True])
def test_a_number_attached_as_a_phone_and_met_as_a_whatsapp_id_has_one_holder(
    sessions, until_it_waits, attached_first
):
    with sessions.begin() as session, bound_to(session):
        ana = CustomerFactory().id
    number = Identifier(type="phone", value=NUMBER.value, verified=True)

    def attach(session: Session) -> UUID:
        call = {"channel": Channel.WEB_FORM, "actor": "human:7"}
        return identity.attach_identifier(session, ana, number, **call).customer_id

    def meet(session: Session) -> UUID:
        return identity.resolve(session, [NUMBER], channel=Channel.WHATSAPP).customer_id

    one, other = (attach, meet) if attached_first else (meet, attach)
    with sessions() as first:
        holder = one(first)
        second = until_it_waits(lambda: transaction(sessions, other, retries=0))
        first.commit()
        if attached_first:
            assert second.result(30) == holder == ana
        else:
            with pytest.raises(IdentifierTaken):
                second.result(30)


@pytest.mark.parametrize("same", [False, True], ids=["somebody else's", "its own"])
def test_an_address_that_plain_sql_stores_meanwhile_is_no_error_of_the_database(
    sessions, until_it_waits, same
):
    with sessions.begin() as session, bound_to(session):
        ana, other = CustomerFactory().id, CustomerFactory().id
    insert = text("""
        INSERT INTO customer_identifiers (customer_id, identifier_type, identifier_value, channel)
        VALUES (:id, 'whatsapp', :number, 'whatsapp')
    """)
    with sessions() as raw:
        raw.execute(insert, {"id": ana if same else other, "number": NUMBER.value})
        call = {"channel": Channel.WHATSAPP, "actor": "human:7", "retries": 0}
        attached = until_it_waits(
            lambda: transaction(sessions, identity.attach_identifier, ana, NUMBER, **call)
        )
        raw.commit()
        if same:
            assert (attached.result(30).customer_id, attached.result(30).verified) == (ana, True)
        else:
            with pytest.raises(IdentifierTaken):
                attached.result(30)
