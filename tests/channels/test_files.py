"""The content of attachments is kept where the caller says, under names that are safe."""

from __future__ import annotations

import base64
from pathlib import Path
from urllib.parse import unquote, urlparse

import pytest

from app.channels import FolderStore, email, safe_name
from app.errors import InvalidPayload, StorageUnavailable
from app.schemas import Attachment

PDF = b"%PDF-1.7 \0\1\2"


def mail(*names: str, content: bytes = PDF) -> bytes:
    head = "From: ann@example.com\r\nTo: s@x.example\r\nContent-Type: multipart/mixed; boundary=B\r\n\r\n"
    head += "--B\r\n\r\nSee\r\n"
    parts = "".join(
        f'--B\r\nContent-Type: application/pdf\r\nContent-Disposition: attachment; filename="{name}"\r\n'
        f"Content-Transfer-Encoding: base64\r\n\r\n{base64.b64encode(content).decode()}\r\n"
        for name in names
    )
    return f"{head}{parts}--B--\r\n".encode()


def path_of(url: str | None) -> Path:
    return Path(unquote(urlparse(url or "").path))


def test_a_folder_keeps_the_content_and_the_message_its_address(tmp_path):
    (file,) = email.parse(mail("bill.pdf"), store=FolderStore(tmp_path)).attachments

    assert path_of(file.url).read_bytes() == PDF
    assert path_of(file.url).name == "bill.pdf"
    assert path_of(file.url).is_relative_to(tmp_path)


def test_without_a_store_nothing_is_kept():
    assert email.parse(mail("bill.pdf")).attachments[0].url is None


def test_what_comes_twice_is_there_once(tmp_path):
    store = FolderStore(tmp_path)
    urls = {email.parse(mail("bill.pdf"), store=store).attachments[0].url for _ in range(2)}

    assert len(urls) == 1
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 1


def test_a_file_that_is_too_large_is_named_and_the_others_are_kept(tmp_path):
    raw = mail("a.pdf", content=b"x" * 100)
    message = email.parse(raw, store=FolderStore(tmp_path, max_bytes=99))

    assert (message.content, message.ignored) == ("See", ("attachments[0]",))
    assert message.attachments[0].url is None
    assert email.parse(raw, store=FolderStore(tmp_path, max_bytes=100)).ignored == ()


def test_only_so_many_files_of_one_mail_are_kept(tmp_path):
    message = email.parse(mail(*[f"{number}.pdf" for number in range(102)]), store=FolderStore(tmp_path))

    assert message.ignored == ("attachments[100]", "attachments[101]")
    assert [file.url is None for file in message.attachments] == [False] * 100 + [True] * 2


@pytest.mark.parametrize("url", ["", "a\nb", "x" * 2001, None, 5])
def test_an_address_that_cannot_be_kept_is_no_address(url):
    message = email.parse(mail("a.pdf"), store=lambda *_: url)

    assert (message.attachments[0].url, message.ignored) == (None, ("attachments[0]",))


def test_a_store_sees_what_the_mail_says_of_the_file_and_may_refuse_it():
    seen = []

    def store(attachment: Attachment, content: bytes) -> str:
        seen.append((attachment.filename, attachment.media_type, attachment.size, content))
        raise InvalidPayload("attachment", "is not wanted")

    assert email.parse(mail("a.pdf"), store=store).ignored == ("attachments[0]",)
    assert seen == [("a.pdf", "application/pdf", len(PDF), PDF)]


def test_a_folder_that_cannot_be_written_to_is_unavailable(tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(StorageUnavailable) as refused:
        email.parse(mail("secret.pdf"), store=FolderStore(tmp_path / "file"))

    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("bill.pdf", "bill.pdf"),
        ("../../etc/passwd", "_.._etc_passwd.pdf"),
        ("..\\..\\boot.ini", "_.._boot.ini"),
        ("/etc/cron.d/x", "_etc_cron.d_x.pdf"),
        ("C:\\temp\\a.pdf", "C__temp_a.pdf"),
        ("a\0b\n.pdf", "ab.pdf"),
        ("invoice\u202efdp.exe", "invoicefdp.exe"),
        (".htaccess", "htaccess.pdf"),
        ("CON", "_CON.pdf"),
        ("con.txt", "_con.txt"),
        ("name. ", "name.pdf"),
        ("...", "file.pdf"),
        ("", "file.pdf"),
        (None, "file.pdf"),
        ("captura de ecrã.png", "captura de ecrã.png"),
        ("no ending", "no ending.pdf"),
        ("ä" * 200 + ".pdf", "ä" * 58 + ".pdf"),
        ("a?b*c|d.pdf", "a_b_c_d.pdf"),
    ],
)
def test_a_name_is_safe_in_every_file_system(written, name, tmp_path):
    attachment = Attachment(filename=written, media_type="application/pdf")

    assert safe_name(attachment) == name
    assert path_of(FolderStore(tmp_path)(attachment, PDF)).parent.parent.parent == tmp_path
