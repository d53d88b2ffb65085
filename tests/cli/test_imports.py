"""``crm import`` and ``crm ingest`` of archives: what is stored, what is left out, and what is said."""

from __future__ import annotations

import csv
import json
import mailbox
import zipfile
from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from app.cli import inbox
from app.database import make_session_factory
from app.schemas import Identifier
from app.services import identity, privacy

DESK = "support@techcorp.example"


@pytest.fixture
def url(crm_clone):
    return crm_clone.url.render_as_string(hide_password=False)


@pytest.fixture
def scalars(crm_clone):
    def read(statement):
        with crm_clone.connect() as connection:
            return list(connection.scalars(text(statement)))

    return read


def mail(number, *, sender="ann@example.com", head="", received="Mon, 3 Mar 2025 10:00:05 +0000"):
    return (
        f"Received: from x by mx.techcorp.example; {received}\nFrom: {sender}\nTo: {DESK}\n{head}"
        f"Subject: {number}\nMessage-ID: <{number}@example.com>\n\nHello {number}\n"
    )


def mbox(*mails):
    return "".join(f"From x Mon Mar 03 10:11:12 +0000 2025\n{text_}\n" for text_ in mails)


def test_an_mbox_is_stored_as_of_the_past_and_once(crm, url, scalars, tmp_path):
    (tmp_path / "all.mbox").write_text(mbox(mail(1), mail(2, sender="nobody"), mail(3)))
    for command in ("ingest", "import"):
        ran = crm(command, str(tmp_path / "all.mbox"), DATABASE_URL=url)
        assert ran.code == 1
        assert ran.problem == f"crm: {tmp_path}/all.mbox#2: From: names no address"
    assert ran.out == "0 new, 2 already there\n"
    assert scalars("SELECT created_at FROM messages") == [datetime(2025, 3, 3, 10, 0, 5, tzinfo=UTC)] * 2


def test_it_can_be_stored_as_of_today(crm, url, scalars, tmp_path):
    (tmp_path / "all.mbox").write_text(mbox(mail(1)))
    assert crm("ingest", "--live", str(tmp_path / "all.mbox"), DATABASE_URL=url).code == 0
    assert scalars("SELECT created_at > now() - interval '1 hour' FROM messages") == [True]


def test_takeout_leaves_out_what_its_labels_say_is_ours_spam_or_trash(crm, url, scalars, tmp_path):
    labelled = [
        "Inbox,Unread",
        "Spam",
        "Papierkorb,Wichtig",
        "Sent",
        "=?UTF-8?Q?Corbeille,Reçus?=",
        '"a,b",Work',
    ]
    mails = [mail(n, head=f"X-Gmail-Labels: {labels}\n") for n, labels in enumerate(labelled)]
    with zipfile.ZipFile(tmp_path / "takeout.zip", "w") as archive:
        archive.writestr("Takeout/Mail/All mail.mbox", mbox(*mails, mail(9, sender=DESK)))
    ran = crm("ingest", "--own-account", DESK, str(tmp_path / "takeout.zip"), DATABASE_URL=url)

    assert ran.code == 0
    assert ran.out.splitlines() == [
        "2 of our own left out",
        "3 from spam and trash left out",
        "2 new, 0 already there",
    ]
    assert scalars("SELECT metadata -> 'labels' FROM messages ORDER BY content") == [
        ["Inbox", "Unread"],
        ["a,b", "Work"],
    ]


def test_a_folder_may_hold_a_maildir_an_mbox_payloads_and_what_is_none(crm, url, scalars, tmp_path):
    box = mailbox.Maildir(tmp_path / "Maildir")
    box.add(mail(1).encode())
    box.add_folder("Old").add(mail(2).encode())
    (tmp_path / "Inbox").write_text(mbox(mail(3)))
    (tmp_path / "a.eml").write_text(mail(4))
    (tmp_path / "notes.txt").write_text("Hello")
    (tmp_path / "form.json").write_text(
        json.dumps({"submission_id": "5", "email": "zoe@example.com", "message": "Hi"})
    )
    ran = crm("ingest", str(tmp_path), DATABASE_URL=url)

    assert ran.code == 1
    assert ran.out.splitlines()[-1] == "5 new, 0 already there"
    assert (
        ran.problem == f"crm: {tmp_path}/notes.txt: file: does not end in .eml, .form, .json or .urlencoded"
    )
    assert len(scalars("SELECT id FROM messages")) == 5


def test_many_mails_of_a_folder_are_stored_together(crm, url, monkeypatch, scalars, tmp_path):
    monkeypatch.setattr(inbox, "FEW", 2)
    for number in range(3):
        (tmp_path / f"{number}.eml").write_text(mail(number))
    (tmp_path / "bad.eml").write_text("Hello")
    ran = crm("ingest", str(tmp_path), DATABASE_URL=url)

    assert (ran.code, ran.out) == (1, "3 new, 0 already there\n")
    assert ran.problem == f"crm: {tmp_path}/bad.eml: From: is missing"
    assert scalars("SELECT count(*) FROM messages") == [3]


