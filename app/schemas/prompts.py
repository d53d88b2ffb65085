"""Text for a language model: how long it is, and quoted so that it cannot pose as anything else.

What people wrote is data. In a prompt it stands behind a bar on every line, or in JSON's quotes on one line,
without the characters that break a line, hide text or speak to the model's own program.
"""

from __future__ import annotations

import json
import re
import unicodedata
from datetime import timedelta

BAR = "| "
_RUN = re.compile(r"[A-Za-z]+|[0-9]+| +|[^A-Za-z0-9 ]")
# How chat programs mark turns and roles within a text.
_MARKS = re.compile(r"<(?=\||/?s>|<SYS|/?(?:start|end)_of_)|\[(?=/?INST\])", re.IGNORECASE)
_JOINERS = "\u200c\u200d"
"""Invisible, and needed to spell Persian, Hindi and some emoji."""


def estimate_tokens(text: str) -> int:
    """About as many tokens as a model's own counter finds, rather more: it is for limits."""
    return sum(_tokens(run.group()) for run in _RUN.finditer(text))


def _tokens(run: str) -> int:
    if run == " ":
        return 0
    if run.isascii():
        return -(-len(run) // 3)
    return max(1, len(run.encode("utf-8", "surrogatepass")) - 1)


def cut(text: str, max_tokens: int) -> str:
    """The beginning of the text that has so many tokens; an ellipsis says that it goes on."""
    total = 0
    for run in _RUN.finditer(text):
        total += _tokens(run.group())
        if total > max_tokens:
            # Of a word as long as a page, its beginning.
            room = max(0, 3 * (max_tokens - total + _tokens(run.group())))
            return f"{text[: run.start() + (room if run.group().isascii() else 0)].rstrip()} …"
    return text


def plain(text: str) -> str:
    """The text without what is no text: control characters, invisible ones, marks of chat programs."""
    visible = "".join(
        character
        for character in text
        if character in "\n\t"
        or character in _JOINERS
        or unicodedata.category(character) not in {"Cc", "Cf", "Cs", "Co", "Cn"}
    )
    return _MARKS.sub(r"\g<0> ", visible)


def fenced(text: str) -> str:
    """The text with a bar before each of its lines, whatever it takes for a line's end."""
    return "\n".join(f"{BAR}{plain(line)}" for line in text.splitlines()) or BAR.rstrip()


def quoted(text: str, *, max_tokens: int = 60) -> str:
    """The beginning of the text on one line, in quotes."""
    line = " ".join(cut(text, max_tokens).split())
    return json.dumps(plain(line), ensure_ascii=False)


def lasting(age: timedelta) -> str:
    """A duration in its largest unit: "3 days"."""
    for unit, seconds in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        count = int(age.total_seconds() // seconds)
        if count >= 1:
            return f"{count} {unit}{'s' if count > 1 else ''}"
    return "less than a minute"
