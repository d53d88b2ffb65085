"""The right articles, messages and tickets, by meaning and by words."""

from __future__ import annotations

from .calibration import calibrate, find_calibration, find_threshold
from .questions import unanswered
from .searches import search_all, search_knowledge, search_messages, search_tickets, similar_tickets

__all__ = [
    "calibrate",
    "find_calibration",
    "find_threshold",
    "search_all",
    "search_knowledge",
    "search_messages",
    "search_tickets",
    "similar_tickets",
    "unanswered",
]
