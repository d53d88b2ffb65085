"""A call that is made again does nothing again: its result is kept beside its idempotency key."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import LargeBinary, Uuid, bindparam, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Session

from ...errors import KeyReused
from ...schemas.base import Schema

_CLAIM = text("""
    INSERT INTO tool_calls (conversation_id, idempotency_key, tool, arguments_hash, actor)
    VALUES (:conversation_id, :key, :tool, :arguments_hash, :actor) ON CONFLICT DO NOTHING RETURNING 1
""").bindparams(bindparam("conversation_id", type_=Uuid()), bindparam("arguments_hash", type_=LargeBinary()))
_EARLIER = (
    text("""
    SELECT tool, arguments_hash, result FROM tool_calls
    WHERE conversation_id = :conversation_id AND idempotency_key = :key
    """)
    .bindparams(bindparam("conversation_id", type_=Uuid()))
    .columns(arguments_hash=LargeBinary(), result=JSONB())
)
_KEEP = text("""
    UPDATE tool_calls SET result = :result WHERE conversation_id = :conversation_id AND idempotency_key = :key
""").bindparams(bindparam("conversation_id", type_=Uuid()), bindparam("result", type_=JSONB()))


class Call(NamedTuple):
    """One call of a tool that writes."""

    conversation_id: UUID
    key: str
    tool: str
    arguments: Schema
    actor: str


def claim(session: Session, call: Call) -> dict[str, Any] | None:
    """Take the call's key; or, where it is taken, the result of the call that took it.

    Waits for a call with the same key that another process is making at this moment: its transaction's end
    decides which of the two it is.

    Raises:
        KeyReused: the key belongs to another call.
    """
    arguments_hash = hashlib.sha256(call.arguments.model_dump_json().encode()).digest()
    place = {"conversation_id": call.conversation_id, "key": call.key}
    values = {**place, "tool": call.tool, "arguments_hash": arguments_hash, "actor": call.actor}
    if session.execute(_CLAIM, values).one_or_none() is not None:
        return None
    earlier = session.execute(_EARLIER, place).one()
    if (earlier.tool, bytes(earlier.arguments_hash)) != (call.tool, arguments_hash):
        raise KeyReused
    result: dict[str, Any] = earlier.result
    return result


def keep(session: Session, call: Call, result: Mapping[str, Any]) -> None:
    """Keep what the call did."""
    session.execute(_KEEP, {"conversation_id": call.conversation_id, "key": call.key, "result": dict(result)})
