"""Tickets are moved and assigned; every change has an actor and an entry in the record."""

from __future__ import annotations

from uuid import uuid4

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.errors import (
    CRMError,
    IllegalTransition,
    InvalidValue,
    StaleStatus,
    TicketNotFound,
)
from app.models import (
    TRANSITIONS,
    Channel,
    Customer,
    Ticket,
    TicketCategory,
    TicketStatus,
    TicketStatusChange,
)
from app.services import tickets
from app.testing import CustomerFactory, TicketFactory, bound_to

OPEN, RESOLVED, CLOSED, ESCALATED, WAITING = (
    TicketStatus.OPEN,
    TicketStatus.RESOLVED,
    TicketStatus.CLOSED,
    TicketStatus.ESCALATED,
    TicketStatus.WAITING,
)
OPENED = {
    "subject": "Cannot sign in",
    "category": TicketCategory.ACCOUNT_ACCESS,
    "source_channel": Channel.EMAIL,
    "actor": "ai:support-agent",
}
ILLEGAL = [(a, b) for a in TicketStatus for b in TicketStatus if b not in TRANSITIONS[a] | {a}]


def raw_change(session: Session, ticket: Ticket, status: str) -> None:
    session.execute(text("UPDATE tickets SET status = :s WHERE id = :id"), {"s": status, "id": ticket.id})


def test_a_change_costs_one_statement_and_is_recorded(session, queries):
    ticket = TicketFactory()
    queries.reset()
    changed = tickets.change_status(session, ticket.id, RESOLVED, actor="human:7", comment="sent the steps")
    assert queries.count == 1, queries
    assert changed is ticket
    assert ticket.status is RESOLVED
    assert ticket.resolved_at is not None
    entry = tickets.status_history(session, ticket.id)[-1]
    assert (entry.old_status, entry.new_status, entry.forced) == (OPEN, RESOLVED, False)
    assert (entry.changed_by, entry.comment) == ("human:7", "sent the steps")
    assert entry.db_user == session.scalar(text("SELECT session_user"))


@pytest.mark.parametrize(("start", "to"), ILLEGAL)
def test_an_illegal_transition_is_refused_with_the_legal_ones_and_changes_nothing(session, start, to):
    ticket = TicketFactory(status=start)
    before = len(tickets.status_history(session, ticket.id))
    with pytest.raises(IllegalTransition) as caught:
        tickets.change_status(session, ticket.id, to, actor="human:7", resolution_notes="no")
    assert (caught.value.old_status, caught.value.new_status) == (start, to)
    assert set(caught.value.legal) == TRANSITIONS[start]
    session.refresh(ticket)
    assert ticket.status is start
    assert ticket.resolution_notes is None
    assert len(tickets.status_history(session, ticket.id)) == before


def test_a_forced_change_is_made_and_shown_as_forced(session):
    ticket = TicketFactory(status=CLOSED)
    tickets.change_status(session, ticket.id, WAITING, actor="human:1", comment="wrong button", force=True)
    entry = tickets.status_history(session, ticket.id)[-1]
    assert (entry.old_status, entry.new_status, entry.forced) == (CLOSED, WAITING, True)
    # The permission is used up, also within the transaction.
    tickets.change_status(session, ticket.id, CLOSED, actor="human:1", force=True)
    assert tickets.status_history(session, ticket.id)[-1].forced is False
    with pytest.raises(IntegrityError, match="cannot go from closed to waiting"), session.begin_nested():
        raw_change(session, ticket, "waiting")


def test_the_present_status_is_no_change_and_leaves_no_entry(session, queries):
    ticket = TicketFactory(status=WAITING)
    before = len(tickets.status_history(session, ticket.id))
    queries.reset()
    assert tickets.change_status(session, ticket.id, WAITING, actor="human:7") is ticket
    assert queries.count == 2, queries
    tickets.change_status(session, ticket.id, WAITING, actor="human:7", resolution_notes="so far nothing")
    assert ticket.resolution_notes == "so far nothing"
    assert len(tickets.status_history(session, ticket.id)) == before


NO_CHANGES = [
    lambda session, id_, **said: tickets.change_status(session, id_, WAITING, **said),
    lambda session, id_, **said: tickets.change_status(session, id_, WAITING, force=True, **said),
    lambda session, id_, **said: tickets.assign(session, id_, "human:9", **said),
    lambda session, id_, **said: tickets.change_priority(session, id_, "high", **said),
    lambda session, id_, **said: tickets.change_category(session, id_, "billing", **said),
    tickets.reopen,
]


@pytest.mark.parametrize("call", NO_CHANGES)
def test_a_comment_on_what_stays_as_it_is_is_kept_as_a_remark(session, call):
    ticket = TicketFactory(status=WAITING, assigned_to="human:9", priority="high", category="billing")
    life = tickets.lifecycle(session, ticket.id)
    call(session, ticket.id, actor="human:7", comment="still no answer")
    entry = tickets.status_history(session, ticket.id)[-1]
    assert (entry.old_status, entry.new_status, entry.forced) == (WAITING, WAITING, False)
    assert (entry.changed_by, entry.comment) == ("human:7", "still no answer")
    assert tickets.field_history(session, ticket.id) == []
    assert tickets.verify_history(session) == []
    after = tickets.lifecycle(session, ticket.id)
    assert (after.reopens, after.assignee_changes, after.status) == (0, 0, WAITING)
    assert after.time_in[WAITING] >= life.time_in[WAITING]
    raw_change(session, ticket, "resolved")
    assert tickets.status_history(session, ticket.id)[-1].comment is None


