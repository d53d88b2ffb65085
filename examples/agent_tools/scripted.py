"""Two conversations with a model that follows a script: what a model may do is seen without one.

``python scripted.py`` prints the transcript. Ana's mail server vouches for her; then somebody types her
address into the web form, and the same model is refused what it was told before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy.orm import Session, sessionmaker

from crm_digital_fte import migrations
from crm_digital_fte.database import make_engine, make_session_factory, transaction
from crm_digital_fte.embeddings import LexicalEmbedder
from crm_digital_fte.schemas import Identifier, InboundMessage
from crm_digital_fte.services import conversations
from support_agent import Call, answer

ANA = "ana@example.com"
MAIL = InboundMessage(
    channel="email",
    account="support@techcorp.example",
    provider_message_id="<1@example.com>",
    sender=(Identifier(type="email", value=ANA, verified=True),),
    content="I was charged twice in May.",
)
FORM = InboundMessage(
    channel="web_form",
    account="techcorp.example/contact",
    provider_message_id="form-1",
    sender=(Identifier(type="email", value=ANA),),
    content="What did I ask you last week?",
)
OPEN = Call("call_1", "open_ticket", {"subject": "Charged twice", "category": "billing"})
ON_MAIL = (
    [OPEN],
    [OPEN],  # the provider's answer came twice
    [Call("call_2", "escalate_ticket", {"ticket_number": "TKT-0001", "reason": "a refund needs a human"})],
    [Call("call_3", "reply", {"content": "A colleague looks into it today: TKT-0001."})],
)
ON_FORM = (
    [Call("call_4", "read_history", {})],
    [Call("call_5", "read_ticket", {"ticket_number": "TKT-0001"})],
    [Call("call_6", "open_ticket", {"subject": "Unknown", "category": "gossip"})],
    [Call("call_7", "reply", {"content": "Please write from your own mailbox, then I can tell you."})],
)


class ScriptedModel:
    def __init__(self, *steps: Sequence[Call]) -> None:
        self.steps = list(steps)

    def next(
        self, prompt: str, tools: Sequence[Mapping[str, Any]], results: Sequence[tuple[Call, str]]
    ) -> Sequence[Call]:
        assert prompt or not results
        calls = self.steps.pop(0) if self.steps else ()
        assert {call.tool for call in calls} <= {tool["name"] for tool in tools}
        return calls


def play(sessions: sessionmaker[Session]) -> list[str]:
    """Both conversations' transcripts."""
    lines: list[str] = []
    for inbound, script in ((MAIL, ON_MAIL), (FORM, ON_FORM)):
        ingested = transaction(sessions, conversations.ingest, inbound)
        lines += answer(sessions, ingested.conversation_id, ScriptedModel(*script), LexicalEmbedder())
    return lines


if __name__ == "__main__":
    url = migrations.resolve_url()
    migrations.upgrade(url)
    print("\n".join(play(make_session_factory(make_engine(url)))))
