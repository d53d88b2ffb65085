"""Paragraphs that a mail program broke into lines, in one piece again (RFC 3676, format=flowed)."""

from __future__ import annotations

import re

_QUOTED = re.compile(r">*")
_SIGN = "-- "


def joined(text: str, *, deletes_space: bool) -> str:
    """The text with each paragraph on a line. ``deletes_space``: the space at a line's end was added, too."""
    paragraphs: list[list[str]] = []
    last_depth, is_open = 0, False
    for line in text.split("\n"):
        depth = len(_QUOTED.match(line)[0])  # type: ignore[index]
        words = line[depth:].removeprefix(" ")
        if not (is_open and depth == last_depth and words.strip() and words != _SIGN):
            paragraphs.append([f"{'>' * depth} " if depth else ""])
        is_open = words.endswith(" ") and words != _SIGN
        paragraphs[-1].append(words[:-1] if is_open and deletes_space else words)
        last_depth = depth
    return "\n".join(map("".join, paragraphs))
