from __future__ import annotations

import json
from pathlib import Path

import pytest

from app.channels import parse_file
from app.errors import InvalidPayload, OwnMessage
from app.models import Channel

MAIL = b"Authentication-Results: mx; dkim=pass header.d=example.com\nFrom: a@example.com\nTo: b@mx.io\n\nHi"
TWILIO = (
    b"MessageSid=SM1&From=whatsapp%3A%2B15551234567&To=whatsapp%3A%2B14155238886&Body=%C3%BC+%F0%9F%9A%80"
)
META = {
    "object": "whatsapp_business_account",
    "entry": [{"changes": [{"value": {"statuses": [{"id": "wamid.1"}]}, "field": "messages"}]}],
}
FORM = {"submission_id": "wf_1", "email": "a@example.com", "message": "Hi"}


def written(folder: Path, name: str, content: bytes | object) -> Path:
    file = folder / name
    file.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return file


@pytest.mark.parametrize(
    ("name", "content", "channels"),
    [
        ("a.eml", MAIL, [Channel.EMAIL]),
        ("A.EML", MAIL, [Channel.EMAIL]),
        ("a.form", TWILIO, [Channel.WHATSAPP]),
        ("a.urlencoded", TWILIO, [Channel.WHATSAPP]),
        ("a.json", META, []),
        ("a.json", FORM, [Channel.WEB_FORM]),
        ("a.json", b"\xef\xbb\xbf" + json.dumps(FORM).encode(), [Channel.WEB_FORM]),
    ],
)
def test_the_ending_and_the_fields_tell_what_a_file_is(tmp_path, name, content, channels):
    assert [message.channel for message in parse_file(written(tmp_path, name, content))] == channels


def test_a_form_body_is_decoded(tmp_path):
    (message,) = parse_file(written(tmp_path, "a.form", TWILIO))

    assert message.content == "ü 🚀"


def test_a_mail_is_verified_by_the_server_that_is_named(tmp_path):
    file = written(tmp_path, "a.eml", MAIL)

    assert parse_file(file, authserv_id="mx")[0].sender[0].verified
    assert not parse_file(file)[0].sender[0].verified


def test_what_is_known_of_our_mail_is_passed_on(tmp_path):
    form = b"From: forms@shop.example\nReply-To: eva@z.example\nTo: b@mx.io\n\nHi"
    results = (
        b"Authentication-Results: dkim=pass header.d=example.com\nFrom: a@example.com\nTo: b@mx.io\n\nHi"
    )
    (mailer,) = parse_file(written(tmp_path, "a.eml", form), form_mailers=["forms@shop.example"])
    (proven,) = parse_file(written(tmp_path, "b.eml", results), unnamed_results=True)

    assert mailer.sender[0].value == "eva@z.example"
    assert proven.sender[0].verified
    with pytest.raises(OwnMessage):
        parse_file(written(tmp_path, "c.eml", MAIL), own_accounts=["a@example.com"])


def test_a_web_form_may_name_itself(tmp_path):
    assert parse_file(written(tmp_path, "a.json", FORM))[0].account == "web"
    assert parse_file(written(tmp_path, "b.json", FORM | {"form": "contact"}))[0].account == "contact"


@pytest.mark.parametrize(
    ("name", "content", "field"),
    [
        ("a.txt", b"Hi", "file"),
        ("a", b"Hi", "file"),
        ("a.eml", b"", "From"),
        ("a.form", b"", "From"),
        ("a.form", b"\xff\xfe\x00", "From"),
        ("a.form", b"%FF=%00&" * 1001, "form"),
        ("a.json", b"", "payload"),
        ("a.json", b"{", "payload"),
        ("a.json", b"[" * 20_000 + b"]" * 20_000, "payload"),
        ("a.json", b"NaN", "payload"),
        ("a.json", [], "payload"),
        ("a.json", {}, "payload"),
        ("a.json", {"object": None}, "object"),
        ("a.json", {"submission_id": None}, "email"),
        ("a.json", FORM | {"form": 5}, "form"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_by_what_is_wrong(tmp_path, name, content, field):
    with pytest.raises(InvalidPayload) as refused:
        parse_file(written(tmp_path, name, content))

    assert refused.value.field == field


def test_a_file_that_cannot_be_read_is_refused(tmp_path):
    (tmp_path / "folder.eml").mkdir()

    for path in (tmp_path / "absent.eml", tmp_path / "folder.eml", Path("nul\0.eml")):
        with pytest.raises(InvalidPayload, match=r"^file: cannot be read"):
            parse_file(path)
