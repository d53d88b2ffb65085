"""Databases of other kinds, and applications with a history of their own beside ours."""

from __future__ import annotations

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Column, ForeignKey, Integer, MetaData, Table, create_engine, make_url, text
from sqlalchemy.pool import NullPool

from app import migrations
from app.database import make_engine
from app.errors import MigrationError
from app.models import Base

# What is tested here does not depend on the server's major.
pytestmark = pytest.mark.parametrize("server_of_major", [16], ids=["pg16"], indirect=True, scope="session")


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_a_database_that_cannot_hold_every_character_is_refused_before_the_first_step(server, encoding):
    url = server.empty()
    name = f"{make_url(url).database}_odd"
    with create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT").connect() as connection:
        connection.execute(
            text(f"CREATE DATABASE {name} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0")
        )
    odd = make_url(url).set(database=name)
    try:
        with pytest.raises(MigrationError, match=f"encoding is {encoding}"):
            migrations.upgrade(odd)
        assert migrations.current(odd) is None
        with make_engine(odd, poolclass=NullPool).connect() as connection:
            assert connection.scalar(text("SELECT to_regclass('customers')")) is None
    finally:
        with create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT").connect() as connection:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))


def test_a_history_beside_ours_sees_its_own_tables_only(server):
    """Alembic's own comparison, as in the env.py of an application that has tables of its own."""
    url = server.at("head")
    own = MetaData()
    # As an application declares it: the foreign key needs our table to be known.
    orders = Table(
        "orders",
        own,
        Column("id", Integer, primary_key=True),
        Column("customer_id", ForeignKey(Base.metadata.tables["customers"].c.id)),
    )
    with create_engine(url, poolclass=NullPool).begin() as connection:
        options = {"include_object": migrations.is_not_ours, "version_table": "orders_version"}
        for target in (own, [own, Base.metadata]):
            context = MigrationContext.configure(connection, opts=options | {"target_metadata": target})
            (created,) = compare_metadata(context, own)
            assert (created[0], created[1].name) == ("add_table", "orders")
        orders.create(connection)
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, own) == []
        # Without it, it would drop all of ours.
        bare = MigrationContext.configure(connection, opts={"version_table": "orders_version"})
        removed = {change[1].name for change in compare_metadata(bare, own) if change[0] == "remove_table"}
        assert set(Base.metadata.tables) <= removed
    migrations.check(url)
