"""PostgreSQL for tests: a server from wherever there is one, and migrated databases at little cost."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import psycopg
from psycopg import sql
from sqlalchemy import URL

from .. import migrations
from ..database import normalize_url
from ..errors import DatabaseUnavailable, EmbeddedUnavailable, InvalidValue
from ..settings import Settings, load_settings

Mode = Literal["auto", "url", "docker", "embedded"]

# Advisory locks: one that guards the set of templates, and a class whose keys mark what is in use.
_TEMPLATES_LOCK = 0x63726D5F74706C
_IN_USE = 0x63726D
_SETTINGS = """
    SELECT unnest(s.setconfig) FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase
    WHERE s.setrole = 0 AND d.datname = %s
"""
# Other users' are for them to drop.
_LEFT = "SELECT datname FROM pg_database WHERE datname ~ %s AND pg_has_role(datdba, 'USAGE')"
# What databases are copies of where nothing else is said: a superuser may have put the extension into it.
_COMMON = "template1"
_OURS = r"^crm_(test|template)_[0-9a-f]{8}(_[0-9]+)?$"


@contextmanager
def provision(mode: Mode = "auto", *, url: str | None = None, major: int = 16) -> Iterator[str]:
    """Yield the URL of a server on which databases can be created and dropped.

    ``auto`` is the first of: ``url``, the embedded server, Docker. DATABASE_URL is never read, so no test can
    run on a database that somebody needs. A container ends with the block; the embedded server, which other
    parts of the process may use too, with the process.

    Raises:
        DatabaseUnavailable: there is no such server here.
    """
    if mode == "url" or (mode == "auto" and url is not None):
        yield _checked(url)
    elif mode == "docker":
        with _container(major) as container_url:
            yield container_url
    elif mode == "embedded":
        yield _embedded(major)
    else:
        try:
            embedded_url = _embedded(major)
        except EmbeddedUnavailable as no_embedded:
            try:
                with _container(major) as container_url:
                    yield container_url
            except DatabaseUnavailable as no_docker:
                raise DatabaseUnavailable(f"no PostgreSQL for tests: {no_embedded}; {no_docker}") from None
        else:
            yield embedded_url


def _checked(url: str | None) -> str:
    if url is None:
        raise DatabaseUnavailable("no server is named: pass --crm-db-url, or set CRM_TEST_DATABASE_URL")
    try:
        return _text(normalize_url(url))
    except InvalidValue:
        raise DatabaseUnavailable(
            "the URL of the test server is not one such as postgresql://user@host/database"
        ) from None


def _embedded(major: int) -> str:
    from .. import embedded  # noqa: PLC0415 - its package is an extra

    return embedded.start(load_settings().embedded_dir, major=major, durable=False).url


@contextmanager
def _container(major: int) -> Iterator[str]:
    try:
        from docker.errors import DockerException  # type: ignore[import-untyped] # noqa: PLC0415
        from testcontainers.community.postgres import PostgresContainer  # noqa: PLC0415
    except ModuleNotFoundError:
        raise DatabaseUnavailable("Docker needs the extra: pip install 'crm-digital-fte[testing]'") from None
    image = f"pgvector/pgvector:pg{major}"
    # Nothing in it outlives the tests, so it need not survive a crash.
    command = "postgres -c fsync=off -c synchronous_commit=off -c full_page_writes=off -c max_connections=200"
    try:
        container = PostgresContainer(
            image,
            username="postgres",
            password="postgres",  # noqa: S106 - on a port of this machine, for minutes
            dbname="crm",
            driver="psycopg",
        ).with_command(command)
    except DockerException:
        raise DatabaseUnavailable("Docker cannot be reached: is its daemon running?") from None
    try:
        try:
            container.start()
        except (DockerException, RuntimeError, OSError) as error:
            raise DatabaseUnavailable(f"Docker cannot run {image} ({type(error).__name__})") from error
        yield container.get_connection_url()
    finally:
        container.stop()


class Databases:
    """The databases of one test process: a template at head, shared by all processes, and clones of it.

    Every name holds a number whose advisory lock is held for as long as somebody uses the database. What a
    killed run left, and the templates of migrations that have changed since, are dropped by the next run.
    """

    def __init__(self, server_url: str) -> None:
        """Connect to the server.

        Raises:
            DatabaseUnavailable: it does not answer.
        """
        self.server_url = server_url
        self._server = normalize_url(server_url)
        self._key = secrets.randbits(31)
        self._made = 0
        self._template: str | None = None
        self._strategy = "WAL_LOG"
        try:
            self._admin = psycopg.connect(
                _text(self._server.set(drivername="postgresql")),
                autocommit=True,
                application_name="crm-test",
                options="-c lock_timeout=2min",
                connect_timeout=10,
            )
        except psycopg.OperationalError:
            raise DatabaseUnavailable("the test server cannot be reached or refused the connection") from None
        if self._admin.execute("SHOW fsync").fetchone() == ("off",):
            # The checkpoints that it needs cost next to nothing there, and half of a clone's time is saved.
            self._strategy = "FILE_COPY"
        self._mark(self._key)

    def empty(self) -> str:
        """Create a database with nothing in it; its URL."""
        return self._create("template0")

    def clone(self, original: str | None = None) -> str:
        """Create a copy of a database that nobody is connected to; by default one at head; its URL."""
        if original is not None:
            return self._create(_name(original))
        if self._template is None:
            self._template = self._prepare_template()
        return self._create(self._template)

    def drop(self, url: str) -> None:
        """Drop a database, whoever is still connected."""
        self._drop(_name(url))

    def close(self) -> None:
        """Disconnect; databases that were not dropped are for the next run to drop."""
        self._admin.close()

    def _create(self, template: str) -> str:
        self._made += 1
        name = f"crm_test_{self._key:08x}_{self._made}"
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY {}").format(
            sql.Identifier(name), sql.Identifier(template), sql.Identifier(self._strategy.lower())
        )
        try:
            self._admin.execute(statement)
        except psycopg.errors.InsufficientPrivilege:
            raise DatabaseUnavailable("the test server's user may not create databases") from None
        url = self._server.set(database=name)
        self._copy_settings(template, url)
        return _text(url)

    def _copy_settings(self, template: str, url: URL) -> None:
        """Give a database what ALTER DATABASE ... SET gave to its template: it does not inherit that."""
        settings = self._admin.execute(_SETTINGS, [template]).fetchall()
        if not settings:
            return
        parts = [setting.partition("=") for (setting,) in settings]
        statements = [
            sql.SQL("ALTER DATABASE {} SET {} = {}").format(
                sql.Identifier(url.database or ""), sql.Identifier(*parameter.split(".")), value
            )
            for parameter, _, value in parts
        ]
        if self._admin.info.parameter_status("is_superuser") == "on":
            # Before anybody connects: a pooler keeps what connections of its own began with.
            for statement in statements:
                self._admin.execute(statement)
            return
        with psycopg.connect(_libpq(_text(url)), autocommit=True) as connection:
            # Loads the extension: who is no superuser may only set parameters that the server knows.
            connection.execute("SELECT '[1]'::vector")
            for statement in statements:
                connection.execute(statement)

    def _prepare_template(self) -> str:
        key = self._template_key()
        name = f"crm_template_{key:08x}"
        self._admin.execute("SELECT pg_advisory_lock(%s)", [_TEMPLATES_LOCK])
        try:
            self._mark(key)
            self._sweep()
            present = self._admin.execute("SELECT FROM pg_database WHERE datname = %s", [name]).fetchone()
            if present is None:
                # Under another name until it is complete: a killed run must leave no half a template.
                build = self._empty_with_vector()
                # A server for tests may stand anywhere.
                settings = Settings(version_table="alembic_version", allow_insecure_tls=True)
                migrations.upgrade(build, settings=settings)
                self._admin.execute(
                    sql.SQL("ALTER DATABASE {} RENAME TO {}").format(
                        sql.Identifier(_name(build)), sql.Identifier(name)
                    )
                )
        finally:
            self._admin.execute("SELECT pg_advisory_unlock(%s)", [_TEMPLATES_LOCK])
        return name

    def _template_key(self) -> int:
        """Of the migrations, and of a user who is no superuser: it can copy no template of others."""
        row = self._admin.execute(
            "SELECT rolsuper, hashtext(rolname) & 2147483647 FROM pg_roles WHERE rolname = current_user"
        ).fetchone()
        is_superuser, of_user = row or (True, 0)
        return _migrations_key() ^ (0 if is_superuser else of_user)

    def _empty_with_vector(self) -> str:
        """Where this user may not create the extension, a superuser must have done so in template1."""
        url = self.empty()
        with psycopg.connect(_libpq(url), autocommit=True) as connection:
            try:
                connection.execute("CREATE EXTENSION vector")
            except psycopg.errors.InsufficientPrivilege:
                pass
            except psycopg.Error:
                return url  # The migration says why.
            else:
                return url
        self.drop(url)
        url = self._create(_COMMON)
        with psycopg.connect(_libpq(url), autocommit=True) as connection:
            if connection.execute("SELECT FROM pg_extension WHERE extname = 'vector'").fetchone() is not None:
                return url
        self.drop(url)
        raise DatabaseUnavailable(
            "the test server's user may not create the extension vector: a superuser can, in template1"
        )

    def _mark(self, key: int) -> None:
        self._admin.execute("SELECT pg_advisory_lock_shared(%s::int, %s::int)", [_IN_USE, key])

    def _sweep(self) -> None:
        # Names before locks: a database that appears in between is then not in the list.
        names = self._admin.execute(_LEFT, [_OURS]).fetchall()
        locks = self._admin.execute(
            "SELECT objid::bigint FROM pg_locks WHERE locktype = 'advisory' AND classid = %s AND granted",
            [_IN_USE],
        ).fetchall()
        used = {f"{key:08x}" for (key,) in locks}
        for (name,) in names:
            if name.split("_")[2] not in used:
                self._drop(name)

    def _drop(self, name: str) -> None:
        self._admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def _migrations_key() -> int:
    """A number of 31 bits that changes with any text that the migrated schema depends on."""
    digest = hashlib.sha256()
    for path in migrations.schema_files():
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return int.from_bytes(digest.digest()[:4]) >> 1


def _name(url: str) -> str:
    return normalize_url(url).database or ""


def _libpq(url: str) -> str:
    return _text(normalize_url(url).set(drivername="postgresql"))


def _text(url: URL) -> str:
    return url.render_as_string(hide_password=False)
