"""Marks at the beginning of a line that say what mail programs say with HTML: they never leave this package.

They are noncharacters (Unicode, section 23.7), which no text holds; what a mail brings of them is taken out.
"""

from __future__ import annotations

import re

QUOTED = "\ufdd0"
INTRODUCTION = "\ufdd1"
"""The line that says who wrote what is quoted below it."""
SIGNATURE = "\ufdd2"
BELOW_LINE = "\ufdd3"
"""Below a line as Outlook draws it: quoted, if headers follow it."""
CONTAINED = "\ufdd4"
"""Beside a quote, in the element that a program puts around it: its introduction, or the writer's answers."""

_ALL = re.compile(f"[{QUOTED}{INTRODUCTION}{SIGNATURE}{BELOW_LINE}{CONTAINED}]")


def without(text: str) -> str:
    return _ALL.sub("", text)
