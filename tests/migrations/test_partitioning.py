"""What docs/scaling.md says that partitioning by month would need: PostgreSQL's answers for this schema."""

from __future__ import annotations

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

PARTED = [
    "CREATE TABLE parted (LIKE messages INCLUDING DEFAULTS) PARTITION BY RANGE (created_at)",
    "CREATE TABLE parted_past PARTITION OF parted FOR VALUES FROM ('2000-01-01') TO ('2001-01-01')",
    "CREATE TABLE parted_now PARTITION OF parted FOR VALUES FROM ('2001-01-01') TO ('2999-01-01')",
]
INSERT = """
    INSERT INTO {table} (conversation_id, customer_id, channel, direction, role, content, created_at)
    VALUES (gen_random_uuid(), gen_random_uuid(), 'email', 'inbound', 'customer', 'Hi', {at})
"""
TOLD = """
    CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN PERFORM set_config('crm_test.told', 'yes', true); RETURN NULL; END
    $$;
    CREATE TRIGGER tell AFTER INSERT ON parted REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION tell()
"""


@pytest.fixture
def connection(session) -> Connection:
    connection = session.connection()
    for statement in PARTED:
        connection.execute(text(statement))
    return connection


def refusal(connection: Connection, statement: str) -> str:
    with pytest.raises(DBAPIError) as refused, connection.begin_nested():
        connection.execute(text(statement))
    return str(refused.value.orig)


def test_a_key_needs_the_month_in_it_and_nothing_can_refer_to_the_id_alone(connection):
    alone = "ALTER TABLE parted ADD PRIMARY KEY (id)"
    assert "must include all partitioning columns" in refusal(connection, alone)

    connection.execute(text("ALTER TABLE parted ADD PRIMARY KEY (id, created_at)"))
    for table in ("provider_messages", "outbox", "message_embeddings"):
        refers = f"ALTER TABLE {table} ADD FOREIGN KEY (message_id) REFERENCES parted (id)"
        assert "no unique constraint matching" in refusal(connection, refers)


@pytest.mark.parametrize(("table", "told"), [("parted", "yes"), ("parted_now", "")])
def test_a_trigger_per_statement_is_that_of_the_table_that_is_named(connection, table, told):
    connection.execute(text(TOLD))
    connection.execute(text("SELECT set_config('crm_test.told', '', true)"))
    connection.execute(text(INSERT.format(table=table, at="now()")))
    assert connection.scalar(text("SELECT current_setting('crm_test.told')")) == told


def test_a_row_cannot_be_dated_into_another_month(connection):
    dates = "CREATE TRIGGER dates BEFORE INSERT ON parted FOR EACH ROW EXECUTE FUNCTION date_message()"
    connection.execute(text(dates))
    connection.execute(text(INSERT.format(table="parted", at="now()")))
    moved = refusal(connection, INSERT.format(table="parted", at="'2000-05-05'"))
    assert "moving row to another partition" in moved


def test_no_index_of_the_whole_is_built_concurrently(crm_clone):
    with crm_clone.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(PARTED[0]))
        with pytest.raises(DBAPIError, match="cannot create index on partitioned table"):
            connection.execute(text("CREATE INDEX CONCURRENTLY by_customer ON parted (customer_id)"))
