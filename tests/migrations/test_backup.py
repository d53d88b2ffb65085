"""Backups with the server's own programs: made before an upgrade, proved to restore, and put back."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url
from sqlalchemy.pool import NullPool

from app import migrations
from app.errors import BackupError, MigrationError
from app.migrations import back_up, restore
from app.settings import Settings

ON_16 = pytest.mark.parametrize("server_of_major", [16], ids=["pg16"], indirect=True, scope="session")
PASSWORD = "p%q@:/# ü"
ROWS = """
INSERT INTO customers (email, name)
    VALUES ('ada@example.com', E'Ad\\u00e4 "quoted" \\\\'), ('bob@example.com', NULL);
INSERT INTO tickets (customer_id, subject, category, source_channel)
    SELECT id, 'Help', 'billing', 'email' FROM customers;
INSERT INTO knowledge_base (title, content, category, embedding)
    VALUES ('Own', 'Text', 'faq', array_fill(0.5, ARRAY[1536])::vector);
"""
CONTENTS = """
SELECT string_agg(row, ' ' ORDER BY row) FROM (
    SELECT t::text FROM customers t UNION ALL SELECT t::text FROM tickets t
    UNION ALL SELECT t::text FROM knowledge_base t UNION ALL SELECT t::text FROM channel_configs t
) AS rows(row)
"""
# A pg_dump that has other rows than the snapshot.
WITHOUT_A_SNAPSHOT = """
for a; do shift; case $a in --snapshot=*) ;; *) set -- "$@" "$a";; esac; done
[ "$1" = --version ] || {programs}/psql -qc "DELETE FROM tickets" \\
    "$(for a; do case $a in --dbname=*) echo ${{a#--dbname=}};; esac; done)"
