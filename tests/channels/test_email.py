from __future__ import annotations

import base64
import time
from datetime import UTC, datetime

import pytest

from app.channels import email
from app.errors import InvalidPayload
from app.models import Channel, ContentType
from app.schemas import InboundMessage

PLAIN = {"From": "Ann <ann@example.com>", "To": "support@techcorp.io", "Message-ID": "<1@example.com>"}
MIXED = "multipart/mixed; boundary=B"


def mail(body: str | bytes = "Hello", /, **headers: str | None) -> bytes:
    """A mail with the headers of PLAIN, changed or (None) left out; underscores stand for hyphens."""
    named = PLAIN | {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in named.items() if value is not None)
    return head.encode() + b"\r\n" + (body if isinstance(body, bytes) else body.encode())


def parsed(body: str | bytes = "Hello", /, **headers: str | None) -> InboundMessage:
    return email.parse(mail(body, **headers))


def part(body: str = "", **headers: str) -> str:
    head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"--B\r\n{head}\r\n{body}\r\n"


def test_a_plain_mail_becomes_a_message():
    message = parsed(
        "Hello,\r\n\r\n> quoted\r\nbye\r\n", Subject="Log in", Date="Mon, 16 Nov 2026 09:12:41 +0100"
    )

    assert message.channel is Channel.EMAIL
    assert message.account == "support@techcorp.io"
    assert message.provider_message_id == message.thread_id == "1@example.com"
    assert [(s.type, s.value, s.verified) for s in message.sender] == [("email", "ann@example.com", False)]
    assert message.profile.name == "Ann"
    assert (message.content, message.content_type) == ("Hello,\n\n> quoted\nbye", ContentType.TEXT)
    assert message.subject == "Log in"
    assert message.sent_at == datetime(2026, 11, 16, 8, 12, 41, tzinfo=UTC)
    assert not message.attachments
    assert not message.auto_reply


@pytest.mark.parametrize(
    ("written", "address", "name"),
    [
        ("ann@example.com", "ann@example.com", None),
        ("=?utf-8?B?w4Vubg==?= <ann@example.com>", "ann@example.com", "Ånn"),
        ("=?iso-8859-1?Q?=C5nn?=\r\n =?iso-8859-1?Q?_Lee?= <ann@example.com>", "ann@example.com", "Ånn Lee"),
        ('"Lee, Ann" <ann@example.com>', "ann@example.com", "Lee, Ann"),
        ("Lee, Inc. <ann@example.com>", "ann@example.com", "Inc."),
        ("Ånn <ann@example.com>", "ann@example.com", "Ånn"),
        ("=?utf-8?q?boss=40example.org?= <ann@example.com>", "ann@example.com", "boss@example.org"),
        ("=?no-such-charset?q?Ann?= <ann@example.com>", "ann@example.com", "Ann"),
        ("=?utf-8?q?A=00=0Ann?= <ann@example.com>", "ann@example.com", "A\ufffd nn"),
        ("ann@example.com, bob@example.com", "ann@example.com", None),
    ],
)
def test_the_sender_is_the_first_address_of_from(written, address, name):
    message = parsed(From=written, Reply_To="other@example.com", Sender="list@example.com")

    assert [identifier.value for identifier in message.sender] == [address]
    assert message.profile.name == name


@pytest.mark.parametrize("name", [".=?x?b?!!?=", "=?utf-8?q?a=0D=0Ab?=", "=?unicode_escape?q?=5Cud800?="])
def test_a_name_that_python_cannot_parse_does_not_hide_the_address(name):
    assert parsed(From=f"{name} <ann@example.com>").sender[0].value == "ann@example.com"


@pytest.mark.parametrize(
    "written",
    [
        None,
        "",
        "Ann",
        "undisclosed-recipients:;",
        "ann@",
        "@example.com",
        "<>",
        "a\0b@example.com",
        "x" * 250 + "@example.com",
        "(" * 2000 + "ann@example.com",
        "ann@example.com " + "," * 5000,
    ],
)
def test_a_mail_without_a_usable_from_is_refused_by_name(written):
    with pytest.raises(InvalidPayload) as refused:
        parsed(From=written)

    assert refused.value.field == "From"
    assert "example" not in str(refused.value)


def test_names_and_subject_are_cut_to_what_their_columns_hold():
    message = parsed(From=f"{'n' * 300} <ann@example.com>", Subject="s" * 600)

    assert message.profile.name == "n" * 255
    assert message.subject == "s" * 500


@pytest.mark.parametrize(
    ("headers", "account"),
    [
        ({"Delivered_To": "Desk@TechCorp.io", "To": "list@example.org"}, "desk@techcorp.io"),
        ({"Delivered_To": "<desk@techcorp.io>"}, "desk@techcorp.io"),
        ({"Delivered_To": "root"}, "support@techcorp.io"),
        ({"To": "undisclosed-recipients:;, Desk <Desk@techcorp.io>, b@example.org"}, "desk@techcorp.io"),
    ],
)
def test_the_account_is_where_the_mail_was_delivered_else_to(headers, account):
    assert parsed(**headers).account == account


def test_an_account_that_is_given_wins():
    assert email.parse(mail(Delivered_To="x@techcorp.io"), account="desk").account == "desk"


@pytest.mark.parametrize("to", [None, "", "undisclosed-recipients:;"])
def test_without_any_account_the_mail_is_refused(to):
    with pytest.raises(InvalidPayload, match=r"^To: "):
        parsed(To=to)


