"""Rows that have to do with each other, and what a database holds, without its ids and clocks."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Engine, text

from app.models import Channel
from app.schemas import CustomerProfile, DeliveryReport, Identifier, InboundEvent, InboundMessage

DESK = "support@techcorp.example"
START = datetime(2024, 3, 1, 8, tzinfo=UTC)


def email(value: str, *, verified: bool = True) -> Identifier:
    return Identifier(type="email", value=value, verified=verified)


def number(value: str, *, verified: bool = True) -> Identifier:
    return Identifier(type="whatsapp", value=value, verified=verified)


def mail(id_: str, sender: str | Identifier, **facts: Any) -> InboundMessage:
    author = email(sender) if isinstance(sender, str) else sender
    default = {
        "channel": Channel.EMAIL,
        "account": DESK,
        "provider_message_id": id_,
        "sender": (author,),
        "content": f"About {id_}",
        "thread_id": id_,
    }
    return InboundMessage(**default | facts)


def chat(id_: str, *sender: Identifier, **facts: Any) -> InboundMessage:
    default = {
        "channel": Channel.WHATSAPP,
        "account": "+14155238886",
        "provider_message_id": id_,
        "sender": sender,
        "content": f"Hello {id_}",
    }
    return InboundMessage(**default | facts)


def form(id_: str, *sender: Identifier, **facts: Any) -> InboundMessage:
    default = {
        "channel": Channel.WEB_FORM,
        "account": "contact",
        "provider_message_id": id_,
        "sender": sender,
        "content": f"From the form: {id_}",
    }
    return InboundMessage(**default | facts)


def bounce(id_: str, of: str, **facts: Any) -> InboundMessage:
    """A mail server says that ``of`` did not arrive."""
    report = DeliveryReport(channel=Channel.EMAIL, account=DESK, provider_message_id=of, status="failed")
    robot = email("mailer-daemon@placeholder.invalid", verified=False)
    about = {"event": InboundEvent.DELIVERY, "delivery_reports": (report,), "references": (of,)}
    return mail(id_, robot, **about | facts)


class _Turn:
    """What one message may be about: its writer, and what was written before."""

    def __init__(self, rng: random.Random, people: int, messages: list[InboundMessage]) -> None:
        self.rng, self.people, self.messages = rng, people, messages
        self.threads: dict[int, list[str]] = {}

    def take(self) -> None:
        number_ = len(self.messages)
        at = START + timedelta(minutes=number_)
        self.id = f"<{number_}@mail.example>"
        self.person = self.rng.randrange(self.people)
        self.dated = {"sent_at": at, "received_at": at + timedelta(seconds=5)}
        self.address = f"person{self.person}@example.com"
        self.phone = number(_phone(self.person))
        self.own = self.threads.setdefault(self.person, [])
        self.root = self.rng.choice(self.own) if self.own else "<none@x>"

    @property
    def profile(self) -> CustomerProfile:
        named = self.rng.random() < 0.5
        return CustomerProfile(name=f"Person {self.person}") if named else CustomerProfile()

    def question(self) -> InboundMessage:
        self.own.append(self.id)
        return mail(self.id, self.address, profile=self.profile, **self.dated)

    def answer(self) -> InboundMessage:
        return mail(self.id, self.address, thread_id=self.root, references=(self.root,), **self.dated)

    def answer_with_cut_references(self) -> InboundMessage:
        cut = {"thread_id": "<cut@x>", "references": (self.root, "<gone@x>")}
        return mail(self.id, self.address, **cut, **self.dated)

    def answer_by_somebody_else(self) -> InboundMessage:
        other = f"person{self.rng.randrange(self.people)}@example.com"
        return mail(self.id, other, references=(self.root,), **self.dated)

    def chat(self) -> InboundMessage:
        return chat(self.id, self.phone, **self.dated)

    def chat_with_an_id(self) -> InboundMessage:
        return chat(self.id, self.phone, number(f"user-{self.person}"), **self.dated)

    def chat_in_a_group(self) -> InboundMessage:
        return chat(self.id, self.phone, group_id=f"group-{self.person % 3}", **self.dated)

    def form(self) -> InboundMessage:
        claims = (email(self.address, verified=False), number(self.phone.value, verified=False))
        return form(self.id, *claims, profile=self.profile, **self.dated)

    def form_with_two_people(self) -> InboundMessage:
        other = number(_phone(self.rng.randrange(self.people)), verified=False)
        return form(self.id, email(self.address, verified=False), other, **self.dated)

    def unproven_mail(self) -> InboundMessage:
        return mail(self.id, email(self.address, verified=False), **self.dated)

    def mail_in_capitals(self) -> InboundMessage:
        return mail(self.id, self.address.upper(), account=DESK.title(), **self.dated)

    def robot(self) -> InboundMessage:
        return mail(self.id, "no-reply@example.com", auto_reply=True, **self.dated)

    def look_alike(self) -> InboundMessage:
        return mail(self.id, f"\uff50{self.address[1:]}", **self.dated)

    def reaction(self) -> InboundMessage:
        return chat(self.id, self.phone, event=InboundEvent.REACTION, reaction_to=self.root, **self.dated)

    def bounce(self) -> InboundMessage:
        return bounce(self.id, self.root, **self.dated)

    def new_number(self) -> InboundMessage:
        new = number(f"+1666{2000000 + len(self.messages)}")
        return chat(self.id, new, event=InboundEvent.IDENTITY, former=(self.phone,), **self.dated)

    def redelivery(self) -> InboundMessage:
        return self.rng.choice(self.messages[-200:]) if self.messages else self.question()

    def id_used_again(self) -> InboundMessage:
        earlier = self.redelivery()
        return earlier.model_copy(update={"content": f"other words {self.id}", "new_text": ""})


_KINDS = {
    _Turn.question: 30,
    _Turn.answer: 15,
    _Turn.answer_with_cut_references: 5,
    _Turn.answer_by_somebody_else: 5,
    _Turn.chat: 10,
    _Turn.chat_with_an_id: 3,
    _Turn.chat_in_a_group: 2,
    _Turn.form: 6,
    _Turn.form_with_two_people: 3,
    _Turn.unproven_mail: 3,
    _Turn.mail_in_capitals: 2,
    _Turn.robot: 2,
    _Turn.look_alike: 2,
    _Turn.reaction: 2,
    _Turn.bounce: 1,
    _Turn.new_number: 1,
    _Turn.redelivery: 5,
    _Turn.id_used_again: 3,
}


def correspondence(count: int, *, people: int, seed: int = 1) -> list[InboundMessage]:
    """Messages of every kind, about each other, as an archive has them: claims, conflicts, redeliveries."""
    rng = random.Random(seed)
    messages: list[InboundMessage] = []
    turn = _Turn(rng, people, messages)
    for kind in rng.choices(list(_KINDS), list(_KINDS.values()), k=count):
        turn.take()
        messages.append(kind(turn))
    return messages


def _phone(person: int) -> str:
    return f"+1555{2000000 + person}"


# Each table's rows, told by what they say and not by their ids; messages by what the provider calls them.
_CUSTOMER = """
    SELECT jsonb_build_object(
        'addresses', (
            SELECT jsonb_agg(jsonb_build_array(identifier_type, identifier_value, channel, verified)
                ORDER BY identifier_type, identifier_value)
            FROM customer_identifiers WHERE customer_id = c.id
        ),
        'email', CASE WHEN email LIKE '%@placeholder.invalid' THEN '-' ELSE email END,
        'phone', phone, 'name', name, 'company', company, 'plan', plan,
        'messages', (
            SELECT jsonb_agg(p.provider_message_id ORDER BY p.provider_message_id)
            FROM messages AS m JOIN provider_messages AS p ON p.message_id = m.id WHERE m.customer_id = c.id
        ),
        'lost', (SELECT count(*) FROM lost_proofs WHERE customer_id = c.id),
        'events', (
            SELECT jsonb_agg(jsonb_build_array(e.event, e.actor, i.identifier_value, e.reason) ORDER BY e.seq)
            FROM identity_events AS e LEFT JOIN customer_identifiers AS i ON i.id = e.identifier_id
            WHERE e.customer_id = c.id
        )
    )::text FROM customers AS c
