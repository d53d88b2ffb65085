"""What leaves is a correct mail: it reads back as it was meant, here and with the standard library."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from email import message_from_bytes, policy
from email.header import decode_header, make_header
from email.utils import parseaddr
from uuid import UUID

import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from app.channels import email
from app.errors import InvalidValue
from app.schemas import Attachment, Delivery

SUPPORT = "support@techcorp.example"
ANA = "ana@example.com"
INJECTION = "x\r\nBcc: evil@example.com\r\n\r\n<b>body</b>"


def delivery(**facts) -> Delivery:
    to = facts.pop("to", ANA)
    return Delivery(
        **{
            "message_id": UUID("0192f0c1-2d3e-7000-8000-00000000000a"),
            "conversation_id": UUID(int=1),
            "customer_id": UUID(int=2),
            "channel": "email",
            "account": SUPPORT,
            "to": {"type": "email", "value": to},
            "provider_message_id": "<0192f0c1-2d3e-7000-8000-00000000000a@techcorp.example>",
            "subject": "Re: Password",
            "content": "Open Settings.",
            "content_type": "text",
            "attempt": 1,
            "window_open": True,
            "written_at": datetime(2026, 3, 1, 9, 30, tzinfo=timezone(timedelta(hours=2))),
        }
        | facts
    )


def read_back(raw: bytes):
    return message_from_bytes(raw, policy=policy.default)


def lines_of(raw: bytes) -> list[bytes]:
    """Its lines, which end with CRLF and nothing else."""
    assert b"\r" not in raw.replace(b"\r\n", b"")
    assert b"\n" not in raw.replace(b"\r\n", b"")
    return raw.split(b"\r\n")


def test_an_answer_has_the_headers_that_mail_programs_thread_by():
    references = ("<1@mail.example.net>", "<2@mail.example.net>")
    composed = email.compose(
        delivery(in_reply_to=references[1], references=references), sender_name="TechCorp Support"
    )
    assert dict(composed.items()) == {
        "From": "TechCorp Support <support@techcorp.example>",
        "To": "ana@example.com",
        "Subject": "Re: Password",
        "Date": "Sun, 01 Mar 2026 07:30:00 +0000",
        "Message-ID": "<0192f0c1-2d3e-7000-8000-00000000000a@techcorp.example>",
        "In-Reply-To": "<2@mail.example.net>",
        "References": "<1@mail.example.net> <2@mail.example.net>",
        "Content-Type": 'text/plain; charset="utf-8"',
        "Content-Transfer-Encoding": "7bit",
        "MIME-Version": "1.0",
    }
    assert composed.get_content() == "Open Settings.\n"


def test_html_goes_with_a_text_of_it_and_files_come_last():
    files = (
        Attachment(filename="größe.pdf", media_type="application/pdf", url="file:///a"),
        Attachment(filename="mail.eml", media_type="message/rfc822", url="file:///b"),
        Attachment(media_type="no type", url="file:///c"),
    )
    contents = {"file:///a": b"%PDF", "file:///b": b"From: x\n\n--=_", "file:///c": bytes(range(256))}
    html = "<p>Öffne <a href='https://x.example'>das</a>.</p>"
    composed = email.compose(
        delivery(content=html, content_type="html", attachments=files), load=lambda file: contents[file.url]
    )

    raw = bytes(composed)
    mail = read_back(raw)

    assert [part.get_content_type() for part in mail.walk()] == [
        "multipart/mixed",
        "multipart/alternative",
        "text/plain",
        "text/html",
        "application/pdf",
        "application/octet-stream",
        "application/octet-stream",
    ]
    assert mail.get_body(("plain",)).get_content() == "Öffne das (https://x.example).\r\n"
    assert mail.get_body(("html",)).get_content() == f"{html}\r\n"
    assert [part.get_filename() for part in mail.iter_attachments()] == ["größe.pdf", "mail.eml", None]
    assert [part.get_payload(decode=True) for part in mail.iter_attachments()] == list(contents.values())
    parsed = email.parse(raw, account=ANA)
    assert [(file.filename, file.size) for file in parsed.attachments] == [
        ("größe.pdf", 4),
        ("mail.eml", 13),
        (None, 256),
    ]


def test_each_attempt_is_the_same_mail():
    file = Attachment(filename="a.txt", media_type="text/plain")
    facts = {"content": "<p>ü</p>", "content_type": "html", "attachments": (file,)}
    mails = {bytes(email.compose(delivery(attempt=n, **facts), load=lambda _: b"1")) for n in (1, 2)}
    assert len(mails) == 1


def test_a_machine_s_answer_says_that_it_is_one():
    raw = bytes(email.compose(delivery(auto_reply=True)))
    assert read_back(raw)["Auto-Submitted"] == "auto-replied"
    assert email.parse(raw, account=ANA).auto_reply
    assert not email.parse(bytes(email.compose(delivery())), account=ANA).auto_reply


@pytest.mark.parametrize(
    "facts",
    [
        {"subject": INJECTION},
        {"to_name": INJECTION},
        {"in_reply_to": f"<{INJECTION}@x>", "references": (f"<{INJECTION}@x>", INJECTION)},
        {"attachments": (Attachment(filename=INJECTION, media_type=INJECTION),)},
        {"content": INJECTION},
        {"subject": "a\u2028Bcc: evil@example.com", "to_name": "a\x0bBcc: evil@example.com\x85x"},
    ],
)
def test_nothing_that_somebody_wrote_can_add_a_header(facts):
    raw = bytes(email.compose(delivery(**facts), sender_name=INJECTION, load=lambda _: INJECTION.encode()))
    mail = read_back(raw)
    assert "Bcc" not in mail
    assert mail.defects == []
    assert [address.addr_spec for address in mail["To"].addresses] == [ANA]
    assert [address.addr_spec for address in mail["From"].addresses] == [SUPPORT]
    assert mail.get_body(("plain",)).get_content().count("<b>body</b>") == ("content" in facts)


@pytest.mark.parametrize(
    "address",
    [
        "",
        "ana",
        "@example.com",
        "ana@",
        "ana@exa mple.com",
        "ana@example.com>, <evil@example.com",
        "ana@example.com\r\nBcc: evil@example.com",
        "a\nb@example.com",
        "\ud83d@example.com",
        f"{'a' * 1000}@example.com",
    ],
)
@pytest.mark.parametrize("field", ["to", "account", "reply_to"])
def test_what_is_no_address_is_refused_and_not_repeated(field, address):
    options = {field: address} if field == "reply_to" else {}
    wrong = delivery(**{} if options else {field: address})
    with pytest.raises(InvalidValue) as refusal:
        email.compose(wrong, **options)
    assert len(address) < 5 or address not in str(refusal.value)


@pytest.mark.parametrize(
    ("address", "written"),
    [
        ("Ana@Example.com", "Ana@example.com"),
        ("ana@bücher.example", "ana@xn--bcher-kva.example"),
        ("ana.@post.example", '"ana."@post.example'),
        ("a..b@post.example", '"a..b"@post.example'),
        ('"a b"@post.example', '"a b"@post.example'),
        ('"a\\"b"@post.example', '"a\\"b"@post.example'),
        ('"a,b"@post.example', '"a,b"@post.example'),
        ('"ana"@post.example', "ana@post.example"),
    ],
)
def test_an_address_is_written_as_headers_allow_it(address, written):
    raw = bytes(email.compose(delivery(to=address)))
    assert f"\r\nTo: {written}\r\n".encode() in raw
    (recipient,) = read_back(raw)["To"].addresses
    assert recipient.addr_spec in {address, written}


@pytest.mark.parametrize("name", ["a" * 2000, "a b " * 600, 'A, "B" ' * 300, "é" * 900, "日本語" * 300])
def test_no_name_is_too_long_for_a_line(name):
    raw = bytes(email.compose(delivery(to_name=name), sender_name=name))
    assert max(map(len, lines_of(raw))) <= 78
    for header in ("To", "From"):
        written, address = parseaddr(message_from_bytes(raw)[header])
        assert str(make_header(decode_header(written))) == name.strip()
        assert address in {ANA, SUPPORT}


def test_a_mailbox_beyond_ascii_is_left_as_it_is_for_a_server_that_takes_it():
    raw = bytes(email.compose(delivery(to="zoë@bücher.example", to_name="Zoë", subject="Grüße")))
    assert "zoë@xn--bcher-kva.example".encode() in raw
    assert read_back(raw)["Subject"] == "Grüße"
    assert email.parse(raw, account=ANA).subject == "Grüße"


def test_what_cannot_be_a_mail_is_refused():
    file = Attachment(filename="a.txt")
    for field, call in {
        "delivery": lambda: email.compose({"channel": "email"}),
        "sender_name": lambda: email.compose(delivery(), sender_name=b"Desk"),
        "reply_to": lambda: email.compose(delivery(), reply_to=["desk@example.com"]),
        "channel": lambda: email.compose(delivery(channel="web_form")),
        "load": lambda: email.compose(delivery(attachments=(file,))),
        "content": lambda: email.compose(delivery(content="\ud800")),
        "subject": lambda: email.compose(delivery(subject="\ud800")),
    }.items():
        with pytest.raises(InvalidValue) as refusal:
            call()
        assert refusal.value.field == field
    for load in (lambda _: "text", "a folder"):
        with pytest.raises(InvalidValue, match=r"^load: "):
            email.compose(delivery(attachments=(file,)), load=load)


def test_ids_that_are_none_are_left_out():
    composed = email.compose(delivery(in_reply_to="sha256:0", references=("<a b@x>", "<ü@x>", "x", "<1@x>")))
    assert ("In-Reply-To" in composed, composed["References"]) == (False, "<1@x>")


letters = st.characters(codec="utf-8", exclude_characters="\x00")
texts = st.text(letters, max_size=200) | st.text(st.sampled_from(' \t\r\nab=?_ä\u2028\x85,<>@"\\()é漢🙂.;:'))
phrases = texts | st.sampled_from(["=?utf-8?q?x?=", "a" * 300, "ä" * 255, "a " * 120, "From ", "."])
ids = st.from_regex(r"\A<[A-Za-z0-9!$=+./_-]{1,200}@[a-z0-9.-]{1,40}>\Z")
addresses = st.builds(
    lambda local, domain: f"{local}@{domain}",
    st.text(st.sampled_from("abcXYZ019.+_-='"), min_size=1, max_size=40).filter(lambda text: text.strip(".")),
    st.sampled_from(["example.com", "mail.example.org", "bücher.example"]),
)


def on_one_line(text: str | None) -> str | None:
    line = " ".join(re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+", " ", text or "").split())
    return line or None


def bare(name: str | None) -> str:
    """Without its spaces, and the quotes around it."""
    return (name or "").replace(" ", "").strip("'\"")


def same_text(text: str) -> str:
    """A mail's lines end with CRLF, and the last one ends."""
    return re.sub(r"\r\n?", "\n", text).rstrip("\n")


