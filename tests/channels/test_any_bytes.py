"""Whatever bytes reach a parser, they become messages that can be stored, or a typed error."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.channels import email, messages_in, parse_archive, parse_payload, web_form, whatsapp
from app.channels.email import addresses, authentication, charsets
from app.errors import InvalidPayload
from app.html import to_text
from tests._numbered import any_bytes, check_numbered
from tests.channels.test_any_input import assert_storable

Read = Callable[[bytes], object]

# Bytes as they come, and bytes in which a parser finds what it looks for.
BYTES = st.binary(max_size=500)
WORDS = [
    b"From: ",
    b"<a@x.example>",
    b"\r\n",
    b"\r\n\r\n",
    b"Content-Type: ",
    b"multipart/mixed; boundary=B",
    b"--B",
    b"--B--",
]
WORDS += [
    b"=?utf-8?q?",
    b"?=",
    b'"',
    b"(",
    b")",
    b"\\",
    b";",
    b"base64",
    b"message/rfc822",
    b"charset=",
    b"\0",
    b"\xff",
    b"> ",
]
WORDS += [
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b",",
    b'"object"',
    b'"whatsapp_business_account"',
    b'"entry"',
    b'"messages"',
    b"1",
    b"null",
]
WORDS += [
    b"MessageSid=SM1",
    b"&",
    b"From=whatsapp%3A%2B1",
    b"To=whatsapp%3A%2B2",
    b"%",
    b"submission_id",
    b"NaN",
    b"-1e999",
]
WORDS += [
    b"From a Mon Mar  3 10:11:12 2025\n",
    b"\x1b$B",
    b"<div>",
    b"<blockquote>",
    b"&#0;",
    b"dkim=pass header.d=x.example",
]
PIECES = st.lists(st.sampled_from(WORDS) | st.binary(max_size=6), max_size=25).map(b"".join)


def draw(random: Random) -> bytes:
    """The same of a number: half of them any bytes, half of them pieces, of which half are words."""
    if random.random() < 0.5:
        return any_bytes(random, doublings=9)
    return b"".join(
        random.choice(WORDS) if random.random() < 0.5 else random.randbytes(random.randint(0, 6))
        for _ in range(int(2 ** random.uniform(0, 4.7)))
    )


HEAD = b"From: a@x.example\r\nTo: s@x.example\r\n"


def as_mail(raw: bytes, head: bytes = b"") -> None:
    assert_storable([email.parse(head + raw, account="desk", authserv_id="mx", own_accounts=["s@x.example"])])


def as_archive(raw: bytes, name: str) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(raw)
        assert_storable(message for _, message in parse_archive(path, on_problem=lambda *_: None))
        assert sum(len(one) for _, one in messages_in(path, on_problem=lambda *_: None)) <= len(raw)


def as_text(raw: bytes) -> str:
    return raw.decode("latin-1")


PARSERS: dict[str, Read] = {
    "a mail": as_mail,
    "a mail's headers": partial(as_mail, head=HEAD),
    "a mail's text": partial(as_mail, head=HEAD + b"Subject: Re: x\r\n\r\n"),
    "a mail's page": partial(as_mail, head=HEAD + b"Content-Type: text/html\r\n\r\n"),
    "a mail's parts": partial(as_mail, head=HEAD + b"Content-Type: multipart/mixed; boundary=B\r\n\r\n--B\r\n"),
    "a bounce": partial(as_mail, head=b"From: <>\r\nContent-Type: multipart/report; boundary=B\r\n\r\n--B\r\n"),
    "a bounce in words": partial(as_mail, head=b"From: <>\r\nTo: s@x.example\r\n\r\n"),
    "a webhook of Meta": lambda raw: assert_storable(whatsapp.parse_meta(raw)),
    "statuses of Meta": whatsapp.parse_meta_statuses,
    "a form of Twilio": lambda raw: assert_storable(parse_payload(raw, suffix=".form")),
    "a status of Twilio": lambda raw: whatsapp.parse_twilio_status({"MessageStatus": as_text(raw), "From": as_text(raw), "MessageSid": as_text(raw), "ErrorMessage": as_text(raw)}),
    "fields of Twilio": lambda raw: assert_storable([whatsapp.parse_twilio({"MessageSid": "1", "From": "whatsapp:+1", "To": as_text(raw), "Body": as_text(raw), "NumMedia": as_text(raw), "Latitude": as_text(raw)})]),
    "a web form": lambda raw: assert_storable([web_form.parse(dict.fromkeys(("submission_id", "message", "phone", "name", "submitted_at"), as_text(raw)) | {"email": "a@x.example"})]),
    "a web form's address": lambda raw: assert_storable([web_form.parse({"submission_id": "1", "message": "Hi", "email": as_text(raw)})]),
    "a payload of any kind": lambda raw: assert_storable(parse_payload(raw)),
    "JSON": lambda raw: assert_storable(parse_payload(json.dumps({"object": as_text(raw), "submission_id": as_text(raw)}).encode())),
    "an mbox": partial(as_archive, name="a.mbox"),
    "an .eml": partial(as_archive, name="a.eml"),
    "a zip": partial(as_archive, name="a.zip"),
    "a charset": lambda raw: [charsets.decode(raw, label).encode("utf-8", "surrogatepass") for label in ("gb2312", "big5", "iso-2022-jp", "euc-jp", "utf-7", "hz", "utf-16", "x-unknown", None)],
    "a header": lambda raw: charsets.header(raw.decode("utf-8", "surrogateescape"), "shift_jis"),
    "addresses": lambda raw: addresses.read_list(raw.decode("utf-8", "surrogateescape")),
    "results": lambda raw: authentication.vouches(as_text(raw), authserv_id=None, domain="x.example"),
    "a page": lambda raw: to_text(as_text(raw)),
}  # fmt: skip


def attempt(read: Read, raw: bytes) -> None:
    with contextlib.suppress(InvalidPayload):
        read(raw)


@pytest.mark.parametrize("parser", PARSERS)
@settings(max_examples=40, deadline=None)
@given(raw=BYTES | PIECES)
def test_any_bytes_are_a_message_or_a_typed_error(parser, raw):
    attempt(PARSERS[parser], raw)


@pytest.mark.soak
@pytest.mark.parametrize("parser", PARSERS)
def test_ten_thousand_inputs_are_messages_or_typed_errors(parser):
    check_numbered(10_000, draw, partial(attempt, PARSERS[parser]), name=parser)