"""
_CONVERSATION = """
    SELECT jsonb_build_object(
        'channel', channel, 'status', status, 'closed', closed_at IS NULL, 'created_at', CASE
            WHEN created_at < now() - interval '1 day' THEN created_at::text END,
        'messages', (
            SELECT jsonb_agg(jsonb_build_array(
                p.provider_message_id, p.account, m.channel, direction, role, content, content_type,
                delivery_status, metadata - 'answers' - 'candidates' - 'delivery', metadata ? 'answers',
                jsonb_array_length(metadata -> 'candidates'), metadata -> 'delivery' ->> 'status', CASE
                    WHEN m.created_at < now() - interval '1 day' THEN m.created_at::text END
            ) ORDER BY m.created_at, m.id)
            FROM messages AS m JOIN provider_messages AS p ON p.message_id = m.id
            WHERE m.conversation_id = c.id
        ),
        'answered', (
            SELECT jsonb_agg(p.provider_message_id ORDER BY p.provider_message_id)
            FROM messages AS m JOIN provider_messages AS p ON p.message_id = m.id
            WHERE m.metadata ->> 'answers' = c.id::text
        ),
        'routes', (
            SELECT jsonb_agg(jsonb_build_array(
                channel, account, identifier_type, identifier_value, address, thread_id, group_id
            ) ORDER BY used_at, id)
            FROM conversation_routes WHERE conversation_id = c.id
        ),
        'tickets', (
            SELECT jsonb_agg(jsonb_build_array(t.subject, t.status, (
                SELECT jsonb_agg(jsonb_build_array(
                    old_status, new_status, split_part(changed_by, ':', 1), comment
                ) ORDER BY seq)
                FROM ticket_status_changes WHERE ticket_id = t.id
            )) ORDER BY t.subject) FROM tickets AS t WHERE t.conversation_id = c.id
        )
    )::text FROM conversations AS c
"""
_QUEUE = """
    SELECT object_type || COALESCE(' ' || provider_message_id, '') FROM embedding_queue
    LEFT JOIN provider_messages ON message_id = object_id
"""
_STANDING = "SELECT channel || account || provider_message_id || status FROM early_delivery_reports"


def contents(engine: Engine) -> dict[str, list[str]]:
    """Everything that messages leave behind, comparable from one database to another."""
    statements = {"customers": _CUSTOMER, "conversations": _CONVERSATION, "queue": _QUEUE, "early": _STANDING}
    with engine.connect() as connection:
        return {name: sorted(connection.scalars(text(sql))) for name, sql in statements.items()}
