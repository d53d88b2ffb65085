"""Who ever proved something is never taken over by somebody who proves a claim that he planted."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from app.errors import AppendOnly, from_database
from app.models import Channel, Customer, CustomerIdentifier, LostProof
from app.schemas import Assurance, Identifier, Resolution
from app.services import identity, merging
from app.testing import CustomerFactory, CustomerIdentifierFactory

NUMBER, ATTACKERS = "+4915112345678", "eve@example.com"
WHY = {"actor": "human:7", "reason": "why"}


def whatsapp(value: str = NUMBER, *, verified: bool = True) -> Identifier:
    return Identifier(type="whatsapp", value=value, verified=verified)


def email(value: str = ATTACKERS, *, verified: bool = False) -> Identifier:
    return Identifier(type="email", value=value, verified=verified)


def resolve(session: Session, *identifiers: Identifier) -> Resolution:
    return identity.resolve(session, identifiers, channel=Channel.WEB_FORM)


def row_of(session: Session, value: str) -> CustomerIdentifier:
    found = select(CustomerIdentifier).where(CustomerIdentifier.identifier_value == value)
    return session.scalars(found, execution_options={"populate_existing": True}).one()


@pytest.fixture
def victim(session) -> UUID:
    """Somebody who has proved a number; then the attacker's form gave it with the attacker's address."""
    proven = resolve(session, whatsapp()).customer_id
    form = resolve(session, whatsapp(verified=False), email())
    assert (form.customer_id, form.assurance) == (proven, Assurance.CLAIMED)
    return proven


def detached(session: Session, victim: UUID) -> None:
    identity.detach_identifier(session, row_of(session, NUMBER).id, **WHY)


def unmerged(session: Session, victim: UUID) -> None:
    """The proofs were another customer's, who got them back; what came since stays with the survivor."""
    survivor = CustomerFactory().id
    done = merging.merge(session, survivor, victim, **WHY).id
    resolve(session, whatsapp(verified=False), email("second@example.com"))
    merging.unmerge(session, done, **WHY)


def absorbed(session: Session, victim: UUID) -> None:
    """Who absorbed somebody with a lost proof has the history too."""
    detached(session, victim)
    merging.merge(session, CustomerFactory().id, victim, **WHY)


def absorbed_twice(session: Session, victim: UUID) -> None:
    absorbed(session, victim)
    merging.merge(session, CustomerFactory().id, row_of(session, ATTACKERS).customer_id, **WHY)


def restored(session: Session, victim: UUID) -> None:
    """Restored, with the proof that it had lost before it was absorbed."""
    detached(session, victim)
    done = merging.merge(session, CustomerFactory().id, victim, **WHY).id
    merging.unmerge(session, done, **WHY)


def plain(statement: str) -> Callable[[Session, UUID], None]:
    def change(session: Session, victim: UUID) -> None:
        other = CustomerFactory().id
        session.execute(text(statement), {"number": NUMBER, "other": other})
        session.expire_all()

    return change


LOST = {
    "detached": detached,
    "unmerged": unmerged,
    "absorbed": absorbed,
    "absorbed twice": absorbed_twice,
    "restored": restored,
    "deleted with SQL": plain("DELETE FROM customer_identifiers WHERE identifier_value = :number"),
    "moved with SQL": plain(
        "UPDATE customer_identifiers SET customer_id = :other WHERE identifier_value = :number"
    ),
    "unproved with SQL": plain(
        "UPDATE customer_identifiers SET verified = false WHERE identifier_value = :number"
    ),
    "unknown with SQL": plain(
        "UPDATE customer_identifiers SET verified = NULL WHERE identifier_value = :number"
    ),
    "deleted as a replica": plain("""
        SET LOCAL session_replication_role = replica;
        DELETE FROM customer_identifiers WHERE identifier_value = '+4915112345678';
        SET LOCAL session_replication_role = origin
    """),
}


