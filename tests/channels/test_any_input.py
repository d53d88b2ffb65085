"""Whatever arrives, it becomes messages that can be stored, or InvalidPayload."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.channels import FolderStore, email, messages_in, parse_archive, safe_name, web_form, whatsapp
from app.channels.email import charsets
from app.errors import InvalidPayload
from app.schemas import Attachment, InboundMessage
from tests._numbered import any_bytes, check_numbered

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=30)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT | st.binary(max_size=5)
ANY_JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXT, inner, max_size=3),
    max_leaves=8,
)
PROFILE = settings(max_examples=100, deadline=None)

LABELS = st.sampled_from([
    "utf-8", "gb2312", "big5", "shift_jis", "iso-2022-jp", "euc-jp", "ks_c_5601-1987", "iso-8859-1", "utf-7", "hz", "utf-16",
    "utf-32", "iso-2022-kr", "cp1252", "tis-620", "x-user-defined", "replacement", "hex", "rot13", "\x00", "",
])  # fmt: skip
LINE_TEXTS = [
    "",
    " ",
    "Hello",
    "> quoted",
    ">> older",
    "-- ",
    "--",
    "On Mon, 3 Mar 2025 at 10:11 Ann <ann@x.example> wrote:",
    "From: a@x.example",
    "Sent: 3 Mar 2025",
    "Date: 3 Mar 2025",
    "To: b",
    "Subject: c",
    "_" * 32,
    "> 5 users",
    "-----Original Message-----",
    "Begin forwarded message:",
    "Sent from my iPhone",
    "Am 3.3.25 schrieb A:",
]
LINES = st.sampled_from(LINE_TEXTS)
ELEMENT_TEXTS = [
    "<div>",
    "</div>",
    "<blockquote type=cite>",
    "</blockquote>",
    "<p>",
    "text ",
    "<br>",
    "<pre>",
    "</pre>",
    "<td>",
    "<div class=gmail_quote>",
    "<div class=gmail_attr>",
    '<div id="divRplyFwdMsg">',
    "<img alt=x>",
    "&gt; ",
    "\n",
    "<span class=gmail_signature_prefix>-- ",
    "<a href='http://x'>",
    "</a>",
    "\ufdd0",
    "<!--",
    "<",
    "wrote:",
]
ELEMENTS = st.sampled_from(ELEMENT_TEXTS)
LINES_AND_ELEMENTS = LINE_TEXTS + ELEMENT_TEXTS

HEADERS = ("From", "To", "Subject", "Message-ID", "References", "Date", "Content-Type", "Content-Disposition")
PIECES = (
    *(
        "ann@example.com",
        "<",
        ">",
        '"',
        "(",
        ")",
        ";",
        ",",
        "=",
        "@",
        "[",
        "\\",
        "\r\n ",
        "\0",
        "\xff",
        "\xc3\xa9",
    ),
    *("=?utf-8?q?a=0A?=", "=?utf-8?b?//8=?=", "=?x?q?a?=", "=?unicode_escape?q?=5Cud800?=", "=?utf-8?b?!"),
    *(
        "text/html",
        "multipart/mixed; boundary=B",
        "charset*=a%00''b",
        "filename*0*=x''%ff",
        "1 Jan 1 0:0 -9999",
    ),
)
BODIES = (
    "--B\r\n",
    "--B--\r\n",
    "\r\n",
    "<p>",
    "<![x",
    "<!--",
    "<a href='",
    "&#0;",
    "=4",
    "\xff",
    "\0",
    "Content-Type: ",
)


def assert_storable(messages: Iterable[InboundMessage]) -> None:
    for message in messages:
        texts = [message.account, message.provider_message_id, message.content, message.subject or ""]
        texts += [message.thread_id or "", message.profile.name or "", message.profile.company or ""]
        texts += [identifier.value for identifier in message.sender]
        texts += [file.filename or "" for file in message.attachments]
        texts += [*message.references, message.reaction_to or "", message.group_id or "", message.new_text]
        texts += [
            text or "" for one in message.delivery_reports for text in (one.recipient, one.code, one.reason)
        ]
        texts += [one.provider_message_id or "" for one in message.delivery_reports]
        texts += [*message.ignored, *(identifier.value for identifier in message.former)]
        texts.append(json.dumps(message.extra, allow_nan=False))
        for text in texts:
            assert "\0" not in text
            text.encode()
        assert max(map(len, (message.account, message.provider_message_id, message.thread_id or ""))) <= 255
        assert all(len(reference) <= 255 for reference in (*message.references, message.reaction_to or ""))
        assert message.sent_at is None or message.sent_at.tzinfo is not None
        assert message.received_at is None or message.received_at <= datetime.now(UTC)
        # What is new is in the message: no word of it is made up or put together.
        assert set(message.new_text.split()) <= set(message.content.split())


def mutated(valid: Any) -> st.SearchStrategy[Any]:
    """The valid payload with any of its parts replaced by anything."""
    if isinstance(valid, dict):
        intact = st.fixed_dictionaries({key: mutated(value) for key, value in valid.items()})
    elif isinstance(valid, list):
        intact = st.tuples(*map(mutated, valid)).map(list)
    else:
        intact = st.just(valid)
    return st.integers(0, 9).flatmap(lambda chance: ANY_JSON if chance == 0 else intact)


META = {
    "object": "whatsapp_business_account",
    "entry": [
        {
            "changes": [
                {
                    "field": "messages",
                    "value": {
                        "metadata": {"phone_number_id": "1"},
                        "statuses": [
                            {"id": "s", "status": "failed", "errors": [{"code": 1, "error_data": {}}]}
                        ],
                        "contacts": [{"profile": {"name": "Ann"}, "wa_id": "15551234567"}],
                        "messages": [
                            {
                                "from": "1",
                                "id": "a",
                                "type": "text",
                                "text": {"body": "Hi"},
                                "timestamp": "1",
                            },
                            {
                                "from_user_id": "US.1",
                                "id": "b",
                                "type": "image",
                                "image": {"id": "7", "caption": "x"},
                            },
                            {
                                "from": "1",
                                "id": "c",
                                "type": "location",
                                "location": {"latitude": 1, "longitude": 2},
                            },
                        ],
                    },
                }
            ]
        }
    ],
}
TWILIO = {
    "MessageSid": "SM1",
    "From": "whatsapp:+1",
    "To": "whatsapp:+2",
    "Body": "Hi",
    "NumMedia": "1",
    "MediaUrl0": "u",
}
FORM = {
    "submission_id": "1",
    "email": "a@b",
    "phone": "+1",
    "message": "Hi",
    "submitted_at": "2026-11-16T09:20:05Z",
}


@PROFILE
@given(st.binary(max_size=200))
def test_any_bytes_as_a_mail(raw):
    with contextlib.suppress(InvalidPayload):
        assert_storable([email.parse(raw, account="desk", authserv_id="mx")])


@PROFILE
@given(
    st.lists(st.tuples(st.sampled_from(HEADERS), st.lists(st.sampled_from(PIECES), max_size=6)), max_size=6),
    st.lists(st.sampled_from(BODIES), max_size=8),
)
def test_any_headers_and_parts_as_a_mail(headers, body):
    head = "".join(
        f"{name}: {''.join(pieces)}\r\n" for name, pieces in [*headers, ("From", ["a@example.com"])]
    )
    raw = (head + "\r\n" + "".join(body)).encode("latin-1")

    with contextlib.suppress(InvalidPayload):
        assert_storable([email.parse(raw, account="desk", authserv_id="mx")])


@PROFILE
@given(st.binary(max_size=80), LABELS)
def test_any_bytes_with_any_label_are_text(raw, label):
    charsets.decode(raw, label).encode("utf-8", "surrogatepass")
    head = f"From: a@example.com\r\nContent-Type: text/plain; charset={label}\r\nSubject: ".encode()

    with contextlib.suppress(InvalidPayload):
        assert_storable([email.parse(head + raw.replace(b"\n", b"") + b"\r\n\r\n" + raw, account="desk")])


@PROFILE
@given(st.lists(LINES, max_size=14), st.sampled_from(["", "Subject: Re: x\r\n", "Subject: Fwd: x\r\n"]))
def test_any_lines_as_a_reply(lines, head):
    body = "\n".join(lines).encode()

    assert_storable(
        [email.parse(b"From: a@example.com\r\n" + head.encode() + b"\r\n" + body, account="desk")]
    )


@PROFILE
@given(st.lists(ELEMENTS | ANY_TEXT, max_size=20).map("".join))
def test_any_elements_as_a_page(page):
    head = b"From: a@example.com\r\nContent-Type: text/html; charset=utf-8\r\n\r\n"

    assert_storable([email.parse(head + page.encode("utf-8", "replace"), account="desk")])


REPORT_PARTS = st.sampled_from(
    [
        "Final-Recipient: rfc822; a@x.example",
        "Action: failed",
        "Action: \x00",
        "Status: 5.1.1",
        "Status: 9",
        "",
        " ",
        "Diagnostic-Code: smtp; ÿ",
        "Original-Message-ID: <o@x>",
        "Disposition: a; displayed",
        "Message-ID: <" + "a" * 300,
        "--B",
        "Content-Type: message/delivery-status",
        "Content-Type: message/rfc822",
        "Content-Transfer-Encoding: base64",
        "Content-Type: message/disposition-notification",
        "Content-Type: message/global-delivery-status",
        "--B--",
    ]
)


@PROFILE
@given(
    st.lists(REPORT_PARTS, max_size=16), st.sampled_from(["delivery-status", "disposition-notification", "x"])
)
def test_any_parts_as_a_report(lines, kind):
    head = ["From: <>", f"Content-Type: multipart/report; report-type={kind}; boundary=B", "", "--B", ""]
    raw = "\r\n".join([*head, *lines]).encode("latin-1")

    with contextlib.suppress(InvalidPayload):
        assert_storable([email.parse(raw, account="desk")])


@PROFILE
@given(
    st.lists(st.sampled_from([b"From a Mon Mar  3 10:11:12 2025\n", b"From: a@x.example\n", b"\n", b"\r\n", b">From "]) | st.binary(max_size=20), max_size=12).map(b"".join),
    st.sampled_from(["a.mbox", "a.eml", "a.zip", "a"]),
)  # fmt: skip
def test_any_bytes_as_an_archive(raw, name):
    problems: list[Any] = []
    with TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(raw)

        assert_storable(
            message for _, message in parse_archive(path, on_problem=lambda *one: problems.append(one))
        )
        stored = [raw for _, raw in messages_in(path, on_problem=lambda *_: None)]
        assert sum(map(len, stored)) <= len(raw)


@PROFILE
@given(ANY_TEXT | st.text(max_size=300), st.sampled_from(["application/pdf", "x/y", ""]))
def test_any_name_is_safe(written, media_type):
    name = safe_name(Attachment(filename=written.encode("utf-8", "replace").decode(), media_type=media_type))

    assert name
    assert not name.startswith((".", " "))
    assert not {"/", "\\", "\0", os.sep} & set(name)
    assert len(name.encode()) <= 130
    with TemporaryDirectory() as folder:
        assert FolderStore(folder)(Attachment(filename=name), b"x").startswith("file://")


def parse_under_each_head(raw: bytes) -> None:
    for head in (b"", b"From: a@example.com\r\n", b"From: a@example.com\r\nContent-Type: text/html\r\n\r\n"):
        with contextlib.suppress(InvalidPayload):
            assert_storable([email.parse(head + raw, account="desk", authserv_id="mx")])


@pytest.mark.soak
def test_very_many_bytes_as_a_mail():
    check_numbered(
        20_000,
        lambda random: any_bytes(random, doublings=11),
        parse_under_each_head,
        name="bytes",
    )


def any_reply(random: Random) -> bytes:
    kind = random.choice(["plain", "html"])
    head = f"From: a@example.com\r\nSubject: Re: x\r\nContent-Type: text/{kind}; charset=utf-8\r\n\r\n"
    lines = random.choices(LINES_AND_ELEMENTS, k=random.randint(0, 60))
    return (head + "\n".join(lines)).encode()


@pytest.mark.soak
def test_very_many_lines_and_elements_as_a_reply():
    check_numbered(
        10_000,
        any_reply,
        lambda raw: assert_storable([email.parse(raw, account="desk")]),
        name="reply",
    )


@PROFILE
@given(ANY_JSON | mutated(META) | st.binary(max_size=50))
def test_anything_as_a_meta_webhook(payload):
    with contextlib.suppress(InvalidPayload):
        assert_storable(whatsapp.parse_meta(payload))
    with contextlib.suppress(InvalidPayload):
        whatsapp.parse_meta_statuses(payload)


@PROFILE
@given(ANY_JSON | mutated(TWILIO))
def test_anything_as_a_twilio_form(form):
    with contextlib.suppress(InvalidPayload):
        assert_storable([whatsapp.parse_twilio(form)])


@PROFILE
@given(ANY_JSON | mutated(FORM))
def test_anything_as_a_web_form(form):
    with contextlib.suppress(InvalidPayload):
        assert_storable([web_form.parse(form)])
