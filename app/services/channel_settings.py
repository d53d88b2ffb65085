"""How we talk on each channel: read, and changed with a record of who did it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Unpack

from sqlalchemy import Boolean, Integer, Text, bindparam, select, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Session
from sqlalchemy.orm.util import identity_key

from ..errors import ChannelSettingsNotFound, InvalidValue, UnknownPlaceholder
from ..models import Channel, ChannelConfig, ChannelSettingChange, ChannelTone
from ..schemas import ChannelCode, ChannelSettings, ChannelSettingsChanges, LengthUnit
from ._shared.checks import (
    checked_actor,
    checked_code,
    checked_flag,
    checked_json,
    checked_limit,
    checked_number,
    checked_optional_text,
)

__all__ = ["change", "get", "history", "list_settings"]

PLACEHOLDERS = frozenset({"customer_name", "response_body", "ticket_number"})
PLACEHOLDER = re.compile(r"\{\{\s*([^{}]*?)\s*\}\}")
MAX_LENGTH = 100_000

# The first settings are 500 by mail, 300 by form and 1,600 on WhatsApp. A letter is longer than a message in
# a chat, so they are not of one unit; and 1,600 characters are what Twilio takes in one WhatsApp message.
LENGTH_UNITS: Mapping[str, LengthUnit] = {
    Channel.EMAIL: LengthUnit.WORDS,
    Channel.WHATSAPP: LengthUnit.CHARACTERS,
    Channel.WEB_FORM: LengthUnit.WORDS,
}

_COLUMNS = {column.name: column.type for column in ChannelConfig.__table__.c}
_FIELDS = ("is_enabled", "max_response_length", "tone", "response_template", "api_config_ref", "metadata")
_TYPES: dict[str, Any] = {"is_enabled": Boolean(), "max_response_length": Integer(), "metadata": JSONB()}
_GET = (
    text("SELECT * FROM channel_configs WHERE :channel IS NULL OR channel = :channel ORDER BY channel")
    .bindparams(bindparam("channel", type_=Text()))
    .columns(**_COLUMNS)
)
_NEW = ", ".join(f"CASE WHEN :sets_{field} THEN :{field} ELSE {field} END" for field in _FIELDS)
# What stays as it is, is not written and leaves no record. The actor is named for this statement alone.
_CHANGE = (
    text(f"""
    UPDATE channel_configs SET ({", ".join(_FIELDS)}) = ({_NEW})
    WHERE channel = :channel AND ({", ".join(_FIELDS)}) IS DISTINCT FROM ({_NEW})
        AND set_config('crm.once_actor', :actor, true) IS NOT NULL
        AND set_config('crm.once_comment', :comment, true) IS NOT NULL
    RETURNING *
    """)  # noqa: S608
    .bindparams(
        bindparam("channel", type_=Text()),
        *(bindparam(field, type_=_TYPES.get(field, Text())) for field in _FIELDS),
        *(bindparam(f"sets_{field}", type_=Boolean()) for field in _FIELDS),
    )
    .columns(**_COLUMNS)
)
_HISTORY = (
    select(ChannelSettingChange)
    .where(ChannelSettingChange.channel == bindparam("channel", type_=Text()))
    .order_by(ChannelSettingChange.seq.desc())
    .limit(bindparam("max_rows", type_=Integer()))
)


def get(session: Session, channel: ChannelCode) -> ChannelSettings:
    """The channel's settings as they are now.

    Raises:
        ChannelSettingsNotFound: somebody has deleted them.
        InvalidValue: no such channel.
    """
    channel = checked_code("channel", channel, Channel)
    session.flush()
    row = session.execute(_GET, {"channel": channel.value}).one_or_none()
    if row is None:
        raise ChannelSettingsNotFound(channel)
    return settings_of(row)


def list_settings(session: Session) -> list[ChannelSettings]:
    """All channels' settings, those of later versions too."""
    session.flush()
    return [settings_of(row) for row in session.execute(_GET, {"channel": None})]


