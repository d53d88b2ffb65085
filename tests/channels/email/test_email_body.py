"""What a mail says: texts, charsets, attachments."""

from __future__ import annotations

import base64
import contextlib
import sys

import pytest

from app.channels import email
from app.errors import InvalidPayload
from app.models import ContentType

from .mails import mail, parsed

MIXED = "multipart/mixed; boundary=B"


def part(body: str = "", **headers: str) -> str:
    head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"--B\r\n{head}\r\n{body}\r\n"


@pytest.mark.parametrize(
    ("content_type", "body", "text"),
    [
        ("text/plain; charset=utf-8", "Grüße 🚀".encode(), "Grüße 🚀"),
        ("text/plain; charset=iso-8859-1", b"it\x92s", "it\u2019s"),
        ("text/plain; charset=us-ascii", "café".encode(), "café"),
        ("text/plain; charset=utf-8", b"caf\xe9", "café"),
        ("text/plain; charset=x-unknown", "café".encode(), "café"),
        ("text/plain; charset=punycode", b"Hello-3ya", "Hello-3ya"),
        ("text/plain; charset=unicode_escape", b"\\ud800 \\d", "\\ud800 \\d"),
        ("text/plain; charset=hex", b"zz", "zz"),
        ('text/plain; charset="a\0b"', b"Hello", "Hello"),
        ("text/plain; charset=utf-16", "Hi".encode("utf-16"), "Hi"),
        ("text/plain", b"a\0b", "a\ufffdb"),
        ("nonsense", b"Hello", "Hello"),
        ("multipart/mixed", b"no boundary", "no boundary"),
    ],
)
def test_any_charset_gives_text(content_type, body, text):
    assert parsed(body, Content_Type=content_type).content == text


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("base64", base64.b64encode(b"Hello")),
        ("base64", b"SGVsbG8"),
        ("quoted-printable", b"H=65llo="),
        ("x-no-such", b"Hello"),
        ("x-uuencode", b"begin 644 a\n%2&5L;&\\\n`\nend\n"),
    ],
)
def test_any_transfer_encoding_gives_text(encoding, body):
    assert parsed(body, Content_Transfer_Encoding=encoding).content == "Hello"


def test_plain_text_is_preferred_to_html():
    body = (
        part("<p>html</p>", Content_Type="text/html") + part("plain", Content_Type="text/plain") + "--B--\r\n"
    )

    assert parsed(body, Content_Type="multipart/alternative; boundary=B").content == "plain"


def test_html_is_read_where_the_plain_text_is_blank():
    body = part("  ", Content_Type="text/plain") + part("<p>html</p>", Content_Type="text/html") + "--B--\r\n"

    assert parsed(body, Content_Type="multipart/alternative; boundary=B").content == "html"


def test_texts_between_pictures_are_all_kept():
    picture = part("", Content_Type="image/png")
    body = part("one") + picture + part("two") + picture + part("three") + "--B--\r\n"
    message = parsed(body, Content_Type=MIXED)

    assert message.content == "one\n\ntwo\n\nthree"
    assert [file.media_type for file in message.attachments] == ["image/png", "image/png"]


def test_attachments_are_noted_with_name_type_and_size():
    pdf = {"Content_Type": "application/pdf; name=x.pdf", "Content_Transfer_Encoding": "base64"}
    body = (
        part("See below")
        + part("JVBERi0=", Content_Disposition="attachment; filename=bill.pdf", **pdf)
        + part("log", Content_Disposition="attachment; filename*=utf-8''l%C3%B6g.txt")
        + part(
            "x", Content_Type="image/png", Content_Disposition='inline; filename="=?utf-8?q?caf=C3=A9.png?="'
        )
        + part("From: a@example.org\r\n\r\nforwarded", Content_Type="message/rfc822")
        + "--B--\r\n"
    )
    message = parsed(body, Content_Type=MIXED)

    assert message.new_text == "See below"
    assert [(file.filename, file.media_type, file.size) for file in message.attachments] == [
        ("bill.pdf", "application/pdf", 5),
        ("lög.txt", "text/plain", 3),
        ("café.png", "image/png", 1),
        (None, "message/rfc822", 32),
    ]


