"""``crm demo``: a small support desk, built on the services as any other backend would be.

:func:`handle` is the part to read: all that a message causes happens in the transaction that stores it, so a
message that is delivered twice is answered and counted once. Nothing is sent: answers stay ``pending``.
"""

from __future__ import annotations

import re
import textwrap
import time
from collections.abc import Iterable
from functools import partial
from itertools import chain
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from .embeddings import Embedder
from .models import (
    ChannelConfig,
    ContentType,
    Customer,
    MetricType,
    Ticket,
    TicketCategory,
    TicketPriority,
    TicketStatus,
)
from .schemas import Assurance, InboundMessage, Ingested, OutboundMessage
from .services import conversations, metrics, search, tickets

AGENT = "ai:support-agent"
TEAM_LEAD = "human:7"

GOOD_MATCH = 0.2
"""The similarity from which an article counts as an answer; fair for the lexical embedder."""

NEEDS_A_PERSON = (
    "real person",
    "human",
    "manager",
    "lawyer",
    "legal",
    "complaint",
    "unacceptable",
    "escalate",
)
SAYS_THANKS = ("thanks", "thank you", "that worked", "works now", "solved")


class Rule(NamedTuple):
    """A message is of this category if the customer chose it on a form, or if it has one of the words."""

    category: TicketCategory
    priority: TicketPriority
    words: tuple[str, ...]


RULES = (  # the first that fits; the last one for what fits none
    Rule(TicketCategory.COMPLAINT, TicketPriority.CRITICAL, NEEDS_A_PERSON),
    Rule(
        TicketCategory.ACCOUNT_ACCESS,
        TicketPriority.HIGH,
        ("password", "log in", "login", "sign in", "locked"),
    ),
    Rule(
        TicketCategory.BILLING,
        TicketPriority.HIGH,
        ("invoice", "charge", "refund", "payment", "card", "price"),
    ),
    Rule(
        TicketCategory.FEATURE_REQUEST,
        TicketPriority.LOW,
        ("feature", "would be great", "wish", "please add"),
    ),
    Rule(
        TicketCategory.TECHNICAL, TicketPriority.MEDIUM, ("error", "crash", "TC-", "not work", "API", "sync")
    ),
    Rule(TicketCategory.HOW_TO, TicketPriority.MEDIUM, ()),
)

# No model judges the tone: pleased words against displeased ones, and 0.5 where there are none of either.
PLEASED = ("thanks", "thank you", "great", "love", "perfect", "helpful", "works")
DISPLEASED = (
    "unacceptable",
    "angry",
    "terrible",
    "disappoint",
    "frustrat",
    "worst",
    "again",
    "still",
    "urgent",
)


class Handled(NamedTuple):
    """What became of one message."""

    ingested: Ingested
    outcome: str
    ticket_id: UUID | None
    ticket_opened: bool = False


class Step(NamedTuple):
    """What the desk did about a message, and what the customer is told."""

    outcome: str
    answer: str | None = None
    is_solution: bool = False
    """Otherwise it only tells what happens next, and does not count as a first response."""


def handle(session: Session, inbound: InboundMessage, *, embedder: Embedder) -> Handled:
    """Store a message and do what it calls for: open or wake a ticket, answer or hand over, measure."""
    since = time.perf_counter()
    ingested = conversations.ingest(session, inbound)
    if ingested.resolution is None:
        return Handled(ingested, "already there", ingested.ticket_id)
    measure = partial(metrics.record, session, channel=inbound.channel)
    measure(MetricType.MESSAGE_VOLUME, 1)
    if ingested.conversation_opened:
        measure(MetricType.CONVERSATION_COUNT, 1)
    if inbound.auto_reply or len(ingested.resolution.ignored) == len(inbound.sender):
        # Two machines would answer each other for ever.
        return Handled(ingested, "by a machine: kept, not answered", ingested.ticket_id)
    if not re.search(r"\w", inbound.content):
        return Handled(ingested, _keep(session, ingested), ingested.ticket_id)

    measure(MetricType.SENTIMENT, sentiment(_text(inbound)))
    ticket = _ticket_for(session, inbound, ingested)
    step = _next_step(session, ticket, inbound, ingested, embedder)
    if step.answer is not None:
        latency = round((time.perf_counter() - since) * 1000)
        _reply(session, ingested.conversation_id, ticket, step, latency)
        measure(MetricType.RESPONSE_LATENCY, latency)
    return Handled(ingested, step.outcome, ticket.id, ticket.id != ingested.ticket_id)


