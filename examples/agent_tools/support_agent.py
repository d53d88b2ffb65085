"""A language model at a support desk: it gets the conversation and the tools, and acts until it is done.

Whose conversation it is, what may be disclosed and who acts are bound before the model speaks; nothing that
it writes can change them. A call that comes twice does nothing twice.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from textwrap import shorten
from typing import Any, Protocol
from uuid import UUID

from sqlalchemy.orm import Session, sessionmaker

from crm_digital_fte.database import transaction
from crm_digital_fte.embeddings import Embedder
from crm_digital_fte.services import agent, conversations

MAX_STEPS = 8


@dataclass(frozen=True)
class Call:
    """A tool that the model wants to use. ``id`` is its provider's, the same when the answer comes again."""

    id: str
    tool: str
    arguments: Mapping[str, Any]


class Model(Protocol):
    """A model at its provider's. Here is where you call Anthropic, OpenAI or your own."""

    def next(
        self, prompt: str, tools: Sequence[Mapping[str, Any]], results: Sequence[tuple[Call, str]]
    ) -> Sequence[Call]:
        """The calls that it wants after the results of all earlier ones; none when it is done."""
        ...


def answer(
    sessions: sessionmaker[Session], conversation_id: UUID, model: Model, embedder: Embedder
) -> list[str]:
    """Let the model work on the conversation's last message; the transcript, a line for each thing.

    Each call is a transaction of its own: the model is waited for between them, and never in one.
    """
    context = transaction(sessions, conversations.context, conversation_id, embedder=embedder)
    toolbox = agent.tools(conversation_id, actor="ai:support-agent", embedder=embedder)
    prompt, tools = context.as_text(max_tokens=4_000), toolbox.anthropic()
    disclosure = "yes" if context.disclosure.other_conversations else f"no: {context.disclosure.reason}"
    transcript = [f"customer: {context.question}", f"other conversations may be told: {disclosure}"]
    results: list[tuple[Call, str]] = []
    for _ in range(MAX_STEPS):
        calls = model.next(prompt, tools, results)
        for call in calls:
            result = transaction(sessions, toolbox.call, call.tool, call.arguments, idempotency_key=call.id)
            results.append((call, result.as_text()))
            verdict = "refused" if not result.ok else "repeated" if result.repeated else "ok"
            transcript.append(f"model: {call.tool} {json.dumps(call.arguments)}")
            transcript.append(f"{verdict}: {shorten(result.as_text(), 300)}")
        if not calls:
            return transcript
    raise RuntimeError("the model does not come to an end")
