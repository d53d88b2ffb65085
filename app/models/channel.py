"""How we talk on each channel: tone, length and template of the answers."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from sqlalchemy import Boolean, String, Text, true
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
    __tablename__ = "channel_configs"
    __table_args__ = (code_check("channel", Channel), code_check("tone", ChannelTone))

    id: Mapped[UUIDPrimaryKey]
    channel: Mapped[Channel] = mapped_column(code(Channel, 50), unique=True)
    is_enabled: Mapped[bool | None] = mapped_column(Boolean, server_default=true())
    max_response_length: Mapped[int]
    """Characters of the answer's body, before the template is filled."""
    tone: Mapped[ChannelTone] = mapped_column(code(ChannelTone, 50))
    response_template: Mapped[str | None] = mapped_column(Text)
    """``{{customer_name}}``, ``{{response_body}}`` and ``{{ticket_number}}`` are replaced."""
    api_config_ref: Mapped[str | None] = mapped_column(String(255))
    """Prefix of the environment variables that hold the provider's credentials; never the credentials."""
    extra: Mapped[dict[str, Any] | None] = metadata_column()
    created_at: Mapped[CreatedAt]
    updated_at: Mapped[UpdatedAt]
