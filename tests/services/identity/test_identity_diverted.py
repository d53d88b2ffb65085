"""Nobody reads what others wrote because he typed their address into a form before they wrote."""

from __future__ import annotations

from itertools import count
from uuid import UUID

import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from app.models import Channel, Customer, CustomerIdentifier, IdentityEvent
from app.schemas import Assurance, Identifier, IdentityPolicy, InboundMessage, Ingested, Outcome, Resolution
from app.services import conversations, identity, merging, timeline
from app.testing import CustomerFactory

HERS, HIS, MORE = "eva@x.example", "+4915199999999", "+4915188888888"
WHY = {"actor": "human:7", "reason": "why"}
numbers = count()


def email(value: str = HERS, *, verified: bool = False) -> Identifier:
    return Identifier(type="email", value=value, verified=verified)


def whatsapp(value: str = HIS, *, verified: bool = True) -> Identifier:
    return Identifier(type="whatsapp", value=value, verified=verified)


def phone(value: str = MORE) -> Identifier:
    return Identifier(type="phone", value=value)


def write(
    session: Session, *sender: Identifier, channel: Channel = Channel.WEB_FORM, **values: object
) -> Ingested:
    message = InboundMessage(
        channel=channel,
        account="support",
        provider_message_id=f"m{next(numbers)}",
        sender=sender,
        **({"content": "My secret"} | values),
    )
    return conversations.ingest(session, message)


def resolve(session: Session, *identifiers: Identifier, **options: object) -> Resolution:
    return identity.resolve(session, identifiers, channel=Channel.WEB_FORM, **options)


def held(session: Session, customer_id: UUID) -> dict[str, bool | None]:
    rows = select(CustomerIdentifier.identifier_value, CustomerIdentifier.verified)
    return {r[0]: r[1] for r in session.execute(rows.where(CustomerIdentifier.customer_id == customer_id))}


def conflicts(session: Session, customer_id: UUID) -> list[UUID | None]:
    kept = select(IdentityEvent.other_customer_id).where(
        IdentityEvent.customer_id == customer_id, IdentityEvent.event == "conflict"
    )
    return list(session.scalars(kept))


@pytest.fixture
def squatter(session) -> UUID:
    """Proves a number by WhatsApp, then types her address and another number into a form."""
    him = write(session, whatsapp(), channel=Channel.WHATSAPP, content="Hi").customer_id
    form = write(session, whatsapp(verified=False), email(), phone(), content="I am Eva")
    assert (form.customer_id, held(session, him)) == (him, {HIS: True, HERS: False, MORE: False})
    return him


@pytest.mark.parametrize("sender", [email(), phone(), whatsapp(MORE, verified=False)], ids=str)
def test_who_writes_from_an_address_that_somebody_typed_is_not_read_by_him(
    session, queries, squatter, sender
):
    first = write(session, sender)
    assert first.customer_id != squatter
    assert (first.resolution.outcome, first.resolution.assurance) == (Outcome.CREATED, Assurance.CLAIMED)
    assert first.resolution.candidates == (squatter,)
    assert conflicts(session, first.customer_id) == [squatter]
    # Nothing that he holds has moved, and nothing of his profile is gone.
    assert held(session, squatter) == {HIS: True, HERS: False, MORE: False}
    assert held(session, first.customer_id) == {}
    # The same sender is the same customer, in the same conversation, for one statement and without an event.
    second = write(session, sender)
    assert (second.customer_id, second.conversation_id) == (first.customer_id, first.conversation_id)
    queries.reset()
    again = resolve(session, sender)
    assert (again.customer_id, again.outcome, again.candidates) == (first.customer_id, Outcome.MATCHED, ())
    assert queries.count == 1, queries
    assert conflicts(session, first.customer_id) == [squatter]
    # He proves what he can, and reads what he wrote himself.
    asks = write(session, whatsapp(), channel=Channel.WHATSAPP, content="What did I order?")
    assert (asks.customer_id, asks.resolution.assurance) == (squatter, Assurance.VERIFIED)
    assert [entry.content for entry in timeline.history(session, squatter).items] == [
        "What did I order?",
        "I am Eva",
        "Hi",
    ]


@pytest.mark.parametrize("in_profile", [False, True])
def test_her_proof_makes_hers_what_she_wrote_before(session, squatter, in_profile):
    if in_profile:
        session.execute(text("UPDATE customers SET email = 'EVA@x.example' WHERE id = :id"), {"id": squatter})
    before = write(session, email()).customer_id
    proven = write(session, email(verified=True), channel=Channel.EMAIL)
    assert (proven.customer_id, proven.resolution.assurance) == (before, Assurance.VERIFIED)
    assert held(session, before) == {HERS: True}
    assert held(session, squatter) == {HIS: True, MORE: False}
    session.expire_all()
    assert session.get_one(Customer, before).email == HERS
    assert session.get_one(Customer, squatter).contact_email is None
    # From now on even a claim is hers.
    assert write(session, email()).customer_id == before
    assert len(timeline.history(session, squatter).items) == 2


