"""Answers on their way out, and time that passes."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import text

from app.schemas import OutboundMessage
from app.services import conversations
from tests.services.conversations._messages import ACCOUNT

WHATSAPP = {"channel": "whatsapp", "account": "+14155238886"}
MAIL = {"channel": "email", "account": ACCOUNT}


def answer(session, conversation_id, content="Open Settings.", **facts):
    outbound = OutboundMessage(content=content, **facts)
    return conversations.reply(session, conversation_id, outbound, actor="human:7")


def pass_time(session, **interval):
    session.execute(
        text("UPDATE outbox SET due_at = due_at - :span, queued_at = queued_at - :span"),
        {"span": timedelta(**interval)},
    )
