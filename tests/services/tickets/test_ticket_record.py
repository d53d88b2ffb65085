"""The record of a ticket's fields and of its status: one actor a statement, whoever writes and however."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest
from psycopg import errors
from sqlalchemy import Engine, select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import Session

from app.database import make_engine
from app.errors import InvalidValue
from app.models import Ticket, TicketFieldChange, TicketRecordHead, TicketStatus, TicketStatusChange
from app.services import tickets
from app.services._shared.acting import ACTING, Mode, acting
from app.services._shared.checks import checked_actor
from app.testing import TicketFactory, bound_to

RAW = {
    "update": "UPDATE tickets SET priority = :to WHERE id = :id",
    "merge": """
        MERGE INTO tickets t USING (SELECT CAST(:id AS uuid) AS id) AS s ON t.id = s.id
        WHEN MATCHED THEN UPDATE SET priority = :to
    """,
    "upsert": """
        INSERT INTO tickets (id, customer_id, subject, category, source_channel, priority)
        SELECT id, customer_id, subject, category, source_channel, :to FROM tickets WHERE id = :id
        ON CONFLICT (id) DO UPDATE SET priority = EXCLUDED.priority
    """,
    "with": "WITH u AS (UPDATE tickets SET priority = :to WHERE id = :id RETURNING 1) SELECT count(*) FROM u",
}
GUARDED = ["ticket_field_changes", "ticket_record_heads"]


def user_of(session: Session) -> str:
    return session.scalar(text("SELECT session_user"))


def act_as(session: Session, actor: str, comment: str = "", *, once: bool = False) -> None:
    prefix = "crm.once_" if once else "crm."
    session.execute(
        text(
            "SELECT set_config(:prefix || 'actor', :actor, true), "
            "set_config(:prefix || 'comment', :comment, true)"
        ),
        {"prefix": prefix, "actor": actor, "comment": comment},
    )


def fields(session: Session, ticket: Ticket) -> list[tuple[str, str | None, str | None, str, str | None]]:
    history = tickets.field_history(session, ticket.id)
    return [(one.field, one.old_value, one.new_value, one.changed_by, one.comment) for one in history]


@pytest.mark.parametrize("way", [*RAW, "attribute", "bulk", "many"])
def test_a_field_is_recorded_however_it_is_changed(session, way):
    ticket = TicketFactory()
    if way in RAW:
        session.execute(text(RAW[way]), {"id": ticket.id, "to": "high"})
    elif way == "attribute":
        ticket.priority = "high"
        session.flush()
    elif way == "bulk":
        session.execute(update(Ticket).where(Ticket.id == ticket.id).values(priority="high"))
    else:
        session.execute(update(Ticket), [{"id": ticket.id, "priority": "high"}])
    assert fields(session, ticket) == [("priority", "medium", "high", f"db:{user_of(session)}", None)]
    assert tickets.verify_history(session) == []


def test_one_update_of_everything_writes_every_entry_with_the_same_actor(session):
    ticket = TicketFactory()
    session.execute(
        update(Ticket)
        .where(Ticket.id == ticket.id, ACTING)
        .values(status="processing", assigned_to="human:7", priority="high", category="billing"),
        acting("human:7", "took over"),
    )
    (entry,) = tickets.status_history(session, ticket.id)[1:]
    assert (entry.new_status, entry.changed_by, entry.comment) == ("processing", "human:7", "took over")
    assert fields(session, ticket) == [
        ("assigned_to", None, "human:7", "human:7", "took over"),
        ("category", "account_access", "billing", "human:7", "took over"),
        ("priority", "medium", "high", "human:7", "took over"),
    ]
    session.execute(text(RAW["update"]), {"id": ticket.id, "to": "low"})
    assert fields(session, ticket)[-1][3:] == (f"db:{user_of(session)}", None)


def test_the_actor_of_a_service_counts_for_every_row_of_its_statement(session):
    made = [TicketFactory() for _ in range(3)]
    changed = update(Ticket).where(ACTING).values(priority="low", status="waiting")
    session.execute(changed, acting("system:triage"), execution_options={"synchronize_session": False})
    assert {fields(session, ticket)[0][3] for ticket in made} == {"system:triage"}
    latest = [tickets.status_history(session, ticket.id)[-1] for ticket in made]
    assert {entry.changed_by for entry in latest} == {"system:triage"}


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE tickets SET status = 'waiting' WHERE false",
        "UPDATE tickets SET subject = 'x'",
        "INSERT INTO tickets (customer_id, subject, category, source_channel) "
        "SELECT customer_id, 'x', 'billing', 'email' FROM tickets LIMIT 1",
        "MERGE INTO tickets t USING (SELECT 1) AS s ON false WHEN MATCHED THEN UPDATE SET subject = 'x'",
    ],
)
def test_an_actor_for_one_statement_is_forgotten_after_it_also_if_it_changed_nothing(session, statement):
    ticket = TicketFactory()
    act_as(session, "human:7", "mine", once=True)
    session.execute(text(statement))
    session.execute(text(RAW["update"]), {"id": ticket.id, "to": "high"})
    assert fields(session, ticket)[-1][3:] == (f"db:{user_of(session)}", None)


@pytest.mark.parametrize("refused", [{"status": "waiting"}, {"status": "open", "priority": text("'urgent'")}])
def test_nothing_of_a_refused_statement_is_left_for_the_next_one(session, refused):
    ticket = TicketFactory(status=TicketStatus.RESOLVED)
    mode = Mode.FORCE if "priority" in refused else Mode.PLAIN
    statement = update(Ticket).where(ACTING).values(refused)
    with pytest.raises(IntegrityError), session.begin_nested():
        session.execute(
            statement, acting("human:7", mode=mode), execution_options={"synchronize_session": False}
        )
    with pytest.raises(IntegrityError, match="cannot go from"), session.begin_nested():
        session.execute(text("UPDATE tickets SET status = 'waiting'"))
    session.execute(text("UPDATE tickets SET status = 'open'"))
    assert tickets.status_history(session, ticket.id)[-1].changed_by == f"db:{user_of(session)}"


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_no_actor_of_a_field_s_change_is_left_in_a_pooled_connection(crm_clone, end):
    engine = make_engine(crm_clone.url, pool_size=1, max_overflow=0)
    with Session(engine) as session, bound_to(session):
        ticket = TicketFactory()
        session.commit()
        session.refresh(ticket)
        tickets.assign(session, ticket.id, "human:9", actor="human:7", comment="mine")
        session.commit() if end == "commit" else session.rollback()
        session.refresh(ticket)
    with Session(engine) as session:
        session.execute(text(RAW["update"]), {"id": ticket.id, "to": "high"})
        assert fields(session, ticket)[-1][3:] == (f"db:{user_of(session)}", None)
    engine.dispose()


ACTORS = [
    "human:7", "ai:support-agent", "customer:0199-ab", "system:a.b_c+d@e", "human:" + "x" * 200,
    "human:" + "x" * 201, "human:", "human", "Human:7", "human:7\n", " human:7", "human:7 ", "robot:1",
    "db:postgres", "human:ä", "human:a b", "x" * 1000, "'; DROP TABLE tickets; --", "human:7;ai:x",
]  # fmt: skip


@pytest.mark.parametrize("actor", ACTORS)
def test_python_and_the_database_agree_on_what_reads_like_an_actor(session, actor):
    ticket = TicketFactory()
    act_as(session, actor)
    session.execute(text(RAW["update"]), {"id": ticket.id, "to": "high"})
    recorded = fields(session, ticket)[-1][3]
    try:
        checked_actor(actor)
    except InvalidValue:
        # The name is kept, but behind the user's: it can pass for nobody.
        assert recorded == f"db:{user_of(session)} as {actor}"[:255]
    else:
        assert recorded == actor


def test_a_priority_that_raw_sql_took_away_is_recorded_and_can_come_back(session):
    ticket = TicketFactory()
    for value in (None, "low", None, None, "high"):
        session.execute(text(RAW["update"]), {"id": ticket.id, "to": value})
    values = [(old, new) for _, old, new, *_ in fields(session, ticket)]
    assert values == [("medium", None), (None, "low"), ("low", None), (None, "high")]
    assert tickets.verify_history(session) == []


def test_what_is_not_recorded_leaves_no_entry(session):
    ticket = TicketFactory(priority="high", assigned_to="human:7")
    session.execute(text("UPDATE tickets SET subject = 'x', priority = priority, category = category"))
    session.execute(text("UPDATE tickets SET resolution_notes = 'x', metadata = '{}'"))
    assert fields(session, ticket) == []
    assert tickets.verify_history(session) == []


@pytest.mark.parametrize("role", ["origin", "replica"])
@pytest.mark.parametrize("table", GUARDED)
@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO {table} SELECT * FROM {table}",
        "INSERT INTO {table} SELECT * FROM {table} ON CONFLICT DO NOTHING",
        "UPDATE {table} SET ticket_id = ticket_id WHERE false",
        "DELETE FROM {table}",
        "TRUNCATE {table}",
        "TRUNCATE tickets CASCADE",
        "MERGE INTO {table} c USING tickets t ON c.ticket_id = t.id WHEN MATCHED THEN DELETE",
        "WITH gone AS (DELETE FROM {table} RETURNING 1) SELECT * FROM gone",
    ],
)
def test_nobody_can_add_change_or_remove_an_entry_or_an_end(session, table, statement, role):
    ticket = TicketFactory()
    tickets.assign(session, ticket.id, "human:9", actor="human:7")
    tables = TicketFieldChange.__table__, TicketRecordHead.__table__
    before = [session.execute(select(rows)).all() for rows in tables]
    session.execute(text(f"SET LOCAL session_replication_role = {role}"))
    with pytest.raises(DBAPIError) as caught, session.begin_nested():
        session.execute(text(statement.format(table=table)))
    assert isinstance(caught.value.orig, errors.RestrictViolation)
    assert caught.value.orig.diag.constraint_name.endswith("_append_only")
    assert [session.execute(select(rows)).all() for rows in tables] == before


def test_replica_mode_records_all_the_same(session):
    ticket = TicketFactory()
    session.execute(text("SET LOCAL session_replication_role = replica"))
    act_as(session, "human:7", once=True)
    session.execute(text(RAW["update"]), {"id": ticket.id, "to": "high"})
    session.execute(text(RAW["update"]), {"id": ticket.id, "to": "low"})
    assert [entry[3] for entry in fields(session, ticket)] == ["human:7", f"db:{user_of(session)}"]
    assert tickets.verify_history(session) == []


@pytest.mark.parametrize("table", GUARDED)
def test_a_temporary_table_of_the_same_name_catches_no_entry(session, table):
    ticket = TicketFactory()
    session.execute(text(f"CREATE TEMP TABLE {table} (LIKE public.{table})"))
    session.execute(text(RAW["update"]), {"id": ticket.id, "to": "high"})
    assert session.scalar(text(f"SELECT count(*) FROM pg_temp.{table}")) == 0
    session.execute(text(f"DROP TABLE pg_temp.{table}"))
    assert len(fields(session, ticket)) == 1
    assert tickets.verify_history(session) == []


def test_each_record_of_a_ticket_ends_where_its_head_says(session):
    ticket = TicketFactory(status=TicketStatus.RESOLVED)
    head = select(TicketRecordHead).where(TicketRecordHead.ticket_id == ticket.id)
    assert session.scalars(head).one().field_hash is None
    tickets.assign(session, ticket.id, "human:9", actor="human:7")
    session.expire_all()
    assert session.scalars(head).one().status_hash == tickets.status_history(session, ticket.id)[-1].hash
    assert session.scalars(head).one().field_hash == tickets.field_history(session, ticket.id)[-1].hash


def test_the_time_of_a_resolution_can_be_corrected_but_not_removed(session):
    ticket = TicketFactory(status=TicketStatus.RESOLVED)
    first = ticket.resolved_at

    def stored(assignment: str) -> object:
        session.execute(text(f"UPDATE tickets SET {assignment}"))
        session.refresh(ticket)
        return ticket.resolved_at

    assert stored("resolved_at = NULL") == first
    assert stored("status = 'closed', resolved_at = NULL") == first
    assert stored("resolved_at = NULL") == first
    corrected = stored("resolved_at = resolved_at - interval '1 hour'")
    assert (first - corrected).total_seconds() == 3600
    assert stored("status = 'open'") is None
    assert stored("resolved_at = now()") is None


def random_statement(random: Random) -> str:
    """One of eight forms, most of which are legal now and then."""
    status = random.choice(list(TicketStatus))
    some = "id IN (SELECT id FROM tickets ORDER BY md5(id::text || CAST(:salt AS text)) LIMIT :many)"
    value = random.choice(
        ["priority = 'high'", "priority = NULL", "category = 'billing'", "assigned_to = 'Bob'"]
    )
    return random.choice([
        f"UPDATE tickets SET status = '{status}' WHERE {some}",
        f"UPDATE tickets SET {value} WHERE {some}",
        f"UPDATE tickets SET status = '{status}', assigned_to = CAST(:salt AS text) WHERE {some}",
        f"""MERGE INTO tickets t USING (SELECT id FROM tickets WHERE {some}) AS s ON t.id = s.id
            WHEN MATCHED AND t.status <> 'closed' THEN UPDATE SET status = '{status}', {value}
            WHEN MATCHED THEN DO NOTHING""",
        f"""INSERT INTO tickets (id, customer_id, subject, category, source_channel)
            SELECT id, customer_id, subject, category, source_channel FROM tickets WHERE {some}
            ON CONFLICT (id) DO UPDATE SET status = '{status}', {value}""",
        f"""WITH one AS (UPDATE tickets SET status = '{status}' WHERE {some} RETURNING id)
            SELECT count(*) FROM one""",
        f"""INSERT INTO tickets (customer_id, subject, category, source_channel, status)
            SELECT customer_id, 'x', category, source_channel, '{status}' FROM tickets
            WHERE {some} AND (SELECT count(*) FROM tickets) < 60""",
        f"DELETE FROM tickets WHERE {some}",
    ])  # fmt: skip


def run_at_random(session: Session, seed: int, count: int) -> None:
    random = Random(seed)
    for _ in range(5):
        TicketFactory()
    kept = 0
    for number in range(count):
        if number % 50 == 0:
            session.commit()
        savepoint = session.begin_nested()
        values = {"salt": str(random.random()), "many": random.choice([0, 1, 1, 3])}
        try:
            if random.random() < 0.2:
                act_as(session, "ai:random", once=random.random() < 0.5)
            session.execute(text(random_statement(random)), values)
        except IntegrityError:
            savepoint.rollback()
        else:
            if random.random() < 0.2:
                savepoint.rollback()
            else:
                savepoint.commit()
                kept += 1
    assert kept > count // 5
    assert tickets.verify_history(session) == []
    last = select(TicketStatusChange.new_status).where(TicketStatusChange.ticket_id == Ticket.id)
    last = last.order_by(TicketStatusChange.seq.desc()).limit(1).scalar_subquery()
    told = session.execute(select(Ticket.status, last)).all()
    assert len(told) > 5
    assert all(status == recorded for status, recorded in told)


@pytest.fixture
def own_session(crm_clone: Engine) -> Iterator[Session]:
    with Session(crm_clone) as session, bound_to(session):
        yield session


def test_a_thousand_random_statements_leave_every_ticket_as_its_record_says(own_session):
    run_at_random(own_session, seed=1, count=1_000)


@pytest.mark.soak
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_ten_thousand_random_statements_leave_every_ticket_as_its_record_says(own_session, seed):
    run_at_random(own_session, seed=seed, count=10_000)
