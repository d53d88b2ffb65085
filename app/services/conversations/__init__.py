"""Messages in and out: stored exactly once, in the right conversation, answered where they came from."""

from __future__ import annotations

from .contexts import context
from .delivery import set_delivery_status
from .ingestion import ingest
from .lists import get_conversation, list_conversations
from .rendering import render_reply
from .replies import note, reply, start
from .statuses import change_status
from .threads import reply_target
from .transcripts import transcript

__all__ = [
    "change_status",
    "context",
    "get_conversation",
    "ingest",
    "list_conversations",
    "note",
    "render_reply",
    "reply",
    "reply_target",
    "set_delivery_status",
    "start",
    "transcript",
]
