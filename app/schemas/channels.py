"""How we talk on a channel, and an answer as it is to be said there."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal, TypedDict

from ..models.channel import Channel, ChannelTone
from ..models.conversation import ContentType
from .base import OrText, Schema


class LengthUnit(StrEnum):
    """What an answer's length is counted in."""

    WORDS = "words"
    CHARACTERS = "characters"


class ChannelSettings(Schema):
    """One channel's settings."""

    channel: OrText[Channel]
    is_enabled: bool
    max_response_length: int
    """Of an answer's body, in ``length_unit``."""
    length_unit: LengthUnit
    tone: OrText[ChannelTone]
    response_template: str | None
    """What an answer stands in; None is the answer alone."""
    api_config_ref: str | None
    """Prefix of the environment variables that hold the provider's credentials; never the credentials."""
    extra: dict[str, Any]
    updated_at: datetime | None


class ChannelSettingsChanges(TypedDict, total=False):
    """What is to be changed; what is not named stays as it is."""

    is_enabled: bool
    max_response_length: int
    tone: ChannelTone | Literal["formal", "conversational", "semi-formal"]
    response_template: str | None
    api_config_ref: str | None
    extra: Mapping[str, Any]


class RenderedReply(Schema):
    """An answer in its channel's template, ready for ``OutboundMessage``."""

    channel: OrText[Channel]
    tone: OrText[ChannelTone]
    content: str
    content_type: ContentType
    length: int
    """Of the body, in ``unit``."""
    max_length: int
    unit: LengthUnit
    is_shortened: bool
    """The end of the body was left out."""
