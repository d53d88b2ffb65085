"""A server of the benchmarks' own, with as much memory as a server for such tables is usually given."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psutil
from _articles import connect
from platformdirs import user_cache_path

from app import embedded


@contextmanager
def roomy_server() -> Iterator[str]:
    """The URL of an embedded server whose ``shared_buffers`` are a quarter of the machine's memory.

    With the 128 MB of the server for tests, all searches would chiefly read pages again that those before
    them have pushed out, and nobody could be told from anybody else.
    """
    folder = user_cache_path("crm-digital-fte") / "benchmarks" / "server"
    quarter = psutil.virtual_memory().total // 4 // 2**20
    server = embedded.start(folder, durable=False)
    with connect(server.url) as connection:
        connection.execute(f"ALTER SYSTEM SET shared_buffers = '{quarter}MB'")
        connection.execute("ALTER SYSTEM SET max_wal_size = '8GB'")  # else a checkpoint every few seconds
    embedded.release(server)  # it counts from the next start
    server = embedded.start(folder, durable=False)
    try:
        yield server.url
    finally:
        embedded.release(server)
