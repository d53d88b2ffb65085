"""Backups by PostgreSQL's own programs: made, proved to restore, and put back."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo
from sqlalchemy import Connection, Engine, create_engine, inspect, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from .. import embedded
from ..errors import BackupError, EmbeddedUnavailable, file_problem, sqlstate
from ..settings import Settings

_OBJECTS = """
    WITH relations AS (
        SELECT c.oid, format('%I.%I', n.nspname, c.relname) AS name, c.relkind, c.relpersistence
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
            AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')
    )
    SELECT name, relkind::text FROM relations
    UNION ALL SELECT name || ' ' || conname, 'constraint' FROM relations
        JOIN pg_constraint ON conrelid = relations.oid
    UNION ALL SELECT name || ' ' || tgname, 'trigger' FROM relations
        JOIN pg_trigger ON tgrelid = relations.oid AND NOT tgisinternal
    UNION ALL SELECT p.oid::regprocedure::text, 'function'
        FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
        WHERE n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
            AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')
"""

# Which of them there are depends on the version.
_PATIENT = """
    SELECT set_config(name, '0', :is_local) FROM pg_settings WHERE name IN (
        'statement_timeout', 'transaction_timeout',
        'idle_session_timeout', 'idle_in_transaction_session_timeout'
    )
"""
"""What a role or a database may have set, and a backup or a restore takes longer than."""

_NAME = r'(?:"(?:[^"]|"")+"|[\w$]+)'
_COPY = re.compile(rf"COPY ({_NAME}\.{_NAME}) .*FROM stdin;$")


@dataclass(frozen=True)
class Backup:
    """A finished backup; ``restored`` tells whether it was restored for proof, or only read and counted."""

    path: Path
    restored: bool

    def __str__(self) -> str:
        if self.restored:
            return f"backup {self.path}, restored into a scratch database and compared"
        return (
            f"backup {self.path}, read to its end and its rows counted; not restored for proof: "
            "this user may not create databases with these extensions"
        )


def back_up(connection: Connection, folder: Path, *, settings: Settings) -> Backup:
    """Dump the database into a new file in ``folder``, and prove that the file restores.

    For the proof it is restored into a scratch database on the same server, and every object and the number
    of rows of every table are compared with the snapshot that was dumped. Where the user may not create
    databases or extensions, the file is read to its end and its rows are counted instead. Only its owner can
    read it, and it gets its name when it is proved. One at a time for each database, which the migration lock
    sees to: what is there of an earlier one was left by a job that was killed.

    Raises:
        BackupError: pg_dump is missing, older than the server, or failed, or the file does not restore.
    """
    programs = _Programs.of(connection, settings)
    final = folder / f"{_file_name(connection, settings)}.dump"
    path = final.with_suffix(".unproved")
    with _complete_or_gone(path):
        connection.rollback()
        with connection.begin():
            connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
            connection.execute(text(_PATIENT), {"is_local": True})
            snapshot = connection.scalar(text("SELECT pg_export_snapshot()"))
            patience = round(settings.migration_wait * 1000)
            options = [f"--snapshot={snapshot}", f"--lock-wait-timeout={patience}", f"--file={path}"]
            programs.run(
                "pg_dump", "--format=custom", "--encoding=UTF8", *options, f"--dbname={programs.address}"
            )
            contents = _contents(connection)
        listed = len(re.findall(r" TABLE DATA ", programs.listing(path)))
        if listed < sum(rows is not None for rows in contents.values()):
            raise BackupError("the backup does not hold every table")
        restored = _restores(connection, programs, path, contents)
        if not restored:
            _require_same(programs.tables(path), {n: c for n, c in contents.items() if n.startswith("r ")})
        path.rename(final)
    return Backup(final, restored)


def restore(engine: Engine, file: Path, *, settings: Settings, replace: bool = False) -> str | None:
    """Put a backup into the engine's database, which must be empty.

    With ``replace`` a database that is not empty is renamed, and made anew from the backup with its settings;
    the name that the old one has now is returned. It fails as a whole: then everything is as before.

    Raises:
        BackupError: no backup, not an empty database, others are connected to it, or PostgreSQL refused.
    """
    with engine.connect() as connection:
        programs = _Programs.of(connection, settings)
        # The database itself, its settings and who may connect, are in the list of a backup that creates it.
        listing = programs.listing(file, *(["--create"] if replace else []))
        name: str = connection.scalar(text("SELECT current_database()"))
        empty = not _contents(connection)
        superuser = connection.scalar(text("SELECT rolsuper FROM pg_roles WHERE rolname = current_user"))
    engine.dispose()
    aside = None
    with tempfile.NamedTemporaryFile("w", suffix=".list") as chosen:
        # A comment on an extension is for its owner to write, and no loss.
        chosen.writelines(
            line
            for line in listing.splitlines(keepends=True)
            if superuser or "COMMENT - EXTENSION" not in line
        )
        chosen.flush()
        options = ["--exit-on-error", f"--use-list={chosen.name}", str(file)]
        if empty:
            programs.run("pg_restore", "--single-transaction", f"--dbname={programs.address}", *options)
        elif not replace:
            raise BackupError(
                f"the database {name} is not empty: name an empty one, or have it replaced (--replace)"
            )
        else:
            aside = _replace(programs, name, listing, options)
    with engine.connect().execution_options(isolation_level="READ COMMITTED") as connection:
        connection.execute(text(_PATIENT), {"is_local": True})
        connection.execute(text("ANALYZE"))
        connection.commit()
    return aside


def _replace(programs: _Programs, name: str, listing: str, options: list[str]) -> str:
    if f"dbname: {name}\n" not in listing:
        raise BackupError(f"this is a backup of another database than {name}")
    aside = _named_aside(name)
    maintenance = "postgres" if name != "postgres" else "template1"
    with programs.connect(maintenance) as admin:
        try:
            _run(admin, "ALTER DATABASE {} RENAME TO {}", name, aside)
        except DBAPIError as error:
            reason = (
                "this user may not" if sqlstate(error) == "42501" else "others are connected: stop them first"
            )
            raise BackupError(f"the database {name} cannot be renamed: {reason}") from None
        try:
            database = f"--dbname={programs.address_of(maintenance)}"
            programs.run("pg_restore", "--create", database, *options)
        except BaseException:
            _run(admin, "DROP DATABASE IF EXISTS {} WITH (FORCE)", name)
            _run(admin, "ALTER DATABASE {} RENAME TO {}", aside, name)
            raise
    return aside


def _named_aside(name: str) -> str:
    """A name that says whose it was and when, within the 63 bytes that PostgreSQL keeps of it."""
    suffix = f"_before_{datetime.now(UTC):%Y%m%d%H%M%S}"
    return name.encode()[: 63 - len(suffix)].decode(errors="ignore") + suffix


@dataclass(frozen=True)
class _Programs:
    """pg_dump and pg_restore, and how they reach the server that a connection is connected to."""

    folder: Path
    address: str
    password: str

    @classmethod
    def of(cls, connection: Connection, settings: Settings) -> _Programs:
        driver = connection.connection.driver_connection
        assert isinstance(driver, psycopg.Connection)
        major = driver.info.server_version // 10000
        too_old = None
        secret = {option.keyword for option in driver.pgconn.info if option.dispchar == b"*" and option.val}
        if secret - {b"password"}:
            raise BackupError("pg_dump cannot be given a key with a password; use one without")
        for folder in _folders(settings, major):
            version = _version(folder)
            if version is not None and version >= major:
                return cls(folder, driver.info.dsn, driver.info.password)
            if version is not None:
                too_old = f"pg_dump {version} in {folder} is older than the server, PostgreSQL {major}"
        where = "is not installed" if settings.pg_bin is None else f"is not in {settings.pg_bin}"
        raise BackupError(
            f"{too_old or f'pg_dump {where}'}; install PostgreSQL's client programs, or set CRM_PG_BIN"
        )

    def run(self, program: str, *arguments: str) -> None:
        done = self._done(program, *arguments)
        if done.returncode != 0:
            # What it said may hold data.
            with tempfile.NamedTemporaryFile(
                "w", prefix=f"crm-{program}-", suffix=".log", delete=False
            ) as log:
                log.write(done.stderr)
            raise BackupError(f"{program} failed; what it said is in {log.name}")

    def listing(self, file: Path, *options: str) -> str:
        if not file.is_file():
            raise BackupError(f"there is no file {file}")
        done = self._done("pg_restore", "--list", *options, str(file))
        if done.returncode != 0:
            raise BackupError(f"{file} is no backup that pg_restore can read")
        return done.stdout

    def tables(self, file: Path) -> dict[str, int | None]:
        """Every table whose rows are in the file, and how many, by reading all of it."""
        tables: dict[str, int | None] = {}
        command = [str(self.folder / "pg_restore"), "--data-only", "--file=-", str(file)]
        with subprocess.Popen(  # noqa: S603 - no shell
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, encoding="utf-8"
        ) as reading:
            assert reading.stdout is not None
            for line in reading.stdout:
                if copied := _COPY.match(line):
                    rows = itertools.takewhile(lambda row: row != "\\.\n", reading.stdout)
                    tables[f"r {copied[1]}"] = sum(1 for _ in rows)
        if reading.returncode != 0:
            raise BackupError(f"{file} cannot be read to its end")
        return tables

    def _done(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a program; the password is not among its arguments."""
        environment = dict(os.environ) | ({"PGPASSWORD": self.password} if self.password else {})
        command = [str(self.folder / program), "--no-password", *arguments]
        return subprocess.run(  # noqa: S603 - no shell
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )

    def address_of(self, database: str) -> str:
        return make_conninfo(self.address, dbname=database)

    @contextmanager
    def connect(self, database: str) -> Iterator[Connection]:
        address = make_conninfo(self.address_of(database), password=self.password or None)
        engine = create_engine(
            "postgresql+psycopg://",
            creator=lambda: psycopg.connect(address),
            isolation_level="AUTOCOMMIT",
            poolclass=NullPool,
        )
        with engine.connect() as connection:
            connection.execute(text(_PATIENT), {"is_local": False})
            yield connection


