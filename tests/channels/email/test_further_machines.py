"""Machines' mail in further languages and encodings; and people's that only looks so."""

from __future__ import annotations

import base64
import quopri

import pytest

from app.channels import email
from app.schemas import InboundEvent

from .mails import mail, parsed

STATUS = (
    "Reporting-MTA: dns; mx.example\r\n\r\n"
    "Final-Recipient: rfc822; bob@gone.example\r\nAction: failed\r\nStatus: 5.1.1"
)


@pytest.mark.parametrize(
    "subject",
    [
        "תשובה אוטומטית: x",
        "Fuori ufficio: x",
        "Abwesenheitsbenachrichtigung: x",
        "Automatische Eingangsbestätigung: x",
        "Vacation reply: x",
        "OOO: x",
        "Poza biurem: x",
        "Out of Office Re: x",
        "Автоответ: x",
        "Abwesenheit: x",
        "부재중 자동 회신: x",
        "不在通知: x",
        "AUTO: Ann Miller is out of the office (returning 05.01.2026)",
        "AUTO: Ann Müller ist außer Haus (Rückkehr am 05.01.2026)",
    ],
)
def test_an_autoresponder_s_subject_is_known(subject):
    assert parsed(Subject=subject).auto_reply


@pytest.mark.parametrize(
    "subject", ["Auto: brake noise", "Auto kaputt", "Out of the office chair: price?", "Absent reply"]
)
def test_a_person_s_subject_is_not_an_autoresponder_s(subject):
    assert not parsed(Subject=subject).auto_reply


@pytest.mark.parametrize("header", ["X_Precedence", "X_Autoreply_Domain"])
def test_further_headers_of_autoresponders_are_known(header):
    assert parsed(**{header: "bulk"}).auto_reply


def test_a_calendar_s_answer_is_known_in_small_letters():
    message = parsed("begin:vcalendar\r\nmethod:reply\r\n", Content_Type="text/calendar")

    assert message.event is InboundEvent.CALENDAR


@pytest.mark.parametrize(
    "enclosed",
    [
        "Content-Type: text/calendar; method=REPLY\r\n\r\nBEGIN:VCALENDAR\r\nMETHOD:REPLY",
        "Content-Type: multipart/report; report-type=delivery-status; boundary=C\r\n\r\n--C\r\n\r\nFailed\r\n--C--",
        "Auto-Submitted: auto-replied\r\n\r\nI am away",
    ],
    ids=["calendar", "bounce", "autoresponder"],
)
def test_who_hands_on_what_a_machine_wrote_is_a_person(enclosed):
    body = f"--B\r\n\r\nWhy do I get this?\r\n--B\r\nContent-Type: message/rfc822\r\n\r\n{enclosed}\r\n--B--"
    message = parsed(body, Content_Type="multipart/mixed; boundary=B")

    assert (message.event, message.auto_reply, message.new_text) == (None, False, "Why do I get this?")


@pytest.mark.parametrize(
    ("encoding", "encode"), [("base64", base64.b64encode), ("quoted-printable", quopri.encodestring)]
)
def test_a_report_is_read_though_it_is_encoded(encoding, encode):
    written = encode(STATUS.encode()).decode()
    body = "\r\n".join(
        [
            "--B",
            "Content-Type: message/delivery-status",
            f"Content-Transfer-Encoding: {encoding}",
            "",
            written,
            "--B--",
        ]
    )

    message = parsed(
        body,
        From="MAILER-DAEMON@mx.example",
        Content_Type="multipart/report; report-type=delivery-status; boundary=B",
    )

    (report,) = message.delivery_reports
    assert (report.recipient, report.code) == ("bob@gone.example", "5.1.1")


@pytest.mark.parametrize(
    "subject",
    [
        "Niedostarczalne: 17",
        "Не удается доставить: 17",
        "无法送达: 17",
        "傳送失敗: 17",
        "Kunde inte leverera: 17",
    ],
)
def test_a_bounce_s_subject_is_known_in_further_languages(subject):
    raw = mail(
        "bob@gone.example\r\n\r\n550 5.1.1", Return_Path="<>", From="postmaster@mx.example", Subject=subject
    )

    assert email.parse(raw).event is InboundEvent.DELIVERY
