"""``crm demo``: a small support desk, built on the services as any other backend would be.

:func:`handle` is the part to read: all that a message causes happens in the transaction that stores it, so a
message that is delivered twice is answered and counted once. Nothing is sent: answers stay ``pending``.
"""

from __future__ import annotations

import re
import textwrap
import time
from collections.abc import Iterable
from itertools import chain
from typing import NamedTuple
from uuid import UUID

from sqlalchemy.orm import Session

from .channels import email, whatsapp
from .embeddings import Embedder
from .models import (
    Channel,
    ContentType,
    MetricType,
    Ticket,
    TicketCategory,
    TicketPriority,
    TicketStatus,
)
from .schemas import Assurance, Delivery, InboundMessage, Ingested, OutboundMessage, SearchMode
from .services import conversations, metrics, outbox, search, tickets

AGENT = "ai:support-agent"
TEAM_LEAD = "human:7"

ANSWERABLE = (
    "how do i get into my account without the password",
    "can i pay by bank transfer instead of a card",
    "i want my money back for the yearly plan",
    "how many people can i invite and what does a seat cost",
    "import fails with TC-422, what is wrong with my csv",
    "where do i download last month's invoice",
    "slack does not get our tasks any more",
    "my calendar in outlook shows nothing",
    "we changed the same page, which version is kept",
    "the app on my phone shows old tasks",
    "is there an outage at the moment",
    "please delete my account and everything in it",
    "which file sizes may i attach",
    "how do i create a key for the api",
    "the code for two-factor login is lost",
    "i deleted a task by mistake, can it be restored",
)
UNANSWERABLE = (
    "what is the capital of australia",
    "my washing machine leaks",
    "will it rain on saturday",
    "who won the game last night",
    "a good recipe for apple pie",
    "when does the museum open",
    "book me a table for two",
    "my cat does not eat",
    "how tall is the eiffel tower",
    "translate good morning into danish",
    "the train to york was late",
    "which shoes fit a blue suit",
)
"""Questions as customers write them, by which the agent learns when it has no answer."""

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


MAILBOX = "support@techcorp.io"
FULL_MAILBOX = "kenji.tanaka@example.com"
BOUNCE = """\
From: MAILER-DAEMON <mailer-daemon@example.com>
To: {mailbox}
Subject: Undelivered Mail Returned to Sender
Message-ID: <bounce-1@example.com>
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary=b

--b
Content-Type: text/plain

The mailbox is full.

--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.com

Final-Recipient: rfc822; {recipient}
Action: failed
Status: 5.2.2
Diagnostic-Code: smtp; 552 mailbox full

--b
Content-Type: text/rfc822-headers

Message-ID: {about}

--b--
"""


class Sent(NamedTuple):
    """An answer that a provider would have now, and by which id."""

    delivery: Delivery
    provider_message_id: str


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
    ingested = conversations.ingest(session, inbound, measure=True)
    if ingested.duplicate:
        return Handled(ingested, "already there", ingested.ticket_id)
    if inbound.auto_reply or len(ingested.resolution.ignored) == len(inbound.sender):
        # Two machines would answer each other for ever.
        return Handled(ingested, "by a machine: kept, not answered", ingested.ticket_id)
    if not re.search(r"\w", inbound.content):
        return Handled(ingested, _keep(session, ingested), ingested.ticket_id)

    metrics.record(session, MetricType.SENTIMENT, sentiment(_text(inbound)), channel=inbound.channel)
    ticket = _ticket_for(session, inbound, ingested)
    step = _next_step(session, ticket, inbound, ingested, embedder)
    if step.answer is not None:
        latency = round((time.perf_counter() - since) * 1000)
        _reply(session, ingested.conversation_id, ticket, step, latency)
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
        is_proved = ingested.resolution.assurance is Assurance.VERIFIED
        return _take_over(session, ticket) if is_proved else _ask_for_proof(session, ticket)
    if inbound.content_type is ContentType.ATTACHMENT_NOTICE:
        return _ask(session, ticket, "a file without a word")
    return _answer(session, ticket, text, embedder)


def _answer(session: Session, ticket: Ticket, text: str, embedder: Embedder) -> Step:
    """Answer with the best article; where the search is not confident of it, ask."""
    tickets.assign(session, ticket.id, AGENT, actor=AGENT)
    tickets.change_status(session, ticket.id, TicketStatus.PROCESSING, actor=AGENT)
    if search.find_threshold(session, embedder=embedder, mode=SearchMode.HYBRID) is None:
        search.calibrate(session, ANSWERABLE, UNANSWERABLE, embedder=embedder, mode=SearchMode.HYBRID)
    best = search.search_knowledge(session, text, embedder=embedder, limit=1, mode=SearchMode.HYBRID)
    if not (best and best[0].confident):
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
        session,
        ticket.id,
        TicketStatus.ESCALATED,
        actor=AGENT,
        comment=reason,
        escalation_reason=reason,
        measure=True,
    )
    tickets.assign(session, ticket.id, TEAM_LEAD, actor=AGENT)
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
    """Answer as the channel wants it: in its template, with whole sentences no longer than it allows."""
    reply = conversations.render_reply(
        session, conversation_id, step.answer or "", ticket_id=ticket.id, shorten=True
    )
    conversations.reply(
        session,
        conversation_id,
        OutboundMessage(
            content=reply.content, processing_latency_ms=latency, auto_reply=not step.is_solution
        ),
        actor=AGENT,
        measure=True,
    )


def send_answers(session: Session) -> list[Sent]:
    """Work through the outbox. A sender in earnest commits after each claim and each ``sent``."""
    answers: list[Sent] = []
    while deliveries := outbox.claim(session, forms_from=MAILBOX):
        for delivery in deliveries:
            answers.append(Sent(delivery, _send(session, delivery)))
    return answers


def _send(session: Session, delivery: Delivery) -> str:
    """Compose what a provider would get, and take its word for it; returns the id that it has then."""
    if delivery.channel is Channel.EMAIL:
        name = str(email.compose(delivery, sender_name="TechCorp Support")["Message-ID"])
    elif delivery.account.startswith("+"):
        whatsapp.compose_twilio(delivery)
        name = f"SM{delivery.message_id.hex}"
    else:
        whatsapp.compose_meta(delivery)
        name = f"wamid.{delivery.message_id.hex}"
    outbox.sent(session, delivery.message_id, provider_message_id=name)
    return name


def take_bounce(session: Session, answers: Iterable[Sent]) -> None:
    """What the mail server of the one whose mailbox is full sends back, once."""
    for answer in answers:
        if answer.delivery.to.value.lower() == FULL_MAILBOX:
            bounce = BOUNCE.format(mailbox=MAILBOX, recipient=FULL_MAILBOX, about=answer.provider_message_id)
            raw = bounce.replace("\n", "\r\n").encode()
            conversations.ingest(session, email.parse(raw, own_accounts=[MAILBOX]))
            return


def sentiment(text: str) -> float:
    """From 0, displeased, to 1, pleased."""
    pleased, displeased = (sum(_mentions(text, [word]) for word in words) for words in (PLEASED, DISPLEASED))
    return (1 + pleased) / (2 + pleased + displeased)


def _text(inbound: InboundMessage) -> str:
    return f"{inbound.subject or ''}\n{inbound.content}"


def _mentions(text: str, words: Iterable[str]) -> bool:
    return any(re.search(rf"\b{re.escape(word)}", text, re.IGNORECASE) for word in words)