def test_a_remark_on_a_closed_ticket_does_not_close_it_again(session):
    ticket = TicketFactory(status=CLOSED)
    session.execute(text("ALTER TABLE ticket_status_changes DISABLE TRIGGER USER"))
    session.execute(text("UPDATE ticket_status_changes SET changed_at = now() - interval '15 days'"))
    tickets.change_status(session, ticket.id, CLOSED, actor="human:7", comment="nothing came")
    assert tickets.reopen(session, ticket.id, actor="human:7").id != ticket.id


def test_notes_and_reasons_are_kept_until_somebody_writes_others(session):
    ticket = TicketFactory()
    tickets.change_status(
        session, ticket.id, ESCALATED, actor="ai:agent", escalation_reason="asks for a refund"
    )
    tickets.change_status(session, ticket.id, RESOLVED, actor="human:7", resolution_notes="refunded")
    for status in (CLOSED, OPEN, ESCALATED, WAITING):
        tickets.change_status(session, ticket.id, status, actor="human:7")
        assert (ticket.escalation_reason, ticket.resolution_notes) == ("asks for a refund", "refunded")
    tickets.change_status(session, ticket.id, RESOLVED, actor="human:7", resolution_notes="refunded twice")
    assert ticket.resolution_notes == "refunded twice"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("actor", "db:postgres"),
        ("actor", None),
        ("comment", ""),
        ("comment", "\ud800"),
        ("resolution_notes", "\x00"),
        ("escalation_reason", "x" * 256),
        ("escalation_reason", 7),
        ("new_status", "reopened"),
        ("expected_status", "new"),
        ("ticket_id", "TKT-0001"),
    ],
)
def test_a_bad_field_of_a_change_is_named_and_nothing_is_sent(session, queries, field, value):
    given = {"ticket_id": uuid4(), "new_status": RESOLVED, "actor": "human:7"} | {field: value}
    with pytest.raises(InvalidValue) as caught:
        tickets.change_status(session, given.pop("ticket_id"), given.pop("new_status"), **given)
    assert caught.value.field == field
    assert queries.count == 0, queries


def test_what_is_missing_is_said(session):
    nobody = uuid4()
    for ask in (
        lambda: tickets.change_status(session, nobody, RESOLVED, actor="human:7"),
        lambda: tickets.assign(session, nobody, "human:7", actor="human:7"),
        lambda: tickets.get_ticket(session, nobody),
        lambda: tickets.get_ticket(session, "TKT-999999999"),
        lambda: tickets.status_history(session, nobody),
    ):
        with pytest.raises(TicketNotFound):
            ask()


def test_the_actor_is_not_inherited_by_the_next_statement(session):
    ticket = TicketFactory()
    user = session.scalar(text("SELECT session_user"))
    tickets.change_status(session, ticket.id, TicketStatus.PROCESSING, actor="human:7", comment="mine")
    raw_change(session, ticket, "waiting")
    last = tickets.status_history(session, ticket.id)[-1]
    assert (last.changed_by, last.comment) == (f"db:{user}", None)

    for mistake in (OPEN, ESCALATED):
        tickets.change_status(session, ticket.id, RESOLVED, actor="human:7")
        with pytest.raises(CRMError):
            tickets.change_status(session, ticket.id, ESCALATED, actor="human:8", expected_status=mistake)
        raw_change(session, ticket, "open")
        assert tickets.status_history(session, ticket.id)[-1].changed_by == f"db:{user}"


def test_the_actor_of_a_change_that_was_rolled_back_is_forgotten(session):
    ticket = TicketFactory()
    savepoint = session.begin_nested()
    tickets.change_status(session, ticket.id, WAITING, actor="human:7")
    savepoint.rollback()
    raw_change(session, ticket, "resolved")
    statuses = [(e.new_status, e.changed_by[:3]) for e in tickets.status_history(session, ticket.id)]
    assert statuses == [(OPEN, "ai:"), (RESOLVED, "db:")]


def test_of_two_agents_with_one_stale_read_the_second_is_told(crm_clone):
    with Session(crm_clone) as session, bound_to(session):
        ticket_id = TicketFactory(status=WAITING).id
        session.commit()
    one, two = (Session(crm_clone, expire_on_commit=False) for _ in range(2))
    with one, two:
        held = [session.get_one(Ticket, ticket_id) for session in (one, two)]
        one.commit()
        two.commit()
        tickets.change_status(one, ticket_id, RESOLVED, actor="human:1", expected_status=WAITING)
        one.commit()
        # The second session still holds the object as it was.
        assert held[1].status is WAITING
        with pytest.raises(StaleStatus, match="expected to be waiting and is resolved") as caught:
            tickets.change_status(two, ticket_id, ESCALATED, actor="human:2", expected_status=WAITING)
        assert (caught.value.expected, caught.value.actual) == (WAITING, RESOLVED)
        assert tickets.get_ticket(two, ticket_id).status is RESOLVED
        two.commit()
        assert [e.new_status for e in tickets.status_history(one, ticket_id)][-1] is RESOLVED


