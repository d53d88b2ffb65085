"""Tickets: every change is legal, has an actor, and is on record."""

from __future__ import annotations

from .closing import close_stale, due_for_closing
from .comebacks import regressions
from .facts import lifecycle
from .fields import assign, change_category, change_metadata, change_priority
from .links import LinkedTickets, linked_tickets, ticket_numbers
from .lists import list_tickets
from .opening import get_ticket, open_ticket
from .record import field_history, status_history
from .reopening import REOPEN_GRACE, reopen
from .statuses import change_status
from .verification import verify_history

__all__ = [
    "REOPEN_GRACE",
    "LinkedTickets",
    "assign",
    "change_category",
    "change_metadata",
    "change_priority",
    "change_status",
    "close_stale",
    "due_for_closing",
    "field_history",
    "get_ticket",
    "lifecycle",
    "linked_tickets",
    "list_tickets",
    "open_ticket",
    "regressions",
    "reopen",
    "status_history",
    "ticket_numbers",
    "verify_history",
]
