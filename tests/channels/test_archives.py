"""Archives of mail are read message by message; what is none is reported and passed over."""

from __future__ import annotations

import gzip
import io
import mailbox
import tarfile
import zipfile
from email.message import EmailMessage
from pathlib import Path

import pytest

from app.channels import archives, messages_in, parse_archive
from app.errors import InvalidPayload, OwnMessage, UnwantedMessage

SEPARATORS = {
    "classic": "From ann@example.com Mon Mar  3 10:11:12 2025",
    "thunderbird": "From - Mon Mar 03 10:11:12 2025",
    "takeout": "From 1790000000000000001@xxx Mon Mar 03 10:11:12 +0000 2025",
}


def mail(number: int, body: str = "Hello") -> str:
    head = f"From: ann@example.com\nTo: s@x.example\nSubject: {number}\nMessage-ID: <{number}@example.com>\n"
    return f"{head}\n{body}\n"


def read(path: Path) -> tuple[list[tuple[str, bytes]], list[tuple[str, str]]]:
    problems: list[tuple[str, str]] = []
    messages = list(
        messages_in(path, on_problem=lambda source, problem: problems.append((source, problem.field)))
    )
    return messages, problems


@pytest.mark.parametrize("separator", SEPARATORS.values(), ids=SEPARATORS)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("name", ["all.mbox", "Inbox", "a.eml"])
def test_an_mbox_is_told_by_its_first_line(tmp_path, separator, end, name):
    path = tmp_path / name
    text = "".join(f"{separator}\n{mail(number)}\n" for number in (1, 2, 3))
    path.write_bytes(text.replace("\n", end).encode())
    messages, problems = read(path)

    assert [source for source, _ in messages] == [f"{path}#{number}" for number in (1, 2, 3)]
    assert [message.subject for _, message in parse_archive(path)] == ["1", "2", "3"]
    assert problems == []


@pytest.mark.parametrize(
    ("stored", "body"),
    [
        (">From now on it works", "From now on it works"),
        (">>From here", ">From here"),
        ("From now on it works", "From now on it works"),
        ("a\nFrom b Mon Mar  3 10:11:12 2025", "a\nFrom b Mon Mar  3 10:11:12 2025"),
        (
            "a\n\nFrom Monday 3 March 10:11 2025 on it fails",
            "a\n\nFrom Monday 3 March 10:11 2025 on it fails",
        ),
        (
            "a\n\nFrom ann@example.com Mon Mar  3 10:11:12 2025\nsays the log",
            "a\n\nFrom ann@example.com Mon Mar  3 10:11:12 2025\nsays the log",
        ),
        ("a\n\nFrom my side all is well", "a\n\nFrom my side all is well"),
    ],
)
def test_a_line_that_only_looks_like_a_separator_parts_nothing(tmp_path, stored, body):
    path = tmp_path / "a.mbox"
    path.write_text(f"{SEPARATORS['classic']}\n{mail(1, stored)}\n{SEPARATORS['classic']}\n{mail(2)}")
    first, second = (message for _, message in parse_archive(path))

    assert (first.content, second.subject) == (body, "2")


def test_what_python_s_mailbox_writes_is_read(tmp_path):
    box = mailbox.mbox(tmp_path / "written.mbox")
    for number in (1, 2):
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = "ann@example.com", "s@x.example", str(number)
        message.set_content("From the beginning\n\nFrom me")
        box.add(message)
    box.close()

    assert [m.content for _, m in parse_archive(tmp_path / "written.mbox")] == [
        "From the beginning\n\nFrom me"
    ] * 2


def test_a_maildir_has_its_new_and_read_messages_and_its_folders(tmp_path):
    box = mailbox.Maildir(tmp_path / "Maildir")
    box.add(mail(1).encode())
    seen = mailbox.MaildirMessage(mail(2).encode())
    seen.set_subdir("cur")
    box.add(seen)
    box.add_folder("Sent").add(mail(3).encode())
    (tmp_path / "Maildir" / "tmp" / "half").write_bytes(mail(4).encode())

    assert sorted(message.subject or "" for _, message in parse_archive(tmp_path / "Maildir")) == [
        "1",
        "2",
        "3",
    ]


def test_a_folder_of_mails_is_read_and_the_rest_of_it_reported(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "a.eml").write_text(mail(1))
    (tmp_path / "b" / "c.EML").write_text(mail(2))
    (tmp_path / "b" / "notes.txt").write_text("Hello")
    (tmp_path / ".hidden").write_text("x")
    (tmp_path / "empty.eml").write_text("")
    messages, problems = read(tmp_path)

    assert [Path(source).name for source, _ in messages] == ["a.eml", "empty.eml", "c.EML"]
    assert problems == [(str(tmp_path / "b" / "notes.txt"), "file")]


def test_a_mail_that_cannot_be_used_is_reported_with_its_place(tmp_path):
    path = tmp_path / "a.mbox"
    good, bad = mail(1), "Subject: nobody\n\nHello\n"
    path.write_text("".join(f"{SEPARATORS['classic']}\n{text}\n" for text in (good, bad, good)))
    problems: list[tuple[str, InvalidPayload]] = []
    messages = list(parse_archive(path, on_problem=lambda *problem: problems.append(problem)))

    assert [source for source, _ in messages] == [f"{path}#1", f"{path}#3"]
    assert [(source, problem.field) for source, problem in problems] == [(f"{path}#2", "From")]


