from __future__ import annotations

from datetime import UTC, datetime

import pytest

from app.channels import email
from app.errors import InvalidPayload
from app.models import Channel, ContentType

from .mails import mail, parsed


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
        ("Lee, Inc. <ann@example.com>", "ann@example.com", "Lee, Inc."),
        ("Ånn <ann@example.com>", "ann@example.com", "Ånn"),
        ("=?utf-8?q?boss=40example.org?= <ann@example.com>", "ann@example.com", "boss@example.org"),
        ("=?no-such-charset?q?Ann?= <ann@example.com>", "ann@example.com", "Ann"),
        ("=?utf-8?q?A=00=0Ann?= <ann@example.com>", "ann@example.com", "A\ufffd nn"),
        ("ann@example.com, bob@example.com", "ann@example.com", None),
        ("Ann [ACME] <ann@example.com>", "ann@example.com", "Ann [ACME]"),
        ("Ann; ACME <ann@example.com>", "ann@example.com", "Ann; ACME"),
        ("Ann: ACME <ann@example.com>", "ann@example.com", "Ann: ACME"),
        ("Ann (ACME <ann@example.com>", "ann@example.com", "Ann (ACME"),
        ("Ann @ ACME <ann@example.com>", "ann@example.com", "Ann @ ACME"),
        ("Ann \\ ACME <ann@example.com>", "ann@example.com", "Ann \\ ACME"),
        ("Ann <<ann@example.com>>", "ann@example.com", "Ann"),
        ("Ann <ann@example.com.>", "ann@example.com", "Ann"),
        ("Ann <ann@example.com", "ann@example.com", "Ann"),
        ("ann@example.com>", "ann@example.com", None),
        ("<mailto:ann@example.com>", "ann@example.com", None),
        ("Ann <MAILTO:ann@example.com>", "ann@example.com", "Ann"),
        ("Ann <'ann@example.com'>", "ann@example.com", "Ann"),
        ('Ann <"ann@example.com">', "ann@example.com", "Ann"),
        ("Ann <Ann ann@example.com>", "ann@example.com", "Ann"),
        ("Ann <ann (home)@example.com>", "ann@example.com", "Ann"),
        ("Ann ann@example.com", "ann@example.com", "Ann"),
        ('"ann@example.com"', "ann@example.com", None),
        ("'ann@example.com'", "ann@example.com", None),
        ('"Ann <ann@example.com>', "ann@example.com", "Ann"),
        ('Ann "ACME <ann@example.com>', "ann@example.com", 'Ann "ACME'),
        ("=?utf-8?q?Ann_=3Cann=40example.com=3E?=", "ann@example.com", "Ann"),
        ("=?utf-8?b?YW5uQGV4YW1wbGUuY29t?=", "ann@example.com", None),
        ("Ann <=?utf-8?q?ann=40example.com?=>", "ann@example.com", "Ann"),
        ("Lee, =?utf-8?q?=C3=85nn?= <ann@example.com>", "ann@example.com", "Lee, Ånn"),
        ("ann@example.com (Ann Lee)", "ann@example.com", "Ann Lee"),
        ("<ann@example.com> (=?utf-8?q?=C3=85nn?=)", "ann@example.com", "Ånn"),
        ("ann@example.com. (Ann \\(Lee\\))", "ann@example.com", "Ann (Lee)"),
        ("ann.@example.com", "ann.@example.com", None),
        ("a..b@example.com", "a..b@example.com", None),
        ("(" * 2000 + "ann@example.com", "ann@example.com", "(" * 255),
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
        "a\0b@example.com",
        "x" * 250 + "@example.com",
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
        ({"To": "Max | [desk] <desk@techcorp.io>"}, "desk@techcorp.io"),
        ({"To": "Lee, Max | [desk] <desk@techcorp.io>, b@example.org"}, "desk@techcorp.io"),
        ({"To": '"Lee, b@example.org" <desk@techcorp.io>'}, "desk@techcorp.io"),
        ({"To": "'desk@techcorp.io', b@example.org"}, "desk@techcorp.io"),
        ({"To": "Desks: desk@techcorp.io, b@example.org;"}, "desk@techcorp.io"),
    ],
)
def test_the_account_is_where_the_mail_was_delivered_else_to(headers, account):
    assert parsed(**headers).account == account


