"""What the README shows is what happens."""

from __future__ import annotations

import re
from pathlib import Path

from sqlalchemy import Engine, text

from crm_digital_fte.database import make_session_factory, transaction
from crm_digital_fte.services import agent, conversations
from scripted import FORM, play

README = (Path(__file__).parent / "README.md").read_text(encoding="utf-8")
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}")


def test_the_transcript_of_the_readme_is_that_of_the_script(crm_clone: Engine) -> None:
    shown = re.search(r"```text\n(.*?)\n```", README, re.DOTALL)
    assert shown is not None

    assert (
        UUID.sub("…", "\n".join(play(make_session_factory(crm_clone)))).splitlines() == shown[1].splitlines()
    )

    with crm_clone.connect() as connection:
        tickets = connection.execute(text("SELECT ticket_number, status FROM tickets")).all()
        changes = connection.scalars(text("SELECT changed_by FROM ticket_status_changes")).all()
    assert [tuple(ticket) for ticket in tickets] == [("TKT-0001", "escalated")]
    assert set(changes) == {"ai:support-agent"}


def test_a_tool_is_a_json_schema_without_anything_that_identifies_somebody(crm_clone: Engine) -> None:
    ingested = transaction(make_session_factory(crm_clone), conversations.ingest, FORM)

    for tool in agent.tools(ingested.conversation_id).anthropic():
        schema = tool["input_schema"]
        assert tool["description"]
        assert schema["type"] == "object"
        assert not {"customer_id", "conversation_id", "actor", "verified"} & set(schema["properties"])
