"""What of a mail is its text, and what is a file."""

from __future__ import annotations

import base64
import binascii
import quopri

import pytest

from app.channels import email
from app.models import ContentType
from app.schemas import InboundMessage


def part(content_type: str, body: str, *headers: str) -> str:
    return "\r\n".join(["--B", f"Content-Type: {content_type}", *headers, "", body, ""])


def mixed(*parts: str, kind: str = "mixed") -> InboundMessage:
    head = f"From: ann@example.com\r\nTo: s@x.example\r\nContent-Type: multipart/{kind}; boundary=B\r\n\r\n"
    return email.parse(f"{head}{''.join(parts)}--B--\r\n".encode())


def root(body: str, *headers: str) -> InboundMessage:
    return email.parse("\r\n".join(["From: ann@example.com", "To: s@x.example", *headers, "", body]).encode())


@pytest.mark.parametrize(
    "headers",
    [
        ['Content-Type: text/plain; name="mail.txt"'],
        ["Content-Type: text/plain", "Content-Disposition: inline; filename=mail.txt"],
        ["Content-Type: text/markdown"],
        ["Content-Type: text/x-markdown"],
        ["Content-Type: application/octet-stream"],
        ["Content-Type: text/plain", "Content-Disposition: attachment"],
        ["Content-Type: text/plain", "Content-Disposition: inline"],
    ],
)
def test_the_only_text_is_the_message_whatever_it_is_called(headers):
    message = root("**Where** is my order?", *headers)

    assert (message.content, message.content_type) == ("**Where** is my order?", ContentType.TEXT)
    assert message.attachments == ()


def test_a_named_text_beside_the_message_is_a_file():
    message = mixed(part("text/plain", "See the log"), part("text/plain; name=a.log", "error 5"))

    assert message.content == "See the log"
    assert [(file.filename, file.size) for file in message.attachments] == [("a.log", 7)]


def test_a_named_text_beside_other_files_is_the_message():
    message = mixed(part("text/plain; name=mail.txt", "See the picture"), part("image/png; name=a.png", "x"))

    assert message.content == "See the picture"
    assert [file.filename for file in message.attachments] == ["a.png"]


@pytest.mark.parametrize("body", ["\0\1", "\ufffe\0"])
def test_octets_that_are_no_text_are_a_file(body):
    message = root(body, "Content-Type: application/octet-stream")

    assert message.content_type is ContentType.ATTACHMENT_NOTICE
    assert len(message.attachments) == 1


@pytest.mark.parametrize(
    "encoding",
    ["base64 ", "base64 (MIME)", "(x) BASE64", '"base64"', "base64;", "Base64\t", "base-64", "X-Base64"],
)
def test_what_stands_around_the_name_of_an_encoding_does_not_hide_it(encoding):
    written = base64.b64encode(b"Where is my order?").decode()

    assert root(written, f"Content-Transfer-Encoding: {encoding}").content == "Where is my order?"


@pytest.mark.parametrize("encoding", ["Quoted Printable", "quoted_printable", "quoted-printable;"])
def test_an_encoding_may_be_hyphenated_in_any_way(encoding):
    assert root("Caf=C3=A9", f"Content-Transfer-Encoding: {encoding}").content == "Caf\u00e9"


@pytest.mark.parametrize(
    "kind", ["text/x-notes", "text/prs.fallenstein.rst", "application/text", "text/unknown", "text"]
)
def test_text_of_any_kind_that_is_the_whole_mail_is_the_message(kind):
    message = root("Where is my order?", f"Content-Type: {kind}")

    assert (message.content, message.attachments) == ("Where is my order?", ())


@pytest.mark.parametrize("kind", ["text/calendar", "text/csv", "text/rtf", "text/vcard"])
def test_text_for_programs_is_a_file(kind):
    message = root("BEGIN", f"Content-Type: {kind}")

    assert message.content_type is ContentType.ATTACHMENT_NOTICE
    assert [file.media_type for file in message.attachments] == [kind]


def test_a_mail_that_is_one_attached_text_is_readable_and_a_file():
    message = root("Where is my order?", 'Content-Disposition: attachment; filename="question.txt"')

    assert message.content == "Where is my order?"
    assert [file.filename for file in message.attachments] == ["question.txt"]


def test_a_text_that_is_attached_without_a_name_is_the_message():
    message = mixed(part("text/plain", "Where is my order?", "Content-Disposition: attachment"))

    assert (message.content, message.attachments) == ("Where is my order?", ())


@pytest.mark.parametrize("encoding", ["base64", "quoted-printable", "Base64 (MIME)"])
def test_a_message_within_the_message_is_readable_in_any_encoding(encoding):
    inner = b"From: zoe@example.org\r\nSubject: Invoice 17\r\n\r\nPlease pay 5 \xe2\x82\xac."
    code = base64.encodebytes if "64" in encoding else quopri.encodestring
    encoded = code(inner.replace(b"\r", b"")).decode().replace("\n", "\r\n")
    message = mixed(part("message/rfc822", encoded, f"Content-Transfer-Encoding: {encoding}"))

    assert "Subject: Invoice 17\n\nPlease pay 5 \u20ac." in message.content


