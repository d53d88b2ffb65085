"""Tools that read: of other conversations only where it is proven who writes in this one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy.orm import Session

from ...embeddings import Embedder
from ...errors import DisclosureRefused, NotFound, TicketNotFound
from ...models import FINISHED, Ticket, TicketStatus
from ...schemas import (
    FindSolutions,
    ListTickets,
    ReadConversation,
    ReadHistory,
    ReadTicket,
    SearchKnowledge,
    SearchMode,
    TimelineKind,
)
from ...schemas.prompts import cut, plain
from .. import conversations, search, tickets, timeline
from ..conversations.assurances import Scope
from ..conversations.solutions import find_solved
from ..search.options import DEFAULT_WEIGHTS, checked_options

_MAX_TICKETS = 20
_MESSAGE_TOKENS = 500
_ARTICLE_TOKENS = 1_000
_TOLD = (TimelineKind.MESSAGE, TimelineKind.TICKET, TimelineKind.STATUS_CHANGE)
_UNFINISHED = tuple(status for status in TicketStatus if status not in FINISHED)


class Turn(NamedTuple):
    """Who acts where, and with what a text is compared by meaning."""

    session: Session
    scope: Scope
    actor: str
    embedder: Embedder | None = None
    vector: Sequence[float] | None = None

    @property
    def search_options(self) -> dict[str, Any]:
        """By meaning and words where there is a vector or an embedder, else by words."""
        by_words = self.embedder is None and self.vector is None
        mode = SearchMode.TEXT if by_words else SearchMode.HYBRID
        return {"embedder": self.embedder, "vector": self.vector, "mode": mode}


def search_knowledge(turn: Turn, arguments: SearchKnowledge) -> dict[str, Any]:
    hits = search.search_knowledge(
        turn.session, arguments.query, limit=arguments.limit, **turn.search_options
    )
    return {
        "articles": [
            {
                "title": hit.title,
                "content": _text(hit.content, _ARTICLE_TOKENS),
                "category": str(hit.category),
            }
            for hit in hits
        ]
    }


def find_solutions(turn: Turn, arguments: FindSolutions) -> dict[str, Any]:
    _require_proof(turn)
    options = checked_options(
        arguments.query,
        limit=1,
        min_similarity=None,
        min_score=None,
        weights=DEFAULT_WEIGHTS,
        **turn.search_options,
    )
    solved = find_solved(turn.session, options, turn.scope.customer_id, refuse_other_models=True)
    return {
        "solutions": [
            {"category": str(ticket.category), "resolution_notes": plain(ticket.resolution_notes)}
            for ticket in solved
        ]
    }


def read_conversation(turn: Turn, arguments: ReadConversation) -> dict[str, Any]:
    page = conversations.transcript(
        turn.session,
        turn.scope.conversation_id,
        limit=arguments.limit,
        before=arguments.before,
        notes=False,
    )
    messages = [
        {
            "at": entry.created_at.isoformat(timespec="seconds"),
            "from": str(entry.role),
            "assurance": entry.assurance and str(entry.assurance),
            "subject": entry.subject and plain(entry.subject),
            "text": _text(entry.new_text, _MESSAGE_TOKENS),
        }
        for entry in page.items
    ]
    return {"messages": messages, "next": page.token()}


def read_history(turn: Turn, arguments: ReadHistory) -> dict[str, Any]:
    _require_proof(turn)
    page = timeline.timeline(
        turn.session, turn.scope.customer_id, limit=arguments.limit, before=arguments.before
    )
    entries = [
        {
            "at": entry.created_at.isoformat(timespec="seconds"),
            "kind": str(entry.kind),
            "from": entry.role and str(entry.role),
            "ticket_number": entry.ticket_number,
            # A comment on a change is for colleagues.
            "text": None
            if entry.text is None or entry.kind is TimelineKind.STATUS_CHANGE
            else _text(entry.text, _MESSAGE_TOKENS),
            "status": entry.new_value,
        }
        for entry in page.items
        if entry.kind in _TOLD and not entry.internal
    ]
    return {"entries": entries, "next": page.token()}


def list_tickets(turn: Turn, arguments: ListTickets) -> dict[str, Any]:
    own: dict[str, Any] = {"customer_id": turn.scope.customer_id}
    if not turn.scope.discloses:
        own["conversation_id"] = turn.scope.conversation_id
    if not arguments.include_finished:
        own["status"] = _UNFINISHED
    page = tickets.list_tickets(turn.session, limit=_MAX_TICKETS, **own)
    return {
        "tickets": [
            {
                "ticket_number": ticket.ticket_number,
                "subject": plain(ticket.subject),
                "status": str(ticket.status),
                "priority": ticket.priority and str(ticket.priority),
                "category": str(ticket.category),
                "opened_at": ticket.created_at.isoformat(timespec="seconds"),
            }
            for ticket in page.items
        ],
        "has_more": page.next is not None,
    }


def read_ticket(turn: Turn, arguments: ReadTicket) -> dict[str, Any]:
    ticket = ticket_in_reach(turn, arguments.ticket_number)
    return {
        **facts_of(ticket),
        "subject": plain(ticket.subject),
        "changes": [
            {"at": change.changed_at.isoformat(timespec="seconds"), "status": str(change.new_status)}
            for change in tickets.status_history(turn.session, ticket.id)
            if change.old_status != change.new_status
        ],
    }


def ticket_in_reach(turn: Turn, number: str) -> Ticket:
    """The customer's ticket of this number, and without proof this conversation's only.

    Raises:
        TicketNotFound: there is none that may be reached; whether there is another one is not told.
    """
    try:
        ticket = tickets.get_ticket(turn.session, number)
    except NotFound:
        raise TicketNotFound(plain(number)) from None
    is_own = ticket.customer_id == turn.scope.customer_id
    if not is_own or not (turn.scope.discloses or ticket.conversation_id == turn.scope.conversation_id):
        raise TicketNotFound(plain(number))
    return ticket


def facts_of(ticket: Ticket) -> dict[str, Any]:
    """Of a ticket what is no text, so that it may be kept."""
    return {
        "ticket_id": str(ticket.id),
        "ticket_number": ticket.ticket_number,
        "status": str(ticket.status),
        "priority": ticket.priority and str(ticket.priority),
        "category": str(ticket.category),
    }


def _require_proof(turn: Turn) -> None:
    if not turn.scope.discloses:
        raise DisclosureRefused(turn.scope.conversation_id)


def _text(text: str | None, max_tokens: int) -> str:
    return plain(cut(text or "", max_tokens))
