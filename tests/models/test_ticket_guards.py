"""The database guards the tickets' state machine and their record, whoever writes and however."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from itertools import product

import pytest
from psycopg import errors
from sqlalchemy import Engine, select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import Session

from app.database import make_engine
from app.errors import IllegalTransition
from app.models import TRANSITIONS, Customer, Ticket, TicketStatus, TicketStatusChange
from app.services import tickets
from app.testing import CustomerFactory, TicketFactory, bound_to

RAW = {
    "update": "UPDATE tickets SET status = :to WHERE id = :id",
    "merge": """
        MERGE INTO tickets t USING (SELECT CAST(:id AS uuid) AS id) AS s ON t.id = s.id
        WHEN MATCHED THEN UPDATE SET status = :to
    """,
    "upsert": """
        INSERT INTO tickets (id, customer_id, subject, category, source_channel, status)
        SELECT id, customer_id, subject, category, source_channel, :to FROM tickets WHERE id = :id
        ON CONFLICT (id) DO UPDATE SET status = EXCLUDED.status
    """,
    "with": "WITH u AS (UPDATE tickets SET status = :to WHERE id = :id RETURNING 1) SELECT count(*) FROM u",
}
WAYS = [*RAW, "attribute", "bulk", "many", "service"]
BROKEN_LINKS = text("""
    SELECT count(*) FROM (
        SELECT hash = ticket_status_change_hash(c) AS is_sound,
            prev_hash = lag(hash, 1, decode(repeat('00', 32), 'hex'))
                OVER (PARTITION BY ticket_id ORDER BY seq) AS is_linked
        FROM ticket_status_changes c
    ) AS entries
    WHERE NOT (is_sound AND is_linked)