@pytest.mark.parametrize("breaker", [" ", "\r\n \r\n", "\t", "!"])
def test_base64_with_strays_in_it_is_decoded(breaker):
    written = base64.b64encode(b"Where is my order?").decode()
    body = f"{written[:7]}{breaker}{written[7:]}"

    assert root(body, "Content-Transfer-Encoding: base64").content == "Where is my order?"


@pytest.mark.parametrize(
    ("page", "content"),
    [
        (
            '<img alt="Sale: 50% off" src=a><img alt="" src=b><img alt="Order now" src=c>',
            "The message has no text, only pictures: Sale: 50% off, Order now",
        ),
        ("<p><img src=a></p>", "The message has no text, only pictures"),
        ('<img src=t width="1" height="1">', ""),
        ('<p>Text</p><img alt="Logo">', "Text"),
    ],
)
def test_a_page_of_pictures_says_what_they_show(page, content):
    message = root(page, "Content-Type: text/html")

    assert message.content == message.new_text == content
    notice = ContentType.ATTACHMENT_NOTICE if content.startswith("The message") else ContentType.TEXT
    assert message.content_type is notice


def test_amp_is_another_form_of_the_message_and_neither_text_nor_file():
    amp = part("text/x-amp-html", "<p>amp</p>")
    page = part("text/html", "<p>page</p>")

    assert mixed(amp, page, kind="alternative").content == "page"
    assert mixed(part("text/plain", "plain"), amp, page, kind="alternative").attachments == ()


def test_a_message_within_the_message_is_readable_and_a_file():
    inner = (
        "From: =?utf-8?q?Zo=C3=AB?= <zoe@example.org>\r\nSubject: Invoice 17\r\nDate: Mon, 3 Mar 2025 10:00:00 +0000"
        "\r\n\r\nPlease pay."
    )
    message = mixed(part("text/plain", "Is this real?"), part("message/rfc822", inner))

    assert message.new_text == "Is this real?"
    assert message.content.split("\n") == [
        "Is this real?",
        "",
        "---------- Forwarded message ----------",
        "From: Zoë <zoe@example.org>",
        "Date: Mon, 3 Mar 2025 10:00:00 +0000",
        "Subject: Invoice 17",
        "",
        "Please pay.",
    ]
    (file,) = message.attachments
    assert (file.filename, file.media_type) == ("Invoice 17.eml", "message/rfc822")
    assert file.size == len(inner.encode())


def test_of_a_message_that_only_encloses_another_that_is_new():
    message = mixed(part("message/rfc822", "From: zoe@example.org\r\n\r\nPlease pay."))

    assert message.new_text == message.content
    assert "Please pay." in message.new_text


def test_files_of_an_enclosed_message_are_files():
    inner = "Content-Type: multipart/mixed; boundary=C\r\n\r\n--C\r\nContent-Type: image/png; name=a.png\r\n\r\nx\r\n--C--"

    assert [file.filename for file in mixed(part("message/rfc822", inner)).attachments] == [None, "a.png"]


WORDS = "Grüße, wo ist meine Bestellung 4711? Ich warte seit drei Wochen."


def test_words_that_only_bear_the_name_of_base64_are_read():
    assert root(WORDS, "Content-Transfer-Encoding: base64").content == WORDS


def test_base64_that_gateways_joined_is_read_to_its_end():
    pieces = [base64.b64encode(piece.encode()).decode() for piece in ("Hello", " world, ", "where is it?")]

    message = root("\r\n".join(pieces), "Content-Transfer-Encoding: base64")

    assert message.content == "Hello world, where is it?"


def test_an_encoding_with_a_parameter_is_known():
    message = root("Gr=C3=BC=C3=9Fe", "Content-Transfer-Encoding: quoted-printable; charset=utf-8")

    assert message.content == "Grüße"


@pytest.mark.parametrize("boundary", ["", "; boundary=other"])
def test_parts_whose_boundary_is_lost_are_found(boundary):
    encoded = base64.b64encode(WORDS.encode()).decode()
    parts = part("text/plain; charset=utf-8", encoded, "Content-Transfer-Encoding: base64")
    parts += part("image/png; name=a.png", "x")

    message = root(f"{parts}--B--", f"Content-Type: multipart/mixed{boundary}")

    assert message.content == WORDS
    assert [file.filename for file in message.attachments] == ["a.png"]


@pytest.mark.parametrize(
    "stand_in",
    [
        "To view the message, please use an HTML compatible email viewer!",
        "Ihr E-Mail-Programm kann kein HTML anzeigen.",
        "Este mensaje está en formato HTML.",
    ],
)
def test_a_plain_text_that_only_asks_for_html_is_not_the_message(stand_in):
    page = f"<p>Name: Eva</p><p>{WORDS}</p><p>{WORDS}</p>"

    message = mixed(part("text/plain", stand_in), part("text/html; charset=utf-8", page), kind="alternative")

    assert message.content == f"Name: Eva\n\n{WORDS}\n\n{WORDS}"


