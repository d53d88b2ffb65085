"""Whoever changes who holds an address leaves one event: with plain SQL too, and a service only one."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from app.models import IdentityEvent
from app.services import identity, merging
from app.testing import CustomerFactory, CustomerIdentifierFactory

ATTACH = """
    INSERT INTO customer_identifiers (customer_id, identifier_type, identifier_value, channel, verified)
    VALUES (:one, 'email', 'ana@example.com', 'email', false)
"""
OF_ANA = "WHERE identifier_value = 'ana@example.com'"
STEPS = {
    "inserted": (ATTACH, "attached", False),
    "moved": (f"UPDATE customer_identifiers SET customer_id = :other {OF_ANA}", "reassigned", True),
    "verified": (f"UPDATE customer_identifiers SET verified = true {OF_ANA}", "verified", False),
    "taken back": (f"UPDATE customer_identifiers SET verified = false {OF_ANA}", "verified", False),
    "changed": (
        f"UPDATE customer_identifiers SET identifier_value = 'eva@example.com' {OF_ANA}",
        "attached",
        False,
    ),
    "deleted": (f"DELETE FROM customer_identifiers {OF_ANA}", "detached", False),
}


@pytest.fixture
def two(session: Session) -> dict[str, object]:
    return {"one": CustomerFactory().id, "other": CustomerFactory().id}


def events(session: Session) -> list[IdentityEvent]:
    session.expire_all()
    return list(session.scalars(select(IdentityEvent).order_by(IdentityEvent.seq)))


@pytest.mark.parametrize("actor", ["human:7", None, "anybody"])
@pytest.mark.parametrize("step", STEPS)
def test_a_change_with_plain_sql_leaves_one_event(session, two, step, actor):
    statement, event, has_other = STEPS[step]
    if step != "inserted":
        session.execute(text(ATTACH), two)
    if step == "taken back":
        session.execute(text(STEPS["verified"][0]))
    before = len(events(session))
    if actor is not None:
        session.execute(text("SELECT set_config('crm.actor', :actor, true)"), {"actor": actor})

    session.execute(text(statement), two)

    (left,) = events(session)[before:]
    user = session.scalar(text("SELECT session_user"))
    known_as = {"human:7": "human:7", None: f"db:{user}", "anybody": f"db:{user} as anybody"}
    assert (left.event, left.actor, left.db_user) == (event, known_as[actor], user)
    assert left.customer_id == (two["other"] if has_other else two["one"])
    assert left.other_customer_id == (two["one"] if has_other else None)
    assert "@" not in str(left.details)


def test_what_changes_nothing_leaves_none(session, two):
    session.execute(text(ATTACH), two)
    before = len(events(session))

    for same in ("verified = verified", "channel = 'web_form'", "identifier_value = ' ANA@example.com'"):
        session.execute(text(f"UPDATE customer_identifiers SET {same}"))

    assert len(events(session)) == before


def test_a_customer_that_is_deleted_takes_its_identifiers_along_on_record(session, two):
    session.execute(text(ATTACH), two)

    session.execute(text("DELETE FROM customers WHERE id = :one"), two)

    assert events(session)[-1].event == "detached"


def test_a_merge_with_plain_sql_leaves_its_event_and_so_does_its_undoing(session, two):
    session.execute(
        text("""
            INSERT INTO customer_merges (survivor_id, absorbed_id, actor, reason, absorbed)
            VALUES (:one, :other, 'human:7', 'one person', '{}')
        """),
        two,
    )
    session.execute(text("UPDATE customer_merges SET undone_at = now(), undone_by = 'human:8'"))

    assert [(event.event, event.customer_id, event.actor) for event in events(session)] == [
        ("merged", two["one"], "human:7"),
        ("unmerged", two["other"], "human:8"),
    ]


def test_a_merge_by_the_service_tells_of_its_rows_once(session, two):
    for id_ in two.values():
        CustomerIdentifierFactory(customer_id=id_)
    before = len(events(session))

    merge = merging.merge(session, two["one"], two["other"], actor="human:7", reason="one")
    merging.unmerge(session, merge.id, actor="human:7", reason="two")

    assert [event.event for event in events(session)[before:]] == ["merged", "unmerged"]


def test_a_move_is_on_record_where_an_old_merge_once_moved_the_same_row(session, two):
    identifier = CustomerIdentifierFactory(customer_id=two["other"])
    merge = merging.merge(session, two["one"], two["other"], actor="human:7", reason="one")
    merging.unmerge(session, merge.id, actor="human:7", reason="two")
    session.execute(text("ALTER TABLE customer_merges DISABLE TRIGGER USER"))
    session.execute(text("UPDATE customer_merges SET merged_at = '2020-01-01', undone_at = '2020-01-02'"))
    before = len(events(session))

    move = text("UPDATE customer_identifiers SET customer_id = :to WHERE id = :id")
    for to in ("one", "other"):
        session.execute(move, {"to": two[to], "id": identifier.id})

    assert [event.event for event in events(session)[before:]] == ["reassigned", "reassigned"]


def test_a_service_names_its_actor_for_its_own_statement_only(session, two):
    identifier = CustomerIdentifierFactory(customer_id=two["one"], verified=False)
    identity.verify_identifier(session, identifier.id, actor="human:7")

    session.execute(text("DELETE FROM customer_identifiers"))

    first, last = events(session)[-2:]
    assert (first.event, first.actor) == ("verified", "human:7")
    assert (last.event, last.actor) == ("detached", f"db:{session.scalar(text('SELECT session_user'))}")


TOLD_BY_TRIGGERS = ["attached", "detached", "verified", "reassigned", "merged", "unmerged", "erased"]


@pytest.mark.parametrize("event", TOLD_BY_TRIGGERS)
def test_what_triggers_tell_nobody_else_can(session, two, event):
    id_ = str(two["one"])
    forged = {"customer_id": id_, "identifier_id": id_, "event": event, "actor": "human:1"}

    session.execute(text("SELECT record_identity_events(CAST(:e AS jsonb))"), {"e": json.dumps([forged])})

    assert events(session) == []


def test_replica_mode_bypasses_nothing(session, two):
    session.execute(text("SET LOCAL session_replication_role = replica"))
    session.execute(text(ATTACH), two)

    assert [event.event for event in events(session)] == ["attached"]
