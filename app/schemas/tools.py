"""What a language model passes to an agent's tools, and what it gets back.

The texts under classes and fields are what the model reads. Nobody's identity, assurance or conversation is
among the arguments: those are the caller's.
"""

from __future__ import annotations

import json
from typing import Any, Literal

from pydantic import Field

from ..models.ticket import TicketCategory, TicketPriority
from .base import Schema

_Ticket = Field(min_length=1, max_length=50, description="The ticket's number, such as TKT-0042.")


class SearchKnowledge(Schema):
    """Find articles of the help center by meaning and words. Use it before answering a how-to question."""

    query: str = Field(min_length=1, max_length=2_000)
    """What the customer wants to know, in a sentence."""
    limit: int = Field(default=3, ge=1, le=10)
    """How many articles."""


class FindSolutions(Schema):
    """Find how similar tickets were solved before. Internal: use it to solve the problem, do not quote it."""

    query: str = Field(min_length=1, max_length=2_000)
    """The problem, in a sentence."""


class ReadConversation(Schema):
    """Read this conversation, newest message first."""

    limit: int = Field(default=20, ge=1, le=50)
    """How many messages."""
    before: str | None = None
    """The ``next`` of an earlier result, to read on."""


class ReadHistory(Schema):
    """Read what this customer wrote and what happened in all conversations and tickets, newest first."""

    limit: int = Field(default=20, ge=1, le=50)
    """How many entries."""
    before: str | None = None
    """The ``next`` of an earlier result, to read on."""


class ListTickets(Schema):
    """List the customer's tickets, newest first."""

    include_finished: bool = False
    """Also resolved and closed ones."""


class ReadTicket(Schema):
    """Read one ticket with the changes of its status."""

    ticket_number: str = _Ticket


class OpenTicket(Schema):
    """Open a ticket for the problem of this conversation. Look for an open one with list_tickets before."""

    subject: str = Field(min_length=1, max_length=500)
    """The problem in a few words."""
    category: TicketCategory
    """What it is about."""
    priority: TicketPriority = TicketPriority.MEDIUM
    """Critical only where many or much money is affected."""


class ChangeTicketStatus(Schema):
    """Move a ticket on: processing (you work on it), waiting (for the customer's answer), resolved."""

    ticket_number: str = _Ticket
    status: Literal["processing", "waiting", "resolved"]
    """The new status."""
    comment: str | None = Field(default=None, max_length=2_000)
    """Why, for colleagues."""
    resolution_notes: str | None = Field(default=None, max_length=5_000)
    """With resolved: what solved it, for the next one who has the problem. Without names and addresses."""


class EscalateTicket(Schema):
    """Hand a ticket to a human, and the conversation with it."""

    ticket_number: str = _Ticket
    reason: str = Field(min_length=1, max_length=255)
    """Why, for the colleague who takes over."""


class ChangeTicketPriority(Schema):
    """Give a ticket another priority."""

    ticket_number: str = _Ticket
    priority: TicketPriority
    """The new priority."""
    comment: str | None = Field(default=None, max_length=2_000)
    """Why, for colleagues."""


class Reply(Schema):
    """Answer the customer in this conversation. It is sent to where their last message came from."""

    content: str = Field(min_length=1, max_length=20_000)
    """The answer itself, in the tone and length of the channel: greeting and signature are put around it."""


class AddNote(Schema):
    """Leave a note for colleagues in this conversation. The customer never sees it."""

    content: str = Field(min_length=1, max_length=20_000)
    """What colleagues should know."""


class ToolResult(Schema):
    """What a tool did or found, or why it refused, in words that a model can act upon."""

    tool: str
    ok: bool
    content: dict[str, Any]
    """What it did or found; of a refusal ``code``, ``detail`` and, where one is to blame, ``field``."""
    repeated: bool = False
    """The call had been made before with the same key: this is its result, and nothing was done again."""

    def as_text(self) -> str:
        """The content as JSON, for the model."""
        return json.dumps(self.content, ensure_ascii=False)