def finish_work(session: Session, ticket_ids: Iterable[UUID]) -> None:
    """The team lead resolves what was taken over, once."""
    for ticket_id in ticket_ids:
        ticket = tickets.get_ticket(session, ticket_id)
        if ticket.assigned_to == TEAM_LEAD and ticket.status is TicketStatus.PROCESSING:
            tickets.change_status(
                session,
                ticket.id,
                TicketStatus.RESOLVED,
                actor=TEAM_LEAD,
                expected_status=TicketStatus.PROCESSING,
                comment="solved together on the phone",
                resolution_notes="Called the customer; we went through it together and it works.",
            )


def _ticket_for(session: Session, inbound: InboundMessage, ingested: Ingested) -> Ticket:
    """The conversation's ticket; a new one where it has none, or only a closed one."""
    if ingested.ticket_id is not None:
        ticket = tickets.get_ticket(session, ingested.ticket_id)
        if ticket.status is not TicketStatus.CLOSED:
            return ticket
    chosen = (rule for rule in RULES if rule.category == inbound.extra.get("category"))
    worded = (rule for rule in RULES if _mentions(_text(inbound), rule.words))
    rule = next(chain(chosen, worded), RULES[-1])
    return tickets.open_ticket(
        session,
        customer_id=ingested.customer_id,
        conversation_id=ingested.conversation_id,
        subject=inbound.subject or textwrap.shorten(inbound.content, 80, placeholder=" …"),
        category=rule.category,
        priority=rule.priority,
        source_channel=inbound.channel,
        actor=AGENT,
    )


def _next_step(
    session: Session, ticket: Ticket, inbound: InboundMessage, ingested: Ingested, embedder: Embedder
) -> Step:
    text = _text(inbound)
    if ticket.assigned_to == TEAM_LEAD and not ingested.ticket_reopened:
        return Step("left to the team lead")
    if _mentions(text, NEEDS_A_PERSON):
        return _escalate(session, ticket)
    if ingested.ticket_reopened:
        if _mentions(text, SAYS_THANKS):
            return _close(session, ticket)
        is_proved = ingested.resolution is not None and ingested.resolution.assurance is Assurance.VERIFIED
        return _take_over(session, ticket) if is_proved else _ask_for_proof(session, ticket)
    if inbound.content_type is ContentType.ATTACHMENT_NOTICE:
        return _ask(session, ticket, "a file without a word")
    return _answer(session, ticket, text, embedder)


def _answer(session: Session, ticket: Ticket, text: str, embedder: Embedder) -> Step:
    """Answer with the best article; where none is near enough, ask."""
    tickets.assign(session, ticket.id, AGENT, actor=AGENT)
    tickets.change_status(session, ticket.id, TicketStatus.PROCESSING, actor=AGENT)
    best = search.search_knowledge(session, text, embedder=embedder, limit=1, min_similarity=GOOD_MATCH)
    if not best:
        return _ask(session, ticket, "no article is near enough to the question")
    notes = f'answered with "{best[0].title}"'
    tickets.change_status(
        session, ticket.id, TicketStatus.RESOLVED, actor=AGENT, comment=notes, resolution_notes=notes
    )
    return Step(f"answered: {best[0].title}", best[0].content, is_solution=True)


