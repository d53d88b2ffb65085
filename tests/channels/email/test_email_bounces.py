"""Mail of machines and mail that machines broke: read as far as it goes, proving nothing."""

from __future__ import annotations

import pytest
from sqlalchemy import func, select

from app.channels import email
from app.errors import EventTargetNotFound, InvalidPayload
from app.models import Customer
from app.normalization import is_blocked
from app.services import conversations

RETURNED = "Message-ID: <ours.1@us.example>\r\nSubject: Your order\r\nFrom: support@us.example\r\n"


def bounce(sender: str | None, *, returned: str = "text/rfc822-headers", body: str = RETURNED) -> bytes:
    head = [] if sender is None else [f"From: {sender}"]
    head += ["To: support@us.example", "Message-ID: <b1@mx.example>"]
    head += ["Content-Type: multipart/report; report-type=delivery-status; boundary=B", ""]
    parts = [
        "--B",
        "",
        "No such mailbox.",
        "--B",
        "Content-Type: message/delivery-status",
        "",
        "Action: failed",
    ]
    return "\r\n".join([*head, *parts, "--B", f"Content-Type: {returned}", "", body, "--B--", ""]).encode()


@pytest.mark.parametrize(
    "sender",
    [
        "MAILER-DAEMON (Mail Delivery System)",
        "Mail Delivery Subsystem <MAILER-DAEMON>",
        "<MAILER-DAEMON>",
        "<>",
        '"Mail Delivery System" <>',
        "postmaster",
        "Mail Delivery System",
        '"System Administrator"',
        "MAILER-DAEMON@",
        None,
    ],
)
def test_a_bounce_without_an_address_is_a_machine_s_mail_about_our_message(sender):
    message = email.parse(bounce(sender))

    assert is_blocked("email", message.sender[0].value)
    assert message.auto_reply
    assert [report.provider_message_id for report in message.delivery_reports] == ["ours.1@us.example"]
    assert "No such mailbox." in message.content


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("message/rfc822", RETURNED + "\r\nHello"),
        ("text/rfc822-headers", RETURNED),
        ("message/global-headers", RETURNED),
    ],
)
def test_what_came_back_is_known_by_its_id(kind, body):
    message = email.parse(bounce("MAILER-DAEMON@mx.example", returned=kind, body=body))

    assert [report.provider_message_id for report in message.delivery_reports] == ["ours.1@us.example"]
    assert message.sender[0].value == "MAILER-DAEMON@mx.example"


@pytest.mark.parametrize("body", ["", "Subject: no id\r\n", "nonsense"])
def test_a_report_that_does_not_say_what_came_back_is_read_all_the_same(body):
    message = email.parse(bounce("<>", body=body))

    assert message.auto_reply
    assert [report.provider_message_id for report in message.delivery_reports] == [None]


@pytest.mark.parametrize(
    "written",
    [
        "<>",
        "MAILER-DAEMON (x)",
        "Mail <MAILER-DAEMON>",
        "postmaster",
        "Mail Delivery Subsystem",
        "Mailer\r\nX-Failed-Recipients: eva@z.example",
    ],
)
def test_a_robot_without_a_report_is_read_too_and_made_no_customer(session, written):
    message = email.parse(f"From: {written}\r\nTo: support@us.example\r\n\r\nNo such mailbox".encode())

    assert message.auto_reply
    with pytest.raises(EventTargetNotFound):
        conversations.ingest(session, message)
    assert session.scalar(select(func.count()).select_from(Customer)) == 0


@pytest.mark.parametrize("written", ["Ann", "Daemon", "mailer", "undisclosed-recipients:;", "ann@"])
def test_a_person_without_an_address_is_refused(written):
    with pytest.raises(InvalidPayload, match=r"^From: names no address$"):
        email.parse(f"From: {written}\r\nTo: support@us.example\r\n\r\nHello".encode())


LINES = ["Subject: Hello", "From: Ann <ann@example.com>", "To: support@us.example", "Message-ID: <1@x>"]


@pytest.mark.parametrize(
    ("number", "line"),
    [
        (0, "\ufeffSubject: Hello"),
        (0, "\r\nSubject: Hello"),
        (0, " \r\n\t\r\nSubject: Hello"),
        (0, "Subject: Hello\r\nX-Spam-Report: a long\r\nreport that lost its indentation"),
        (0, "nonsense\r\nSubject: Hello"),
        (0, "Subject: Hello\r\n>From ann Mon Jan  1 00:00:00 2026"),
        (0, "Subject: Hello\r\nFrom ann Mon Jan  1 00:00:00 2026"),
        (1, "From : Ann <ann@example.com>"),
        (1, "From\t: Ann <ann@example.com>"),
        (3, "Message-ID : <1@x>"),
    ],
)
@pytest.mark.parametrize("end", ["\r\n", "\n"])
def test_a_broken_line_hides_no_header_and_lets_nothing_be_proven(number, line, end):
    lines = [line if place == number else whole for place, whole in enumerate(LINES)]
    results = "Authentication-Results: mx; dkim=pass header.d=example.com"
    raw = end.join([*lines[:1], results, *lines[1:], "", "Text", "", "From: other@example.com"])
    message = email.parse(raw.replace("\r\n", "\n").replace("\n", end).encode(), authserv_id="mx")

    assert [(sender.value, sender.verified) for sender in message.sender] == [("ann@example.com", False)]
    assert (message.subject or "").startswith("Hello")
    assert message.profile.name == "Ann"
    assert (message.account, message.provider_message_id) == ("support@us.example", "1@x")
    assert message.content.replace("\r", "") == "Text\n\nFrom: other@example.com"


def test_a_text_without_the_empty_line_before_it_is_no_header():
    raw = b"From: ann@example.com\r\nTo: support@us.example\r\nHello,\r\nNote: call me\r\n\r\nAnn"

    assert email.parse(raw).content == "Hello,\nNote: call me\n\nAnn"


def test_whole_headers_are_as_they_were():
    raw = "\r\n".join(
        ["Authentication-Results: mx; dkim=pass header.d=example.com", *LINES, "", "Text"]
    ).encode()

    assert email.parse(raw, authserv_id="mx").sender[0].verified
