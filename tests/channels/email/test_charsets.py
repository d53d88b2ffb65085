"""A label means what browsers make of it, a wrong byte spoils a character, and headers are read as bodies are."""

from __future__ import annotations

import base64

import pytest

from app.channels import email
from app.schemas import InboundMessage


def mail(body: bytes, content_type: str = "text/plain", *headers: bytes) -> InboundMessage:
    head = [b"From: ann@example.com", b"To: s@x.example", b"Content-Type: " + content_type.encode(), *headers]
    return email.parse(b"\r\n".join([*head, b"", body]))


def iso_2022_jp(text: str) -> bytes:
    """As mailers write what JIS X 0208 does not have: the cells of Windows-31J under its escape."""
    cells = b""
    for lead, trail in (letter.encode("cp932") for letter in text):
        row = (lead - (0xC1 if lead >= 0xE0 else 0x81)) * 2 + 0x21 + (trail >= 0x9F)
        cells += bytes((row, trail - 0x7E if trail >= 0x9F else trail - (0x1F if trail < 0x7F else 0x20)))
    return b"\x1b$B" + cells + b"\x1b(B"


LABELS = [
    ("gb2312", "朱镕基", "gbk"),
    ("gb_2312-80", "鎔", "gb18030"),
    ("gb2312", "𠮷", "gb18030"),
    ("shift_jis", "髙橋①㈱", "cp932"),
    ("x-sjis", "ﾃｽﾄ", "cp932"),
    ("ks_c_5601-1987", "똠방각하", "cp949"),
    ("euc-kr", "펲시콜라", "cp949"),
    ("big5", "碁", "cp950"),
    ("big5", "嘅", "big5hkscs"),
    ("iso-8859-1", "it\u2019s 5 €", "cp1252"),
    ("us-ascii", "it\u2019s", "cp1252"),
    ("iso-8859-9", "Iğdır \u2013 5 €", "cp1254"),
    ("tis-620", "สวัสดี\u2026", "cp874"),
    ("iso-8859-11", "สวัสดี", "cp874"),
    ("x-mac-roman", "Ünï\u2026", "mac-roman"),
    ("x-mac-cyrillic", "Привет", "mac-cyrillic"),
    ("koi8-r", "Привет", "koi8-r"),
    ("windows-31j", "①", "cp932"),
    ("cp852", "ąę", "cp852"),
    ("utf-7", "日本", "utf-7"),
    ("iso-2022-kr", "한글", "iso2022_kr"),
    ("hz-gb-2312", "中文", "hz"),
    ("utf-16", "Grüße", "utf-16"),
    ("utf-16le", "Grüße", "utf-16-le"),
]


@pytest.mark.parametrize(("label", "text", "codec"), LABELS)
def test_a_label_means_its_superset(label, text, codec):
    assert mail(text.encode(codec), f"text/plain; charset={label}").content == text


@pytest.mark.parametrize("text", ["日本語", "①㈱", "髙橋", "日本\n①"])
def test_iso_2022_jp_reaches_beyond_jis_x_0208(text):
    body = b"\n".join(iso_2022_jp(line) for line in text.split("\n"))

    assert mail(body, "text/plain; charset=ISO-2022-JP").content == text


def test_iso_2022_jp_may_hold_narrow_katakana():
    narrow = b"\x1b(I" + bytes(byte & 0x7F for byte in "ｶﾅ".encode("cp932")) + b"\x1b(J!"

    assert mail(narrow, "text/plain; charset=iso-2022-jp").content == "ｶﾅ!"


def test_euc_jp_has_the_cells_of_windows_too():
    assert mail("日本".encode("euc_jp") + b"\xad\xa1", "text/plain; charset=euc-jp").content == "日本①"


@pytest.mark.parametrize(
    ("label", "body", "text"),
    [
        ("utf-8", "Grüße aus Köln".encode() + b"\xff", "Grüße aus Köln\ufffd"),
        ("utf-8", "Grüße".encode() + b"\xe2\x82", "Grüße\ufffd"),
        ("gb2312", "中文中文".encode("gbk") + b"\xff!", "中文中文\ufffd!"),
        ("shift_jis", "日本".encode("cp932") + b"\x85!", "日本\ufffd!"),
        ("euc-kr", "한글".encode("cp949") + b"\xff!", "한글\ufffd!"),
        ("iso-2022-jp", iso_2022_jp("日") + b"\x1b$B\x7f\x7f\x1b(B!", "日\x7f\x7f!"),
        ("windows-1252", b"caf\xe9 \x81", "café \ufffd"),
        ("utf-8", b"caf\xe9 \xa9", "café ©"),
        ("iso-8859-1", "Grüße".encode(), "Grüße"),
        ("windows-1251", "Привет".encode(), "Привет"),
        ("us-ascii", "Grüße".encode(), "Grüße"),
        ("no-such", "Grüße".encode() + b"\xff", "Grüße\ufffd"),
    ],
)
def test_a_wrong_byte_or_label_spoils_a_character_and_never_the_text(label, body, text):
    assert mail(body, f"text/plain; charset={label}").content == text


