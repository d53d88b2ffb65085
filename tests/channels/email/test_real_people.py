"""What people send, whole, as their programs write it: who, what it says, what is new in it, which files."""

from __future__ import annotations

import base64
import textwrap
from typing import Any

import pytest

from app.channels import email
from app.schemas import InboundMessage

Facts = dict[str, Any]


def mail(head: str, body: str | bytes = "Hello") -> InboundMessage:
    names = f"{textwrap.dedent(head).strip()}\nMessage-ID: <1@z.example>\nMIME-Version: 1.0\n\n"
    body = body.encode() if isinstance(body, str) else body
    raw = names.encode() + body
    return email.parse(
        raw.replace(b"\n", b"\r\n"), own_accounts=["support@us.example"], form_mailers=["forms@host.example"]
    )


def parts(*several: str, kind: str = "mixed") -> str:
    """The Content-Type and the body of a message with these parts."""
    return (
        f"Content-Type: multipart/{kind}; boundary=B\n\n"
        + "".join(f"--B\n{one}\n" for one in several)
        + "--B--"
    )


def seen(message: InboundMessage) -> Facts:
    return dict(message) | {
        "from": message.sender[0].value,
        "name": message.profile.name,
        "files": [file.filename for file in message.attachments],
    }


TO = "\nTo: support@us.example"
EVA = "From: Eva <eva@z.example>" + TO
B64 = base64.encodebytes("Où est ma commande ?".encode("cp1252")).decode()
INNER = "From: Bank <bank@bank.example>\nSubject: Overdue\nDate: Mon, 3 Mar 2025 10:11:12 +0000\n\nPay now."