def _ask(session: Session, ticket: Ticket, reason: str) -> Step:
    tickets.change_status(session, ticket.id, TicketStatus.WAITING, actor=AGENT, comment=reason)
    return Step("asked for details", "Could you tell us more? What did you do, and what happened?")


def _ask_for_proof(session: Session, ticket: Ticket) -> Step:
    reason = "the sender only claims to be this customer"
    tickets.change_status(session, ticket.id, TicketStatus.WAITING, actor=AGENT, comment=reason)
    return Step(
        "only a claim: asked for proof", "Please write to us from the mailbox or number that we know."
    )


def _escalate(session: Session, ticket: Ticket) -> Step:
    reason = "the customer asks for a person"
    tickets.change_status(
        session, ticket.id, TicketStatus.ESCALATED, actor=AGENT, comment=reason, escalation_reason=reason
    )
    tickets.assign(session, ticket.id, TEAM_LEAD, actor=AGENT)
    metrics.record(session, MetricType.ESCALATION, 1, channel=ticket.source_channel)
    return Step("escalated to the team lead", "A team lead will answer you within 4 business hours.")


def _take_over(session: Session, ticket: Ticket) -> Step:
    reason = "the first answer did not help"
    tickets.assign(session, ticket.id, TEAM_LEAD, actor=AGENT)
    tickets.change_status(session, ticket.id, TicketStatus.PROCESSING, actor=TEAM_LEAD, comment=reason)
    return Step("reopened; the team lead takes over", "Sorry that this did not help; I will call you today.")


def _close(session: Session, ticket: Ticket) -> Step:
    for status in (TicketStatus.RESOLVED, TicketStatus.CLOSED):
        tickets.change_status(session, ticket.id, status, actor=AGENT, comment="the customer says thanks")
    return Step("says thanks: closed")


def _keep(session: Session, ingested: Ingested) -> str:
    """Nobody answers a thumb, and a ticket that it woke goes back to sleep."""
    if ingested.ticket_id is not None and ingested.ticket_reopened:
        reason = "a message without words"
        tickets.change_status(session, ingested.ticket_id, TicketStatus.RESOLVED, actor=AGENT, comment=reason)
    return "without words: kept"


def _reply(session: Session, conversation_id: UUID, ticket: Ticket, step: Step, latency: int) -> None:
    """Answer as the channel wants it: in its template, with a body no longer than it allows."""
    its_config = select(ChannelConfig).where(ChannelConfig.channel == ticket.source_channel)
    config = session.scalars(its_config).one()
    blanks = {
        "customer_name": session.get_one(Customer, ticket.customer_id).name or "there",
        "response_body": cut(step.answer or "", config.max_response_length),
        "ticket_number": ticket.ticket_number,
    }
    template = config.response_template or "{{response_body}}"
    # In one pass: a customer may be called {{response_body}}.
    content = re.sub(r"{{(\w+)}}", lambda blank: blanks.get(blank[1], blank[0]), template)
    conversations.reply(
        session,
        conversation_id,
        OutboundMessage(content=content, processing_latency_ms=latency, auto_reply=not step.is_solution),
    )


def cut(text: str, length: int) -> str:
    """The sentences at the beginning of ``text`` that fit into ``length`` characters."""
    if len(text) <= length:
        return text
    end = text.rfind(". ", 0, length)
    return text[: end + 1] if end > 0 else textwrap.shorten(text, length, placeholder=" …")


def sentiment(text: str) -> float:
    """From 0, displeased, to 1, pleased."""
    pleased, displeased = (sum(_mentions(text, [word]) for word in words) for words in (PLEASED, DISPLEASED))
    return (1 + pleased) / (2 + pleased + displeased)


def _text(inbound: InboundMessage) -> str:
    return f"{inbound.subject or ''}\n{inbound.content}"


def _mentions(text: str, words: Iterable[str]) -> bool:
    return any(re.search(rf"\b{re.escape(word)}", text, re.IGNORECASE) for word in words)