@pytest.mark.parametrize("bom", [b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff"])
def test_a_byte_order_mark_names_the_charset_and_is_no_text(bom):
    codec = {b"\xef\xbb\xbf": "utf-8", b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}[bom]

    assert mail(bom + "Grüße".encode(codec), "text/plain; charset=iso-8859-1").content == "Grüße"


@pytest.mark.parametrize(
    ("content_type", "head", "codec"),
    [
        ("text/html", '<meta charset="gb2312">', "gbk"),
        ("text/html", '<META http-equiv="Content-Type" content="text/html; charset=gb2312">', "gbk"),
        ("text/html; charset=us-ascii", "<meta charset=gb2312>", "gbk"),
        ("text/html; charset=gb2312", "<meta charset=utf-8>", "gbk"),
        ("text/html", "<meta charset=utf-16>", "utf-8"),
        ("text/html", "<p>", "utf-8"),
    ],
)
def test_an_html_document_may_name_its_charset_itself(content_type, head, codec):
    assert mail(f"<html>{head}<p>中文".encode(codec), content_type).content == "中文"


@pytest.mark.parametrize(
    ("raw", "charset", "subject"),
    [
        ("Grüße".encode("latin-1"), "iso-8859-1", "Grüße"),
        ("Grüße".encode(), "iso-8859-1", "Grüße"),
        ("Grüße".encode(), "gb2312", "Grüße"),
        ("主题".encode("gbk"), "gb2312", "主题"),
        ("Grüße".encode("latin-1"), "utf-8", "Grüße"),
        ("Ğ".encode("cp1254"), "iso-8859-9", "Ğ"),
        (b"=?gb2312?B?" + base64.b64encode("朱镕基".encode("gbk")) + b"?=", "utf-8", "朱镕基"),
        (b"=?ISO-2022-JP?B?" + base64.b64encode(iso_2022_jp("髙①")) + b"?=", "utf-8", "髙①"),
        (b"=?ks_c_5601-1987?B?" + base64.b64encode("똠".encode("cp949")) + b"?=", "utf-8", "똠"),
        (b"=?utf-8?q?a=C3?=\r\n =?utf-8?q?=A9_b?=", "utf-8", "aé b"),
        (b"=?utf-8?B?w6k?= =?iso-8859-1?q?=E9?=", "utf-8", "éé"),
        (b"Re: =?utf-8*en?q?caf=C3=A9?= no. 5", "utf-8", "Re: café no. 5"),
        (b"=?utf-8?q?two words?=", "utf-8", "two words"),
        (b"=?utf-8?b?!!?=", "utf-8", None),
        (b"=?no-such?q?=E9?=", "utf-8", "é"),
        (b"a =? b ?= c", "utf-8", "a =? b ?= c"),
    ],
)
def test_a_subject_is_read_in_its_own_charset_the_bodys_or_utf_8(raw, charset, subject):
    assert mail(b"Hi", f"text/plain; charset={charset}", b"Subject: " + raw).subject == subject


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        (b"attachment; filename=\"" + "Lösung.pdf".encode("latin-1") + b'"', "Lösung.pdf"),
        (b"attachment; filename=\"" + "Lösung.pdf".encode() + b'"', "Lösung.pdf"),
        (b"attachment; filename*=gb2312''" + b"%D6%EC%E9F%BB%F9.pdf", "朱镕基.pdf"),
        (b"attachment; filename*0*=utf-8''L%C3%B6; filename*1*=sung.pdf", "Lösung.pdf"),
        (b'attachment; filename="=?gb2312?B?' + base64.b64encode("朱镕基".encode("gbk")) + b'?="', "朱镕基"),
        (b"attachment; filename*=no-such''%E9.pdf", "é.pdf"),
    ],
)  # fmt: skip
def test_a_file_s_name_is_read_as_a_subject_is(disposition, name):
    message = mail(b"%PDF", "application/pdf", b"Content-Disposition: " + disposition)

    assert [file.filename for file in message.attachments] == [name]


def test_a_name_in_from_is_read_in_its_charset():
    words = base64.b64encode("朱镕基".encode("gbk")).decode()
    message = email.parse(
        f"From: =?gb2312?B?{words}?= <ann@example.com>\r\nTo: s@x.example\r\n\r\nHi".encode()
    )

    assert message.profile.name == "朱镕基"


LOOKS_SO = "=?utf-8?q?Ann?="


