"""How we talk on each channel: tone, length and template of the answers."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, Boolean, Identity, String, Text, UniqueConstraint, func, true
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from .base import Base, CreatedAt, UpdatedAt, UUIDPrimaryKey, code, code_check, metadata_column


class Channel(StrEnum):
    EMAIL = "email"
    WHATSAPP = "whatsapp"
    WEB_FORM = "web_form"


class ChannelTone(StrEnum):
    FORMAL = "formal"
    CONVERSATIONAL = "conversational"
    SEMI_FORMAL = "semi-formal"


class ChannelConfig(Base):
    """How we talk on a channel."""

    __tablename__ = "channel_configs"
    __table_args__ = (code_check("channel", Channel), code_check("tone", ChannelTone))

    id: Mapped[UUIDPrimaryKey]
    channel: Mapped[Channel] = mapped_column(code(Channel, 50), unique=True)
    is_enabled: Mapped[bool | None] = mapped_column(Boolean, server_default=true())
    max_response_length: Mapped[int]
    """Of the answer's body, before the template is filled: words, on WhatsApp characters."""
    tone: Mapped[ChannelTone] = mapped_column(code(ChannelTone, 50))
    response_template: Mapped[str | None] = mapped_column(Text)
    """``{{customer_name}}``, ``{{response_body}}`` and ``{{ticket_number}}`` are replaced."""
    api_config_ref: Mapped[str | None] = mapped_column(String(255))
    """Prefix of the environment variables that hold the provider's credentials; never the credentials."""
    extra: Mapped[dict[str, Any] | None] = metadata_column()
    created_at: Mapped[CreatedAt]
    updated_at: Mapped[UpdatedAt]


class ChannelSettingChange(Base):
    """One entry of the record of settings: only what has changed, None on the side that was not there."""

    __tablename__ = "channel_setting_changes"
    __table_args__ = (code_check("channel", Channel), UniqueConstraint("seq"))

    id: Mapped[UUIDPrimaryKey]
    seq: Mapped[int] = mapped_column(BigInteger, Identity())
    channel: Mapped[Channel] = mapped_column(code(Channel, 50))
    old_values: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    new_values: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    changed_by: Mapped[str] = mapped_column(String(255))
    """The actor that the client named (``human:7``), else ``db:<session user>``."""
    changed_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    comment: Mapped[str | None]
    db_user: Mapped[str] = mapped_column(Text)
