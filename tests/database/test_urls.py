"""Which URLs are taken, and that those that are not are never repeated."""

from __future__ import annotations

import pytest
from sqlalchemy import make_url, text

from app.database import make_engine, normalize_url
from app.errors import InvalidValue

DRIVERS = ["", "+asyncpg", "+pg8000", "+psycopg", "+psycopg2", "+psycopg_async"]


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("scheme", ["postgres", "postgresql"])
def test_whatever_driver_a_url_names_it_is_one_database(scheme, driver):
    url = normalize_url(f"{scheme}{driver}://ann:p%25w%40@host:5433/crm?sslmode=require")
    assert url.drivername == "postgresql+psycopg"
    assert (url.username, url.password, url.host, url.port) == ("ann", "p%w@", "host", 5433)
    assert (url.database, dict(url.query)) == ("crm", {"sslmode": "require"})
    assert normalize_url(url) == normalize_url(make_url(url).set(drivername=scheme)) == url


@pytest.mark.parametrize(
    ("ssl", "sslmode"),
    [
        ("ssl=require", "require"),
        ("ssl=verify-full", "verify-full"),
        ("ssl=true", "verify-full"),
        ("ssl=False", "disable"),
        ("ssl=require&sslmode=verify-full", "verify-full"),
    ],
)
@pytest.mark.parametrize("hosts", ["one", "one:5433,two"])
def test_the_ssl_of_asyncpg_is_the_sslmode_of_libpq(hosts, ssl, sslmode):
    url = normalize_url(f"postgresql+asyncpg://ann@{hosts}/crm?{ssl}&prepared_statement_cache_size=0")
    assert {name: url.query[name] for name in url.query if name not in {"host", "port"}} == {
        "sslmode": sslmode
    }


SEVERAL = [
    ("postgresql+asyncpg://ann:a%40b@one:5433,two:5434/crm", "one,two", "5433,5434", "a@b"),
    ("postgres://ann:x@one,two:5434/crm", "one,two", "5432,5434", "x"),
    ("postgresql://ann@[::1]:5433,two/crm", "::1,two", "5433,5432", None),
    ("host=one,two port=5433,5434 dbname=crm user=ann password='a@b@c d'", "one,two", "5433,5434", "a@b@c d"),
]


@pytest.mark.parametrize(("spelling", "hosts", "ports", "password"), SEVERAL)
def test_several_servers_are_read_as_libpq_reads_them(spelling, hosts, ports, password):
    url = normalize_url(spelling)
    assert (url.query["host"], url.query["port"]) == (hosts, ports)
    assert (url.username, url.password, url.database) == ("ann", password, "crm")
    assert f":{password}@" not in repr(url)


def test_the_first_server_that_answers_is_used(crm_database_url):
    there = make_url(crm_database_url)
    place, port = there.query.get("host") or there.host, there.query.get("port") or there.port or 5432
    name, user, password = there.database, there.username, there.password or ""
    conninfo = f"host=127.0.0.1,{place} port=1,{port} dbname={name} user={user} password='{password}'"
    engine = make_engine(conninfo, allow_insecure_tls=True)
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT current_database()")) == name
    engine.dispose()


SERVICES = ["service=desk", "postgresql://?service=desk", "postgresql+asyncpg:///?service=desk"]


@pytest.mark.parametrize("spelling", SERVICES)
def test_a_service_is_looked_up_in_libpqs_file(spelling, crm_database_url, tmp_path, monkeypatch):
    there = make_url(crm_database_url)
    entries = {
        "host": there.query.get("host") or there.host,
        "port": there.query.get("port") or there.port or 5432,
        "user": there.username,
        "password": there.password,
        "dbname": there.database,
    }
    lines = [f"{name}={value}" for name, value in entries.items() if value is not None]
    (tmp_path / "services").write_text("\n".join(["[desk]", *lines, ""]))
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "services"))

    engine = make_engine(spelling, allow_insecure_tls=True)

    with engine.connect() as connection:
        assert connection.scalar(text("SELECT current_database()")) == there.database
    engine.dispose()


def test_every_one_of_several_servers_must_be_proven():
    with pytest.raises(InvalidValue, match="verify-full"):
        make_engine("postgresql://ann@localhost,db.example.com/crm")


REFUSED = [
    ("", "is not a URL"),
    ("secret", "is not a URL"),
    ("secret@host/db", "is not a URL"),
    ("postgresql://user:secret@host:port/db", "is not a URL"),
    ("host=h password=secret bogus=1", "is not a URL"),
    ("host=h password='secret", "is not a URL"),
    ("postgresql+mysql://user:secret@host/db", "must be a postgresql"),
    ("mysql://user:secret@host/db", "must be a postgresql"),
    ("sqlite:///secret", "must be a postgresql"),
    ("POSTGRESQL://user:secret@host/db", "must be a postgresql"),
    ("'postgresql://user:secret@host/db'", "quotation mark"),
    ('"postgresql://user:secret@host/db"', "quotation mark"),
    ("postgresql://user:secret@host/db?schema=public", "does not know: schema$"),
    ("postgresql://user:x@host/db?pgbouncer=true&connection_limit=1", "does not know: connection_limit, pgb"),
    ("postgresql://user:x@host/db?se%20cret=1", "with an odd name"),
]


@pytest.mark.parametrize(("url", "problem"), REFUSED)
def test_any_other_url_is_refused_by_its_cause_without_being_repeated(url, problem):
    with pytest.raises(InvalidValue, match=rf"^DATABASE_URL: .*{problem}") as caught:
        make_engine(url)
    assert "secret" not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_blanks_around_a_url_are_not_part_of_it():
    assert normalize_url(" postgresql://ann@host/crm\n") == normalize_url("postgresql://ann@host/crm")
