"""An Internet message (RFC 5322, MIME) -> InboundMessage; and Delivery -> such a message."""

from __future__ import annotations

from .composing import compose
from .message import parse

__all__ = ["compose", "parse"]
