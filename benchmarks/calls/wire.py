"""A proxy between a client and the server that counts flights and, if it is told to, delays each of them.

A flight is what a client waits for: it ends what it sends with Sync, Query or Flush, so these are counted,
and however the bytes are cut into packets, the count of a call is the same each time. Every piece of what is
sent arrives ``delay`` later, pieces that were sent together arrive together, and answers are not delayed: a
round trip takes ``delay`` longer.

It runs in a process of its own, so that it takes no time of the client's interpreter, listens on a socket in
a private folder, and ends with whoever started it.
"""

from __future__ import annotations

import mmap
import queue
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_COUNTER = struct.Struct("=Q")
_LENGTH = struct.Struct("!I")
_STARTS_TLS = (80877103, 80877104)  # SSLRequest and GSSENCRequest: a start-up packet follows
_WAITS = frozenset(b"SQH")  # Sync, Query, Flush
_FLUSH = ord("H")
_PORT = 5432

Pieces = queue.SimpleQueue[tuple[float, bytes]]
"""What is on its way to the server, and when it arrives."""


@dataclass(frozen=True)
class Proxy:
    folder: Path
    counter: mmap.mmap

    @property
    def flights(self) -> int:
        """How many have set out since the beginning."""
        count: int = _COUNTER.unpack_from(self.counter)[0]
        return count


@contextmanager
def proxy(host: str, port: int, *, delay: float) -> Iterator[Proxy]:
    """Run a proxy to the server, whose ``host`` may be the folder of its socket. ``delay`` is in seconds."""
    with tempfile.TemporaryDirectory(prefix="crm-wire-") as name:
        folder = Path(name)
        counts = folder / "flights"
        counts.write_bytes(bytes(_COUNTER.size))
        command = [sys.executable, __file__, str(folder), host, str(port), str(delay)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            if not process.stdout.readline():
                raise RuntimeError("the proxy did not start")
            with counts.open("r+b") as file, mmap.mmap(file.fileno(), _COUNTER.size) as counter:
                yield Proxy(folder, counter)
        finally:
            process.stdin.close()  # the sign to end
            process.wait(10)
            process.stdout.close()


class Flights:
    """Finds the messages for which a client waits in what it sends, however that is cut."""

    def __init__(self) -> None:
        self._rest = b""
        self._started = False
        self._pending = False

    def count(self, data: bytes) -> int:
        self._rest += data
        waits = 0
        while True:
            head = 1 if self._started else 0
            if len(self._rest) < head + _LENGTH.size:
                return waits
            end = head + _LENGTH.unpack_from(self._rest, head)[0]
            if len(self._rest) < end:
                return waits
            if self._started:
                waits += self._ends_wait(self._rest[0])
            elif _LENGTH.unpack_from(self._rest, 4)[0] not in _STARTS_TLS:
                self._started = True
            self._rest = self._rest[end:]

    def _ends_wait(self, kind: int) -> bool:
        """Whether the client waits after this message; a Flush behind a Sync asks for nothing more."""
        waits = kind in _WAITS and (kind != _FLUSH or self._pending)
        self._pending = kind not in _WAITS
        return waits


def _serve(folder: Path, host: str, port: int, delay: float) -> None:
    with (
        socket.socket(socket.AF_UNIX) as listener,
        (folder / "flights").open("r+b") as file,
        mmap.mmap(file.fileno(), _COUNTER.size) as counter,
    ):
        listener.bind(str(folder / f".s.PGSQL.{_PORT}"))
        listener.listen(64)
        counting = threading.Lock()

        def fly(waits: int) -> None:
            with counting:
                _COUNTER.pack_into(counter, 0, _COUNTER.unpack_from(counter)[0] + waits)

        def accept() -> None:
            while True:
                client, _ = listener.accept()
                server = _connect(host, port)
                pieces: Pieces = queue.SimpleQueue()
                for work in (
                    lambda c=client, p=pieces: _read(c, p, delay, fly),
                    lambda s=server, p=pieces: _deliver(s, p),
                    lambda c=client, s=server: _answer(s, c),
                ):
                    threading.Thread(target=work, daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        print("ready", flush=True)
        sys.stdin.read()


def _connect(host: str, port: int) -> socket.socket:
    if not host.startswith("/"):
        server = socket.create_connection((host, port))
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return server
    server = socket.socket(socket.AF_UNIX)
    server.connect(f"{host}/.s.PGSQL.{port}")
    return server


def _read(client: socket.socket, pieces: Pieces, delay: float, fly: Callable[[int], None]) -> None:
    flights = Flights()
    data = b"-"
    while data:
        try:
            data = client.recv(1 << 18)
        except OSError:
            data = b""
        arrives = time.perf_counter() + delay
        waits = flights.count(data)
        if waits:
            fly(waits)
        pieces.put((arrives, data))


def _deliver(server: socket.socket, pieces: Pieces) -> None:
    with suppress(OSError):
        while True:
            arrives, data = pieces.get()
            if not data:
                server.shutdown(socket.SHUT_WR)
                return
            ahead = arrives - time.perf_counter()
            if ahead > 0:
                time.sleep(ahead)
            server.sendall(data)


def _answer(server: socket.socket, client: socket.socket) -> None:
    with suppress(OSError):
        while data := server.recv(1 << 18):
            client.sendall(data)
        client.shutdown(socket.SHUT_WR)
    server.close()
    client.close()


if __name__ == "__main__":
    _serve(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