@pytest.mark.parametrize("after", [part("image/png; name=a.png", "x"), ""])
def test_what_follows_a_text_in_two_forms_is_new_too(after):
    forms = part("text/plain", "Before") + part("text/html", "<p>Before</p>")
    both = part('multipart/alternative; boundary="B2"', forms.replace("--B\r\n", "--B2\r\n") + "--B2--\r\n")

    message = mixed(both, after, part("text/plain", "My order is 4711."))

    assert message.content == message.new_text == "Before\n\nMy order is 4711."


def test_a_html_that_quotes_nothing_does_not_cut_the_plain_text():
    message = mixed(
        part("text/plain", "Cancel order 4711.\n\nIt never came."),
        part("text/html", "<p>Cancel order 4711.</p><!-- never closed <p>It never came.</p>"),
        kind="alternative",
    )

    assert message.new_text == "Cancel order 4711.\n\nIt never came."


@pytest.mark.parametrize("unseen", ["\u200b", "\u00a0\n \u200c\u200b", "\ufeff \u2060", "\u00ad"])
def test_a_plain_text_that_shows_nothing_is_not_the_message(unseen):
    page = part("text/html; charset=utf-8", f"<p>{WORDS}</p>")

    message = mixed(part("text/plain; charset=utf-8", unseen), page, kind="alternative")

    assert message.content == WORDS


def test_a_plain_text_that_says_something_else_than_a_long_html_loses_neither():
    plain = "Diese Nachricht wird nicht richtig angezeigt."
    page = " ".join(f"{WORDS} {number}" for number in range(30))

    message = mixed(
        part("text/plain", plain), part("text/html; charset=utf-8", f"<p>{page}</p>"), kind="alternative"
    )

    assert message.content == f"{plain}\n\n{page}"


def test_a_text_of_an_unknown_kind_is_the_message():
    assert mixed(part("text/x-pmrich", WORDS)).content == WORDS


def test_a_piece_of_a_message_is_read():
    message = root(WORDS, 'Content-Type: message/partial; id="a@b"; number=1; total=2')

    assert WORDS in message.content


def ber(tag: int, content: bytes) -> bytes:
    """A value in the form of X.690."""
    return bytes([tag, 0x82, *divmod(len(content), 256)]) + content


SIGNED = f"Content-Type: text/plain; charset=utf-8\r\n\r\n{WORDS}\r\n".encode()
DATA = bytes.fromhex("06092a864886f70d010701")
END = b"\0\0"
HELD = {
    "whole": ber(0x30, DATA + ber(0xA0, ber(0x04, SIGNED))),
    "pieces": b"\x30\x80" + DATA + b"\xa0\x80\x24\x80" + ber(4, SIGNED[:20]) + ber(4, SIGNED[20:]) + END * 3,
}


@pytest.mark.parametrize("held", HELD.values(), ids=HELD)
@pytest.mark.parametrize("kind", ["application/pkcs7-mime", "application/x-pkcs7-mime"])
def test_a_message_within_its_signature_is_read(held, kind):
    message = root(
        base64.b64encode(held).decode(),
        f"Content-Type: {kind}; smime-type=signed-data; name=smime.p7m",
        "Content-Transfer-Encoding: base64",
    )

    assert message.content == WORDS
    assert [file.filename for file in message.attachments] == ["smime.p7m"]


@pytest.mark.parametrize(
    "held", [ber(0x30, DATA + ber(0x30, b"key") + ber(0x80, SIGNED)), DATA, DATA + b"\xa0", b"MIME", b"\0"]
)
def test_what_is_encrypted_or_cut_is_a_file(held):
    encoded = base64.b64encode(held).decode()

    message = root(
        encoded, "Content-Type: application/pkcs7-mime; name=a.p7m", "Content-Transfer-Encoding: base64"
    )

    assert message.content == "The message has no text, only 1 file: a.p7m"


def uuencoded(content: bytes) -> str:
    lines = [binascii.b2a_uu(content[start : start + 45]) for start in range(0, len(content), 45)]
    return b"".join(lines).decode()


@pytest.mark.parametrize("size", [3, 100, 1_200_000])
@pytest.mark.parametrize("last", ["`\n", " \n", ""], ids=["grave", "space", "none"])
def test_files_that_are_written_into_the_text_are_taken_out_of_it(size, last):
    content = bytes(range(256)) * (size // 256 + 1)
    block = f"begin 644 Gr\u00fc\u00dfe.pdf\n{uuencoded(content[:size])}{last}end\n"

    message = root(f"See the file\n\n{block}\nAnn", "Content-Type: text/plain; charset=utf-8")

    assert message.content == "See the file\n\n\nAnn"
    assert [(file.filename, file.media_type, file.size) for file in message.attachments] == [
        ("Grüße.pdf", "application/pdf", size)
    ]


@pytest.mark.parametrize(
    "text", ["begin 644 of them\nHELLO WORLD\nend", "begin 644 a.txt\n#0V%T\n`", "to begin 644 x\n#0V%T\nend"]
)
def test_words_that_only_begin_so_are_kept(text):
    message = root(text)

    assert (message.content, message.attachments) == (text, ())