def change(
    session: Session,
    channel: ChannelCode,
    *,
    actor: str,
    comment: str | None = None,
    **changes: Unpack[ChannelSettingsChanges],
) -> ChannelSettings:
    """Change what is named in ``changes``; the database records who did it, and what was there before.

    Locks the channel's row until the caller's transaction ends. What stays as it is leaves no record.

    Raises:
        ChannelSettingsNotFound: somebody has deleted them.
        UnknownPlaceholder: the template has one that nothing fills.
        InvalidValue: a field breaks a rule, or the template has no place for the answer.
    """
    channel = checked_code("channel", channel, Channel)
    values = _checked(changes)
    parameters: dict[str, Any] = {
        "channel": channel.value,
        "actor": checked_actor(actor),
        "comment": checked_optional_text("comment", comment) or "",
    }
    for field in _FIELDS:
        parameters |= {field: values.get(field), f"sets_{field}": field in values}
    session.flush()
    row = session.execute(_CHANGE, parameters).one_or_none()
    if row is None:
        return get(session, channel)
    loaded = session.identity_map.get(identity_key(ChannelConfig, row.id))
    if loaded is not None:
        session.expire(loaded)
    return settings_of(row)


def history(session: Session, channel: ChannelCode, *, limit: int = 50) -> list[ChannelSettingChange]:
    """Who changed the channel's settings, the last one first.

    Raises:
        InvalidValue: no such channel, or a bad limit.
    """
    values = {"channel": checked_code("channel", channel, Channel).value, "max_rows": checked_limit(limit)}
    session.flush()
    return list(session.scalars(_HISTORY, values))


def settings_of(row: Any) -> ChannelSettings:
    """A row of ``channel_configs`` as it is told. A channel without a switch is on."""
    return ChannelSettings(
        channel=row.channel,
        is_enabled=row.is_enabled is not False,
        max_response_length=row.max_response_length,
        length_unit=LENGTH_UNITS.get(row.channel, LengthUnit.CHARACTERS),
        tone=row.tone,
        response_template=row.response_template,
        api_config_ref=row.api_config_ref,
        extra=row.metadata or {},
        updated_at=row.updated_at,
    )


def check_template(template: str) -> None:
    """
    Raises:
        UnknownPlaceholder: nothing fills one of them, or it does not end.
        InvalidValue: there is no place for the answer.
    """
    names = PLACEHOLDER.findall(template)
    _, is_open, rest = PLACEHOLDER.sub(" ", template).partition("{{")
    unknown = [name for name in names if name not in PLACEHOLDERS]
    if is_open:
        unknown.append(rest.strip())
    if unknown:
        raise UnknownPlaceholder(unknown[0][:100], PLACEHOLDERS)
    if "response_body" not in names:
        raise InvalidValue("response_template", "has no {{response_body}}: the answer would be lost")


def _checked(changes: ChannelSettingsChanges) -> dict[str, Any]:
    """The new values by their columns.

    Raises:
        InvalidValue: as ``change`` says.
    """
    checks: dict[str, Any] = {
        "is_enabled": checked_flag,
        "max_response_length": _checked_length,
        "tone": lambda field, value: checked_code(field, value, ChannelTone).value,
        "response_template": _checked_template,
        "api_config_ref": lambda field, value: checked_optional_text(field, value, max_length=255),
        "extra": checked_json,
    }
    for field in changes:
        if field not in checks:
            raise InvalidValue("changes", f"has a field that is none of {', '.join(checks)}")
    values = {field: checks[field](field, value) for field, value in changes.items()}
    if "extra" in values:
        values["metadata"] = values.pop("extra")
    return values


def _checked_length(field: str, value: object) -> int:
    length = checked_number(field, value)
    if not 1 <= length <= MAX_LENGTH:
        raise InvalidValue(field, f"must be from 1 to {MAX_LENGTH:,}")
    return length


def _checked_template(field: str, value: object) -> str | None:
    template = checked_optional_text(field, value, max_length=10_000)
    if template is not None:
        check_template(template)
    return template
