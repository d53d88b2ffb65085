"""The models against the migrations: tables, columns, keys, checks and indexes are the same."""

from __future__ import annotations

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from app import migrations
from app.errors import MigrationError
from app.migrations import sql_files
from app.models import Base

IN_PUBLIC = "relnamespace = 'public'::regnamespace AND relname <> 'alembic_version'"
CATALOGUE = {
    "tables": f"SELECT relname FROM pg_class WHERE relkind = 'r' AND {IN_PUBLIC} ORDER BY 1",
    "columns": f"""
        SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
            pg_get_expr(d.adbin, d.adrelid), a.attidentity, a.attgenerated
        FROM pg_attribute a
        JOIN pg_class c ON c.oid = a.attrelid AND c.relkind = 'r' AND {IN_PUBLIC}
        LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
        WHERE a.attnum > 0 AND NOT a.attisdropped
        ORDER BY c.relname, a.attnum
    """,
    "constraints": f"""
        SELECT c.relname, o.conname, o.contype, pg_get_constraintdef(o.oid), o.convalidated
        FROM pg_constraint o JOIN pg_class c ON c.oid = o.conrelid AND {IN_PUBLIC}
        ORDER BY c.relname, o.conname
    """,
    "indexes": f"""
        SELECT c.relname, pg_get_indexdef(i.indexrelid), i.indisvalid
        FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid AND {IN_PUBLIC}
        WHERE i.indrelid <> COALESCE(to_regclass('alembic_version')::oid, 0)
        ORDER BY c.relname
    """,
    "sequences": """
        SELECT sequencename, data_type::text, start_value, increment_by, min_value, max_value, cycle
        FROM pg_sequences WHERE schemaname = 'public' ORDER BY 1
    """,
}
CALLED_BY_INDEXES = (
    "article_hash", "folded_text", "text_words", "bare_text", "plain_company", "name_words", "plain_address",
    "address_keys", "person_keys", "customer_key_hashes", "identifier_key_hashes",
)  # fmt: skip


def made_from_models(server):
    url = server.empty()
    with create_engine(url, poolclass=NullPool).begin() as connection:
        connection.execute(text("CREATE EXTENSION vector"))
        connection.execute(text("CREATE TEXT SEARCH CONFIGURATION crm (COPY = english)"))
        for function in CALLED_BY_INDEXES:
            connection.exec_driver_sql(sql_files.read(function, 1))
        Base.metadata.create_all(connection)
    return url


def test_the_models_describe_the_migrated_database(server):
    from_models, migrated = made_from_models(server), server.as_migrated("head")
    for kind, query in CATALOGUE.items():
        assert server.ask(from_models, query) == server.ask(migrated, query), kind


def test_alembic_finds_no_difference(server, alembic):
    url = server.as_migrated("head")
    done = alembic("check", url=url)
    assert (done.returncode, "No new upgrade operations" in done.stdout) == (0, True), done.stderr
    migrations.check(url)


@pytest.mark.parametrize(
    "drift",
    [
        "ALTER TABLE customers ADD COLUMN age integer",
        "ALTER TABLE customers ALTER COLUMN plan SET DEFAULT 'starter'",
        "ALTER TABLE customers ALTER COLUMN name TYPE varchar(99)",
        "DROP INDEX idx_tickets_conversation",
        "DROP TABLE provider_messages",
    ],
)
def test_check_notices_a_difference(server, drift):
    with create_engine(server.as_migrated("head"), poolclass=NullPool).connect() as connection:
        connection.execute(text(drift))
        with pytest.raises(MigrationError, match="differs from revision"):
            migrations.check(connection)
        connection.rollback()


def test_check_ignores_the_tables_of_others(server):
    url = server.at("head")
    server.ask(url, "CREATE TABLE somebody_elses (id int)")
    migrations.check(url)


def test_check_of_a_database_behind_head_says_so(server):
    with pytest.raises(MigrationError, match="not up to date"):
        migrations.check(server.as_migrated("0004"))