def test_a_mail_of_attachments_only_says_so():
    file = {"Content_Type": "image/png", "Content_Disposition": "attachment; filename=a.png"}
    message = parsed(
        part(" ") + part("x", **file) + part("x", Content_Type="audio/ogg") + "--B--", Content_Type=MIXED
    )

    assert message.content_type is ContentType.ATTACHMENT_NOTICE
    assert message.content == "The message has no text, only 2 files: a.png, audio/ogg"


def test_an_empty_mail_keeps_its_subject():
    message = parsed("", Subject="Please call me")

    assert (message.content, message.content_type) == ("", ContentType.TEXT)
    assert message.subject == "Please call me"


def test_a_body_above_one_megabyte_is_refused():
    assert len(parsed("x" * 1_000_000).content) == 1_000_000
    with pytest.raises(InvalidPayload, match=r"^body: "):
        parsed("ä" * 500_001)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\0",
        b"\xff\xfe",
        "text",
        None,
        ["From: a@example.com"],
        mail("", Content_Type="message/rfc822") + b"Content-Type: message/rfc822\r\n\r\n" * 3000,
        mail("--a\r\n", Content_Type="multipart/mixed; boundary*=a%00''a"),
    ],
)
def test_what_is_no_mail_is_refused(raw):
    with pytest.raises(InvalidPayload):
        email.parse(raw)


def calls(raw: bytes) -> int:
    """How many functions are called, Python's own in C among them, to read a mail."""
    count = 0

    def counted(*_: object) -> None:
        nonlocal count
        count += 1

    sys.setprofile(counted)
    try:
        with contextlib.suppress(InvalidPayload):
            email.parse(raw, account="desk", authserv_id="mx")
    finally:
        sys.setprofile(None)
    return count


LONG_HEADERS = ("To", "Subject", "Content_Type", "References", "Auto_Submitted", "Authentication_Results")


@pytest.mark.parametrize("filler", [",", '"', "(", "a ", "=?utf-8?q?a?= ", "<a@b>,", ";a=b", "\\"])
def test_the_work_on_hostile_headers_grows_with_their_length_only(filler):
    def work(length: int) -> int:
        return calls(mail("x", **dict.fromkeys(LONG_HEADERS, filler * (length // len(filler)))))

    work(1_000)
    assert work(40_000) < 2.5 * work(20_000)


@pytest.mark.parametrize(
    "piece", ["> a\n", "> a\nb\n", "On 3 Mar 2025 a@b.c wrote:\n", "--\n", "From: a\nDate: b\n", "\n\n> "]
)
@pytest.mark.parametrize("kind", ["plain", "html"])
def test_the_work_on_a_hostile_text_grows_with_its_length_only(piece, kind):
    def work(length: int) -> int:
        body = piece * (length // len(piece)) if kind == "plain" else f"<div>{piece}</div>" * (length // 40)
        return calls(mail(body, Subject="Re: x", Content_Type=f"text/{kind}"))

    work(1_000)
    assert work(40_000) < 2.5 * work(20_000)


def test_many_parts_with_long_headers_are_read():
    many = "".join(part("x", Content_Type=f"text/plain; {'a ' * 1500}") for _ in range(200))

    assert email.parse(mail(many, Content_Type=MIXED), account="desk").content.startswith("x")


@pytest.mark.parametrize(
    ("page", "content"),
    [
        ('<div style="display:none">Preheader</div><div>Shown</div>', "Shown"),
        ('<DIV STYLE="max-height:0; Display : None !important">Preheader</DIV><p>Shown</p>', "Shown"),
        ('<span style="visibility: hidden">Obey me</span>Shown', "Shown"),
        ("<div hidden><div>Obey</div><a href='https://x.example'>me</a></div>Shown", "Shown"),
        ('<table style="display:none"><tr><td>Obey</td></tr></table><div>Shown</div>', "Shown"),
        ('<p style="display:none">Never closed<p>Shown', "Never closed\n\nShown"),
        ('<div style="overflow:hidden; display:block; font-size:0"><div>Shown</div></div>', "Shown"),
        ('<div style="display:none">Hidden</div></div><div>Shown</div>', "Shown"),
    ],
)
def test_what_a_page_hides_is_no_text(page, content):
    assert parsed(page, Content_Type="text/html; charset=utf-8").content == content
