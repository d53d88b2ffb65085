"""Mails in the form in which programs write them, whole, each with what an agent has to see of it."""

from __future__ import annotations

import textwrap
from typing import Any

import pytest

from app.channels import email
from app.schemas import InboundMessage


def mail(text: str) -> InboundMessage:
    return email.parse(
        textwrap.dedent(text).lstrip("\n").replace("\n", "\r\n").encode(), account="s@x.example"
    )


OUTLOOK_HTML = """
    From: "Lang, Zoe" <zoe.lang@lang.example>
    To: Support <s@x.example>
    Subject: AW: [Ticket 17] Rechnung
    Thread-Topic: [Ticket 17] Rechnung
    In-Reply-To: <ours.17@x.example>
    References: <ours.16@x.example> <ours.17@x.example>
    Message-ID: <AM0PR01MB1@EURPRD01.PROD.OUTLOOK.COM>
    X-Auto-Response-Suppress: DR, OOF, AutoReply
    x-ms-exchange-senderadcheck: 1
    Content-Type: multipart/alternative; boundary="_000_AM0_"
    MIME-Version: 1.0

    --_000_AM0_
    Content-Type: text/plain; charset="iso-8859-1"
    Content-Transfer-Encoding: quoted-printable

    Vielen Dank, die Rechnung pa=DFt jetzt.

    Mit freundlichen Gr=FC=DFen
    Zoe Lang

    Von: Support <s@x.example>
    Gesendet: Montag, 3. M=E4rz 2025 10:11
    An: Lang, Zoe <zoe.lang@lang.example>
    Betreff: [Ticket 17] Rechnung

    Bitte pr=FCfen Sie die neue Rechnung.

    --_000_AM0_
    Content-Type: text/html; charset="iso-8859-1"

    <p>Vielen Dank</p>
    --_000_AM0_--
    """
EXCHANGE_OOF = """
    From: Zoe Lang <zoe@lang.example>
    To: s@x.example
    Subject: Automatische Antwort: Ihr Ticket
    In-Reply-To: <ours.1@x.example>
    X-MS-Exchange-Parent-Message-Id: <ours.1@x.example>
    X-Auto-Response-Suppress: All
    Auto-Submitted: auto-generated
    Message-ID: <9c@lang.example>
    Content-Type: text/plain; charset="utf-8"

    Ich bin bis Montag nicht im Hause.
    """
GMAIL_VACATION = """
    From: Ann <ann@gmail.example>
    To: s@x.example
    Subject: Away until June Re: Your ticket
    Precedence: bulk
    X-Autoreply: yes
    Auto-Submitted: auto-replied
    In-Reply-To: <ours.1@x.example>
    References: <ours.1@x.example>
    Message-ID: <v1@mail.gmail.example>

    I am travelling.
    """
POSTFIX_BOUNCE = """
    Return-Path: <>
    From: MAILER-DAEMON@mx.x.example (Mail Delivery System)
    To: s@x.example
    Subject: Undelivered Mail Returned to Sender
    Auto-Submitted: auto-replied
    Message-ID: <2025.A1@mx.x.example>
    MIME-Version: 1.0
    Content-Type: multipart/report; report-type=delivery-status; boundary="A1/mx"

    --A1/mx
    Content-Description: Notification
    Content-Type: text/plain; charset=us-ascii

    <eva@z.example>: host mx.z.example said: 550 5.1.1 <eva@z.example>: unknown

    --A1/mx
    Content-Description: Delivery report
    Content-Type: message/delivery-status

    Reporting-MTA: dns; mx.x.example
    X-Postfix-Queue-ID: A1

    Final-Recipient: rfc822; eva@z.example
    Original-Recipient: rfc822;eva@z.example
    Action: failed
    Status: 5.1.1
    Remote-MTA: dns; mx.z.example
    Diagnostic-Code: smtp; 550 5.1.1 <eva@z.example>: unknown

    --A1/mx
    Content-Description: Undelivered Message Headers
    Content-Type: text/rfc822-headers

    From: s@x.example
    Message-ID: <ours.1@x.example>
    Subject: Your ticket

    --A1/mx--
    """