def _folders(settings: Settings, major: int) -> Iterator[Path]:
    if settings.pg_bin is not None:
        yield settings.pg_bin
        return
    program = shutil.which("pg_dump")
    if program is not None:
        yield Path(program).parent
    for newer in (major, major + 1):
        with suppress(EmbeddedUnavailable):
            yield embedded.installed_programs(newer) / "bin"


def _version(folder: Path) -> int | None:
    with suppress(OSError):
        said = subprocess.run(  # noqa: S603 - no shell
            [folder / "pg_dump", "--version"], capture_output=True, text=True, check=False
        )
        major = re.search(r"\(PostgreSQL\) (\d+)", said.stdout)
        return int(major[1]) if major else None
    return None


def _restores(
    connection: Connection, programs: _Programs, path: Path, contents: dict[str, int | None]
) -> bool:
    """Restore into a scratch database and compare; False where this user may not.

    Raises:
        BackupError: it does not restore, or what is restored is not what was dumped.
    """
    own = text("SELECT oid FROM pg_database WHERE datname = current_database()")
    scratch = f"crm_proof_{connection.scalar(own)}"
    create = f"CREATE DATABASE {scratch} TEMPLATE template0 {_locale(connection)}"
    extensions = list(connection.scalars(text("SELECT extname FROM pg_extension WHERE extname <> 'plpgsql'")))
    own_database = connection.scalar(text("SELECT current_database()"))
    connection.rollback()
    with programs.connect(own_database) as admin:
        try:
            admin.execute(text(f"DROP DATABASE IF EXISTS {scratch} WITH (FORCE)"))
            admin.execute(text(create))
        except DBAPIError as error:
            if sqlstate(error) != "42501":
                raise
            return False
        try:
            with programs.connect(scratch) as connected:
                try:
                    for extension in extensions:
                        _run(connected, "CREATE EXTENSION IF NOT EXISTS {} CASCADE", extension)
                except DBAPIError as error:
                    if sqlstate(error) != "42501":
                        raise
                    return False
            into = f"--dbname={programs.address_of(scratch)}"
            programs.run("pg_restore", "--exit-on-error", "--no-owner", "--no-comments", into, str(path))
            with programs.connect(scratch) as connected:
                _require_same(_contents(connected), contents)
        finally:
            admin.execute(text(f"DROP DATABASE {scratch} WITH (FORCE)"))
    return True


