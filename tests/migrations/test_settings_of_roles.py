"""Timeouts and encodings of a role or a database are meant for its application, not for its migrations."""

from __future__ import annotations

import pytest
from sqlalchemy import create_engine, make_url
from sqlalchemy.pool import NullPool

from app import migrations
from app.migrations import back_up, restore
from app.settings import Settings


@pytest.mark.parametrize(
    "setting",
    [
        "idle_session_timeout = '50ms'",
        "idle_in_transaction_session_timeout = '50ms'",
        "transaction_timeout = '200ms'",
        "client_encoding = 'LATIN1'",
    ],
)
def test_what_the_role_or_the_database_is_set_to_stops_no_backup_and_no_restore(server, tmp_path, setting):
    if setting.startswith("transaction_timeout") and server.major < 17:
        pytest.skip("PostgreSQL has it since 17")
    url = server.at("0004")
    programs = Settings(pg_bin=server.programs)
    server.ask(url, "INSERT INTO customers (email, name) VALUES ('ana@example.com', 'Ana \u0141ucja')")
    target = server.empty()
    for database in (url, target):
        server.ask(database, f"ALTER DATABASE {make_url(database).database} SET {setting}")

    migrations.upgrade(url, settings=programs, backup_folder=tmp_path)

    (file,) = tmp_path.iterdir()
    restore(create_engine(target, poolclass=NullPool), file, settings=programs)
    assert migrations.current(target) == "0004"


def test_a_limit_on_statements_stops_no_backup_of_a_connection_that_has_none(server, tmp_path):
    url = server.at("0004")
    server.ask(url, f"ALTER DATABASE {make_url(url).database} SET statement_timeout = '5ms'")
    unlimited = create_engine(url, poolclass=NullPool, connect_args={"options": "-c statement_timeout=0"})

    with unlimited.connect() as connection:
        assert back_up(connection, tmp_path, settings=Settings(pg_bin=server.programs)).restored
