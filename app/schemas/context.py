"""All that an agent's turn needs to know about one conversation, as data and as a prompt."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from ..models.channel import Channel, ChannelTone
from ..models.conversation import ConversationStatus, DeliveryStatus, MessageDirection, MessageRole
from ..models.customer import CustomerPlan
from ..models.knowledge import KnowledgeCategory
from ..models.ticket import TicketCategory, TicketPriority, TicketStatus
from .base import OrText, Schema
from .channels import LengthUnit
from .conversations import Awaiting
from .identity import Assurance, Identifier
from .prompts import estimate_tokens


class DisclosureReason(StrEnum):
    """Why something may or may not be disclosed."""

    VERIFIED = "verified"
    """The channel has proved who wrote all that is unanswered."""
    CLAIMED = "claimed"
    """Of something that is unanswered nobody has proved who wrote it."""
    NOBODY_WROTE = "nobody_wrote"
    """The customer has not written in this conversation."""
    GROUP = "group"
    """The channel has proved who wrote, but others read the answer."""


class Disclosure(Schema):
    """What whoever writes in the conversation may be told."""

    other_conversations: bool
    """Whether what is known from elsewhere (profile, tickets, other messages) may be told, and is in here."""
    reason: DisclosureReason


class ContextCustomer(Schema):
    """Who writes, as far as it may be told."""

    name: str | None = None
    """Without proof: as it was given in this conversation."""
    company: str | None = None
    """The same."""
    plan: OrText[CustomerPlan] | None = None
    """None without proof."""
    address: Identifier | None = None
    """Where the answer goes; None where another backend opened the conversation."""


class ContextChannel(Schema):
    """The channel's voice."""

    channel: OrText[Channel]
    is_enabled: bool = True
    tone: OrText[ChannelTone] | None = None
    max_response_length: int | None = None
    """Of an answer's body, in ``length_unit``."""
    length_unit: LengthUnit | None = None
    response_template: str | None = None


class ContextMessage(Schema):
    """One message, without what it quotes."""

    id: UUID
    direction: OrText[MessageDirection]
    role: OrText[MessageRole]
    text: str
    """Cut where the messages together would be too long."""
    is_cut: bool = False
    subject: str | None = None
    attachments: tuple[str, ...] = ()
    """Their names."""
    created_at: datetime
    assurance: Assurance | None = None
    """Of an inbound message: whether the channel proved who wrote it."""
    delivery_status: OrText[DeliveryStatus] | None = None
    auto_reply: bool = False
    internal: bool = False
    """A note among ourselves: not for the customer's eyes."""
    event: str | None = None


class ContextTicket(Schema):
    """A ticket that is neither resolved nor closed."""

    id: UUID
    ticket_number: str
    subject: str
    status: OrText[TicketStatus]
    priority: OrText[TicketPriority] | None
    category: OrText[TicketCategory]
    age: timedelta
    waiting_for: Awaiting
    """Whose move it is."""
    of_this_conversation: bool


class ContextArticle(Schema):
    """An article that may answer the question."""

    id: UUID
    title: str
    content: str
    category: OrText[KnowledgeCategory]
    score: float
    similarity: float | None = None


class SolvedTicket(Schema):
    """How something like this was solved before. Another customer's has nothing that says whose it was."""

    category: OrText[TicketCategory]
    resolution_notes: str
    score: float
    ticket_number: str | None = None
    """Only of a ticket of this customer."""


class AgentContext(Schema):
    """What an agent may know when it answers. What may not be told to the writer is not in it.

    Long texts are cut, so that ``model_dump_json()`` has at most about ``MAX_TOKENS`` tokens.
    """

    conversation_id: UUID
    customer_id: UUID
    status: OrText[ConversationStatus] | None
    channel: ContextChannel
    customer: ContextCustomer
    assurance: Assurance
    """The least of what is unanswered."""
    disclosure: Disclosure
    messages: tuple[ContextMessage, ...]
    """The transcript's end, oldest first."""
    has_earlier_messages: bool = False
    question: str | None = None
    """What was searched for: the customer's last message."""
    open_tickets: tuple[ContextTicket, ...] = ()
    """Longest open first; without proof those of this conversation only."""
    articles: tuple[ContextArticle, ...] = ()
    solved_tickets: tuple[SolvedTicket, ...] = ()
    """Internal: how tickets like this were solved. None without proof."""

    def as_text(self, *, max_tokens: int = 8_000, count: Callable[[str], int] = estimate_tokens) -> str:
        """The context for a prompt, of at most ``max_tokens`` tokens as ``count`` finds them.

        What people wrote stands behind bars or in quotes and cannot pose as an instruction or as another
        section. Where it would be too long, the oldest messages are left out, then solved tickets, articles
        and open tickets, and then texts are cut. 1,000 tokens are enough for what is never left out.

        Raises:
            InvalidValue: ``max_tokens`` leaves no room for that.
        """
        from .context_texts import as_text  # noqa: PLC0415 - it needs these classes

        return as_text(self, max_tokens=max_tokens, count=count)


MAX_TOKENS = 12_000
"""Of an ``AgentContext`` as JSON, as ``estimate_tokens`` counts."""
