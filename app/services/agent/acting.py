"""Tools that write: in this conversation, and on tickets in its reach. What they return is kept: no texts."""

from __future__ import annotations

from typing import Any

from ...models import TicketStatus
from ...schemas import (
    AddNote,
    ChangeTicketPriority,
    ChangeTicketStatus,
    EscalateTicket,
    OpenTicket,
    OutboundMessage,
    Reply,
)
from .. import conversations, tickets
from .._shared.checks import checked_text
from .reading import Turn, facts_of, ticket_in_reach


def open_ticket(turn: Turn, arguments: OpenTicket) -> dict[str, Any]:
    ticket = tickets.open_ticket(
        turn.session,
        customer_id=turn.scope.customer_id,
        conversation_id=turn.scope.conversation_id,
        subject=arguments.subject,
        category=arguments.category,
        priority=arguments.priority,
        source_channel=turn.scope.channel,
        actor=turn.actor,
    )
    return facts_of(ticket)


def change_ticket_status(turn: Turn, arguments: ChangeTicketStatus) -> dict[str, Any]:
    ticket = ticket_in_reach(turn, arguments.ticket_number)
    changed = tickets.change_status(
        turn.session,
        ticket.id,
        TicketStatus(arguments.status),
        actor=turn.actor,
        comment=arguments.comment,
        resolution_notes=arguments.resolution_notes,
    )
    return facts_of(changed)


def escalate_ticket(turn: Turn, arguments: EscalateTicket) -> dict[str, Any]:
    ticket = ticket_in_reach(turn, arguments.ticket_number)
    escalated = tickets.change_status(
        turn.session,
        ticket.id,
        TicketStatus.ESCALATED,
        actor=turn.actor,
        escalation_reason=arguments.reason,
        with_conversation=True,
    )
    return facts_of(escalated)


def change_ticket_priority(turn: Turn, arguments: ChangeTicketPriority) -> dict[str, Any]:
    ticket = ticket_in_reach(turn, arguments.ticket_number)
    changed = tickets.change_priority(
        turn.session, ticket.id, arguments.priority, actor=turn.actor, comment=arguments.comment
    )
    return facts_of(changed)


def reply(turn: Turn, arguments: Reply) -> dict[str, Any]:
    conversation_id = turn.scope.conversation_id
    content = checked_text("content", arguments.content)
    answer = OutboundMessage(content=content)
    message = conversations.reply(turn.session, conversation_id, answer, actor=turn.actor, in_template=True)
    return {"message_id": str(message.id), "delivery_status": str(message.delivery_status)}


def add_note(turn: Turn, arguments: AddNote) -> dict[str, Any]:
    message = conversations.note(
        turn.session, turn.scope.conversation_id, arguments.content, actor=turn.actor
    )
    return {"message_id": str(message.id)}