EXCHANGE_NDR = """
    From: Microsoft Outlook <MicrosoftExchange329e71ec88ae4615bbc36ab6ce41109e@z.example>
    To: s@x.example
    Subject: Undeliverable: Your ticket
    Auto-Submitted: auto-replied
    In-Reply-To: <ours.1@x.example>
    References: <ours.1@x.example>
    Message-ID: <ndr1@z.example>
    Content-Type: multipart/report; report-type=delivery-status; boundary="_ndr"

    --_ndr
    Content-Type: text/plain; charset="us-ascii"

    Delivery has failed to these recipients or groups.
    --_ndr
    Content-Type: message/delivery-status

    Reporting-MTA: dns;z.example
    Received-From-MTA: dns;x.example

    Final-Recipient: rfc822;eva@z.example
    Action: failed
    Status: 5.1.10
    Diagnostic-Code: smtp;550 5.1.10 RecipientNotFound
    X-Display-Name: eva@z.example
    --_ndr--
    """
OUTLOOK_RECEIPT = """
    From: Eva <eva@z.example>
    To: s@x.example
    Subject: Read: Your ticket
    Message-ID: <r1@z.example>
    Content-Type: multipart/report; report-type=disposition-notification; boundary="_r"

    --_r
    Content-Type: text/plain; charset="us-ascii"

    Your message was read.
    --_r
    Content-Type: message/disposition-notification

    Reporting-UA: z.example; Microsoft Outlook 16
    Final-Recipient: rfc822;eva@z.example
    Original-Message-ID: <ours.1@x.example>
    Disposition: automatic-action/MDN-sent-automatically; displayed
    --_r--
    """
GOOGLE_GROUP = """
    From: "'Bob Ray' via Support" <s@x.example>
    Reply-To: Bob Ray <bob@y.example>
    To: s@x.example
    Subject: Login
    X-Original-Sender: bob@y.example
    Precedence: list
    Mailing-list: list s@x.example; contact s+owners@x.example
    List-ID: <s.x.example>
    List-Post: <https://groups.example/s>, <mailto:s@x.example>
    Message-ID: <g1@y.example>

    I cannot sign in.
    """
MAILMAN = """
    From: Ann Lee <ann@example.com>
    To: users@lists.example
    Cc: s@x.example
    Subject: Re: [Users] Login
    Precedence: bulk
    List-Id: Users <users.lists.example>
    List-Post: <mailto:users@lists.example>
    In-Reply-To: <ours.1@x.example>
    Message-ID: <m1@example.com>

    On 03.03.2025 10:11, Support wrote:
    > Please restart.
    Still broken here.
    """
NEWSLETTER = """
    From: Shop <news@shop.example>
    To: s@x.example
    Subject: Spring sale
    Precedence: bulk
    List-Unsubscribe: <https://shop.example/u>
    Message-ID: <n1@shop.example>
    Content-Type: text/html; charset=utf-8

    <a href="https://shop.example"><img src="https://shop.example/1.png" alt="Spring sale"></a>
    """
APPLE_FORWARD = """
    From: Ann <ann@example.com>
    To: s@x.example
    Subject: Fwd: Your parcel
    Message-ID: <f1@example.com>
    X-Mailer: Apple Mail (2.3696)

    Is this really from you?

    > Begin forwarded message:
    >
    > From: "Parcel" <p@parcel.example>
    > Subject: Your parcel
    > Date: 3 March 2025 at 10:11:12 CET
    > To: ann@example.com
    >
    > Pay 2 EUR.
    """
IPHONE = """
    From: Ann <ann@example.com>
    To: s@x.example
    Subject: Re: Ticket 17
    In-Reply-To: <ours.1@x.example>
    Message-ID: <i1@example.com>
    X-Mailer: iPhone Mail (22D72)
    Content-Type: text/plain; charset=utf-8
    Content-Transfer-Encoding: base64

    VGhhbmtzIQ0KDQpTZW50IGZyb20gbXkgaVBob25lDQoNCj4gT24gMyBNYXIgMjAyNSwgYXQgMTA6MTEsIFN1cHBvcnQgPHNAeC5leGFtcGxlPiB3cm90ZToNCj4gDQo+IFBsZWFzZSByZXN0YXJ0Lg0K
    """