@pytest.mark.parametrize("lose", LOST.values(), ids=LOST)
def test_who_lost_its_proofs_is_not_taken_over_by_a_planted_claim(session, queries, lose, victim):
    lose(session, victim)
    planted = "second@example.com" if lose is unmerged else ATTACKERS
    holder = row_of(session, planted).customer_id
    taker = resolve(session, email(planted, verified=True))
    assert taker.customer_id != holder
    assert (taker.outcome, taker.assurance, taker.candidates) == ("created", "verified", (holder,))
    assert row_of(session, planted).customer_id == taker.customer_id
    # To know it costs a known sender nothing.
    queries.reset()
    assert resolve(session, email(planted, verified=True)).customer_id == taker.customer_id
    assert queries.count == 1, queries


SPELLINGS = {"phone": "+49 (0)151 12345678", "email": " ANA@x.example"}
CANONICAL = {"phone": NUMBER, "email": "ana@x.example"}


@pytest.mark.parametrize("in_row", [True, False], ids=["a row and the profile", "the profile alone"])
@pytest.mark.parametrize("field", SPELLINGS)
def test_what_somebody_else_proves_goes_out_of_the_profile_that_claimed_it(session, field, in_row):
    claimer = CustomerFactory(with_whatsapp=True, **{field: SPELLINGS[field]})
    session.execute(text("UPDATE customer_identifiers SET identifier_value = '+12025550123'"))
    type_ = "email" if field == "email" else "whatsapp"
    if in_row:
        row = {"identifier_type": type_, "identifier_value": CANONICAL[field]}
        CustomerIdentifierFactory(customer=claimer, **row)
    other = CustomerFactory(phone="+4915112345670", email="ana@y.example")
    owner = resolve(session, Identifier(type=type_, value=CANONICAL[field], verified=True))
    assert (owner.outcome, owner.candidates) == ("created", (claimer.id,))
    session.expire_all()
    assert getattr(session.get_one(Customer, owner.customer_id), field) == CANONICAL[field]
    left = claimer.phone if field == "phone" else claimer.contact_email
    kept = claimer.contact_email if field == "phone" else claimer.phone
    assert left is None
    assert kept is not None
    assert (other.phone, other.email) == ("+4915112345670", "ana@y.example")


def test_a_number_that_is_only_claimed_again_stays_in_the_profile(session):
    claimer = CustomerFactory(with_email=True, phone=NUMBER)
    CustomerIdentifierFactory(customer=claimer, channel=Channel.WHATSAPP, identifier_value=NUMBER)
    resolve(session, whatsapp(verified=False))
    resolve(session, whatsapp("+4915112345670", verified=True), whatsapp(verified=False))
    session.expire_all()
    assert claimer.phone == NUMBER


def test_who_never_proved_anything_is_still_whoever_proves_a_claim_first(session):
    typed = resolve(session, whatsapp(verified=False), email()).customer_id
    identity.detach_identifier(session, row_of(session, NUMBER).id, **WHY)
    assert resolve(session, email(verified=True)).customer_id == typed
    # Of customers who are deleted with all that they had, nothing is kept.
    assert session.scalars(select(LostProof)).all() == []
    session.execute(text("DELETE FROM customers WHERE id = :id"), {"id": typed})
    assert session.scalars(select(LostProof)).all() == []


def test_a_proof_that_stays_with_its_customer_is_not_lost(session, victim):
    row = row_of(session, NUMBER)
    CustomerIdentifierFactory(customer_id=victim, identifier_value="ana@example.com", verified=True)
    session.execute(text("UPDATE customer_identifiers SET channel = 'web_form'"))
    identity.verify_identifier(session, row.id, actor="human:7")
    assert session.scalars(select(LostProof)).all() == []


@pytest.mark.parametrize(
    "statement",
    ["UPDATE lost_proofs SET customer_id = id", "DELETE FROM lost_proofs", "TRUNCATE lost_proofs"],
)
def test_nobody_forgets_a_lost_proof(session, victim, statement):
    detached(session, victim)
    with pytest.raises(DBAPIError) as refused, session.begin_nested():
        session.execute(text(statement))
    assert isinstance(from_database(refused.value), AppendOnly)
