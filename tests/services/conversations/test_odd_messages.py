"""What is odd and valid comes back as it was written; what is no message is refused, wherever it is wrong."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from app.errors import CRMError
from app.models import Message
from app.schemas import Attachment, CustomerProfile, Identifier, InboundMessage, OutboundMessage
from app.services import conversations, timeline
from tests.services.conversations._messages import ACCOUNT, mail
from tests.services.conversations.incoming import counts

STORABLE = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
ODD = [
    "'; DROP TABLE messages; --", "%s %(x)s :name {0} $1 \\", "\\u0000 \\x00 \\0", '{"a": "\\ud800"}', "NULL", "null", "\ufeff",
    "\u202e\u2066rtl\u2069", "e\u0301 \u00e9 \u1e9b\u0323", "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\ufffe\uffff\U0010ffff", "\x01\x1f\x7f\x85\x9f",
    "\r\n\r\n", "a\u2028b\u2029c", "\t \u3000", "x" * 20_000, "\u0130\u0131\u00df\ufb01", "-0", "1e999", "2026-02-30", "+15551234567", "a@b.example",
]  # fmt: skip
TEXTS = (
    st.text(STORABLE, max_size=200)
    | st.sampled_from(ODD)
    | st.lists(st.sampled_from(ODD[:15]), max_size=4).map("".join)
)
NAMES = st.text(STORABLE, min_size=1, max_size=20).map(lambda name: f"my {name}")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(-1e15, 1e15) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)
MOMENTS = st.datetimes(
    datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.integers(-14, 14).map(lambda hours: timezone(timedelta(hours=hours)))  # noqa: DTZ001
)  # fmt: skip
MESSAGES = st.fixed_dictionaries(
    {"content": TEXTS, "extra": st.dictionaries(NAMES, JSON, max_size=4)},
    optional={
        "subject": TEXTS,
        "sent_at": MOMENTS,
        "new_text": TEXTS,
        "attachments": st.lists(st.builds(Attachment, filename=TEXTS, media_type=TEXTS), max_size=2).map(
            tuple
        ),
        "profile": st.builds(CustomerProfile, name=TEXTS, company=TEXTS),
    },
)


def assert_comes_back(session: Session, facts: dict[str, Any]) -> None:
    message = mail(**facts)
    ingested = conversations.ingest(session, message)
    again = conversations.ingest(session, message)
    session.expire_all()
    row = session.scalars(select(Message).where(Message.id == ingested.message_id)).one()
    (remembered,) = (one for one in timeline.history(session, row.customer_id).items if one.id == row.id)
    (entry,) = conversations.transcript(session, row.conversation_id).items

    assert (again.duplicate, again.message_id) == (True, row.id)
    assert row.content == remembered.content == entry.content == message.content
    assert entry.new_text == (message.new_text or message.content)
    assert (entry.subject or "") == (message.subject or "")
    assert entry.sent_at == remembered.sent_at == message.sent_at
    assert entry.attachments == message.attachments
    assert {name: row.extra[name] for name in message.extra} == message.extra


@given(facts=MESSAGES)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_what_is_odd_and_valid_comes_back_as_it_was_written(session, facts):
    assert_comes_back(session, facts)


@pytest.mark.soak
@given(facts=MESSAGES)
@settings(max_examples=2_000, deadline=None, suppress_health_check=list(HealthCheck))
def test_two_thousand_odd_messages_come_back_as_they_were_written(session, facts):
    assert_comes_back(session, facts)


@pytest.mark.parametrize("content", [one for one in ODD if one.strip()])
def test_an_odd_answer_comes_back_as_it_was_written(session, content):
    conversation_id = conversations.ingest(session, mail()).conversation_id
    answer = conversations.reply(
        session, conversation_id, OutboundMessage(content=content, extra={"my": content})
    )
    session.expire_all()

    assert (answer.content, answer.extra["my"]) == (content, content)


WRONG = {
    "NUL": "a\0b",
    "half a pair": "\ud800",
    "bytes": b"x",
    "no number": float("nan"),
    "10 MB": "x" * 10_000_000,
    "naive": datetime(2026, 3, 1),  # noqa: DTZ001
    "10**400": 10**400,
    "none": None,
    "object": object(),
    "odd keys": {1: {2}},
    "list": [None],
}


@pytest.mark.parametrize("field", sorted(InboundMessage.model_fields))
def test_a_field_that_no_schema_has_checked_is_taken_or_a_typed_error(session, field):
    """``model_copy`` and ``model_construct`` check nothing; a caller may have used them."""
    message = mail(extra={"a": 1})
    for name, value in WRONG.items():
        before = counts(session)
        attempt = session.begin_nested()
        changed = message.model_copy(
            update={field: value, "provider_message_id": str(uuid4())} | {field: value}
        )
        try:
            conversations.ingest(session, changed)
        except CRMError:
            assert counts(session) == before, name
        assert session.scalar(text("SELECT 1")) == 1, name
        attempt.rollback()


@pytest.mark.parametrize("field", sorted(OutboundMessage.model_fields))
def test_a_field_of_an_answer_that_no_schema_has_checked_is_taken_or_a_typed_error(session, field):
    conversation_id = conversations.ingest(session, mail()).conversation_id
    answer = OutboundMessage(content="Open Settings.")
    for name, value in WRONG.items():
        before = counts(session)
        attempt = session.begin_nested()
        try:
            conversations.reply(session, conversation_id, answer.model_copy(update={field: value}))
        except CRMError:
            assert counts(session) == before, name
        assert session.scalar(text("SELECT 1")) == 1, name
        attempt.rollback()


@pytest.mark.parametrize("value", [b"x", 5, None, "x" * 10_000_000, "a\0@x.example"])
def test_a_sender_that_no_schema_has_checked_is_taken_or_a_typed_error(session, value):
    sender = Identifier(type="email", value="ana@x.example").model_copy(update={"value": value})

    with pytest.raises(CRMError):
        conversations.ingest(session, mail(account=ACCOUNT).model_copy(update={"sender": (sender,)}))


@pytest.mark.parametrize("verified", ["no", "false", 1, None])
def test_only_true_is_a_proof(session, verified):
    sender = Identifier(type="email", value="ana@x.example").model_copy(update={"verified": verified})

    with pytest.raises(CRMError):
        conversations.ingest(session, mail().model_copy(update={"sender": (sender,)}))


def test_a_time_of_any_century_is_kept(session):
    for year in (1, 1969, 9999):
        sent_at = datetime(year, 6, 1, tzinfo=UTC)
        ingested = conversations.ingest(session, mail(sent_at=sent_at))
        assert conversations.transcript(session, ingested.conversation_id).items[0].sent_at == sent_at