QQ = """
    From: "=?gb18030?B?1uzpRrv5?=" <zhu@qq.example>
    To: s@x.example
    Subject: =?gb18030?B?tqm1pQ==?=
    Message-ID: <tencent_1@qq.example>
    Content-Type: text/plain; charset="gb18030"
    Content-Transfer-Encoding: base64

    tqm1pdTaxMTA7w==
    """
MEETING = """
    From: Ann <ann@example.com>
    To: s@x.example
    Subject: Accepted: Call about ticket 17
    Message-ID: <c1@example.com>
    Content-Type: multipart/alternative; boundary=B

    --B
    Content-Type: text/plain; charset=utf-8

    Ann has accepted this invitation.
    --B
    Content-Type: text/calendar; charset=utf-8; method=REPLY

    BEGIN:VCALENDAR
    METHOD:REPLY
    END:VCALENDAR
    --B--
    """
FORM_MAILER = """
    From: WordPress <noreply@shop.example>
    Reply-To: eva@z.example
    To: s@x.example
    Subject: Contact form
    Message-ID: <w1@shop.example>
    X-Mailer: PHPMailer 6.9.1
    Content-Type: text/plain; charset=UTF-8; name="message.txt"

    Where is my parcel?
    """

MAILS = {
    "outlook": (
        OUTLOOK_HTML,
        {"new_text": "Vielen Dank, die Rechnung paßt jetzt.\n\nMit freundlichen Grüßen\nZoe Lang", "auto_reply": False},
    ),
    "exchange out of office": (EXCHANGE_OOF, {"auto_reply": True, "event": None}),
    "gmail vacation": (GMAIL_VACATION, {"auto_reply": True, "event": None}),
    "postfix bounce": (POSTFIX_BOUNCE, {"auto_reply": True, "event": "delivery", "reported": ("ours.1@x.example", "eva@z.example", "failed", "5.1.1")}),
    "exchange bounce": (EXCHANGE_NDR, {"auto_reply": True, "event": "delivery", "reported": ("ours.1@x.example", "eva@z.example", "failed", "5.1.10")}),
    "outlook receipt": (OUTLOOK_RECEIPT, {"event": "receipt", "reported": ("ours.1@x.example", "eva@z.example", "read", None)}),
    "google group": (GOOGLE_GROUP, {"from": "bob@y.example", "auto_reply": False, "new_text": "I cannot sign in."}),
    "mailman": (MAILMAN, {"from": "ann@example.com", "auto_reply": False, "new_text": "Still broken here."}),
    "newsletter": (NEWSLETTER, {"auto_reply": True, "new_text": "The message has no text, only pictures: Spring sale"}),
    "apple forward": (APPLE_FORWARD, {"new_text": "Is this really from you?", "auto_reply": False}),
    "iphone": (IPHONE, {"new_text": "Thanks!", "references": ("ours.1@x.example",)}),
    "qq": (QQ, {"subject": "订单", "name": "朱镕基", "new_text": "订单在哪里"}),
    "meeting": (MEETING, {"event": "calendar", "auto_reply": True}),
    "form mailer": (FORM_MAILER, {"from": "eva@z.example", "new_text": "Where is my parcel?", "attachments": ()}),
}  # fmt: skip


def seen(message: InboundMessage) -> dict[str, Any]:
    reported = [
        (one.provider_message_id, one.recipient, one.status, one.code) for one in message.delivery_reports[:1]
    ]
    return dict(message) | {
        "from": message.sender[0].value,
        "name": message.profile.name,
        "reported": reported[0] if reported else None,
    }


@pytest.mark.parametrize(("text", "facts"), MAILS.values(), ids=MAILS)
def test_a_mail_as_programs_write_it(text, facts):
    message = seen(mail(text))

    assert {name: message[name] for name in facts} == facts
