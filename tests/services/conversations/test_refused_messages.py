"""Messages that cannot be stored, and odd ones that can."""

from __future__ import annotations

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from app.errors import CRMError, InvalidValue
from app.models import (
    Base,
    Message,
)
from app.schemas import DeliveryReport, Identifier
from app.services import conversations

from .incoming import EMAIL, WRITTEN, counts, inbound, on_whatsapp

REPORT = DeliveryReport(
    channel="email", account="support@techcorp.example", provider_message_id="<1@x>", status="failed"
)
BAD = {
    "sender": {"sender": (Identifier(type="email", value="nonsense"),)},
    "proven sender": {"sender": (EMAIL, Identifier(type="phone", value="nonsense", verified=True))},
    "endless spelling": {"sender": (Identifier(type="phone", value=f"+1{' ' * 300}5550100001"),)},
    "too many senders": {
        "sender": tuple(EMAIL.model_copy(update={"value": f"{n}@a.example"}) for n in range(21))
    },
    "NUL": {"content": "a\x00b"},
    "half a pair": {"content": "\ud83d"},
    "provider id": {"provider_message_id": " "},
    "account": {"account": "a\x00b"},
    "thread": {"thread_id": "x" * 1001},
    "extra": {"extra": {"n": float("inf")}},
    "endless extra": {"extra": {"text": "x" * 10_000_001}},
    "subject": {"subject": "\x00"},
    "former sender": {"former": (Identifier(type="email", value="nonsense"),)},
    "report's recipient": {"delivery_reports": (REPORT.model_copy(update={"recipient": "a\x00b"}),)},
    "report's reason": {"delivery_reports": (REPORT.model_copy(update={"reason": "x" * 10_001}),)},
    "second report": {"delivery_reports": (REPORT, REPORT.model_copy(update={"account": "\x00"}))},
}


@pytest.mark.parametrize("facts", BAD.values(), ids=BAD)
def test_a_message_that_cannot_be_stored_is_refused_before_anything_is_sent(session, queries, facts):
    with pytest.raises(InvalidValue):
        conversations.ingest(session, inbound(**facts))
    assert queries.count == 0, queries


def test_a_refused_message_leaves_a_session_that_commits_and_no_trace(crm_clone):
    with Session(crm_clone) as session:
        for facts in BAD.values():
            with pytest.raises(CRMError):
                conversations.ingest(session, inbound(**facts))
        with pytest.raises(InvalidValue):
            conversations.ingest(session, inbound(), policy="trusting")
        session.commit()
        assert counts(session) == [0] * len(WRITTEN)
        conversations.ingest(session, inbound())
        session.commit()
        assert counts(session) == [1] * len(WRITTEN)


def test_what_somebody_typed_wrong_beside_his_address_is_reported_and_loses_no_message(session):
    wrong = Identifier(type="phone", value="call me")
    ingested = conversations.ingest(session, inbound(sender=(EMAIL, wrong)))
    assert ingested.resolution.ignored == (wrong,)
    assert session.get_one(Message, ingested.message_id).customer_id == ingested.customer_id
    with pytest.raises(InvalidValue):
        conversations.ingest(session, inbound(sender=(wrong, EMAIL)))


def test_an_emoji_and_an_empty_text_are_messages_too(session):
    for content in ("\U0001f9d1\u200d\U0001f4bb", ""):
        ingested = conversations.ingest(session, on_whatsapp(content=content))
        assert session.get_one(Message, ingested.message_id).content == content


def test_a_receipt_does_not_outlive_its_message(session):
    ingested = conversations.ingest(session, inbound())
    receipts = Base.metadata.tables["provider_messages"]
    session.execute(text("DELETE FROM messages WHERE id = :id"), {"id": ingested.message_id})
    found = select(func.count()).select_from(receipts).where(receipts.c.message_id == ingested.message_id)
    assert session.scalar(found) == 0
