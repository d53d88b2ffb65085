"""What the big mailers send back, whole, each with the message, the address, the status and the code it tells."""

from __future__ import annotations

import textwrap

import pytest

from app.channels import email
from app.models import DeliveryStatus
from app.normalization import is_blocked
from app.schemas import InboundEvent

OURS = "ours.1@us.example"
EVA = "eva@z.example"
RETURNED = f"""
    Received: from app.us.example by mx.us.example; Mon, 3 Mar 2025 10:11:12 +0000
    From: Support <support@us.example>
    To: {EVA}
    Subject: Your ticket
    Message-ID: <{OURS}>
    Date: Mon, 3 Mar 2025 10:11:12 +0000
    """


def lines(text: str) -> str:
    return textwrap.dedent(text).strip("\n")


def report(
    head: str, words: str, status: str, *, returned: str = "message/rfc822", body: str = "\nHello"
) -> str:
    """A multipart/report (RFC 3464); without ``returned`` nothing of ours came back."""
    parts = [f"Content-Type: text/plain; charset=utf-8\n\n{lines(words)}\n"]
    parts += [f"Content-Type: message/delivery-status\n\n{lines(status)}\n"]
    parts += [f"Content-Type: {returned}\n\n{lines(RETURNED)}\n{body}\n"] if returned else []
    kind = 'multipart/report; report-type=delivery-status; boundary="=_b"'
    joined = "".join(f"--=_b\n{part}" for part in parts)
    return (
        f"{lines(head)}\nTo: support@us.example\nMIME-Version: 1.0\nContent-Type: {kind}\n\n{joined}--=_b--\n"
    )


def plain(head: str, words: str, *, with_ours: bool = True, quoted: str = "") -> str:
    returned = textwrap.indent(lines(RETURNED), quoted, lambda _: True) if with_ours else ""
    return f"{lines(head)}\nTo: support@us.example\n\n{lines(words)}\n\n{returned}\n"


STATUS = (
    f"Reporting-MTA: dns; mx.us.example\n\nFinal-Recipient: rfc822; {EVA}\nAction: failed\nStatus: 5.1.1\n"
)
QMAIL = """
    Hi. This is the qmail-send program at mx.us.example.
    I'm afraid I wasn't able to deliver your message to the following addresses.
    This is a permanent error; I've given up. Sorry it didn't work out.

    <eva@z.example>:
    192.0.2.7 does not like recipient.
    Remote host said: 550 5.1.1 No such user
    Giving up on 192.0.2.7.

    --- Below this line is a copy of the message.

    Return-Path: <support@us.example>
    """
EXIM = """
    This message was created automatically by mail delivery software.

    A message that you sent could not be delivered to one or more of its
    recipients. This is a permanent error. The following address(es) failed:

      eva@z.example
        host mx.z.example [192.0.2.7]
        SMTP error from remote mail server after RCPT TO:<eva@z.example>:
        550 5.1.1 Unknown user

    ------ This is a copy of the message, including all the headers. ------
    """
GOOGLE = """
    ** Address not found **

    Your message wasn't delivered to eva@z.example because the address couldn't be found.

    The response was:
    550 5.1.1 The email account that you tried to reach does not exist.
    """
EXCHANGE = """
    Delivery has failed to these recipients or groups:

    eva@z.example
    The email address you entered couldn't be found.

    Diagnostic information for administrators:
    Generating server: AM0PR01MB1.eurprd01.prod.outlook.example
    eva@z.example
    Remote Server returned '550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient eva@z.example not found'
    """

