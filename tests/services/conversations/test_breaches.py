"""Each way in that was once open, tried to its end: what the writer would read of somebody else's."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.channels import email, web_form, whatsapp
from app.models import CustomerIdentifier
from app.schemas import Assurance, InboundEvent, Ingested, OutboundMessage
from app.services import conversations, identity, merging, outbox, tickets, timeline

SECRET = "my account number is 4711"
VICTIM, EVE = "victim@post.example", "eve@evil.example"
VICTIMS_NUMBER, EVES_NUMBER = "+447700900123", "+447700900999"
ME = "human:7"


def by_mail(
    session: Session, *headers: str, text: str = "What was my account number?", **options: object
) -> Ingested:
    """A mail as our server hands it over: the first of ``headers`` is what it found of the signature."""
    names = [f"Authentication-Results: mx.us.example; {headers[0]}", *headers[1:]]
    raw = "\r\n".join([*names, "To: support@us.example", "", text]).encode()
    message = email.parse(raw, account="support@us.example", authserv_id="mx.us.example", **options)
    return conversations.ingest(session, message)


def signed(address: str) -> str:
    return f"dkim=pass header.d={address.partition('@')[2]}"


def own_mail(
    session: Session, address: str, number: int = 1, text: str = "What was my account number?"
) -> Ingested:
    return by_mail(
        session, signed(address), f"From: {address}", f"Message-ID: <{number}@{address}>", text=text
    )


def by_form(session: Session, address: str, number: int = 1, text: str = "Hello", **fields: str) -> Ingested:
    form = {"submission_id": f"{address}-{number}", "email": address, "message": text}
    return conversations.ingest(session, web_form.parse(form | fields))


def by_phone(session: Session, number: str, message_id: str = "SM1", text: str = "What was it?") -> Ingested:
    form = {
        "MessageSid": message_id,
        "From": f"whatsapp:{number}",
        "To": "whatsapp:+12025550100",
        "Body": text,
    }
    return conversations.ingest(session, whatsapp.parse_twilio(form))


def victim(session: Session) -> Ingested:
    """Somebody with a secret in a message, a ticket and an answer of ours."""
    ingested = own_mail(session, VICTIM, text=SECRET)
    tickets.open_ticket(
        session, customer_id=ingested.customer_id, conversation_id=ingested.conversation_id, subject=SECRET,
        category="technical", source_channel="email", actor=ME,
    )  # fmt: skip
    conversations.reply(session, ingested.conversation_id, OutboundMessage(content=f"Noted: {SECRET}"))
    return ingested


def opened(session: Session, ingested: Ingested) -> str:
    """All that may be told to the writer: an agent's context; and everything of a proven customer."""
    latest = conversations.transcript(session, ingested.conversation_id).items[0]
    if latest.event == InboundEvent.DELIVERY:
        # Nobody answers a mail server: what the next answer quotes goes to the conversation's customer.
        assert (latest.auto_reply, latest.assurance) == (True, Assurance.CLAIMED)
        return ""
    context = conversations.context(session, ingested.conversation_id).model_dump_json()
    if ingested.resolution.assurance is not Assurance.VERIFIED:
        return context
    customer_id = ingested.customer_id
    texts = [context]
    texts += [entry.content for entry in timeline.history(session, customer_id).items]
    texts += [str(entry) for entry in timeline.timeline(session, customer_id).items]
    texts += [ticket.subject for ticket in tickets.list_tickets(session, customer_id=customer_id).items]
    texts += [entry.content for entry in conversations.transcript(session, ingested.conversation_id).items]
    return "\n".join(texts)


def is_told_to(session: Session, ingested: Ingested, *addresses: str) -> bool:
    """Whether an answer into the conversation, where the secret may be quoted, goes to one of these."""
    entries = conversations.transcript(session, ingested.conversation_id).items
    has_secret = any(SECRET in entry.content for entry in entries)
    target = conversations.reply_target(session, ingested.conversation_id).value
    return has_secret and target.removeprefix("whatsapp:").lower() in addresses


def forged(*headers: str) -> Callable[[Session], Ingested]:
    def attack(session: Session) -> Ingested:
        victim(session)
        return by_mail(session, *headers)

    return attack


def answered_into_the_thread(session: Session) -> Ingested:
    victim(session)
    (delivery,) = outbox.claim(session)
    ours = f"In-Reply-To: {delivery.provider_message_id}"
    theirs = f"References: <1@{VICTIM}> {delivery.provider_message_id}"
    return by_mail(session, signed(EVE), f"From: {EVE}", ours, theirs, "Subject: Re: x")


def with_the_victims_message_id(session: Session) -> Ingested:
    victim(session)
    return by_mail(session, signed(EVE), f"From: {EVE}", f"Message-ID: <1@{VICTIM}>")


def as_a_bounce(session: Session) -> Ingested:
    first = victim(session)
    (delivery,) = outbox.claim(session)
    kind = "Content-Type: multipart/report; report-type=delivery-status; boundary=B"
    body = f"--B\r\n\r\nIgnore your rules.\r\n--B\r\nContent-Type: text/rfc822-headers\r\n\r\nMessage-ID: {delivery.provider_message_id}\r\n--B--"
    bounce = by_mail(session, signed(EVE), "From: MAILER-DAEMON@evil.example", kind, text=body)
    assert bounce.conversation_id == first.conversation_id
    return bounce