exec {programs}/pg_dump "$@"
"""
SCRATCH = """
SELECT count(*) FROM pg_database AS own
JOIN pg_database AS scratch ON scratch.datname = 'crm_proof_' || own.oid
WHERE own.datname = current_database()
"""


@pytest.fixture
def settings(server):
    return Settings(pg_bin=server.programs)


@pytest.fixture
def engine():
    """Makes engines that hold no connection open."""
    return lambda url: create_engine(url, poolclass=NullPool)


@pytest.fixture
def database(server):
    url = server.at("0004")
    server.execute(url, ROWS)
    return url


def fake(folder: Path, script: str) -> Path:
    """A folder whose pg_dump is a script of ours."""
    program = folder / "pg_dump"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return folder


def test_an_upgrade_makes_a_backup_first_and_names_it(server, settings, database, tmp_path, capsys):
    contents = server.one(database, CONTENTS)
    folder = tmp_path / "new" / "backups"

    migrations.upgrade(database, settings=settings, backup_folder=folder)

    (file,) = folder.iterdir()
    name = make_url(database).database
    assert re.fullmatch(rf"{name}-0004-\d{{8}}T\d{{6}}\.\d{{6}}Z\.dump", file.name)
    assert f"crm: backup {file}, restored into a scratch database and compared\n" in capsys.readouterr().err
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert server.one(database, SCRATCH) == 0
    migrations.check(database)

    url = server.empty()
    assert restore(create_engine(url, poolclass=NullPool), file, settings=settings) is None
    assert server.one(url, CONTENTS) == contents
    assert migrations.current(url) == "0004"
    migrations.upgrade(url)
    migrations.check(url)


@ON_16
@pytest.mark.soak
def test_the_crm_command_backs_up_and_restores(server, database, tmp_path):
    def crm(*arguments, url=database):
        return subprocess.run(
            [sys.executable, "-m", "app", "db", *arguments],
            env=os.environ | {"DATABASE_URL": url, "CRM_PG_BIN": str(server.programs)},
            capture_output=True,
            text=True,
            check=False,
        )

    upgraded = crm("upgrade", "--backup", str(tmp_path))
    (file,) = tmp_path.iterdir()
    assert (upgraded.returncode, upgraded.stdout) == (0, f"0004 -> {migrations.head()} (head)\n")
    assert f"crm: backup {file}, restored into a scratch database and compared" in upgraded.stderr

    refused = crm("restore", str(file))
    assert (refused.returncode, refused.stderr.splitlines()[-1]) == (
        1,
        f"crm: the database {make_url(database).database} is not empty: "
        "name an empty one, or have it replaced (--replace)",
    )
    assert crm("restore", str(file), url=server.empty()).stdout == "restored: 0004\n"
    as_json = crm("restore", str(file), "--json", url=server.empty()).stdout
    assert json.loads(as_json) == {"revision": "0004", "aside": None}
    replaced = crm("restore", str(file), "--replace")
    assert replaced.returncode == 0, replaced.stderr
    first, second = replaced.stdout.splitlines()
    aside = second.removeprefix("the database that was there is now ")
    server.made.append(make_url(database).set(database=aside).render_as_string(hide_password=False))
    assert (first, migrations.current(database)) == ("restored: 0004", "0004")
    assert migrations.current(server.made[-1]) == migrations.head()


@ON_16
def test_where_nothing_is_to_do_no_backup_is_made(server, settings, tmp_path):
    migrations.upgrade(server.at("head"), settings=settings, backup_folder=tmp_path / "backups")
    assert not (tmp_path / "backups").exists()


@ON_16
def test_a_restored_backup_takes_the_place_of_the_database(server, settings, engine, database, tmp_path):
    name = make_url(database).database
    server.ask(database, f"ALTER DATABASE {name} SET random_page_cost = 1.1")
    contents = server.one(database, CONTENTS)
    migrations.upgrade(database, settings=settings, backup_folder=tmp_path)
    (file,) = tmp_path.iterdir()

    with pytest.raises(BackupError, match=rf"the database {name} is not empty"):
        restore(engine(database), file, settings=settings)
    assert migrations.current(database) == migrations.head()
    aside = restore(engine(database), file, settings=settings, replace=True)

    server.made.append(make_url(database).set(database=aside).render_as_string(hide_password=False))
    assert migrations.current(database) == "0004"
    assert server.one(database, CONTENTS) == contents
    assert server.one(database, "SHOW random_page_cost") == "1.1"
    assert migrations.current(server.made[-1]) == migrations.head()


@ON_16
@pytest.mark.soak
def test_a_database_in_use_is_not_replaced(server, settings, engine, database, tmp_path):
    migrations.upgrade(database, "0005", settings=settings, backup_folder=tmp_path)
    (file,) = tmp_path.iterdir()
    with (
        engine(database).connect(),
        pytest.raises(BackupError, match="others are connected: stop them first"),
    ):
        restore(engine(database), file, settings=settings, replace=True)
    assert migrations.current(database) == "0005"


@ON_16
def test_a_backup_of_another_database_replaces_nothing(server, settings, engine, database, tmp_path):
    migrations.upgrade(database, "0005", settings=settings, backup_folder=tmp_path)
    (file,) = tmp_path.iterdir()
    other = server.at("0001")
    with pytest.raises(BackupError, match="this is a backup of another database"):
        restore(engine(other), file, settings=settings, replace=True)
    assert migrations.current(other) == "0001"


@ON_16
def test_a_failed_replacement_leaves_everything_as_it_was(server, settings, engine, database, tmp_path):
    migrations.upgrade(database, "0005", settings=settings, backup_folder=tmp_path)
    (file,) = tmp_path.iterdir()
    cut = tmp_path / "cut.dump"
    cut.write_bytes(file.read_bytes()[:-2000])
    with pytest.raises(BackupError, match="pg_restore failed; what it said is in ") as failed:
        restore(engine(database), cut, settings=settings, replace=True)
    assert migrations.current(database) == "0005"
    Path(str(failed.value).rsplit(" ", 1)[1]).unlink()


@ON_16
def test_the_upgrade_does_not_begin_without_its_backup(server, database, tmp_path):
    old = fake(tmp_path, "echo 'pg_dump (PostgreSQL) 12.4 (Debian 12.4-1)'")
    with pytest.raises(BackupError) as refused:
        migrations.upgrade(database, settings=Settings(pg_bin=old), backup_folder=tmp_path / "to")
    assert str(refused.value) == (
        f"pg_dump 12 in {old} is older than the server, PostgreSQL {server.major}; "
        "install PostgreSQL's client programs, or set CRM_PG_BIN"
    )
    assert migrations.current(database) == "0004"
    assert not (tmp_path / "to").exists()


@ON_16
@pytest.mark.parametrize("script", [None, "echo nonsense", "exit 1"])
def test_a_folder_without_pg_dump_is_named(server, database, tmp_path, script):
    if script is not None:
        fake(tmp_path, script)
    with pytest.raises(BackupError, match=f"pg_dump is not in {tmp_path}; install"):
        migrations.upgrade(database, settings=Settings(pg_bin=tmp_path), backup_folder=tmp_path / "to")
    assert migrations.current(database) == "0004"


@ON_16
def test_without_a_setting_the_programs_of_the_path_or_of_the_embedded_server_are_used(
    server, database, tmp_path, monkeypatch
):
    monkeypatch.setenv("PATH", str(fake(tmp_path, "echo 'pg_dump (PostgreSQL) 9.6'")))
    migrations.upgrade(database, "0005", settings=Settings(), backup_folder=tmp_path / "a")
    monkeypatch.setenv("PATH", str(server.programs))
    monkeypatch.setattr("app.embedded.places._PROGRAMS", {})
    migrations.upgrade(database, "0006", settings=Settings(), backup_folder=tmp_path / "b")
    assert len(list(tmp_path.glob("[ab]/*.dump"))) == 2
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(BackupError, match="pg_dump is not installed"):
        migrations.upgrade(database, settings=Settings(), backup_folder=tmp_path / "c")


@ON_16
@pytest.mark.parametrize(
    "script",
    [
        pytest.param("echo 'pg_dump (PostgreSQL) 18.4'; exec 1>&2; echo ada@example.com; exit 1", id="fails"),
        pytest.param(
            'case $1 in --version) echo "pg_dump (PostgreSQL) 18.4";; *) for a; do case $a in --file=*) '
            "echo broken > ${a#--file=};; esac; done;; esac",
            id="writes nonsense",
        ),
    ],
)
def test_a_broken_backup_is_not_left_behind_and_stops_the_upgrade(server, database, tmp_path, script):
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "pg_restore").symlink_to(server.programs / "pg_restore")
    # The first call asks for the version, and may not fail.
    fake(programs, f'[ "$1" = --version ] && echo "pg_dump (PostgreSQL) 18.4" && exit 0\n{script}')
    with pytest.raises(BackupError) as failed:
        migrations.upgrade(database, settings=Settings(pg_bin=programs), backup_folder=tmp_path / "to")
    assert migrations.current(database) == "0004"
    assert list((tmp_path / "to").iterdir()) == []
    assert "ada@" not in str(failed.value)
    if "what it said" in str(failed.value):
        log = Path(str(failed.value).rsplit(" ", 1)[1])
        assert stat.S_IMODE(log.stat().st_mode) == 0o600
        assert "ada@" in log.read_text()
        log.unlink()


@ON_16
def test_a_backup_that_misses_rows_is_refused(server, database, tmp_path):
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "pg_restore").symlink_to(server.programs / "pg_restore")
    fake(
        programs,
        f'exec {server.programs}/pg_dump "$@" $([ "$1" = --version ] || echo --exclude-table-data=tickets)',
    )
    with pytest.raises(BackupError, match="the backup does not hold every table"):
        migrations.upgrade(database, settings=Settings(pg_bin=programs), backup_folder=tmp_path / "to")
    (programs / "pg_dump").unlink()
    # It has every table, but the proof is of another moment.
    fake(programs, WITHOUT_A_SNAPSHOT.format(programs=server.programs))
    with pytest.raises(BackupError, match=r"differs from the database, first in r public\.tickets"):
        migrations.upgrade(database, settings=Settings(pg_bin=programs), backup_folder=tmp_path / "to")
    assert migrations.current(database) == "0004"
    assert list((tmp_path / "to").iterdir()) == []
    assert server.one(database, SCRATCH) == 0


@ON_16
def test_where_no_database_may_be_created_the_rows_are_counted(server, settings, database, tmp_path, capsys):
    role = f"crm_owner_{make_url(database).database}"
    name = make_url(database).database
    server.ask(database, f"CREATE ROLE {role} {server.login}")
    server.ask(database, f"GRANT CREATE ON SCHEMA public TO {role}")
    for kind, owned in server.ask(
        database,
        "SELECT CASE relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, relname FROM pg_class "
        "WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'S')".replace(":", r"\:"),
    ):
        server.ask(database, f"ALTER {kind} {owned} OWNER TO {role}")
    for function in ("generate_ticket_number", "update_updated_at"):
        server.ask(database, f"ALTER FUNCTION {function}() OWNER TO {role}")
    owner = make_url(database).set(username=role).render_as_string(hide_password=False)
    try:
        migrations.upgrade(owner, "0005", settings=settings, backup_folder=tmp_path)
        assert "its rows counted; not restored for proof" in capsys.readouterr().err
        # May create databases, but not the extension in it.
        server.ask(database, f"ALTER ROLE {role} CREATEDB")
        migrations.upgrade(owner, "0006", settings=settings, backup_folder=tmp_path)
        assert "its rows counted" in capsys.readouterr().err
        assert server.one(database, SCRATCH) == 0
        with pytest.raises(BackupError, match=f"the database {name} cannot be renamed: this user may not"):
            restore(
                create_engine(owner, poolclass=NullPool),
                next(tmp_path.iterdir()),
                settings=settings,
                replace=True,
            )
    finally:
        server.ask(database, f"REASSIGN OWNED BY {role} TO CURRENT_USER")
        server.ask(database, f"DROP OWNED BY {role}")
        server.ask(database, f"DROP ROLE {role}")


@ON_16
def test_a_folder_that_cannot_be_written_is_named(server, settings, database, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(BackupError, match=f"the backup cannot be written to {tmp_path}/file"):
        migrations.upgrade(database, settings=settings, backup_folder=tmp_path / "file")
    with pytest.raises(BackupError, match="the backup cannot be written to /proc/nowhere"):
        migrations.upgrade(database, settings=settings, backup_folder=Path("/proc/nowhere"))
    assert migrations.current(database) == "0004"


@ON_16
@pytest.mark.parametrize("content", [None, b"", b"PGDMP nonsense"])
def test_what_is_no_backup_is_not_restored(server, settings, engine, tmp_path, content):
    file, url = tmp_path / "some.dump", server.empty()
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(
        BackupError, match=f"there is no file {file}|{file} is no backup that pg_restore can read"
    ):
        restore(engine(url), file, settings=settings)


@ON_16
def test_the_password_is_in_no_command_line_and_no_message(server, database, tmp_path):
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "pg_restore").symlink_to(server.programs / "pg_restore")
    fake(programs, f'echo "$@" >> {tmp_path}/said\necho "$PGPASSWORD" >> {tmp_path}/password\n'
                   f'exec {server.programs}/pg_dump "$@"')  # fmt: skip
    url = make_url(database)
    password = url.password or PASSWORD
    migrations.upgrade(
        url.set(password=password),
        "0005",
        settings=Settings(pg_bin=programs),
        backup_folder=tmp_path / "to",
    )
    assert password not in (tmp_path / "said").read_text()
    assert password in (tmp_path / "password").read_text()
    assert os.environ.get("PGPASSWORD") is None


@ON_16
def test_rows_that_come_while_it_is_made_do_not_disturb_the_proof(
    server, settings, engine, database, tmp_path
):
    """The proof compares with the snapshot that was dumped, not with what is there by then."""
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "pg_restore").symlink_to(server.programs / "pg_restore")
    fake(programs, f'[ "$1" = --version ] || {server.programs}/psql -qc '
                   "\"INSERT INTO customers (email) VALUES ('late@example.com')\" "
                   '"$(for a; do case $a in --dbname=*) echo ${a#--dbname=};; esac; done)"\n'
                   f'exec {server.programs}/pg_dump "$@"')  # fmt: skip
    with engine(database).connect() as connection:
        backup = back_up(connection, tmp_path / "to", settings=Settings(pg_bin=programs))
    assert backup.restored
    assert server.one(database, "SELECT count(*) FROM customers") == 3


@ON_16
def test_a_refused_adoption_makes_no_backup(server, settings, tmp_path):
    url = server.empty()
    server.ask(url, "CREATE TABLE customers (id int)")
    with pytest.raises(MigrationError):
        migrations.upgrade(url, settings=settings, backup_folder=tmp_path / "to")
    assert not (tmp_path / "to").exists()