def _require_same(in_backup: dict[str, int | None], in_database: dict[str, int | None]) -> None:
    different = in_backup.items() ^ in_database.items()
    if different:
        first = min(name for name, _ in different)
        raise BackupError(f"the backup differs from the database, first in {first}")


def _contents(connection: Connection) -> dict[str, int | None]:
    """Every object of every schema, and for tables the number of rows."""
    contents: dict[str, int | None] = {}
    for name, kind in connection.execute(text(_OBJECTS)):
        contents[f"{kind} {name}"] = None
        if kind in {"r", "m"}:
            counted = f"SELECT count(*) FROM {name}"  # noqa: S608 - quoted by the server
            contents[f"{kind} {name}"] = connection.exec_driver_sql(counted.replace("%", "%%")).scalar()
    return contents


def _run(connection: Connection, statement: str, *names: str) -> None:
    """Run a statement with these names in it, whatever characters they are made of."""
    composed = sql.SQL(statement).format(*map(sql.Identifier, names))
    connection.exec_driver_sql(composed.as_string().replace("%", "%%"))


def _locale(connection: Connection) -> str:
    """The options that make a new database sort and encode like this one."""
    database = connection.execute(
        text("""
            SELECT pg_encoding_to_char(encoding), datcollate, datctype, datlocprovider::text,
                COALESCE(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale')
            FROM pg_database d WHERE datname = current_database()
        """)
    ).one()
    encoding, collate, ctype, provider, locale = database
    options = {"ENCODING": encoding, "LC_COLLATE": collate, "LC_CTYPE": ctype}
    if provider in {"i", "b"}:
        options |= {"LOCALE_PROVIDER": "icu"} if provider == "i" else {"LOCALE_PROVIDER": "builtin"}
        options |= {"ICU_LOCALE": locale} if provider == "i" else {"BUILTIN_LOCALE": locale}
    return " ".join(f"{name} = '{value}'" for name, value in options.items())


def _file_name(connection: Connection, settings: Settings) -> str:
    database = re.sub(r"[^\w.-]", "_", connection.scalar(text("SELECT current_database()")))
    revision = None
    if inspect(connection).has_table(settings.version_table):
        revision = connection.scalar(text(f'SELECT version_num FROM "{settings.version_table}"'))  # noqa: S608
    return f"{database}-{revision or 'none'}-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}"


@contextmanager
def _complete_or_gone(path: Path) -> Iterator[None]:
    """Create the file for its owner alone; no half a backup is left behind."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600, exist_ok=False)
        yield
    except OSError as error:
        with suppress(OSError):
            path.unlink()
        raise BackupError(f"the backup cannot be written to {path.parent} ({file_problem(error)})") from None
    except BaseException:
        path.unlink()
        raise