BOUNCES = {
    "postfix": (report("""
        Return-Path: <>
        From: MAILER-DAEMON@mx.us.example (Mail Delivery System)
        Subject: Undelivered Mail Returned to Sender
        Auto-Submitted: auto-replied
        """, "This is the mail system at host mx.us.example.\n\n<eva@z.example>: host mx.z.example said: 550 5.1.1", STATUS),
        (OURS, EVA, "failed", "5.1.1")),
    "postfix, headers only": (report("From: MAILER-DAEMON (Mail Delivery System)\nSubject: Undelivered Mail Returned to Sender",
        "I'm sorry to have to inform you.", STATUS, returned="text/rfc822-headers", body=""), (OURS, EVA, "failed", "5.1.1")),
    "postfix, delayed": (report("From: MAILER-DAEMON@mx.us.example (Mail Delivery System)\nSubject: Delayed Mail (still being retried)",
        "THIS IS A WARNING ONLY. YOU DO NOT NEED TO RESEND YOUR MESSAGE.",
        f"Reporting-MTA: dns; mx.us.example\n\nFinal-Recipient: rfc822; {EVA}\nAction: delayed\nStatus: 4.4.1\nWill-Retry-Until: Sat, 8 Mar 2025 10:11:12 +0000"),
        (OURS, EVA, "pending", "4.4.1")),
    "postfix, delivered": (report("From: MAILER-DAEMON@mx.us.example (Mail Delivery System)\nSubject: Successful Mail Delivery Report",
        "Your message was successfully delivered.", f"Reporting-MTA: dns; mx.us.example\n\nFinal-Recipient: rfc822; {EVA}\nAction: relayed\nStatus: 2.1.5"),
        (OURS, EVA, "delivered", "2.1.5")),
    "exim": (plain("""
        Return-path: <>
        X-Failed-Recipients: eva@z.example
        Auto-Submitted: auto-replied
        From: Mail Delivery System <Mailer-Daemon@mx.us.example>
        Subject: Mail delivery failed: returning message to sender
        """, EXIM), (OURS, EVA, "failed", "5.1.1")),
    "exim, as a report": (report("X-Failed-Recipients: eva@z.example\nFrom: Mail Delivery System <Mailer-Daemon@mx.us.example>\nSubject: Mail delivery failed: returning message to sender",
        EXIM, f"Reporting-MTA: dns; mx.us.example\n\nAction: failed\nFinal-Recipient: rfc822;{EVA}\nStatus: 5.0.0\nRemote-MTA: dns; mx.z.example\nDiagnostic-Code: smtp; 550 5.1.1 Unknown user"),
        (OURS, EVA, "failed", "5.0.0")),
    "exim, delayed": (plain("From: Mail Delivery System <Mailer-Daemon@mx.us.example>\nSubject: Warning: message 1tp delayed 24 hours", """
        This message was created automatically by mail delivery software.
        A message that you sent has not yet been delivered to one or more of its
        recipients after more than 24 hours on the queue on mx.us.example.

        The address to which the message has not yet been delivered is:
          eva@z.example

        No action is required on your part. Delivery attempts will continue for some time.
        """), (OURS, EVA, "pending", None)),
    "exchange": (report("""
        From: Microsoft Outlook <MicrosoftExchange329e71ec88ae4615bbc36ab6ce41109e@us.example>
        Subject: Undeliverable: Your ticket
        Auto-Submitted: auto-replied
        X-MS-Exchange-Message-Is-Ndr:
        """, EXCHANGE, f"""
        Reporting-MTA: dns;AM0PR01MB1.eurprd01.prod.outlook.example

        Final-Recipient: rfc822;{EVA}
        Action: failed
        Status: 5.1.10
        Diagnostic-Code: smtp;550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient eva@z.example not found
        X-Display-Name: Eva
        """), (OURS, EVA, "failed", "5.1.10")),
    "exchange, german": (report("From: postmaster@us.example\nSubject: Unzustellbar: Your ticket", "Fehler bei der Nachrichtenzustellung",
        f"Reporting-MTA: dns;us.example\n\nFinal-Recipient: rfc822;{EVA}\nAction: failed\nStatus: 5.7.1", returned=""),
        (None, EVA, "failed", "5.7.1")),
    "exchange 2003": (report("From: System Administrator <postmaster@us.example>\nSubject: Undeliverable:Your ticket\nIn-Reply-To: <ours.1@us.example>",
        "Your message did not reach some or all of the intended recipients.",
        f"Reporting-MTA: dns;us.example\n\nFinal-Recipient: RFC822;{EVA}\nAction: failed\nStatus: 5.1.1\nX-Display-Name: eva@z.example", returned=""),
        (OURS, EVA, "failed", "5.1.1")),
    "gmail": (report("""
        Return-Path: <>
        From: Mail Delivery Subsystem <mailer-daemon@googlemail.example>
        Auto-Submitted: auto-replied
        X-Failed-Recipients: eva@z.example
        In-Reply-To: <ours.1@us.example>
        References: <ours.1@us.example>
        Subject: Delivery Status Notification (Failure)
        """, GOOGLE, f"""
        Reporting-MTA: dns; googlemail.example
        Arrival-Date: Mon, 03 Mar 2025 02:11:12 -0800 (PST)
        X-Original-Message-ID: <ours.1@us.example>

        Final-Recipient: rfc822; {EVA}
        Action: failed
        Status: 5.1.1
        Remote-MTA: dns; mx.z.example. (192.0.2.7, the server for the domain z.example.)
        Diagnostic-Code: smtp; 550 5.1.1 The email account that you tried to reach does not exist.
        Last-Attempt-Date: Mon, 03 Mar 2025 02:11:13 -0800 (PST)
        """), (OURS, EVA, "failed", "5.1.1")),
    "gmail, what came back is missing": (report("From: Mail Delivery Subsystem <mailer-daemon@googlemail.example>\nSubject: Delivery Status Notification (Failure)",
        GOOGLE, f"Reporting-MTA: dns; googlemail.example\nX-Original-Message-ID: <{OURS}>\n\nFinal-Recipient: rfc822; {EVA}\nAction: failed\nStatus: 5.1.1", returned=""),
        (OURS, EVA, "failed", "5.1.1")),
    "gmail, in words": (plain("From: Mail Delivery Subsystem <mailer-daemon@googlemail.example>\nX-Failed-Recipients: eva@z.example\nSubject: Delivery Status Notification (Failure)", """
        Delivery to the following recipient failed permanently:

             eva@z.example

        Technical details of permanent failure:
        550 5.1.1 The email account that you tried to reach does not exist.

        ----- Original message -----
        """), (OURS, EVA, "failed", "5.1.1")),
    "amazon ses": (report("From: MAILER-DAEMON@amazonses.example\nSubject: Delivery Status Notification (Failure)\nX-SES-Outgoing: 2025.03.03-54.240.7.1",
        "An error occurred while trying to deliver the mail to the following recipients:\neva@z.example",
        f"Reporting-MTA: dns; a7-1.smtp-out.eu-west-1.amazonses.example\n\nAction: failed\nFinal-Recipient: rfc822; {EVA}\nDiagnostic-Code: smtp; 550 5.1.1 user unknown\nStatus: 5.1.1"),
        (OURS, EVA, "failed", "5.1.1")),
    "qmail": (plain("Return-Path: <>\nFrom: MAILER-DAEMON@mx.us.example\nSubject: failure notice", QMAIL), (OURS, EVA, "failed", "5.1.1")),
    "smail": (plain("Return-Path: <>\nFrom: Mail Delivery System <mailer-daemon@t.example>\nSubject: Mail delivery failed: returning message to sender",
        "|------------------------- Failed addresses follow: ---------------------|\n <eva@z.example> ... unknown user\n|------------------------- Message text follows: ------------------------|"),
        (OURS, EVA, "failed", None)),
    "sendmail, without a report": (plain("Return-Path: <>\nFrom: MAILER-DAEMON@mx.us.example\nSubject: Returned mail: User unknown",
        "----- Transcript of session follows -----\n<eva@z.example>... User unknown"), (OURS, EVA, "failed", None)),
    "sendmail": (report("From: Mail Delivery Subsystem <MAILER-DAEMON@mx.us.example>\nSubject: Returned mail: see transcript for details\nAuto-Submitted: auto-generated (failure)",
        "----- The following addresses had permanent fatal errors -----\n<eva@z.example>\n   (reason: 550 5.1.1 User unknown)",
        f"Reporting-MTA: dns; mx.us.example\nReceived-From-MTA: DNS; app.us.example\n\nFinal-Recipient: RFC822; {EVA}\nAction: failed\nStatus: 5.1.1\nDiagnostic-Code: SMTP; 550 5.1.1 User unknown"),
        (OURS, EVA, "failed", "5.1.1")),
    "sendmail, warning": (report("From: Mail Delivery Subsystem <MAILER-DAEMON@mx.us.example>\nSubject: Warning: could not send message for past 4 hours",
        "** THIS IS A WARNING MESSAGE ONLY **", f"Reporting-MTA: dns; mx.us.example\n\nFinal-Recipient: RFC822; {EVA}\nAction: delayed\nStatus: 4.4.7"),
        (OURS, EVA, "pending", "4.4.7")),
    "yahoo": (plain("From: MAILER-DAEMON@yahoo.example\nSubject: Failure Notice", """
        Sorry, we were unable to deliver your message to the following address.

        <eva@z.example>:
        550: 5.1.1 unknown user

        --- Below this line is a copy of the message.
        """), (OURS, EVA, "failed", "5.1.1")),
    "domino": (report("From: Postmaster@z.example\nSubject: DELIVERY FAILURE: User eva (eva@z.example) not listed in Domino Directory",
        "Your message was not delivered.", f"Reporting-MTA: dns;mail.z.example\n\nFinal-Recipient: rfc822;{EVA}\nAction: failed\nStatus: 5.1.1\nDiagnostic-Code: X-Notes; User eva not listed"),
        (OURS, EVA, "failed", "5.1.1")),
    "courier": (report("From: \"Courier mail server at mx.us.example\" <@>\nSubject: NOTICE: mail delivery status.", "This is a delivery status notification from mx.us.example.", STATUS),
        (OURS, EVA, "failed", "5.1.1")),
    "a provider, german": (plain("Return-Path: <>\nFrom: GMX Mailer Daemon <mailer-daemon@gmx.example>\nSubject: Mail delivery failed: returning message to sender", """
        This message was created automatically by mail delivery software.
        A message that you sent could not be delivered to one or more of its recipients.
        The following address failed:

        <eva@z.example>: SMTP error from remote server for RCPT TO command
           host: mx.z.example reason: 550 5.1.1 <eva@z.example>: Recipient address rejected

        --- The header of the original message is following. ---
        """), (OURS, EVA, "failed", "5.1.1")),
    "a provider, chinese": (plain("Return-Path: <>\nFrom: PostMaster@qq.example\nSubject: =?utf-8?b?5p2l6IeqcXEuY29t55qE6YCA5L+h?=", """
        很抱歉您的邮件被退回，未能发送到以下收件人：
        eva@z.example
        550 5.1.1 Mailbox not found
        """, with_ours=False), (None, EVA, "failed", "5.1.1")),
    "ours is quoted in it": (plain("From: MAILER-DAEMON@mx.z.example\nSubject: Undeliverable mail", "Failed addresses follow:\n<eva@z.example>: no such mailbox", quoted="> "),
        (OURS, EVA, "failed", None)),
    "a gateway": (report("From: MAILER-DAEMON@gateway.example\nSubject: Rejected mail: blocked by policy", "Blocked.",
        f"Reporting-MTA: dns; gateway.example\n\nOriginal-Recipient: rfc822;{EVA}\nAction: failed\nStatus: 5.7.1 (delivery not authorized)"),
        (OURS, EVA, "failed", "5.7.1")),
    "internationalised": (report("From: MAILER-DAEMON@mx.us.example\nSubject: Undelivered Mail Returned to Sender", "No such mailbox.",
        "Reporting-MTA: dns; mx.us.example\n\nFinal-Recipient: utf-8; zoë@z.example\nAction: failed\nStatus: 5.1.1", returned="message/global"),
        (OURS, "zoë@z.example", "failed", "5.1.1")),
}  # fmt: skip