@pytest.mark.parametrize("account", ["", " ", "a\0", "a" * 256, 7])
def test_an_unusable_account_is_refused(account):
    with pytest.raises(InvalidPayload, match=r"^account: "):
        email.parse(mail(), account=account)


@pytest.mark.parametrize(
    ("written", "message_id"),
    [
        ("  <a@b>  ", "a@b"),
        ("\r\n <a@b>", "a@b"),
        ("<a\r\n b@c>", "ab@c"),
        ("a@b", "a@b"),
        ("abc", "abc"),
        ("<a@b> (comment)", "a@b"),
        ("<" + "a" * 255 + ">", "a" * 255),
    ],
)
def test_the_message_id_loses_its_angle_brackets(written, message_id):
    assert parsed(Message_ID=written).provider_message_id == message_id


def test_a_message_id_that_does_not_fit_is_replaced_by_its_digest_in_threads_too():
    long = f"<{'a' * 256}@example.com>"
    first, answer = parsed(Message_ID=long), parsed(Message_ID="<2@x>", References=long)

    assert first.provider_message_id.startswith("sha256:")
    assert len(first.provider_message_id) == len("sha256:") + 64
    assert answer.thread_id == first.provider_message_id


@pytest.mark.parametrize("written", [None, "", "<>", "< >"])
def test_a_missing_message_id_is_made_of_what_a_redelivery_repeats(written):
    headers = {"Message_ID": written, "Date": "Mon, 16 Nov 2026 09:12:41 +0100"}
    first, again = parsed(**headers), parsed(**headers, Received="from elsewhere")

    assert first.provider_message_id.startswith("sha256:")
    assert again.provider_message_id == first.provider_message_id
    assert parsed("Other", **headers).provider_message_id != first.provider_message_id


@pytest.mark.parametrize(
    ("headers", "thread"),
    [
        ({"References": "<root@x> <middle@x>", "In_Reply_To": "<middle@x>"}, "root@x"),
        ({"References": "<root@x>\r\n\t<middle@x>"}, "root@x"),
        ({"In_Reply_To": "<middle@x>"}, "middle@x"),
        ({"In_Reply_To": 'Message of "Monday" <middle@x>'}, "middle@x"),
        ({"References": "", "In_Reply_To": "<middle@x>"}, "middle@x"),
        ({"References": "", "In_Reply_To": ""}, "1@example.com"),
        ({"References": "<>", "In_Reply_To": " < > "}, "1@example.com"),
        ({"References": "null", "In_Reply_To": "your message"}, "1@example.com"),
        ({"References": "root@x middle@x"}, "root@x"),
    ],
)
def test_the_thread_is_the_root_of_references_and_never_blank(headers, thread):
    assert parsed(**headers).thread_id == thread


@pytest.mark.parametrize(
    ("written", "sent_at"),
    [
        ("Mon, 16 Nov 2026 09:12:41 -0000", datetime(2026, 11, 16, 9, 12, 41, tzinfo=UTC)),
        ("Mon, 16 Nov 2026 09:12:41 GMT (UTC)", datetime(2026, 11, 16, 9, 12, 41, tzinfo=UTC)),
        ("yesterday", None),
        ("Mon, 99 Nov 2026 09:12:41 +0100", None),
        ("Fri, 31 Dec 9999 23:59:59 -2300", None),
        ("", None),
        (None, None),
    ],
)
def test_the_date_is_aware_or_none(written, sent_at):
    assert parsed(Date=written).sent_at == sent_at


@pytest.mark.parametrize(
    "headers",
    [
        {"Auto_Submitted": "auto-replied"},
        {"Auto_Submitted": "auto-generated; owner-email=a@example.com"},
        {"Auto_Submitted": "(vacation) Auto-Replied"},
        {"Precedence": "Bulk"},
        {"Precedence": "auto_reply"},
        {"Precedence": "junk"},
        {"X_Autoreply": "yes"},
        {"X_Autorespond": "Out of office"},
        {"Return_Path": "<>"},
    ],
)
def test_machines_are_recognised(headers):
    assert parsed(**headers).auto_reply


@pytest.mark.parametrize(
    "headers",
    [
        {"Auto_Submitted": "no"},
        {"Auto_Submitted": "No (a person)"},
        {"Auto_Submitted": ""},
        {"Precedence": "list"},
        {"Return_Path": "<ann@example.com>"},
        {"X_Autoreply": ""},
    ],
)
def test_people_are_not_taken_for_machines(headers):
    assert not parsed(**headers).auto_reply


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

    assert (message.content, message.content_type) == ("See below", ContentType.TEXT)
    assert [(file.filename, file.media_type, file.size) for file in message.attachments] == [
        ("bill.pdf", "application/pdf", 5),
        ("lög.txt", "text/plain", 3),
        ("café.png", "image/png", 1),
        (None, "message/rfc822", None),
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


@pytest.mark.parametrize("filler", [",", '"', "(", "a ", "=?utf-8?q?a?= "])
def test_hostile_headers_take_no_time(filler):
    long = filler * (300_000 // len(filler))
    headers = dict.fromkeys(("To", "Subject", "Content_Type", "References", "Auto_Submitted"), long)
    many = "".join(part("x", Content_Type=f"text/plain; {long[:3000]}") for _ in range(200))
    since = time.perf_counter()

    email.parse(mail(many, **headers), account="desk", authserv_id="mx")
    email.parse(mail(many, Content_Type=MIXED), account="desk")

    assert time.perf_counter() - since < 10
