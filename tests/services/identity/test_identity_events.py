"""Every decision about who is who leaves an event, in its transaction, once, without an address, for good."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from app.errors import AppendOnly, IdentifierNotFound, IdentifierTaken, InvalidValue, from_database
from app.models import Channel, CustomerIdentifier, IdentityEvent
from app.schemas import CustomerProfile, Identifier
from app.services import identity, merging
from app.testing import CustomerFactory, CustomerIdentifierFactory

NUMBER = "+4915112345678"


def email(value: str = "ana@example.com", *, verified: bool = False) -> Identifier:
    return Identifier(type="email", value=value, verified=verified)


def whatsapp(*, verified: bool = True) -> Identifier:
    return Identifier(type="whatsapp", value=NUMBER, verified=verified)


def resolve(session: Session, *identifiers: Identifier) -> UUID:
    return identity.resolve(session, identifiers, channel=Channel.WEB_FORM).customer_id


def events(session: Session) -> list[IdentityEvent]:
    """Those of services: what factories store with plain SQL leaves its own."""
    of_services = IdentityEvent.actor.not_like("db:%")
    return list(session.scalars(select(IdentityEvent).where(of_services).order_by(IdentityEvent.seq)))


def facts(session: Session) -> list[tuple[str, UUID, UUID | None, str]]:
    return [(e.event, e.customer_id, e.other_customer_id, e.actor) for e in events(session)]


SYSTEM = "system:identity"


def test_a_new_person_is_created_and_gets_its_identifiers(session):
    ana = resolve(session, email(), whatsapp())
    assert facts(session) == [
        ("created", ana, None, SYSTEM),
        ("attached", ana, None, SYSTEM),
        ("attached", ana, None, SYSTEM),
    ]
    held = set(session.scalars(select(CustomerIdentifier.id)))
    assert {e.identifier_id for e in events(session)} - {None} == held


def test_a_known_sender_with_nothing_new_leaves_no_event(session):
    resolve(session, email(), whatsapp())
    before = facts(session)
    resolve(session, email(), whatsapp())
    resolve(session, whatsapp(verified=False))
    assert facts(session) == before


def test_a_claim_that_is_attached_and_then_proven(session):
    ana = CustomerFactory(with_email=True)
    resolve(session, email(ana.email, verified=True), email("second@example.com"))
    assert facts(session) == [("attached", ana.id, None, SYSTEM)]
    resolve(session, email(ana.email, verified=True), email("second@example.com", verified=True))
    assert facts(session)[1:] == [("verified", ana.id, None, SYSTEM)]


def test_a_claim_that_another_customer_proves_to_be_its_own(session):
    ana = CustomerFactory(with_email=True)
    claim = CustomerIdentifierFactory(customer=ana, channel=Channel.WHATSAPP, identifier_value=NUMBER)
    owner = resolve(session, whatsapp())
    assert facts(session) == [("created", owner, None, SYSTEM), ("reassigned", owner, ana.id, SYSTEM)]
    assert events(session)[1].identifier_id == claim.id


def test_a_conflict_is_kept_once_and_not_with_every_message(session):
    ana, ben, cat = (CustomerFactory(with_email=True) for _ in range(3))
    for _ in range(3):
        resolve(session, email(ana.email, verified=True), email(ben.email))
    assert facts(session) == [("conflict", ana.id, ben.id, SYSTEM)]
    # Only the rival that is new is told.
    for _ in range(2):
        resolve(session, email(ana.email, verified=True), email(ben.email), email(cat.email))
    assert facts(session)[1:] == [("conflict", ana.id, cat.id, SYSTEM)]


def test_a_proof_beside_somebody_elses_address_is_a_conflict_of_the_new_customer(session):
    victim = CustomerFactory(with_email=True)
    stranger = resolve(session, whatsapp(), email(victim.email))
    assert ("conflict", stranger, victim.id, SYSTEM) in facts(session)
    before = facts(session)
    resolve(session, whatsapp(), email(victim.email))
    resolve(session, whatsapp(), email(victim.email))
    assert len(facts(session)) == len(before)


def test_what_a_backend_proves_attaches_and_detaches_names_its_actor_and_reason(session):
    ana = CustomerFactory()
    given = identity.attach_identifier(session, ana.id, email(), channel=Channel.EMAIL, actor="human:7")
    identity.verify_identifier(session, given.id, actor="system:otp")
    identity.detach_identifier(session, given.id, actor="human:8", reason="recycled number")
    assert facts(session) == [
        ("attached", ana.id, None, "human:7"),
        ("verified", ana.id, None, "system:otp"),
        ("detached", ana.id, None, "human:8"),
    ]
    assert {e.identifier_id for e in events(session)} == {given.id}
    assert events(session)[-1].reason == "recycled number"


@pytest.mark.parametrize("asked", ["phone", "whatsapp"])
def test_a_detached_number_is_gone_as_a_phone_and_as_a_whatsapp_id(session, asked):
    ana = CustomerFactory(phone=NUMBER)
    rows = {
        type_: CustomerIdentifierFactory(customer=ana, identifier_type=type_, identifier_value=NUMBER).id
        for type_ in ("phone", "whatsapp")
    }
    kept = CustomerIdentifierFactory(customer=ana).id
    identity.detach_identifier(session, rows[asked], actor="human:7", reason="recycled number")
    assert session.scalars(select(CustomerIdentifier.id)).all() == [kept]
    assert [(e.event, e.reason) for e in events(session)] == [("detached", "recycled number")] * 2
    assert {e.identifier_id for e in events(session)} == set(rows.values())
    assert resolve(session, whatsapp()) != ana.id


def test_what_changes_nothing_leaves_no_event(session):
    ana = CustomerFactory()
    given = identity.attach_identifier(
        session, ana.id, email(verified=True), channel=Channel.EMAIL, actor="human:7"
    )
    before = facts(session)
    identity.verify_identifier(session, given.id, actor="human:7")
    for verified in (True, False):
        again = identity.attach_identifier(
            session,
            ana.id,
            email(" ANA@example.com", verified=verified),
            channel=Channel.EMAIL,
            actor="human:7",
        )
        assert again.id == given.id
    assert facts(session) == before


def test_attaching_a_proof_of_a_claim_verifies_it(session):
    ana = CustomerFactory()
    for verified in (False, True):
        given = identity.attach_identifier(
            session, ana.id, email(verified=verified), channel=Channel.EMAIL, actor="human:7"
        )
        assert given.verified is verified
    assert [fact[0] for fact in facts(session)] == ["attached", "verified"]


def test_a_merge_and_its_undoing_name_both_customers_and_the_merge(session):
    ana, other = CustomerFactory().id, CustomerFactory().id
    done = merging.merge(session, ana, other, actor="human:7", reason="same person").id
    merging.merge(session, ana, other, actor="human:9", reason="again")
    merging.unmerge(session, done, actor="human:8", reason="two people")
    merging.unmerge(session, done, actor="human:9", reason="again")
    assert facts(session) == [("merged", ana, other, "human:7"), ("unmerged", other, ana, "human:8")]
    assert [(e.merge_id, e.reason) for e in events(session)] == [(done, "same person"), (done, "two people")]


REFUSED: dict[str, tuple[Callable[..., Any], dict[str, Any], type[Exception]]] = {
    "taken": (identity.attach_identifier, {"identifier": email("taken@example.com")}, IdentifierTaken),
    "blocked": (identity.attach_identifier, {"identifier": email("noreply@example.com")}, InvalidValue),
    "ill-formed": (identity.attach_identifier, {"identifier": email("ana")}, InvalidValue),
    "no channel": (identity.attach_identifier, {"channel": "fax"}, InvalidValue),
    "no actor": (identity.attach_identifier, {"actor": "me"}, InvalidValue),
    "verify: no identifier": (identity.verify_identifier, {"identifier_id": UUID(int=1)}, IdentifierNotFound),
    "verify: no actor": (identity.verify_identifier, {"actor": "me"}, InvalidValue),
    "detach: no identifier": (identity.detach_identifier, {"identifier_id": UUID(int=1)}, IdentifierNotFound),
    "detach: no id": (identity.detach_identifier, {"identifier_id": "1"}, InvalidValue),
    "detach: bad reason": (identity.detach_identifier, {"reason": ""}, InvalidValue),
}


@pytest.mark.parametrize(("service", "options", "error"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused_leaves_no_event_and_no_change(session, service, options, error):
    ana = CustomerFactory(with_email=True)
    CustomerIdentifierFactory(identifier_value="taken@example.com")
    held = select(CustomerIdentifier.id, CustomerIdentifier.customer_id, CustomerIdentifier.verified)
    before = session.execute(held).all()
    arguments: dict[str, Any] = {"actor": "human:7"}
    if service is identity.attach_identifier:
        arguments |= {"customer_id": ana.id, "identifier": email(), "channel": Channel.EMAIL}
    else:
        arguments |= {"identifier_id": before[0].id}
    with pytest.raises(error):
        service(session, **(arguments | options))
    assert (facts(session), session.execute(held).all()) == ([], before)


def test_a_decision_that_is_rolled_back_leaves_no_event(session):
    savepoint = session.begin_nested()
    resolve(session, email(), whatsapp())
    savepoint.rollback()
    assert facts(session) == []


def test_no_event_holds_an_address_or_a_name(session):
    ana = resolve(session, email(), whatsapp())
    other = identity.resolve(
        session,
        [email("eve@example.com", verified=True), whatsapp(verified=False)],
        channel=Channel.EMAIL,
        profile=CustomerProfile(name="Eve Secret"),
    ).customer_id
    merging.merge(session, ana, other, actor="human:7", reason="the same person")
    told = " ".join(session.scalars(text("SELECT to_jsonb(e)::text FROM identity_events AS e")))
    assert len(events(session)) >= 5
    assert not [word for word in ("@example.com", NUMBER[1:], "Secret") if word in told]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE identity_events SET actor = 'human:9'",
        "DELETE FROM identity_events",
        "TRUNCATE identity_events",
    ],
)
@pytest.mark.parametrize("role", ["origin", "replica"])
def test_nobody_changes_or_removes_an_event(session, statement, role):
    resolve(session, email())
    session.execute(text(f"SET LOCAL session_replication_role = {role}"))
    with pytest.raises(DBAPIError) as caught, session.begin_nested():
        session.execute(text(statement))
    assert isinstance(from_database(caught.value), AppendOnly)


def test_an_event_keeps_the_database_user_and_the_clocks_time(session):
    resolve(session, email(), whatsapp())
    user = session.scalar(text("SELECT session_user"))
    assert {e.db_user for e in events(session)} == {user}
    times = [e.created_at for e in events(session)]
    assert times == sorted(times)
    assert times[0] >= session.scalar(text("SELECT now()"))
