"""Flights are counted by what the client says, however it is cut, and the proxy changes nothing else."""

from __future__ import annotations

import struct
import time

import psycopg
import pytest

from app.database import normalize_url


def packet(kind: bytes, body: bytes = b"") -> bytes:
    return kind + struct.pack("!I", 4 + len(body)) + body


STARTUP = packet(b"", struct.pack("!I", 196608) + b"user\0postgres\0\0")
TLS = packet(b"", struct.pack("!I", 80877103))
QUERY, SYNC, FLUSH = packet(b"Q", b"SELECT 'SQH'\0"), packet(b"S"), packet(b"H")
EXTENDED = (
    packet(b"P", b"\0SELECT 1\0\0\0") + packet(b"B", b"SSSS") + packet(b"D", b"P\0") + packet(b"E", b"\0")
)

SENT = [
    pytest.param(STARTUP, 0, id="nothing but the start"),
    pytest.param(TLS + STARTUP + QUERY, 1, id="a start that asks for TLS first"),
    pytest.param(STARTUP + QUERY + QUERY, 2, id="two queries"),
    pytest.param(STARTUP + EXTENDED + SYNC, 1, id="a prepared statement"),
    pytest.param(STARTUP + EXTENDED * 5 + SYNC, 1, id="a pipeline"),
    pytest.param(STARTUP + EXTENDED + FLUSH + EXTENDED + SYNC, 2, id="a pipeline that waits in between"),
    pytest.param(STARTUP + EXTENDED + SYNC + FLUSH, 1, id="a flush behind a sync asks for nothing"),
    pytest.param(STARTUP + packet(b"d", b"Q" * 9) + packet(b"c") + SYNC, 1, id="data of a copy"),
]


@pytest.fixture(scope="module")
def wire(benchmark):
    return benchmark("calls.wire")


@pytest.mark.parametrize("size", [1, 3, 7, 1_000])
@pytest.mark.parametrize(("sent", "flights"), SENT)
def test_flights_are_counted_however_the_bytes_are_cut(wire, sent, flights, size):
    counter = wire.Flights()
    assert sum(counter.count(sent[at : at + size]) for at in range(0, len(sent), size)) == flights


@pytest.fixture
def through(benchmark, crm_database_url):
    """A plain connection to the test database through a proxy that delays each flight by 20 ms."""
    with benchmark("calls.run").delayed(crm_database_url, 0.02) as (url, wire):
        address = normalize_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(address, autocommit=True) as connection:
            yield connection, wire


def test_each_statement_is_a_flight_and_a_pipeline_is_one(through):
    connection, wire = through
    before = wire.flights
    with connection.transaction():
        connection.execute("SELECT 1")
    assert wire.flights - before == 3

    before = wire.flights
    with connection.pipeline():
        for _ in range(10):
            connection.execute("SELECT 1")
    assert wire.flights - before == 1


def test_every_flight_is_delayed(through):
    connection, _ = through
    since = time.perf_counter()
    for _ in range(5):
        connection.execute("SELECT 1")
    assert time.perf_counter() - since >= 5 * 0.02


def test_large_values_pass_whole_both_ways(through):
    connection, _ = through
    text = "answer " * 300_000
    assert connection.execute("SELECT %s", [text]).fetchone() == (text,)


def test_a_connection_that_ends_ends_in_the_server_too(through, crm_database_url):
    connection, _ = through
    pid = connection.info.backend_pid
    connection.close()
    address = (
        normalize_url(crm_database_url).set(drivername="postgresql").render_as_string(hide_password=False)
    )
    with psycopg.connect(address, autocommit=True) as other:
        for _ in range(100):
            if other.execute("SELECT FROM pg_stat_activity WHERE pid = %s", [pid]).fetchone() is None:
                return
            time.sleep(0.05)
    pytest.fail("the server still has the connection")
