"""What was said in one conversation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from pydantic import ValidationError
from sqlalchemy import DateTime, Integer, Uuid, bindparam, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Session

from ...errors import ConversationNotFound
from ...schemas import Cursor, Page, TranscriptEntry
from .._shared.checks import checked_flag, checked_limit, checked_uuid
from .._shared.lists import checked_cursor

_KEPT = (
    "actor", "assurance", "attachments", "auto_reply", "event", "internal", "new_text", "sent_at", "subject"
)  # fmt: skip
_TYPES: dict[str, Any] = {"id": Uuid(), "created_at": DateTime(timezone=True), "metadata": JSONB()}
_COLUMNS = "id, direction, role, content, content_type, delivery_status, metadata, created_at"
_PARAMETERS = (bindparam("conversation_id", type_=Uuid()), bindparam("max_rows", type_=Integer()))
_NOTES = "(:notes OR NOT COALESCE(metadata ? 'internal', false))"

_LATEST = (
    text(f"""
    SELECT {_COLUMNS} FROM messages
    WHERE conversation_id = :conversation_id AND created_at IS NOT NULL AND {_NOTES}
    ORDER BY created_at DESC, id DESC LIMIT :max_rows
    """)  # noqa: S608
    .bindparams(*_PARAMETERS)
    .columns(**_TYPES)
)
_EARLIER = (
    text(f"""
    SELECT {_COLUMNS} FROM messages
    WHERE conversation_id = :conversation_id AND (created_at, id) < (:before_time, :before_id) AND {_NOTES}
    ORDER BY created_at DESC, id DESC LIMIT :max_rows
    """)  # noqa: S608
    .bindparams(
        *_PARAMETERS,
        bindparam("before_time", type_=DateTime(timezone=True)),
        bindparam("before_id", type_=Uuid()),
    )
    .columns(**_TYPES)
)
_EXISTS = text("SELECT 1 FROM conversations WHERE id = :id").bindparams(bindparam("id", type_=Uuid()))


def transcript(
    session: Session,
    conversation_id: UUID,
    *,
    limit: int = 50,
    before: Cursor | str | None = None,
    notes: bool = True,
) -> Page[TranscriptEntry]:
    """What was said in the conversation, newest first, in pages of ``limit`` (1 to 1,000).

    ``notes=False`` leaves out what is among ourselves. Pass a page's ``next`` as ``before`` to get the
    following one. One statement; a second one only to tell an unknown conversation from a silent one.

    Raises:
        ConversationNotFound: there is no such conversation.
        InvalidValue: a bad limit or cursor.
    """
    conversation_id = checked_uuid("conversation_id", conversation_id)
    limit = checked_limit(limit)
    place: dict[str, Any] = {
        "conversation_id": conversation_id,
        "max_rows": limit + 1,
        "notes": checked_flag("notes", notes),
    }
    session.flush()
    if before is None:
        rows = session.execute(_LATEST, place).all()
        if not rows and session.execute(_EXISTS, {"id": conversation_id}).one_or_none() is None:
            raise ConversationNotFound(conversation_id)
    else:
        before_time, before_id = checked_cursor(before)
        rows = session.execute(_EARLIER, {**place, "before_time": before_time, "before_id": before_id}).all()
    following = Cursor(rows[limit - 1].created_at, rows[limit - 1].id) if len(rows) > limit else None
    return Page[TranscriptEntry](items=[_entry(row) for row in rows[:limit]], next=following)


def _entry(row: Any) -> TranscriptEntry:
    """The row's entry; what another backend keeps in the metadata under one of our names may be anything."""
    columns = {
        "id": row.id,
        "direction": row.direction,
        "role": row.role,
        "content": row.content,
        "new_text": row.content,
        "content_type": row.content_type,
        "created_at": row.created_at,
        "delivery_status": row.delivery_status,
    }
    extra: Mapping[str, Any] = row.metadata if isinstance(row.metadata, dict) else {}
    facts = {name: extra[name] for name in _KEPT if extra.get(name)}
    try:
        return TranscriptEntry.model_validate(columns | facts)
    except ValidationError as error:
        unreadable = {problem["loc"][0] for problem in error.errors()}
        readable = {name: fact for name, fact in facts.items() if name not in unreadable}
        return TranscriptEntry.model_validate(columns | readable)
