"""The services as tools of a language model, bound to one conversation and to what may be told there."""

from __future__ import annotations

from .toolboxes import Tool, Toolbox, tools

__all__ = ["Tool", "Toolbox", "tools"]
