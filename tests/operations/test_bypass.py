"""Whatever a login of the app's role tries, no change of a ticket stays without its entry in the record."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import psycopg
import pytest
from psycopg import sql
from sqlalchemy.orm import Session

from app.models import TicketStatus
from app.services.tickets import verify_history
from app.testing import TicketFactory, bound_to

ENTRIES = """
    SELECT 'status', to_jsonb(c), db_user FROM ticket_status_changes AS c
    UNION ALL SELECT 'fields', to_jsonb(c), db_user FROM ticket_field_changes AS c
"""
# Every ticket's row is what the last entry says; looked up without the code that the services use.
UNRECORDED = """
    SELECT t.ticket_number FROM tickets AS t
    WHERE t.status IS DISTINCT FROM (
        SELECT new_status FROM ticket_status_changes WHERE ticket_id = t.id ORDER BY seq DESC LIMIT 1
    ) OR EXISTS (
        SELECT FROM (
            SELECT DISTINCT ON (field) field, new_value FROM ticket_field_changes
            WHERE ticket_id = t.id ORDER BY field, seq DESC
        ) AS last WHERE new_value IS DISTINCT FROM to_jsonb(t) ->> field
    )
"""

MOVE = "UPDATE tickets SET status = 'resolved' WHERE id = :ticket"

EVENT = "INSERT INTO identity_events (customer_id, event, actor)"

REFUSED = {
    "write into the record": """
        INSERT INTO ticket_status_changes
            (ticket_id, new_status, changed_by, forced, db_user, prev_hash, hash)
        VALUES (:ticket, 'closed', 'human:7', false, 'me', '\\x00', '\\x01')
    """,
    "change the record": "UPDATE ticket_status_changes SET changed_by = 'human:8'",
    "change the record where nothing matches": "UPDATE ticket_status_changes SET forced = false WHERE false",
    "write into the fields' record": """
        INSERT INTO ticket_field_changes (ticket_id, field, changed_by, db_user, prev_hash, hash)
        VALUES (:ticket, 'priority', 'human:7', 'me', '\\x00', '\\x01')
    """,
    "change the fields' record": "UPDATE ticket_field_changes SET changed_by = 'human:8'",
    "empty the fields' record": "TRUNCATE ticket_field_changes",
    "move the record's end": "UPDATE ticket_record_heads SET status_hash = '\\x00'",
    "forget the record's end": "DELETE FROM ticket_record_heads",
    "unlink a follow-up": "DELETE FROM ticket_links",
    "remove from the record": "DELETE FROM ticket_status_changes WHERE ticket_id = :ticket",
    "empty the record": "TRUNCATE ticket_status_changes",
    "empty the tickets with all that belongs to them": "TRUNCATE tickets CASCADE",
    "upsert into the record": """
        INSERT INTO ticket_status_changes SELECT * FROM ticket_status_changes
        ON CONFLICT (id) DO UPDATE SET changed_by = 'human:8'
    """,
    "merge into the record": """
        MERGE INTO ticket_status_changes AS c USING tickets AS t ON c.ticket_id = t.id
        WHEN MATCHED THEN UPDATE SET comment = NULL
    """,
    "hide the record in a CTE": """
        WITH gone AS (DELETE FROM ticket_status_changes RETURNING 1) UPDATE tickets SET status = 'resolved'
    """,
    "lock the record away": "LOCK TABLE ticket_status_changes IN ACCESS EXCLUSIVE MODE",
    "turn the record's order round": "SELECT setval('ticket_status_changes_seq_seq', 1)",
    "delete the ticket": "DELETE FROM tickets WHERE id = :ticket",
    "give the ticket another id": "UPDATE tickets SET id = gen_random_uuid() WHERE id = :ticket",
    "give the ticket another number": "UPDATE tickets SET ticket_number = 'TKT-9999' WHERE id = :ticket",
    "write an identity event": f"{EVENT} VALUES (:ticket, 'verified', 'human:7')",
    "write no identity event": f"{EVENT} SELECT id, 'verified', 'human:7' FROM tickets WHERE false",
    "change an identity event": "UPDATE identity_events SET actor = 'human:8'",
    "change an identity event where nothing matches": "UPDATE identity_events SET reason = '' WHERE false",
    "remove identity events": "DELETE FROM identity_events",
    "empty the identity events": "TRUNCATE identity_events",
    "replace the identity events' function": """
        CREATE OR REPLACE FUNCTION record_identity_events(events jsonb) RETURNS void LANGUAGE sql AS ''
    """,
    "unpin the identity events' function": "ALTER FUNCTION record_identity_events(jsonb) RESET search_path",
    "disable all triggers": "ALTER TABLE tickets DISABLE TRIGGER ALL",
    "disable the users' triggers": "ALTER TABLE tickets DISABLE TRIGGER USER",
    "disable the record's trigger": "ALTER TABLE tickets DISABLE TRIGGER trg_ticket_record_update",
    "drop the record's trigger": "DROP TRIGGER trg_ticket_record_update ON tickets",
    "rename the record's trigger": "ALTER TRIGGER trg_ticket_record_update ON tickets RENAME TO gone",
    "work as a replica": "SET session_replication_role = replica",
    "work as a replica through a function": "SELECT set_config('session_replication_role', 'replica', true)",
    "work as a replica from the next login on": "ALTER ROLE {app} SET session_replication_role = replica",
    "replace the record's function": """
        CREATE OR REPLACE FUNCTION record_ticket_status() RETURNS trigger LANGUAGE plpgsql
        AS 'BEGIN RETURN NULL; END'
    """,
    "shadow a function of the record": """
        CREATE FUNCTION public.ticket_status_change_hash(entry record) RETURNS bytea LANGUAGE sql
        AS $$ SELECT '\\x00'::bytea $$
    """,
    "drop the record's function": "DROP FUNCTION record_ticket_status() CASCADE",
    "unpin the record's function": "ALTER FUNCTION record_ticket_status() RESET search_path",
    "run the record's function as oneself": "ALTER FUNCTION record_ticket_status() SECURITY INVOKER",
    "call the record's function": "SELECT record_ticket_status()",
    "put a trigger before the record's": """
        CREATE TRIGGER a BEFORE UPDATE ON tickets FOR EACH ROW EXECUTE FUNCTION update_updated_at()
    """,
    "rewrite updates": "CREATE RULE quiet AS ON UPDATE TO tickets DO INSTEAD NOTHING",
    "hide entries behind a policy": "CREATE POLICY none ON ticket_status_changes USING (false)",
    "put the tickets under row security": "ALTER TABLE tickets ENABLE ROW LEVEL SECURITY",
    "inherit from the tickets": "CREATE TABLE mine () INHERITS (tickets)",
    "put another table in the tickets' place": "ALTER TABLE tickets RENAME TO old_tickets",
    "shadow the tickets with a temporary table": "CREATE TEMPORARY TABLE tickets (LIKE tickets)",
    "shadow the record with a temporary table": """
        CREATE TEMPORARY TABLE ticket_status_changes (LIKE ticket_status_changes)
    """,
    "shadow the state machine": """
        CREATE FUNCTION pg_temp.ticket_transition_allowed(text, text) RETURNS boolean LANGUAGE sql
        AS 'SELECT true'
    """,
    "write to the catalogue": "UPDATE pg_trigger SET tgenabled = 'D'",
    "own the tickets": "ALTER TABLE tickets OWNER TO {app}",
    "give oneself rights": "GRANT ALL ON ticket_status_changes TO {app}; TRUNCATE ticket_status_changes",
    "become the owner": "SET ROLE {owner}",
    "become the migrator": "SET SESSION AUTHORIZATION {migrator}",
    "become a member of the owner": "GRANT {owner} TO {app}",
    "become a superuser": "ALTER ROLE {app} SUPERUSER",
    "load a library": "LOAD 'auto_explain'",
    "copy into the record": "COPY ticket_status_changes FROM PROGRAM 'true'",
    "run a program": "COPY tickets TO PROGRAM 'cat'",
    "change the server": "ALTER SYSTEM SET session_replication_role = replica",
    "skip a step": "UPDATE tickets SET status = 'open' WHERE status = 'escalated'",
    "an unknown status": "UPDATE tickets SET status = 'gone' WHERE id = :ticket",
    "no status": "UPDATE tickets SET status = NULL WHERE id = :ticket",
}

RECORDED = {
    "a plain update": MOVE,
    "an update that names nobody": f"SET LOCAL crm.actor = ''; {MOVE}",
    "an actor of one's choice": f"SET LOCAL crm.actor = 'human:director'; {MOVE}",
    "a forced step": """
        SET LOCAL crm.force = 'on'; UPDATE tickets SET status = 'open' WHERE status = 'escalated'
    """,
    "settings meant for services": f"""
        SET LOCAL crm.once_actor = 'human:7'; SET LOCAL crm.once_mode = 'force'; {MOVE}
    """,
    "no search path": f"SET LOCAL search_path = ''; {MOVE.replace('tickets', 'public.tickets')}",
    "another search path": f"SET LOCAL search_path = pg_temp, pg_catalog, public; {MOVE}",
    "another assignee": "UPDATE tickets SET assigned_to = 'human:9' || random() WHERE id = :ticket",
    "another priority": """
        UPDATE tickets SET priority = CASE priority WHEN 'low' THEN 'high' ELSE 'low' END WHERE id = :ticket
    """,
    "no priority": """
        UPDATE tickets SET priority = 'high'; UPDATE tickets SET priority = NULL WHERE id = :ticket
    """,
    "another category in the shade of a status": """
        UPDATE tickets SET status = 'resolved', category = 'billing', assigned_to = NULL WHERE id = :ticket
    """,
    "deferred constraints": f"SET CONSTRAINTS ALL DEFERRED; {MOVE}",
    "there and back": f"{MOVE}; UPDATE tickets SET status = 'open' WHERE id = :ticket",
    "after a savepoint that is undone": f"""
        SAVEPOINT a; UPDATE tickets SET status = 'waiting' WHERE id = :ticket; ROLLBACK TO a; {MOVE}
    """,
    "a block that swallows its errors": """
        DO $$ BEGIN
            UPDATE tickets SET status = 'resolved' WHERE status = 'open';
            BEGIN UPDATE tickets SET status = 'gone'; EXCEPTION WHEN OTHERS THEN NULL; END;
        END $$
    """,
    "a prepared statement": """
        PREPARE move AS UPDATE tickets SET status = 'resolved' WHERE status = 'open'; EXECUTE move;
        DEALLOCATE move
    """,
    "a CTE": """
        WITH moved AS (UPDATE tickets SET status = 'resolved' WHERE status = 'open' RETURNING id)
        SELECT count(*) FROM moved
    """,
    "an upsert": """
        INSERT INTO tickets (id, ticket_number, customer_id, subject, category, source_channel)
        SELECT id, ticket_number, customer_id, subject, category, source_channel
        FROM tickets WHERE id = :ticket
        ON CONFLICT (id) DO UPDATE SET status = 'resolved'
    """,
    "MERGE": """
        MERGE INTO tickets USING (SELECT CAST(:ticket AS uuid) AS id) AS mine ON tickets.id = mine.id
        WHEN MATCHED THEN UPDATE SET status = 'resolved'
    """,
    "all tickets at once": "UPDATE tickets SET status = 'closed' WHERE status IN ('open', 'escalated')",
    "a new ticket that is closed": """
        INSERT INTO tickets (customer_id, subject, category, source_channel, status)
        SELECT customer_id, 'x', 'billing', 'email', 'closed' FROM tickets WHERE id = :ticket
    """,
    "a new ticket with a number of one's choice": """
        INSERT INTO tickets (ticket_number, customer_id, subject, category, source_channel)
        SELECT 'X', customer_id, 'x', 'billing', 'email' FROM tickets WHERE id = :ticket
    """,
}


@pytest.fixture(scope="module")
def tickets(desk) -> tuple[str, str]:
    """An open and an escalated ticket."""
    with Session(desk.admin) as session, bound_to(session):
        made = [TicketFactory(status=status) for status in (TicketStatus.OPEN, TicketStatus.ESCALATED)]
        session.commit()
        return tuple(str(ticket.id) for ticket in made)


@pytest.fixture
def attempt(desk, tickets) -> Iterator[psycopg.Connection]:
    """The app's own login; whatever its work leaves is looked at afterwards."""
    before = entries(desk)
    with psycopg.connect(desk.login("app").url.set(drivername="postgresql").render_as_string(False)) as login:
        yield login
        with suppress(psycopg.Error):
            login.commit()
    assert before <= entries(desk)
    assert desk.run(UNRECORDED) == []
    with Session(desk.admin) as session:
        assert verify_history(session) == []
    # As it was, for the next attempt.
    for ticket, status in zip(tickets, ("open", "escalated"), strict=True):
        desk.run(
            "UPDATE tickets SET status = :status WHERE id = :ticket AND status <> :status "
            "AND set_config('crm.force', 'on', true) = 'on'",
            ticket=ticket,
            status=status,
        )