def test_a_session_is_usable_after_each_refusal_and_nothing_was_written(session):
    ticket = TicketFactory(status=RESOLVED)
    entries = select(func.count()).select_from(TicketStatusChange)
    before = session.scalar(entries)
    for refused in (
        lambda: tickets.change_status(session, ticket.id, WAITING, actor="human:7"),
        lambda: tickets.change_status(session, ticket.id, OPEN, actor="human:7", expected_status=OPEN),
        lambda: tickets.change_status(session, uuid4(), OPEN, actor="human:7"),
        lambda: tickets.assign(session, ticket.id, "nobody", actor="human:7"),
        lambda: tickets.open_ticket(session, customer_id=uuid4(), **OPENED),
    ):
        with pytest.raises(CRMError):
            refused()
        assert session.scalar(entries) == before
    tickets.change_status(session, ticket.id, CLOSED, actor="human:7")
    assert session.scalar(entries) == before + 1


def test_a_ticket_is_assigned_and_taken_back(session, queries):
    ticket = TicketFactory(status=TicketStatus.PROCESSING)
    entries = len(tickets.status_history(session, ticket.id))
    queries.reset()
    assert tickets.assign(session, ticket.id, "human:9", actor="human:7").assigned_to == "human:9"
    assert queries.count == 1, queries
    assert tickets.assign(session, ticket.id, "human:9", actor="human:7").assigned_to == "human:9"
    assert tickets.assign(session, ticket.id, None, actor="human:7").assigned_to is None
    assert (ticket.status, len(tickets.status_history(session, ticket.id))) == (
        TicketStatus.PROCESSING,
        entries,
    )


@pytest.mark.parametrize(
    "fields", [{"assignee": ""}, {"assignee": "Bob"}, {"actor": ""}, {"actor": "Bob"}, {"comment": "\x00"}]
)
def test_assigning_takes_known_spellings_only(session, queries, fields):
    with pytest.raises(InvalidValue) as caught:
        tickets.assign(session, uuid4(), **({"assignee": "human:9", "actor": "human:7"} | fields))
    assert caught.value.field in fields
    assert queries.count == 0, queries


@pytest.mark.parametrize("value", ["false", "true", 0, 1, None, "on"])
@pytest.mark.parametrize("flag", ["force", "with_conversation"])
def test_only_true_and_false_are_flags(session, queries, flag, value):
    with pytest.raises(InvalidValue, match=rf"^{flag}: "):
        tickets.change_status(session, uuid4(), CLOSED, actor="human:7", **{flag: value})
    assert queries.count == 0, queries


def test_the_caller_s_own_actor_stays_when_a_service_has_acted(session):
    ticket, customer = TicketFactory(), CustomerFactory()
    session.execute(
        text("SELECT set_config('crm.actor', 'human:7', true), set_config('crm.comment', 'by hand', true)")
    )
    act = {"actor": "ai:agent"}
    for call, then in [
        (lambda: tickets.open_ticket(session, customer_id=customer.id, **OPENED), "processing"),
        (lambda: tickets.change_status(session, ticket.id, WAITING, **act), "processing"),
        (lambda: tickets.assign(session, ticket.id, "human:9", **act, comment="knows it"), "waiting"),
        (lambda: tickets.change_status(session, ticket.id, WAITING, **act, comment="again"), "processing"),
        (TicketFactory, "resolved"),
    ]:
        call()
        raw_change(session, ticket, then)
        entry = tickets.status_history(session, ticket.id)[-1]
        assert (entry.new_status, entry.changed_by, entry.comment) == (then, "human:7", "by hand")
    services = [e for e in tickets.status_history(session, ticket.id) if e.changed_by == "ai:agent"]
    assert [e.comment for e in services] == [None, "again"]


def test_a_history_is_one_statement_however_long(session, queries):
    ticket = TicketFactory(status=CLOSED)
    counts = []
    for _ in range(2):
        session.expunge_all()
        queries.reset()
        counts.append((len(tickets.status_history(session, ticket.id)), queries.count))
        for status in (OPEN, WAITING, RESOLVED, CLOSED):
            tickets.change_status(session, ticket.id, status, actor="human:7")
    assert counts == [(4, 1), (8, 1)]
    seqs = [entry.seq for entry in tickets.status_history(session, ticket.id)]
    assert seqs == sorted(seqs)


def test_a_customer_with_tickets_cannot_be_deleted_unseen(session):
    ticket = TicketFactory()
    savepoint = session.begin_nested()
    session.delete(session.get(Customer, ticket.customer_id))
    with pytest.raises(IntegrityError):
        session.flush()
    savepoint.rollback()
    assert tickets.get_ticket(session, ticket.id)