def test_an_account_that_is_given_wins():
    assert email.parse(mail(Delivered_To="x@techcorp.io"), account="desk").account == "desk"


@pytest.mark.parametrize(
    "header",
    [
        "Received: from a by mx.techcorp.io with ESMTPS id 7 for <desk@techcorp.io>; Mon, 5 Jan 2026 10:00:00 +0000",
        "Received: from a (b [1.2.3.4]) by mx for Desk@techcorp.io;\r\n\tMon, 5 Jan 2026 10:00:00 +0000",
        "X-Delivered-To: desk@techcorp.io",
        "X-Forwarded-To: desk@techcorp.io",
        "Resent-To: Desk <desk@techcorp.io>",
    ],
)
@pytest.mark.parametrize("to", ["undisclosed-recipients:;", "b@example.org"])
def test_a_blind_copy_is_for_whom_our_server_says(header, to):
    raw = f"{header}\r\n".encode() + mail(To=to)

    assert email.parse(raw, own_accounts=["desk@techcorp.io"]).account == "desk@techcorp.io"


def test_whom_a_mail_is_addressed_to_comes_before_whom_others_sent_it_on_to():
    raw = b"Received: by mx for <other@techcorp.io>; Mon, 5 Jan 2026 10:00:00 +0000\r\n" + mail(
        Resent_To="third@techcorp.io"
    )
    accounts = ["other@techcorp.io", "third@techcorp.io", "support@techcorp.io"]

    assert (
        email.parse(raw).account == email.parse(raw, own_accounts=accounts).account == "support@techcorp.io"
    )


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
        ({"References": "<root@x <middle@x>"}, "root@x"),
        ({"References": "=?utf-8?q?=3Croot=40x=3E?=\r\n =?utf-8?q?_=3Cmiddle=40x=3E?="}, "root@x"),
        ({"In_Reply_To": "=?utf-8?q?=3Cro?=\r\n =?utf-8?q?ot=40x=3E?="}, "root@x"),
    ],
)
def test_the_thread_is_the_root_of_references_and_never_blank(headers, thread):
    assert parsed(**headers).thread_id == thread


@pytest.mark.parametrize(
    ("written", "sent_at"),
    [
        ("Mon, 16 Nov 2026 09:12:41 -0000", datetime(2026, 11, 16, 9, 12, 41, tzinfo=UTC)),
        ("Mon, 16 Nov 2026 09:12:41 GMT (UTC)", datetime(2026, 11, 16, 9, 12, 41, tzinfo=UTC)),
        ("Mon, 16 Nov 126 09:12:41 +0000", datetime(2026, 11, 16, 9, 12, 41, tzinfo=UTC)),
        ("(by hand) Mon, 16 Nov 2026 09:12:41 +0000", datetime(2026, 11, 16, 9, 12, 41, tzinfo=UTC)),
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
    ("date", "hour"),
    [("2025-03-03T10:00:00Z", 10), ("2025-03-03T10:00:00+02:00", 8), ("Mon, 3 Mar 25 10:00 EST", 15)],
)
def test_a_date_is_read_in_the_ways_of_mailers_and_web_sites(date, hour):
    raw = f"Date: {date}\r\nFrom: ann@z.example\r\nTo: s@us.example\r\n\r\nHello".encode()

    assert email.parse(raw).sent_at == datetime(2025, 3, 3, hour, tzinfo=UTC)


@pytest.mark.parametrize(
    "date", ["2025-03-03T", "2025-13-03T10:00:00Z", "9999-99-99T99:99", "0001-01-01T00:00:00+14:00"]
)
def test_a_date_that_is_none_loses_no_mail(date):
    raw = f"Date: {date}\r\nFrom: ann@z.example\r\nTo: s@us.example\r\n\r\nHello".encode()

    assert email.parse(raw).sent_at is None