def test_standard_input_may_be_an_mbox(process, url, scalars, tmp_path):
    (tmp_path / "in").write_text(mbox(mail(1), mail(2)))
    for command in ("ingest", "import"):
        with (tmp_path / "in").open() as file:
            ran = process(command, "-", stdin=file, DATABASE_URL=url)
        assert ran.code == 0, ran.err
    assert ran.out == "0 new, 2 already there\n"


def test_json_lines_are_messages_or_customers(crm, url, scalars, tmp_path):
    messages = tmp_path / "m.jsonl"
    row = {"channel": "email", "account": DESK, "provider_message_id": "1", "email": "ana@example.com",
           "content": "Hello", "received_at": "2020-01-02T03:04:05Z"}  # fmt: skip
    lines = [
        json.dumps(row),
        "",
        "{",
        "[]",
        json.dumps(row | {"provider_message_id": "2", "received_at": "soon"}),
    ]
    messages.write_text("\n".join(lines))
    ran = crm("import", str(messages), "--rejects", str(tmp_path / "rejects"), DATABASE_URL=url)

    assert (ran.code, ran.out) == (1, "1 new, 0 already there\n")
    assert [line.rpartition(": ")[0] for line in ran.err.splitlines()[-3:]] == [
        f"crm: {messages}:3: line", f"crm: {messages}:4: row", f"crm: {messages}:5: received_at",
    ]  # fmt: skip
    rejected = [json.loads(line) for line in (tmp_path / "rejects").read_text().splitlines()]
    assert [line["row"] for line in rejected] == [2, 3, 4]
    assert rejected[2]["record"]["provider_message_id"] == "2"
    assert scalars("SELECT created_at FROM messages") == [datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC)]

    people = tmp_path / "p.jsonl"
    people.write_text(
        '{"email": "ana@example.com", "name": "Ana"}\n{"whatsapp": "+15551234567", "verified": true}\n'
    )
    ran = crm("import", str(people), DATABASE_URL=url)
    assert (ran.code, ran.out) == (0, "1 new, 1 already there\n")
    assert scalars("SELECT name FROM customers WHERE email = 'ana@example.com'") == ["Ana"]


def test_csv_rows_are_read_by_the_names_in_the_first_line(crm, url, scalars, tmp_path):
    path = tmp_path / "people.csv"
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        rows = csv.writer(file)
        rows.writerow(["email", "phone", "name"])
        rows.writerow(["ana@example.com", "+49 30 901820", "Ana\nMaria"])
        rows.writerow(["eva@example.com", "", "Eva"])
        rows.writerow(["too", "many", "fields", "here"])
        rows.writerow(["few@example.com"])
    ran = crm("import", str(path), DATABASE_URL=url)

    assert (ran.code, ran.out) == (1, "2 new, 0 already there\n")
    assert ran.err.splitlines()[-2:] == [
        f"crm: {path}:{line}: row: has not as many fields as the first line" for line in (5, 6)
    ]
    assert scalars("SELECT phone FROM customers ORDER BY email") == ["+4930901820", None]


def test_what_is_no_csv_is_said_where_it_begins(crm, url, tmp_path):
    path = tmp_path / "people.csv"
    path.write_bytes(b"email,name\nana@example.com,Ana\n" + b"x" * 9000 + b"\xff\xfe,\n")
    ran = crm("import", str(path), DATABASE_URL=url)

    assert ran.code == 1
    assert ran.problem.endswith("file: is not CSV in UTF-8 from here on")


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("absent.csv", "there is no such file"),
        ("folder.csv", "file: cannot be read: Is a directory"),
        ("notes.txt", "file: does not end in .jsonl, .csv or .mbox"),
    ],
)
def test_what_cannot_be_imported_is_one_line(crm, url, tmp_path, name, problem):
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "notes.txt").write_text("Hello")
    ran = crm("import", str(tmp_path / name), DATABASE_URL=url)

    assert ran.code == 1
    assert ran.problem.endswith(problem)


def test_of_many_rejects_some_are_shown_and_all_are_in_the_file(crm, url, tmp_path):
    path = tmp_path / "p.jsonl"
    path.write_text("{}\n" * 25)
    ran = crm("import", str(path), "--rejects", str(tmp_path / "rejects"), DATABASE_URL=url)

    assert ran.err.splitlines()[-1] == f"crm: and 5 more; all are in {tmp_path}/rejects"
    assert len((tmp_path / "rejects").read_text().splitlines()) == 25


@pytest.mark.parametrize("command", ["import", "ingest"])
def test_who_was_erased_and_is_a_customer_again_is_said(crm, crm_clone, url, tmp_path, command):
    key = "k" * 32
    with make_session_factory(crm_clone).begin() as session:
        address = Identifier(type="email", value="wanda@z.example")
        wanda = identity.resolve(session, [address], channel="email")
        report = privacy.erase_customer(
            session, wanda.customer_id, actor="human:7", reason="asked for it", erasure_key=key
        )
    path = tmp_path / "old.mbox"
    path.write_text(mbox(mail(1, sender="wanda@z.example")))

    ran = crm(command, str(path), DATABASE_URL=url, CRM_ERASURE_KEY=key)

    assert ran.code == 0
    assert f"{report.erased_at:%Y-%m-%d}" in ran.out
    assert str(report.erasure_id) in ran.out