def test_his_address_in_his_profile_is_not_lost_to_somebody_who_only_types_it(session):
    him = resolve(session, whatsapp(), email("him@x.example")).customer_id
    assert session.get_one(Customer, him).email == "him@x.example"
    stranger = resolve(session, email("him@x.example")).customer_id
    session.expire_all()
    assert stranger != him
    assert session.get_one(Customer, him).email == "him@x.example"
    assert session.get_one(Customer, stranger).contact_email is None


def test_a_profile_of_a_proven_customer_is_such_a_claim_too(session):
    him = CustomerFactory(with_whatsapp=True, email=HERS)
    first = resolve(session, email())
    assert (first.customer_id != him.id, first.candidates, conflicts(session, first.customer_id)) == (
        True,
        (him.id,),
        [him.id],
    )
    assert held(session, first.customer_id) == {HERS: False}
    assert resolve(session, email()).customer_id == first.customer_id
    assert him.email == HERS


def test_whoever_is_led_on_and_then_proves_something_else_reads_no_more_of_it(session, squatter):
    """An attacker cannot plant himself in the place where her next message goes."""
    second = write(session, email(), whatsapp("+4915177777777", verified=False)).customer_id
    proven = write(session, whatsapp("+4915177777777"), channel=Channel.WHATSAPP)
    assert proven.customer_id == second
    hers = write(session, email())
    assert hers.customer_id not in {squatter, second}
    assert set(hers.resolution.candidates) == {squatter, second}
    assert write(session, email()).customer_id == hers.customer_id


def test_a_proof_beside_the_address_reaches_nobody(session, squatter):
    hers = write(session, email()).customer_id
    other = resolve(session, whatsapp("+4915177777777"), email())
    assert other.outcome is Outcome.CREATED
    assert other.customer_id not in {squatter, hers}
    assert set(other.candidates) == {squatter, hers}
    assert resolve(session, email()).customer_id == hers


def test_an_identifier_that_he_proved_still_leads_to_him(session, squatter):
    both = resolve(session, email(), whatsapp(verified=False))
    assert (both.customer_id, both.assurance, both.outcome) == (squatter, Assurance.CLAIMED, Outcome.MATCHED)


def test_what_he_proves_later_is_his(session, squatter):
    resolve(session, email())
    assert resolve(session, whatsapp(), email(verified=True)).customer_id == squatter
    assert held(session, squatter)[HERS] is True
    assert resolve(session, email(verified=True)).customer_id == squatter


def test_a_person_who_merges_the_two_decides_it(session, squatter):
    hers = resolve(session, email()).customer_id
    done = merging.merge(session, squatter, hers, **WHY).id
    assert resolve(session, email()).customer_id == squatter
    assert resolve(session, email()).assurance is Assurance.CLAIMED
    merging.unmerge(session, done, **WHY)
    assert resolve(session, email()).customer_id == hers


def test_a_merge_of_a_customer_without_proofs_brings_its_claims_along_until_it_is_undone(session):
    typed = resolve(session, email()).customer_id
    him = resolve(session, whatsapp()).customer_id
    done = merging.merge(session, him, typed, **WHY).id
    assert resolve(session, email()).customer_id == him
    merging.unmerge(session, done, **WHY)
    assert resolve(session, email()).customer_id == typed


def test_a_merge_of_two_squatters_does_not_make_her_address_theirs(session, squatter):
    other = resolve(session, whatsapp("+4915177777777")).customer_id
    merging.merge(session, other, squatter, **WHY)
    assert resolve(session, email()).customer_id not in {other, squatter}


def test_what_the_other_functions_see_is_the_holder(session, squatter):
    hers = resolve(session, email()).customer_id
    assert identity.find_customer(session, email()).id == squatter
    row = select(CustomerIdentifier.id).where(CustomerIdentifier.identifier_value == HERS)
    identity.detach_identifier(session, session.scalars(row).one(), actor="human:7")
    assert identity.find_customer(session, email()).id == hers


def test_the_lenient_policy_is_the_lookup_by_any_identifier(session, squatter):
    resolve(session, email())
    lenient = resolve(session, email(), policy=IdentityPolicy.LENIENT)
    assert (lenient.customer_id, lenient.outcome) == (squatter, Outcome.MATCHED)