@pytest.mark.parametrize(("text", "told"), BOUNCES.values(), ids=BOUNCES)
def test_a_bounce_as_mailers_write_it(text, told):
    message = email.parse(text.replace("\n", "\r\n").encode(), account="support@us.example")
    (report, *others) = message.delivery_reports

    assert (message.event, message.auto_reply, others) == (InboundEvent.DELIVERY, True, [])
    assert (report.provider_message_id, report.recipient, report.status.value, report.code) == told
    assert (report.channel, report.account) == ("email", "support@us.example")


@pytest.mark.parametrize("text", [text for text, _ in BOUNCES.values()], ids=BOUNCES)
def test_whoever_writes_a_bounce_is_no_customer(text):
    message = email.parse(text.replace("\n", "\r\n").encode(), account="support@us.example")

    assert not message.sender[0].verified
    assert message.event is InboundEvent.DELIVERY or is_blocked("email", message.sender[0].value)


def test_a_report_on_several_addresses_tells_each():
    status = f"{STATUS}\nFinal-Recipient: rfc822; tom@z.example\nAction: delivered\nStatus: 2.0.0\n"
    text = report("From: MAILER-DAEMON@mx.us.example\nSubject: Undelivered Mail", "See below.", status)
    message = email.parse(text.encode(), account="support@us.example")

    assert [(one.recipient, one.status) for one in message.delivery_reports] == [
        (EVA, DeliveryStatus.FAILED),
        ("tom@z.example", DeliveryStatus.DELIVERED),
    ]