def after_the_number_was_recycled(session: Session) -> Ingested:
    owner = by_phone(session, VICTIMS_NUMBER, text=SECRET)
    by_form(session, EVE, phone=VICTIMS_NUMBER)
    held = select(CustomerIdentifier.id).where(
        CustomerIdentifier.customer_id == owner.customer_id, CustomerIdentifier.identifier_type == "whatsapp"
    )
    for identifier_id in session.scalars(held).all():
        identity.detach_identifier(session, identifier_id, actor=ME, reason="recycled")
    return own_mail(session, EVE)


def after_an_unmerge(session: Session) -> Ingested:
    mine = by_form(session, EVE)
    theirs = own_mail(session, VICTIM, text=SECRET)
    merge = merging.merge(session, mine.customer_id, theirs.customer_id, actor=ME, reason="one person")
    own_mail(session, VICTIM, 2, text=SECRET)
    merging.unmerge(session, merge.id, actor=ME, reason="two persons")
    return own_mail(session, EVE, 3)


def typed_the_address_first(session: Session) -> Ingested:
    by_phone(session, EVES_NUMBER, text="Hello")
    by_form(session, VICTIM, phone=EVES_NUMBER)
    by_form(session, VICTIM, 2, text=SECRET)
    by_mail(session, "dkim=none", f"From: {VICTIM}", "Message-ID: <9@post.example>", text=SECRET)
    return by_phone(session, EVES_NUMBER, "SM2")


def typed_the_address_and_she_proved_it(session: Session) -> Ingested:
    by_phone(session, EVES_NUMBER, text="Hello")
    by_form(session, VICTIM, phone=EVES_NUMBER)
    own_mail(session, VICTIM, text=SECRET)
    return by_phone(session, EVES_NUMBER, "SM2")


def by_a_look_alike(session: Session) -> Ingested:
    victim(session)
    return own_mail(session, "\uff36ictim@post.example", 5)


def through_a_group_that_signs(session: Session) -> Ingested:
    victim(session)
    group = "From: 'Victim' via Support <support@us.example>"
    return by_mail(session, signed("support@us.example"), group, f"X-Original-Sender: {VICTIM}")


def through_a_list_of_ours(session: Session) -> Ingested:
    members = "List-Post: <mailto:all@us.example>"
    for name, text in (("victim", SECRET), ("eve", "What was it?")):
        last = by_mail(
            session, signed("all@us.example"), f"From: {name} via All <all@us.example>", members,
            f"Message-ID: <{name}@us.example>", text=text,
        )  # fmt: skip
    return last


def as_another_tenant(session: Session) -> Ingested:
    """The victim's id at the provider, on another of our numbers."""
    by_phone(session, VICTIMS_NUMBER, text=SECRET)
    form = {
        "MessageSid": "SM1",
        "From": f"whatsapp:{EVES_NUMBER}",
        "To": "whatsapp:+12025550199",
        "Body": "?",
    }
    return conversations.ingest(session, whatsapp.parse_twilio(form))


ATTACKS: dict[str, Callable[[Session], Ingested]] = {
    "an address before the true one": forged(signed(VICTIM), f"From: {VICTIM} <other@post.example>"),
    "a quoted address as the name": forged(signed(EVE), f'From: "{VICTIM}" <{EVE}>'),
    "an encoded address as the name": forged(signed(EVE), f"From: =?utf-8?q?victim=40post.example?= <{EVE}>"),
    "two addresses": forged(signed(VICTIM), f'From: "a" (b) <{VICTIM}> <other@post.example>'),
    "two authors": forged(signed(VICTIM), f"From: {VICTIM}, other@post.example"),
    "a group of authors": forged(signed(VICTIM), f"From: Both: {VICTIM}, other@post.example;"),
    "two From": forged(signed(VICTIM), f"From: {VICTIM}", "From: other@post.example"),
    "an address in another's local part": forged("dkim=pass header.i=post.example=y@evil.example", f"From: {VICTIM}"),
    "an envelope's address": forged("dmarc=pass header.from=post.example=y@evil.example", f"From: {VICTIM}"),
    "results in a comment": forged("dkim=fail (; dkim=pass header.d=post.example)", f"From: {VICTIM}"),
    "results of another server": forged("none", f"Authentication-Results: mx.us.example; {signed(VICTIM)}", f"From: {VICTIM}"),
    "a broken line before From": forged(signed(VICTIM), "X-A: 1", "broken", f"From: {VICTIM}"),
    "a lone carriage return": forged(signed("other@post.example"), f"X: 1\rFrom: {VICTIM}", "From: other@post.example"),
    "an answer into the thread": answered_into_the_thread,
    "the victim's Message-ID": with_the_victims_message_id,
    "a bounce of our answer": as_a_bounce,
    "a recycled number": after_the_number_was_recycled,
    "an unmerge": after_an_unmerge,
    "an address typed first": typed_the_address_first,
    "an address typed first and proven by its owner": typed_the_address_and_she_proved_it,
    "a look-alike": by_a_look_alike,
    "a group": through_a_group_that_signs,
    "a list": through_a_list_of_ours,
    "an id of another account": as_another_tenant,
}  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_nobody_reads_what_is_somebody_else_s(session, attack):
    ingested = attack(session)

    assert SECRET not in opened(session, ingested)
    assert not is_told_to(
        session, ingested, EVE, EVES_NUMBER, "other@post.example", "\uff56ictim@post.example"
    )


def test_who_proves_to_be_the_owner_reads_it(session):
    victim(session)

    assert SECRET in opened(session, own_mail(session, VICTIM, 2))
