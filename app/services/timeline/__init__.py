"""One person's history over all channels, and all that happened to them."""

from __future__ import annotations

from .entries import timeline
from .histories import history

__all__ = ["history", "timeline"]