FORWARDS: dict[str, tuple[str, str, Facts]] = {
    "gmail": (f"{EVA}\nSubject: Fwd: Overdue", "Is this yours?\n\n---------- Forwarded message ---------\nFrom: Bank <bank@bank.example>\nDate: Mon, 3 Mar 2025 at 10:11\nSubject: Overdue\nTo: <eva@z.example>\n\nPay now.", {"new_text": "Is this yours?", "subject": "Fwd: Overdue"}),
    "gmail, nothing said": (f"{EVA}\nSubject: Fwd: Overdue", "---------- Forwarded message ---------\nFrom: Bank <bank@bank.example>\nSubject: Overdue\n\nPay now.", {"new_text": "---------- Forwarded message ---------\nFrom: Bank <bank@bank.example>\nSubject: Overdue\n\nPay now."}),
    "outlook": (f"{EVA}\nSubject: FW: Overdue", f"Is this yours?\n\n{'_' * 32}\nFrom: Bank <bank@bank.example>\nSent: Monday, March 3, 2025 10:11 AM\nTo: Eva\nSubject: Overdue\n\nPay now.", {"new_text": "Is this yours?"}),
    "outlook, german": (f"{EVA}\nSubject: WG: Mahnung", "Ist das von Ihnen?\n\nVon: Bank <bank@bank.example>\nGesendet: Montag, 3. März 2025 10:11\nAn: Eva\nBetreff: Mahnung\n\nBitte zahlen.", {"new_text": "Ist das von Ihnen?"}),
    "thunderbird": (f"{EVA}\nSubject: Fwd: Overdue", "Is this yours?\n\n-------- Forwarded Message --------\nSubject: \tOverdue\nDate: \tMon, 3 Mar 2025 10:11:12 +0000\nFrom: \tBank <bank@bank.example>\nTo: \teva@z.example\n\nPay now.", {"new_text": "Is this yours?"}),
    "apple": (f"{EVA}\nSubject: Fwd: Overdue", "Is this yours?\n\nBegin forwarded message:\n\nFrom: Bank <bank@bank.example>\nSubject: Overdue\nDate: 3 March 2025 at 10:11:12 GMT\nTo: eva@z.example\n\nPay now.", {"new_text": "Is this yours?"}),
    "as a file": (EVA + "\nSubject: FW\n" + "X: 1", parts("Content-Type: text/plain\n\nIs this yours?", f"Content-Type: message/rfc822\nContent-Disposition: attachment; filename=Overdue.eml\n\n{INNER}"), {"new_text": "Is this yours?", "files": ["Overdue.eml"], "content": "Is this yours?\n\n---------- Forwarded message ----------\nFrom: Bank <bank@bank.example>\nDate: Mon, 3 Mar 2025 10:11:12 +0000\nSubject: Overdue\n\nPay now."}),
    "as an encoded file": (EVA, parts("Content-Type: text/plain\n\nIs this yours?", f"Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\n{base64.encodebytes(INNER.encode()).decode()}"), {"new_text": "Is this yours?", "files": ["Overdue.eml"]}),
    "resent": (f"Resent-From: Eva <eva@z.example>\nFrom: Bank <bank@bank.example>{TO}\nSubject: Overdue", "Pay now.", {"from": "bank@bank.example", "new_text": "Pay now."}),
}  # fmt: skip
SENDERS: dict[str, tuple[str, str, Facts]] = {
    "a form of WordPress": (f"From: WordPress <wordpress@host.example>\nReply-To: Eva Lang <eva@z.example>{TO}\nSubject: [Shop] Contact", "Where is it?", {"from": "wordpress@host.example", "reply_to": "eva@z.example"}),
    "a form server that is listed": (f"From: Contact form <forms@host.example>\nReply-To: Eva Lang <eva@z.example>{TO}\nSubject: Contact", "Where is it?", {"from": "eva@z.example", "name": "Eva Lang"}),
    "a form in our own name": (f"From: support@us.example\nReply-To: Eva Lang <eva@z.example>{TO}\nSubject: Contact", "Where is it?", {"from": "eva@z.example", "name": "Eva Lang"}),
    "a form of nobody": (f"From: no-reply@builder.example\nReply-To: eva@z.example{TO}\nSubject: New submission", "Where is it?", {"from": "eva@z.example"}),
    "google group": (f"From: \"'Eva Lang' via Support\" <support@us.example>\nReply-To: Eva Lang <eva@z.example>\nX-Original-Sender: eva@z.example\nX-Google-Group-Id: 1\nPrecedence: list{TO}\nSubject: Login", "I cannot sign in.", {"from": "eva@z.example", "auto_reply": False}),
    "google group of another name": (f"From: 'Eva Lang' via Help <help@us.example>\nX-Original-From: Eva Lang <eva@z.example>\nReply-To: eva@z.example\nList-ID: <help.us.example>{TO}\nSubject: Login", "I cannot sign in.", {"from": "eva@z.example", "name": "Eva Lang"}),
    "mailman": (f"From: Eva Lang via Users <users@l.example>\nReply-To: Eva Lang <eva@z.example>\nList-Id: Users <users.l.example>\nList-Post: <mailto:users@l.example>{TO}\nSubject: [Users] Login", "I cannot sign in.", {"from": "eva@z.example"}),
    "sympa": (f"From: \"eva@z.example\" (via users Mailing List) <users@l.example>\nReply-To: eva@z.example\nList-Post: <mailto:users@l.example>{TO}\nSubject: Login", "I cannot sign in.", {"from": "eva@z.example"}),
    "a secretary": (f"From: Eva <eva@z.example>\nSender: Tom <tom@z.example>{TO}\nSubject: Login", "I cannot sign in.", {"from": "eva@z.example"}),
    "an old comment": (f"From: eva@z.example (Eva Lang){TO}\nSubject: Login", "I cannot sign in.", {"from": "eva@z.example", "name": "Eva Lang"}),
    "a company in brackets": (f"From: Eva [Lang AG] <eva@z.example>{TO}\nSubject: Login", "I cannot sign in.", {"from": "eva@z.example", "name": "Eva [Lang AG]"}),
    "to a colleague first": ("From: Eva <eva@z.example>\nTo: tom@us.example, \"Support, the team\" <Support@US.example>\nSubject: Login", "I cannot sign in.", {"account": "support@us.example"}),
    "in blind copy": ("From: Eva <eva@z.example>\nTo: undisclosed-recipients:;\nDelivered-To: support+shop@us.example\nSubject: Login", "I cannot sign in.", {"account": "support@us.example"}),
}  # fmt: skip
TEXTS: dict[str, tuple[str, str | bytes, Facts]] = {
    "outlook, windows letters": (f"{EVA}\nSubject: =?iso-8859-1?Q?=93Ma_commande=94_=80?=\nContent-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: base64", B64, {"content": "Où est ma commande ?", "subject": "“Ma commande” €"}),
    "foxmail": (f"{EVA}\nSubject: =?gb2312?B?6UbOysziobA=?=\nContent-Type: text/plain; charset=gb2312", "镕基问订单".encode("gb18030"), {"content": "镕基问订单"}),
    "a japanese phone": (f"{EVA}\nSubject: =?iso-2022-jp?B?GyRCLSEbKEI=?=\nContent-Type: text/plain; charset=iso-2022-jp", b"\x1b$B-!\x1b(B", {"content": "①", "subject": "①"}),
    "a korean portal": (f"{EVA}\nContent-Type: text/plain; charset=ks_c_5601-1987", "펲시콜라".encode("cp949"), {"content": "펲시콜라"}),
    "a page that names its charset": (f"{EVA}\nContent-Type: text/html", '<meta charset="windows-1251"><p>Где мой заказ?</p>'.encode("cp1251"), {"content": "Где мой заказ?"}),
    "raw bytes in the head": (f"{EVA}\nSubject: X\nContent-Type: text/plain; charset=koi8-r", "Где?".encode("koi8-r"), {"content": "Где?"}),
    "pictures only": (f"{EVA}\nContent-Type: text/html", '<a href="https://z.example"><img alt="Look here" src="cid:1"></a>', {"content": "The message has no text, only pictures: Look here"}),
    "apple, pictures between": (EVA, parts("Content-Type: text/plain\n\nLook:", "Content-Type: image/jpeg; name=a.jpg\n\nx", "Content-Type: text/plain\n\nBroken."), {"content": "Look:\n\nBroken.", "files": ["a.jpg"]}),
    "amp beside": (EVA, parts("Content-Type: text/plain\n\nHi", "Content-Type: text/x-amp-html\n\n<html>", "Content-Type: text/html\n\n<p>Hi</p>", kind="alternative"), {"content": "Hi", "files": []}),
    "a named text": (f"{EVA}\nContent-Type: text/plain; name=mail.txt", "Where is it?", {"content": "Where is it?", "files": []}),
    "signed": (EVA, parts("Content-Type: text/plain\n\nWhere is it?\n-- \nEva", "Content-Type: application/pkcs7-signature; name=smime.p7s\n\nx", kind="signed"), {"new_text": "Where is it?", "files": ["smime.p7s"]}),
    "winmail": (EVA, parts("Content-Type: text/plain\n\nWhere is it?", "Content-Type: application/ms-tnef; name=winmail.dat\n\nx"), {"files": ["winmail.dat"]}),
    "a file of japanese name": (EVA, parts("Content-Type: text/plain\n\nSee", "Content-Type: application/pdf\nContent-Disposition: attachment; filename*=utf-8''%E8%AB%8B%E6%B1%82.pdf\n\nx"), {"files": ["請求.pdf"]}),
}  # fmt: skip
MAILS = {
    f"{kind}, {name}": case
    for kind, cases in (("forwarded", FORWARDS), ("sender", SENDERS), ("text", TEXTS))
    for name, case in cases.items()
}


@pytest.mark.parametrize(("head", "body", "facts"), MAILS.values(), ids=MAILS)
def test_a_person_s_mail_as_programs_write_it(head, body, facts):
    if isinstance(body, str) and body.startswith("Content-Type: multipart/"):
        kind, _, body = body.partition("\n\n")
        head = f"{head}\n{kind}"
    message = seen(mail(head, body))

    assert {name: message[name] for name in facts} == facts
    assert message["auto_reply"] is False


def test_there_are_more_than_a_hundred_and_fifty_messages_in_real_form():
    from tests.channels import test_real_forms
    from tests.channels.email import test_new_text, test_real_bounces, test_real_machines, test_real_mails

    others = [test_real_bounces.BOUNCES, test_real_mails.MAILS, MAILS]
    others += [test_real_machines.AUTORESPONDERS, test_real_machines.ANSWERS, test_real_machines.PERSONS]
    others += [test_real_forms.WHATSAPP, test_real_forms.FORMS, test_real_forms.SUBMISSIONS]
    replies = {case.values[:2] for case in test_new_text.REPLIES}

    assert sum(map(len, others)) >= 150
    assert len(replies) >= 80
