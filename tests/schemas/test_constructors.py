"""What a type checker is told that a schema takes is what it takes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from app.schemas import DeliveryReport, Identifier, InboundMessage, OutboundMessage, messages

VALUES = {
    DeliveryReport: {"channel": "email", "account": "a", "status": "read"},
    InboundMessage: {
        "channel": "email",
        "account": "a",
        "provider_message_id": "1",
        "sender": [Identifier(type="email", value="a@example.com")],
        "content": "Hello",
        "content_type": "html",
        "event": "edit",
    },
    OutboundMessage: {"content": "Hello", "content_type": "html", "role": "system"},
}


@pytest.mark.parametrize("schema", VALUES)
def test_plain_codes_are_taken(schema):
    message = schema(**VALUES[schema])

    for name, value in VALUES[schema].items():
        assert getattr(message, name) == (tuple(value) if isinstance(value, list) else value)


def test_the_events_that_a_type_checker_takes_are_those_that_there_are():
    source = Path(messages.__file__).read_text(encoding="utf-8")
    literal = re.search(r"InboundEvent \| Literal\[(.*?)\]", source, re.DOTALL)
    assert literal is not None
    shown = set(re.findall(r"\w+", literal[1]))

    assert shown == set(messages.InboundEvent)