@settings(max_examples=20, deadline=None, phases=(Phase.explicit, Phase.generate))
@given(
    subject=phrases,
    content=phrases.filter(lambda text: text.strip()),
    name=phrases,
    to=addresses,
    references=st.lists(ids, max_size=30, unique=True),
    files=st.lists(st.tuples(phrases, st.binary(max_size=300)), max_size=3),
    is_html=st.booleans(),
)
@example("=?utf-8?q?=0D=0ABcc:_x?=", "From x\n.\n", "a, b <c@d>", "a@example.com", [], [("=?x", b"")], False)
@example("a" * 2000, "ä" * 2000, '"', ".a@example.com", [f"<{'a' * 240}@x>"], [("ä" * 250, b"\0")], True)
def test_what_is_composed_reads_back_as_it_was_meant(  # noqa: PLR0917 (Hypothesis's examples)
    subject, content, name, to, references, files, is_html
):
    attachments = tuple(Attachment(filename=filename, url=str(n)) for n, (filename, _) in enumerate(files))
    sent = delivery(
        subject=subject,
        content=content,
        content_type="html" if is_html else "text",
        to_name=name,
        to=to,
        in_reply_to=references[-1] if references else None,
        references=tuple(references),
        attachments=attachments,
    )
    raw = bytes(email.compose(sent, sender_name=name, load=lambda file: files[int(file.url)][1]))

    assert max(map(len, lines_of(raw))) <= 998
    assert raw.isascii()
    mail = read_back(raw)
    assert mail.defects == []
    assert (mail["Subject"] or "").strip() == (on_one_line(subject) or "")
    assert mail["Message-ID"] == sent.provider_message_id
    assert (mail["References"] or "").split() == references
    (recipient,) = mail["To"].addresses
    (sender,) = mail["From"].addresses
    assert sender.addr_spec == SUPPORT
    # Python 3.11 reads a space between two encoded words of a name, where RFC 2047 has none.
    assert bare(sender.display_name) == bare(on_one_line(name))
    assert bare(recipient.display_name) == bare(sender.display_name)
    assert same_text(mail.get_body(("plain",)).get_content()) == same_text(sent.text)
    if is_html:
        assert same_text(mail.get_body(("html",)).get_content()) == same_text(content)
    assert [part.get_payload(decode=True) for part in mail.iter_attachments()] == [file for _, file in files]

    parsed = email.parse(raw, account=ANA)
    assert parsed.sender[0].value == SUPPORT
    if "=?" not in name and len(name) < 200:
        assert bare(parsed.profile.name) == bare(on_one_line(name))
    assert f"<{parsed.provider_message_id}>" == sent.provider_message_id
    assert [f"<{id_}>" for id_ in parsed.references] == references[::-1]
    assert parsed.sent_at == sent.written_at.astimezone(UTC)
    assert " ".join((parsed.subject or "").split()) == (on_one_line(subject) or "")[:500].strip()
    assert len(parsed.attachments) == len(files)