""")


def change(session: Session, way: str, ticket: Ticket, to: TicketStatus | None) -> None:
    if way in RAW:
        session.execute(text(RAW[way]), {"id": ticket.id, "to": to})
    elif way == "attribute":
        ticket.status = to
        session.flush()
    elif way == "bulk":
        session.execute(update(Ticket).where(Ticket.id == ticket.id).values(status=to))
    elif way == "many":
        session.execute(update(Ticket), [{"id": ticket.id, "status": to}])
    else:
        tickets.change_status(session, ticket.id, to, actor="human:7", escalation_reason="angry")


def is_reached(session: Session, way: str, start: TicketStatus, to: TicketStatus | None) -> bool:
    """Whether the ticket gets there; checks that the record follows, and that nothing moves otherwise."""
    ticket = new_ticket(session, start)
    reached = True
    try:
        with session.begin_nested():
            change(session, way, ticket, to)
    except IllegalTransition:
        reached = False
    except IntegrityError as error:
        reached = error.orig.diag.constraint_name != "tickets_status_transition"
    session.expire_all()
    assert tickets.get_ticket(session, ticket.id).status is (to if reached else start)
    entries = [entry.new_status for entry in tickets.status_history(session, ticket.id)]
    assert entries == ([start, to] if reached and to is not start else [start])
    return reached


def new_ticket(session: Session, status: TicketStatus) -> Ticket:
    """Stored in that status at once, as an import would, so that its record has one entry."""
    customer = session.scalars(select(Customer).limit(1)).one_or_none() or CustomerFactory()
    ticket = TicketFactory.build(customer=customer, status=status)
    session.add(ticket)
    session.flush()
    return ticket


@pytest.mark.parametrize("start", TicketStatus)
@pytest.mark.parametrize("way", WAYS)
def test_a_ticket_goes_where_the_state_machine_says_however_it_is_sent(session, way, start):
    assert {to for to in TicketStatus if is_reached(session, way, start, to)} == TRANSITIONS[start] | {start}


@pytest.mark.parametrize("way", ["update", "merge", "with", "attribute", "bulk", "many"])
def test_a_status_cannot_be_taken_away(session, way):
    assert not any(is_reached(session, way, start, None) for start in TicketStatus)


def test_a_connection_that_never_heard_of_forcing_cannot_force(crm_clone: Engine):
    with Session(crm_clone) as session, bound_to(session):
        ticket_id = TicketFactory(status=TicketStatus.RESOLVED).id
        session.commit()
    crm_clone.dispose()
    with Session(crm_clone) as session:
        assert session.scalar(text("SELECT current_setting('crm.force', true)")) is None
        with pytest.raises(IntegrityError, match="cannot go from resolved to waiting"):
            session.execute(text(RAW["update"]), {"id": ticket_id, "to": "waiting"})


def test_python_and_the_database_have_the_same_state_machine(session):
    allowed = text("SELECT ticket_transition_allowed(:old, :new)")
    for old, new in product(TicketStatus, TicketStatus):
        assert session.scalar(allowed, {"old": old, "new": new}) is (new in TRANSITIONS[old]), (old, new)
    for status in TicketStatus:
        assert session.scalar(allowed, {"old": None, "new": status}) is False
        assert not session.scalar(allowed, {"old": status, "new": None})
        assert session.scalar(allowed, {"old": "new", "new": status}) is False


@pytest.mark.parametrize("status", [None, *TicketStatus])
def test_a_ticket_may_be_stored_in_any_status_and_its_record_starts_there(session, status):
    ticket = TicketFactory()
    raw_id = session.scalar(
        text("""
            INSERT INTO tickets (customer_id, subject, category, source_channel, status)
            SELECT customer_id, subject, category, source_channel, :status FROM tickets WHERE id = :id
            RETURNING id
        """),
        {"status": status, "id": ticket.id},
    )
    raw = tickets.get_ticket(session, raw_id)
    assert raw.status is (status or TicketStatus.OPEN)
    assert (raw.resolved_at is not None) is (status == "resolved")
    (entry,) = tickets.status_history(session, raw_id)
    assert (entry.old_status, entry.new_status, entry.forced) == (None, raw.status, False)
    user = session.scalar(text("SELECT session_user"))
    assert (entry.changed_by, entry.db_user, entry.comment) == (f"db:{user}", user, None)


def test_one_statement_over_many_tickets_writes_one_entry_for_each(session):
    made = [TicketFactory() for _ in range(5)]
    session.execute(
        text("UPDATE tickets SET status = 'waiting' WHERE id = ANY (:ids)"), {"ids": [t.id for t in made]}
    )
    assert [len(tickets.status_history(session, ticket.id)) for ticket in made] == [2] * 5
    assert session.scalar(BROKEN_LINKS) == 0


def test_a_raw_client_can_name_its_actor_for_the_transaction(session):
    ticket = TicketFactory()
    session.execute(
        text("SELECT set_config('crm.actor', 'ai:triage', true), set_config('crm.comment', 'sorted', true)")
    )
    for status in ("processing", "waiting"):
        session.execute(text(RAW["update"]), {"id": ticket.id, "to": status})
    entries = tickets.status_history(session, ticket.id)[1:]
    assert [(entry.changed_by, entry.comment) for entry in entries] == [("ai:triage", "sorted")] * 2


def test_an_endless_actor_is_cut_and_does_not_stop_the_change(session):
    ticket = TicketFactory()
    session.execute(text("SELECT set_config('crm.actor', repeat('x', 1000), true)"))
    session.execute(text(RAW["update"]), {"id": ticket.id, "to": "waiting"})
    user = session.scalar(text("SELECT session_user"))
    assert tickets.status_history(session, ticket.id)[-1].changed_by == f"db:{user} as {'x' * 1000}"[:255]


def test_resolved_at_is_kept_by_the_database(session):
    ticket = TicketFactory()

    def times(to: str) -> datetime | None:
        session.execute(text(RAW["update"]), {"id": ticket.id, "to": to})
        session.refresh(ticket)
        return ticket.resolved_at

    assert times("processing") is None
    first = times("resolved")
    assert first is not None
    assert times("closed") == first
    assert times("open") is None
    second = times("resolved")
    assert second is not None
    assert second > first
    assert (times("open"), times("closed")) == (None, None)


def test_an_import_may_say_when_a_ticket_was_resolved(session):
    then = datetime(2020, 1, 1, tzinfo=UTC)
    ticket = TicketFactory()
    session.execute(
        text("UPDATE tickets SET status = 'resolved', resolved_at = :then WHERE id = :id"),
        {"then": then, "id": ticket.id},
    )
    session.refresh(ticket)
    assert ticket.resolved_at == then


TAMPERING = [
    "INSERT INTO ticket_status_changes SELECT * FROM ticket_status_changes",
    "INSERT INTO ticket_status_changes SELECT * FROM ticket_status_changes ON CONFLICT DO NOTHING",
    "UPDATE ticket_status_changes SET changed_by = 'human:1'",
    "UPDATE ticket_status_changes SET comment = '' WHERE false",
    "DELETE FROM ticket_status_changes",
    "TRUNCATE ticket_status_changes",
    "TRUNCATE tickets CASCADE",
    """MERGE INTO ticket_status_changes c USING tickets t ON c.ticket_id = t.id
       WHEN MATCHED THEN UPDATE SET comment = ''""",
    """MERGE INTO ticket_status_changes c USING tickets t ON c.ticket_id = t.id
       WHEN MATCHED THEN DELETE""",
    "WITH gone AS (DELETE FROM ticket_status_changes RETURNING 1) SELECT * FROM gone",
]


@pytest.mark.parametrize("role", ["origin", "replica"])
@pytest.mark.parametrize("statement", TAMPERING)
def test_nobody_can_add_change_or_remove_an_entry(session, statement, role):
    ticket = TicketFactory(status=TicketStatus.RESOLVED)
    before = session.execute(select(TicketStatusChange.__table__)).all()
    session.execute(text(f"SET LOCAL session_replication_role = {role}"))
    with pytest.raises(DBAPIError) as caught, session.begin_nested():
        session.execute(text(statement))
    assert isinstance(caught.value.orig, errors.RestrictViolation)
    assert caught.value.orig.diag.constraint_name == "ticket_status_changes_append_only"
    assert session.execute(select(TicketStatusChange.__table__)).all() == before
    assert before[-1].ticket_id == ticket.id


@pytest.mark.parametrize("role", ["origin", "replica"])
def test_copy_cannot_add_an_entry_either(crm_engine, role):
    with crm_engine.connect() as connection:
        connection.execute(text(f"SET LOCAL session_replication_role = {role}"))
        cursor = connection.connection.cursor()
        with pytest.raises(errors.RestrictViolation), cursor.copy("COPY ticket_status_changes FROM STDIN"):
            pass


def test_a_ticket_with_a_record_cannot_be_deleted(session):
    ticket = TicketFactory()
    with pytest.raises(IntegrityError, match="ticket_status_changes_ticket_id_fkey"), session.begin_nested():
        session.execute(text("DELETE FROM tickets WHERE id = :id"), {"id": ticket.id})


def test_replica_mode_switches_no_guard_off(session):
    ticket = TicketFactory(status=TicketStatus.RESOLVED)
    session.execute(text("SET LOCAL session_replication_role = replica"))
    with pytest.raises(IntegrityError, match="cannot go from resolved to waiting"), session.begin_nested():
        session.execute(text(RAW["update"]), {"id": ticket.id, "to": "waiting"})
    session.execute(text(RAW["update"]), {"id": ticket.id, "to": "open"})
    session.refresh(ticket)
    assert (ticket.status, ticket.resolved_at) == (TicketStatus.OPEN, None)
    assert tickets.status_history(session, ticket.id)[-1].new_status is TicketStatus.OPEN


def test_a_temporary_table_of_the_same_name_catches_no_entry(session):
    ticket = TicketFactory()
    session.execute(text("CREATE TEMP TABLE ticket_status_changes (LIKE public.ticket_status_changes)"))
    session.execute(text(RAW["update"]), {"id": ticket.id, "to": "waiting"})
    assert session.scalar(text("SELECT count(*) FROM pg_temp.ticket_status_changes")) == 0
    session.execute(text("DROP TABLE pg_temp.ticket_status_changes"))
    assert len(tickets.status_history(session, ticket.id)) == 2


def test_every_ticket_has_a_chain_of_its_own_that_can_be_verified(session):
    for status in TicketStatus:
        TicketFactory(status=status)
    assert session.scalar(BROKEN_LINKS) == 0
    entries = session.scalars(select(TicketStatusChange)).all()
    assert len({entry.hash for entry in entries}) == len(entries)
    # The owner of the table can switch the guard off; the chain then shows what was done.
    session.execute(text("ALTER TABLE ticket_status_changes DISABLE TRIGGER USER"))
    for column, value in {
        "changed_by": "'human:1'",
        "comment": "''",
        "changed_at": "changed_at - '1s'::interval",
    }.items():
        with suppress(RuntimeError), session.begin_nested():
            session.execute(
                text(f"UPDATE ticket_status_changes SET {column} = {value} WHERE seq = {entries[3].seq}")
            )
            assert session.scalar(BROKEN_LINKS) == 1, column
            raise RuntimeError
    session.execute(text(f"DELETE FROM ticket_status_changes WHERE seq = {entries[1].seq}"))
    assert session.scalar(BROKEN_LINKS) >= 1


@pytest.mark.parametrize("end", ["commit", "rollback", "illegal"])
def test_no_actor_is_left_for_the_next_user_of_a_pooled_connection(crm_clone: Engine, end):
    engine = make_engine(crm_clone.url, pool_size=1, max_overflow=0)
    with Session(engine) as session, bound_to(session):
        ticket_id = TicketFactory(actor="human:7").id
        session.commit()
        tickets.change_status(session, ticket_id, TicketStatus.RESOLVED, actor="human:7", comment="done")
        if end == "illegal":
            with pytest.raises(IllegalTransition):
                tickets.change_status(session, ticket_id, TicketStatus.WAITING, actor="human:8")
        session.rollback() if end == "rollback" else session.commit()
    with Session(engine) as session:
        session.execute(text(RAW["update"]), {"id": ticket_id, "to": "closed"})
        session.commit()
        last = tickets.status_history(session, ticket_id)[-1]
        user = session.scalar(text("SELECT session_user"))
        assert (last.new_status, last.changed_by, last.comment) == (TicketStatus.CLOSED, f"db:{user}", None)
    engine.dispose()