def entries(desk) -> set[tuple[str, str, str]]:
    """The whole record: which one, the entry, and the database user in it."""
    return {(record, str(entry), user) for record, entry, user in desk.run(ENTRIES)}


def prepared(desk, statement: str, ticket: str) -> sql.Composed:
    named = desk.role(statement)
    return sql.SQL(named.replace(":ticket", "{ticket}")).format(ticket=sql.Literal(ticket))


@pytest.mark.parametrize("statement", REFUSED.values(), ids=REFUSED.keys())
def test_the_app_is_refused(desk, attempt, tickets, statement):
    with pytest.raises(psycopg.Error):
        attempt.execute(prepared(desk, statement, tickets[0]))
    attempt.rollback()
    # The same, followed by a change, without a transaction around the two.
    attempt.autocommit = True
    with suppress(psycopg.Error):
        attempt.execute(prepared(desk, statement, tickets[0]))
    attempt.execute(prepared(desk, MOVE, tickets[0]))


@pytest.mark.parametrize("statement", RECORDED.values(), ids=RECORDED.keys())
def test_the_app_is_recorded(desk, attempt, tickets, statement):
    before = entries(desk)

    attempt.execute(prepared(desk, statement, tickets[0]))
    attempt.commit()

    new = entries(desk) - before
    assert {user for _, _, user in new} == {f"{desk.prefix}_app"}