def test_our_own_mail_in_an_archive_is_passed_over(tmp_path, caplog):
    (tmp_path / "a.eml").write_text(mail(1).replace("From: ann@example.com", "From: s@x.example"))

    assert list(parse_archive(tmp_path, own_accounts=["s@x.example"])) == []
    assert "passed over" in caplog.text


def test_takeout_s_zip_is_read_as_it_is(tmp_path):
    path = tmp_path / "takeout.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        mbox = "".join(f"{SEPARATORS['takeout']}\nX-GM-THRID: 1\n{mail(number)}\n" for number in (1, 2))
        archive.writestr("Takeout/Mail/All mail Including Spam and Trash.mbox", mbox)
        archive.writestr("Takeout/archive_browser.html", "<html>")
    messages, problems = read(path)

    assert [message.subject for _, message in parse_archive(path)] == ["1", "2"]
    assert messages[0][0].endswith("All mail Including Spam and Trash.mbox#1")
    assert problems == [(f"{path}/Takeout/archive_browser.html", "file")]


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.zip", b"no zip"), ("a.zip", b""), ("a.tgz", b"\x1f\x8bx"), ("a.mbox", b"x"), ("a", b"")],
)
def test_what_is_no_archive_is_reported(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)

    assert read(tmp_path / name) == ([], [(str(tmp_path / name), "file")])


def test_what_is_not_there_is_reported(tmp_path):
    for path in (tmp_path / "absent", Path("nul\0")):
        assert read(path) == ([], [(str(path), "file")])


def test_a_message_beyond_the_limit_is_passed_over_and_the_next_one_read(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MAX_MESSAGE", 2000)
    path = tmp_path / "a.mbox"
    path.write_text(
        "".join(f"{SEPARATORS['classic']}\n{mail(n, 'x' * size)}\n" for n, size in ((1, 9000), (2, 9)))
    )
    (tmp_path / "b.eml").write_text(mail(3, "x" * 9000))

    assert [source for source, _ in read(path)[0]] == [f"{path}#2"]
    assert read(tmp_path)[1] == [(f"{path}#1", "message"), (str(tmp_path / "b.eml"), "message")]


def test_a_link_to_a_folder_is_not_followed(tmp_path):
    (tmp_path / "a.eml").write_text(mail(1))
    (tmp_path / "loop").symlink_to(tmp_path)

    assert len(read(tmp_path)[0]) == 1


@pytest.mark.parametrize("separator", SEPARATORS.values(), ids=SEPARATORS)
@pytest.mark.parametrize("before", ["", "\n\n", "\ufeff"])
def test_messages_without_an_empty_line_between_them_are_told_apart(tmp_path, separator, before):
    path = tmp_path / "a.mbox"
    path.write_text(before + "".join(f"{separator}\n{mail(number)}" for number in (1, 2)))

    assert [message.subject for _, message in parse_archive(path)] == ["1", "2"]


@pytest.mark.parametrize("cut", [0, 40])
def test_an_archive_packed_by_gzip_is_read_as_far_as_it_goes(tmp_path, cut):
    path = tmp_path / "a.mbox.gz"
    text = "".join(f"{SEPARATORS['classic']}\n{mail(number)}\n" for number in (1, 2))
    packed = gzip.compress(text.encode())
    path.write_bytes(packed[: len(packed) - cut])
    messages, problems = read(path)

    assert archives.is_archive(path)
    assert len(messages) == (0 if cut else 2)
    assert problems == ([(str(path), "file")] if cut else [])


@pytest.mark.parametrize("name", ["Takeout.tgz", "mails.tar.gz", "mails.tar"])
def test_takeout_s_other_form_is_read_as_it_is(tmp_path, name):
    path = tmp_path / name
    text = "".join(f"{SEPARATORS['classic']}\n{mail(number)}\n" for number in (1, 2))
    members = {"Takeout/Mail/All.mbox": text, "Takeout/a.eml": mail(3), "Takeout/.x": text, "Takeout/b": "no"}
    with tarfile.open(path, "w" if name.endswith(".tar") else "w:gz") as archive:
        for member, content in members.items():
            info = tarfile.TarInfo(member)
            info.size = len(content.encode())
            archive.addfile(info, io.BytesIO(content.encode()))
        link = tarfile.TarInfo("Takeout/c.eml")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)

    messages, problems = read(path)

    assert archives.is_archive(path)
    assert len(messages) == 3
    assert problems == [(f"{path}/Takeout/b", "file")]


def test_of_a_maildir_drafts_and_what_was_thrown_away_are_passed_over(tmp_path):
    for name in ("cur", "new", "tmp"):
        (tmp_path / name).mkdir()
    for name in ("1:2,S", "2:2,ST", "3:2,DS", "4;2,T", ".lock"):
        (tmp_path / "cur" / name).write_text(mail(int(name[0]) if name[0].isdigit() else 9))
    problems: list[InvalidPayload] = []
    mails = parse_archive(tmp_path, on_problem=lambda _, problem: problems.append(problem))

    assert [message.subject for _, message in mails] == ["1"]
    assert [type(problem) for problem in problems] == [UnwantedMessage, OwnMessage, UnwantedMessage]
