"""Whether the time of a parser grows with its input's length only, whatever the input.

    python benchmarks/parsers.py [--length 50000]

Each parser reads hostile inputs of one length and of four times it. Time that grows with the length takes
four times as long, a quadratic reader sixteen times: what takes more than eight times is marked, and the
command fails. Processor time, the best of three.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time

from app.channels import email, messages_in, parse_payload
from app.channels.email import authentication, charsets
from app.errors import CRMError

MOST = 8
FASTEST = 0.02
"""Seconds below which a clock's grain says more than the parser."""

HEAD = b"From: a@example.com\r\nTo: s@x.example\r\n"
HEADERS = ["From", "To", "Cc", "Reply-To", "Subject", "Message-ID", "References", "In-Reply-To", "Date"]
HEADERS += ["Content-Type", "Content-Disposition", "Content-Transfer-Encoding", "Authentication-Results"]
HEADERS += ["Received", "Auto-Submitted", "List-Id", "X-Failed-Recipients", "Delivered-To"]
FILLERS = [
    "a",
    "<",
    ">",
    "(",
    ")",
    '"',
    "\\",
    ",",
    ";",
    "=",
    "@",
    " ",
    "a ",
    "<a",
    "a@b,",
    "(a",
    '"a',
    "=?utf-8?q?a?= ",
]
FILLERS += [
    "=?",
    "a=b;",
    "a@b ",
    "\r\n a",
    "\t",
    "\xe9",
    "[",
    "<>",
    "1",
    "a.",
    '\\"',
    ";a*0*=",
    "[a@b",
    "&lt;",
]
LINES = [
    "> a\n",
    "> a\nb\n",
    "On 3 Mar 2025 a@b.c wrote:\n",
    "--\n",
    "From: a\nDate: b\n",
    "_" * 20 + "\n",
    "\n\n> ",
]
LINES += [
    "On ",
    ">\n\n\n",
    "Message-ID: <",
    "a@b:\n",
    "<a@b>: ",
    " a@b\n",
    "|",
    "wrote:\n",
    "\n",
    " ",
    "-----",
    "* ",
]
ELEMENTS = [
    "<a ",
    "<div>",
    "<blockquote type=cite>",
    "<!--",
    "<![",
    "<p",
    "</div>",
    "<img alt=x>",
    "&",
    "&#",
    "<",
]
ELEMENTS += [
    "<td>",
    "<pre>",
    "<a href='",
    "<div class=gmail_quote>",
    "]]>",
    "<?",
    "<style>",
    "<script>",
    "<b><i>",
]
LABELS = [
    "utf-8",
    "gb2312",
    "big5",
    "shift_jis",
    "iso-2022-jp",
    "euc-jp",
    "utf-7",
    "hz",
    "punycode",
    "utf-16",
]
OCTETS = ["\x1b$B", "\x1b(B!", "\xff", "\xe9a", "a\xe9", "\x8f\xa1", "~{", "+A", "\xc3", "=C3"]
PARTS = [
    "--B\r\n",
    "--B\r\n\r\n",
    "--B\r\nContent-Type: multipart/mixed; boundary=B\r\n\r\n",
    "--",
    "\r\n--B--",
]
PARTS += [
    "--B\r\nContent-Type: message/rfc822\r\n\r\n",
    "--B\r\nContent-Type: message/delivery-status\r\n\r\nA: b\r\n\r\n",
]

Read = Callable[[bytes], object]


def mail(raw: bytes) -> object:
    return email.parse(raw, account="s@x.example", authserv_id="mx.example", form_mailers=["a@example.com"])


def vouched(raw: bytes) -> object:
    return authentication.vouches(raw.decode(), authserv_id="mx.example", domain="example.com")


def archive(raw: bytes) -> object:
    with TemporaryDirectory() as folder:
        path = Path(folder, "a.mbox")
        path.write_bytes(b"From a Mon Mar  3 10:11:12 2025\n" + raw)
        return sum(1 for _ in messages_in(path, on_problem=lambda *_: None))


def cases() -> Iterator[tuple[str, Read, bytes, bytes]]:
    """Name, parser, what begins the input, and what it is filled with."""
    yield from headers()
    yield from bodies()
    yield from payloads()


def headers() -> Iterator[tuple[str, Read, bytes, bytes]]:
    for name, filler in product(HEADERS, FILLERS):
        yield f"header {name}: {filler!r}", mail, HEAD + f"{name}: ".encode(), filler.encode()
    for filler in FILLERS:
        yield f"names of headers {filler!r}", mail, HEAD, f"{filler}: x\r\n".encode()
        yield f"results {filler!r}", vouched, b"mx.example; ", filler.encode()


def bodies() -> Iterator[tuple[str, Read, bytes, bytes]]:
    for filler in LINES:
        yield f"text {filler!r}", mail, HEAD + b"Subject: Re: x\r\n\r\n", filler.encode()
        yield f"bounce {filler!r}", mail, b"From: <>\r\nTo: s@x.example\r\n\r\n", filler.encode()
        yield f"archive {filler!r}", archive, b"", filler.encode()
    for filler in ELEMENTS:
        yield f"page {filler!r}", mail, HEAD + b"Content-Type: text/html\r\n\r\n", filler.encode()
    for label, filler in product(LABELS, OCTETS):
        yield f"{label} {filler!r}", partial(charsets.decode, label=label), b"", filler.encode("latin-1")
    multipart = HEAD + b"Content-Type: multipart/mixed; boundary=B\r\n\r\n"
    for filler in PARTS:
        yield f"parts {filler!r}", mail, multipart, filler.encode()


def payloads() -> Iterator[tuple[str, Read, bytes, bytes]]:
    as_json, as_form = partial(parse_payload, suffix=".json"), partial(parse_payload, suffix=".form")
    for filler in ('{"a":', "[", '"', "1", '{"a":[{},', "\\u0000"):
        yield f"webhook {filler!r}", as_json, b'{"object":', filler.encode()
    for filler in ("a=b&", "a", "%", "&", "%41", "="):
        yield f"form {filler!r}", as_form, b"Body=", filler.encode()


def seconds(read: Read, raw: bytes) -> float:
    best = float("inf")
    for _ in range(3):
        since = process_time()
        with contextlib.suppress(CRMError):
            read(raw)
        best = min(best, process_time() - since)
    return best


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--length", type=int, default=50_000)
    length = arguments.parse_args().length
    slow, worst, count = [], 0.0, 0
    for name, read, head, filler in cases():
        long = seconds(read, head + filler * (4 * length // len(filler)))
        count += 1
        worst = max(worst, long)
        if long > FASTEST:
            ratio = long / max(seconds(read, head + filler * (length // len(filler))), FASTEST / MOST)
            if ratio > MOST:
                slow.append((ratio, long, name))
    print(f"{count} hostile inputs of {4 * length:,} bytes; the slowest took {worst:.2f} s")
    for ratio, long, name in sorted(slow, reverse=True):
        print(f"{ratio:5.1f} times as long for four times the length, {long:.2f} s: {name}")
    sys.exit(1 if slow else 0)


if __name__ == "__main__":
    main()
