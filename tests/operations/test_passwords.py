"""Passwords of any spelling work everywhere, and are shown nowhere."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import traceback
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from sqlalchemy import URL, make_url, text
from sqlalchemy.exc import OperationalError

from app import embedded, migrations
from app.database import make_async_engine, make_engine, normalize_url, probe
from app.errors import DatabaseUnavailable, EmbeddedUnavailable, InvalidValue
from app.settings import Settings

CHECKOUT = Path(__file__).resolve().parents[2]
ODD = ["p%w@x:y/z#0", "sure100%", "%40%%", "a b+c", "'q\"\\", "päß→", "[x]?y&z=1;", "-c --help $HOME"]


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[embedded.Server]:
    """A server of our own, which asks the user ``odd`` for a password."""
    try:
        server = embedded.start(tmp_path_factory.mktemp("server"), durable=False)
    except EmbeddedUnavailable as error:
        pytest.skip(str(error))
    rules = server.directory / "data" / "pg_hba.conf"
    rules.write_text("local all odd scram-sha-256\n" + rules.read_text())
    engine = make_engine(server.url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text("SELECT pg_reload_conf()"))
        connection.execute(text("CREATE ROLE odd LOGIN SUPERUSER"))
    engine.dispose()
    yield server
    embedded.release(server)
    shutil.rmtree(server.directory)


@pytest.fixture(params=ODD, ids=range(len(ODD)))
def url(server, request) -> URL:
    """The server's database as the user whose password is the parameter."""
    engine = make_engine(server.url)
    with engine.begin() as connection:
        literal = "'" + request.param.replace("'", "''") + "'"
        connection.exec_driver_sql(f"ALTER ROLE odd PASSWORD {literal}".replace("%", "%%"))
    engine.dispose()
    return make_url(server.url).set(username="odd", password=request.param)


def spelled(url: URL) -> str:
    return url.render_as_string(hide_password=False)


def shown(url: URL, output: str) -> bool:
    """Whether the output has the password in any spelling."""
    password = str(url.password)
    return any(
        form in output for form in (password, quote(password), quote_plus(password), quote(password, ""))
    )


def test_engines_and_migrations_log_in(url):
    engine = make_engine(spelled(url))
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT session_user")) == "odd"
    assert probe(engine).ok
    engine.dispose()

    async def user() -> str:
        engine = make_async_engine(spelled(url))
        async with engine.connect() as connection:
            name = await connection.scalar(text("SELECT session_user"))
        await engine.dispose()
        return name

    assert asyncio.run(user()) == "odd"
    assert migrations.current(spelled(url)) is None


@pytest.mark.parametrize("url", ODD[:1], indirect=True)
@pytest.mark.parametrize("command", [("alembic", "current", "--verbose"), ("app", "doctor")])
def test_the_command_lines_log_in_and_do_not_show_it(processes, url, command):
    done = processes.run(*command, env=os.environ | {"DATABASE_URL": spelled(url)})

    assert "crm: database postgresql+psycopg://odd:***@" in done.stderr
    assert not shown(url, done.stdout + done.stderr)
    assert done.returncode in {0, 4}


def test_a_wrong_one_is_not_shown_either(processes, url, caplog):
    wrong = url.set(password=f"{url.password}-wrong")
    engine = make_engine(spelled(wrong))
    caplog.set_level(logging.DEBUG)

    with pytest.raises(OperationalError) as caught:
        engine.connect()
    with pytest.raises(DatabaseUnavailable) as refused:
        migrations.upgrade(spelled(wrong))

    trace = "".join(traceback.format_exception(caught.value) + traceback.format_exception(refused.value))
    health = repr(probe(engine))
    assert "refused" in health
    for output in (str(caught.value), trace, str(refused.value), health, caplog.text):
        assert not shown(wrong, output)
    if url.password == ODD[0]:
        done = processes.run("alembic", "current", env=os.environ | {"DATABASE_URL": spelled(wrong)})
        assert not shown(wrong, done.stderr)


def test_what_describes_an_engine_or_the_settings_hides_it(url, caplog, monkeypatch):
    caplog.set_level(logging.DEBUG)
    engine = make_engine(spelled(url), echo="debug", echo_pool="debug")
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))
        described = repr(connection) + repr(connection.connection.driver_connection)
    monkeypatch.setenv("DATABASE_URL", spelled(url))
    settings = Settings()
    described += (
        repr(engine) + str(engine.url) + repr(engine.url) + repr(settings) + str(settings.model_dump())
    )
    engine.dispose()

    assert "SELECT 1" in caplog.text
    assert not shown(url, described + caplog.text)


def test_one_among_the_options_is_hidden_like_any_other():
    url = normalize_url("postgresql:///crm?host=/tmp&password=s%40cret&sslpassword=k%40y")
    assert (url.password, "password" in url.query) == ("s@cret", False)

    engine = make_engine(url)

    assert "cret" not in repr(engine)
    assert "k%40y" not in repr(engine)
    assert "k@y" not in repr(engine)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ann:8hid@den8@localhost/crm",
        "postgresql://ann:8hid@den8/x@localhost/crm",
        "postgresql://ann:8hid@den8?x@localhost/crm",
        "postgresql://ann:8hid@den8?x=1&y@localhost/crm",
    ],
)
def test_an_at_sign_that_is_not_encoded_is_refused_and_nothing_of_the_password_is_shown(processes, url):
    """SQLAlchemy would take what stands behind it for the host, and show it."""
    with pytest.raises(InvalidValue, match="write it as %40") as refused:
        make_engine(url)
    assert "den8" not in str(refused.value)

    ran = processes.run("alembic", "current", env=os.environ | {"DATABASE_URL": url})
    assert ran.returncode == 1
    assert "den8" not in ran.stdout + ran.stderr


def test_an_at_sign_elsewhere_is_left_alone():
    for url in (
        "postgresql://ann@/crm?host=@abstract",
        "postgresql://ann:a%40b@localhost/crm",
        "postgresql:///crm?user=ann@example.com&application_name=a@b",
    ):
        normalize_url(url)
    url = normalize_url("postgresql://ann@localhost/crm?password=8old8&password=8hidden8")
    assert (url.password, "8" in str(url)) == ("8hidden8", False)
