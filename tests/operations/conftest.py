"""A database with roles of its own, and logins as each of them."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import Engine, Row, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from app.database import make_engine, normalize_url
from app.operations import roles
from app.testing import Databases

REFUSED = "42501"


@dataclass
class Desk:
    """A migrated database and its roles, whose names nobody else on the server has."""

    admin: Engine
    prefix: str
    logins: dict[str, Engine] = field(default_factory=dict)

    def login(self, role: str) -> Engine:
        """An engine that logs in as the role, each connection a new one."""
        if role not in self.logins:
            url = self.admin.url.set(username=f"{self.prefix}_{role}")
            self.logins[role] = make_engine(url, poolclass=NullPool, allow_insecure_tls=True)
        return self.logins[role]

    def run(self, statement: str, **values: object) -> list[Row[Any]]:
        """As a superuser, committed."""
        with self.admin.begin() as connection:
            result = connection.execute(text(statement), values)
            return list(result) if result.returns_rows else []

    def role(self, statement: str) -> str:
        """The statement with each ``{app}`` and the like replaced by the role's name."""
        names = {role: f"{self.prefix}_{role}" for role in ("owner", "migrator", *roles.ROLES)}
        return statement.format(**names)

    def wrong(self) -> list[str]:
        with self.admin.connect() as connection:
            return roles.differences(connection, self.prefix)

    def repair(self, role: str | None = None) -> list[str]:
        with (self.login(role) if role else self.admin).connect() as connection:
            return roles.apply(connection, self.prefix)


def call_pgvector_new(engine: Engine) -> None:
    """The doctor warns of older ones, which Debian has, wherever nothing else is wrong."""
    with engine.begin() as connection:
        connection.execute(text("UPDATE pg_extension SET extversion = '0.8.5' WHERE extname = 'vector'"))


def open_desk(databases: Databases) -> Desk:
    url = databases.clone()
    desk = Desk(make_engine(url, allow_insecure_tls=True), f"crm_t_{secrets.token_hex(4)}")
    call_pgvector_new(desk.admin)
    desk.repair()
    give_passwords(desk)
    return desk


def give_passwords(desk: Desk) -> None:
    """Where the server asks for one, each role has the administrator's."""
    if password := desk.admin.url.password:
        for role in ("owner", "migrator", *roles.ROLES):
            desk.run(desk.role(f"ALTER ROLE {{{role}}} PASSWORD '{password}'"))


def close_desk(databases: Databases, desk: Desk) -> None:
    for engine in (desk.admin, *desk.logins.values()):
        engine.dispose()
    databases.drop(desk.admin.url.render_as_string(hide_password=False))
    drop_roles(databases, desk.prefix)


def drop_roles(databases: Databases, prefix: str) -> None:
    """Drop these roles, and those of killed runs: of the ones in use, some have rights and all stay."""
    address = normalize_url(databases.server_url).set(drivername="postgresql").render_as_string(False)
    with psycopg.connect(address, autocommit=True) as connection:
        together = connection.execute("""
            SELECT left(rolname, 14), array_agg(rolname::text) FROM pg_roles
            WHERE rolname ~ '^crm_t_[0-9a-f]{8}_' GROUP BY 1
        """).fetchall()
        for owner, names in together:
            statement = sql.SQL("DROP ROLE IF EXISTS {}").format(
                sql.SQL(", ").join(map(sql.Identifier, names))
            )
            with nullcontext() if owner == prefix else suppress(psycopg.Error):
                connection.execute(statement)


@pytest.fixture(scope="module")
def desk(crm_databases: Databases) -> Iterator[Desk]:
    """Shared by the module's tests, which leave its rights as they are."""
    desk = open_desk(crm_databases)
    yield desk
    close_desk(crm_databases, desk)


@pytest.fixture
def own_desk(crm_databases: Databases) -> Iterator[Desk]:
    """For one test alone."""
    desk = open_desk(crm_databases)
    yield desk
    close_desk(crm_databases, desk)


def refusal(desk, role: str, statement: str) -> str | None:
    """The SQLSTATE with which the statement is refused, if it is, for a login as the role; nothing stays."""
    alone = statement.startswith(("CREATE DATABASE", "ALTER SYSTEM"))
    with desk.login(role).connect() as connection:
        if alone:
            connection.execution_options(isolation_level="AUTOCOMMIT")
        # The readers may allow themselves to write; it is no use to them.
        connection.execute(text(f"SET {'default_' if alone else ''}transaction_read_only = off"))
        try:
            connection.exec_driver_sql(statement.replace("%", "%%"))
        except DBAPIError as error:
            return error.orig.sqlstate
        finally:
            connection.rollback()
    return None