@pytest.mark.parametrize(
    "written",
    [
        "=?utf-8?q?=3D=3Futf-8=3Fq=3FAnn=3F=3D?= <ann@example.com>",
        "=?utf-8?b?PT91dGYtOD9xP0Fubj89?= <ann@example.com>",
        "ann@example.com (=?utf-8?q?=3D=3Futf-8=3Fq=3FAnn=3F=3D?=)",
        "=?utf-8?q?=3D=3Futf-8=3Fq=3FAnn=3F=3D?= <<ann@example.com>>",
    ],
)
def test_a_name_that_looks_like_an_encoded_word_is_decoded_once(written):
    raw = f"From: {written}\r\nTo: s@x.example\r\nSubject: {written.partition(' <')[0]}\r\n\r\nHello".encode()
    message = email.parse(raw)

    assert (message.sender[0].value, message.profile.name) == ("ann@example.com", LOOKS_SO)
    assert LOOKS_SO in (message.subject or "")


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("=?utf-8?q?Ann?= =?utf-8?q?_Miller?= <ann@example.com>", "Ann Miller"),
        ("=?utf-8?q?Ann?==?utf-8?q?_Miller?= <ann@example.com>", "Ann Miller"),
        ('"=?utf-8?q?Ann?=" <ann@example.com>', "Ann"),
        ("ann@example.com (=?utf-8?q?Ann?=)", "Ann"),
        ("=?gb2312?b?6UY=?= <ann@example.com>", "镕"),
        ("=?utf-8?q?Ann?= [ACME] <ann@example.com>", "Ann [ACME]"),
    ],
)
def test_every_encoded_word_of_a_name_is_decoded(written, name):
    message = email.parse(f"From: {written}\r\nTo: s@x.example\r\n\r\nHello".encode())

    assert message.profile.name == name


@pytest.mark.parametrize(
    ("parameter", "filename"),
    [
        ("filename*=utf-8''%3D%3Futf-8%3Fq%3FAnn%3F%3D.txt", f"{LOOKS_SO}.txt"),
        ('filename="=?utf-8?q?Gr=C3=BC=C3=9Fe.txt?="', "Grüße.txt"),
        ("filename*=utf-8''Gr%C3%BC%C3%9Fe.txt", "Grüße.txt"),
        ("filename*0*=utf-8''Gr%C3%BC; filename*1*=%C3%9Fe.txt", "Grüße.txt"),
        ('filename*0="=?utf-8?q?Gr=C3=BC"; filename*1="=C3=9Fe.txt?="', "Grüße.txt"),
    ],
)
def test_a_file_s_name_is_decoded_once(parameter, filename):
    message = mail(b"x", "application/pdf", f"Content-Disposition: attachment; {parameter}".encode())

    assert message.attachments[0].filename == filename


def in_parts(disposition: bytes, label: bytes = b"utf-8") -> str | None:
    """The name of a file beside a text of this charset."""
    parts = [
        b"Content-Type: text/plain; charset=" + label + b"\r\n\r\nHello",
        b"Content-Type: application/pdf\r\nContent-Disposition: attachment; " + disposition + b"\r\n\r\nx",
    ]
    head = b"From: ann@example.com\r\nTo: s@x.example\r\nContent-Type: multipart/mixed; boundary=B\r\n\r\n"
    body = b"".join(b"--B\r\n" + part + b"\r\n" for part in parts)
    return email.parse(head + body + b"--B--\r\n").attachments[0].filename


def test_bytes_in_a_file_s_name_are_in_the_charset_of_the_body():
    assert in_parts(b'filename="\xc4\xe3\xba\xc3.pdf"', b"gb2312") == "你好.pdf"
    assert in_parts(b'filename="Gr\xc3\xbc.pdf"', b"gb2312") == "Grü.pdf"
    assert in_parts(b'filename="Gr\xfc.pdf"') == "Grü.pdf"


def test_of_two_names_of_a_file_the_one_in_its_own_letters_counts():
    assert in_parts(b"filename=\"Gr_.pdf\"; filename*=UTF-8''Gr%C3%BC.pdf") == "Grü.pdf"


@pytest.mark.parametrize(
    "label", ["utf-8", "us-ascii", "shift_jis", "iso-2022-jp-ms", "cp50220", "x-unknown"]
)
def test_japanese_in_seven_bits_says_itself_what_it_is(label):
    message = mail(b"\x1b$B-!F|K\\\x1b(B", f"text/plain; charset={label}")

    assert message.content == "①日本"
    raw = b"From: a@example.com\r\nTo: s@x.example\r\nSubject: \x1b$BF|K\\\x1b(B 17\r\n\r\nHello"
    assert email.parse(raw).subject == "日本 17"


@pytest.mark.parametrize(
    ("label", "codec"),
    [
        ("cp-1251", "cp1251"),
        ("win-1251", "cp1251"),
        ("x-cp1251", "cp1251"),
        ("ks_c_5601", "cp949"),
        ("ms949", "cp949"),
        ("x-windows-949", "cp949"),
        ("cp936", "gb18030"),
        ("latin-9", "iso8859_15"),
    ],
)
def test_mailers_own_spellings_of_a_charset_are_known(label, codec):
    text = {"cp1251": "Привет", "cp949": "똠방", "gb18030": "你好镕", "iso8859_15": "€ Š"}[codec]

    assert mail(text.encode(codec), f"text/plain; charset={label}").content == text


@pytest.mark.parametrize("label", ["gb2312", "big5", "shift_jis", "euc-kr", "euc-jp"])
def test_what_is_plainly_utf8_is_not_read_as_another_multi_byte_charset(label):
    text = "Grüße 中文您好，請問 日本語です"

    assert mail(text.encode(), f"text/plain; charset={label}").content == text
